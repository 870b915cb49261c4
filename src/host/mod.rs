// SPDX-License-Identifier: GPL-3.0-or-later
//! The only door to a machine: a root directory handle, a command runner, a clock.
//!
//! Everything that reads or changes a machine takes a [`Host`]. A real machine, a scratch root
//! (`--root DIR`), a recorded host in a test: the code above this module cannot tell them apart.
//!
//! ```text
//!   Host ── root():   Root     files below one directory handle, links never lead out
//!        ├─ runner(): Runner   argv only, cleared environment, dies with its parent
//!        └─ clock():  Clock    the only source of time
//! ```

mod clock;
mod command;
#[doc(hidden)]
pub mod failpoint;
pub mod fake;
mod limits;
mod lock;
mod process;
mod root;
mod sandbox;
mod tsc;
mod view;
mod work;

pub use clock::{Clock, SystemClock};
pub(crate) use command::quote;
pub use command::{
    Cancel, Command, CommandError, Line, Output, PATH, RealRunner, Runner, Stream, check as check_status,
};
pub use limits::{Inherited, Limits};
pub use lock::{Lock, LockError};
pub use process::{Ended, Process};
pub use root::{Entry, FileKind, FileMeta, FileState, HostError, Root};
pub use sandbox::{BuildUser, Form, INSIDE, Sandbox, SandboxError};
pub use tsc::tsc_khz;
pub use work::{TakeError, WORK, WorkFolder, own_cache};

use std::path::Path;
use std::sync::Arc;

/// What kind of machine a [`Host`] stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// The running machine: `/`, its kernel, its services.
    Machine,
    /// A directory tree that holds a whole system with its own tools (`ROOT/usr/bin/make` is there).
    /// Tools of that tree run inside it. Nothing of the running kernel is touched.
    CompleteRoot,
    /// A directory tree without tools of its own; the running machine's tools work on it from outside.
    PartialRoot,
}

/// One machine, real or not; always passed in, never global.
#[derive(Clone)]
pub struct Host {
    root: Arc<Root>,
    runner: Arc<dyn Runner>,
    clock: Arc<dyn Clock>,
    kind: HostKind,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("root", &self.root.path()).field("kind", &self.kind).finish()
    }
}

impl Host {
    /// The running machine.
    ///
    /// # Errors
    /// When `/` cannot be opened.
    pub fn machine() -> Result<Self, HostError> {
        Ok(Self {
            root: Arc::new(Root::open(Path::new("/"))?),
            runner: Arc::new(RealRunner),
            clock: Arc::new(SystemClock),
            kind: HostKind::Machine,
        })
    }

    /// A scratch root: a directory tree that stands for a machine (`--root DIR`).
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn scratch(dir: &Path) -> Result<Self, HostError> {
        let root = Root::open(dir)?;
        let kind = if root.exists("/usr/bin/make") && root.exists("/usr/bin/env") {
            HostKind::CompleteRoot
        } else {
            HostKind::PartialRoot
        };
        Ok(Self { root: Arc::new(root), runner: Arc::new(RealRunner), clock: Arc::new(SystemClock), kind })
    }

    /// A host of given parts, for tests and recorded machines.
    pub fn from_parts(root: Root, runner: Arc<dyn Runner>, clock: Arc<dyn Clock>, kind: HostKind) -> Self {
        Self { root: Arc::new(root), runner, clock, kind }
    }

    /// The files of this machine.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The door for commands.
    pub fn runner(&self) -> &dyn Runner {
        self.runner.as_ref()
    }

    /// The time.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// What this host stands for.
    pub fn kind(&self) -> HostKind {
        self.kind
    }

    /// Whether this is the running machine, whose kernel and services may be touched.
    pub fn is_machine(&self) -> bool {
        self.kind == HostKind::Machine
    }

    /// Prepares a tool of this machine to be run: as it is on the running machine, inside the tree
    /// (bubblewrap, no network) for a complete scratch root. `None` when this root has no tools of
    /// its own; the caller then uses a tool that can work from outside (`depmod -b`) or reports that
    /// it could not.
    pub fn tool(&self, command: Command) -> Option<Command> {
        match self.kind {
            HostKind::Machine => Some(command),
            HostKind::CompleteRoot => Some(sandbox::inside_root(self.root.path(), &command)),
            HostKind::PartialRoot => None,
        }
    }
}
