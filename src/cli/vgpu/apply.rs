// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu apply`, `continue`, `remove`, `upgrade`, `passthrough`: what changes a host.

use super::look::{Wanted, catalogue};
use super::unlock_source::{from_git, packed};
use crate::cli::confirm;
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::cli::undo::{take_back, undoable};
use crate::cli::work::{self, ApplyOptions, Request};
use crate::engine::{Inputs, RunState, RunSummary};
use crate::fetch::{inspect, verify_payload};
use crate::flows::vgpu::catalogue::Branch;
use crate::flows::vgpu::{Assignment, Choices, FLOW, KeptFile, Role, Stage};
use crate::ipc::seal_file;
use crate::tell::sentence;
use clap::Args;
use md5::Md5;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that come along.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Files that come along")]
pub(super) struct Given {
    /// The host driver's .run file; without it the one that `vgpu download` put into its folder
    #[arg(long, value_name = "FILE")]
    driver: Option<PathBuf>,
    /// The patch for exactly this build, where a card is unlocked
    #[arg(long, value_name = "FILE")]
    patch: Option<PathBuf>,
    /// Folder with the sources of vgpu_unlock-rs and their dependencies (`cargo vendor`), where a card is unlocked
    #[arg(long, value_name = "DIR", conflicts_with = "unlock_git")]
    unlock_source: Option<PathBuf>,
    /// The same from git, in the sandbox; with its dependencies where they are not in it
    #[arg(long, value_name = "URL", requires = "unlock_commit")]
    unlock_git: Option<String>,
    /// The commit that is taken: its whole hash
    #[arg(long, value_name = "HASH", requires = "unlock_git")]
    unlock_commit: Option<String>,
}

/// Set this host up for vGPU, after showing the plan and asking
///
/// It takes two stages with a restart between them: first repositories, packages, IOMMU, modules, kernel and signing
/// key; then the driver, its services and virtual functions. Each stage is shown before it runs, is verified, and can
/// be taken back (`hostwright vgpu remove`). Without --stage it is the first that has something to do.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    given: Given,
    /// Only this stage
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    stage: Option<Stage>,
    #[command(flatten)]
    options: ApplyOptions,
}

/// Go on with the second stage, after the restart
///
/// What was chosen stands in the journal of the first stage; only what was not given then has to be given now.
#[derive(Debug, Args)]
pub(crate) struct Continue {
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    options: ApplyOptions,
}

/// Take back everything that was set up for vGPU, the last first
///
/// The driver's own uninstaller runs, packages that came new go (never the running kernel), files come back byte for
/// byte. What somebody changed since is left alone.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Only the driver; the host stays prepared
    #[arg(long)]
    driver_only: bool,
    /// Only show what would come back, and what stands in the way
    #[arg(long)]
    preview: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Change to another branch: the driver of now is taken back, then the other is installed
///
/// When the other does not come up it is taken back too; the old driver is then installed again by `vgpu apply`.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// The branch to change to
    #[arg(long, value_name = "BRANCH")]
    branch: Branch,
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    options: ApplyOptions,
}

/// Hand whole cards to virtual machines, by their slot: no vGPU, no driver
#[derive(Debug, Args)]
pub(crate) struct Passthrough {
    /// PCI address of a card (0000:41:00.0)
    #[arg(value_name = "ADDRESS", required = true)]
    cards: Vec<String>,
    #[command(flatten)]
    options: ApplyOptions,
}

/// Give a virtual GPU to a virtual machine, by Proxmox's own tool (`qm set`)
#[derive(Debug, Args)]
pub(crate) struct Assign {
    /// Number of the virtual machine
    #[arg(value_name = "VM")]
    vm: u32,
    /// The type: its id (nvidia-63) or its name (GRID T4-2Q); `vgpu status` lists them
    #[arg(value_name = "TYPE")]
    kind: String,
    /// PCI address of the card; without it the first with a free place
    #[arg(long, value_name = "ADDRESS")]
    card: Option<String>,
    /// Number of the hostpci option
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..16))]
    slot: u8,
    #[command(flatten)]
    options: ApplyOptions,
}

/// Install a profile_override.toml for unlocked cards, after looking at every table, key and value
#[derive(Debug, Args)]
pub(crate) struct Overrides {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    options: ApplyOptions,
}

fn stage(text: &str) -> Result<Stage, String> {
    match text {
        "prepare" => Ok(Stage::Prepare),
        "install" => Ok(Stage::Install),
        other => Err(format!("`{other}` is no stage; it is prepare or install")),
    }
}

/// Runs `vgpu apply`.
pub(crate) fn apply(session: &mut Session, args: &Apply) -> Result<Exit, Problem> {
    consent(session, &args.options)?;
    let choices = Choices { stage: args.stage, ..args.wanted.choices() };
    go(session, choices, &args.given, &args.options)
}

