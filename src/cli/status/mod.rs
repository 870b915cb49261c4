// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright status`: whether VMware's modules are in order.

mod notify;

use super::detect::render_rows;
use super::errors::{Exit, Problem};
use super::look::{Look, pad};
use super::session::Session;
use crate::detect::Facts;
use crate::flows::vmware::updates::outcomes;
use crate::flows::{vmware, wayland};
use crate::host::Host;
use crate::tell::{Assessment, Mark, Row, assess};
use clap::Args;

/// Say whether VMware's modules are in order for each kernel
///
/// Ends with 0 when all is good and with 1 when something needs attention. Only the kernel that runs and the one that
/// starts next need the modules.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Say it in a desktop notification, and only when there is something new or bad to tell; done at each login
    #[arg(long, conflicts_with = "json")]
    notify: bool,
}

/// Runs `status`.
pub(crate) fn run(session: &mut Session, args: &Status) -> Result<Exit, Problem> {
    let facts = session.facts(None)?;
    // How builds for new kernels ended stands in files that the helper does not tell of.
    let host = match session.place() {
        None => Some(session.host()?),
        Some(_) => None,
    };
    let updates = host.as_ref().map(|h| outcomes(h.root())).unwrap_or_default();
    let runs = session.machine_unasked().and_then(|m| m.runs());
    let runs = match &runs {
        Ok(runs) => Ok(runs.as_slice()),
        Err(problem) => Err(problem.reason.as_str()),
    };
    let mut assessment = assess(&facts, runs, &updates, &|words| session.command(words));
    let renewed = host.as_ref().map(|h| renewed(session, h, &facts)).unwrap_or_default();
    assessment.attention |= !renewed.is_empty();
    assessment.notes.extend(renewed);
    if args.notify {
        if let Some(news) = notify::news(&assessment, &updates, notify::told()) {
            notify::show(&news)?;
            notify::remember(jiff::Timestamp::now());
        }
        return Ok(Exit::Done);
    }
    if session.json() {
        session.screen.document(&assessment)?;
    } else {
        let text = render(session.look(), &assessment);
        session.screen.print(&text);
    }
    Ok(if assessment.attention { Exit::Failed } else { Exit::Done })
}

/// What an update of VMware itself left behind.
fn renewed(session: &Session, host: &Host, facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    for release in vmware::built_from_others(host, facts) {
        let text = format!(
            "the modules for {release} were built from other sources than the product that is installed now has"
        );
        let command = session.command(&format!("vmware apply --kernel {release}"));
        rows.push(Row::new(Mark::Warning, "VMware update", text).remedy(command));
    }
    let replaced = wayland::replaced(host);
    if !replaced.is_empty() {
        let text =
            format!("the fix for Wayland is gone from {}, which were replaced since", replaced.join(", "));
        let command = session.command("vmware wayland apply");
        rows.push(Row::new(Mark::Warning, "VMware update", text).remedy(command));
    }
    rows
}

fn render(look: Look, assessment: &Assessment) -> String {
    let mut out = String::new();
    for kernel in &assessment.kernels {
        let mut traits = Vec::new();
        if kernel.runs {
            traits.push("runs now");
        }
        if kernel.starts_next {
            traits.push("starts next");
        }
        let traits =
            if traits.is_empty() { String::new() } else { format!("  {}", look.dim(&traits.join(", "))) };
        out.push_str(&format!("{}{traits}\n", look.bold(&kernel.release)));
        for (i, module) in kernel.modules.iter().enumerate() {
            let first = format!("  {} {}", look.mark(module.mark), pad(module.name, 7));
            out.push_str(&look.wrap(&module.text, &first, &" ".repeat(11)));
            let next = kernel.modules.get(i + 1).and_then(|m| m.remedy.as_ref());
            if let Some(remedy) = module.remedy.as_ref().filter(|r| Some(*r) != next) {
                out.push_str(&look.remedy(11, remedy));
            }
        }
        out.push('\n');
    }
    out.push_str(&render_rows(look, &[("", assessment.notes.clone())]));
    out
}

/// What is said of a machine without any run.
#[cfg(test)]
pub(crate) fn told(look: Look, facts: &crate::detect::Facts) -> String {
    render(look, &assess(facts, Ok(&[]), &[], &|words| format!("hostwright {words}")))
}
