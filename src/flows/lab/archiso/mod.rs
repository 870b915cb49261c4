// SPDX-License-Identifier: GPL-3.0-or-later
//! An image from an Arch profile, by mkarchiso. The profile is copied, the layer is put into the copy's
//! `airootfs`, and the person's own profile is never written to.

mod hooks;
mod pacman;
mod profile;

use super::build::Builder;
use super::folders::{self, Folders};
use super::job::Job;
use super::layer::{Entry, Layer};
use super::spec::ArchisoSpec;
use super::tools::{self, Tool};
use super::{LabError, namespace};
use crate::host::{Command, Host};
use profile::Profile;
use sha2::{Digest, Sha256};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Raised when the same profile must give another image.
const RECIPE: u32 = 1;

/// The builder of Arch images.
#[derive(Debug)]
pub(super) struct Archiso<'a> {
    spec: &'a ArchisoSpec,
    name: &'a str,
}

impl<'a> Archiso<'a> {
    /// For this image.
    pub fn new(spec: &'a ArchisoSpec, name: &'a str) -> Self {
        Self { spec, name }
    }

    fn profile(&self) -> Result<Profile, LabError> {
        Profile::read(&self.spec.profile)
    }

    /// The configurations of pacman: for the build, and left in the image.
    fn configurations(&self, host: &Host, profile: &Profile) -> Result<pacman::Both, LabError> {
        let read = |path: &Path| match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(LabError::io(path, "could not read")(e)),
        };
        let given = match &self.spec.pacman_conf {
            None => None,
            Some(path) => Some(std::fs::read_to_string(path).map_err(LabError::io(path, "could not read"))?),
        };
        let of_machine = host.root().read_text("/etc/pacman.conf").ok();
        pacman::both(&pacman::Known {
            given,
            of_profile: read(&self.spec.profile.join(&profile.pacman_conf))?,
            of_image: read(&self.spec.profile.join("airootfs/etc/pacman.conf"))?,
            of_machine,
        })
    }

    /// Writes what pacman needs to look into the archives: a configuration and lists of its own.
    fn look(&self, job: &mut Job<'_>, profile: &Profile, both: &pacman::Both) -> Result<(), LabError> {
        let lists = job.folders.lists().join("pacman");
        folders::make(&lists)?;
        let conf = job.work.join("look.conf");
        std::fs::write(&conf, &both.build).map_err(LabError::io(&conf, "could not write"))?;
        let pacman = || {
            Command::new("pacman").args([
                "--config".to_owned(),
                conf.display().to_string(),
                "--dbpath".to_owned(),
                lists.display().to_string(),
            ])
        };
        // Left by a look that was ended: nobody else uses these lists while the lock of this image is held.
        let _ = std::fs::remove_file(lists.join("db.lck"));
        job.run_alone(
            pacman().args(["--sync", "--refresh", "--noconfirm"]).timeout(Duration::from_secs(600)),
        )?;
        let wanted = pacman()
            .args(["--sync", "--print", "--print-format", "%n %s", "--noconfirm", "--"])
            .args(profile.packages.iter().cloned());
        let output = job.run_any(&wanted)?;
        pacman::judge(output.success(), &output.stderr)
    }
}

