// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu status`, `verify`, `ready`: how it stands.

use super::apply::begun;
use super::look::catalogue;
use crate::cli::detect::render_rows;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::Mark;
use crate::cli::session::Session;
use crate::detect::Finding;
use crate::detect::nvidia::{self, Interface, Licence, NvidiaGpu};
use crate::detect::proxmox::{self, VmWithDevices};
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::{self, Plan};
use crate::flows::vgpu::status;
use crate::flows::vgpu::{Choices, FLOW, Role, Rules, Stage, check, decide, plan, setup};
use crate::tell::Row;
use clap::Args;

/// Show driver, cards, types with free places, virtual functions, running vGPUs, licences, services and what the kernel
/// says
///
/// For each failure that is known there is advice.
#[derive(Debug, Args)]
pub(crate) struct Status {}

/// Verify in sysfs that the driver is loaded and that each card offers virtual GPUs; exit status 1 when not
#[derive(Debug, Args)]
pub(crate) struct Verify {}

/// Say whether the second stage can begin; sets nothing up
#[derive(Debug, Args)]
pub(crate) struct Ready {
    /// Also where people see it when they log in (/run/motd.d)
    #[arg(long)]
    motd: bool,
}

const MOTD: &str = "/run/motd.d/hostwright-vgpu";

fn card_rows(gpu: &NvidiaGpu, name: &str) -> Vec<Row> {
    let mut rows = vec![Row::new(
        Mark::Neutral,
        &gpu.address,
        format!("{name}, held by {}", gpu.driver.as_deref().unwrap_or("nothing")),
    )];
    if let Some(sriov) = &gpu.sriov {
        let mark = if sriov.functions.is_empty() { Mark::Warning } else { Mark::Good };
        let text = format!("{} of {} are there", sriov.functions.len(), sriov.total);
        rows.push(Row::new(mark, "Virtual functions", text));
    }
    match &gpu.interface {
        Interface::None => rows.push(Row::new(Mark::Warning, "Types", "none is offered")),
        Interface::Mdev { types } => {
            for t in types {
                let text = format!("{}: {} free", t.name, t.available);
                rows.push(Row::new(Mark::Neutral, &t.id, text));
            }
        }
        Interface::VendorVfio { types } => {
            for t in types {
                rows.push(Row::new(Mark::Neutral, &t.id.to_string(), format!("{}: can be made", t.name)));
            }
        }
    }
    rows
}

fn licence_rows(licences: &Finding<Vec<Licence>>) -> Vec<Row> {
    match licences {
        Finding::CouldNotLook { why } => vec![Row::new(Mark::Unknown, "", format!("could not look: {why}"))],
        Finding::Seen(all) => all
            .iter()
            .map(|l| {
                let mark = match l.licensed {
                    Some(true) => Mark::Good,
                    Some(false) => Mark::Warning,
                    None => Mark::Unknown,
                };
                let driver = l.guest_driver.as_deref().unwrap_or("no driver in the guest");
                Row::new(mark, &l.vm, format!("{}, {driver}: {}", l.kind, l.text))
            })
            .collect(),
    }
}

