// SPDX-License-Identifier: GPL-3.0-or-later
//! Options that say which image is wanted: shared by `lab build` and `lab run`.

use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::flows::lab::{
    self, ArchisoSpec, Autorun, BuilderSpec, DebianSpec, Form, Image, LabError, Project,
};
use clap::Args;
use std::path::PathBuf;

/// Which image is wanted.
#[derive(Debug, Args)]
pub(crate) struct ImageOptions {
    /// The project's folder [default: the current one]
    ///
    /// All of it is put into the image that `git` would commit with every change added: what .gitignore names
    /// is left out, what is not committed yet is in.
    #[arg(value_name = "PROJECT", conflicts_with = "no_project")]
    project: Option<PathBuf>,
    /// Build the system alone, without a project
    #[arg(long)]
    no_project: bool,
    /// Name of the image [default: that of the project's folder]
    #[arg(long)]
    name: Option<String>,
    /// Where the project is in the image [default: /root/NAME]
    #[arg(long, value_name = "PATH")]
    place: Option<String>,
    /// A variable for the image's own scripts; {project} in it is where the project is in the image
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// A line for a shell, run by root in the project's folder when the image has booted
    #[arg(long, value_name = "LINE")]
    autorun: Option<String>,
    /// Power the machine off when that command has ended
    #[arg(long, requires = "autorun")]
    power_off: bool,
    /// Files or patterns of the image that are handed over when the guest ends
    #[arg(long, value_name = "PATTERN")]
    collect: Vec<String>,
    /// Build from this Arch profile (profiledef.sh, airootfs/…) with mkarchiso
    #[arg(long, value_name = "DIR", help_heading = "Arch")]
    profile: Option<PathBuf>,
    /// The pacman.conf for the build [default: the profile's if it names an archive on the network, else this machine's]
    #[arg(long, value_name = "FILE", help_heading = "Arch", requires = "profile")]
    pacman_conf: Option<PathBuf>,
    /// The release [default: this machine's if it is a Debian, else stable]
    #[arg(long, value_name = "SUITE", help_heading = "Debian", conflicts_with = "profile")]
    suite: Option<String>,
    /// The archive [default: the one this machine's apt uses, else deb.debian.org]
    #[arg(long, value_name = "URL", help_heading = "Debian", conflicts_with = "profile")]
    mirror: Option<String>,
    /// One more package
    #[arg(long = "package", value_name = "NAME", help_heading = "Debian", conflicts_with = "profile")]
    packages: Vec<String>,
    /// The package of the kernel
    #[arg(
        long,
        value_name = "NAME",
        help_heading = "Debian",
        default_value = "linux-image-amd64",
        conflicts_with = "profile"
    )]
    kernel_package: String,
    /// Make a disk image with a partition table, not an ISO image
    #[arg(long, help_heading = "Debian", conflicts_with = "profile")]
    disk: bool,
    /// One more word for the kernel command line
    #[arg(long, value_name = "WORD", help_heading = "Debian", conflicts_with = "profile")]
    append: Vec<String>,
    /// Where the image is put [default: among the lab's own, ~/.cache/hostwright/lab/images]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Bootstrap the system anew, also when a kept one fits
    #[arg(long)]
    refresh: bool,
}

fn variable(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .ok_or_else(|| "a variable is written NAME=VALUE".to_owned())
}

impl ImageOptions {
    /// What is wanted, as data.
    pub(crate) fn image(&self, session: &Session) -> Result<Image, Problem> {
        let folder = match (&self.project, self.no_project) {
            (_, true) => None,
            (Some(folder), _) => Some(folder.clone()),
            (None, _) => Some(PathBuf::from(".")),
        };
        let folder = folder.map(|f| lab::check_project(&f)).transpose()?;
        let name = self.name.clone().unwrap_or_else(|| match &folder {
            Some(folder) => lab::name_of(&folder.file_name().unwrap_or_default().to_string_lossy()),
            None => "system".to_owned(),
        });
        let project = folder.map(|folder| {
            let place = self.place.clone().unwrap_or_else(|| format!("/root/{name}"));
            Project { folder, place }
        });
        let absolute =
            |path: &PathBuf| std::path::absolute(path).map_err(|e| Problem::file("find", path, &e));
        let builder = match &self.profile {
            Some(profile) => BuilderSpec::Archiso(ArchisoSpec {
                profile: absolute(profile)?,
                pacman_conf: self.pacman_conf.as_ref().map(absolute).transpose()?,
            }),
            None => BuilderSpec::Debian(DebianSpec {
                suite: self.suite.clone().unwrap_or_else(|| {
                    session.host().map_or_else(|_| "stable".to_owned(), |h| lab::default_suite(&h))
                }),
                mirror: self.mirror.clone(),
                kernel: self.kernel_package.clone(),
                packages: self.packages.clone(),
                form: if self.disk { Form::Disk } else { Form::Iso },
                append: self.append.clone(),
            }),
        };
        let autorun = self.autorun.clone().map(|command| Autorun { command, power_off: self.power_off });
        Ok(Image { name, builder, project, env: self.env.clone(), autorun, collect: self.collect.clone() })
    }

    /// Whether a command runs in the image, and the machine is powered off after it.
    pub(crate) fn autorun(&self) -> Option<bool> {
        self.autorun.as_ref().map(|_| self.power_off)
    }

    /// Whether a disk image is wanted.
    pub(crate) fn is_disk(&self) -> bool {
        self.disk
    }

    /// How to go about it.
    pub(crate) fn options(&self) -> lab::Options {
        lab::Options { output: self.output.clone(), refresh: self.refresh }
    }
}

/// The lab is the person's own session on the running machine: no scratch root takes part.
pub(crate) fn refuse_root(session: &Session) -> Result<(), Problem> {
    match session.root() {
        Some(_) => Err(Problem::usage("The lab has no --root: it works in your own folders only.")),
        None => Ok(()),
    }
}

impl From<LabError> for Problem {
    fn from(error: LabError) -> Self {
        use crate::cli::errors::sentence;
        match error {
            LabError::Refused { code, reason, remedy } => {
                let exit = if code == "spec" { Exit::Usage } else { Exit::Refused };
                Self::new(exit, code, "Refused: nothing was changed", sentence(&reason))
                    .remedy(sentence(&remedy))
            }
            LabError::Cancelled => {
                Self::new(Exit::Cancelled, "cancelled", "Cancelled", "Nothing of it is left.")
            }
            LabError::Busy(text) => {
                Self::new(Exit::Refused, "busy", "Another build is under way", sentence(&text))
            }
            LabError::Host(error) => error.into(),
            LabError::Command(error) => {
                Self::new(Exit::Failed, "command", "A tool failed", sentence(&error.to_string()))
            }
            LabError::Build { source, log } => {
                Self::new(Exit::Failed, "command", "A tool failed", sentence(&source.to_string()))
                    .remedy(format!("All that it said is in {}.", log.display()))
            }
            error @ LabError::Io { .. } => {
                Self::new(Exit::Failed, "file", "A file could not be used", sentence(&error.to_string()))
            }
        }
    }
}
