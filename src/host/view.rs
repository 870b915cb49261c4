// SPDX-License-Identifier: GPL-3.0-or-later
//! What of a machine is seen inside a sandbox, all of it read-only: just what a compiler needs. No
//! `/home`, `/root`, `/var`, `/run`, no secrets of `/etc`.

use super::sandbox::SandboxError;
use super::{FileKind, Root};
use std::path::PathBuf;

/// One thing that is seen inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mount {
    /// A symbolic link.
    Link {
        /// Where it points.
        target: String,
        /// Where it is inside.
        inside: String,
    },
    /// A file or folder of the running machine, read-only.
    ReadOnly {
        /// Where it is on the running machine.
        outside: PathBuf,
        /// Where it is seen inside.
        inside: String,
    },
    /// An empty folder that leads to other things. Made by itself it would be for root only.
    Folder {
        /// Where it is inside.
        inside: String,
    },
    /// A folder of the system taken apart: the sandbox's own, with the entries of the system's mounted
    /// one by one and room for more; read-only in the end.
    Apart {
        /// Where it is inside.
        inside: String,
    },
}

/// What is seen inside, in the order in which it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    mounts: Vec<Mount>,
    /// The root directory whose programs these are.
    system: PathBuf,
    /// Folders that were taken apart, so that something can be mounted beside their entries.
    apart: Vec<String>,
}

/// The folders with programs and libraries; on merged-/usr systems all but the first are links.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"];

/// How programs and libraries are found: Debian's and Fedora's choice of alternatives, the linker's cache.
const LOOK_UP: [&str; 4] = ["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"];

impl View {
    /// The programs, libraries and headers of the system in `root`.
    pub fn of_system(root: &Root) -> Result<Self, SandboxError> {
        let mut mounts = vec![Mount::Folder { inside: "/etc".to_owned() }];
        for path in SYSTEM.into_iter().chain(LOOK_UP) {
            // Not followed: a link in a scratch root must not show a folder of the running machine.
            match root.symlink_metadata(path).map(|m| m.kind) {
                Ok(FileKind::Symlink) if SYSTEM.contains(&path) => {
                    mounts.push(Mount::Link { target: root.read_link(path)?, inside: path.to_owned() });
                }
                Ok(FileKind::Directory | FileKind::File) => {
                    mounts.push(Mount::ReadOnly { outside: root.outside(path), inside: path.to_owned() });
                }
                _ => {}
            }
        }
        Ok(Self { mounts, system: root.path().to_owned(), apart: Vec::new() })
    }

    /// What is mounted, in this order.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// Shows the kernel trees of `root` in place of those of the running machine.
    pub fn show_kernels_of(&mut self, root: &Root) -> Result<(), SandboxError> {
        let system = Root::open(&self.system)?;
        let mut folders = vec!["/usr/src".to_owned(), "/lib/modules".to_owned()];
        // Debian keeps the programs of kbuild beside the headers.
        for entry in root.list("/usr/lib").unwrap_or_default() {
            if entry.name.starts_with("linux-kbuild-") && entry.kind == FileKind::Directory {
                folders.push(format!("/usr/lib/{}", entry.name));
            }
        }
        for folder in folders {
            if let Ok(there) = root.resolve(&folder) {
                self.mount(&system, root.outside(&there), &folder)?;
            }
        }
        Ok(())
    }

    /// Mounts at `inside`, whether the system has such a place or not.
    fn mount(&mut self, system: &Root, outside: PathBuf, inside: &str) -> Result<(), SandboxError> {
        let of_system = |path: &str| SYSTEM.iter().any(|s| path.starts_with(&format!("{s}/")));
        match system.resolve(inside) {
            Ok(real) if of_system(inside) => self.mounts.push(Mount::ReadOnly { outside, inside: real }),
            Err(_) if of_system(inside) => self.mount_beside(system, outside, inside)?,
            // Elsewhere the sandbox's own root can hold any folder.
            _ => {
                for (end, _) in inside.match_indices('/').filter(|(i, _)| *i > 0) {
                    self.mounts.push(Mount::Folder { inside: inside[..end].to_owned() });
                }
                self.mounts.push(Mount::ReadOnly { outside, inside: inside.to_owned() });
            }
        }
        Ok(())
    }

