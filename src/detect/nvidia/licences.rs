// SPDX-License-Identifier: GPL-3.0-or-later
//! Licences of the virtual GPUs that run, as the host's driver tells them. The guest asks the licence server; the
//! host only sees what came of it.

use crate::detect::Finding;
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A virtual GPU that runs, and its licence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Licence {
    /// The driver's number of the virtual GPU.
    pub vgpu: String,
    /// Name of the virtual machine, as QEMU was given it.
    pub vm: String,
    /// Name of the type ("GRID T4-2Q").
    pub kind: String,
    /// Version of the guest's driver; `None` while the guest has loaded none.
    pub guest_driver: Option<String>,
    /// Whether it has a licence; `None` where the host cannot know, for the guest has loaded no driver.
    pub licensed: Option<bool>,
    /// The driver's own words ("Licensed (Expiry: 2026-12-1 10:0:0 GMT)").
    pub text: String,
}

/// Reads what `nvidia-smi vgpu -q` prints: one `vGPU ID` for each virtual GPU, with its fields below it. Pure.
pub fn parse_licences(text: &str) -> Vec<Licence> {
    let mut found: Vec<Licence> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(" : ") else { continue };
        let (key, value) = (key.trim(), value.trim());
        if key == "vGPU ID" {
            found.push(Licence { vgpu: value.to_owned(), ..Licence::default() });
            continue;
        }
        let Some(last) = found.last_mut() else { continue };
        match key {
            // Proxmox starts QEMU with `-name desk,debug-threads=on`.
            "VM Name" => last.vm = value.split(',').next().unwrap_or_default().to_owned(),
            "vGPU Name" => last.kind = value.to_owned(),
            "Guest Driver Version" if value != "N/A" => last.guest_driver = Some(value.to_owned()),
            "License Status" => {
                last.licensed = match value.split_whitespace().next() {
                    Some("Licensed") => Some(true),
                    Some("Unlicensed") => Some(false),
                    _ => None,
                };
                last.text = value.to_owned();
            }
            _ => {}
        }
    }
    found
}

/// The licences of the virtual GPUs that run, by `nvidia-smi`, which comes with the driver.
pub fn licences(host: &Host) -> Finding<Vec<Licence>> {
    if !host.is_machine() {
        return Finding::unseen("only the driver of a running machine tells it");
    }
    let command = Command::new("nvidia-smi").args(["vgpu", "-q"]).timeout(Duration::from_secs(20));
    match host.runner().run_ok(&command) {
        Ok(output) => Finding::Seen(parse_licences(&output.stdout)),
        Err(e) => Finding::unseen(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOLD: &str = "\
GPU 00000000:41:00.0
    Active vGPUs                          : 3
    vGPU ID                               : 3251634001
        VM UUID                           : 00000000-0000-0000-0000-000000000100
        VM Name                           : desk,debug-threads=on
        vGPU Name                         : GRID T4-2Q
        vGPU Type                         : 231
        Guest Driver Version              : 535.230.02
        License Status                    : Licensed (Expiry: 2026-12-1 10:0:0 GMT)
        FB Memory Usage
            Total                         : 2048 MiB
    vGPU ID                               : 3251634002
        VM Name                           : lab
        vGPU Name                         : GRID T4-1Q
        Guest Driver Version              : 535.230.02
        License Status                    : Unlicensed (Restricted)
    vGPU ID                               : 3251634003
        VM Name                           : new
        vGPU Name                         : GRID T4-1Q
        Guest Driver Version              : N/A
        License Status                    : N/A (Expiry: N/A)
";

    #[test]
    fn a_guest_without_a_driver_is_not_called_unlicensed() {
        let all = parse_licences(TOLD);
        let licensed: Vec<_> = all.iter().map(|l| (l.vm.as_str(), l.licensed)).collect();
        assert_eq!(licensed, [("desk", Some(true)), ("lab", Some(false)), ("new", None)]);
        assert_eq!(all[2].guest_driver, None);
        assert_eq!(all[0].text, "Licensed (Expiry: 2026-12-1 10:0:0 GMT)");
    }

    #[test]
    fn a_host_where_no_virtual_gpu_runs_has_none() {
        assert_eq!(
            parse_licences("GPU 00000000:41:00.0\n    Active vGPUs                          : 0\n"),
            []
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).*") {
            parse_licences(&text);
        }
    }
}
