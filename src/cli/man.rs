// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright man`: manual pages, made from the command line's own definition so that they cannot differ.

use super::errors::{Exit, Problem};
use super::session::Session;
use crate::host::Root;
use clap::Args;
use clap_mangen::Man as Page;
use clap_mangen::roff::{Inline, Roff};
use std::path::PathBuf;

/// Write a manual page to standard output, or all of them into a folder
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The subcommand, its words joined by a dash (`vmware-apply`); without it `hostwright` itself
    #[arg(value_name = "PAGE", conflicts_with = "out")]
    page: Option<String>,
    /// Write all pages into this folder, which must exist
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs `man`.
pub(crate) fn run(session: &mut Session, args: &Man) -> Result<Exit, Problem> {
    let pages = pages()?;
    if let Some(dir) = &args.out {
        let root = Root::open(dir).map_err(|e| Problem::file("write into", dir, &e.source))?;
        for (name, text) in &pages {
            root.write(&format!("/{name}.1"), text, 0o644, None)
                .map_err(|e| Problem::file("write into", dir, &e.source))?;
        }
        return Ok(Exit::Done);
    }
    let wanted = args.page.as_ref().map_or_else(|| "hostwright".to_owned(), |p| format!("hostwright-{p}"));
    match pages.iter().find(|(name, _)| *name == wanted || Some(name) == args.page.as_ref()) {
        Some((_, text)) => session.screen.write(text),
        None => {
            let names: Vec<&str> = pages.iter().filter_map(|(n, _)| n.strip_prefix("hostwright-")).collect();
            return Err(Problem::usage(format!(
                "There is no page `{}`.",
                args.page.as_deref().unwrap_or_default()
            ))
            .remedy(format!("There are: {}", names.join(", "))));
        }
    }
    Ok(Exit::Done)
}

/// All pages: name without section, text.
pub(crate) fn pages() -> Result<Vec<(String, Vec<u8>)>, Problem> {
    let mut command = super::command();
    command.build();
    let mut pages = Vec::new();
    collect(&command, "hostwright", &mut pages)
        .map_err(|e| Problem::internal("make the manual pages", &e))?;
    Ok(pages)
}

fn collect(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    // The text after the long help is told in sections of its own.
    let command_for_page = command.clone().after_long_help("").after_help("");
    let page = Page::new(command_for_page).title(name.to_uppercase()).section("1").manual("Hostwright");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let top = name == "hostwright";
    common_sections(top, &mut text)?;
    pages.push((name.to_owned(), text));
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        collect(sub, &format!("{name}-{}", sub.get_name()), pages)?;
    }
    Ok(())
}

/// What every page ends with.
fn common_sections(top: bool, to: &mut Vec<u8>) -> std::io::Result<()> {
    let mut roff = Roff::default();
    roff.control("SH", ["EXIT STATUS"]);
    let statuses = [
        ("0", "Done, or there was nothing to do."),
        ("1", "Failed; status and doctor: something needs attention."),
        ("2", "Wrong usage."),
        ("3", "Refused, with the reason; nothing was changed."),
        ("4", "Not authorized."),
        ("10", "With --check: something would change."),
        ("130", "Cancelled. The message says what remains, if anything does."),
    ];
    for (code, what) in statuses {
        roff.control("TP", []);
        roff.text([Inline::Bold(code.into())]);
        roff.text([Inline::Roman(what.into())]);
    }
    if top {
        roff.control("SH", ["FILES"]);
        let files = [
            (
                "/var/lib/hostwright/runs",
                "What was done, and all that is needed to take it back. Below DIR with --root.",
            ),
            ("/var/lib/hostwright/logs", "The whole output of builds."),
            ("/var/cache/hostwright", "What can be made anew; `hostwright vmware clean` empties it."),
            ("/etc/hostwright/adaptations.d", "Further adaptations of module sources."),
            ("~/.config/hostwright/profiles", "Saved choices, one JSON document each."),
        ];
        for (path, what) in files {
            roff.control("TP", []);
            roff.text([Inline::Italic(path.into())]);
            roff.text([Inline::Roman(what.into())]);
        }
        roff.control("SH", ["ENVIRONMENT"]);
        let variables = [
            ("NO_COLOR", "When set and not empty, no colours are used."),
            ("COLUMNS", "Width of the output when it is no terminal."),
            ("XDG_CONFIG_HOME", "Where hostwright/profiles is, instead of ~/.config."),
            (
                "HOSTWRIGHT_LOG",
                "What Hostwright says about its own work on standard error, for instance hostwright=debug.",
            ),
        ];
        for (name, what) in variables {
            roff.control("TP", []);
            roff.text([Inline::Bold(name.into())]);
            roff.text([Inline::Roman(what.into())]);
        }
    } else {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([Inline::Bold("hostwright".into()), Inline::Roman("(1)".into())]);
    }
    roff.to_writer(to)
}
