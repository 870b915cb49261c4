// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab boot`.

use super::machine::Machine;
use super::places::{self, Places};
use super::tell::{NO_STATUS, Teller, ended};
use crate::cli::errors::{Exit, Problem, sentence};
use crate::cli::session::Session;
use crate::cli::watch::Standing;
use crate::flows::lab::size::window_environment;
use crate::flows::lab::{find, runs};
use crate::guest::spec::{Boot as What, Disk, Firmware, Guest, GuestRoot, ImageFormat, KernelBoot, Task};
use crate::guest::{self, GuestError, Input, Setup};
use crate::host::Host;
use clap::Args;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

const AFTER: &str = "\
The exit status is that of COMMAND; 128 and its number when a signal ended it; 255 when the guest ended in another way \
(panic, oops, lock-up, out of memory, no time left) or could not be run, with the reason on standard error. Without a command it is 0 when \
the guest powered itself off or the --until line came, and 255 otherwise. 2 and 3: nothing was started. 130: cancelled.

Examples:
  hostwright lab boot --kernel 6.1.0-56-amd64 -- uname -r
  hostwright lab boot --kernel ~/linux --insert ./driver.ko -- cat /proc/modules
  hostwright lab boot --kernel running --root ./tree --init /sbin/init --until 'login:'
  hostwright lab boot --iso debian.iso --firmware secure-boot --disk 20G --keep --display gtk";

/// Boot a kernel, an ISO image or a disk, and tell what happened
///
/// One of --kernel, --iso and --disk says what is booted. A kernel is started directly, with an initramfs of
/// Hostwright's own: no boot loader, no firmware menu. The guest is ended and nothing of it is left when this
/// command ends, however it ends; what happened is in the run's folder (see `hostwright lab report`).
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct Boot {
    /// Boot this kernel: a release (`running`: this machine's), an image, or a build tree
    ///
    /// A release is looked for in /boot and below /lib/modules. Of a build tree arch/x86/boot/bzImage is taken.
    #[arg(short, long, value_name = "KERNEL", help_heading = "What to boot", conflicts_with = "iso")]
    kernel: Option<String>,
    /// Boot this ISO image
    #[arg(long, value_name = "FILE", help_heading = "What to boot")]
    iso: Option<PathBuf>,
    /// Give the guest a disk: an image (raw or qcow2), or the size of a new one (20G); can be given several times
    ///
    /// Without --kernel and --iso the first disk is booted. What the guest writes to an image goes into a layer
    /// that is thrown away, unless --writable is given. A new disk is in the run's folder, and is thrown away
    /// unless --keep is given.
    #[arg(short, long = "disk", value_name = "IMAGE|SIZE", help_heading = "What to boot")]
    disks: Vec<String>,
    /// Plug in a USB stick that holds this image; it is booted when nothing else is; can be given several times
    ///
    /// As with --disk, what the guest writes to it is thrown away unless --writable is given. A directly booted
    /// kernel has to load its own drivers (modprobe xhci_pci usb_storage sd_mod).
    #[arg(long, value_name = "IMAGE", help_heading = "What to boot")]
    usb: Vec<PathBuf>,
    /// Firmware for an ISO image or a disk
    #[arg(long, value_enum, default_value_t = FirmwareArg::Uefi, value_name = "KIND", help_heading = "What to boot")]
    firmware: FirmwareArg,

    /// Root of a directly booted kernel: `host`, `none`, a directory, or an image with a file system
    ///
    /// host: this machine's own files, as you may read them. none: just the initramfs, with the command's program
    /// in it; the quickest. The guest writes into its memory and changes nothing here, unless --writable is given.
    #[arg(
        long,
        value_name = "none|host|DIR|IMAGE",
        default_value = "host",
        help_heading = "A kernel's root and task"
    )]
    root: PathBuf,
    /// Let the guest change the shared directory or the images; without, all that it writes is thrown away
    #[arg(long, help_heading = "A kernel's root and task")]
    writable: bool,
    /// How a directory is shared: auto (virtiofsd where one fits, else 9p), 9p, or the path of a virtiofsd
    #[arg(long, value_name = "auto|9p|FILE", help_heading = "A kernel's root and task", requires = "kernel")]
    share: Option<PathBuf>,
    /// Let the root's own init take over (/sbin/init, /bin/bash) instead of running a command
    #[arg(
        long,
        value_name = "PATH",
        conflicts_with_all = ["command", "iso"],
        help_heading = "A kernel's root and task"
    )]
    init: Option<String>,
    /// Where the kernel's modules are; without: /lib/modules/RELEASE beside the image, then on this machine
    #[arg(long, value_name = "DIR", help_heading = "A kernel's root and task", requires = "kernel")]
    modules: Option<PathBuf>,
    /// Add words to the kernel command line
    #[arg(long, value_name = "WORDS", help_heading = "A kernel's root and task", requires = "kernel")]
    append: Vec<String>,
    /// Insert this module (a .ko file) before the task; can be given several times
    #[arg(long, value_name = "FILE", help_heading = "A kernel's root and task", requires = "kernel")]
    insert: Vec<PathBuf>,
    /// Hand over these files of the guest at its end (with *, ? in any part); can be given several times
    #[arg(long, value_name = "PATTERN", help_heading = "A kernel's root and task", requires = "kernel")]
    collect: Vec<String>,
    /// Set a variable of the command's environment; can be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable, help_heading = "A kernel's root and task")]
    env: Vec<(String, String)>,
    /// Working directory of the command; without: the current one with `--root host`, else /
    #[arg(long, value_name = "DIR", help_heading = "A kernel's root and task")]
    cwd: Option<String>,

    #[command(flatten)]
    machine: Machine,

    /// Call the guest NAME, for `hostwright lab list` and its companions
    #[arg(short, long, value_name = "NAME", value_parser = name, help_heading = "The run")]
    name: Option<String>,
    /// End the guest with success once a line of its console, or the name of a stage that it reports, matches
    #[arg(long, value_name = "REGEX", help_heading = "The run")]
    until: Option<String>,
    /// Show the console on standard error while the guest runs
    #[arg(short, long, help_heading = "The run")]
    console: bool,
    /// Keep the run's folder, and with it new disks and UEFI variables
    #[arg(long, help_heading = "The run")]
    keep: bool,
    /// Show the QEMU command as one could paste it, and start nothing
    #[arg(long, help_heading = "The run")]
    dry_run: bool,

    /// What runs in a directly booted kernel; nothing: success once the guest is up
    #[arg(last = true, value_name = "COMMAND", help_heading = "Arguments")]
    command: Vec<String>,
}

