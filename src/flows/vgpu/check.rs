// SPDX-License-Identifier: GPL-3.0-or-later
//! Did it work? Looked at in sysfs, never taken from an exit status.

use super::decision::ExpectedInterface;
use super::licensing::{CONTAINER, HEALTHY};
use crate::detect::Finding;
use crate::detect::containers::container;
use crate::detect::nvidia::{self, Interface, NvidiaGpu};
use crate::engine::Step;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Plan;
use crate::host::Host;
use std::time::Duration;

/// How often it is looked again whether types are there, a second apart: services need some.
const AGAIN: u32 = if cfg!(test) { 0 } else { 19 };

fn bad(reason: impl Into<String>) -> CheckOutcome {
    CheckOutcome::Bad { reason: reason.into() }
}

/// Whether a card offers virtual GPUs.
pub(super) fn offers(gpu: &NvidiaGpu, expected: ExpectedInterface) -> CheckOutcome {
    let advice = "see `journalctl -u nvidia-vgpu-mgr` and `hostwright vgpu status`";
    if expected != ExpectedInterface::Mdev {
        match &gpu.sriov {
            None => {
                return bad(
                    "it has no SR-IOV: switch SR-IOV on in the firmware, and its displays off with NVIDIA's display mode \
                     selector",
                );
            }
            Some(sriov) if sriov.functions.is_empty() => {
                return bad(format!("none of its {} virtual functions is there; {advice}", sriov.total));
            }
            Some(sriov) if sriov.functions.len() != sriov.enabled as usize => {
                return bad(format!(
                    "{} virtual functions are said to be on and {} are there; {advice}",
                    sriov.enabled,
                    sriov.functions.len()
                ));
            }
            Some(_) => {}
        }
    }
    match &gpu.interface {
        Interface::None => bad(format!("it offers no type of virtual GPU; {advice}")),
        Interface::Mdev { types } if types.is_empty() => bad(format!(
            "its list of types is empty; is the IOMMU on, and does the card's mode allow it? {advice}"
        )),
        Interface::VendorVfio { types } if types.is_empty() => {
            bad(format!("its virtual functions offer no type that could be made; {advice}"))
        }
        _ => CheckOutcome::Good,
    }
}

/// The checks of cards with these addresses and of the loaded driver.
pub fn look(host: &Host, version: &str, cards: &[(String, ExpectedInterface)]) -> Vec<Check> {
    let mut checks = Vec::new();
    let nvidia = nvidia::read(host);
    let outcome = match nvidia.driver {
        Finding::Seen(Some(driver)) if driver.loaded.as_deref() == Some(version) => CheckOutcome::Good,
        Finding::Seen(Some(driver)) if driver.loaded.is_some() => {
            bad(format!("{} is loaded instead", driver.loaded.unwrap_or_default()))
        }
        Finding::Seen(_) => bad("no module is loaded; see `dmesg` and /var/log/nvidia-installer.log"),
        Finding::CouldNotLook { why } => CheckOutcome::CouldNotLook { reason: why },
    };
    checks.push(Check { what: format!("the driver {version} is loaded"), outcome });
    for (address, expected) in cards {
        let outcome = match &nvidia.gpus {
            Finding::CouldNotLook { why } => CheckOutcome::CouldNotLook { reason: why.clone() },
            Finding::Seen(gpus) => match gpus.iter().find(|g| g.address == *address) {
                None => bad("it is gone"),
                Some(gpu) => offers(gpu, *expected),
            },
        };
        checks.push(Check { what: format!("{address} offers virtual GPUs"), outcome });
    }
    checks
}

/// Looks whether what the plan promised is so: of the first stage each step has looked by itself, and the rest
/// is seen after the restart.
pub(crate) fn check(host: &Host, plan: &Plan) -> Vec<Check> {
    let driver = plan.steps.iter().find_map(|s| match s {
        Step::InstallDriver(d) => Some(d),
        _ => None,
    });
    let Some(driver) = driver else { return server(host, plan) };
    let cards = cards(host, plan);
    let mut checks = look(host, &driver.version, &cards);
    let mut left = AGAIN;
    while left > 0 && !checks.iter().all(|c| c.outcome.is_acceptable()) {
        left -= 1;
        std::thread::sleep(Duration::from_secs(1));
        checks = look(host, &driver.version, &cards);
    }
    checks
}

/// Whether a licence server that was set up answers: its container looks after that every half minute.
fn server(host: &Host, plan: &Plan) -> Vec<Check> {
    let engine = plan.steps.iter().find_map(|s| match s {
        Step::PullImage(p) => Some(p.engine),
        _ => None,
    });
    let Some(engine) = engine else { return Vec::new() };
    let mut left = AGAIN * 6;
    let outcome = loop {
        match container(host, engine.program(), CONTAINER) {
            Finding::Seen(now) if now.health == HEALTHY => break CheckOutcome::Good,
            _ if left > 0 => {}
            Finding::Seen(now) => {
                break bad(format!("it is {}; see `journalctl -u hostwright-dls`", now.health));
            }
            Finding::CouldNotLook { why } => break CheckOutcome::CouldNotLook { reason: why },
        }
        left -= 1;
        std::thread::sleep(Duration::from_secs(1));
    };
    vec![Check { what: "the licence server answers".to_owned(), outcome }]
}

/// The cards that serve, by the decision that the plan was made from.
fn cards(host: &Host, plan: &Plan) -> Vec<(String, ExpectedInterface)> {
    let of = || {
        let choices: super::Choices = serde_json::from_value(plan.choices.clone()).ok()?;
        let facts: super::setup::SetupFacts = serde_json::from_value(plan.facts.clone()).ok()?;
        let catalogue = super::setup::catalogue(host).ok()?;
        let decision =
            super::decide(&choices, &facts.vgpu, &catalogue, &super::Rules::built_in().ok()?).ok()?;
        let interface = decision.row()?.interface;
        let serving = decision.cards.iter().filter(|c| c.role == super::Role::Vgpu);
        Some(serving.map(|c| (c.address.clone(), interface)).collect())
    };
    of().unwrap_or_default()
}
