// SPDX-License-Identifier: GPL-3.0-or-later
//! What is put into an image beside the system itself: a list of entries, written as a tar archive (which
//! becomes a squashfs layer) or into a folder (an Arch profile's `airootfs`).

use super::LabError;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One thing in an image. All of it belongs to root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder {
        /// Permission bits.
        mode: u32,
    },
    /// A file with bytes of ours.
    Bytes {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Permission bits.
        mode: u32,
    },
    /// A copy of a file of the project's folder.
    Copy {
        /// Its path below that folder.
        from: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: PathBuf,
    },
}

/// What is put into an image.
#[derive(Debug, Default)]
pub struct Layer {
    /// The entries by their path in the image, without a leading slash. A folder comes before what is in it.
    entries: BTreeMap<PathBuf, Entry>,
    /// The project's folder.
    folder: Option<File>,
    shown: PathBuf,
}

/// Modes of folders that the system has already: a layer that is laid over it must repeat them.
pub type FolderModes = BTreeMap<String, u32>;

impl Layer {
    /// A layer whose copied files are below `folder`.
    ///
    /// # Errors
    /// When the folder cannot be opened.
    pub fn of_folder(folder: &Path) -> Result<Self, LabError> {
        let open = File::open(folder).map_err(LabError::io(folder, "could not open the project"))?;
        Ok(Self { entries: BTreeMap::new(), folder: Some(open), shown: folder.to_owned() })
    }

    /// Adds an entry at an absolute path of the image; an earlier one there is replaced.
    pub fn add(&mut self, path: impl AsRef<Path>, entry: Entry) {
        let path = path.as_ref();
        self.entries.insert(path.strip_prefix("/").unwrap_or(path).to_owned(), entry);
    }

    /// Adds a text file that everybody may read.
    pub fn text(&mut self, path: &str, text: &str) {
        self.add(path, Entry::Bytes { bytes: text.as_bytes().to_vec(), mode: 0o644 });
    }

    /// The entries by their path, without a leading slash.
    pub fn entries(&self) -> &BTreeMap<PathBuf, Entry> {
        &self.entries
    }

