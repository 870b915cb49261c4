// SPDX-License-Identifier: GPL-3.0-or-later
//! `data/vgpu/rules.toml` as types.

use super::catalogue::{Branch, Support};
use serde::Deserialize;

const TEXT: &str = include_str!("../../../data/vgpu/rules.toml");

/// A kernel series ("6.8"), or OpenZFS's ("2.4"): what rules compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// "6".
    pub major: u32,
    /// "8".
    pub minor: u32,
}

impl Series {
    /// The series of a release or version ("6.8.12-4-pve", "2.2.6-pve1").
    pub fn of(release: &str) -> Option<Self> {
        let mut parts = release.split(|c: char| !c.is_ascii_digit());
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::of(&text).ok_or_else(|| serde::de::Error::custom(format!("{text} is no series such as 6.8")))
    }
}

/// All rules.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Generations of chips.
    pub generation: Vec<Generation>,
    /// Limits of kernels.
    pub kernels: Vec<KernelLimit>,
    /// Releases of Proxmox VE.
    pub proxmox: Vec<ProxmoxRelease>,
    /// What has been tried.
    pub tried: Vec<Tried>,
    /// The installer.
    pub installer: Installer,
    /// The interface.
    pub interface: InterfaceRule,
    /// Features of ZFS pools.
    pub zfs: Vec<ZfsFeatures>,
}

/// A generation of chips.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Its name.
    pub name: String,
    /// How the names of its chips begin.
    pub chips: Vec<String>,
    /// For native cards.
    pub native: Option<NativeRule>,
    /// For cards to unlock.
    pub unlock: Option<UnlockRule>,
    /// Why none of its cards can be unlocked.
    pub no_unlock: Option<String>,
    /// Whether virtual GPUs come by SR-IOV.
    #[serde(default)]
    pub sriov: bool,
}

/// The newest branch for native cards.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeRule {
    /// Major branch.
    pub newest: u32,
    /// Whether the generation's rule is enough for a branch that a card's own row does not list yet.
    #[serde(default)]
    pub confirmed: bool,
    /// In words.
    pub reason: String,
}

/// The newest build for cards to unlock.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnlockRule {
    /// The build.
    pub newest: Branch,
    /// In words.
    pub reason: String,
}

/// The newest kernel for some branches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelLimit {
    /// For native cards or those to unlock.
    pub mode: Support,
    /// Only for these generations; all without it.
    pub generations: Option<Vec<String>>,
    /// The branches.
    pub branches: BranchRange,
    /// The newest kernel.
    pub newest: Series,
    /// In words.
    pub reason: String,
}

/// Branches, both ends included.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BranchRange {
    /// The first.
    pub from: Branch,
    /// The last.
    pub to: Branch,
}

/// Which format APT's sources have on a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcesHabit {
    /// `*.list`.
    OneLine,
    /// `*.sources`.
    Deb822,
}

/// A release of Proxmox VE.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxmoxRelease {
    /// Its number.
    pub major: u32,
    /// The Debian release below it.
    pub codename: String,
    /// The oldest kernel it has.
    pub oldest_kernel: Series,
    /// The newest kernel it will have; `None` while it gets new ones.
    pub newest_kernel: Option<Series>,
    /// How its header packages begin.
    pub headers: String,
    /// The package with a cargo that builds vgpu_unlock-rs.
    pub cargo: String,
    /// Whether it has kernels signed for Secure Boot.
    pub signed_kernels: bool,
    /// Whether it has `pve-nvidia-vgpu-helper`.
    pub vgpu_helper: bool,
    /// The format of its APT sources.
    pub sources: SourcesHabit,
}

/// What somebody has tried.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// Native or unlock.
    pub mode: Support,
    /// Only these generations; all without it.
    pub generations: Option<Vec<String>>,
    /// Releases of Proxmox VE.
    pub proxmox: Vec<u32>,
}

