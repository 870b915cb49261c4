// SPDX-License-Identifier: GPL-3.0-or-later
//! Secure Boot: EFI variables, who vouches for the boot loader, and which keys the kernel trusts.

use super::Finding;
use super::efi::{self, Variables};
use super::look::Look;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the machine boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// UEFI.
    Uefi,
    /// No EFI variables: a BIOS, or a virtual machine without firmware.
    Bios,
}

/// Who vouches for what is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BootTrust {
    /// shim, with the machine owner keys (MOK).
    Shim,
    /// Keys of the owner in the firmware itself (sbctl), no shim: the MOK list is never read.
    OwnKeys,
}

/// Secure Boot and the keys it brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecureBoot {
    /// How the machine boots.
    pub firmware: Firmware,
    /// Whether the firmware checks signatures (EFI variable `SecureBoot`). On BIOS: no.
    pub enabled: Finding<bool>,
    /// Whether the firmware awaits keys (EFI variable `SetupMode`).
    pub setup_mode: Finding<bool>,
    /// Whether shim was told not to check (`MokSBStateRT`): then the kernel does not lock down.
    pub shim_validation_disabled: Finding<bool>,
    /// shim, or own keys.
    pub trust: Finding<BootTrust>,
    /// The kernel's keys that vouch for modules or for the boot chain.
    pub kernel_keys: Finding<KernelKeys>,
}

impl SecureBoot {
    /// Whether the kernel refuses unsigned modules because of Secure Boot: on, and shim was not told
    /// otherwise.
    pub fn is_effective(&self) -> Finding<bool> {
        match (&self.enabled, &self.shim_validation_disabled) {
            (Finding::Seen(true), Finding::Seen(disabled)) => Finding::Seen(!disabled),
            (Finding::Seen(true), Finding::CouldNotLook { .. }) => Finding::Seen(true),
            (enabled, _) => enabled.clone(),
        }
    }
}

/// Keys and keyrings of the kernel, from `/proc/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelKeys {
    /// Keyrings: name ("`.machine`", "`.platform`", "`.builtin_trusted_keys`") and how many keys each has.
    pub keyrings: Vec<Keyring>,
    /// Asymmetric keys in any of them.
    pub keys: Vec<KernelKey>,
}

/// A keyring of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Keyring {
    /// Its name, with the dot.
    pub name: String,
    /// How many keys are in it.
    pub keys: u32,
}

/// A public key in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelKey {
    /// Its description ("Debian Secure Boot CA").
    pub description: String,
    /// Its subject key id, hexadecimal.
    pub key_id: String,
}

/// `/proc/keys`: the kernel's keyrings and asymmetric keys, as far as it shows them to the reader.
pub fn parse_proc_keys(text: &str) -> KernelKeys {
    let mut found = KernelKeys { keyrings: vec![], keys: vec![] };
    for line in text.lines() {
        // ID, flags, usage, timeout, permissions, uid, gid, then type and description (keys(7)).
        let mut rest = line.trim_start();
        let mut words = 0;
        while words < 7 {
            let Some((_, after)) = rest.split_once(char::is_whitespace) else { break };
            rest = after.trim_start();
            words += 1;
        }
        let Some((kind, description)) = rest.split_once(char::is_whitespace).filter(|_| words == 7) else {
            continue;
        };
        let description = description.trim();
        match kind {
            "keyring" => {
                let Some((name, count)) = description.rsplit_once(": ") else { continue };
                if name.starts_with('.') {
                    let keys = if count == "empty" { 0 } else { count.parse().unwrap_or(0) };
                    found.keyrings.push(Keyring { name: name.to_owned(), keys });
                }
            }
            // The kernel cuts the type to nine letters.
            "asymmetri" => {
                let Some((name, _)) = description.rsplit_once(": X509.") else { continue };
                let Some((description, key_id)) = name.rsplit_once(": ") else { continue };
                if key_id.chars().all(|c| c.is_ascii_hexdigit()) {
                    let (description, key_id) = (description.to_owned(), key_id.to_lowercase());
                    found.keys.push(KernelKey { description, key_id });
                }
            }
            _ => {}
        }
    }
    found.keyrings.sort_by(|a, b| a.name.cmp(&b.name));
    found.keys.sort_by(|a, b| (&a.description, &a.key_id).cmp(&(&b.description, &b.key_id)));
    found
}

