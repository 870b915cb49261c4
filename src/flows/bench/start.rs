// SPDX-License-Identifier: GPL-3.0-or-later
//! How long a virtual machine takes to start: a guest of the lab up to its first process, and with `--vmx` a virtual
//! machine of VMware's by vmrun(1), from the call to its return.

use super::document::{LeftOut, Place, Recorder};
use super::metrics::{START_END, START_INIT, START_KERNEL, START_VMWARE};
use super::run::{Setup, Step, Trouble};
use crate::guest::spec::{Accelerator, Boot, Display, Guest, GuestRoot, KernelBoot, Network, Task};
use crate::guest::{self, GuestError, GuestEvent, Outcome, Report, Setup as GuestSetup};
use crate::host::{Command, CommandError};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a guest may take, in seconds.
const TIMEOUT: u32 = 300;

/// A guest with this task.
pub(super) fn guest(setup: &Setup<'_>, root: GuestRoot, argv: Vec<String>) -> Result<Guest, Trouble> {
    let place = setup.kernel.clone().map_err(Trouble::left_out)?;
    Ok(Guest {
        boot: Boot::Kernel(KernelBoot {
            image: place.image,
            modules: place.modules,
            config: place.config,
            root,
            writable: false,
            task: Task::Command { argv, env: vec![], cwd: None },
            append: vec![],
            insert: vec![],
            collect: vec![],
        }),
        cpus: 1,
        memory: 1024,
        accelerator: Accelerator::Auto,
        display: Display::None,
        network: Network::None,
        disks: vec![],
        timeout: TIMEOUT,
        until: None,
    })
}

