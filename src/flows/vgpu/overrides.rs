// SPDX-License-Identifier: GPL-3.0-or-later
//! `profile_override.toml` of vgpu_unlock-rs: what may stand in it. Pure.
//!
//! The tables and keys are those of its README: `[profile.nvidia-N]`, `[mdev.UUID]`, `[vm.N]`, each with the same keys.

use crate::engine::plan::Refusal;
use toml::{Table, Value};

/// Where it is read.
pub const PATH: &str = "/etc/vgpu_unlock/profile_override.toml";

/// The largest that is taken, in bytes.
const LIMIT: usize = 32 << 10;

/// What kind of value a key has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Flag,
}

/// The keys (vgpu_unlock-rs, `VgpuProfileOverride`).
const KEYS: [(&str, Kind); 20] = [
    ("gpu_type", Kind::Number),
    ("card_name", Kind::Text),
    ("vgpu_type", Kind::Text),
    ("features", Kind::Text),
    ("max_instances", Kind::Number),
    ("num_displays", Kind::Number),
    ("display_width", Kind::Number),
    ("display_height", Kind::Number),
    ("max_pixels", Kind::Number),
    ("frl_config", Kind::Number),
    ("cuda_enabled", Kind::Number),
    ("ecc_supported", Kind::Number),
    ("mig_instance_size", Kind::Number),
    ("multi_vgpu_supported", Kind::Number),
    ("pci_id", Kind::Number),
    ("pci_device_id", Kind::Number),
    ("framebuffer", Kind::Number),
    ("mappable_video_size", Kind::Number),
    ("framebuffer_reservation", Kind::Number),
    ("frl_enabled", Kind::Flag),
];

fn wrong(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        "bad-overrides",
        format!("These overrides cannot be used: {what}."),
        "vgpu_unlock-rs's README tells the tables ([profile.nvidia-N], [mdev.UUID], [vm.N]) and keys.",
    )
}

fn name_is_right(table: &str, name: &str) -> bool {
    let digits = |n: &str| !n.is_empty() && n.len() < 10 && n.bytes().all(|b| b.is_ascii_digit());
    match table {
        "profile" => name.strip_prefix("nvidia-").is_some_and(digits),
        "vm" => digits(name),
        _ => name.len() == 36 && name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'),
    }
}

/// Looks whether a text may become the file.
///
/// # Errors
/// A refusal that names what is wrong.
pub fn check(text: &str) -> Result<(), Refusal> {
    if text.len() > LIMIT {
        return Err(wrong(format!("they have {} bytes, and {LIMIT} are taken", text.len())));
    }
    let all: Table = toml::from_str(text).map_err(|e| wrong(e.message()))?;
    for (table, entries) in &all {
        if !["profile", "mdev", "vm"].contains(&table.as_str()) {
            return Err(wrong(format!("there is no table `{}`", table.escape_debug())));
        }
        let Value::Table(entries) = entries else { return Err(wrong(format!("`{table}` is no table"))) };
        for (name, keys) in entries {
            let at = format!("{table}.{}", name.escape_debug());
            if !name_is_right(table, name) {
                return Err(wrong(format!("`{at}` names nothing of that kind")));
            }
            let Value::Table(keys) = keys else { return Err(wrong(format!("`{at}` is no table"))) };
            for (key, value) in keys {
                one(&at, key, value)?;
            }
        }
    }
    Ok(())
}

fn one(at: &str, key: &str, value: &Value) -> Result<(), Refusal> {
    let Some((_, kind)) = KEYS.iter().find(|(k, _)| *k == key) else {
        return Err(wrong(format!("`{at}` has no key `{}`", key.escape_debug())));
    };
    let right = match (kind, value) {
        (Kind::Number, Value::Integer(n)) => *n >= 0,
        // Some keep what takes 0 and 1 as a truth value.
        (Kind::Number | Kind::Flag, Value::Boolean(_)) => *kind == Kind::Flag,
        (Kind::Flag, Value::Integer(n)) => matches!(n, 0 | 1),
        (Kind::Text, Value::String(s)) => s.len() < 64 && !s.contains(char::is_control),
        _ => false,
    };
    if right { Ok(()) } else { Err(wrong(format!("`{at}`, `{key}`: {value} is no value for it"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tables_and_keys_that_are_known_are_taken() {
        let text = "[profile.nvidia-259]\nnum_displays = 1\ndisplay_width = 1920\nframebuffer = 0x74000000\n\
                    cuda_enabled = 1\nfrl_enabled = 0\n[vm.100]\nfrl_enabled = false\nvgpu_type = \"Quadro\"\n\
                    [mdev.00000000-0000-0000-0000-000000000100]\nframebuffer = 1\n";
        check(text).unwrap();
        check("").unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("[profil.nvidia-1]\n", "no table `profil`"),
            ("[profile.x]\n", "`profile.x` names nothing"),
            ("[profile.nvidia-1]\nframe_buffer = 1\n", "no key `frame_buffer`"),
            ("[profile.nvidia-1]\nframebuffer = -1\n", "`framebuffer`: -1"),
            ("[profile.nvidia-1]\nframebuffer = \"2G\"\n", "is no value for it"),
            ("[vm.1]\nfrl_enabled = 2\n", "`frl_enabled`: 2"),
            ("[profile\n", "cannot be used"),
        ] {
            let said = check(text).unwrap_err().reason;
            assert!(said.contains(named), "{said}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_looked_at_without_panic(text in "(?s).*") {
            let _ = check(&text);
        }
    }
}
