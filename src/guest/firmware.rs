// SPDX-License-Identifier: GPL-3.0-or-later
//! Finds UEFI firmware for guests: by QEMU's firmware descriptors (`docs/interop/firmware.json` of QEMU), else at
//! the places where Debian, Fedora, Arch and SUSE have put it.

use super::error::GuestError;
use super::spec::{Firmware, ImageFormat};
use crate::host::{Host, Root};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where descriptors are; of two with the same name the first folder's counts.
const FOLDERS: [&str; 2] = ["/etc/qemu/firmware", "/usr/share/qemu/firmware"];

/// UEFI firmware of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uefi {
    /// The program.
    pub code: String,
    /// Its variables as they are at first; every guest gets a copy.
    pub vars: String,
    /// How both are written.
    pub format: ImageFormat,
    /// Whether it needs System Management Mode.
    pub smm: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    executable: Option<Flash>,
    #[serde(default)]
    nvram_template: Option<Flash>,
}

#[derive(Debug, Deserialize)]
struct Flash {
    filename: String,
    format: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

/// Reads one descriptor: the firmware, when it is of the kind that is wanted. Pure.
fn of_descriptor(text: &str, secure: bool) -> Option<Uefi> {
    let d: Descriptor = serde_json::from_str(text).ok()?;
    let has = |feature: &str| d.features.iter().any(|f| f == feature);
    let fits = d.interface_types.iter().any(|t| t == "uefi")
        && d.mapping.device == "flash"
        && d.mapping.mode.as_deref().is_none_or(|m| m == "split")
        && d.targets
            .iter()
            .any(|t| t.architecture == "x86_64" && t.machines.iter().any(|m| m.contains("q35")))
        && if secure { has("secure-boot") && has("enrolled-keys") } else { !has("secure-boot") };
    if !fits || has("amd-sev") || has("amd-sev-es") || has("amd-sev-snp") || has("intel-tdx") {
        return None;
    }
    let (code, vars) = (d.mapping.executable?, d.mapping.nvram_template?);
    let format = match (code.format.as_str(), vars.format.as_str()) {
        ("raw", "raw") => ImageFormat::Raw,
        ("qcow2", "qcow2") => ImageFormat::Qcow2,
        _ => return None,
    };
    Some(Uefi { code: code.filename, vars: vars.filename, format, smm: has("requires-smm") })
}

/// Places of distributions without a descriptor: program, variables.
const PLAIN: [(&str, &str); 7] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
];

/// The same with Secure Boot and enrolled keys.
const SECURE: [(&str, &str); 4] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/OVMF/OVMF_CODE.ms.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
    ("/usr/share/qemu/ovmf-x86_64-smm-ms-code.bin", "/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin"),
];

/// The firmware of this machine for `firmware`; `None` for BIOS, which QEMU brings along.
///
/// # Errors
/// When none is installed, with the packages that have it.
pub fn find(host: &Host, firmware: Firmware) -> Result<Option<Uefi>, GuestError> {
    let secure = match firmware {
        Firmware::Bios => return Ok(None),
        Firmware::Uefi => false,
        Firmware::SecureBoot => true,
    };
    let root = host.root();
    let there = |u: &Uefi| root.exists(&u.code) && root.exists(&u.vars);
    if let Some(found) = descriptors(root).iter().filter_map(|t| of_descriptor(t, secure)).find(|u| there(u))
    {
        return Ok(Some(found));
    }
    let places = if secure { &SECURE[..] } else { &PLAIN[..] };
    let known = places.iter().map(|(code, vars)| Uefi {
        code: (*code).into(),
        vars: (*vars).into(),
        format: ImageFormat::Raw,
        smm: secure,
    });
    if let Some(found) = known.into_iter().find(there) {
        return Ok(Some(found));
    }
    let kind = if secure { "UEFI firmware with Secure Boot and enrolled keys" } else { "UEFI firmware" };
    Err(GuestError::refused(
        "no-firmware",
        format!("no {kind} for guests is installed"),
        "install the package `ovmf` (Debian, Ubuntu), `edk2-ovmf` (Fedora, Arch) or `qemu-ovmf-x86_64` (SUSE), or \
         boot with --firmware bios",
    ))
}

