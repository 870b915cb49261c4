// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware dkms-build`: what the Makefile of our DKMS source tree calls. DKMS runs it as root; what is
//! compiled is compiled as the build user in the sandbox.

use super::kernel_event::{failed, keep};
use super::options::{KernelArg, Options};
use crate::cli::errors::{Exit, Problem};
use crate::cli::session::Session;
use crate::engine::event::Event;
use crate::engine::{self, Inputs};
use crate::flows::vmware::choices::KernelChoice;
use crate::flows::vmware::updates::{Outcome, PROFILE};
use crate::flows::{self, vmware};
use crate::host::Host;
use clap::Args;
use std::path::{Path, PathBuf};

/// Build the modules for a kernel into a folder; called by DKMS
///
/// With the choices in /etc/hostwright/vmware.json. Installs nothing; `hostwright status` tells what came of it.
#[derive(Debug, Args)]
pub(crate) struct DkmsBuild {
    /// The kernel's release
    release: String,
    /// Where the modules go
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// Runs `vmware dkms-build`.
pub(super) fn run(session: &mut Session, args: &DkmsBuild) -> Result<Exit, Problem> {
    let host = session.host()?;
    let KernelArg::Release(release) = args.release.parse().map_err(Problem::usage)? else {
        return Err(Problem::usage("give the release of one kernel"));
    };
    let built = build(session, &host, &release, &args.output);
    let outcome = match &built {
        Ok(()) => Outcome {
            message: format!("The modules for {release} were built for DKMS."),
            at: host.clock().now(),
            good: true,
            remedy: None,
            release,
        },
        Err(problem) => failed(session, &host, release, problem),
    };
    // DKMS hears of it by our exit status; a person, by `status`.
    if let Err(problem) = keep(&host, &outcome) {
        session.voice.say(&format!("{}\n", problem.reason));
    }
    built.map(|()| Exit::Done)
}

fn build(session: &Session, host: &Host, release: &str, output: &Path) -> Result<(), Problem> {
    let options = Options { profile: Some(PathBuf::from(session.outside(PROFILE))), ..Options::default() };
    let mut choices = options.choices()?;
    choices.kernels = KernelChoice::Releases(vec![release.to_owned()]);
    let inputs = Inputs { explain: flows::explain(), ..Inputs::default() };
    let cancel = session.watch.cancel.clone();
    // DKMS keeps what is said here in its make.log.
    let voice = session.voice.clone();
    let sink = &mut move |event: Event| {
        if let Event::Log { line, .. } = event {
            voice.say(&format!("{line}\n"));
        }
    };
    for step in vmware::builds(host, &choices, &inputs, &cancel, sink)? {
        let modules = engine::build_or_reuse(host, &step, &inputs, &cancel, sink).map_err(|e| {
            let title = format!("The modules for {release} could not be built");
            Problem::new(Exit::Failed, "build", &title, e.to_string())
        })?;
        for (module, bytes) in modules {
            let path = output.join(format!("{module}.ko"));
            fs_err::write(&path, &bytes).map_err(|e| Problem::file("write", &path, &e))?;
        }
    }
    Ok(())
}