    /// Mounts at a place that the read-only system does not have: the deepest folder that is there is
    /// replaced by one of the sandbox's own that shows the same entries, and can hold one more.
    fn mount_beside(&mut self, system: &Root, outside: PathBuf, inside: &str) -> Result<(), SandboxError> {
        let mut parent = inside;
        let existing = loop {
            parent = parent.rsplit_once('/').map_or("", |(p, _)| p);
            if parent.is_empty() {
                break None;
            }
            if let Ok(real) = system.resolve(parent) {
                break Some(real);
            }
        };
        let Some(existing) = existing else {
            self.mounts.push(Mount::ReadOnly { outside, inside: inside.to_owned() });
            return Ok(());
        };
        if !self.apart.contains(&existing) {
            self.mounts.push(Mount::Apart { inside: existing.clone() });
            for entry in system.list(&existing)? {
                let path = format!("{existing}/{}", entry.name);
                match entry.kind {
                    FileKind::Symlink => {
                        self.mounts.push(Mount::Link { target: system.read_link(&path)?, inside: path });
                    }
                    FileKind::File | FileKind::Directory => {
                        self.mounts.push(Mount::ReadOnly { outside: system.outside(&path), inside: path });
                    }
                    FileKind::Other => {}
                }
            }
            self.apart.push(existing.clone());
        }
        let rest = inside.strip_prefix(parent).unwrap_or_default();
        self.mounts.push(Mount::ReadOnly { outside, inside: format!("{existing}{rest}") });
        Ok(())
    }

    /// Shows the build tree of a kernel, and the source tree that it refers to, where they are not in
    /// sight. Returns whether something was added.
    pub fn show_tree(&mut self, root: &Root, build_dir: &str) -> Result<bool, SandboxError> {
        let build = root.resolve(build_dir)?;
        if !is_tree(root, &build) {
            return Err(SandboxError::NotATree { path: build });
        }
        let system = Root::open(&self.system)?;
        let mut trees = vec![build.clone()];
        // A tree made with O= has its sources elsewhere: `source` leads there, and so does its Makefile.
        if let Ok(source) = root.resolve(&format!("{build}/source")) {
            trees.push(source);
        }
        if let Ok(makefile) = root.read_at_most(&format!("{build}/Makefile"), 1 << 20) {
            let text = String::from_utf8_lossy(&makefile).into_owned();
            trees.extend(included_tree(&text).and_then(|tree| root.resolve(tree).ok()));
        }
        let before = self.mounts.len();
        for tree in trees {
            if is_tree(root, &tree) && !self.shows(root, &tree) {
                self.mount(&system, root.outside(&tree), &tree)?;
            }
        }
        Ok(self.mounts.len() > before)
    }

    /// Whether `path` of `root` (and not of another system) is seen at its own place.
    fn shows(&self, root: &Root, path: &str) -> bool {
        let below =
            |inside: &str| path.strip_prefix(inside).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        // The last one mounted over a place is the one that is seen there.
        self.mounts.iter().rev().find_map(|m| match m {
            Mount::ReadOnly { outside, inside } if below(inside) => Some(outside.starts_with(root.path())),
            _ => None,
        }) == Some(true)
    }
}

/// Whether `path` can be taken for a kernel's build or source tree. Anything else (`/root`, `/home/me`)
/// is never shown, wherever a link of `/lib/modules` may lead.
fn is_tree(root: &Root, path: &str) -> bool {
    path.len() > 1
        && root.metadata(&format!("{path}/Makefile")).is_ok_and(|m| m.kind == FileKind::File)
        // On Debian a link to /usr/lib/linux-kbuild-V, which a partial root may leave to the machine.
        && root
            .symlink_metadata(&format!("{path}/scripts"))
            .is_ok_and(|m| matches!(m.kind, FileKind::Directory | FileKind::Symlink))
        && root.metadata(&format!("{path}/include")).is_ok_and(|m| m.kind == FileKind::Directory)
}

