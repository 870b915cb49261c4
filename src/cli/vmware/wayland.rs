// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware wayland`: VMware in a Wayland session.

use super::settings_store::{Change, Store};
use crate::cli::detect::{Row, render_rows};
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::Mark;
use crate::cli::session::Session;
use crate::cli::work::{self, ApplyOptions, Request};
use crate::detect::launchers::desktop::bypasses;
use crate::engine::Inputs;
use crate::flows::wayland::{Choices, FLOW, Launcher, State, Wish, look};
use crate::host::{Command, Host};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// VMware in a Wayland session: launchers that go through XWayland, keyboard grabs
#[derive(Debug, Args)]
pub(crate) struct Wayland {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say how each launcher stands; ends with 1 when one needs the fix
    Status,
    /// Let the launchers go through XWayland in a Wayland session, after showing the plan and asking
    ///
    /// What a launcher was is kept beside it as NAME.original. After an update of the product the same command does it
    /// again.
    Apply(Launchers),
    /// Make the launchers what the product has again
    Remove(Launchers),
    /// Let your own menu start the launchers where the machine's desktop files go past them (no root)
    ///
    /// Writes a copy of such a desktop file into your own folder of applications; one that you have there already is left
    /// alone.
    Desktop(Desktop),
    /// Let VMware's windows take the keyboard in a GNOME session on Wayland (your own setting, no root)
    Grabs(Grabs),
}

#[derive(Debug, Args)]
struct Launchers {
    /// Just these launchers: vmware, vmplayer, …; all without it
    #[arg(value_name = "NAME")]
    only: Vec<String>,
    #[command(flatten)]
    apply: ApplyOptions,
}

#[derive(Debug, Args)]
struct Desktop {
    /// Take the copies away again
    #[arg(long)]
    undo: bool,
    /// Only look: exit status 10 when something would change
    #[arg(long, conflicts_with = "undo")]
    check: bool,
}

#[derive(Debug, Args)]
struct Grabs {
    /// Put back what was set before
    #[arg(long)]
    undo: bool,
    /// Only look: exit status 10 when something would change
    #[arg(long, conflicts_with = "undo")]
    check: bool,
}

/// Runs `vmware wayland`.
pub(super) fn run(session: &mut Session, args: &Wayland) -> Result<Exit, Problem> {
    match &args.command {
        What::Status => status(session),
        What::Apply(args) => change(session, Wish::Fix, args),
        What::Remove(args) => change(session, Wish::Remove, args),
        What::Desktop(args) => desktop(session, args),
        What::Grabs(args) => grabs(session, args),
    }
}

fn change(session: &mut Session, wish: Wish, args: &Launchers) -> Result<Exit, Problem> {
    let choices = serde_json::to_value(Choices { wish, only: args.only.clone() })
        .map_err(|e| Problem::internal("write the choices", &e))?;
    work::apply(session, Request { flow: FLOW.to_owned(), choices, inputs: Inputs::default() }, &args.apply)
}

fn status(session: &mut Session) -> Result<Exit, Problem> {
    let facts = look(&session.host()?)?;
    let attention =
        facts.launchers.iter().any(|l| matches!(l.state, State::Plain | State::Fixed { current: false }));
    if session.json() {
        session.screen.document(&serde_json::json!({ "attention": attention, "facts": facts }))?;
    } else if facts.launchers.is_empty() {
        session.screen.print(&format!("There are no launchers of VMware's in {}.\n", facts.bindir));
    } else {
        let rows = facts.launchers.iter().map(|l| row(session, l)).collect();
        let text = render_rows(session.look(), &[("", rows)]);
        session.screen.print(&text);
    }
    Ok(if attention { Exit::Failed } else { Exit::Done })
}

fn row(session: &Session, launcher: &Launcher) -> Row {
    let fix = session.command("vmware wayland apply");
    let name = &launcher.name;
    match &launcher.state {
        State::Plain if launcher.originals.is_empty() => {
            Row::new(Mark::Warning, name, "opens its windows on Wayland, where they do not work").remedy(fix)
        }
        State::Plain => {
            Row::new(Mark::Warning, name, "was replaced since it was fixed, by an update of the product")
                .remedy(fix)
        }
        State::Fixed { current: true } => {
            Row::new(Mark::Good, name, "goes through XWayland in a Wayland session")
        }
        State::Fixed { current: false } => {
            Row::new(Mark::Warning, name, "goes through XWayland by an earlier version's fix").remedy(fix)
        }
        State::FixedByOthers => {
            Row::new(Mark::Neutral, name, "goes through XWayland by something else's doing")
        }
        State::Unknown { why } => Row::new(Mark::Unknown, name, format!("left alone: {why}")),
    }
}