/// Runs `vgpu status`.
pub(crate) fn status(session: &mut Session, _: &Status) -> Result<Exit, Problem> {
    let host = session.host()?;
    let facts = crate::flows::vgpu::gather(&host);
    let running = proxmox::with_devices(&host);
    let said = nvidia::messages(&host);
    let licences = status::licences(&host, &facts);
    let advice = status::advice(&facts, &running, &said, &licences);
    if session.json() {
        let document = serde_json::json!({
            "facts": facts, "running": running, "licences": licences, "kernel": said, "advice": advice
        });
        session.screen.document(&document)?;
        return Ok(if advice.is_empty() { Exit::Done } else { Exit::Failed });
    }
    let catalogue = catalogue(session)?;
    let mut driver = match &facts.driver {
        Finding::Seen(Some(d)) => vec![Row::new(
            if d.loaded.is_some() { Mark::Good } else { Mark::Warning },
            "Driver",
            d.loaded
                .clone()
                .map_or_else(|| "installed, and not loaded".to_owned(), |v| format!("{v} is loaded")),
        )],
        Finding::Seen(None) => vec![Row::new(Mark::Neutral, "Driver", "none of NVIDIA's is installed")],
        Finding::CouldNotLook { why } => vec![Row::new(Mark::Unknown, "Driver", why)],
    };
    for service in &facts.services {
        let (mark, text) = match (service.enabled, &service.running) {
            (true, Finding::Seen(true)) => (Mark::Good, "enabled, runs"),
            (true, Finding::Seen(false)) => (Mark::Neutral, "enabled, does not run now"),
            (false, Finding::Seen(true)) => {
                (Mark::Warning, "runs, and will not after a restart: it is not enabled")
            }
            (false, Finding::Seen(false)) => (Mark::Warning, "not enabled"),
            (_, Finding::CouldNotLook { .. }) => (Mark::Unknown, "could not be looked at"),
        };
        driver.push(Row::new(mark, &service.unit, text));
    }
    let mut sections = vec![("Driver", driver)];
    let mut cards = Vec::new();
    for gpu in facts.gpus.seen().into_iter().flatten() {
        let name = catalogue.gpu(&gpu.device_id).map_or(gpu.device_id.as_str(), |e| e.name.as_str());
        cards.extend(card_rows(gpu, name));
    }
    sections.push(("Cards", cards));
    let vms = running.iter().map(|r: &VmWithDevices| {
        let runs = if r.runs { "runs" } else { "is off" };
        Row::new(
            Mark::Neutral,
            &format!("VM {}", r.vm),
            format!("{} ({runs}): {}", r.name, r.devices.join("; ")),
        )
    });
    sections.push(("Virtual machines", vms.collect()));
    sections.push(("Licences", licence_rows(&licences)));
    sections.push(("The kernel says", said.iter().map(|l| Row::new(Mark::Neutral, "", l)).collect()));
    sections.push(("What to do", advice.iter().map(|a| Row::new(Mark::Warning, &a.code, &a.text)).collect()));
    sections.retain(|(_, rows)| !rows.is_empty());
    let text = render_rows(session.look(), &sections);
    session.screen.print(&text);
    Ok(if advice.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Runs `vgpu verify`.
pub(crate) fn verify(session: &mut Session, _: &Verify) -> Result<Exit, Problem> {
    let host = session.host()?;
    let choices = engine::runs(&host).ok().and_then(|runs| begun(&runs).ok()).unwrap_or_default();
    let catalogue = catalogue(session)?;
    let rules = Rules::built_in().map_err(|e| Problem::internal("read its own rules", &e))?;
    let facts = crate::flows::vgpu::gather(&host);
    let decision = decide(&choices, &facts, &catalogue, &rules)?;
    let Some(row) = decision.row() else {
        return Err(Problem::new(
            Exit::Refused,
            "no-branch",
            "No branch works here",
            "There is nothing to verify.",
        )
        .remedy("`hostwright vgpu branches` says why."));
    };
    let serving = decision.cards.iter().filter(|c| c.role == Role::Vgpu);
    let cards: Vec<_> = serving.map(|c| (c.address.clone(), row.interface)).collect();
    let checks: Vec<Check> = check::look(&host, &row.host_driver, &cards);
    let good = checks.iter().all(|c| matches!(c.outcome, CheckOutcome::Good));
    if session.json() {
        session.screen.document(&checks)?;
    } else {
        let rows = checks.iter().map(|c| match &c.outcome {
            CheckOutcome::Good => Row::new(Mark::Good, "", &c.what),
            CheckOutcome::Bad { reason } => Row::new(Mark::Bad, "", format!("not so: {}: {reason}", c.what)),
            CheckOutcome::CouldNotLook { reason } | CheckOutcome::NotApplicable { reason } => {
                Row::new(Mark::Unknown, "", format!("{}: could not look: {reason}", c.what))
            }
        });
        let text = render_rows(session.look(), &[("vGPU", rows.collect())]);
        session.screen.print(&text);
    }
    Ok(if good { Exit::Done } else { Exit::Failed })
}

/// Runs `vgpu ready`.
pub(crate) fn ready(session: &mut Session, args: &Ready) -> Result<Exit, Problem> {
    let host = session.host()?;
    let runs = engine::runs(&host)?;
    let (ready, text) = match begun(&runs) {
        Err(_) => (false, "No first stage of vGPU was carried out here.".to_owned()),
        Ok(choices) => look_ahead(session, choices)?,
    };
    if args.motd {
        // What was said at an earlier start is not true any more.
        if host.root().exists(MOTD) {
            host.root().remove_file(MOTD)?;
        }
        if ready {
            host.root().create_dirs("/run/motd.d", 0o755)?;
            host.root().write(MOTD, format!("{text}\n").as_bytes(), 0o644, None)?;
        }
    }
    if session.json() {
        session.screen.document(&serde_json::json!({ "ready": ready, "text": text }))?;
    } else {
        session.screen.print(&format!("{text}\n"));
    }
    Ok(Exit::Done)
}

/// Whether the plan of the second stage would do something here and now.
fn look_ahead(session: &Session, choices: Choices) -> Result<(bool, String), Problem> {
    let host = session.host()?;
    let rules = Rules::built_in().map_err(|e| Problem::internal("read its own rules", &e))?;
    let catalogue = setup::catalogue(&host)?;
    let choices = Choices { stage: Some(Stage::Install), ..choices };
    let planned = setup::gather(&host, &choices, &catalogue, &rules)
        .and_then(|facts| plan::plan(&choices, &facts, &catalogue, &rules));
    Ok(match planned {
        Ok(Plan { steps, .. }) if steps.is_empty() => (false, "vGPU is set up.".to_owned()),
        Ok(_) => {
            (true, format!("{FLOW}: the first stage is in effect. Go on with: hostwright vgpu continue"))
        }
        Err(refusal) if refusal.code == "no-driver" => (
            true,
            "vGPU: the first stage is in effect. Go on with: hostwright vgpu continue --driver FILE"
                .to_owned(),
        ),
        Err(refusal) => {
            let remedy = refusal.remedy.unwrap_or_default();
            (refusal.code == "key-not-trusted", format!("vGPU cannot go on yet. {} {remedy}", refusal.reason))
        }
    })
}