    /// The entries with the folders above them that are no entries themselves, in the order in which they
    /// can be made. `modes` says which of these the system has, and how; others are 0755.
    fn whole(&self, modes: &FolderModes) -> BTreeMap<PathBuf, Entry> {
        let mut whole = self.entries.clone();
        for path in self.entries.keys() {
            for above in path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
                let mode = above.to_str().and_then(|p| modes.get(p)).copied().unwrap_or(0o755);
                whole.entry(above.to_owned()).or_insert(Entry::Folder { mode });
            }
        }
        whole
    }

    /// Opens a file of the project without following any link: what became a link meanwhile is refused.
    fn open(&self, from: &Path) -> Result<File, LabError> {
        let shown = self.shown.join(from);
        let what = "could not read";
        let folder = self.folder.as_ref().ok_or_else(|| {
            LabError::io(&shown, what)(io::Error::new(io::ErrorKind::NotFound, "there is no project"))
        })?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(folder.as_fd(), from, flags, Mode::empty(), resolve)
            .map_err(LabError::errno(&shown, what))?;
        Ok(File::from(fd))
    }

    /// SHA-256 of all of it: paths, modes, links, and the bytes of the files.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn digest(&self) -> Result<String, LabError> {
        let mut sha = Sha256::new();
        for (path, entry) in &self.entries {
            let path = path.as_os_str().as_bytes();
            let mut part = |kind: &str, mode: u32, len: u64| {
                // Lengths first, so that no two layers read the same.
                sha.update(format!("{kind} {mode:o} {} {len}\n", path.len()));
                sha.update(path);
            };
            match entry {
                Entry::Folder { mode } => part("d", *mode, 0),
                Entry::Bytes { bytes, mode } => {
                    part("f", *mode, bytes.len() as u64);
                    sha.update(bytes);
                }
                Entry::Link { target } => {
                    part("l", 0, target.as_os_str().len() as u64);
                    sha.update(target.as_os_str().as_bytes());
                }
                Entry::Copy { from, mode } => {
                    let mut of_file = Sha256::new();
                    let mut file = self.open(from)?;
                    let len = io::copy(&mut file, &mut of_file)
                        .map_err(LabError::io(&self.shown.join(from), "could not read"))?;
                    part("f", *mode, len);
                    sha.update(of_file.finalize());
                }
            }
        }
        Ok(hex::encode(sha.finalize()))
    }

    /// Writes it as a tar archive, all of it root's.
    ///
    /// # Errors
    /// When a file cannot be read or the archive not written.
    pub fn write_tar(&self, to: impl Write, modes: &FolderModes) -> Result<(), LabError> {
        let failed = |path: &Path| LabError::io(path, "could not be packed");
        let mut tar = tar::Builder::new(to);
        // The root of the layer lies over that of the system.
        let mut top = header(tar::EntryType::Directory, 0o755, 0);
        tar.append_data(&mut top, "./", io::empty()).map_err(failed(Path::new("/")))?;
        for (path, entry) in self.whole(modes) {
            match entry {
                Entry::Folder { mode } => {
                    let mut header = header(tar::EntryType::Directory, mode, 0);
                    tar.append_data(&mut header, &path, io::empty())
                }
                Entry::Bytes { bytes, mode } => {
                    let mut header = header(tar::EntryType::Regular, mode, bytes.len() as u64);
                    tar.append_data(&mut header, &path, bytes.as_slice())
                }
                Entry::Link { target } => {
                    let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                    tar.append_link(&mut header, &path, target)
                }
                Entry::Copy { from, mode } => {
                    let file = self.open(&from)?;
                    let meta = file.metadata().map_err(failed(&from))?;
                    let mut header = header(tar::EntryType::Regular, mode, meta.len());
                    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
                    // Exactly as long as was said, also when somebody writes to it now.
                    let padded = file.take(meta.len()).chain(io::repeat(0)).take(meta.len());
                    tar.append_data(&mut header, &path, padded)
                }
            }
            .map_err(failed(&path))?;
        }
        tar.into_inner().and_then(|mut to| to.flush()).map_err(failed(Path::new("/")))
    }

    /// Writes it into a folder, with the owner who runs this.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn write_folder(&self, to: &Path) -> Result<(), LabError> {
        let what = "could not write";
        let dir = cap_std::fs::Dir::open_ambient_dir(to, cap_std::ambient_authority())
            .map_err(LabError::io(to, "could not open the folder"))?;
        for (path, entry) in self.whole(&FolderModes::new()) {
            let shown = to.join(&path);
            let failed = || LabError::io(&shown, what);
            // What the profile has there is replaced, never written through.
            if !matches!(entry, Entry::Folder { .. }) {
                match dir.remove_file(&path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed()(e)),
                    _ => {}
                }
            }
            let permit = |mode: u32| {
                use std::os::unix::fs::PermissionsExt;
                let of = cap_std::fs::Permissions::from_std(std::fs::Permissions::from_mode(mode));
                dir.set_permissions(&path, of)
            };
            match &entry {
                Entry::Folder { mode } => match dir.create_dir(&path) {
                    Ok(()) => permit(*mode),
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    Err(e) => Err(e),
                },
                Entry::Bytes { bytes, mode } => dir.write(&path, bytes).and_then(|()| permit(*mode)),
                Entry::Link { target } => rustix::fs::symlinkat(target, &dir, &path).map_err(Into::into),
                Entry::Copy { from, mode } => {
                    let mut file = self.open(from)?;
                    dir.create(&path)
                        .and_then(|mut new| io::copy(&mut file, &mut new))
                        .and_then(|_| permit(*mode))
                }
            }
            .map_err(failed())?;
        }
        Ok(())
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// The mode that a file gets in an image: whether it is executable is kept, all else is as usual.
pub fn image_mode(mode: u32) -> u32 {
    if mode & 0o100 == 0 { 0o644 } else { 0o755 }
}