/// `--firmware`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FirmwareArg {
    /// SeaBIOS
    Bios,
    /// UEFI (OVMF)
    Uefi,
    /// UEFI with Secure Boot and Microsoft's keys
    SecureBoot,
}

impl From<FirmwareArg> for Firmware {
    fn from(arg: FirmwareArg) -> Self {
        match arg {
            FirmwareArg::Bios => Self::Bios,
            FirmwareArg::Uefi => Self::Uefi,
            FirmwareArg::SecureBoot => Self::SecureBoot,
        }
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}

/// A guest's name is a file name, and must not look like the number of a run.
pub(super) fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let number = text.chars().all(|c| c.is_ascii_digit());
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if text.len() > 64 || !begins || !text.chars().all(fits) {
        return Err(
            "a name has up to 64 letters, digits, `.`, `_` and `-`, and begins with one of the first two"
                .into(),
        );
    }
    if number || text == "last" {
        return Err("a number and `last` are names of runs".into());
    }
    Ok(text.to_owned())
}

/// Runs `lab boot`. What fails before there is a guest is not taken for the status of a command in it.
pub(crate) fn run(session: &mut Session, args: &Boot) -> Result<Exit, Problem> {
    boot(session, args).map_err(|problem| instead_of_failed(problem, Exit::Refused))
}

fn instead_of_failed(problem: Problem, exit: Exit) -> Problem {
    if matches!(problem.exit, Exit::Failed) { Problem { exit, ..problem } } else { problem }
}

fn boot(session: &mut Session, args: &Boot) -> Result<Exit, Problem> {
    let host = Host::machine()?;
    let places = Places::find()?;
    let mut guest = args.guest()?;
    let (number, folder) = runs::next(&places.runs, args.keep)?;
    let mut made = args.new_disks(&folder, &mut guest)?;
    let name = args.name.clone().unwrap_or_else(|| format!("run-{number}"));
    let mut setup = Setup::new(&host, &places.cache, &folder);
    setup.sharing = places::sharing(args.share.as_deref());
    setup.name = name;
    setup.keep = args.keep;
    setup.environment = window_environment(&guest);
    if args.dry_run {
        let (command, accelerator) = guest::dry_run(&guest, &setup)?;
        if session.json() {
            session
                .screen
                .document(&serde_json::json!({ "command": command, "accelerator": accelerator }))?;
        } else {
            session.screen.print(&format!("{command}\n"));
        }
        return Ok(Exit::Done);
    }
    setup.control = Some(places.running.join(&setup.name));
    let asked = matches!(&guest.boot, What::Kernel(k) if matches!(k.task, Task::Command { .. }));
    if asked {
        setup.input = input();
    }
    session.watch.set(Standing::Planning { elsewhere: false });
    let mut teller = Teller::new(session, args.console, !asked);
    let cancel = session.watch.cancel.clone();
    let result = guest::run(&guest, setup, &cancel, &mut |event| teller.event(&mut session.screen, &event));
    session.watch.set(Standing::Idle);
    if !args.keep {
        made.retain(|disk| std::fs::remove_file(disk).is_err());
    }
    let report = match result {
        Ok(report) => report,
        Err(e) => {
            runs::forget_unstarted(&folder);
            return Err(instead_of_failed(e.into(), Exit::Guest(NO_STATUS)));
        }
    };
    ended(session, number, &folder, &report, teller, asked)
}