impl Builder for Archiso<'_> {
    fn tools(&self) -> Vec<Tool> {
        let mut needed = vec![
            tools::MKARCHISO,
            tools::PACMAN,
            tools::PACSTRAP,
            tools::MKSQUASHFS,
            tools::XORRISO,
            tools::MTOOLS,
            tools::MKFS_VFAT,
        ];
        // A profile that cannot be read is refused when it is looked into.
        if self.profile().is_ok_and(|p| p.boots_by("grub")) {
            needed.extend([tools::MKSTANDALONE, tools::GRUB_EFI, tools::GRUB_EFI_32, tools::GRUB_SBAT]);
        }
        needed
    }

    fn key(&self, _host: &Host, _folders: &Folders) -> Result<String, LabError> {
        let mut sha = Sha256::new();
        sha.update(format!("{RECIPE}\n"));
        if let Some(conf) = &self.spec.pacman_conf {
            sha.update(std::fs::read(conf).map_err(LabError::io(conf, "could not read"))?);
        }
        for (path, meta) in walk(&self.spec.profile)? {
            let whole = self.spec.profile.join(&path);
            sha.update(path.as_os_str().as_bytes());
            sha.update(format!("\0{:o} {}\n", meta.mode(), meta.len()));
            if meta.is_symlink() {
                let target = whole.read_link().map_err(LabError::io(&whole, "could not read"))?;
                sha.update(target.as_os_str().as_bytes());
            } else if meta.is_file() {
                sha.update(std::fs::read(&whole).map_err(LabError::io(&whole, "could not read"))?);
            }
        }
        Ok(hex::encode(sha.finalize()))
    }

    fn validate(&self, job: &mut Job<'_>) -> Result<(), LabError> {
        if !namespace::is_root() {
            return Err(LabError::refused(
                "needs-root",
                "mkarchiso works as root only",
                "run the same with sudo; the image then belongs to root",
            ));
        }
        let profile = self.profile()?;
        let configurations = mkinitcpio_configurations(&self.spec.profile)?;
        let mut mistakes = profile.mistakes();
        mistakes.extend(hooks::mistakes(&configurations, &profile.packages));
        let both = self.configurations(job.host, &profile)?;
        for warning in &both.warnings {
            job.warn(warning);
        }
        let (fatal, doubtful): (Vec<_>, Vec<_>) = mistakes.into_iter().partition(|m| m.fatal);
        for mistake in doubtful {
            job.warn(&mistake.text);
        }
        if !fatal.is_empty() {
            let all: Vec<String> = fatal.into_iter().map(|m| m.text).collect();
            return Err(LabError::refused(
                "profile",
                format!("the profile has mistakes: {}", all.join("; ")),
                format!("correct them in {}", self.spec.profile.display()),
            ));
        }
        self.look(job, &profile, &both)
    }

    fn space(&self, _host: &Host, _folders: &Folders, layer: u64) -> Result<u64, LabError> {
        // mkarchiso has the tree, the packed tree and the image beside each other; 25 MiB unpacked is what
        // a package of the official profile has on average.
        let packages = self.profile()?.packages.len() as u64;
        Ok((packages * 25 + 600).max(2048) * (1 << 20) + layer * 3)
    }

    fn build(&self, job: &mut Job<'_>, layer: &Layer) -> Result<PathBuf, LabError> {
        let profile = self.profile()?;
        let both = self.configurations(job.host, &profile)?;
        let copy = job.work.folder("profile")?;
        job.step("Copy the profile and put the project into it", |job| {
            copy_tree(&self.spec.profile, &copy)?;
            let airootfs = copy.join("airootfs");
            folders::make(&airootfs)?;
            layer.write_folder(&airootfs)?;
            let append = |name: &str, text: &str| {
                let path = copy.join(name);
                let mut all = std::fs::read_to_string(&path).unwrap_or_default();
                all.push_str(text);
                std::fs::write(&path, all).map_err(LabError::io(&path, "could not write"))
            };
            append("profiledef.sh", &permissions(layer))?;
            let packages = job.folders.packages().join("pacman");
            folders::make(&packages)?;
            let write = |name: &str, text: &str| {
                let path = copy.join(name);
                if let Some(parent) = path.parent() {
                    folders::make(parent)?;
                }
                std::fs::write(&path, text).map_err(LabError::io(&path, "could not write"))
            };
            write(
                "hostwright-pacman.conf",
                &pacman::with_cache(&both.build, &packages.display().to_string()),
            )?;
            if let Some(text) = &both.image {
                write("airootfs/etc/pacman.conf", text)?;
            }
            Ok(((), false))
        })?;
        job.step("Build with mkarchiso", |job| {
            let (work, out) = (job.work.folder("mkarchiso")?, job.work.folder("out")?);
            job.run_alone(command(&copy, &work, &out))?;
            Ok((only_image(&out, self.name)?, false))
        })
    }
}

/// mkarchiso as it is called. Pure.
fn command(profile: &Path, work: &Path, out: &Path) -> Command {
    Command::new("mkarchiso")
        .arg("-v")
        .args(["-w".to_owned(), work.display().to_string()])
        .args(["-o".to_owned(), out.display().to_string()])
        .args(["-C".to_owned(), profile.join("hostwright-pacman.conf").display().to_string()])
        .arg(profile.display().to_string())
        .timeout(Duration::from_secs(4 * 3600))
}

