// SPDX-License-Identifier: GPL-3.0-or-later
//! The system below the project: made once by mmdebstrap, kept packed, found again by what it is made of.

use super::super::LabError;
use super::super::folders::{self, Folders};
use super::super::job::Job;
use super::super::layer::{FolderModes, Layer};
use super::apt::{self, Amount, Sources};
use crate::host::{Command, Inherited};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Raised when the same packages must give another system.
const RECIPE: u32 = 1;

/// What a live system can do without.
const WITHOUT: [&str; 3] = ["/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*"];

/// What a kept system is, beside its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Different for each time it is made.
    made: String,
    /// Release of its kernel.
    kernel: String,
    /// Modes of its folders.
    modes: FolderModes,
    /// Its packages, each with its version.
    packages: BTreeMap<String, String>,
}

/// A system to build on, made or not.
#[derive(Debug)]
pub(super) struct Base {
    suite: String,
    sources: Sources,
    packages: Vec<String>,
    folder: PathBuf,
    key: String,
    amount: Cell<Option<Amount>>,
}

/// The files of a system.
#[derive(Debug)]
pub(super) struct Parts {
    /// All of it, packed.
    pub squashfs: PathBuf,
    /// Its kernel.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initramfs: PathBuf,
    /// Modes of its folders.
    pub modes: FolderModes,
}

impl Base {
    /// The system of these packages.
    pub fn new(folders: &Folders, suite: &str, sources: Sources, packages: Vec<String>) -> Self {
        let all = format!("{RECIPE}\n{suite}\n{:?}\n{packages:?}\n{WITHOUT:?}", sources.lines());
        let key = hex::encode(&Sha256::digest(all)[..12]);
        let folder = folders.bases().join(&key);
        Self { suite: suite.to_owned(), sources, packages, folder, key, amount: Cell::new(None) }
    }

