// SPDX-License-Identifier: GPL-3.0-or-later
//! What must be so before the driver is installed.

use super::decision::{KernelAction, Preparation, PreparationState, Row};
use super::facts::VgpuFacts;
use super::kernel;
use super::rules::ProxmoxRelease;
use crate::detect::Finding;
use crate::detect::apt::ProxmoxRepository;
use PreparationState::{Done, ToDo, Unknown};

fn item(code: &str, state: PreparationState, text: impl Into<String>) -> Preparation {
    Preparation { code: code.to_owned(), state, text: text.into() }
}

/// The list for a row; an empty row stands for "no branch works".
pub(super) fn list(facts: &VgpuFacts, release: &ProxmoxRelease, row: Option<&Row>) -> Vec<Preparation> {
    let mut found = vec![iommu(facts), nouveau(facts), repositories(facts)];
    if let Some(kernel) = row.and_then(|r| r.kernel.as_ref()) {
        let package = format!("{}{}", release.headers, kernel.release);
        let there = kernel::installed(facts, &kernel.release).is_some_and(|k| k.headers);
        found.push(if there && kernel.action != KernelAction::InstallAndPin {
            item("headers", Done, format!("the headers of {} are usable", kernel.release))
        } else {
            item("headers", ToDo, format!("{package} is to be installed"))
        });
    }
    found.push(driver(facts, row));
    match &facts.earlier {
        Finding::Seen(earlier) => {
            for left in earlier.iter().filter(|e| e.in_the_way) {
                found.push(item("earlier", ToDo, format!("{} is in the way: {}", left.path, left.what)));
            }
        }
        Finding::CouldNotLook { why } => {
            found.push(item(
                "earlier",
                Unknown,
                format!("other installers' leavings could not be looked at: {why}"),
            ));
        }
    }
    found
}

fn iommu(facts: &VgpuFacts) -> Preparation {
    match &facts.iommu {
        Finding::Seen(true) => item("iommu", Done, "the IOMMU is in use"),
        Finding::Seen(false) => item(
            "iommu",
            ToDo,
            "the IOMMU is not in use: switch VT-d or AMD-Vi on in the firmware, and intel_iommu=on on the kernel \
             command line of an Intel machine",
        ),
        Finding::CouldNotLook { why } => {
            item("iommu", Unknown, format!("the IOMMU could not be looked at: {why}"))
        }
    }
}

fn nouveau(facts: &VgpuFacts) -> Preparation {
    match (&facts.nouveau_loaded, facts.nouveau_blocked_by.first()) {
        (Finding::Seen(true), _) => {
            item("nouveau", ToDo, "nouveau is loaded and must be blocked; that takes a restart")
        }
        (_, None) => item("nouveau", ToDo, "nouveau is to be blocked, so that it does not take a card first"),
        (Finding::Seen(false), Some(file)) => item("nouveau", Done, format!("nouveau is blocked by {file}")),
        (Finding::CouldNotLook { why }, Some(file)) => item(
            "nouveau",
            Unknown,
            format!("nouveau is blocked by {file}; whether it is loaded could not be looked at: {why}"),
        ),
    }
}

fn repositories(facts: &VgpuFacts) -> Preparation {
    let kinds = match &facts.repositories {
        Finding::Seen(found) => found,
        Finding::CouldNotLook { why } => {
            return item("repositories", Unknown, format!("APT's sources could not be looked at: {why}"));
        }
    };
    let has = |kind| kinds.iter().any(|(k, _)| *k == kind);
    match (has(ProxmoxRepository::NoSubscription), has(ProxmoxRepository::Enterprise)) {
        (true, _) => item("repositories", Done, "the no-subscription repository of Proxmox is in use"),
        (false, true) => item(
            "repositories",
            ToDo,
            "only the enterprise repository is in use: without a subscription key APT is refused, and the \
             no-subscription repository is to be added",
        ),
        (false, false) => {
            item("repositories", ToDo, "no repository of Proxmox for packages and headers is in use")
        }
    }
}

fn driver(facts: &VgpuFacts, row: Option<&Row>) -> Preparation {
    let installed = match &facts.driver {
        Finding::Seen(Some(driver)) => driver,
        Finding::Seen(None) => return item("driver", Done, "no other driver of NVIDIA's is installed"),
        Finding::CouldNotLook { why } => {
            return item("driver", Unknown, format!("NVIDIA's driver could not be looked at: {why}"));
        }
    };
    let version = installed.loaded.clone().or_else(|| installed.dkms.last().cloned());
    let shown = version.clone().unwrap_or_else(|| "of an unknown version".to_owned());
    match (installed.is_vgpu, row) {
        (false, _) => item(
            "driver",
            ToDo,
            format!("NVIDIA's driver {shown} is installed and is no vGPU manager: it is to be removed first"),
        ),
        (true, Some(row)) if version.as_deref() == Some(&row.host_driver) => {
            item("driver", Done, format!("this vGPU driver ({shown}) is installed already"))
        }
        (true, _) => {
            item("driver", ToDo, format!("the vGPU driver {shown} is installed and is to be replaced"))
        }
    }
}
