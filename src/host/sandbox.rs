// SPDX-License-Identifier: GPL-3.0-or-later
//! Where foreign code is built: an unprivileged user in a bubblewrap sandbox without network, with a
//! read-only system and one writable folder (rule 6 of the design).

use super::{Command, Host, HostError, HostKind};
use std::path::{Path, PathBuf};

/// The unprivileged user that builds. Created by `sysusers.d` on installation.
pub const BUILD_USER: &str = "hostwright-build";

/// Who builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildUser {
    /// We are not root: the caller builds as itself.
    Caller,
    /// We are root: this user and group build.
    Other {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

impl BuildUser {
    /// The user that builds on this machine: the caller when it is not root, else `hostwright-build`,
    /// else (not installed) the kernel's overflow user 65534, which owns nothing.
    pub fn find() -> Self {
        if !nix::unistd::geteuid().is_root() {
            return Self::Caller;
        }
        match nix::unistd::User::from_name(BUILD_USER) {
            Ok(Some(user)) => Self::Other { uid: user.uid.as_raw(), gid: user.gid.as_raw() },
            _ => Self::Other { uid: 65534, gid: 65534 },
        }
    }
}

/// Why nothing can be built in a sandbox here.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// bubblewrap is not installed.
    #[error(
        "bubblewrap is not installed; nothing foreign is built without it. Install the package `bubblewrap`"
    )]
    Missing,
    /// The work folder cannot be used.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// What a sandbox may see and write. [`Sandbox::wrap`] turns it into an argv.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Folder on the running machine that is `/` inside: `/` itself or a complete scratch root.
    pub base: PathBuf,
    /// Read-only folders shown at another place: (on the running machine, inside).
    pub read_only: Vec<(PathBuf, String)>,
    /// The one writable folder on the running machine; `/build` inside.
    pub work: PathBuf,
    /// Who builds.
    pub user: BuildUser,
}

/// Where the writable folder is seen inside.
pub const INSIDE: &str = "/build";

impl Sandbox {
    /// A sandbox for building against the kernels of `host`, with `work` as its writable folder.
    ///
    /// On a partial scratch root the compiler is the running machine's, and the kernel trees are those
    /// of the scratch root.
    ///
    /// # Errors
    /// When bubblewrap is missing.
    pub fn new(host: &Host, work: &Path, user: BuildUser) -> Result<Self, SandboxError> {
        if !["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"].iter().any(|p| Path::new(p).exists()) {
            return Err(SandboxError::Missing);
        }
        let mut sandbox =
            Self { base: host.root().path().to_owned(), read_only: vec![], work: work.to_owned(), user };
        if host.kind() == HostKind::PartialRoot {
            sandbox.base = PathBuf::from("/");
            for path in ["/usr/src", "/lib/modules"] {
                // Inside, /lib is a link to usr/lib on every supported distribution.
                let inside = Path::new(path).canonicalize().unwrap_or_else(|_| PathBuf::from(path));
                if let Ok(there) = host.root().resolve(path)
                    && inside.exists()
                {
                    let inside = inside.display().to_string();
                    sandbox.read_only.push((host.root().outside(&there), inside));
                }
            }
        }
        Ok(sandbox)
    }

    /// Shows one more folder of the running machine read-only (for instance a kernel tree in a home folder).
    #[must_use]
    pub fn show(mut self, outside: PathBuf, inside: impl Into<String>) -> Self {
        self.read_only.push((outside, inside.into()));
        self
    }

