// SPDX-License-Identifier: GPL-3.0-or-later
//! The folder that profiles are kept in, and profiles in files of a person's. The command line and the assistant share
//! them; what a profile is, is in [`crate::flows::profile`].

use crate::flows::profile::{self, LIMIT};
use crate::flows::{tuning, vmware, wayland};
use crate::host::Root;
use crate::tell::{Exit, Problem};
use rustix::fs::{FileType, Mode, OFlags};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

pub(crate) use crate::flows::profile::Profile as Document;
use vmware::choices::Choices;

/// The name of the file that says which profile is in use.
pub(crate) const IN_USE: &str = "/in-use";

fn wrong(from: &str, why: &profile::ProfileError) -> Problem {
    let why = why.to_string();
    let mut letters = why.chars();
    let reason = letters.next().map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect());
    Problem::new(
        Exit::Usage,
        "bad-profile",
        &format!("{from} is no profile that can be used"),
        format!("{}.", reason.trim_end_matches('.')),
    )
    .remedy(match why {
        _ if why.starts_with("it has version") => {
            "Install the newer Hostwright here too, or save the profile anew with this one."
        }
        _ => "`hostwright profile show` shows how one looks; data/schemas/profile.json describes it.",
    })
}

/// The choices that a profile has for VMware's modules.
///
/// # Errors
/// When it has none.
pub(crate) fn vmware_of(document: &Document) -> Result<Choices, Problem> {
    document.flows.vmware.clone().ok_or_else(|| {
        let reason = format!("{} has no choices for them.", document.name);
        Problem::new(Exit::Usage, "no-such-flow", "This profile is not for VMware's modules", reason).remedy(
            "`hostwright apply --profile` does what it is for; or save one with `hostwright profile save`.",
        )
    })
}

/// A name is a file name too.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    profile::check_name(name).map_err(|why| {
        Problem::usage(format!("{why}.")).remedy("Use 1 to 64 letters, digits, dots, dashes and underscores.")
    })
}

/// A profile document in a file of a person's (`-`: standard input). Links are followed, as with any other file that
/// somebody names; a pipe or a device is not waited for.
///
/// # Errors
/// When it cannot be read, or is no valid profile.
pub(crate) fn read_file(path: &Path) -> Result<Document, Problem> {
    let called =
        if path.as_os_str() == "-" { "Standard input".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes)
    } else {
        // Opening a pipe that nobody writes to would wait for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from).and_then(|file| {
            if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
                return Err(std::io::Error::other("it is no file; `-` reads standard input"));
            }
            std::fs::File::from(file).take(LIMIT + 1).read_to_end(&mut bytes)
        })
    };
    read.map_err(|e| Problem::file("read", path, &e))?;
    Document::from_bytes(&bytes).map_err(|e| wrong(&called, &e))
}

/// A document that is made from what a person gave.
pub(crate) fn read_value(value: Value) -> Result<Document, Problem> {
    Document::from_json(value).map_err(|e| wrong("What was given", &e))
}

pub(crate) fn no_such(name: &str) -> Problem {
    Problem::new(Exit::Refused, "no-such-profile", &format!("There is no profile `{name}`"), "")
        .remedy("`hostwright profile list` lists them; a file is named with a slash: ./desk.json")
}

/// The folder of the profiles; `None` when it is not there and not to be made.
pub(crate) fn folder(make: bool) -> Result<Option<Root>, Problem> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let config = config.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".config")));
    let Some(config) = config.filter(|c| c.is_absolute()) else {
        return Err(Problem::usage("Neither HOME nor XDG_CONFIG_HOME says where profiles are kept."));
    };
    let dir = config.join("hostwright/profiles");
    if make {
        std::fs::create_dir_all(&dir).map_err(|e| Problem::file("make the folder", &dir, &e))?;
    }
    match Root::open(&dir) {
        Ok(root) => Ok(Some(root)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(Problem::file("open the folder", &dir, &e.source)),
    }
}

pub(crate) fn made_folder() -> Result<Root, Problem> {
    folder(true)?.ok_or_else(|| Problem::internal("make the folder of the profiles", &"it is not there"))
}

pub(crate) fn path_of(name: &str) -> String {
    format!("/{name}.json")
}