/// A path of the image that leads where it says: absolute, without `..`, and not through one of the links
/// that a merged-/usr system has in its root, over which a layer would lay a folder.
pub fn check_place(path: &str) -> Result<(), String> {
    const LINKS: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr/lib64"];
    let Some(rest) = path.strip_prefix('/') else {
        return Err(format!("`{path}` is no absolute path of the image"));
    };
    let parts: Vec<&str> = rest.split('/').collect();
    if rest.is_empty() || parts.iter().any(|p| matches!(*p, "" | "." | "..")) || path.contains(['\0', '\n']) {
        return Err(format!("`{path}` is no plain path of the image"));
    }
    if let Some(link) = LINKS.iter().find(|l| rest == **l || rest.starts_with(&format!("{l}/"))) {
        return Err(format!("/{link} is a link in the image; name the place that it leads to (/usr/…)"));
    }
    // These are mounted over at boot.
    if ["proc", "sys", "dev", "run", "tmp"].contains(&parts[0]) {
        return Err(format!("/{} of the image is mounted over when it boots", parts[0]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> (tempfile::TempDir, Layer) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("run.sh"), "#!/bin/sh\n").unwrap();
        let mut layer = Layer::of_folder(dir.path()).unwrap();
        layer.add("/root/demo/run.sh", Entry::Copy { from: "run.sh".into(), mode: 0o755 });
        layer.text("/etc/hostwright/project.env", "A=b\n");
        layer.add("/root/demo/link", Entry::Link { target: "run.sh".into() });
        (dir, layer)
    }

    #[test]
    fn an_archive_has_the_folders_above_with_the_modes_of_the_system() {
        let (_dir, layer) = project();
        let mut bytes = Vec::new();
        let modes = FolderModes::from([("root".to_owned(), 0o700)]);
        layer.write_tar(&mut bytes, &modes).unwrap();
        let mut seen = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            seen.push(format!("{} {:o}", entry.path().unwrap().display(), header.mode().unwrap()));
        }
        assert_eq!(
            seen,
            [
                "./ 755",
                "etc 755",
                "etc/hostwright 755",
                "etc/hostwright/project.env 644",
                "root 700",
                "root/demo 755",
                "root/demo/link 777",
                "root/demo/run.sh 755",
            ]
        );
    }

    #[test]
    fn every_change_changes_the_digest() {
        let (dir, mut layer) = project();
        let mut seen = vec![layer.digest().unwrap()];
        std::fs::write(dir.path().join("run.sh"), "#!/bin/sh \n").unwrap();
        seen.push(layer.digest().unwrap());
        layer.add("/root/demo/link", Entry::Link { target: "run.sh2".into() });
        seen.push(layer.digest().unwrap());
        layer.add("/root/demo/run.sh", Entry::Copy { from: "run.sh".into(), mode: 0o644 });
        seen.push(layer.digest().unwrap());
        layer.add("/root/demo/d", Entry::Folder { mode: 0o755 });
        seen.push(layer.digest().unwrap());
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert_eq!(layer.digest().unwrap(), layer.digest().unwrap());
    }

    #[test]
    fn a_file_that_became_a_link_is_not_followed() {
        let (dir, layer) = project();
        std::fs::remove_file(dir.path().join("run.sh")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("run.sh")).unwrap();
        assert!(layer.digest().is_err());
        assert!(layer.write_tar(Vec::new(), &FolderModes::new()).is_err());
    }

    #[test]
    fn written_into_a_folder_it_replaces_links_and_follows_none() {
        let (_dir, layer) = project();
        let to = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(to.path().join("etc/hostwright")).unwrap();
        let precious = to.path().join("precious");
        std::fs::write(&precious, "mine").unwrap();
        std::os::unix::fs::symlink(&precious, to.path().join("etc/hostwright/project.env")).unwrap();
        layer.write_folder(to.path()).unwrap();
        assert_eq!(std::fs::read(&precious).unwrap(), b"mine");
        assert_eq!(std::fs::read(to.path().join("etc/hostwright/project.env")).unwrap(), b"A=b\n");
        assert_eq!(std::fs::read_link(to.path().join("root/demo/link")).unwrap(), Path::new("run.sh"));
        let mode = std::fs::metadata(to.path().join("root/demo/run.sh")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o755);
        // A folder that is a link in the profile leads out: refused.
        let outside = tempfile::tempdir().unwrap();
        std::fs::remove_dir_all(to.path().join("root")).unwrap();
        std::os::unix::fs::symlink(outside.path(), to.path().join("root")).unwrap();
        assert!(layer.write_folder(to.path()).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn places_that_would_hide_the_system_are_refused() {
        for good in ["/root/demo", "/opt/a b", "/usr/lib/x", "/library"] {
            assert_eq!(check_place(good), Ok(()), "{good}");
        }
        for bad in ["/", "root", "/a/../b", "//x", "/a/", "/lib/x", "/bin", "/tmp/x", "/run/x", "/a\nb"] {
            assert!(check_place(bad).is_err(), "{bad}");
        }
    }
}
