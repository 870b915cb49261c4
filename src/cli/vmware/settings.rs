// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware settings`: VMware's own settings in a person's files (`~/.vmware/config`, a guest's `.vmx`). They
//! are changed by this person, without root; what a file was is kept, and can be put back. The configuration of the
//! whole machine is a matter of `hostwright tuning`.

use super::settings_store::{Change, Store};
use crate::cli::confirm;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::Mark;
use crate::cli::session::Session;
use crate::flows::tuning::catalogue::{self, Change as What, Scope, Tunable, VmwareSetting};
use crate::flows::tuning::vmware_file::{ConfigError, ConfigFile};
use clap::{Args, Subcommand};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// VMware's own settings, for what you start or for one virtual machine; no root
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what can be set, how it is now, and when it helps and harms
    List(Place),
    /// Set, after showing the difference and asking
    Set(Set),
    /// Put a file back as it was before the latest change that `set` made, or before change N
    Undo(Undo),
}

#[derive(Debug, Args)]
struct Place {
    /// The settings of this virtual machine (its .vmx file); without: your own, for all that you start
    #[arg(long, value_name = "FILE")]
    vm: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Set {
    /// What is set, with another value than the proposed one where you want: vmware-trim vmware-named-file=TRUE
    #[arg(value_name = "NAME[=VALUE]", required = true)]
    set: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only look: exit status 10 when something would change
    #[arg(long, conflicts_with = "yes")]
    check: bool,
}

#[derive(Debug, Args)]
struct Undo {
    /// The number of the change; without: the latest
    #[arg(value_name = "N")]
    number: Option<u32>,
}

/// Runs `vmware settings`.
pub(super) fn run(session: &mut Session, args: &Settings) -> Result<Exit, Problem> {
    if session.root().is_some() {
        return Err(Problem::usage("These are files of a person, and a directory tree has none.")
            .remedy("Leave out --root; `hostwright --root DIR tuning` changes the configuration of the whole machine."));
    }
    match &args.command {
        Command::List(place) => list(session, place),
        Command::Set(args) => set(session, args),
        Command::Undo(args) => undo(session, args),
    }
}

impl Place {
    fn scope(&self) -> Scope {
        if self.vm.is_some() { Scope::Vm } else { Scope::User }
    }

    /// The file; it need not be there when it is the person's own.
    fn file(&self) -> Result<PathBuf, Problem> {
        match &self.vm {
            Some(vm) => {
                let path = std::path::absolute(vm).map_err(|e| Problem::file("find", vm, &e))?;
                let meta = std::fs::symlink_metadata(&path).map_err(|e| Problem::file("read", &path, &e))?;
                if !meta.is_file() {
                    return Err(Problem::usage(format!("{} is no file.", path.display()))
                        .remedy("Name the .vmx file itself, and not a link or a folder."));
                }
                Ok(path)
            }
            None => {
                let home = std::env::var_os("HOME").map(PathBuf::from).filter(|h| h.is_absolute());
                let home =
                    home.ok_or_else(|| Problem::usage("HOME does not say where your settings are."))?;
                Ok(home.join(".vmware/config"))
            }
        }
    }
}

/// Where what files were is kept.
const STORE: &str = "vmware-settings";

/// The largest file that is read: real ones have a few kilobytes.
const LIMIT: u64 = 1 << 20;

/// The file's bytes; `None` when it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Problem::file("read", path, &e)),
    };
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|e| Problem::file("read", path, &e))?;
    if bytes.len() as u64 > LIMIT {
        return Err(Problem::new(
            Exit::Refused,
            "too-large",
            "The file was not changed",
            format!("{} is larger than any settings of VMware's.", path.display()),
        ));
    }
    Ok(Some(bytes))
}

fn refused(path: &Path, error: &ConfigError) -> Problem {
    Problem::new(
        Exit::Refused,
        "not-understood",
        "The file was not changed",
        format!("{}: {error}.", path.display()),
    )
    .remedy("Look at that line and mend it.")
}

