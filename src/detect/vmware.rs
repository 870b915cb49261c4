// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware Workstation and Player: product, version, where their module sources are, their services.

use super::Finding;
use super::look::Look;
use crate::host::{Entry, FileKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VmwareProduct {
    /// VMware Workstation (Pro).
    Workstation,
    /// VMware Player (Workstation Player).
    Player,
    /// Installed, and neither name was found.
    Other,
}

/// What is there of VMware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Vmware {
    /// The installed product; `None` when there is none.
    pub product: Option<VmwareProduct>,
    /// Its version ("17.5.1").
    pub version: Option<String>,
    /// Its build number ("23298084").
    pub build: Option<String>,
    /// The file that said version and build.
    pub source: Option<String>,
    /// Library folder ("/usr/lib/vmware").
    pub libdir: String,
    /// Module sources found, `vmmon` before `vmnet`; archives before folders.
    pub module_sources: Vec<ModuleSource>,
    /// Its services that are installed.
    pub services: Vec<Service>,
    /// Whether networking was set up (`/etc/vmware/networking`).
    pub has_networking: bool,
}

impl Vmware {
    /// Whether a product is installed.
    pub fn is_installed(&self) -> bool {
        self.product.is_some()
    }
}

/// The form of a module source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModuleSourceKind {
    /// `vmmon.tar`.
    Archive,
    /// A folder `vmmon-only/`.
    Folder,
}

/// A module source of VMware's on this machine. What is inside is read by the flow, not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleSource {
    /// The module ("vmmon").
    pub module: String,
    /// Its form.
    pub kind: ModuleSourceKind,
    /// Its path in the root.
    pub path: String,
    /// Size of an archive in bytes; `None` for a folder.
    pub size: Option<u64>,
}

/// How a service is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// A systemd unit.
    Systemd,
    /// A System V script.
    SysV,
}

/// An installed service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its name without suffix ("vmware-networks").
    pub name: String,
    /// How it is started.
    pub kind: ServiceKind,
    /// Its file.
    pub path: String,
    /// Whether it starts at boot (a link in a `*.wants` folder, or in `rc?.d`).
    pub enabled: bool,
}

/// A configuration of VMware's: `name = "value"` lines, names without regard to case; a later line wins.
pub fn parse_config(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        let value = value.strip_prefix('"').map_or(value, |v| v.split('"').next().unwrap_or(v));
        found.insert(name.trim().to_lowercase(), value.to_owned());
    }
    found
}

const CONFIG: &str = "/etc/vmware/config";
const LIBDIR: &str = "/usr/lib/vmware";

/// A version that is digits and dots only: nothing else is taken from a file that anybody may have edited.
fn plain_version(value: &str) -> Option<String> {
    let plain = value.starts_with(|c: char| c.is_ascii_digit())
        && value.chars().all(|c| c.is_ascii_digit() || c == '.');
    plain.then(|| value.to_owned())
}

fn product(look: &Look<'_>, config: &BTreeMap<String, String>, libdir: &str) -> Option<VmwareProduct> {
    let name = config.get("product.name").map(String::as_str).unwrap_or_default().to_lowercase();
    let program = |name: &str| look.exists(&format!("{libdir}/bin/{name}"));
    if name.contains("workstation") || config.contains_key("workstation.product.version") || program("vmware")
    {
        Some(VmwareProduct::Workstation)
    } else if name.contains("player") || config.contains_key("player.product.version") || program("vmplayer")
    {
        Some(VmwareProduct::Player)
    } else if program("vmware-vmx") {
        Some(VmwareProduct::Other)
    } else {
        None
    }
}

/// Module sources: VMware's own archives, folders that patches and packages leave beside them, DKMS trees.
fn module_sources(look: &Look<'_>, libdir: &str) -> Vec<ModuleSource> {
    let mut found = Vec::new();
    let dir = format!("{libdir}/modules/source");
    for module in ["vmmon", "vmnet"] {
        let path = format!("{dir}/{module}.tar");
        if let Ok(meta) = look.root().metadata(&path)
            && meta.kind == FileKind::File
        {
            let (module, kind) = (module.to_owned(), ModuleSourceKind::Archive);
            found.push(ModuleSource { module, kind, path, size: Some(meta.size) });
        }
    }
    let mut parents = vec![dir];
    let named = |e: &&Entry| e.name.starts_with("vmware-host-modules") || e.name.starts_with("vmware-");
    parents.extend(look.list("/usr/src").iter().filter(named).map(|e| format!("/usr/src/{}", e.name)));
    for parent in parents {
        for module in ["vmmon", "vmnet"] {
            let path = format!("{parent}/{module}-only");
            if look.root().metadata(&path).is_ok_and(|m| m.kind == FileKind::Directory) {
                let (module, kind) = (module.to_owned(), ModuleSourceKind::Folder);
                found.push(ModuleSource { module, kind, path, size: None });
            }
        }
    }
    found
}