    /// What it is made of.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn record(&self) -> Option<Record> {
        serde_json::from_slice(&std::fs::read(self.folder.join("base.json")).ok()?).ok()
    }

    /// Which making of it is kept.
    pub fn made(&self) -> Option<String> {
        self.record().map(|r| r.made)
    }

    /// Bytes of its files, when it is kept.
    pub fn size(&self) -> Option<u64> {
        self.record()?;
        let size = |name: &str| std::fs::metadata(self.folder.join(name)).map(|m| m.len()).ok();
        Some(size("base.squashfs")? + size("vmlinuz")? + size("initrd.img")?)
    }

    /// Bytes that it has unpacked, as apt says; a usual figure where it was not asked.
    pub fn expected(&self) -> u64 {
        self.amount.get().map_or(800 << 20, |a| a.installed + a.download)
    }

    /// Its files.
    pub fn parts(&self) -> Result<Parts, LabError> {
        let record = self.record().ok_or_else(|| {
            LabError::refused("no-base", "the kept system is damaged", "build again with --refresh")
        })?;
        let at = |name: &str| self.folder.join(name);
        Ok(Parts {
            squashfs: at("base.squashfs"),
            kernel: at("vmlinuz"),
            initramfs: at("initrd.img"),
            modes: record.modes,
        })
    }

    /// Whether the archives have it.
    pub fn look(&self, job: &mut Job<'_>) -> Result<(), LabError> {
        let amount = apt::look(job, &self.sources, &self.suite, &self.packages)?;
        self.amount.set(Some(amount));
        Ok(())
    }

    /// Makes it, unless it is kept. Two builds that need the same one make it once.
    pub fn make(&self, job: &mut Job<'_>, refresh: bool) -> Result<(), LabError> {
        let before = self.made();
        let _lock = self.lock(job)?;
        let title = format!("Bootstrap {}", self.suite);
        // Somebody else may have made it anew while we waited.
        if self.record().is_some() && (!refresh || self.made() != before) {
            return job.step(&title, |_| Ok(((), true)));
        }
        let tar = job.work.join("base.tar");
        job.step(&title, |job| self.bootstrap(job, &tar).map(|()| ((), false)))?;
        job.step("Pack the system", |job| self.pack(job, &tar).map(|()| ((), false)))
    }

    /// Waits for another build that makes the same system.
    fn lock(&self, job: &Job<'_>) -> Result<File, LabError> {
        let folder = job.folders.locks();
        folders::make(&folder)?;
        let path = folder.join(format!("base-{}", self.key));
        let what = "could not lock";
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(LabError::io(&path, what))?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) if job.cancel.is_cancelled() => {
                    return Err(LabError::Cancelled);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(200)),
                other => return other.map(|()| file).map_err(LabError::errno(&path, what)),
            }
        }
    }

    fn bootstrap(&self, job: &mut Job<'_>, tar: &Path) -> Result<(), LabError> {
        let packages = job.folders.packages().join("debian");
        folders::make(&packages)?;
        let tmp = job.work.folder("tmp")?;
        let options = apt::transport(job.host);
        let command = self.command(tar, &packages, &tmp, &options);
        job.run_alone(command)?;
        sweep_packages(&packages)
    }

    /// mmdebstrap(1) as it is called. Pure.
    fn command(&self, tar: &Path, packages: &Path, tmp: &Path, apt_options: &[String]) -> Command {
        let quoted = Command::new(packages.display().to_string()).display();
        let mut command = Command::new("mmdebstrap")
            // The namespaces are ours, and in them we are root.
            .args(["--mode=root", "--format=tar", "--variant=minbase", "--architectures=amd64"])
            .arg(format!("--include={}", self.packages.join(",")))
            .args(["--skip=essential/unlink", "--skip=download/empty"])
            // Packages come from and go to the lab's own folder; the words of these hooks are mmdebstrap's.
            .arg("--setup-hook=mkdir -p \"$1\"/var/cache/apt/archives")
            // live-boot writes `interfaces` into it, and minbase has none.
            .arg("--setup-hook=mkdir -p \"$1\"/etc/network")
            .arg(format!("--setup-hook=sync-in {quoted} /var/cache/apt/archives"))
            .arg(format!("--customize-hook=sync-out /var/cache/apt/archives {quoted}"));
        for path in WITHOUT {
            command = command.arg(format!("--dpkgopt=path-exclude={path}"));
        }
        // Licences stay.
        command = command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
        for option in apt_options {
            command = command.arg(format!("--aptopt={option}"));
        }
        command
            .args([self.suite.clone(), tar.display().to_string()])
            .args(self.sources.lines().iter().cloned())
            .env("TMPDIR", tmp.display().to_string())
            .timeout(Duration::from_secs(3600))
    }

    fn pack(&self, job: &mut Job<'_>, tar: &Path) -> Result<(), LabError> {
        let new = job.work.folder("base")?;
        let record = take_apart(tar, &new)?;
        squash(job, tar, &new.join("base.squashfs"))?;
        std::fs::remove_file(tar).map_err(LabError::io(tar, "could not remove"))?;
        let path = new.join("base.json");
        std::fs::write(&path, serde_json::to_vec(&record).unwrap_or_default())
            .map_err(LabError::io(&path, "could not write"))?;
        // On the disk before it has its name: a base that is there is whole.
        let file = File::open(&path).map_err(LabError::io(&path, "could not open"))?;
        rustix::fs::syncfs(&file).map_err(LabError::errno(&path, "could not sync"))?;
        folders::make(&job.folders.bases())?;
        let what = "could not put the system in its place";
        if self.folder.exists() {
            let old = job.work.join("old-base");
            std::fs::rename(&self.folder, &old).map_err(LabError::io(&self.folder, what))?;
        }
        std::fs::rename(&new, &self.folder).map_err(LabError::io(&self.folder, what))
    }
}

/// Drops what was not downloaded whole, and of each package all but the newest files.
fn sweep_packages(folder: &Path) -> Result<(), LabError> {
    let what = "could not tidy the kept packages";
    let mut newest: BTreeMap<String, (std::time::SystemTime, PathBuf)> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(LabError::io(folder, what))? {
        let entry = entry.map_err(LabError::io(folder, what))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((package, _)) = name.split_once('_').filter(|_| name.ends_with(".deb")) else { continue };
        let time = entry.metadata().and_then(|m| m.modified()).map_err(LabError::io(folder, what))?;
        let path = entry.path();
        // Two releases have different versions of a package: two of each are kept by their release's number.
        let key = format!("{package} {}", release_mark(&name));
        match newest.get(&key) {
            Some((other, _)) if *other > time => {
                std::fs::remove_file(&path).map_err(LabError::io(&path, what))?;
            }
            _ => {
                if let Some((_, old)) = newest.insert(key, (time, path)) {
                    std::fs::remove_file(&old).map_err(LabError::io(&old, what))?;
                }
            }
        }
    }
    Ok(())
}

