// SPDX-License-Identifier: GPL-3.0-or-later
//! NVIDIA's graphics cards as the kernel shows them, their driver and its services.
//!
//! Like [`proxmox`](super::proxmox) this is no topic of [`Facts`](super::Facts). All of [`Nvidia`] is read from
//! files; [`licences`] asks the driver's own program, [`messages`] the journal.

mod card;
mod driver;
mod licences;
mod messages;

pub use card::{
    Interface, MdevType, NvidiaGpu, Sriov, VgpuType, VirtualFunction, parse_creatable_types,
    parse_mdev_description,
};
pub use driver::{NvidiaDriver, NvidiaService, parse_driver_version};
pub use licences::{Licence, licences, parse_licences};
pub use messages::{matter, messages};

use super::look::{Look, NOT_RUNNING};
use super::{Finding, pci};
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// NVIDIA's cards and software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nvidia {
    /// The cards, physical functions only, by their address.
    pub gpus: Finding<Vec<NvidiaGpu>>,
    /// Whether the free `nouveau` driver is loaded.
    pub nouveau_loaded: Finding<bool>,
    /// Files that keep `nouveau` from being loaded.
    pub nouveau_blocked_by: Vec<String>,
    /// NVIDIA's driver.
    pub driver: Finding<Option<NvidiaDriver>>,
    /// Services of the vGPU manager and of Proxmox.
    pub services: Vec<NvidiaService>,
}

/// Looks at NVIDIA's cards and software.
pub fn read(host: &Host) -> Nvidia {
    let look = &Look::new(host);
    let devices = pci::devices(look);
    Nvidia {
        gpus: devices.map(|devices| card::read(look, &devices)),
        nouveau_loaded: if look.running {
            look.there("/sys/module/nouveau")
        } else {
            Finding::unseen(NOT_RUNNING)
        },
        nouveau_blocked_by: driver::nouveau_blocked_by(look),
        driver: driver::read(look),
        services: driver::services(look),
    }
}