pub(crate) fn load(root: &Root, name: &str) -> Result<Document, Problem> {
    let bytes = match root.read_at_most(&path_of(name), LIMIT) {
        Ok(bytes) => bytes,
        Err(e) if e.is_not_found() => return Err(no_such(name)),
        Err(e) => return Err(e.into()),
    };
    Document::from_bytes(&bytes).map_err(|e| {
        let mut problem = wrong(&format!("The profile `{name}`"), &e);
        problem.exit = Exit::Failed;
        problem
    })
}

pub(crate) fn store(root: &Root, document: &Document, force: bool) -> Result<(), Problem> {
    check_name(&document.name)?;
    let path = path_of(&document.name);
    if !force && root.symlink_metadata(&path).is_ok() {
        return Err(Problem::new(
            Exit::Refused,
            "profile-exists",
            &format!("There is a profile `{}` already", document.name),
            "",
        )
        .remedy("Add --force to replace it."));
    }
    Ok(root.write(&path, document.text().as_bytes(), 0o600, None)?)
}

/// Saves choices of a flow under a name that is not taken yet.
///
/// # Errors
/// When the name is no name or taken, or the choices are not valid.
#[cfg_attr(not(feature = "gui"), allow(dead_code, reason = "the command line can replace one too"))]
pub(crate) fn save(name: &str, flow: &str, choices: &Value) -> Result<(), Problem> {
    let flows = serde_json::json!({ flow: choices });
    let document =
        read_value(serde_json::json!({ "version": profile::VERSION, "name": name, "flows": flows }))?;
    store(&made_folder()?, &document, false)
}

pub(crate) fn names(root: &Root) -> Result<Vec<String>, Problem> {
    let names = root.list("/")?.into_iter().filter_map(|e| e.name.strip_suffix(".json").map(str::to_owned));
    Ok(names.filter(|n| profile::check_name(n).is_ok()).collect())
}

pub(crate) fn name_in_use(root: &Root) -> Result<Option<String>, Problem> {
    match root.read_at_most(IN_USE, 200) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The profile in use.
///
/// # Errors
/// When it cannot be read, or cannot be used.
#[cfg_attr(not(feature = "gui"), allow(dead_code, reason = "the command line reads it step by step"))]
pub(crate) fn in_use() -> Result<Option<Document>, Problem> {
    let Some(root) = folder(false)? else { return Ok(None) };
    let Some(name) = name_in_use(&root)? else { return Ok(None) };
    load(&root, &name).map(Some)
}

/// Begins to use a profile, or none.
///
/// # Errors
/// When there is none of that name, or it cannot be used.
#[cfg_attr(not(feature = "gui"), allow(dead_code, reason = "the command line does it step by step"))]
pub(crate) fn use_one(name: Option<&str>) -> Result<(), Problem> {
    let root = made_folder()?;
    match name {
        Some(name) => {
            load(&root, name)?;
            Ok(root.write(IN_USE, format!("{name}\n").as_bytes(), 0o600, None)?)
        }
        None if root.exists(IN_USE) => Ok(root.remove_file(IN_USE)?),
        None => Ok(()),
    }
}

/// The choices that differ from the defaults, in a line.
pub(crate) fn summary(document: &Document) -> String {
    let flows = [
        (vmware::FLOW, document.flows.vmware.as_ref().map(differs)),
        (wayland::FLOW, document.flows.wayland.as_ref().map(differs)),
        (tuning::FLOW, document.flows.tuning.as_ref().map(differs)),
    ];
    let several = flows.iter().filter(|(_, c)| c.is_some()).count() > 1;
    let parts: Vec<String> = flows
        .into_iter()
        .filter_map(|(flow, choices)| Some((flow, choices?)))
        .map(
            |(flow, choices)| {
                if several || flow != vmware::FLOW { format!("{flow} ({choices})") } else { choices }
            },
        )
        .collect();
    let choices = if parts.is_empty() { "no choices".to_owned() } else { parts.join("; ") };
    if document.about.is_empty() { choices } else { format!("{}: {choices}", document.about) }
}

fn differs<T: Default + serde::Serialize>(choices: &T) -> String {
    let (Ok(Value::Object(ours)), Ok(Value::Object(defaults))) =
        (serde_json::to_value(choices), serde_json::to_value(T::default()))
    else {
        return String::new();
    };
    let parts: Vec<String> = ours
        .iter()
        .filter(|(k, v)| defaults.get(*k) != Some(v))
        .map(|(k, v)| format!("{k}: {}", v.to_string().replace('"', "")))
        .collect();
    if parts.is_empty() { "all defaults".into() } else { parts.join(", ") }
}