/// What is executable, said in the profile: mkarchiso copies `airootfs` without modes, and sets those of its
/// array `file_permissions` (archiso's README.profile.rst).
fn permissions(layer: &Layer) -> String {
    let mut text = "\n# Added by Hostwright for the project.\ndeclare -gA file_permissions\n".to_owned();
    for (path, entry) in layer.entries() {
        if let Entry::Bytes { mode: mode @ 0o755, .. } | Entry::Copy { mode: mode @ 0o755, .. } = entry
            // What bash could misread stays readable, and can be run by its interpreter.
            && let Some(path) = path.to_str().filter(|p| !p.contains('\n'))
        {
            let quoted: String = path
                .chars()
                .flat_map(|c| if "\"\\$`".contains(c) { vec!['\\', c] } else { vec![c] })
                .collect();
            text.push_str(&format!("file_permissions[\"/{quoted}\"]=\"0:0:{mode:o}\"\n"));
        }
    }
    text
}

/// The one image in mkarchiso's folder.
fn only_image(out: &Path, name: &str) -> Result<PathBuf, LabError> {
    let entries = std::fs::read_dir(out).map_err(LabError::io(out, "could not list the folder"))?;
    let mut images: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "iso"))
        .collect();
    match (images.pop(), images.is_empty()) {
        (Some(image), true) => Ok(image),
        (found, _) => Err(LabError::refused(
            "no-image",
            format!(
                "mkarchiso made {} images of {name}, and one was expected",
                usize::from(found.is_some()) + images.len()
            ),
            "look at buildmodes in the profile's profiledef.sh: it must have `iso`",
        )),
    }
}

/// All below a folder, sorted; links are not followed.
fn walk(folder: &Path) -> Result<Vec<(PathBuf, std::fs::Metadata)>, LabError> {
    let mut all = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let at = folder.join(&below);
        for entry in std::fs::read_dir(&at).map_err(LabError::io(&at, "could not list the folder"))? {
            let entry = entry.map_err(LabError::io(&at, "could not list the folder"))?;
            let path = below.join(entry.file_name());
            let meta = entry.metadata().map_err(LabError::io(&at, "could not look at"))?;
            if meta.is_dir() {
                open.push(path.clone());
            }
            all.push((path, meta));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

/// Copies a profile: files, folders, links, modes. What is none of these is left out, as mkarchiso does.
fn copy_tree(from: &Path, to: &Path) -> Result<(), LabError> {
    let what = "could not copy the profile";
    for (path, meta) in walk(from)? {
        let (source, target) = (from.join(&path), to.join(&path));
        let failed = || LabError::io(&source, what);
        if meta.is_dir() {
            std::fs::create_dir(&target).map_err(failed())?;
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(meta.mode() | 0o700))
                .map_err(failed())?;
        } else if meta.is_symlink() {
            let points = source.read_link().map_err(failed())?;
            std::os::unix::fs::symlink(points, &target).map_err(failed())?;
        } else if meta.is_file() {
            std::fs::copy(&source, &target).map_err(failed())?;
        }
    }
    Ok(())
}

/// The mkinitcpio configurations of a profile, each with its name.
fn mkinitcpio_configurations(profile: &Path) -> Result<Vec<(String, String)>, LabError> {
    let etc = profile.join("airootfs/etc");
    let mut all = Vec::new();
    let mut paths = vec![etc.join("mkinitcpio.conf")];
    if let Ok(entries) = std::fs::read_dir(etc.join("mkinitcpio.conf.d")) {
        let mut more: Vec<PathBuf> = entries
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "conf"))
            .collect();
        more.sort();
        paths.extend(more);
    }
    for path in paths {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let name = path.strip_prefix(profile).unwrap_or(&path).display().to_string();
                all.push((name, text));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(LabError::io(&path, "could not read")(e)),
        }
    }
    Ok(all)
}

/// Something that is wrong with a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// What, and what to do.
    pub text: String,
    /// Whether no image can come of it.
    pub fatal: bool,
}

impl Mistake {
    fn fatal(text: impl Into<String>) -> Self {
        Self { text: text.into(), fatal: true }
    }
    fn doubtful(text: impl Into<String>) -> Self {
        Self { text: text.into(), fatal: false }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
