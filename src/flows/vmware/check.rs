// SPDX-License-Identifier: GPL-3.0-or-later
//! Looks whether a run of this flow did what its plan promised. Looks anew at the machine, and says of
//! each thing whether it is good, bad, could not be looked at, or does not apply.

use super::facts::VmwareFacts;
use super::{MODULES, gather};
use crate::detect::{self, Facts, Finding};
use crate::engine::Step;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Plan;
use crate::engine::steps::{DkmsInstall, InstallModule};
use crate::host::{Command, Host};
use std::time::Duration;

/// The character device number of vmnet (VMware's `vnet.h`; LANANA reserves 119 for it).
const VMNET_MAJOR: &str = "119";

/// All checks of a plan.
pub fn check(host: &Host, plan: &Plan) -> Vec<Check> {
    let facts = detect::gather(host, None);
    let mut checks = Vec::new();
    for step in &plan.steps {
        match step {
            Step::InstallModule(install) => checks.extend(installed(&facts, install)),
            Step::DkmsInstall(dkms) => checks.extend(by_dkms(&facts, dkms)),
            _ => {}
        }
    }
    checks.extend(trusted(&facts, plan));
    checks.extend(loaded(host, plan));
    checks
}

/// Whether the kernel will take the signatures: asked of the key that signed, as the machine sees it now.
fn trusted(facts: &Facts, plan: &Plan) -> Option<Check> {
    let certificate = plan.steps.iter().find_map(|s| match s {
        Step::InstallModule(install) => install.sign.as_ref().map(|s| &s.certificate),
        Step::DkmsInstall(dkms) => dkms.certificate.as_ref(),
        _ => None,
    })?;
    let outcome = match facts.signing.as_result() {
        Err(why) => CheckOutcome::CouldNotLook { reason: why.to_owned() },
        Ok(signing) => match signing.keys.iter().find(|k| k.certificate_path == *certificate) {
            None => CheckOutcome::Bad { reason: format!("{certificate} is not there any more") },
            Some(key) => trust_outcome(gather::trusted(&key.trust), key.trust.pending.is_true()),
        },
    };
    Some(Check { what: "the signing key is trusted".to_owned(), outcome })
}

fn trust_outcome(trusted: Option<bool>, pending: bool) -> CheckOutcome {
    match (trusted, pending) {
        (Some(true), _) => CheckOutcome::Good,
        (_, true) => CheckOutcome::NotApplicable {
            reason: "it waits to be enrolled at the next start (MOK manager)".to_owned(),
        },
        // Not bad: a kernel that takes unsigned modules takes these too, and the plan said what to do.
        (Some(false), false) => CheckOutcome::NotApplicable {
            reason: "nobody was asked to trust it yet; `hostwright vmware apply --enroll` does".to_owned(),
        },
        (None, false) => CheckOutcome::CouldNotLook {
            reason: "neither the kernel's keyrings nor shim's list could be read".to_owned(),
        },
    }
}

fn is(what: String, good: bool, otherwise: impl FnOnce() -> String) -> Check {
    let outcome = if good { CheckOutcome::Good } else { CheckOutcome::Bad { reason: otherwise() } };
    Check { what, outcome }
}

fn of_finding(what: String, finding: &Finding<bool>, otherwise: &str) -> Check {
    let outcome = match finding {
        Finding::Seen(true) => CheckOutcome::Good,
        Finding::Seen(false) => CheckOutcome::Bad { reason: otherwise.to_owned() },
        Finding::CouldNotLook { why } => CheckOutcome::CouldNotLook { reason: why.clone() },
    };
    Check { what, outcome }
}

/// What DKMS installed is looked at as what we install.
fn by_dkms(facts: &Facts, dkms: &DkmsInstall) -> Vec<Check> {
    let one = |(module, to): &(String, String)| {
        let with = dkms.certificate.as_ref().map(|_| "DKMS's key");
        placed(facts, module, &dkms.kernel, to, with)
    };
    dkms.to.iter().flat_map(one).collect()
}

fn installed(facts: &Facts, install: &InstallModule) -> Vec<Check> {
    let key = install.sign.as_ref().map(|s| s.key.as_str());
    placed(facts, &install.module, &install.kernel, &install.to, key)
}