    /// The command inside the sandbox. Pure.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut args: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(|w| (*w).to_owned()));
        add(&["--unshare-all", "--die-with-parent", "--new-session", "--hostname", "build"]);
        add(&["--cap-drop", "ALL"]);
        // Only what a compiler needs to see: no /home, /root, /var, /run and no secrets of /etc.
        for dir in ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"] {
            let outside = self.base.join(&dir[1..]);
            match std::fs::read_link(&outside) {
                Ok(target) => add(&["--symlink", &target.display().to_string(), dir]),
                Err(_) => add(&["--ro-bind-try", &outside.display().to_string(), dir]),
            }
        }
        for dir in
            ["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/passwd"]
        {
            add(&["--ro-bind-try", &self.base.join(&dir[1..]).display().to_string(), dir]);
        }
        add(&["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
        for (outside, inside) in &self.read_only {
            add(&["--ro-bind", &outside.display().to_string(), inside]);
        }
        add(&["--bind", &self.work.display().to_string(), INSIDE]);
        add(&["--remount-ro", "/"]);
        let cwd = command.cwd.as_ref().map_or_else(|| INSIDE.to_owned(), |d| d.display().to_string());
        add(&["--chdir", &cwd, "--clearenv"]);
        add(&["--setenv", "PATH", super::command::PATH, "--setenv", "LC_ALL", "C.UTF-8"]);
        add(&["--setenv", "HOME", INSIDE, "--setenv", "TMPDIR", "/tmp"]);
        for (key, value) in &command.env {
            add(&["--setenv", key, value]);
        }
        add(&["--", &command.program]);
        args.extend(command.args.iter().cloned());
        let mut wrapped = Command::new("bwrap").args(args);
        wrapped.timeout = command.timeout;
        wrapped.stdin.clone_from(&command.stdin);
        if let BuildUser::Other { uid, gid } = self.user {
            wrapped = wrapped.identity(uid, gid);
        }
        wrapped
    }
}

/// Runs a tool of a complete scratch root inside it, as its root user, without network. For trusted
/// tools of the distribution only (depmod, update-initramfs), which must be able to write there.
pub(super) fn inside_root(root: &Path, command: &Command) -> Command {
    let root = root.display().to_string();
    let mut wrapped = Command::new("bwrap")
        .args(["--die-with-parent", "--unshare-net", "--unshare-ipc", "--unshare-pid", "--bind", &root, "/"])
        .args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"])
        .args(["--chdir", "/", "--"])
        .arg(&command.program)
        .args(command.args.iter().cloned());
    wrapped.env.clone_from(&command.env);
    wrapped.timeout = command.timeout;
    wrapped.stdin.clone_from(&command.stdin);
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{RealRunner, Runner};

    fn sandbox(work: &Path) -> Sandbox {
        let host = Host::machine().unwrap();
        Sandbox::new(&host, work, BuildUser::find()).unwrap()
    }

    fn work() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        if let BuildUser::Other { uid, gid } = BuildUser::find() {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        dir
    }

    fn sh(dir: &Path, script: &str) -> crate::host::Output {
        RealRunner.run(&sandbox(dir).wrap(&Command::new("sh").args(["-c", script]))).unwrap()
    }

    #[test]
    fn only_the_work_folder_can_be_written() {
        let dir = work();
        let out = sh(
            dir.path(),
            "echo ok > /build/made; for d in / /usr /etc /lib /bin; do touch $d/x 2>/dev/null && echo wrote $d; done; true",
        );
        assert!(out.success(), "{out:?}");
        assert_eq!(out.stdout, "", "{out:?}");
        assert_eq!(std::fs::read_to_string(dir.path().join("made")).unwrap(), "ok\n");
        assert!(!Path::new("/usr/x").exists() && !Path::new("/x").exists() && !Path::new("/etc/x").exists());
    }

    #[test]
    fn nobody_inside_is_root_and_nothing_private_is_seen() {
        let dir = work();
        let out = sh(
            dir.path(),
            "id -u; cat /etc/shadow 2>&1; ls -A /root /home /var 2>&1; grep CapEff /proc/self/status",
        );
        assert_ne!(out.stdout.lines().next(), Some("0"), "{out:?}");
        assert!(out.stdout.contains("CapEff:\t0000000000000000"), "{out:?}");
        assert!(!out.stdout.contains("root:"), "{out:?}");
    }

    #[test]
    fn there_is_no_network() {
        let dir = work();
        let out = sh(
            dir.path(),
            "cat /proc/net/dev | tail -n +3 | grep -v ' lo:' | wc -l; cat /proc/net/route | tail -n +2 | wc -l",
        );
        assert_eq!(out.stdout.split_whitespace().collect::<Vec<_>>(), ["0", "0"], "{out:?}");
    }
}
