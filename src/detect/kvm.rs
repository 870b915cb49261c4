// SPDX-License-Identifier: GPL-3.0-or-later
//! KVM and QEMU: whether something holds the processor's virtualization.

use super::Finding;
use super::look::Look;
use super::processes::{self, Process};
use super::toolchain::which;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// KVM and who uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kvm {
    /// The vendor module that is loaded or built in ("kvm_intel", "kvm_amd", "kvm_pvm").
    pub module: Option<String>,
    /// Whether `/dev/kvm` is there. It may be there and be of no use; only a started guest proves it.
    pub has_device: bool,
    /// References to the vendor module: running guests.
    pub references: Finding<u32>,
    /// Whether KVM turned virtualization on at load time and keeps it (`enable_virt_at_load`, since
    /// 6.12): then VMware's monitor cannot have it.
    pub holds_virtualization: Finding<bool>,
    /// Nested virtualization is allowed (`nested`).
    pub nested: Finding<bool>,
    /// Running QEMU guests.
    pub guests: Finding<Vec<Guest>>,
    /// QEMU programs that are installed: full paths.
    pub qemu: Vec<String>,
}

/// A running QEMU or VirtualBox guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Guest {
    /// Process id.
    pub pid: u32,
    /// Its exact executable name ("qemu-system-x86_64").
    pub name: String,
    /// User id it runs as.
    pub uid: u32,
    /// That user's name.
    pub user: Option<String>,
}

/// Hypervisors whose guests hold the processor's virtualization while they run.
const GUESTS: &[&str] = &[
    "qemu-system-x86_64",
    "qemu-system-i386",
    "qemu-kvm",
    "kvm",
    "VirtualBoxVM",
    "VBoxHeadless",
    "cloud-hypervisor",
    "firecracker",
    "crosvm",
];

const QEMU: &[&str] =
    &["qemu-system-x86_64", "qemu-kvm", "qemu-system-aarch64", "qemu-system-riscv64", "qemu-img"];

/// Where Red Hat's family keeps QEMU, outside the search path.
const QEMU_LIBEXEC: &str = "/usr/libexec/qemu-kvm";

fn yes(text: &str) -> Option<bool> {
    match text {
        "Y" | "1" => Some(true),
        "N" | "0" => Some(false),
        _ => None,
    }
}

/// Whether KVM keeps virtualization on from the moment it is loaded (`kvm.enable_virt_at_load`, 6.12 and
/// newer, on by default); before that it turned it on with its first guest.
fn holds(look: &Look<'_>, module: Option<&str>, references: &Finding<u32>) -> Finding<bool> {
    if module.is_none() {
        return Finding::Seen(false);
    }
    match look.line("/sys/module/kvm/parameters/enable_virt_at_load").as_deref().and_then(yes) {
        Some(true) => Finding::Seen(true),
        _ => match references {
            Finding::Seen(references) => Finding::Seen(*references > 0),
            Finding::CouldNotLook { why } => Finding::unseen(why.clone()),
        },
    }
}

/// Reads KVM, QEMU and running guests.
pub(super) fn read(
    look: &Look<'_>,
    processes: &Finding<Vec<Process>>,
    users: &BTreeMap<u32, String>,
) -> Finding<Kvm> {
    look.if_running(|| {
        let module = ["kvm_intel", "kvm_amd", "kvm_pvm"]
            .into_iter()
            .find(|m| look.exists(&format!("/sys/module/{m}")));
        let parameter =
            |module: &str, name: &str| look.line(&format!("/sys/module/{module}/parameters/{name}"));
        let references = match module {
            None => Finding::Seen(0),
            Some(module) => match look.number(&format!("/sys/module/{module}/refcnt")) {
                Some(references) => Finding::Seen(references),
                None => Finding::unseen(format!("{module} is built into the kernel and counts no users")),
            },
        };
        let nested = match module {
            None => Finding::Seen(false),
            Some(module) => match parameter(module, "nested").as_deref().and_then(yes) {
                Some(nested) => Finding::Seen(nested),
                None => Finding::unseen(format!("{module} has no parameter \u{201c}nested\u{201d}")),
            },
        };
        let guests = processes.as_ref().map(|processes| {
            let found = processes.iter().filter_map(|process| {
                let name = process.is_one_of(GUESTS)?;
                let uid = processes::uid(look, process.pid)?;
                Some(Guest { pid: process.pid, name: name.to_owned(), uid, user: users.get(&uid).cloned() })
            });
            let mut found: Vec<Guest> = found.collect();
            found.sort_by_key(|g| g.pid);
            found
        });
        let mut qemu: Vec<String> = QEMU.iter().filter_map(|q| which(look.root(), q)).collect();
        if look.exists(QEMU_LIBEXEC) {
            qemu.push(QEMU_LIBEXEC.to_owned());
        }
        Finding::Seen(Kvm {
            holds_virtualization: holds(look, module, &references),
            module: module.map(str::to_owned),
            has_device: look.exists("/dev/kvm"),
            references,
            nested,
            guests,
            qemu,
        })
    })
}