/// Reads the kernel's keys.
pub(super) fn kernel_keys(look: &Look<'_>) -> Finding<KernelKeys> {
    look.if_running(|| match look.text("/proc/keys") {
        Ok(text) => {
            let keys = parse_proc_keys(&text);
            if keys.keyrings.iter().any(|k| k.name == ".builtin_trusted_keys") {
                Finding::Seen(keys)
            } else {
                Finding::unseen("the kernel shows its keyrings to root only")
            }
        }
        Err(e) => Finding::unseen(e.to_string()),
    })
}

/// Where sbctl keeps its keys, in the order of its versions.
const SBCTL_DIRS: &[&str] = &["/var/lib/sbctl", "/usr/share/secureboot", "/etc/secureboot"];

/// Reads Secure Boot.
pub(super) fn read(
    look: &Look<'_>,
    variables: &Variables<'_>,
    keys: &Finding<KernelKeys>,
) -> Finding<SecureBoot> {
    let firmware = match variables.state() {
        Finding::Seen(false) => Firmware::Bios,
        Finding::CouldNotLook { why } if !look.exists("/sys/firmware/efi") => {
            return Finding::unseen(why.clone());
        }
        _ => Firmware::Uefi,
    };
    let flag = |name, guid| variables.flag(name, guid).map(|f| f.unwrap_or(false));
    let mok = variables.mok_list();
    let sbctl = look.first_of(SBCTL_DIRS).is_some();
    let trust = match (&mok, sbctl) {
        (Finding::Seen(Some(_)), _) => Finding::Seen(BootTrust::Shim),
        (Finding::Seen(None), true) => Finding::Seen(BootTrust::OwnKeys),
        (Finding::Seen(None), false) if firmware == Firmware::Bios => {
            Finding::unseen("the machine boots without UEFI")
        }
        (Finding::Seen(None), false) => {
            Finding::unseen("neither shim's variables nor keys of sbctl's were found")
        }
        (Finding::CouldNotLook { why }, _) => Finding::unseen(why.clone()),
    };
    Finding::Seen(SecureBoot {
        firmware,
        enabled: flag("SecureBoot", efi::GLOBAL),
        setup_mode: flag("SetupMode", efi::GLOBAL),
        shim_validation_disabled: flag("MokSBStateRT", efi::SHIM),
        trust,
        kernel_keys: keys.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keyrings_and_keys_are_read_with_colons_in_their_names() {
        let text = "\
09be8ab6 I------     1 perm 1f0f0000     0     0 keyring   .secondary_trusted_keys: 1
1d2b9a06 I------     1 perm 1f030000     0     0 asymmetri Debian Secure Boot CA: 6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1: X509.rsa bb419ea1 []
26449cff I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: 2
2a24ff01 I------     1 perm 1f030000     0     0 asymmetri Acme: host: Signing Key: 54a8c2a4: X509.rsa 54a8c2a4 []
30b726af I------     1 perm 1f030000     0     0 keyring   .machine: empty
25efdd41 I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid_ses.0: 1
short line
";
        let keys = parse_proc_keys(text);
        let rings: Vec<_> = keys.keyrings.iter().map(|k| (k.name.as_str(), k.keys)).collect();
        assert_eq!(rings, [(".builtin_trusted_keys", 2), (".machine", 0), (".secondary_trusted_keys", 1)]);
        assert_eq!(keys.keys[0].description, "Acme: host: Signing Key");
        assert_eq!(keys.keys[1].key_id, "6ccece7e4c6c0d1f6149f3dd27dfcc5cbb419ea1");
    }

    #[test]
    fn shim_that_does_not_check_makes_secure_boot_ineffective() {
        let state = |enabled, disabled| SecureBoot {
            firmware: Firmware::Uefi,
            enabled,
            setup_mode: Finding::Seen(false),
            shim_validation_disabled: disabled,
            trust: Finding::Seen(BootTrust::Shim),
            kernel_keys: Finding::unseen("x"),
        };
        assert!(state(Finding::Seen(true), Finding::Seen(true)).is_effective().is_false());
        assert!(state(Finding::Seen(true), Finding::Seen(false)).is_effective().is_true());
        assert!(state(Finding::Seen(true), Finding::unseen("x")).is_effective().is_true());
        assert!(state(Finding::Seen(false), Finding::unseen("x")).is_effective().is_false());
        assert!(!state(Finding::unseen("x"), Finding::Seen(false)).is_effective().is_seen());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*", words in proptest::collection::vec("[a-z:. ]*", 0..12)) {
            parse_proc_keys(&text);
            parse_proc_keys(&words.join(" "));
        }
    }
}