/// How the driver's installer is called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installer {
    /// The first major branch whose installer chooses the kind of module rightly for native cards.
    pub chooses_module_from: u32,
    /// Always.
    pub arguments: Vec<String>,
    /// Forces the proprietary modules: open ones do not support vGPU.
    pub proprietary: String,
}

/// Which interface to expect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceRule {
    /// First driver (its first number) with the vendor's VFIO interface.
    pub vendor_vfio_driver: u32,
    /// First kernel with it.
    pub vendor_vfio_kernel: Series,
    /// First branch that Proxmox's helper serves.
    pub helper_branch: Branch,
}

/// Features that an OpenZFS brought.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZfsFeatures {
    /// The OpenZFS.
    pub since: Series,
    /// The first Proxmox kernel that has it, where that is known.
    pub kernel: Option<Series>,
    /// Short names of the features.
    pub features: Vec<String>,
}

impl Rules {
    /// The rules in this program.
    ///
    /// # Errors
    /// When they are wrong, which the tests rule out.
    pub fn built_in() -> Result<Self, toml::de::Error> {
        toml::from_str(TEXT)
    }

    /// The generation of a chip: the longest beginning wins.
    pub fn generation(&self, chip: &str) -> Option<&Generation> {
        let fits = |g: &&Generation| g.chips.iter().any(|c| chip.starts_with(c.as_str()));
        let length =
            |g: &&Generation| g.chips.iter().filter(|c| chip.starts_with(c.as_str())).map(String::len).max();
        self.generation.iter().filter(fits).max_by_key(length)
    }

    /// The release of Proxmox VE with this version ("8.2.4").
    pub fn proxmox(&self, version: &str) -> Option<&ProxmoxRelease> {
        let major: u32 = version.split('.').next()?.parse().ok()?;
        self.proxmox.iter().find(|p| p.major == major)
    }

    /// Whether somebody is known to have tried a card of this generation in this mode on this release.
    pub fn is_tried(&self, mode: Support, generation: &str, proxmox: u32) -> bool {
        self.tried.iter().any(|t| {
            t.mode == mode
                && t.proxmox.contains(&proxmox)
                && t.generations.as_ref().is_none_or(|g| g.iter().any(|g| g == generation))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::vgpu::Catalogue;
    use proptest::prelude::*;

    #[test]
    fn every_chip_of_the_catalogue_has_a_generation() {
        let rules = Rules::built_in().unwrap();
        for gpu in Catalogue::built_in().unwrap().gpus() {
            assert!(rules.generation(&gpu.chip).is_some(), "{} ({})", gpu.chip, gpu.name);
        }
        assert_eq!(rules.generation("GM204").unwrap().name, "Maxwell");
        assert_eq!(rules.generation("GB202GL").unwrap().name, "Blackwell");
        assert!(rules.generation("XY100").is_none());
    }

    #[test]
    fn rules_name_only_generations_that_exist() {
        let rules = Rules::built_in().unwrap();
        let known = |name: &String| rules.generation.iter().any(|g| &g.name == name);
        let named = rules.kernels.iter().filter_map(|k| k.generations.as_ref());
        let named = named.chain(rules.tried.iter().filter_map(|t| t.generations.as_ref()));
        assert!(named.flatten().all(known));
        let mut features: Vec<&String> = rules.zfs.iter().flat_map(|z| &z.features).collect();
        let count = features.len();
        features.sort();
        features.dedup();
        assert_eq!(features.len(), count, "a feature is there twice");
    }

    #[test]
    fn series_are_compared_as_numbers() {
        let series = |t| Series::of(t).unwrap();
        assert!(series("6.8.12-4-pve") < series("6.14.0-1-pve") && series("6.17") < series("7.0.2-1-pve"));
        assert_eq!(series("2.2.6-pve1").to_string(), "2.2");
        assert_eq!(Series::of("pve"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            Series::of(&text);
        }
    }
}
