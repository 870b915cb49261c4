// SPDX-License-Identifier: GPL-3.0-or-later
//! A boot as a person picks it in a window, from the wish to the report; and the guests and runs that are there. What
//! `hostwright lab boot` and `lab run` do with their options, for callers that have none.

use super::account::autorun;
use super::{
    Autorun, BuilderSpec, Built, DebianSpec, Folders, Form, Image, LabError, Options, Places, Project, build,
    check_project, default_suite, find, name_of, runs, sharing, size,
};
use crate::engine::event::{Event, Sink};
use crate::guest::spec::{
    Accelerator, Boot, Disk, Display, Firmware, Guest, GuestRoot, ImageFormat, KernelBoot, Network, Task,
};
use crate::guest::{self, GuestError, GuestEvent, Report, Setup, remote, running};
use crate::host::{Cancel, Host};
use std::path::{Path, PathBuf};

/// What is booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An image is built with this project in it (Debian's own packages below it), and booted.
    Project {
        /// The project's folder.
        folder: PathBuf,
        /// A line for a shell in the image, run when it has booted; the machine is powered off afterwards.
        autorun: Option<String>,
    },
    /// An ISO image.
    Iso {
        /// The image.
        path: PathBuf,
    },
    /// A disk image.
    Disk {
        /// The image.
        path: PathBuf,
        /// Whether the guest changes it; else what it writes is thrown away.
        writable: bool,
    },
    /// A kernel, started directly.
    Kernel {
        /// A release (`running`: this machine's), an image or a build tree, as [`find::kernel`] takes it.
        kernel: String,
        /// `host`, `none`, a directory or an image, as [`find::root`] takes it.
        root: PathBuf,
        /// What runs there; nothing: success once the guest is up.
        command: Vec<String>,
    },
}

impl What {
    /// Whether it is a whole system with firmware and a graphics card, not just a kernel.
    pub fn is_system(&self) -> bool {
        !matches!(self, Self::Kernel { .. })
    }
}

/// A boot as a person wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What.
    pub what: What,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// Firmware of a whole system.
    pub firmware: Firmware,
    /// Where its screen is shown.
    pub display: Display,
    /// Its network.
    pub network: Network,
    /// Ended after so many seconds; never when 0.
    pub timeout: u32,
    /// Ended with success when a line of the console, or a stage's name, matches this regular expression.
    pub until: Option<String>,
    /// Whether the run's folder is never removed by itself.
    pub keep: bool,
}