fn settings(scope: Scope) -> impl Iterator<Item = (&'static Tunable, &'static [VmwareSetting])> {
    catalogue::all().iter().filter_map(move |t| match &t.change {
        What::VmwareConfig { scopes, settings } if scopes.contains(&scope) => Some((t, settings.as_slice())),
        _ => None,
    })
}

fn list(session: &mut Session, place: &Place) -> Result<Exit, Problem> {
    let path = place.file()?;
    let file = ConfigFile::parse(&read(&path)?.unwrap_or_default()).map_err(|e| refused(&path, &e))?;
    let mut rows = Vec::new();
    for (tunable, settings) in settings(place.scope()) {
        let mut now = Vec::new();
        for setting in settings {
            now.push((setting, file.get(&setting.key).map_err(|e| refused(&path, &e))?));
        }
        rows.push((tunable, now));
    }
    if session.json() {
        let all: Vec<_> = rows
            .iter()
            .map(|(t, now)| {
                let keys: Vec<_> = now
                    .iter()
                    .map(|(s, now)| {
                        serde_json::json!({ "key": s.key, "now": now, "proposed": s.value, "values": s.values })
                    })
                    .collect();
                serde_json::json!({ "id": t.id, "title": t.title, "what": t.what, "helps": t.helps, "harms": t.harms,
                    "source": t.source, "risk": t.risk, "settings": keys })
            })
            .collect();
        session.screen.document(&serde_json::json!({ "file": path, "settings": all }))?;
        return Ok(Exit::Done);
    }
    let look = session.look();
    let mut text = format!("{}\n", look.bold(&path.display().to_string()));
    for (tunable, now) in rows {
        let so = now.iter().all(|(s, v)| v.as_ref().is_some_and(|v| v.eq_ignore_ascii_case(&s.value)));
        let mark = if so { Mark::Good } else { Mark::Neutral };
        text.push_str(&look.item(2, mark, &format!("{}: {}", tunable.id, tunable.title)));
        for (setting, value) in now {
            let value = value.unwrap_or_else(|| "not set".to_owned());
            let change = if value.eq_ignore_ascii_case(&setting.value) {
                value
            } else {
                format!("{value} {} {}", look.arrow(), setting.value)
            };
            text.push_str(&look.wrap(&format!("{} = {change}", setting.key), "    ", "      "));
        }
        for (label, words) in [
            ("Does", &tunable.what),
            ("Helps", &tunable.helps),
            ("Harms", &tunable.harms),
            ("Source", &tunable.source),
        ] {
            text.push_str(&look.wrap(words, &format!("    {label}: "), "      "));
        }
    }
    session.screen.print(&text);
    Ok(Exit::Done)
}