fn placed(facts: &Facts, module: &str, release: &str, to: &str, key: Option<&str>) -> Vec<Check> {
    let there = format!("{module} for {release} is in its place");
    let Some(kernel) = facts.kernel(release) else {
        return vec![is(there, false, || format!("{release} was removed meanwhile"))];
    };
    let Some(file) = kernel.vmware_modules.iter().find(|m| m.path == to) else {
        return vec![is(there, false, || format!("{to} is not there or is no module"))];
    };
    let mut checks = vec![
        is(there, true, String::new),
        of_finding(
            format!("{module} for {release} has the kernel's vermagic"),
            &file.vermagic_fits,
            "it was built for another kernel; build it again",
        ),
        is(format!("{module} for {release} is the copy that modprobe finds"), file.in_modules_dep, || {
            format!("modules.dep does not name {to}; run depmod {release}")
        }),
    ];
    if let Some(key) = key {
        let signed = file.signature.clone().map(|s| s.is_some());
        let otherwise = format!("it carries no signature; it should be signed with {key}");
        checks.push(of_finding(format!("{module} for {release} is signed"), &signed, &otherwise));
    }
    checks
}

fn loaded(host: &Host, plan: &Plan) -> Vec<Check> {
    let read: Option<VmwareFacts> = serde_json::from_value(plan.facts.clone()).ok();
    let loads = plan.steps.iter().any(|s| matches!(s, Step::LoadModules(_)));
    if !loads {
        let reason = match read {
            Some(f) if !f.machine => "this root is not the running machine",
            _ if plan.needs_reboot => "they load after the restart",
            _ => "loading was not asked for, or they are for a kernel that is not running",
        };
        let what = "the modules are loaded".to_owned();
        return vec![Check { what, outcome: CheckOutcome::NotApplicable { reason: reason.to_owned() } }];
    }
    let root = host.root();
    let mut checks = Vec::new();
    let modules = root.read_text("/proc/modules");
    for module in MODULES {
        let seen = Finding::from(modules.as_ref().map(|text| is_loaded(text, module)));
        checks.push(of_finding(format!("{module} is loaded"), &seen, "see `dmesg` for the kernel's reason"));
    }
    let device = is_device(root, "/dev/vmmon");
    checks.push(is("/dev/vmmon is there".to_owned(), device, || {
        "vmmon made no device; see `dmesg`".to_owned()
    }));
    let registered =
        Finding::from(root.read_text("/proc/devices").map(|text| has_major(&text, VMNET_MAJOR, "vmnet")));
    checks.push(of_finding(
        format!("vmnet has its character devices ({VMNET_MAJOR})"),
        &registered,
        "vmnet registered no device; see `dmesg`",
    ));
    checks.push(vmci(host, plan));
    checks.push(kernel_log(host));
    checks
}

/// The kernel's own VMCI driver, which VMware's programs use since it is in the kernel (3.9).
fn vmci(host: &Host, plan: &Plan) -> Check {
    let what = "the kernel has its own VMCI driver".to_owned();
    let release = plan.steps.iter().find_map(|s| match s {
        Step::LoadModules(load) => Some(load.kernel.clone()),
        _ => None,
    });
    let read = |file: &str| {
        let release = release.as_deref().unwrap_or_default();
        host.root().read_text(&format!("/lib/modules/{release}/{file}"))
    };
    let outcome = match (read("modules.dep"), read("modules.builtin")) {
        (Ok(dep), Ok(builtin)) if has_vmci(&dep) || has_vmci(&builtin) => CheckOutcome::Good,
        (Ok(_), Ok(_)) => CheckOutcome::Bad {
            reason: "vmw_vmci is not among the kernel's modules; virtual machines start without VMCI"
                .to_owned(),
        },
        (Err(e), _) | (_, Err(e)) => CheckOutcome::CouldNotLook { reason: e.to_string() },
    };
    Check { what, outcome }
}

