// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright profile`: saved choices. A profile is one JSON document in a person's own configuration
//! folder; it holds choices only, never archives or passwords.

use super::errors::{Exit, Problem};
use super::look::table;
use super::plan::read_json;
use super::session::Session;
use super::vmware::options::Options;
use crate::flows::vmware::FLOW;
use crate::flows::vmware::choices::Choices;
use crate::host::Root;
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The version of the profile document; raised when a reader of older ones would misread a new one.
const VERSION: u32 = 1;

/// The name of the file that says which profile is in use.
const IN_USE: &str = "/in-use";

/// Keep choices under a name
///
/// Profiles are JSON documents in ~/.config/hostwright/profiles.
#[derive(Debug, Args)]
pub(crate) struct Profile {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Save the given choices for VMware's modules under a name
    Save(Save),
    /// List the saved profiles
    List,
    /// Show a profile
    Show(Which),
    /// Begin with this profile whenever none is named
    Use(Use),
    /// Look whether profile documents can be used
    Validate(Validate),
    /// Write a profile to a file or to standard output
    Export(ExportProfile),
    /// Save a profile from a file
    Import(Import),
    /// Remove a profile
    Remove(Which),
}

#[derive(Debug, Args)]
struct Save {
    /// Its name
    name: String,
    /// Replace a profile of the same name
    #[arg(long)]
    force: bool,
    /// Take the choices from a JSON document instead of the options below (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    choices: Option<PathBuf>,
    #[command(flatten)]
    options: Box<Options>,
}

#[derive(Debug, Args)]
struct Which {
    /// Its name
    name: String,
}

#[derive(Debug, Args)]
struct Use {
    /// Its name
    #[arg(required_unless_present = "none")]
    name: Option<String>,
    /// Use none any more
    #[arg(long, conflicts_with = "name")]
    none: bool,
}