/// Runs `vgpu continue`.
pub(crate) fn go_on(session: &mut Session, args: &Continue) -> Result<Exit, Problem> {
    consent(session, &args.options)?;
    let runs = session.machine()?.runs()?;
    let choices = begun(&runs)?;
    go(session, Choices { stage: Some(Stage::Install), ..choices }, &args.given, &args.options)
}

/// Runs `vgpu remove`.
pub(crate) fn remove(session: &mut Session, args: &Remove) -> Result<Exit, Problem> {
    if !args.preview {
        confirm::need_consent(args.yes, session.json(), "taken back")?;
    }
    let machine = session.machine()?;
    let all = machine.runs()?;
    let runs = undoable(&all, |r| r.flow == FLOW && (!args.driver_only || is_driver(r)));
    take_back(session, machine.as_ref(), &runs, args.preview, args.yes)
}

/// Runs `vgpu upgrade`.
pub(crate) fn upgrade(session: &mut Session, args: &Upgrade) -> Result<Exit, Problem> {
    consent(session, &args.options)?;
    let machine = session.machine()?;
    let all = machine.runs()?;
    let choices = Choices { branch: Some(args.branch), driver: None, patch: None, ..begun(&all)? };
    // Refused before anything is taken back when the file is not there or is another.
    let (choices, inputs) = fill(session, Choices { stage: Some(Stage::Install), ..choices }, &args.given)?;
    if choices.driver.is_none() {
        return Err(Problem::new(
            Exit::Refused,
            "no-driver",
            "Nothing was changed",
            "The driver of the other branch was not given, and is not in the folder of downloads.",
        )
        .remedy(format!("`hostwright vgpu download --branch {} --from FILE` gets it.", args.branch)));
    }
    let old = undoable(&all, |r| r.flow == FLOW && is_driver(r));
    if args.options.check {
        return if old.is_empty() {
            work::apply(session, request(&choices, inputs)?, &args.options)
        } else {
            take_back(session, machine.as_ref(), &old, true, true)?;
            Ok(Exit::WouldChange)
        };
    }
    let exit = take_back(session, machine.as_ref(), &old, false, args.options.yes)?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    work::apply(session, request(&choices, inputs)?, &args.options)
}

/// Runs `vgpu passthrough`.
pub(crate) fn passthrough(session: &mut Session, args: &Passthrough) -> Result<Exit, Problem> {
    consent(session, &args.options)?;
    let roles = args.cards.iter().map(|a| {
        let short = a.matches(':').count() == 1;
        let address = if short { format!("0000:{a}") } else { a.clone() };
        (address.to_ascii_lowercase(), Role::Passthrough)
    });
    let choices = Choices { roles: roles.collect(), stage: Some(Stage::Passthrough), ..Choices::default() };
    work::apply(session, request(&choices, Inputs::default())?, &args.options)
}

/// Runs `vgpu assign`.
pub(crate) fn assign(session: &mut Session, args: &Assign) -> Result<Exit, Problem> {
    consent(session, &args.options)?;
    let assign =
        Assignment { vm: args.vm, kind: args.kind.clone(), card: args.card.clone(), slot: args.slot };
    let choices = Choices { stage: Some(Stage::Assign), assign: Some(assign), ..Choices::default() };
    work::apply(session, request(&choices, Inputs::default())?, &args.options)
}

/// Runs `vgpu overrides`.
pub(crate) fn overrides(session: &mut Session, args: &Overrides) -> Result<Exit, Problem> {
    consent(session, &args.options)?;
    let text = std::fs::read_to_string(&args.file).map_err(|e| Problem::file("read", &args.file, &e))?;
    crate::flows::vgpu::overrides::check(&text)?;
    let choices = Choices { stage: Some(Stage::Overrides), overrides: Some(text), ..Choices::default() };
    work::apply(session, request(&choices, Inputs::default())?, &args.options)
}

pub(super) fn consent(session: &Session, options: &ApplyOptions) -> Result<(), Problem> {
    if options.check { Ok(()) } else { confirm::need_consent(options.yes, session.json(), "changed") }
}

/// Whether a run installed a driver.
fn is_driver(run: &RunSummary) -> bool {
    let choices: Option<Choices> = serde_json::from_value(run.choices.clone()).ok();
    run.title.contains("stage 2") || choices.is_some_and(|c| c.stage == Some(Stage::Install))
}

/// The choices of the last run of this flow that is in effect.
///
/// # Errors
/// When there is none.
pub(super) fn begun(runs: &[RunSummary]) -> Result<Choices, Problem> {
    let mut mine = runs.iter().filter(|r| r.flow == FLOW && r.state == RunState::Done);
    let of = |r: &RunSummary| serde_json::from_value::<Choices>(r.choices.clone()).ok();
    // Cards for passthrough, virtual machines and licences stand beside the two stages.
    let aside = |c: &Choices| c.stage.is_some_and(Stage::is_aside);
    mine.find_map(|r| of(r).filter(|c| !aside(c))).ok_or_else(|| {
        Problem::new(
            Exit::Refused,
            "nothing-begun",
            "There is nothing to go on with",
            "No first stage of vGPU was carried out here, or it was taken back.",
        )
        .remedy("`hostwright vgpu apply` begins.")
    })
}

