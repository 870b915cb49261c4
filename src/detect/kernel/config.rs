// SPDX-License-Identifier: GPL-3.0-or-later
//! A kernel's configuration: `auto.conf`, `.config`, `/boot/config-RELEASE`, `/proc/config.gz`.

use super::KernelConfig;
use crate::detect::Finding;
use crate::detect::look::Look;
use std::collections::BTreeMap;
use std::io::Read;

/// The options of a configuration that are kept: `CONFIG_X=y`, `CONFIG_Y="text"`.
pub fn parse_config(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        if !KernelConfig::keeps(name) {
            continue;
        }
        let value = value.trim_end();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        if value != "n" {
            values.insert(name.to_owned(), value.replace("\\\"", "\"").replace("\\\\", "\\"));
        }
    }
    values
}

/// Reads the configuration of a kernel from the first place that has one. kbuild itself builds by
/// `include/config/auto.conf`, so that comes first.
pub(super) fn read(
    look: &Look<'_>,
    release: &str,
    modules_dir: &str,
    build_dir: Option<&str>,
    is_running: bool,
) -> Finding<KernelConfig> {
    let mut places = Vec::new();
    if let Some(dir) = build_dir {
        places.push(format!("{dir}/include/config/auto.conf"));
        places.push(format!("{dir}/.config"));
    }
    places.push(format!("/boot/config-{release}"));
    places.push(format!("{modules_dir}/config"));
    places.push(format!("/usr/src/linux-{release}/.config"));
    let mut refused = Vec::new();
    for place in places {
        match look.text(&place) {
            Ok(text) => return Finding::Seen(KernelConfig { values: parse_config(&text), source: place }),
            Err(e) if e.is_not_found() => {}
            Err(e) => refused.push(e.to_string()),
        }
    }
    if is_running && let Ok(packed) = look.root().read_at_most("/proc/config.gz", 4 << 20) {
        let mut text = String::new();
        let unpacked =
            flate2::read::GzDecoder::new(packed.as_slice()).take(32 << 20).read_to_string(&mut text);
        match unpacked {
            Ok(_) => {
                let source = "/proc/config.gz".to_owned();
                return Finding::Seen(KernelConfig { values: parse_config(&text), source });
            }
            Err(e) => refused.push(format!("/proc/config.gz: {e}")),
        }
    }
    if refused.is_empty() {
        Finding::unseen(format!(
            "no configuration of {release} was found; it comes with the kernel's headers"
        ))
    } else {
        Finding::unseen(refused.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn set_options_are_kept_without_quotes_and_unset_ones_are_absent() {
        let values = parse_config(
            "#\n# Automatically generated file; DO NOT EDIT.\nCONFIG_MODULE_SIG=y\n# CONFIG_MODULE_SIG_FORCE is not set\n\
             CONFIG_MODULE_SIG_HASH=\"sha512\"\nCONFIG_USB=y\nCONFIG_WERROR=n\nCONFIG_CC_VERSION_TEXT=\"gcc (GCC) 14.2.1 20240910\"\n",
        );
        let config = KernelConfig { source: "x".into(), values };
        assert!(config.checks_signatures() && !config.forces_signatures() && !config.warnings_are_errors());
        assert_eq!(config.signature_hash(), Some("sha512"));
        assert_eq!(config.get("CONFIG_CC_VERSION_TEXT"), Some("gcc (GCC) 14.2.1 20240910"));
        assert_eq!(config.get("CONFIG_USB"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*") {
            parse_config(&format!("CONFIG_MODULE_{text}"));
        }
    }
}
