// SPDX-License-Identifier: GPL-3.0-or-later
//! Where foreign code is built: an unprivileged user in a bubblewrap sandbox without network, with a
//! read-only system and one writable folder (rule 6 of the design).

use super::view::{Mount, View};
use super::{Command, CommandError, Host, HostError, HostKind, Limits, Root};
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// Where the writable folder is seen inside.
pub const INSIDE: &str = "/build";

/// How long a command in the sandbox may take when it brings no limit of its own.
const WALL_TIME: Duration = Duration::from_secs(30 * 60);

/// Largest file that foreign code may write: a module with all its debugging information is a few MB.
const FILE_SIZE: u64 = 512 << 20;

/// Most processes and threads of the build user: room for `make` on the largest machines, not for a fork bomb.
const PROCESSES: u64 = 4096;

/// Most open files of one process.
const OPEN_FILES: u64 = 4096;

/// How far a build stands back for what a person does meanwhile.
const NICE: u8 = 10;

/// What programs read to find hosts and to check certificates.
const NETWORK: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl/certs", "/usr/share/ca-certificates"];

/// Largest temporary file system (`/tmp` inside), bytes.
const TMP_SIZE: &str = "1073741824";

/// Why nothing can be built in a sandbox here.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// bubblewrap is not installed.
    #[error(
        "bubblewrap is not installed, and nothing foreign is built without it; install the package `bubblewrap`"
    )]
    Missing,
    /// Neither way to make a sandbox works here.
    #[error(
        "no sandbox can be made here, and nothing foreign is built without one: {said}; allow user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0, or an AppArmor profile \
         for bwrap), or run this as root"
    )]
    Forbidden {
        /// What bubblewrap said.
        said: String,
    },
    /// The build tree of a kernel is none.
    #[error(
        "{path} is no kernel build tree (no Makefile and scripts in it); install the headers of that kernel again"
    )]
    NotATree {
        /// The folder.
        path: String,
    },
    /// A folder cannot be used.
    #[error(transparent)]
    Host(#[from] HostError),
    /// bubblewrap could not be tried.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// How the sandbox comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// bubblewrap runs as the build user, in a user namespace.
    UserNamespace {
        /// Whether no further user namespaces can be made inside (`--disable-userns`).
        sealed: bool,
    },
    /// bubblewrap runs as root without a user namespace, and `setpriv` inside becomes the build user
    /// before anything foreign runs: for machines that forbid unprivileged user namespaces, and for
    /// folders that only root can reach.
    Dropped,
}

/// What a sandbox may see and write. [`Sandbox::wrap`] turns it into an argv.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// What is seen read-only.
    view: View,
    /// The one writable folder on the running machine; [`INSIDE`] inside.
    work: PathBuf,
    /// Who builds.
    user: BuildUser,
    /// How it comes about.
    form: Form,
    /// Version of bubblewrap.
    version: (u32, u32),
    /// Whether it has the network.
    online: bool,
}

impl Sandbox {
    /// A sandbox for building against the kernels of `host`, with `work` as its writable folder, which
    /// must belong to `user` already. Tried out before it is returned.
    ///
    /// On a partial scratch root the compiler is the running machine's, and the kernel trees are those
    /// of the scratch root.
    ///
    /// # Errors
    /// When bubblewrap is missing or cannot make a sandbox.
    pub fn new(host: &Host, work: &Path, user: BuildUser) -> Result<Self, SandboxError> {
        let view = if host.kind() == HostKind::PartialRoot {
            let mut view = View::of_system(&Root::open(Path::new("/"))?)?;
            view.show_kernels_of(host.root())?;
            view
        } else {
            View::of_system(host.root())?
        };
        Self::with_view(host, view, work, user)
    }

    /// A sandbox with the programs of the running machine, whatever is built or tried; `host` is the running
    /// machine. Tried out before it is returned.
    ///
    /// # Errors
    /// As [`Sandbox::new`].
    pub fn of_machine(host: &Host, work: &Path, user: BuildUser) -> Result<Self, SandboxError> {
        let view = View::of_system(&Root::open(Path::new("/"))?)?;
        Self::with_view(host, view, work, user)
    }

    fn with_view(host: &Host, view: View, work: &Path, user: BuildUser) -> Result<Self, SandboxError> {
        let mut sandbox = Self {
            view,
            work: work.to_owned(),
            user,
            form: Form::UserNamespace { sealed: false },
            version: version(host)?,
            online: false,
        };
        sandbox.settle(host)?;
        Ok(sandbox)
    }

    /// Shows the build tree of a kernel where it is not in sight yet (a tree in a home folder), and the
    /// source tree that it refers to; nothing else of those folders.
    ///
    /// # Errors
    /// When `build_dir` is no kernel build tree, or cannot be shown.
    pub fn with_kernel(mut self, host: &Host, build_dir: &str) -> Result<Self, SandboxError> {
        if self.view.show_tree(host.root(), build_dir)? {
            self.settle(host)?;
        }
        Ok(self)
    }

    /// With the network, for fetching sources: the names of hosts and the certificates of authorities are seen, too.
    /// Nothing that was fetched may be run in it.
    #[must_use]
    pub fn online(mut self) -> Self {
        self.online = true;
        self
    }