pub(super) fn request(choices: &Choices, inputs: Inputs) -> Result<Request, Problem> {
    let choices = serde_json::to_value(choices).map_err(|e| Problem::internal("write the choices", &e))?;
    Ok(Request { flow: FLOW.to_owned(), choices, inputs })
}

fn go(
    session: &mut Session,
    choices: Choices,
    given: &Given,
    options: &ApplyOptions,
) -> Result<Exit, Problem> {
    let (choices, inputs) = fill(session, choices, given)?;
    work::apply(session, request(&choices, inputs)?, options)
}

/// Puts the files that were given into the choices and what comes with the run.
fn fill(session: &Session, mut choices: Choices, given: &Given) -> Result<(Choices, Inputs), Problem> {
    let mut inputs = Inputs::default();
    let found = match &given.driver {
        Some(path) => Some(path.clone()),
        None if choices.driver.is_some() => None,
        None => downloaded(session, &choices)?,
    };
    if let Some(path) = found {
        let (file, kept) = seal(&path)?;
        look_at_driver(session, &path, &file)?;
        inputs.large.insert(kept.sha256.clone(), Arc::new(file));
        choices.driver = Some(kept);
    }
    if let Some(path) = &given.patch {
        let (file, kept) = seal(path)?;
        inputs.large.insert(kept.sha256.clone(), Arc::new(file));
        choices.patch = Some(kept);
    }
    let sources = match (&given.unlock_source, &given.unlock_git, &given.unlock_commit) {
        (Some(path), ..) => Some(packed(path).map_err(|e| Problem::file("pack the sources at", path, &e))?),
        (None, Some(url), Some(commit)) => Some(from_git(&session.host()?, url, commit)?),
        _ => None,
    };
    if let Some(bytes) = sources {
        let sha256 = hex::encode(Sha256::digest(&bytes));
        choices.unlock_source = Some(sha256.clone());
        inputs.sealed.insert(sha256, bytes);
    }
    Ok((choices, inputs))
}

/// What `vgpu download` put into its folder for the branch that is decided for.
fn downloaded(session: &Session, choices: &Choices) -> Result<Option<PathBuf>, Problem> {
    let catalogue = catalogue(session)?;
    let rules =
        crate::flows::vgpu::Rules::built_in().map_err(|e| Problem::internal("read its own rules", &e))?;
    let facts = crate::flows::vgpu::gather(&session.host()?);
    let decision = crate::flows::vgpu::decide(choices, &facts, &catalogue, &rules)?;
    let Some(driver) = decision.branch.and_then(|b| catalogue.driver(b)) else { return Ok(None) };
    let path = super::download::default_folder()?.join(&driver.file_name);
    Ok(path.is_file().then_some(path))
}

fn seal(path: &Path) -> Result<(File, KeptFile), Problem> {
    let wrong = |e: &std::io::Error| Problem::file("read", path, e);
    let mut from = File::open(path).map_err(|e| wrong(&e))?;
    let (file, sha256, size) =
        seal_file(&mut from).map_err(|e| Problem::internal("hand over the file", &e))?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((file, KeptFile { name, sha256, size }))
}

/// Told here, and not only by the helper after the password.
fn look_at_driver(session: &Session, path: &Path, file: &File) -> Result<(), Problem> {
    let refused = |why: String| {
        let heading = format!("{} is not taken", path.display());
        Problem::new(Exit::Refused, "no-driver-file", &heading, sentence(&why))
    };
    let mut file = file.try_clone().map_err(|e| Problem::file("read", path, &e))?;
    let header = inspect(&mut file).map_err(|e| refused(e.to_string()))?;
    verify_payload(&mut file, &header).map_err(|e| refused(e.to_string()))?;
    file.seek(SeekFrom::Start(0)).map_err(|e| Problem::file("read", path, &e))?;
    if !header.version.as_deref().is_some_and(|v| header.is_host_driver(v)) {
        return Err(refused(format!("it is “{}”, and not a vGPU host driver for Linux KVM", header.label)));
    }
    let catalogue = catalogue(session)?;
    let known = catalogue.drivers().find(|d| header.version.as_ref() == Some(&d.host_driver));
    if let Some(md5) = known.and_then(|d| d.md5.as_ref()) {
        let mut hash = Md5::new();
        std::io::copy(&mut file, &mut hash).map_err(|e| Problem::file("read", path, &e))?;
        let is = hex::encode(hash.finalize());
        if is != *md5 {
            return Err(refused(format!(
                "its MD5 is {is}, and that of the published file is {md5}; get it again"
            )));
        }
    }
    Ok(())
}