/// What is told while it goes on.
#[derive(Debug)]
pub enum Told<'a> {
    /// Of the build of an image.
    Building(Event),
    /// The image is there.
    Built(&'a Built),
    /// The guest is about to start: the run's number, the guest's name and the run's folder.
    Run(u32, &'a str, &'a Path),
    /// Of the guest.
    Guest(GuestEvent<'a>),
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its number.
    pub number: u32,
    /// Its folder.
    pub folder: PathBuf,
    /// What came of the guest.
    pub report: Report,
    /// What came of the command of an image, when one was to run: nothing, or why it failed.
    pub command: Option<Result<(), String>>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The image, or where things are kept.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The guest.
    #[error(transparent)]
    Guest(#[from] GuestError),
}

/// Tells of a build by the same way as of the guest.
struct Building<'a, F>(&'a mut F);

impl<F: FnMut(Told<'_>) + Send> Sink for Building<'_, F> {
    fn event(&mut self, event: Event) {
        (self.0)(Told::Building(event));
    }
}

/// Builds what has to be built, boots it and watches it to its end. Blocks as long; must run on a thread that lives as
/// long (QEMU dies with it).
///
/// # Errors
/// When nothing was booted, with what to do. How the guest ended is no error, it is in the report.
pub fn run<F: FnMut(Told<'_>) + Send>(
    host: &Host,
    wish: &Wish,
    cancel: &Cancel,
    tell: &mut F,
) -> Result<Ended, SessionError> {
    let places = Places::find()?;
    let mut named = None;
    let guest = match &wish.what {
        What::Project { folder, autorun } => {
            let image = image(host, folder, autorun.as_deref())?;
            let folders = Folders::of_session()?;
            let built =
                build(host, &folders, &image, &Options::default(), cancel, &mut Building(&mut *tell))?;
            tell(Told::Built(&built));
            named = Some(built.name());
            guest(wish, Some(&built.image))?
        }
        _ => guest(wish, None)?,
    };
    let (number, folder) = runs::next(&places.runs, wish.keep)?;
    let mut setup = Setup::new(host, &places.cache, &folder);
    setup.name = format!("{}-{number}", named.as_deref().unwrap_or("run"));
    setup.keep = wish.keep;
    setup.sharing = sharing();
    setup.environment = size::window_environment(&guest);
    setup.control = Some(places.running.join(&setup.name));
    tell(Told::Run(number, &setup.name, &folder));
    match guest::run(&guest, setup, cancel, &mut |event| tell(Told::Guest(event))) {
        Ok(report) => {
            let command = match &wish.what {
                What::Project { autorun: Some(_), .. } => Some(autorun(&report).unwrap_or_else(|| {
                    Err("The guest ended, and nothing was heard of the command.".to_owned())
                })),
                _ => None,
            };
            Ok(Ended { number, folder, report, command })
        }
        Err(error) => {
            runs::forget_unstarted(&folder);
            Err(error.into())
        }
    }
}

/// The image of a project, as data.
fn image(host: &Host, folder: &Path, autorun: Option<&str>) -> Result<Image, LabError> {
    let folder = check_project(folder)?;
    let name = name_of(&folder.file_name().unwrap_or_default().to_string_lossy());
    Ok(Image {
        builder: BuilderSpec::Debian(DebianSpec {
            suite: default_suite(host),
            mirror: None,
            kernel: "linux-image-amd64".to_owned(),
            packages: Vec::new(),
            form: Form::Iso,
            append: Vec::new(),
        }),
        project: Some(Project { folder, place: format!("/root/{name}") }),
        env: Vec::new(),
        autorun: autorun.map(|line| Autorun { command: line.to_owned(), power_off: true }),
        collect: Vec::new(),
        name,
    })
}

/// The guest of a wish; `built`: the image of a project.
fn guest(wish: &Wish, built: Option<&Path>) -> Result<Guest, GuestError> {
    let there = |path: &Path| path.canonicalize().map_err(|e| GuestError::file("find", path, e));
    let firmware = wish.firmware;
    let mut disks = Vec::new();
    let boot = match &wish.what {
        What::Project { folder, .. } => Boot::Iso { path: built.unwrap_or(folder).to_owned(), firmware },
        What::Iso { path } => Boot::Iso { path: there(path)?, firmware },
        What::Disk { path, writable } => {
            let path = there(path)?;
            disks.push(Disk { format: find::format(&path)?, writable: *writable, usb: false, path });
            Boot::Disk { firmware }
        }
        What::Kernel { kernel, root, command } => {
            let place = find::kernel(kernel)?;
            Boot::Kernel(KernelBoot {
                image: place.image,
                modules: place.modules,
                config: place.config,
                root: find::root(root)?,
                writable: false,
                task: Task::Command { argv: command.clone(), env: Vec::new(), cwd: None },
                append: Vec::new(),
                insert: Vec::new(),
                collect: Vec::new(),
            })
        }
    };
    Ok(Guest {
        boot,
        cpus: wish.cpus,
        memory: wish.memory,
        accelerator: Accelerator::Auto,
        display: wish.display,
        network: wish.network,
        disks,
        timeout: wish.timeout,
        until: wish.until.clone(),
    })
}

/// The wish that leads to the same guest again, as far as one can be told from its report.
pub fn wish_of(guest: &Guest) -> Option<Wish> {
    let what = match &guest.boot {
        Boot::Iso { path, .. } => What::Iso { path: path.clone() },
        Boot::Disk { .. } => {
            let disk = guest.disks.first()?;
            What::Disk { path: disk.path.clone(), writable: disk.writable }
        }
        Boot::Kernel(kernel) => {
            let Task::Command { argv, .. } = &kernel.task else { return None };
            let root = match &kernel.root {
                GuestRoot::None => "none".into(),
                GuestRoot::Directory { path } if path == Path::new("/") => "host".into(),
                GuestRoot::Directory { path }
                | GuestRoot::Image { path, format: ImageFormat::Raw | ImageFormat::Qcow2 } => path.clone(),
            };
            What::Kernel { kernel: kernel.image.display().to_string(), root, command: argv.clone() }
        }
    };
    let firmware = match &guest.boot {
        Boot::Iso { firmware, .. } | Boot::Disk { firmware } => *firmware,
        Boot::Kernel(_) => Firmware::default(),
    };
    Some(Wish {
        what,
        cpus: guest.cpus,
        memory: guest.memory,
        firmware,
        display: guest.display,
        network: guest.network,
        timeout: guest.timeout,
        until: guest.until.clone(),
        keep: false,
    })
}

/// The guests that run now, of this program and others, oldest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn guests() -> Result<Vec<running::Card>, SessionError> {
    Ok(running::list(&Places::find()?.running)?)
}

/// Ends a guest at once; its disks are written out.
///
/// # Errors
/// When it does not answer.
pub fn stop(name: &str) -> Result<(), SessionError> {
    let mut qmp = running::connect(&Places::find()?.running.join(name))?;
    Ok(remote::stop(&mut qmp)?)
}

/// Photographs the screen of a guest into its run's folder; returns the picture's path.
///
/// # Errors
/// When it has no screen, or does not answer.
pub fn screenshot(name: &str, folder: &Path) -> Result<PathBuf, SessionError> {
    let mut qmp = running::connect(&Places::find()?.running.join(name))?;
    let path = (1..10_000)
        .map(|n| folder.join(format!("screen-{n}.png")))
        .find(|p| !p.exists())
        .ok_or_else(|| GuestError::refused("no-place", "there are too many pictures", "remove some"))?;
    remote::screenshot(&mut qmp, &path)?;
    Ok(path)
}

/// A run that is over, or was killed.
#[derive(Debug)]
pub struct Past {
    /// Its number.
    pub number: u32,
    /// Its folder.
    pub folder: PathBuf,
    /// What came of it.
    pub report: Result<Report, GuestError>,
}

/// The newest runs, newest first.
///
/// # Errors
/// When there is no place for them.
pub fn past(most: usize) -> Result<Vec<Past>, SessionError> {
    let places = Places::find()?;
    let live: Vec<PathBuf> = running::list(&places.running)?.into_iter().map(|c| c.folder).collect();
    let numbers = runs::numbers(&places.runs);
    let all = numbers.into_iter().rev().map(|number| (number, places.runs.join(number.to_string())));
    Ok(all
        .filter(|(_, folder)| !live.contains(folder))
        .take(most)
        .map(|(number, folder)| Past { number, report: runs::report(&folder), folder })
        .collect())
}

/// One past run with its report.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn one(number: u32) -> Result<Ended, SessionError> {
    let (number, folder) = runs::find(&Places::find()?.runs, &number.to_string())?;
    let report = runs::report(&folder)?;
    let command = autorun(&report);
    Ok(Ended { number, folder, report, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(what: What) -> Wish {
        Wish {
            what,
            cpus: 2,
            memory: 512,
            firmware: Firmware::Bios,
            display: Display::None,
            network: Network::None,
            timeout: 60,
            until: Some("login:".to_owned()),
            keep: false,
        }
    }

    #[test]
    fn a_wish_is_found_again_in_the_guest_that_it_led_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a, b.img");
        std::fs::write(&path, "QFI\u{fb}").unwrap();
        let path = path.canonicalize().unwrap();
        for what in [
            What::Iso { path: path.clone() },
            What::Disk { path: path.clone(), writable: true },
            What::Kernel {
                kernel: path.display().to_string(),
                root: "none".into(),
                command: vec!["uname".to_owned(), "-r".to_owned()],
            },
        ] {
            let mut wanted = wish(what);
            if !wanted.what.is_system() {
                wanted.firmware = Firmware::default();
            }
            let guest = guest(&wanted, None).unwrap();
            assert_eq!(wish_of(&guest), Some(wanted));
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = guest(&wish(What::Iso { path: "/nowhere/x.iso".into() }), None).unwrap_err();
        assert!(error.to_string().contains("/nowhere/x.iso"), "{error}");
    }
}
