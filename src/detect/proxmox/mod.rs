// SPDX-License-Identifier: GPL-3.0-or-later
//! Proxmox VE: its version, kernels as packages, the pinned kernel, the root pool, APT's sources, Docker and
//! what other installers left behind.
//!
//! This is no topic of [`Facts`](super::Facts): it costs a look at the package database and two commands,
//! which only the vGPU flow needs.

mod agent;
mod earlier;
mod machines;
mod packages;
mod pool;

pub use agent::{
    Guest, GuestError, GuestOs, GuestOutput, GuestSystem, TOKEN_MODE, TokenFile, ask, exec, guest,
    parse_exec, parse_osinfo, powershell,
};
pub use earlier::Earlier;
pub use machines::{VmWithDevices, parse_vm, with_devices};
pub use packages::{KernelPackage, KernelPackageKind, parse_dpkg_status};
pub use pool::{FeatureState, PoolFeature, RootPool, parse_zpool_get, root_dataset};

use super::apt::{self, AptFile};
use super::look::Look;
use super::{Finding, os};
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Proxmox VE on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proxmox {
    /// Its version ("8.2.4"), from `PVE/pvecfg.pm`; `None` when this is no Proxmox VE.
    pub version: Finding<Option<String>>,
    /// The kernel that is pinned.
    pub pin: Finding<Option<KernelPin>>,
    /// Kernels and headers as packages.
    pub packages: Finding<Vec<KernelPackage>>,
    /// Names of the kernel packages that APT could install ("proxmox-kernel-6.14.11-4-pve-signed").
    pub available: Finding<Vec<String>>,
    /// Version of the ZFS module in each installed kernel ("6.8.12-4-pve", "2.2.6-pve1"), where it has one.
    pub zfs_modules: Finding<Vec<(String, String)>>,
    /// The pool of the root file system; `None` when `/` is not on ZFS.
    pub root_pool: Finding<Option<RootPool>>,
    /// Where APT takes packages from.
    pub apt: Finding<Vec<AptFile>>,
    /// Docker.
    pub docker: Finding<Docker>,
    /// Whether Proxmox's own `pve-nvidia-vgpu-helper` is installed.
    pub vgpu_helper: Finding<bool>,
    /// What other installers left behind.
    pub earlier: Finding<Vec<Earlier>>,
}

/// The kernel that is started whatever else is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelPin {
    /// Its release.
    pub release: String,
    /// Whether only for the next boot.
    pub once: bool,
    /// The file that says so.
    pub source: String,
}

/// Docker, by its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Docker {
    /// The packages it comes from ("docker.io", "docker-ce"), or "binary" where no package has it; empty
    /// when there is none.
    pub packages: Vec<String>,
    /// Whether its socket is there, so that it runs or is started on demand.
    pub socket: bool,
    /// Whether a compose command is there.
    pub compose: bool,
}

/// `proxmox-boot-tool` writes a pin of either kind here.
const PINS: [(&str, bool); 2] =
    [("/etc/kernel/next-boot-pin", true), ("/etc/kernel/proxmox-boot-pin", false)];

/// Looks at a machine for what the vGPU flow needs of Proxmox VE.
pub fn read(host: &Host) -> Proxmox {
    let look = &Look::new(host);
    let version = os::read(look).map(|os| os.proxmox);
    let status = look.big_text("/var/lib/dpkg/status");
    let packages = match &status {
        Ok(text) => Finding::Seen(parse_dpkg_status(text)),
        Err(e) => Finding::unseen(e.to_string()),
    };
    let docker = match &status {
        Ok(text) => Finding::Seen(docker(look, text)),
        Err(e) => Finding::unseen(e.to_string()),
    };
    Proxmox {
        pin: pin(look),
        packages,
        available: available(look),
        zfs_modules: pool::modules(look),
        root_pool: pool::read(look),
        apt: apt::read(look),
        docker,
        vgpu_helper: look.there("/usr/bin/pve-nvidia-vgpu-helper"),
        earlier: earlier::read(look),
        version,
    }
}

fn pin(look: &Look<'_>) -> Finding<Option<KernelPin>> {
    for (path, once) in PINS {
        match look.text_if_there(path) {
            Finding::Seen(Some(text)) => {
                if let Some(release) = text.lines().map(str::trim).find(|l| !l.is_empty()) {
                    let (release, source) = (release.to_owned(), path.to_owned());
                    return Finding::Seen(Some(KernelPin { release, once, source }));
                }
            }
            Finding::Seen(None) => {}
            Finding::CouldNotLook { why } => return Finding::CouldNotLook { why },
        }
    }
    Finding::Seen(None)
}

fn docker(look: &Look<'_>, status: &str) -> Docker {
    const NAMES: [&str; 4] = ["docker.io", "docker-ce", "podman-docker", "moby-engine"];
    let mut found: Vec<String> =
        packages::installed(status, |name| NAMES.contains(&name)).map(|(name, _)| name.to_owned()).collect();
    if found.is_empty() && look.first_of(&["/usr/bin/docker", "/usr/local/bin/docker"]).is_some() {
        found.push("binary".to_owned());
    }
    let compose = [
        "/usr/libexec/docker/cli-plugins/docker-compose",
        "/usr/lib/docker/cli-plugins/docker-compose",
        "/usr/bin/docker-compose",
    ];
    Docker {
        packages: found,
        socket: look.exists("/run/docker.sock") || look.exists("/var/run/docker.sock"),
        compose: look.first_of(&compose).is_some(),
    }
}

/// What APT could install, by its own cache: reading its lists here would be tens of megabytes, and they may
/// be compressed.
fn available(look: &Look<'_>) -> Finding<Vec<String>> {
    let mut names = Vec::new();
    for prefix in ["proxmox-kernel-", "pve-kernel-"] {
        let command = Command::new("/usr/bin/apt-cache").args(["pkgnames", prefix]);
        let Some(command) = look.host.tool(command.timeout(Duration::from_secs(20))) else {
            return Finding::unseen("this root has no tools of its own");
        };
        match look.host.runner().run(&command) {
            Ok(output) if output.success() => {
                names.extend(output.stdout.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()));
            }
            Ok(output) => {
                let said = output.stderr.lines().last().unwrap_or("it said nothing").to_owned();
                return Finding::unseen(format!("{} failed: {said}", command.display()));
            }
            Err(e) => return Finding::unseen(e.to_string()),
        }
    }
    names.sort_by(|a, b| super::look::compare_versions(a, b));
    names.dedup();
    Finding::Seen(names)
}