/// Where what was made is kept.
const DESKTOP_STORE: &str = "desktop-files";

/// The caller's own desktop files (XDG Base Directory Specification).
fn own_applications() -> Result<PathBuf, Problem> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let data = data.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/share")));
    data.filter(|p| p.is_absolute())
        .map(|p| p.join("applications"))
        .ok_or_else(|| Problem::usage("Neither HOME nor XDG_DATA_HOME says where your applications are."))
}

fn desktop(session: &mut Session, args: &Desktop) -> Result<Exit, Problem> {
    if session.root().is_some() {
        return Err(Problem::usage("These are files of a person, and a directory tree has none."));
    }
    if args.undo {
        let store = Store::find(DESKTOP_STORE)?;
        let mut text = String::new();
        while let Some(done) = store.latest()? {
            store.put_back(&done)?;
            text.push_str(&format!("{} is as it was before.\n", done.path.display()));
        }
        session.screen.print(if text.is_empty() { "There is nothing to take away.\n" } else { &text });
        return Ok(Exit::Done);
    }
    let host = session.host()?;
    let facts = look(&host)?;
    let names: Vec<&str> = facts.launchers.iter().map(|l| l.name.as_str()).collect();
    let folder = own_applications()?;
    let (mut text, mut wanted) = (String::new(), Vec::new());
    let look = session.look();
    for bypass in bypasses(&host, &facts.bindir, &names)? {
        let own = folder.join(&bypass.name);
        match std::fs::read_to_string(&own) {
            Ok(there) if there == bypass.rerouted => {}
            Ok(_) => text.push_str(&look.item(
                0,
                Mark::Neutral,
                &format!("{} is your own and is left alone; it lies over {}", own.display(), bypass.path),
            )),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => wanted.push((own, bypass)),
            Err(e) => return Err(Problem::file("read", &own, &e)),
        }
    }
    if wanted.is_empty() {
        text.push_str("Nothing to do: your menu starts VMware's launchers.\n");
        session.screen.print(&text);
        return Ok(Exit::Done);
    }
    for (own, bypass) in &wanted {
        if !args.check {
            Store::find(DESKTOP_STORE)?.change(Change {
                path: own,
                before: None,
                after: bypass.rerouted.as_bytes(),
            })?;
        }
        let verb = if args.check { "would be made" } else { "was made" };
        text.push_str(&look.item(
            0,
            Mark::Good,
            &format!("{} {verb}: {} starts VMware past its launcher", own.display(), bypass.path),
        ));
    }
    if !args.check {
        text.push_str("Take it back with: hostwright vmware wayland desktop --undo\n");
    }
    session.screen.print(&text);
    Ok(if args.check { Exit::WouldChange } else { Exit::Done })
}

/// GNOME's settings for keyboard grabs of X11 programs (schema org.gnome.mutter.wayland).
const SCHEMA: &str = "org.gnome.mutter.wayland";
const ALLOW: &str = "xwayland-allow-grabs";
const RULES: &str = "xwayland-grab-access-rules";
/// The window classes of Workstation and Player.
const CLASSES: [&str; 2] = ["Vmware", "Vmplayer"];

