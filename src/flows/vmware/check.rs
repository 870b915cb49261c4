// SPDX-License-Identifier: GPL-3.0-or-later
//! Looks whether a run of this flow did what its plan promised. Looks anew at the machine, and says of
//! each thing whether it is good, bad, could not be looked at, or does not apply.

use super::MODULES;
use super::facts::VmwareFacts;
use crate::detect::{self, Facts, Finding};
use crate::engine::Step;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Plan;
use crate::engine::steps::InstallModule;
use crate::host::Host;

/// The character device number of vmnet (VMware's `vnet.h`; LANANA reserves 119 for it).
const VMNET_MAJOR: &str = "119";

/// All checks of a plan.
pub fn check(host: &Host, plan: &Plan) -> Vec<Check> {
    let facts = detect::gather(host, None);
    let mut checks = Vec::new();
    for step in &plan.steps {
        if let Step::InstallModule(install) = step {
            checks.extend(installed(&facts, install));
        }
    }
    checks.extend(loaded(host, plan));
    checks
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

fn installed(facts: &Facts, install: &InstallModule) -> Vec<Check> {
    let (module, release) = (&install.module, &install.kernel);
    let there = format!("{module} for {release} is in its place");
    let Some(kernel) = facts.kernel(release) else {
        return vec![is(there, false, || format!("{release} was removed meanwhile"))];
    };
    let Some(file) = kernel.vmware_modules.iter().find(|m| m.path == install.to) else {
        return vec![is(there, false, || format!("{} is not there or is no module", install.to))];
    };
    let mut checks = vec![
        is(there, true, String::new),
        of_finding(
            format!("{module} for {release} has the kernel's vermagic"),
            &file.vermagic_fits,
            "it was built for another kernel; build it again",
        ),
        is(format!("{module} for {release} is the copy that modprobe finds"), file.in_modules_dep, || {
            format!("modules.dep does not name {}; run depmod {release}", install.to)
        }),
    ];
    if let Some(sign) = &install.sign {
        let signed = file.signature.clone().map(|s| s.is_some());
        let otherwise = format!("it carries no signature; it should be signed with {}", sign.key);
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
    checks
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
}