/// The texts of all descriptors, in the order of their names.
fn descriptors(root: &Root) -> Vec<String> {
    let mut by_name = BTreeMap::new();
    for folder in FOLDERS {
        for entry in root.list(folder).unwrap_or_default() {
            if entry.name.ends_with(".json") {
                by_name.entry(entry.name.clone()).or_insert_with(|| format!("{folder}/{}", entry.name));
            }
        }
    }
    by_name.values().filter_map(|path| root.read_text(path).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENROLLED: &str = r#"{
        "description": "UEFI firmware for x86_64, with Secure Boot and SMM, SB enabled, MS certs enrolled",
        "interface-types": ["uefi"],
        "mapping": {"device": "flash",
            "executable": {"filename": "/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "format": "raw"},
            "nvram-template": {"filename": "/usr/share/OVMF/OVMF_VARS_4M.ms.fd", "format": "raw"}},
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": ["acpi-s3", "enrolled-keys", "requires-smm", "secure-boot", "verbose-dynamic"],
        "tags": []}"#;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let host = Host::scratch(dir.path()).unwrap();
        (dir, host)
    }

    #[test]
    fn a_descriptor_is_taken_for_what_it_is() {
        let uefi = of_descriptor(ENROLLED, true).unwrap();
        assert_eq!(uefi.vars, "/usr/share/OVMF/OVMF_VARS_4M.ms.fd");
        assert!(uefi.smm);
        assert_eq!(of_descriptor(ENROLLED, false), None);
        let unenrolled = ENROLLED.replace("\"enrolled-keys\", ", "");
        assert_eq!(of_descriptor(&unenrolled, true), None);
        assert_eq!(
            of_descriptor(&ENROLLED.replace("x86_64\", \"machines", "aarch64\", \"machines"), true),
            None
        );
        assert_eq!(of_descriptor(&ENROLLED.replace("acpi-s3", "amd-sev"), true), None);
        assert_eq!(of_descriptor("{}", true), None);
    }

    #[test]
    fn firmware_that_a_descriptor_names_must_be_there() {
        let name = "/usr/share/qemu/firmware/40-a.json";
        let (_dir, empty) = host(&[(name, ENROLLED)]);
        assert!(matches!(find(&empty, Firmware::SecureBoot), Err(GuestError::Refused { .. })));
        let files = [
            (name, ENROLLED),
            ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", ""),
            ("/usr/share/OVMF/OVMF_VARS_4M.ms.fd", ""),
        ];
        let (_dir, full) = host(&files);
        assert!(find(&full, Firmware::SecureBoot).unwrap().is_some());
    }

    #[test]
    fn without_descriptors_the_places_of_distributions_are_looked_at() {
        let files =
            [("/usr/share/edk2/x64/OVMF_CODE.4m.fd", ""), ("/usr/share/edk2/x64/OVMF_VARS.4m.fd", "")];
        let (_dir, arch) = host(&files);
        let uefi = find(&arch, Firmware::Uefi).unwrap().unwrap();
        assert_eq!((uefi.code.as_str(), uefi.smm), ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", false));
    }

    #[test]
    fn an_empty_descriptor_of_the_administrator_hides_the_other() {
        let files = [
            ("/etc/qemu/firmware/40-a.json", ""),
            ("/usr/share/qemu/firmware/40-a.json", ENROLLED),
            ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", ""),
        ];
        let (_dir, hidden) = host(&files);
        assert!(find(&hidden, Firmware::SecureBoot).is_err());
    }

    #[test]
    fn bios_needs_nothing() {
        let (_dir, empty) = host(&[]);
        assert_eq!(find(&empty, Firmware::Bios).unwrap(), None);
    }
}
