// SPDX-License-Identifier: GPL-3.0-or-later
//! Profile documents, and the folder that they are kept in. The command line and the assistant share them.

use crate::flows::vmware::FLOW;
use crate::flows::vmware::choices::Choices;
use crate::host::Root;
use crate::tell::{Exit, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The version of the profile document; raised when a reader of older ones would misread a new one.
pub(crate) const VERSION: u32 = 1;

/// The name of the file that says which profile is in use.
pub(crate) const IN_USE: &str = "/in-use";

/// A profile is never longer, in bytes.
const LIMIT: u64 = 1 << 20;

/// Named, saved choices of one flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// Its name.
    pub(crate) name: String,
    /// The flow whose choices they are.
    pub(crate) flow: String,
    /// The choices.
    pub(crate) choices: Value,
}

impl Document {
    /// A document whose choices are those of the vmware flow.
    pub(crate) fn read(value: Value, from: &str) -> Result<(Self, Choices), Problem> {
        let wrong = |why: String| {
            Problem::new(Exit::Usage, "bad-profile", &format!("{from} is no profile that can be used"), why)
        };
        // Told first: a newer document may well have fields that are unknown here.
        if let Some(version) = value.get("version").and_then(Value::as_u64)
            && version != u64::from(VERSION)
        {
            return Err(wrong(format!("It has version {version}; this Hostwright reads version {VERSION}."))
                .remedy("Save it again with this version of Hostwright."));
        }
        let document: Self = serde_json::from_value(value)
            .map_err(|e| wrong(format!("{e}.")).remedy("`hostwright profile show` shows how one looks."))?;
        check_name(&document.name)?;
        if document.flow != FLOW {
            return Err(wrong(format!("It is for the flow `{}`; there is: {FLOW}.", document.flow)));
        }
        let choices = Choices::from_json(&document.choices)
            .map_err(|e| wrong(format!("Its choices are not valid: {e}.")))?;
        Ok((document, choices))
    }
}

/// A name is a file name too.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) || name.starts_with(['.', '-']) {
        return Err(Problem::usage(format!("`{}` cannot be the name of a profile.", name.escape_debug()))
            .remedy("Use 1 to 64 letters, digits, dots, dashes and underscores."));
    }
    Ok(())
}

/// A profile document in a file of a person's.
///
/// # Errors
/// When it cannot be read, or is no valid profile.
#[cfg_attr(not(feature = "gui"), allow(dead_code, reason = "the command line reads them from pipes too"))]
pub(crate) fn read_file(path: &Path) -> Result<(Document, Choices), Problem> {
    let meta = std::fs::metadata(path).map_err(|e| Problem::file("read", path, &e))?;
    let called =
        path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    let wrong = |why: String| {
        Problem::new(Exit::Usage, "bad-profile", &format!("{called} is no profile that can be used"), why)
    };
    if !meta.is_file() || meta.len() > LIMIT {
        return Err(wrong("It is no file, or far too long for one.".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|e| Problem::file("read", path, &e))?;
    let value = serde_json::from_slice(&bytes).map_err(|e| wrong(format!("It is not valid JSON: {e}.")))?;
    Document::read(value, &called)
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

pub(crate) fn load(root: &Root, name: &str) -> Result<(Document, Choices), Problem> {
    let bytes = match root.read_at_most(&path_of(name), LIMIT) {
        Ok(bytes) => bytes,
        Err(e) if e.is_not_found() => return Err(no_such(name)),
        Err(e) => return Err(e.into()),
    };
    let value = serde_json::from_slice(&bytes).map_err(|e| {
        Problem::new(
            Exit::Failed,
            "bad-profile",
            &format!("The profile `{name}` cannot be read"),
            format!("{e}."),
        )
    })?;
    Document::read(value, &format!("The profile `{name}`"))
}

pub(crate) fn store(root: &Root, document: &Document, force: bool) -> Result<(), Problem> {
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
    let mut text =
        serde_json::to_vec_pretty(document).map_err(|e| Problem::internal("write the profile", &e))?;
    text.push(b'\n');
    Ok(root.write(&path, &text, 0o600, None)?)
}

/// Saves choices of the vmware flow under a name that is not taken yet.
///
/// # Errors
/// When the name is no name or taken, or the choices are not valid.
#[cfg_attr(not(feature = "gui"), allow(dead_code, reason = "the command line can replace one too"))]
pub(crate) fn save(name: &str, choices: Value) -> Result<(), Problem> {
    let value = Document { version: VERSION, name: name.to_owned(), flow: FLOW.to_owned(), choices };
    let value = serde_json::to_value(value).map_err(|e| Problem::internal("write the profile", &e))?;
    let (document, _) = Document::read(value, "What was given")?;
    store(&made_folder()?, &document, false)
}

pub(crate) fn names(root: &Root) -> Result<Vec<String>, Problem> {
    Ok(root.list("/")?.into_iter().filter_map(|e| e.name.strip_suffix(".json").map(str::to_owned)).collect())
}

pub(crate) fn name_in_use(root: &Root) -> Result<Option<String>, Problem> {
    match root.read_at_most(IN_USE, 200) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The profile in use: its name and its choices.
///
/// # Errors
/// When it cannot be read, or its choices cannot be used.
#[cfg_attr(not(feature = "gui"), allow(dead_code, reason = "the command line reads it step by step"))]
pub(crate) fn in_use() -> Result<Option<(String, Choices)>, Problem> {
    let Some(root) = folder(false)? else { return Ok(None) };
    let Some(name) = name_in_use(&root)? else { return Ok(None) };
    let (document, choices) = load(&root, &name)?;
    Ok(Some((document.name, choices)))
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
pub(crate) fn summary(choices: &Choices) -> String {
    let (Ok(Value::Object(ours)), Ok(Value::Object(defaults))) =
        (serde_json::to_value(choices), serde_json::to_value(Choices::default()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_profile_with_an_unknown_field_is_refused_by_name() {
        let with = |choices: Value| json!({"version": 1, "name": "x", "flow": "vmware", "choices": choices});
        assert!(Document::read(with(json!({})), "it").is_ok());
        let error = Document::read(with(json!({"kernel": "all"})), "it").unwrap_err();
        assert!(error.reason.contains("kernel"), "{error:?}");
        let mut extra = with(json!({}));
        extra["owner"] = json!("me");
        assert!(Document::read(extra, "it").unwrap_err().reason.contains("owner"));
    }

    #[test]
    fn a_newer_profile_is_told_apart_from_a_broken_one() {
        let newer = json!({"version": 2, "name": "x", "flow": "vmware", "choices": {}, "new": 1});
        assert!(Document::read(newer, "it").unwrap_err().reason.contains("version 2"));
    }

    #[test]
    fn a_name_never_leaves_the_folder() {
        for bad in ["", "..", "../x", "a/b", ".hidden", "-x", "a\nb"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_name("desk-2.old").is_ok());
    }
}