fn has_vmci(text: &str) -> bool {
    text.lines().filter_map(|line| line.split(':').next()?.rsplit('/').next()).any(|name| {
        name.strip_prefix("vmw_vmci.ko").is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// How far back the kernel's log counts, in seconds: loading comes just before the checks, and what an
/// earlier attempt left in the log says nothing of this one.
const RECENT: f64 = 60.0;

/// What the kernel said of the modules just now: an oops, a refused symbol.
fn kernel_log(host: &Host) -> Check {
    let what = "the kernel says nothing bad of the modules".to_owned();
    let dmesg = Command::new("dmesg").arg("--level=emerg,alert,crit,err").timeout(Duration::from_secs(10));
    let uptime = host.root().read_text("/proc/uptime").ok();
    let uptime = uptime.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    let outcome = match (host.runner().run_ok(&dmesg), uptime) {
        (Err(e), _) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        (_, None) => CheckOutcome::CouldNotLook { reason: "/proc/uptime could not be read".to_owned() },
        (Ok(output), Some(now)) => match bad_lines(&output.stdout, now - RECENT).as_slice() {
            [] => CheckOutcome::Good,
            lines => CheckOutcome::Bad { reason: lines.join("\n") },
        },
    };
    Check { what, outcome }
}

/// The newest lines of a kernel log, not older than `since` (seconds after the start), that speak of the
/// modules.
fn bad_lines(text: &str, since: f64) -> Vec<&str> {
    let recent = |l: &&str| {
        let time = l.strip_prefix('[').and_then(|l| l.split(']').next()?.trim().parse::<f64>().ok());
        time.is_none_or(|t| t >= since)
    };
    let about =
        |l: &&str| MODULES.iter().any(|m| l.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w == *m));
    let lines: Vec<&str> = text.lines().filter(about).filter(recent).collect();
    lines[lines.len().saturating_sub(5)..].to_vec()
}

fn is_device(root: &crate::host::Root, path: &str) -> bool {
    root.symlink_metadata(path).is_ok_and(|m| m.kind == crate::host::FileKind::Other)
}

/// Whether `/proc/modules` lists a module as live.
fn is_loaded(text: &str, module: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(module) && words.nth(3) == Some("Live")
    })
}

/// Whether `/proc/devices` lists a character device.
fn has_major(text: &str, major: &str, name: &str) -> bool {
    text.lines()
        .take_while(|l| !l.starts_with("Block devices"))
        .any(|l| l.split_whitespace().eq([major, name]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_counts_as_loaded_only_when_it_is_live_and_of_just_that_name() {
        let text =
            "vmmon2 1 0 - Live 0x0\nvmnet 69632 0 - Loading 0x0\nvmmon 147456 0 - Live 0xffffffffc0 (OE)\n";
        assert!(is_loaded(text, "vmmon"));
        assert!(!is_loaded(text, "vmnet"));
        assert!(!is_loaded("vmmon2 1 0 - Live 0x0\n", "vmmon"));
    }

    #[test]
    fn a_block_device_of_that_number_is_not_vmnet() {
        assert!(has_major("Character devices:\n 119 vmnet\n\nBlock devices:\n  8 sd\n", "119", "vmnet"));
        assert!(!has_major("Character devices:\n 1 mem\n\nBlock devices:\n 119 vmnet\n", "119", "vmnet"));
    }

    #[test]
    fn only_lines_that_name_a_module_count_and_only_by_its_whole_name() {
        let log = "[    1.5] usb 1-1: read error\n[    2.0] vmmonitor: x\n[    3.25] vmnet: Unknown symbol foo (err -2)\n";
        assert_eq!(bad_lines(log, 0.0), ["[    3.25] vmnet: Unknown symbol foo (err -2)"]);
        assert!(bad_lines(log, 4.0).is_empty(), "what is old says nothing of this run");
    }

    #[test]
    fn the_vmci_driver_is_known_compressed_and_built_in_and_not_by_a_part_of_its_name() {
        assert!(has_vmci("kernel/drivers/misc/vmw_vmci/vmw_vmci.ko.xz: kernel/a.ko\n"));
        assert!(has_vmci("kernel/drivers/misc/vmw_vmci/vmw_vmci.ko\n"));
        assert!(!has_vmci(
            "kernel/net/vmw_vsock/vmw_vsock_vmci_transport.ko: kernel/drivers/misc/vmw_vmci/vmw_vmci.ko\n"
        ));
    }

    #[test]
    fn a_key_that_could_not_be_looked_at_is_not_called_trusted() {
        assert!(matches!(trust_outcome(None, false), CheckOutcome::CouldNotLook { .. }));
        assert!(matches!(trust_outcome(Some(true), false), CheckOutcome::Good));
        assert!(matches!(trust_outcome(Some(false), true), CheckOutcome::NotApplicable { .. }));
    }
}