    /// How it comes about.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Takes the first form that works here: a user namespace where the build user may make one and
    /// can reach all folders, else (as root) none.
    fn settle(&mut self, host: &Host) -> Result<(), SandboxError> {
        let mut forms = vec![Form::UserNamespace { sealed: false }];
        if self.version >= (0, 8) {
            forms.insert(0, Form::UserNamespace { sealed: true });
        }
        if self.user != BuildUser::Caller {
            forms.push(Form::Dropped);
        }
        let mut said = String::new();
        for form in forms {
            self.form = form;
            let output = host.runner().run(&self.wrap(&Command::new("true")))?;
            if output.success() {
                return Ok(());
            }
            tracing::debug!(?form, stderr = %output.stderr, "this form of sandbox does not work here");
            said = output.stderr.trim().to_owned();
        }
        Err(SandboxError::Forbidden { said })
    }

    /// The command inside the sandbox. Pure.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut args: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(|w| (*w).to_owned()));
        add(&["--unshare-ipc", "--unshare-pid"]);
        if !self.online {
            add(&["--unshare-net"]);
        }
        add(&["--unshare-uts", "--unshare-cgroup-try"]);
        add(&["--die-with-parent", "--new-session", "--hostname", "build", "--cap-drop", "ALL"]);
        match self.form {
            Form::UserNamespace { sealed } => {
                add(&["--unshare-user"]);
                if sealed {
                    add(&["--disable-userns"]);
                }
            }
            // Just what is needed to enter the build user's folder, to become that user, and to give all
            // of these up: setpriv does so before anything foreign runs.
            Form::Dropped => {
                for capability in ["CAP_DAC_READ_SEARCH", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"] {
                    add(&["--cap-add", capability]);
                }
            }
        }
        // Before all that is shown: a kernel tree may stand below /tmp.
        add(&["--proc", "/proc", "--dev", "/dev"]);
        if self.version >= (0, 5) {
            add(&["--perms", "1777"]);
        }
        if self.version >= (0, 7) {
            add(&["--size", TMP_SIZE]);
        }
        add(&["--tmpfs", "/tmp"]);
        for mount in self.view.mounts() {
            match mount {
                Mount::Link { target, inside } => add(&["--symlink", target, inside]),
                Mount::ReadOnly { outside, inside } => add(&["--ro-bind", &text(outside), inside]),
                Mount::Apart { inside } => add(&["--tmpfs", inside]),
                Mount::Folder { inside } => add(&["--dir", inside]),
            }
        }
        if self.online {
            for path in NETWORK {
                add(&["--ro-bind-try", path, path]);
            }
        }
        add(&["--bind", &text(&self.work), INSIDE]);
        for mount in self.view.mounts() {
            if let Mount::Apart { inside } = mount {
                add(&["--remount-ro", inside]);
            }
        }
        add(&["--remount-ro", "/dev", "--remount-ro", "/"]);
        let cwd = command.cwd.as_deref().map_or_else(|| INSIDE.to_owned(), text);
        add(&["--chdir", &cwd, "--clearenv"]);
        add(&["--setenv", "PATH", super::command::PATH, "--setenv", "LC_ALL", "C.UTF-8"]);
        // Without --perms, /tmp is for root only when root makes it.
        let tmp = if self.version >= (0, 5) { "/tmp" } else { INSIDE };
        add(&["--setenv", "HOME", INSIDE, "--setenv", "TMPDIR", tmp]);
        for (key, value) in &command.env {
            add(&["--setenv", key, value]);
        }
        add(&["--"]);
        if let (Form::Dropped, BuildUser::Other { uid, gid }) = (self.form, &self.user) {
            let (uid, gid) = (uid.to_string(), gid.to_string());
            add(&["setpriv", "--reuid", &uid, "--regid", &gid, "--clear-groups", "--no-new-privs"]);
            add(&["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--"]);
        }
        add(&[&command.program]);
        args.extend(command.args.iter().cloned());
        let mut wrapped = Command::new("bwrap").args(args);
        wrapped.timeout = command.timeout.or(Some(WALL_TIME));
        wrapped.stdin.clone_from(&command.stdin);
        wrapped.inherit.clone_from(&command.inherit);
        wrapped.limits = self.limits();
        if let (Form::UserNamespace { .. }, BuildUser::Other { uid, gid }) = (self.form, &self.user) {
            wrapped = wrapped.identity(*uid, *gid);
        }
        wrapped
    }

    fn limits(&self) -> Limits {
        Limits {
            file_size: Some(FILE_SIZE),
            // Counted over all processes of a user: a caller's own desktop may have thousands already.
            processes: (self.user != BuildUser::Caller).then_some(PROCESSES),
            open_files: Some(OPEN_FILES),
            nice: NICE,
            first_to_go: true,
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The version of bubblewrap: newer ones shut the sandbox tighter.
fn version(host: &Host) -> Result<(u32, u32), SandboxError> {
    match host.runner().run(&Command::new("bwrap").arg("--version")) {
        Ok(output) if output.success() => Ok(parse_version(&output.stdout)),
        Ok(_) => Ok((0, 0)),
        Err(CommandError::Start { .. }) => Err(SandboxError::Missing),
        Err(e) => Err(e.into()),
    }
}

/// `bubblewrap 0.8.0` → (0, 8); (0, 0) for anything else.
fn parse_version(text: &str) -> (u32, u32) {
    let mut numbers = text.trim().trim_start_matches("bubblewrap ").split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
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
    wrapped.inherit.clone_from(&command.inherit);
    wrapped
}

#[cfg(test)]
#[path = "sandbox_tests.rs"]
mod tests;