/// "deb12" of "base-files_12.4+deb12u11_amd64.deb", and the first number of the version of others.
fn release_mark(name: &str) -> String {
    let version = name.split('_').nth(1).unwrap_or_default();
    match version.find("deb1") {
        Some(at) => version[at..].chars().take(5).collect(),
        None => version.chars().take_while(|c| *c != '-').collect(),
    }
}

/// Takes the kernel and the initramfs out of an archive of a system, and notes what is in it.
fn take_apart(tar: &Path, to: &Path) -> Result<Record, LabError> {
    let failed = || LabError::io(tar, "could not read the system's archive");
    let file = File::open(tar).map_err(failed())?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, file));
    let mut record = Record {
        made: String::new(),
        kernel: String::new(),
        modes: FolderModes::new(),
        packages: BTreeMap::new(),
    };
    let mut initramfs = String::new();
    for entry in archive.entries().map_err(failed())? {
        let mut entry = entry.map_err(failed())?;
        let Some(path) = entry.path().ok().and_then(|p| p.to_str().map(str::to_owned)) else { continue };
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            record.modes.insert(path, entry.header().mode().map_err(failed())? & 0o7777);
        } else if !kind.is_file() {
        } else if path == "var/lib/dpkg/status" {
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(failed())?;
            record.packages = installed(&text);
        } else if let Some(release) = path.strip_prefix("boot/vmlinuz-") {
            save(&mut entry, &to.join("vmlinuz"))?;
            record.kernel = release.to_owned();
        } else if let Some(release) = path.strip_prefix("boot/initrd.img-") {
            save(&mut entry, &to.join("initrd.img"))?;
            initramfs = release.to_owned();
        }
    }
    if record.kernel.is_empty() || initramfs != record.kernel {
        return Err(LabError::refused(
            "no-kernel",
            format!(
                "the system has the kernel `{}` and an initramfs for `{initramfs}`, which do not belong together",
                record.kernel
            ),
            "choose one package of a kernel with --kernel-package",
        ));
    }
    let mut random = [0; 16];
    File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut random)).map_err(failed())?;
    record.made = hex::encode(random);
    Ok(record)
}

fn save(from: &mut impl Read, to: &Path) -> Result<(), LabError> {
    // A system with two kernels: the check afterwards says so when they do not match.
    File::create(to)
        .and_then(|mut file| io::copy(from, &mut file))
        .map_err(LabError::io(to, "could not write"))?;
    Ok(())
}

/// Packages and versions of a dpkg status file.
fn installed(status: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut name = "";
    for line in status.lines() {
        if let Some(package) = line.strip_prefix("Package: ") {
            name = package;
        } else if let Some(version) = line.strip_prefix("Version: ") {
            all.insert(name.to_owned(), version.to_owned());
        }
    }
    all
}

/// Writes a layer as an archive.
pub(super) fn write_tar(layer: &Layer, to: &Path, modes: &FolderModes) -> Result<(), LabError> {
    let file = File::create(to).map_err(LabError::io(to, "could not write"))?;
    layer.write_tar(BufWriter::with_capacity(1 << 20, file), modes)
}

/// Packs an archive into a squashfs image.
pub(super) fn squash(job: &mut Job<'_>, tar: &Path, to: &Path) -> Result<(), LabError> {
    let file = File::open(tar).map_err(LabError::io(tar, "could not read"))?;
    let command = squash_command(to).stdin_file(Inherited::new(file.into()));
    job.run(&command).map(|_| ())
}