const UNITS: &[&str] = &[
    "vmware",
    "vmware-networks",
    "vmware-networks-configuration",
    "vmware-usbarbitrator",
    "vmware-USBArbitrator",
    "vmware-workstation-server",
    "vmware-hostd",
];
const UNIT_DIRS: &[&str] = &["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const INIT_DIRS: &[&str] = &["/etc/init.d", "/etc/rc.d/init.d", "/etc/rc.d"];

/// Services that are installed. A System V script that a unit of the same name replaces is not listed.
fn services(look: &Look<'_>) -> Vec<Service> {
    let wants: Vec<(String, Entry)> = look
        .list("/etc/systemd/system")
        .into_iter()
        .filter(|e| {
            e.kind == FileKind::Directory && (e.name.ends_with(".wants") || e.name.ends_with(".requires"))
        })
        .flat_map(|dir| {
            look.list(&format!("/etc/systemd/system/{}", dir.name))
                .into_iter()
                .map(move |e| (dir.name.clone(), e))
        })
        .collect();
    let runlevels: Vec<Entry> = (2..=5)
        .flat_map(|n| [format!("/etc/rc{n}.d"), format!("/etc/rc.d/rc{n}.d")])
        .chain(["/etc/runlevels/default".to_owned(), "/etc/runlevels/boot".to_owned()])
        .flat_map(|dir| look.list(&dir))
        .collect();
    let mut found = Vec::new();
    for name in UNITS {
        for suffix in [".service", ".path"] {
            let file = format!("{name}{suffix}");
            let path = UNIT_DIRS.iter().map(|dir| format!("{dir}/{file}")).find(|path| look.exists(path));
            if let Some(path) = path {
                let enabled = wants.iter().any(|(_, e)| e.name == file);
                // A path unit is shown with its suffix: a bare name means a service.
                let name = if suffix == ".service" { (*name).to_owned() } else { file };
                found.push(Service { name, kind: ServiceKind::Systemd, path, enabled });
            }
        }
        let has_unit = found.iter().any(|s| s.name == *name);
        let script = INIT_DIRS
            .iter()
            .map(|dir| format!("{dir}/{name}"))
            .find(|path| look.root().metadata(path).is_ok_and(|m| m.kind == FileKind::File));
        if let (Some(path), false) = (script, has_unit) {
            // "S90vmware" in rc?.d, "vmware" in OpenRC's runlevels.
            let starts =
                |e: &Entry| e.name == *name || (e.name.starts_with('S') && e.name.get(3..) == Some(*name));
            let enabled = runlevels.iter().any(starts);
            found.push(Service { name: (*name).to_owned(), kind: ServiceKind::SysV, path, enabled });
        }
    }
    found
}

/// Reads what is there of VMware.
pub(super) fn read(look: &Look<'_>) -> Finding<Vmware> {
    let config = match look.text_if_there(CONFIG) {
        Finding::Seen(text) => parse_config(&text.unwrap_or_default()),
        Finding::CouldNotLook { why } => return Finding::unseen(why),
    };
    let bootstrap = parse_config(&look.text("/etc/vmware/bootstrap").unwrap_or_default());
    let absolute =
        |value: &String| (value.starts_with('/') && !value.contains("/../")).then(|| value.clone());
    let libdir = config
        .get("libdir")
        .and_then(absolute)
        .or_else(|| bootstrap.get("libdir").and_then(absolute).map(|dir| format!("{dir}/vmware")))
        .unwrap_or_else(|| LIBDIR.to_owned());
    let product = product(look, &config, &libdir);
    let keys = match product {
        Some(VmwareProduct::Player) => {
            ["player.product.version", "product.version", "workstation.product.version"]
        }
        _ => ["workstation.product.version", "product.version", "player.product.version"],
    };
    let version = keys.iter().find_map(|key| plain_version(config.get(*key)?));
    let build = config.get("product.buildnumber").and_then(|b| plain_version(b));
    let source = (version.is_some() || build.is_some()).then(|| CONFIG.to_owned());
    Finding::Seen(Vmware {
        module_sources: module_sources(look, &libdir),
        services: services(look),
        has_networking: look.exists("/etc/vmware/networking"),
        product,
        version,
        build,
        source,
        libdir,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_configuration_is_read_as_vmware_writes_it() {
        let text = ".encoding = \"ASCII\"\nlibdir = \"/usr/lib/vmware\"\nproduct.buildNumber = \"23298084\"\n\
                    # product.version = \"1\"\nplayer.product.version=\"17.5.1\" # x\nNETWORKING = \"yes\"\nplain = value\n";
        let config = parse_config(text);
        assert_eq!(config.get("product.buildnumber").map(String::as_str), Some("23298084"));
        assert_eq!(config.get("player.product.version").map(String::as_str), Some("17.5.1"));
        assert_eq!(config.get("plain").map(String::as_str), Some("value"));
        assert_eq!(config.get("product.version"), None);
    }

    #[test]
    fn a_version_is_digits_and_dots() {
        assert_eq!(plain_version("17.5.1").as_deref(), Some("17.5.1"));
        assert_eq!(plain_version("17.5; rm"), None);
        assert_eq!(plain_version(""), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*") {
            parse_config(&text);
            plain_version(&text);
        }
    }
}
