// SPDX-License-Identifier: GPL-3.0-or-later
//! What a plan reads beside what the decision reads.

use super::catalogue::{Catalogue, ETC_DIR, Source};
use super::facts::VgpuFacts;
use super::licensing::{self, LicensingFacts, ServerNow};
use super::plan;
use super::rules::Rules;
use super::{Choices, LicenceServer, Stage, sources};
use crate::detect::containers::Containers;
use crate::detect::{self, Finding, Topic};
use crate::engine::plan::Refusal;
use crate::engine::steps::built_from;
use crate::flows::boot::{self, BootFacts};
use crate::flows::packages::{self, PackageFacts};
use crate::host::{FileState, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where drivers and patches are kept.
pub const KEPT: &str = "/var/lib/hostwright/vgpu";

/// A small text file as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TextFile {
    /// Its path.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Its permission bits.
    pub mode: u32,
}

/// All that a plan of this flow reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetupFacts {
    /// What the decision reads.
    pub vgpu: VgpuFacts,
    /// The files of APT's sources.
    pub sources: Finding<Vec<TextFile>>,
    /// Files with the key that signs Proxmox's packages.
    pub keyrings: Vec<String>,
    /// Whether this host has a subscription.
    pub subscription: bool,
    /// Where the kernel command line is decided.
    pub boot: BootFacts,
    /// Whether the processor is Intel's, whose IOMMU must be asked for.
    pub intel: Finding<bool>,
    /// What installing the packages would do.
    pub packages: PackageFacts,
    /// Our own files, those that are there.
    pub files: Vec<TextFile>,
    /// Drivers and patches that are kept: name → SHA-256.
    pub kept: BTreeMap<String, String>,
    /// The SHA-256 of the sources that the library for unlocked cards was built from, where it is here as it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// The command line program, which the unit that reports starts.
    pub program: Option<String>,
    /// What licensing reads, where that is what is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licensing: Option<LicensingFacts>,
}

fn text_file(host: &Host, path: &str) -> Result<Option<TextFile>, String> {
    match host.root().state(path).map_err(|e| e.to_string())? {
        FileState::File { mode, .. } => {
            let bytes = host.root().read_at_most(path, 1 << 20).map_err(|e| e.to_string())?;
            let text = String::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8 text"))?;
            Ok(Some(TextFile { path: path.to_owned(), text, mode }))
        }
        FileState::Absent => Ok(None),
        _ => Err(format!("{path} is no file")),
    }
}

fn source_files(host: &Host) -> Finding<Vec<TextFile>> {
    let dir = "/etc/apt/sources.list.d";
    let mut paths = vec!["/etc/apt/sources.list".to_owned()];
    match host.root().list(dir) {
        Ok(entries) => {
            let mut names: Vec<String> = entries.into_iter().map(|e| e.name).collect();
            names.sort();
            let of_apt = names.iter().filter(|n| detect::apt::SourcesFormat::of_name(n).is_some());
            paths.extend(of_apt.map(|n| format!("{dir}/{n}")));
        }
        Err(e) if e.is_not_found() => {}
        Err(e) => return Finding::unseen(e.to_string()),
    }
    let mut files = Vec::new();
    for path in paths {
        match text_file(host, &path) {
            Ok(file) => files.extend(file),
            Err(why) => return Finding::unseen(why),
        }
    }
    Finding::Seen(files)
}

fn kept(host: &Host) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in host.root().list(KEPT).unwrap_or_default() {
        if let Ok(FileState::File { sha256, .. }) = host.root().state(&format!("{KEPT}/{}", entry.name)) {
            found.insert(entry.name, sha256);
        }
    }
    found
}

/// The catalogue with the rows of this machine, as whoever plans as root has it.
///
/// # Errors
/// When a row is wrong.
pub fn catalogue(host: &Host) -> Result<Catalogue, Refusal> {
    let owners = [0, nix::unistd::geteuid().as_raw()];
    let sources = [Source { root: host.root(), dir: ETC_DIR, owners: &owners }];
    Catalogue::load(&sources).map_err(|e| {
        Refusal::new("bad-catalogue", format!("A table of {ETC_DIR} cannot be used."), format!("{e}."))
    })
}