/// mksquashfs(1) as it is called: zstd at a level that takes seconds, not minutes, in blocks so small that a guest
/// without an accelerator does not unpack much more than it wants.
fn squash_command(to: &Path) -> Command {
    Command::new("mksquashfs").args(["-".to_owned(), to.display().to_string()]).args([
        "-tar",
        "-comp",
        "zstd",
        "-Xcompression-level",
        "6",
        "-b",
        "64K",
        "-no-progress",
        "-quiet",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(dir: &Path) -> Base {
        let folders = Folders { cache: dir.join("c,d e"), logs: dir.join("l") };
        let sources = Sources::of(
            &crate::host::fake::host(
                dir,
                std::sync::Arc::new(crate::host::fake::FakeRunner::new()),
                crate::host::HostKind::PartialRoot,
            )
            .unwrap(),
            "bookworm",
            Some("http://m/debian"),
        );
        Base::new(&folders, "bookworm", sources, vec!["live-boot".into(), "linux-image-amd64".into()])
    }

    #[test]
    fn mmdebstrap_is_called_with_every_path_as_one_word() {
        let dir = tempfile::tempdir().unwrap();
        let command = base(dir.path()).command(
            Path::new("/w/a b/base.tar"),
            Path::new("/c d/packages"),
            Path::new("/w/tmp"),
            &["Acquire::Retries \"3\";".into()],
        );
        assert!(command.args.contains(&"--include=live-boot,linux-image-amd64".to_owned()));
        assert!(
            command.args.contains(&"--setup-hook=sync-in '/c d/packages' /var/cache/apt/archives".to_owned())
        );
        assert!(command.args.contains(&"--aptopt=Acquire::Retries \"3\";".to_owned()));
        let at = command.args.iter().position(|a| a == "bookworm").unwrap();
        assert_eq!(command.args[at + 1], "/w/a b/base.tar");
        assert_eq!(command.args.len(), at + 4);
    }

    #[test]
    fn an_archive_is_taken_apart_and_what_does_not_fit_together_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let make = |files: &[(&str, &str)]| {
            let path = dir.path().join("t.tar");
            let mut tar = tar::Builder::new(File::create(&path).unwrap());
            let mut folder = tar::Header::new_gnu();
            folder.set_entry_type(tar::EntryType::Directory);
            folder.set_mode(0o700);
            folder.set_size(0);
            tar.append_data(&mut folder, "./root/", io::empty()).unwrap();
            for (name, text) in files {
                let mut header = tar::Header::new_gnu();
                header.set_size(text.len() as u64);
                tar.append_data(&mut header, name, text.as_bytes()).unwrap();
            }
            tar.into_inner().unwrap();
            path
        };
        let status = "Package: a\nStatus: install ok installed\nVersion: 1.2-3\n\nPackage: b\nVersion: 4\n";
        let tar = make(&[
            ("./boot/vmlinuz-6.1", "K"),
            ("./boot/initrd.img-6.1", "I"),
            ("./var/lib/dpkg/status", status),
        ]);
        let record = take_apart(&tar, dir.path()).unwrap();
        assert_eq!(record.kernel, "6.1");
        assert_eq!(record.modes["root"], 0o700);
        assert_eq!(record.packages["a"], "1.2-3");
        assert_eq!(std::fs::read(dir.path().join("initrd.img")).unwrap(), b"I");
        assert_ne!(take_apart(&tar, dir.path()).unwrap().made, record.made);
        for bad in [vec![("./boot/vmlinuz-6.1", "K")], vec![], vec![("./boot/initrd.img-6.1", "I")]] {
            assert!(take_apart(&make(&bad), dir.path()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn of_each_package_the_newest_of_a_release_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "linux_6.1.1-1_amd64.deb",
            "base-files_12.4+deb12u1_amd64.deb",
            "base-files_12.4+deb12u2_amd64.deb",
            "base-files_13.8+deb13u1_amd64.deb",
            "lock",
        ];
        for (age, name) in names.iter().enumerate() {
            let path = dir.path().join(name);
            std::fs::write(&path, "x").unwrap();
            let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000 + age as u64);
            File::open(&path).unwrap().set_modified(time).unwrap();
        }
        sweep_packages(dir.path()).unwrap();
        let mut left: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [names[2], names[3], names[0], names[4]]);
    }
}
