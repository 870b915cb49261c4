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
use crate::profile::{
    Document, IN_USE, VERSION, check_name, folder, load, made_folder, name_in_use, names, no_such, path_of,
    store, summary,
};
use clap::{Args, Subcommand};
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