#[derive(Debug, Args)]
struct Validate {
    /// Names of profiles, or files
    #[arg(required = true, value_name = "NAME|FILE")]
    which: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct ExportProfile {
    /// Its name
    name: String,
    /// The file, which must not exist; without it standard output
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Import {
    /// The file (`-`: standard input)
    file: PathBuf,
    /// Save it under this name instead of its own
    #[arg(long)]
    name: Option<String>,
    /// Replace a profile of the same name
    #[arg(long)]
    force: bool,
}

/// Named, saved choices of one flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// [`VERSION`].
    version: u32,
    /// Its name.
    name: String,
    /// The flow whose choices they are.
    flow: String,
    /// The choices.
    choices: Value,
}

impl Document {
    /// A document whose choices are those of the vmware flow.
    fn read(value: Value, from: &str) -> Result<(Self, Choices), Problem> {
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

/// Runs `profile`.
pub(crate) fn run(session: &mut Session, args: Profile) -> Result<Exit, Problem> {
    match args.command {
        Command::Save(args) => save(session, &args),
        Command::List => list(session),
        Command::Show(args) => show(session, &args.name),
        Command::Use(args) => use_profile(session, &args),
        Command::Validate(args) => validate(session, &args.which),
        Command::Export(args) => export(session, &args),
        Command::Import(args) => import(session, &args),
        Command::Remove(args) => remove(session, &args.name),
    }
}

/// The choices of a named profile or of a profile file.
///
/// # Errors
/// When there is none, or it is not valid.
pub(crate) fn vmware_choices(which: &Path) -> Result<Choices, Problem> {
    Ok(find(which)?.1)
}

/// The profile that is in use, with its choices.
///
/// # Errors
/// When one is in use and cannot be read.
pub(crate) fn in_use() -> Result<Option<(String, Choices)>, Problem> {
    let Some(root) = folder(false)? else { return Ok(None) };
    match name_in_use(&root)? {
        Some(name) => Ok(Some((name.clone(), load(&root, &name)?.1))),
        None => Ok(None),
    }
}

fn find(which: &Path) -> Result<(Document, Choices), Problem> {
    let text = which.to_string_lossy();
    if text == "-" || text.contains('/') || text.ends_with(".json") {
        return Document::read(read_json(which)?, &text);
    }
    check_name(&text)?;
    match folder(false)? {
        Some(root) => load(&root, &text),
        None => Err(no_such(&text)),
    }
}

/// A name is a file name too.
fn check_name(name: &str) -> Result<(), Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) || name.starts_with(['.', '-']) {
        return Err(Problem::usage(format!(
            "`{}` cannot be the name of a profile.",
            super::look::clean(name)
        ))
        .remedy("Use 1 to 64 letters, digits, dots, dashes and underscores."));
    }
    Ok(())
}

fn no_such(name: &str) -> Problem {
    Problem::new(Exit::Refused, "no-such-profile", &format!("There is no profile `{name}`"), "")
        .remedy("`hostwright profile list` lists them; a file is named with a slash: ./desk.json")
}

/// The folder of the profiles; `None` when it is not there and not to be made.
fn folder(make: bool) -> Result<Option<Root>, Problem> {
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

fn made_folder() -> Result<Root, Problem> {
    folder(true)?.ok_or_else(|| Problem::internal("make the folder of the profiles", &"it is not there"))
}

fn path_of(name: &str) -> String {
    format!("/{name}.json")
}

fn load(root: &Root, name: &str) -> Result<(Document, Choices), Problem> {
    let bytes = match root.read_at_most(&path_of(name), 1 << 20) {
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

fn store(root: &Root, document: &Document, force: bool) -> Result<(), Problem> {
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

fn names(root: &Root) -> Result<Vec<String>, Problem> {
    Ok(root.list("/")?.into_iter().filter_map(|e| e.name.strip_suffix(".json").map(str::to_owned)).collect())
}

fn name_in_use(root: &Root) -> Result<Option<String>, Problem> {
    match root.read_at_most(IN_USE, 200) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn save(session: &mut Session, args: &Save) -> Result<Exit, Problem> {
    check_name(&args.name)?;
    let choices = match &args.choices {
        Some(path) => read_json(path)?,
        None => {
            if args.options.source.is_some() || args.options.enroll_password_file.is_some() {
                return Err(Problem::usage("Archives and passwords are not part of a profile.").remedy(
                    "Save it without --source and --enroll-password-file, and give these with `apply`.",
                ));
            }
            let choices = args.options.choices()?;
            serde_json::to_value(choices).map_err(|e| Problem::internal("write the choices", &e))?
        }
    };
    let value = Document { version: VERSION, name: args.name.clone(), flow: FLOW.to_owned(), choices };
    let value = serde_json::to_value(value).map_err(|e| Problem::internal("write the profile", &e))?;
    let (document, _) = Document::read(value, "What was given")?;
    store(&made_folder()?, &document, args.force)?;
    said(session, &format!("Saved. Use it with: hostwright vmware apply --profile {}", args.name));
    Ok(Exit::Done)
}

/// Words that a program does not want to read.
fn said(session: &mut Session, text: &str) {
    if !session.json() {
        session.screen.print(&format!("{text}\n"));
    }
}

fn list(session: &mut Session) -> Result<Exit, Problem> {
    let root = folder(false)?;
    let (names, used) = match &root {
        Some(root) => (names(root)?, name_in_use(root)?),
        None => (Vec::new(), None),
    };
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for name in names {
        let read = root.as_ref().map(|root| load(root, &name));
        let what = match &read {
            Some(Ok((_, choices))) => summary(choices),
            Some(Err(problem)) => format!("cannot be used: {}", problem.reason),
            None => continue,
        };
        let in_use = used.as_deref() == Some(&name);
        documents.push(serde_json::json!({
            "name": name, "in_use": in_use, "valid": matches!(read, Some(Ok(_)))
        }));
        rows.push(vec![name, if in_use { "in use".into() } else { String::new() }, what]);
    }
    if session.json() {
        session.screen.document(&documents)?;
    } else if rows.is_empty() {
        session.screen.print("There are no profiles yet. Save one with: hostwright profile save NAME\n");
    } else {
        let text = table(session.look(), 0, &["Name", "", "Choices"], &rows);
        session.screen.print(&text);
    }
    Ok(Exit::Done)
}

/// The choices that differ from the defaults, in a line.
fn summary(choices: &Choices) -> String {
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

fn show(session: &mut Session, name: &str) -> Result<Exit, Problem> {
    let (document, _) = find(Path::new(name))?;
    print(session, &document)?;
    Ok(Exit::Done)
}

fn print(session: &mut Session, document: &Document) -> Result<(), Problem> {
    if session.json() {
        return session.screen.document(document);
    }
    let text = serde_json::to_string_pretty(document).map_err(|e| Problem::internal("write JSON", &e))?;
    session.screen.print(&format!("{text}\n"));
    Ok(())
}

fn use_profile(session: &mut Session, args: &Use) -> Result<Exit, Problem> {
    let Some(name) = &args.name else {
        if let Some(root) = folder(false)?
            && root.symlink_metadata(IN_USE).is_ok()
        {
            root.remove_file(IN_USE)?;
        }
        said(session, "No profile is in use.");
        return Ok(Exit::Done);
    };
    find(Path::new(name))?;
    made_folder()?.write(IN_USE, format!("{name}\n").as_bytes(), 0o600, None)?;
    said(session, &format!("`hostwright vmware` begins with the profile {name} from now on."));
    Ok(Exit::Done)
}

fn validate(session: &mut Session, which: &[PathBuf]) -> Result<Exit, Problem> {
    for path in which {
        let (document, choices) = find(path)?;
        said(session, &format!("{}: valid ({})", path.display(), summary(&choices)));
        if session.json() {
            session.screen.document(&serde_json::json!({ "name": document.name, "valid": true }))?;
        }
    }
    Ok(Exit::Done)
}

fn export(session: &mut Session, args: &ExportProfile) -> Result<Exit, Problem> {
    let (document, _) = find(Path::new(&args.name))?;
    let Some(path) = &args.file else {
        print(session, &document)?;
        return Ok(Exit::Done);
    };
    let text = serde_json::to_string_pretty(&document).map_err(|e| Problem::internal("write JSON", &e))?;
    super::export::write_new(path, format!("{text}\n").as_bytes(), 0o644)?;
    said(session, &format!("Written to {}.", path.display()));
    Ok(Exit::Done)
}

fn import(session: &mut Session, args: &Import) -> Result<Exit, Problem> {
    let (mut document, _) = Document::read(read_json(&args.file)?, &args.file.display().to_string())?;
    if let Some(name) = &args.name {
        check_name(name)?;
        document.name.clone_from(name);
    }
    store(&made_folder()?, &document, args.force)?;
    said(session, &format!("Saved as {}.", document.name));
    Ok(Exit::Done)
}

fn remove(session: &mut Session, name: &str) -> Result<Exit, Problem> {
    check_name(name)?;
    let Some(root) = folder(false)? else { return Err(no_such(name)) };
    match root.remove_file(&path_of(name)) {
        Ok(()) => {}
        Err(e) if e.is_not_found() => return Err(no_such(name)),
        Err(e) => return Err(e.into()),
    }
    if name_in_use(&root)?.as_deref() == Some(name) {
        root.remove_file(IN_USE)?;
    }
    said(session, &format!("Removed {name}."));
    Ok(Exit::Done)
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