/// The tree whose Makefile this one includes (`include /usr/src/linux-headers-6.1.0-56-common/Makefile`).
fn included_tree(makefile: &str) -> Option<&str> {
    makefile.lines().find_map(|line| {
        let path = line.trim().strip_prefix("include ")?.trim();
        path.strip_suffix("/Makefile").filter(|p| p.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(root: &Root, path: &str) {
        root.create_dirs(&format!("{path}/scripts"), 0o755).unwrap();
        root.create_dirs(&format!("{path}/include"), 0o755).unwrap();
        root.write(&format!("{path}/Makefile"), b"all:\n", 0o644, None).unwrap();
    }

    #[test]
    fn a_kernel_tree_in_a_home_folder_is_shown_and_nothing_else_of_that_home() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.create_dirs("/usr/bin", 0o755).unwrap();
        tree(&root, "/home/me/linux-build");
        tree(&root, "/home/me/linux-src");
        root.write(
            "/home/me/linux-build/Makefile",
            b"# made\ninclude /home/me/linux-src/Makefile\n",
            0o644,
            None,
        )
        .unwrap();
        root.create_dirs("/lib/modules/6.9", 0o755).unwrap();
        root.symlink("/home/me/linux-build", "/lib/modules/6.9/build").unwrap();
        let mut view = View::of_system(&root).unwrap();
        let before = view.mounts().len();
        assert!(view.show_tree(&root, "/lib/modules/6.9/build").unwrap());
        let added: Vec<_> = view.mounts()[before..].to_vec();
        let shown = |path: &str| Mount::ReadOnly { outside: root.outside(path), inside: path.to_owned() };
        let folder = |path: &str| Mount::Folder { inside: path.to_owned() };
        assert_eq!(
            added,
            [
                folder("/home"),
                folder("/home/me"),
                shown("/home/me/linux-build"),
                folder("/home"),
                folder("/home/me"),
                shown("/home/me/linux-src")
            ]
        );
        assert!(!view.show_tree(&root, "/home/me/linux-build").unwrap(), "shown twice");
    }

    #[test]
    fn a_build_link_that_leads_to_no_kernel_tree_shows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.create_dirs("/lib/modules/6.9", 0o755).unwrap();
        root.create_dirs("/root/.ssh", 0o755).unwrap();
        root.symlink("/root", "/lib/modules/6.9/build").unwrap();
        let mut view = View::of_system(&root).unwrap();
        let error = view.show_tree(&root, "/lib/modules/6.9/build").unwrap_err();
        assert!(error.to_string().starts_with("/root is no kernel build tree"), "{error}");
    }

    #[test]
    fn links_of_a_scratch_root_never_show_a_folder_of_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.create_dirs("/etc", 0o755).unwrap();
        root.create_dirs("/usr", 0o755).unwrap();
        root.symlink("/root", "/etc/alternatives").unwrap();
        root.symlink("/root", "/lib").unwrap();
        let view = View::of_system(&root).unwrap();
        assert_eq!(
            view.mounts(),
            [
                Mount::Folder { inside: "/etc".to_owned() },
                Mount::ReadOnly { outside: root.outside("/usr"), inside: "/usr".to_owned() },
                Mount::Link { target: "/root".to_owned(), inside: "/lib".to_owned() },
            ]
        );
    }

    #[test]
    fn a_place_that_the_system_lacks_is_mounted_beside_its_entries() {
        let dir = tempfile::tempdir().unwrap();
        let system = Root::open(dir.path()).unwrap();
        system.create_dirs("/usr/lib/gcc", 0o755).unwrap();
        system.symlink("usr/lib", "/lib").unwrap();
        system.symlink("gcc", "/usr/lib/link").unwrap();
        let mut view = View::of_system(&system).unwrap();
        let before = view.mounts().len();
        view.mount_beside(&system, "/scratch/lib/modules".into(), "/lib/modules").unwrap();
        view.mount_beside(&system, "/scratch/kbuild".into(), "/usr/lib/linux-kbuild-6.1").unwrap();
        assert_eq!(
            view.mounts()[before..],
            [
                Mount::Apart { inside: "/usr/lib".to_owned() },
                Mount::ReadOnly {
                    outside: system.outside("/usr/lib/gcc"),
                    inside: "/usr/lib/gcc".to_owned()
                },
                Mount::Link { target: "gcc".to_owned(), inside: "/usr/lib/link".to_owned() },
                Mount::ReadOnly {
                    outside: "/scratch/lib/modules".into(),
                    inside: "/usr/lib/modules".to_owned()
                },
                Mount::ReadOnly {
                    outside: "/scratch/kbuild".into(),
                    inside: "/usr/lib/linux-kbuild-6.1".to_owned()
                },
            ]
        );
    }

    #[test]
    fn the_included_tree_is_read_from_a_makefile() {
        assert_eq!(
            included_tree("include /usr/src/linux-headers-6.1.0-56-common/Makefile\n"),
            Some("/usr/src/linux-headers-6.1.0-56-common")
        );
        assert_eq!(included_tree("VERSION = 6\ninclude scripts/Makefile.compiler\n"), None);
    }
}