fn grabs(session: &mut Session, args: &Grabs) -> Result<Exit, Problem> {
    if session.root().is_some() {
        return Err(Problem::usage(
            "The setting is that of a session; it cannot be made in a directory tree.",
        ));
    }
    let host = session.host()?;
    let kept = kept_file()?;
    if args.undo {
        let text = std::fs::read_to_string(&kept)
            .map_err(|e| Problem::file("read what was set before from", &kept, &e))?;
        let before: [String; 2] = serde_json::from_str(&text)
            .map_err(|e| Problem::file("read what was set before from", &kept, &std::io::Error::other(e)))?;
        gsettings(&host, &["set", SCHEMA, ALLOW, &before[0]])?;
        gsettings(&host, &["set", SCHEMA, RULES, &before[1]])?;
        std::fs::remove_file(&kept).map_err(|e| Problem::file("remove", &kept, &e))?;
        session.screen.print("The keyboard setting is as it was.\n");
        return Ok(Exit::Done);
    }
    let desktop = std::env::var("XDG_CURRENT_DESKTOP").unwrap_or_default();
    if !desktop.split(':').any(|d| d.eq_ignore_ascii_case("gnome")) {
        let now = if desktop.is_empty() {
            "no desktop says what it is".to_owned()
        } else {
            format!("this is {desktop}")
        };
        return Err(Problem::new(
            Exit::Refused,
            "not-gnome",
            "There is nothing to set here",
            format!("Only GNOME has a setting for this; {now}."),
        )
        .remedy(
            "KDE Plasma lets XWayland windows take the keyboard by itself. On wlroots compositors (sway, labwc…) \
             bind a key to a mode without bindings, and switch to it for VMware.",
        ));
    }
    let before = [gsettings(&host, &["get", SCHEMA, ALLOW])?, gsettings(&host, &["get", SCHEMA, RULES])?];
    let rules = with_classes(&before[1]);
    if before[0] == "true" && rules.is_none() {
        session.screen.print("VMware's windows may take the keyboard already.\n");
        return Ok(Exit::Done);
    }
    if args.check {
        return Ok(Exit::WouldChange);
    }
    // Once only: what a second call finds is our own.
    if !kept.exists() {
        let text = serde_json::to_string(&before).map_err(|e| Problem::internal("write what was set", &e))?;
        let write =
            kept.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&kept, text));
        write.map_err(|e| Problem::file("write what was set before to", &kept, &e))?;
    }
    gsettings(&host, &["set", SCHEMA, ALLOW, "true"])?;
    if let Some(rules) = rules {
        gsettings(&host, &["set", SCHEMA, RULES, &rules])?;
    }
    let now = gsettings(&host, &["get", SCHEMA, RULES])?;
    if gsettings(&host, &["get", SCHEMA, ALLOW])? != "true" || with_classes(&now).is_some() {
        return Err(Problem::new(
            Exit::Failed,
            "not-set",
            "The setting was not taken",
            "GNOME keeps another value.",
        )
        .remedy("Look whether an administrator locked it (dconf)."));
    }
    session.screen.print(
        "VMware's windows may take the keyboard now. Take it back with: hostwright vmware wayland grabs --undo\n",
    );
    Ok(Exit::Done)
}

/// The rules (a GVariant array of strings) with VMware's classes; `None` when they are in it.
fn with_classes(rules: &str) -> Option<String> {
    let inner = rules.trim().trim_start_matches("@as").trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    let missing: Vec<String> = CLASSES
        .iter()
        .map(|c| format!("'{c}'"))
        .filter(|c| !inner.split(',').any(|rule| rule.trim() == c))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let all: Vec<String> = (!inner.is_empty()).then(|| inner.to_owned()).into_iter().chain(missing).collect();
    Some(format!("[{}]", all.join(", ")))
}

fn gsettings(host: &Host, args: &[&str]) -> Result<String, Problem> {
    let mut command = Command::new("gsettings").args(args.iter().copied()).timeout(Duration::from_secs(20));
    // The settings are those of the session.
    for name in ["HOME", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_DIRS"] {
        if let Ok(value) = std::env::var(name) {
            command = command.env(name, value);
        }
    }
    match host.runner().run_ok(&command) {
        Ok(output) => Ok(output.stdout.trim().to_owned()),
        Err(e) => {
            Err(Problem::new(Exit::Failed, "gsettings", "GNOME's settings could not be used", e.to_string())
                .remedy(
                    "Do this in your own GNOME session, with gsettings (package libglib2.0-bin) installed.",
                ))
        }
    }
}

/// Where what was set before is kept.
fn kept_file() -> Result<PathBuf, Problem> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let state = state.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state")));
    state.filter(|p| p.is_absolute()).map(|p| p.join("hostwright/wayland-grabs.json")).ok_or_else(|| {
        Problem::usage("Neither HOME nor XDG_STATE_HOME says where to keep what was set before.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_others_stay_and_ours_come_once() {
        assert_eq!(with_classes("@as []").as_deref(), Some("['Vmware', 'Vmplayer']"));
        assert_eq!(with_classes("['gnome-boxes']").as_deref(), Some("['gnome-boxes', 'Vmware', 'Vmplayer']"));
        assert_eq!(with_classes("['Vmware', 'x', 'Vmplayer']"), None);
        assert_eq!(with_classes("nonsense"), None);
    }
}