/// Looks at a machine for all that a plan reads.
///
/// # Errors
/// A refusal of the decision.
pub fn gather(
    host: &Host,
    choices: &Choices,
    catalogue: &Catalogue,
    rules: &Rules,
) -> Result<SetupFacts, Refusal> {
    let vgpu = super::gather(host);
    let facts = detect::gather(host, Some(&[Topic::Cpu, Topic::Bootloader, Topic::RunningKernel]));
    let proxmox = vgpu.proxmox.seen().and_then(Option::as_deref);
    let release = proxmox.and_then(|version| rules.proxmox(version));
    let licensing = licensing_facts(host, choices);
    let library = built_from(host, plan::UNLOCK_LIBRARY);
    let wanted = match (&licensing, &choices.licence_server) {
        (Some(LicensingFacts { containers: Some(there), .. }), Some(server)) => {
            licensing::server_packages(server, there, proxmox)
        }
        (Some(_), _) => Vec::new(),
        (None, _) => {
            let decision = super::decide(choices, &vgpu, catalogue, rules)?;
            let built = library.is_some() && library == choices.unlock_source;
            release.map(|r| plan::packages(&decision, choices, &vgpu, r, built)).unwrap_or_default()
        }
    };
    let exists = |p: &String| host.root().exists(p);
    Ok(SetupFacts {
        sources: source_files(host),
        keyrings: release
            .map(|r| sources::keyrings(&r.codename).into_iter().filter(exists).collect())
            .unwrap_or_default(),
        subscription: host.root().exists("/etc/subscription"),
        boot: boot::gather(host, &facts),
        intel: facts.cpu.as_ref().map(|c| c.vendor == "GenuineIntel"),
        packages: packages::gather(host, &wanted),
        files: own_files().filter_map(|p| text_file(host, p).ok().flatten()).collect(),
        kept: kept(host),
        library,
        program: ["/usr/bin/hostwright", "/usr/local/bin/hostwright"]
            .into_iter()
            .find(|p| host.root().exists(p))
            .map(str::to_owned),
        licensing,
        vgpu,
    })
}

/// Every file that only this flow writes.
fn own_files() -> impl Iterator<Item = &'static str> {
    plan::OWN_FILES.into_iter().chain(licensing::OWN_FILES)
}

/// The licence server that is here. Nothing, when there is none.
fn server_now(host: &Host, server: &LicenceServer, there: &Containers) -> Option<ServerNow> {
    let engine = licensing::engine(server, there).program();
    let Finding::Seen(container) = detect::containers::container(host, engine, licensing::CONTAINER) else {
        return None;
    };
    let keys = server.listen.parse().ok().map(|address| licensing::keys(server, address));
    Some(ServerNow {
        container,
        keys: keys.is_some_and(|keys| matches!(keys.is_there(host), Ok(true))),
        enabled: host.root().exists(licensing::ENABLED),
    })
}

/// What licensing reads; `None` where something else is planned.
fn licensing_facts(host: &Host, choices: &Choices) -> Option<LicensingFacts> {
    match choices.stage? {
        Stage::Token => {
            let guest = choices.token.as_ref().map(|t| detect::proxmox::guest(host, t.vm));
            Some(LicensingFacts { guest, ..LicensingFacts::default() })
        }
        Stage::LicenceServer => {
            // Its characters are looked at by the plan; a path that leads elsewhere finds no zone.
            let zone = choices.licence_server.as_ref().map_or("", |s| &s.time_zone);
            let known = !zone.is_empty() && !zone.contains("..") && !zone.starts_with('/');
            let containers = detect::containers::containers(host);
            let server = choices.licence_server.as_ref();
            Some(LicensingFacts {
                server: server.and_then(|s| server_now(host, s, &containers)),
                containers: Some(containers),
                zone_known: known && host.root().exists(&format!("/usr/share/zoneinfo/{zone}")),
                ..LicensingFacts::default()
            })
        }
        _ => None,
    }
}
