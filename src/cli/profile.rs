// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright profile`: saved choices. A profile is one JSON document in a person's own configuration
//! folder; it holds choices of one or several flows, never archives, passwords or paths of a machine.

use super::errors::{Exit, Problem};
use super::look::table;
use super::plan::read_json;
use super::session::Session;
use super::vmware::options::Options;
use crate::flows::profile::{Difference, VERSION, differences};
use crate::flows::vmware::choices::Choices;
use crate::flows::{tuning, vmware, wayland};
use crate::profile::{
    Document, IN_USE, check_name, folder, load, made_folder, name_in_use, names, no_such, path_of, read_file,
    read_value, store, summary, vmware_of,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

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
    /// Save choices under a name
    Save(Save),
    /// List the saved profiles
    List,
    /// Show a profile
    Show(Which),
    /// Begin with this profile whenever none is named
    Use(Use),
    /// Show in which settings two profiles differ
    Diff(Diff),
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
    /// What it is for, for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    about: String,
    /// Take the choices for VMware's modules from a JSON document instead of the options below (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    choices: Option<PathBuf>,
    /// Beside VMware's modules also this, with what it does by itself; can be given several times
    #[arg(long, value_enum, value_name = "FLOW")]
    with: Vec<With>,
    /// Leave VMware's modules out
    #[arg(long, requires = "with", conflicts_with = "choices")]
    without_vmware: bool,
    /// The choices for tuning, a JSON document (see `hostwright tuning list`)
    #[arg(long, value_name = "FILE")]
    tuning_choices: Option<PathBuf>,
    #[command(flatten)]
    options: Box<Options>,
}

/// What a profile can hold beside VMware's modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum With {
    /// VMware's launchers in a Wayland session
    Wayland,
    /// What evidence of the machine speaks for
    Tuning,
}

#[derive(Debug, Args)]
struct Diff {
    /// One profile: a name or a file
    #[arg(value_name = "NAME|FILE")]
    first: PathBuf,
    /// The other one
    #[arg(value_name = "NAME|FILE")]
    second: PathBuf,
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

/// Runs `profile`.
pub(crate) fn run(session: &mut Session, args: Profile) -> Result<Exit, Problem> {
    match args.command {
        Command::Save(args) => save(session, &args),
        Command::List => list(session),
        Command::Show(args) => show(session, &args.name),
        Command::Use(args) => use_profile(session, &args),
        Command::Diff(args) => diff(session, &args),
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
    vmware_of(&find(which)?)
}

/// The profile that is in use, with its choices.
///
/// # Errors
/// When one is in use and cannot be read.
pub(crate) fn in_use() -> Result<Option<(String, Choices)>, Problem> {
    let Some(root) = folder(false)? else { return Ok(None) };
    match name_in_use(&root)? {
        Some(name) => Ok(Some((name.clone(), vmware_of(&load(&root, &name)?)?))),
        None => Ok(None),
    }
}

/// A named profile, or one in a file.
///
/// # Errors
/// When there is none, or it is not valid.
pub(crate) fn find(which: &Path) -> Result<Document, Problem> {
    let text = which.to_string_lossy();
    if text == "-" || text.contains('/') || text.ends_with(".json") {
        return read_file(which);
    }
    check_name(&text)?;
    match folder(false)? {
        Some(root) => load(&root, &text),
        None => Err(no_such(&text)),
    }
}

fn save(session: &mut Session, args: &Save) -> Result<Exit, Problem> {
    check_name(&args.name)?;
    let mut flows = serde_json::Map::new();
    if !args.without_vmware {
        flows.insert(vmware::FLOW.to_owned(), vmware_to_save(args)?);
    }
    if args.with.contains(&With::Wayland) {
        flows.insert(wayland::FLOW.to_owned(), json!({}));
    }
    if let Some(path) = &args.tuning_choices {
        flows.insert(tuning::FLOW.to_owned(), read_json(path)?);
    } else if args.with.contains(&With::Tuning) {
        flows.insert(tuning::FLOW.to_owned(), json!({}));
    }
    let several = flows.len() > 1 || args.without_vmware;
    let document =
        read_value(json!({ "version": VERSION, "name": args.name, "about": args.about, "flows": flows }))?;
    store(&made_folder()?, &document, args.force)?;
    let command = if several { "apply" } else { "vmware apply" };
    said(session, &format!("Saved. Use it with: hostwright {command} --profile {}", args.name));
    Ok(Exit::Done)
}

fn vmware_to_save(args: &Save) -> Result<Value, Problem> {
    if let Some(path) = &args.choices {
        return read_json(path);
    }
    if args.options.source.is_some() || args.options.enroll_password_file.is_some() {
        return Err(Problem::usage("Archives and passwords are not part of a profile.")
            .remedy("Save it without --source and --enroll-password-file, and give these with `apply`."));
    }
    let choices = args.options.choices()?;
    serde_json::to_value(choices).map_err(|e| Problem::internal("write the choices", &e))
}

/// Ends with [`Exit::WouldChange`] when they differ.
fn diff(session: &mut Session, args: &Diff) -> Result<Exit, Problem> {
    let (first, second) = (find(&args.first)?, find(&args.second)?);
    let differences = differences(&first, &second);
    if session.json() {
        session.screen.document(&differences)?;
    } else if differences.is_empty() {
        session.screen.print("They say the same.\n");
    } else {
        let word = |v: &Option<Value>| match v {
            None => "-".to_owned(),
            Some(Value::String(text)) => super::look::clean(text),
            Some(other) => super::look::clean(&other.to_string()),
        };
        let row = |d: &Difference| vec![d.setting.clone(), word(&d.first), word(&d.second)];
        let rows: Vec<Vec<String>> = differences.iter().map(row).collect();
        let text = table(session.look(), 0, &["Setting", &first.name, &second.name], &rows);
        session.screen.print(&text);
    }
    Ok(if differences.is_empty() { Exit::Done } else { Exit::WouldChange })
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
            Some(Ok(document)) => summary(document),
            Some(Err(problem)) => {
                let why = if problem.reason.is_empty() { &problem.title } else { &problem.reason };
                format!("cannot be used: {why}")
            }
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

fn show(session: &mut Session, name: &str) -> Result<Exit, Problem> {
    let document = find(Path::new(name))?;
    print(session, &document)?;
    Ok(Exit::Done)
}

fn print(session: &mut Session, document: &Document) -> Result<(), Problem> {
    if session.json() {
        return session.screen.document(document);
    }
    session.screen.print(&document.text());
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
        let document = find(path)?;
        said(session, &format!("{}: valid ({})", path.display(), summary(&document)));
        if session.json() {
            session.screen.document(&serde_json::json!({ "name": document.name, "valid": true }))?;
        }
    }
    Ok(Exit::Done)
}

fn export(session: &mut Session, args: &ExportProfile) -> Result<Exit, Problem> {
    let document = find(Path::new(&args.name))?;
    let Some(path) = &args.file else {
        print(session, &document)?;
        return Ok(Exit::Done);
    };
    super::export::write_new(path, document.text().as_bytes(), 0o644)?;
    said(session, &format!("Written to {}.", path.display()));
    Ok(Exit::Done)
}

fn import(session: &mut Session, args: &Import) -> Result<Exit, Problem> {
    let mut document = read_file(&args.file)?;
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
