// SPDX-License-Identifier: GPL-3.0-or-later
//! One job budget for several calls of `make`: a job server, as `make` itself runs for its sub-makes
//! (GNU make manual, "POSIX Jobserver Interaction"). A pipe holds one byte for each job beyond the one
//! that every `make` has of its own.

use crate::engine::kbuild::Jobs;
use crate::host::Inherited;
use nix::fcntl::OFlag;
use std::io;

/// How many jobs this machine can do at once.
pub(super) fn budget() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A pipe with job tokens.
#[derive(Debug)]
pub(super) struct JobServer {
    read: Inherited,
    write: Inherited,
}

impl JobServer {
    /// A server for `clients` calls of `make` that together run `jobs` jobs; `jobs` is at least `clients`.
    pub fn new(jobs: usize, clients: usize) -> io::Result<Self> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let server = Self { read: Inherited::new(read), write: Inherited::new(write) };
        for _ in clients..jobs {
            server.give()?;
        }
        Ok(server)
    }

    /// Adds one token: a client that ended no longer needs its own job.
    pub fn give(&self) -> io::Result<()> {
        nix::unistd::write(&self.write, b"+").map(drop).map_err(Into::into)
    }

    /// How a client finds it.
    pub fn jobs(&self) -> Jobs {
        Jobs::Shared(self.read.number(), self.write.number())
    }

    /// What a client inherits.
    pub fn files(&self) -> [Inherited; 2] {
        [self.read.clone(), self.write.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Command, RealRunner, Runner};
    use std::time::{Duration, Instant};

    /// Four sleeps of a third of a second by a client that has one job of its own and `extra` tokens.
    fn time(server: &JobServer) -> (Duration, String) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Makefile"), "all: a b c d\na b c d:\n\t@sleep 0.3\n").unwrap();
        let Jobs::Shared(read, write) = server.jobs() else { unreachable!() };
        let mut command = Command::new("make")
            .args(["-C".to_owned(), dir.path().display().to_string()])
            .env("MAKEFLAGS", format!(" -j --jobserver-auth={read},{write}"));
        for file in server.files() {
            command = command.inherit(file);
        }
        let began = Instant::now();
        let output = RealRunner.run_ok(&command).unwrap();
        (began.elapsed(), output.stderr)
    }

    #[test]
    fn make_takes_its_jobs_from_the_server() {
        let (alone, said) = time(&JobServer::new(1, 1).unwrap());
        assert!(alone > Duration::from_millis(1100), "more than one job at once: {alone:?}");
        assert!(!said.contains("jobserver"), "{said}");
        let server = JobServer::new(2, 2).unwrap();
        server.give().unwrap();
        server.give().unwrap();
        server.give().unwrap();
        let (four, said) = time(&server);
        assert!(four < alone, "{four:?} is no less than {alone:?}");
        assert!(!said.contains("jobserver"), "{said}");
    }
}
