// SPDX-License-Identifier: GPL-3.0-or-later
//! A virtual GPU for a virtual machine: which card, which function, which type. Pure.

use super::choices::Choices;
use super::facts::VgpuFacts;
use crate::detect::Finding;
use crate::detect::nvidia::{Interface, NvidiaGpu};
use crate::engine::Step;
use crate::engine::plan::Refusal;
use crate::engine::steps::SetVmOption;

/// The device and type of a card for this kind, as `hostpci` takes them; `Err` with why not.
fn place(gpu: &NvidiaGpu, kind: &str) -> Result<Option<String>, String> {
    match &gpu.interface {
        Interface::None => Ok(None),
        Interface::Mdev { types } => {
            let Some(found) = types.iter().find(|t| t.id == kind || t.name == kind) else { return Ok(None) };
            if found.available == 0 {
                return Err(format!("{} has no free place for {}", gpu.address, found.name));
            }
            Ok(Some(format!("{},mdev={}", gpu.address, found.id)))
        }
        Interface::VendorVfio { types } => {
            let wanted = kind.strip_prefix("nvidia-").unwrap_or(kind);
            let Some(found) = types.iter().find(|t| t.id.to_string() == wanted || t.name == kind) else {
                return Ok(None);
            };
            let functions = gpu.sriov.iter().flat_map(|s| &s.functions);
            match functions.into_iter().find(|f| f.current_type == Some(0)) {
                Some(free) => Ok(Some(format!("{},mdev=nvidia-{}", free.address, found.id))),
                None => Err(format!("every virtual function of {} has a virtual GPU already", gpu.address)),
            }
        }
    }
}

/// The step that gives it.
///
/// # Errors
/// A refusal: no such card or type, or no free place.
pub(super) fn steps(choices: &Choices, facts: &VgpuFacts) -> Result<Vec<Step>, Refusal> {
    let Some(wanted) = &choices.assign else {
        return Err(Refusal::new(
            "nothing-assigned",
            "Nothing was said of what is given to whom.",
            "Name VM and TYPE.",
        ));
    };
    let gpus = match &facts.gpus {
        Finding::Seen(gpus) => gpus,
        Finding::CouldNotLook { why } => {
            let reason = format!("The graphics cards could not be looked at: {why}.");
            return Err(Refusal::new("no-look", reason, "Run this on the running Proxmox host."));
        }
    };
    let mut full = None;
    for gpu in gpus.iter().filter(|g| wanted.card.as_ref().is_none_or(|c| *c == g.address)) {
        match place(gpu, &wanted.kind) {
            Ok(Some(value)) => {
                return Ok(vec![Step::SetVmOption(SetVmOption {
                    vm: wanted.vm,
                    option: format!("hostpci{}", wanted.slot),
                    value,
                })]);
            }
            Ok(None) => {}
            Err(why) => full = Some(why),
        }
    }
    Err(match full {
        Some(why) => Refusal::new(
            "no-free-place",
            format!("There is no place: {why}."),
            "Shut a virtual machine down, or take a smaller type; cards hold one size of type at a time.",
        ),
        None => Refusal::new(
            "no-such-type",
            format!("No card here offers the type {}.", wanted.kind),
            "`hostwright vgpu status` lists the types.",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::choices::Assignment;
    use super::super::tests::unpack;
    use super::*;

    fn given(host: &str, kind: &str, card: Option<&str>) -> Result<String, String> {
        let facts = super::super::gather(&unpack(host, "").host);
        let assign = Assignment { vm: 100, kind: kind.into(), card: card.map(str::to_owned), slot: 1 };
        let steps = steps(&Choices { assign: Some(assign), ..Choices::default() }, &facts);
        steps.map(|s| s[0].title()).map_err(|r| r.code)
    }

    #[test]
    fn a_type_is_found_by_its_id_or_name_on_a_card_with_a_free_place() {
        let facts = super::super::gather(&unpack("pve7-tesla-p4", "").host);
        let gpu = &facts.gpus.seen().unwrap()[0];
        let Interface::Mdev { types } = &gpu.interface else { panic!("{:?}", gpu.interface) };
        let free = types.iter().find(|t| t.available > 0).unwrap();
        let expected = format!("Set hostpci1 of the virtual machine 100 to {},mdev={}", gpu.address, free.id);
        assert_eq!(given("pve7-tesla-p4", &free.id, None).unwrap(), expected);
        assert_eq!(given("pve7-tesla-p4", &free.name, None).unwrap(), expected);
        assert_eq!(given("pve7-tesla-p4", "nvidia-9999", None).unwrap_err(), "no-such-type");
        assert_eq!(given("pve7-tesla-p4", &free.id, Some("0000:ff:00.0")).unwrap_err(), "no-such-type");
    }

    #[test]
    fn of_a_card_with_functions_a_free_function_is_given() {
        let facts = super::super::gather(&unpack("pve9-a16-sriov", "").host);
        let gpu = &facts.gpus.seen().unwrap()[0];
        let free = gpu.sriov.as_ref().unwrap().functions.iter().find(|f| f.current_type == Some(0)).unwrap();
        let Interface::VendorVfio { types } = &gpu.interface else { panic!() };
        let told = given("pve9-a16-sriov", &format!("nvidia-{}", types[0].id), None).unwrap();
        assert!(told.ends_with(&format!("{},mdev=nvidia-{}", free.address, types[0].id)), "{told}");
    }
}
