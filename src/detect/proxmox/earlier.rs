// SPDX-License-Identifier: GPL-3.0-or-later
//! What other vGPU installers and guides leave behind.

use crate::detect::Finding;
use crate::detect::look::Look;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that another installer left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Earlier {
    /// Where it lies.
    pub path: String,
    /// What it is.
    pub what: String,
    /// Whether it must go before the driver is installed anew, or else works against it.
    pub in_the_way: bool,
}

/// Path, what it is, and whether it is in the way.
const PLACES: &[(&str, &str, bool)] = &[
    ("/root/proxmox-vgpu-installer", "folder of proxmox-vgpu-installer", false),
    ("/root/vgpu-proxmox", "patches of vgpu-proxmox", false),
    ("/opt/vgpu_unlock", "vgpu_unlock by scripts (the predecessor of vgpu_unlock-rs)", true),
    ("/opt/vgpu_unlock-rs", "vgpu_unlock-rs", false),
    ("/etc/vgpu_unlock", "settings of vgpu_unlock-rs", false),
    ("/opt/fastapi-dls", "a FastAPI-DLS licence server", false),
    ("/root/.rustup", "a Rust toolchain of root's own", false),
];

/// Services whose drop-ins preload the unlock library.
const PRELOADED: [&str; 2] = ["nvidia-vgpud.service", "nvidia-vgpu-mgr.service"];

/// Lines of a configuration of modules that were right for older kernels only. `vfio_virqfd` became a part of
/// `vfio` in Linux 6.2.
fn outdated_modules(text: &str) -> bool {
    text.lines().any(|line| line.trim() == "vfio_virqfd")
}

/// The library that a unit's drop-in preloads (`Environment=LD_PRELOAD=…`, systemd.exec(5)).
fn preloads(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let value = line.trim().strip_prefix("Environment=")?.trim_matches('"');
        value.strip_prefix("LD_PRELOAD=")
    })
}

pub(super) fn read(look: &Look<'_>) -> Finding<Vec<Earlier>> {
    let mut found = Vec::new();
    for (path, what, in_the_way) in PLACES {
        match look.there(path) {
            Finding::Seen(true) => {
                found.push(Earlier {
                    path: (*path).to_owned(),
                    what: (*what).to_owned(),
                    in_the_way: *in_the_way,
                });
            }
            Finding::Seen(false) => {}
            // Folders of root's home.
            Finding::CouldNotLook { why } => return Finding::CouldNotLook { why },
        }
    }
    for service in PRELOADED {
        let dir = format!("/etc/systemd/system/{service}.d");
        for entry in look.list(&dir) {
            let path = format!("{dir}/{}", entry.name);
            if let Ok(text) = look.text(&path)
                && let Some(library) = preloads(&text)
            {
                let missing = !look.exists(library);
                let gone = if missing { ", which is not there any more" } else { "" };
                let what = format!("{service} preloads {library}{gone}");
                found.push(Earlier { path, what, in_the_way: missing });
            }
        }
    }
    for (path, text) in look.with_drop_ins("/etc/modules", "/etc/modules-load.d") {
        if outdated_modules(&text) {
            let what = "loads vfio_virqfd, which Linux 6.2 and newer do not have".to_owned();
            found.push(Earlier { path, what, in_the_way: false });
        }
    }
    Finding::Seen(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_preloaded_library_is_found_in_a_drop_in() {
        let text =
            "[Service]\nEnvironment=LD_PRELOAD=/opt/vgpu_unlock-rs/target/release/libvgpu_unlock_rs.so\n";
        assert_eq!(preloads(text), Some("/opt/vgpu_unlock-rs/target/release/libvgpu_unlock_rs.so"));
        assert_eq!(preloads("[Service]\n# Environment=LD_PRELOAD=/x\n"), None);
    }

    #[test]
    fn only_a_whole_line_names_an_outdated_module() {
        assert!(outdated_modules("vfio\nvfio_virqfd\n"));
        assert!(!outdated_modules("# vfio_virqfd\nvfio_virqfdx\n"));
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*") {
            preloads(&text);
            outdated_modules(&text);
        }
    }
}
