// SPDX-License-Identifier: GPL-3.0-or-later
//! What a command may use at most, and which open files it inherits.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What a command and all that it starts may use at most (`setrlimit(2)`), and how it stands back for others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Largest file that may be written, bytes.
    pub file_size: Option<u64>,
    /// Most processes and threads of its user.
    pub processes: Option<u64>,
    /// Most open files of one process.
    pub open_files: Option<u64>,
    /// Added to the niceness, 0 to 19.
    pub nice: u8,
    /// Whether the kernel should end this first when memory runs out, before anything of the user's.
    pub first_to_go: bool,
}

/// An open file that a command inherits under the same number (for instance the job server of `make`).
#[derive(Debug, Clone)]
pub struct Inherited(Arc<OwnedFd>);

impl Inherited {
    /// Shares `fd` with commands; it stays open as long as one of them knows it.
    pub fn new(fd: OwnedFd) -> Self {
        Self(Arc::new(fd))
    }
    /// The number under which the command finds it.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl AsFd for Inherited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PartialEq for Inherited {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}
impl Eq for Inherited {}

/// Limits the calling process. Called between fork and exec: system calls only, no allocation.
pub(super) fn apply_limits(limits: &Limits) -> std::io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    if *limits == Limits::default() {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    for (resource, limit) in [
        (Resource::RLIMIT_FSIZE, limits.file_size),
        (Resource::RLIMIT_NPROC, limits.processes),
        (Resource::RLIMIT_NOFILE, limits.open_files),
    ] {
        if let Some(limit) = limit {
            setrlimit(resource, limit, limit)?;
        }
    }
    if limits.nice > 0 {
        // Not worth failing for: the work is done all the same.
        let _ = rustix::process::nice(limits.nice.into());
    }
    if limits.first_to_go
        && let Ok(file) = rustix::fs::open(
            c"/proc/self/oom_score_adj",
            rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
    {
        let _ = rustix::io::write(&file, b"1000");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Command, RealRunner, Runner};
    use std::io::{BufRead, BufReader};

    #[test]
    fn limits_hold_for_the_command_and_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            file_size: Some(4096),
            processes: None,
            open_files: Some(64),
            nice: 7,
            first_to_go: true,
        };
        let script =
            "nice; ulimit -n; cat /proc/self/oom_score_adj; sh -c 'head -c 9000 /dev/zero > big; true'";
        let cmd = Command::new("sh").args(["-c", script]).cwd(dir.path()).limits(limits);
        let output = RealRunner.run(&cmd).unwrap();
        // 19 is the end of the scale; the tests may themselves run at a lower priority.
        let nice = (rustix::process::nice(0).unwrap() + 7).min(19);
        assert_eq!(output.stdout, format!("{nice}\n64\n1000\n"), "{output:?}");
        assert_eq!(std::fs::metadata(dir.path().join("big")).unwrap().len(), 4096);
    }

    #[test]
    fn an_inherited_file_is_found_under_its_number_and_no_other_is() {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let (other, _keep) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let write = Inherited::new(write);
        let script = format!("echo hello > /proc/self/fd/{}; ls /proc/self/fd", write.number());
        let output = RealRunner.run(&Command::new("sh").args(["-c", &script]).inherit(write)).unwrap();
        let mut said = String::new();
        let mut reader = BufReader::new(std::fs::File::from(read));
        reader.read_line(&mut said).unwrap();
        assert_eq!(said, "hello\n");
        assert!(!output.stdout.lines().any(|l| l == other.as_raw_fd().to_string()), "{output:?}");
    }
}
