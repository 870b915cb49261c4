// SPDX-License-Identifier: GPL-3.0-or-later
//! The logs of one build: an overview, and beside it the complete output of `make` for each module.

use crate::host::{Host, HostError, Line, Root};
use std::fs::File;
use std::io::Write;

/// Where logs are, inside the root.
pub(in crate::engine) const LOGS: &str = "/var/lib/hostwright/logs";

/// How often a name is tried that is taken already (several kernels within one second).
const TRIES: u32 = 100;

/// The logs of one build. What cannot be written while a build runs (no space) does not stop the build:
/// its result counts, and the first failure is remembered for a warning.
pub(in crate::engine) struct BuildLog {
    path: String,
    overview: File,
    modules: Vec<(String, File)>,
    when: String,
    problem: Option<std::io::Error>,
}

impl BuildLog {
    /// Begins logs `vmware_build_YYYYMMDD_HHMMSS.log` (UTC), with one more file for each module.
    pub fn begin(host: &Host, modules: &[&str]) -> Result<Self, HostError> {
        let root = host.root();
        root.create_dirs("/var/lib/hostwright", 0o755)?;
        root.create_dirs(LOGS, 0o755)?;
        let now = host.clock().now();
        let path = free_name(root, &format!("{LOGS}/vmware_build_{}", now.strftime("%Y%m%d_%H%M%S")))?;
        let overview = root.append(&path, 0o644)?;
        let mut files = Vec::new();
        for module in modules {
            files.push(((*module).to_owned(), root.append(&format!("{path}.{module}"), 0o644)?));
        }
        let when = now.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        Ok(Self { path, overview, modules: files, when, problem: None })
    }

    /// The overview's path inside the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path of a module's log.
    pub fn path_of(&self, module: &str) -> String {
        format!("{}.{module}", self.path)
    }

    /// When it was begun, for people.
    pub fn when(&self) -> &str {
        &self.when
    }

    /// Adds to the overview.
    pub fn say(&mut self, text: &str) {
        let written = writeln!(self.overview, "{text}");
        self.keep(written);
    }

    /// Adds a text to a module's log.
    pub fn write(&mut self, module: usize, text: &str) {
        if let Some((_, file)) = self.modules.get_mut(module) {
            let written = file.write_all(text.as_bytes());
            self.keep(written);
        }
    }

    /// Adds a line of output to a module's log.
    pub fn line(&mut self, module: usize, line: &Line) {
        self.write(module, &format!("{}\n", line.text));
    }

    /// What could not be written, if anything.
    pub fn problem(&self) -> Option<&std::io::Error> {
        self.problem.as_ref()
    }

    fn keep(&mut self, written: std::io::Result<()>) {
        if let Err(error) = written {
            self.problem.get_or_insert(error);
        }
    }
}

/// `STEM.log`, or `STEM_2.log` and so on when that is there.
fn free_name(root: &Root, stem: &str) -> Result<String, HostError> {
    let names = std::iter::once(format!("{stem}.log")).chain((2..TRIES).map(|n| format!("{stem}_{n}.log")));
    for name in names {
        if root.symlink_metadata(&name).is_err_and(|e| e.is_not_found()) {
            return Ok(name);
        }
    }
    Err(HostError {
        path: format!("{stem}.log"),
        what: "could not find a free name beside",
        source: std::io::ErrorKind::AlreadyExists.into(),
    })
}