/// The file with what is wished. Pure.
fn wished(file: &mut ConfigFile, scope: Scope, wishes: &[String]) -> Result<(), String> {
    for wish in wishes {
        let (id, value) = wish.split_once('=').map_or((wish.as_str(), None), |(id, v)| (id, Some(v)));
        let Some((_, settings)) = settings(scope).find(|(t, _)| t.id == id) else {
            let known: Vec<&str> = settings(scope).map(|(t, _)| t.id.as_str()).collect();
            return Err(format!(
                "there is no setting `{}` here; there are: {}",
                id.escape_debug(),
                known.join(", ")
            ));
        };
        for (i, setting) in settings.iter().enumerate() {
            let value = value.filter(|_| i == 0).unwrap_or(&setting.value);
            let known = setting.values.iter().find(|v| v.eq_ignore_ascii_case(value)).ok_or_else(|| {
                let all = setting.values.join(", ");
                format!("`{}` is none of {all}, which {} takes", value.escape_debug(), setting.key)
            })?;
            file.set(&setting.key, known).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn set(session: &mut Session, args: &Set) -> Result<Exit, Problem> {
    let path = args.place.file()?;
    let before = read(&path)?;
    if args.place.vm.is_some() {
        refuse_running(&path)?;
    }
    let mut file =
        ConfigFile::parse(before.as_deref().unwrap_or_default()).map_err(|e| refused(&path, &e))?;
    wished(&mut file, args.place.scope(), &args.set).map_err(|why| {
        Problem::usage(crate::cli::errors::sentence(&why))
            .remedy("`hostwright vmware settings list` shows what can be set, and to what.")
    })?;
    let after = file.bytes();
    if before.as_deref().unwrap_or_default() == after {
        if session.json() {
            session.screen.document(&serde_json::json!({ "file": path, "changed": false }))?;
        } else {
            session.screen.print("It is so already; nothing to do.\n");
        }
        return Ok(Exit::Done);
    }
    if !args.check {
        confirm::need_consent(args.yes, session.json(), "changed")?;
    }
    let (old, new) = (
        String::from_utf8_lossy(before.as_deref().unwrap_or_default()).into_owned(),
        String::from_utf8_lossy(&after),
    );
    let name = path.display().to_string();
    let diff =
        similar::TextDiff::from_lines(old.as_str(), &new).unified_diff().header(&name, &name).to_string();
    if !session.json() {
        let text = session.look().dim_lines(&crate::cli::look::clean(&diff));
        session.screen.print(&text);
    }
    if args.check {
        return Ok(Exit::WouldChange);
    }
    if !args.yes && !confirm::ask(&session.voice, "Change this file?")? {
        return Err(Problem::cancelled());
    }
    let number =
        Store::find(STORE)?.change(Change { path: &path, before: before.as_deref(), after: &after })?;
    if session.json() {
        session.screen.document(
            &serde_json::json!({ "file": path, "changed": true, "number": number, "diff": diff }),
        )?;
    } else {
        session.screen.print(&format!(
            "Done. It counts when the guest is started next. Take it back: hostwright vmware settings undo {number}\n"
        ));
    }
    Ok(Exit::Done)
}

/// VMware writes a guest's file when the guest ends: what is changed meanwhile is lost.
fn refuse_running(path: &Path) -> Result<(), Problem> {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lck");
    if !Path::new(&lock).exists() {
        return Ok(());
    }
    Err(Problem::new(
        Exit::Refused,
        "runs",
        "The file was not changed",
        format!(
            "The virtual machine is open in VMware ({} is there), which writes the file itself.",
            lock.display()
        ),
    )
    .remedy("Switch it off and close it, and try again."))
}

fn undo(session: &mut Session, args: &Undo) -> Result<Exit, Problem> {
    let store = Store::find(STORE)?;
    let done = store.undo(args.number)?;
    refuse_running(&done.path)?;
    store.put_back(&done)?;
    if session.json() {
        session.screen.document(&serde_json::json!({ "file": done.path, "number": done.number }))?;
    } else {
        session.screen.print(&format!("{} is as it was before.\n", done.path.display()));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(scope: Scope, wishes: &[&str]) -> Result<String, String> {
        let mut file = ConfigFile::parse(b"displayName = \"x\"\n").unwrap();
        let wishes: Vec<String> = wishes.iter().map(|w| (*w).to_owned()).collect();
        wished(&mut file, scope, &wishes)?;
        Ok(String::from_utf8(file.bytes()).unwrap())
    }

    #[test]
    fn what_is_wished_is_written_and_only_what_there_is_can_be_wished() {
        assert_eq!(
            after(Scope::Vm, &["vmware-trim", "vmware-page-sharing=true"]).unwrap(),
            "displayName = \"x\"\nMemTrimRate = \"0\"\nsched.mem.pshare.enable = \"TRUE\"\n"
        );
        assert_eq!(
            after(Scope::User, &["vmware-locked-memory"]).unwrap(),
            "displayName = \"x\"\nprefvmx.useRecommendedLockedMemSize = \"TRUE\"\nprefvmx.minVmMemPct = \"100\"\n"
        );
        for (wish, why) in [
            ("vmware-locked-memory", "there is no setting"),
            ("swappiness", "there is no setting"),
            ("vmware-trim=7", "is none of 0, 30"),
            ("vmware-trim=0\"\nevil = \"1", "is none of"),
        ] {
            assert!(after(Scope::Vm, &[wish]).unwrap_err().contains(why), "{wish}");
        }
    }
}