impl Boot {
    /// The guest that is asked for.
    fn guest(&self) -> Result<Guest, Problem> {
        let images = self.disks.iter().filter(|d| find::size(d).is_err() || Path::new(d).exists());
        let mut disks = Vec::new();
        for path in images {
            let path = std::path::absolute(path).map_err(|e| Problem::file("find", Path::new(path), &e))?;
            disks.push(Disk { format: find::format(&path)?, writable: self.writable, usb: false, path });
        }
        for path in &self.usb {
            let path = std::path::absolute(path).map_err(|e| Problem::file("find", path, &e))?;
            disks.push(Disk { format: find::format(&path)?, writable: self.writable, usb: true, path });
        }
        let firmware = self.firmware.into();
        let direct = self.kernel.is_some();
        let boot = match (&self.kernel, &self.iso) {
            (Some(kernel), _) => What::Kernel(self.kernel(kernel)?),
            (None, Some(path)) => {
                let path = std::path::absolute(path).map_err(|e| Problem::file("find", path, &e))?;
                What::Iso { path, firmware }
            }
            (None, None) if self.disks.is_empty() && self.usb.is_empty() => {
                return Err(Problem::usage("Nothing was said about what to boot.")
                    .remedy("Give --kernel, --iso or --disk; `hostwright lab boot --help` has examples."));
            }
            (None, None) => What::Disk { firmware },
        };
        if !direct && !self.command.is_empty() {
            return Err(Problem::usage("A command can be run in a directly booted kernel only.").remedy(
                "Give --kernel, and the image as --root, or leave out the command and use --until.",
            ));
        }
        if let What::Iso { path, .. } = &boot {
            // As with disks: what is not there is refused before anything is made.
            path.metadata().map_err(|e| Problem::file("find", path, &e))?;
        }
        Ok(self.machine.guest(boot, disks, self.until.clone(), !direct))
    }

    fn kernel(&self, wanted: &str) -> Result<KernelBoot, Problem> {
        let place = find::kernel(wanted)?;
        let root = find::root(&self.root)?;
        let absolute = |p: &PathBuf| std::path::absolute(p).map_err(|e| Problem::file("find", p, &e));
        let host_root = root == GuestRoot::Directory { path: "/".into() };
        let task = match &self.init {
            Some(path) => Task::Init { path: path.clone(), args: vec![] },
            None => {
                let here = || std::env::current_dir().ok()?.to_str().map(str::to_owned);
                let cwd = self.cwd.clone().or_else(|| if host_root { here() } else { None });
                Task::Command { argv: self.command.clone(), env: self.env.clone(), cwd }
            }
        };
        Ok(KernelBoot {
            image: place.image,
            modules: self.modules.as_ref().map(absolute).transpose()?.or(place.modules),
            config: place.config,
            root,
            writable: self.writable,
            task,
            append: self.append.clone(),
            insert: self.insert.iter().map(absolute).collect::<Result<_, _>>()?,
            collect: self.collect.clone(),
        })
    }

    /// Makes the disks that were given by their size, in the run's folder.
    fn new_disks(&self, folder: &Path, guest: &mut Guest) -> Result<Vec<PathBuf>, Problem> {
        let mut made = Vec::new();
        for (n, size) in self.disks.iter().enumerate() {
            let Ok(bytes) = find::size(size) else { continue };
            if Path::new(size).exists() || self.dry_run {
                continue;
            }
            let path = folder.join(format!("disk{n}.qcow2"));
            new_disk(&path, bytes)?;
            let disk = Disk { path: path.clone(), format: ImageFormat::Qcow2, writable: true, usb: false };
            guest.disks.insert(n.min(guest.disks.len()), disk);
            made.push(path);
        }
        Ok(made)
    }
}

/// Makes an empty disk that grows with what is written to it.
fn new_disk(path: &Path, bytes: u64) -> Result<(), Problem> {
    use crate::host::{Command, CommandError, RealRunner, Runner};
    let shown = path.display().to_string();
    let command =
        Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "--", &shown, &bytes.to_string()]);
    match RealRunner.run_ok(&command) {
        Ok(_) => Ok(()),
        Err(CommandError::Start { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(GuestError::MissingTool {
                program: "qemu-img",
                package: "the package `qemu-utils` (Debian, Ubuntu), `qemu-img` (Fedora, Arch) or `qemu-tools` (SUSE)",
            }
            .into())
        }
        Err(e) => {
            Err(Problem::new(Exit::Failed, "disk", "No disk could be made", sentence(&e.to_string())))
        }
    }
}

/// Standard input for the guest's command: ours, unless it is a terminal that another job reads from.
fn input() -> Input {
    let stdin = std::io::stdin();
    if stdin.is_terminal() && nix::unistd::tcgetpgrp(&stdin).ok() != Some(nix::unistd::getpgrp()) {
        return Input::Nothing;
    }
    stdin.as_fd().try_clone_to_owned().map_or(Input::Nothing, Input::From)
}