/// Boots it; anything but success is a reason to leave the workload out.
pub(super) fn boot(
    setup: &Setup<'_>,
    guest: &Guest,
    with: GuestSetup<'_>,
    hear: &mut dyn FnMut(GuestEvent<'_>),
) -> Result<Report, Trouble> {
    match guest::run(guest, with, setup.cancel, &mut |event| hear(event)) {
        Ok(report) if report.outcome == Outcome::Cancelled => Err(Trouble::Cancelled),
        Ok(report) if report.success() => Ok(report),
        Ok(report) => {
            let tail = report.console_tail.last().map(|l| format!(" ({l})")).unwrap_or_default();
            Err(Trouble::left_out(format!("the guest did not end well: {:?}{tail}", report.outcome)))
        }
        Err(GuestError::Cancelled) => Err(Trouble::Cancelled),
        Err(e) => Err(Trouble::left_out(e.to_string())),
    }
}

/// The workload.
#[derive(Default)]
pub(super) struct Start {
    boots: usize,
    without_guest: bool,
    without_vmware: bool,
}

impl Start {
    fn lab(&mut self, setup: &Setup<'_>) -> Result<Report, Trouble> {
        self.boots += 1;
        let folder = setup.folder(&format!("start-{}", self.boots))?;
        let wanted = guest(setup, GuestRoot::None, Vec::new())?;
        boot(setup, &wanted, GuestSetup::new(setup.host, &setup.cache, folder), &mut |_| {})
    }
}

/// Starts a virtual machine of VMware's without a window; seconds until vmrun comes back. It is switched off again.
fn vmrun(setup: &Setup<'_>, vmx: &Path) -> Result<f64, Trouble> {
    let vmx = vmx.display().to_string();
    let call = |args: &[&str]| {
        let command = Command::new("vmrun")
            .args(["-T", "ws"])
            .args(args.iter().copied())
            .env("HOME", std::env::var("HOME").unwrap_or_default())
            .timeout(Duration::from_secs(300));
        let output = setup.host.runner().run_lines(&command, setup.cancel, &mut |_| {});
        match output.and_then(|o| crate::host::check_status(&command, o)) {
            Ok(output) => Ok(output),
            Err(CommandError::Cancelled { .. }) => Err(Trouble::Cancelled),
            Err(e) => Err(Trouble::left_out(e.to_string())),
        }
    };
    let list = call(&["list"])?;
    if list.stdout.lines().any(|line| line.trim() == vmx) {
        return Err(Trouble::left_out(format!("{vmx} runs already; end it first")));
    }
    let began = Instant::now();
    let started = call(&["start", &vmx, "nogui"]);
    let took = began.elapsed().as_secs_f64();
    // Also after a start that was cancelled in the middle.
    let stop = Command::new("vmrun")
        .args(["-T", "ws", "stop", &vmx, "hard"])
        .env("HOME", std::env::var("HOME").unwrap_or_default())
        .timeout(Duration::from_secs(120));
    let stopped = setup.host.runner().run_ok(&stop);
    started?;
    stopped
        .map_err(|e| Trouble::left_out(format!("it was started and could not be switched off again: {e}")))?;
    Ok(took)
}

impl Step for Start {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<Vec<LeftOut>, Trouble> {
        let mut parts = Vec::new();
        // The first one unpacks the kernel and makes the initramfs, and does not count.
        match self.lab(setup) {
            Ok(_) => {}
            Err(Trouble::Cancelled) => return Err(Trouble::Cancelled),
            Err(Trouble::LeftOut(why)) => {
                self.without_guest = true;
                parts.push(LeftOut::new("a guest", why));
            }
        }
        match &setup.vmx {
            None => {
                self.without_vmware = true;
                parts.push(LeftOut::new("vmrun", "no virtual machine of VMware's was named (--vmx)"));
            }
            Some(vmx) => match vmrun(setup, vmx) {
                Ok(_) => {}
                Err(Trouble::Cancelled) => return Err(Trouble::Cancelled),
                Err(Trouble::LeftOut(why)) => {
                    self.without_vmware = true;
                    parts.push(LeftOut::new("vmrun", why));
                }
            },
        }
        if self.without_guest && self.without_vmware {
            let why: Vec<String> = parts.iter().map(|part| format!("{}: {}", part.what, part.why)).collect();
            return Err(Trouble::left_out(why.join("; ")));
        }
        Ok(parts)
    }

    fn round(&mut self, setup: &Setup<'_>, to: &mut Recorder) -> Result<(), Trouble> {
        if !self.without_guest {
            let report = self.lab(setup)?;
            let place = Place::Guest { accelerator: report.accelerator.name.clone() };
            let at = |name: &str| report.stages.iter().find(|s| s.name == name).map(|s| s.at_ms as f64);
            for (metric, stage) in [(START_KERNEL, "kernel"), (START_INIT, "init"), (START_END, "end")] {
                if let Some(ms) = at(stage) {
                    to.add(metric, None, &place, ms);
                }
            }
        }
        if let Some(vmx) = setup.vmx.as_ref().filter(|_| !self.without_vmware) {
            let place = Place::Guest { accelerator: "vmware".to_owned() };
            to.add(START_VMWARE, None, &place, vmrun(setup, vmx)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Workload;
    use super::*;
    use crate::host::fake::{FakeRunner, host};
    use crate::host::{Cancel, HostKind, Output};
    use std::sync::Arc;

    fn with<T>(runner: FakeRunner, act: impl FnOnce(&Setup<'_>) -> T) -> (T, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let runner = Arc::new(runner);
        let host = host(dir.path(), runner.clone(), HostKind::Machine).unwrap();
        let cancel = Cancel::new();
        let setup = Setup {
            host: &host,
            workloads: vec![Workload::Start],
            rounds: 1,
            time: Duration::from_millis(1),
            disk: dir.path().to_owned(),
            disk_bytes: 1 << 20,
            scratch: dir.path().to_owned(),
            cache: dir.path().to_owned(),
            kernel: Err("no kernel".into()),
            modules: Err("no modules".into()),
            vmx: None,
            cancel: &cancel,
        };
        (act(&setup), runner.calls())
    }

    #[test]
    fn a_virtual_machine_of_vmware_is_started_and_switched_off_again() {
        let runner = FakeRunner::new().ok("vmrun", "Total running VMs: 0\n");
        let (took, calls) = with(runner, |setup| vmrun(setup, Path::new("/vms/a b.vmx")));
        assert!(took.is_ok());
        assert_eq!(
            calls,
            [
                "vmrun -T ws list",
                "vmrun -T ws start '/vms/a b.vmx' nogui",
                "vmrun -T ws stop '/vms/a b.vmx' hard"
            ]
        );
    }

    #[test]
    fn one_that_runs_already_is_left_alone() {
        let runner = FakeRunner::new().ok("vmrun", "Total running VMs: 1\n/vms/a.vmx\n");
        let (took, calls) = with(runner, |setup| vmrun(setup, Path::new("/vms/a.vmx")));
        assert!(took.unwrap_err().to_string().contains("runs already"));
        assert_eq!(calls, ["vmrun -T ws list"]);
    }

    #[test]
    fn one_that_does_not_start_is_switched_off_all_the_same_and_the_reason_told() {
        let runner = FakeRunner::new().answer(|c| {
            let starts = c.args.iter().any(|a| a == "start");
            let stderr = if starts { "Error: Cannot open VM" } else { "" }.to_owned();
            Some(Output { code: Some(i32::from(starts)), stderr, ..Output::default() })
        });
        let (took, calls) = with(runner, |setup| vmrun(setup, Path::new("/vms/a.vmx")));
        assert!(took.unwrap_err().to_string().contains("Cannot open VM"));
        assert!(calls.last().unwrap().contains(" stop "));
    }

    #[test]
    fn without_kernel_and_without_vmware_nothing_is_measured_and_both_reasons_are_told() {
        let (all, _) = with(FakeRunner::new(), |setup| super::super::run("x", setup, &mut |_| {}));
        let why = all.unwrap_err().to_string();
        assert!(why.contains("no kernel") && why.contains("--vmx"), "{why}");
    }
}
