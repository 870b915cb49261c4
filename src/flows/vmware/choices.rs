// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person picks for VMware's modules. Plain data; a field that is unknown is refused, so that a
//! misspelt wish is never silently ignored.

use crate::engine::steps::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// For which kernels modules are built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KernelChoice {
    /// The kernel that runs; on a scratch root, where none runs, the newest. `current` means the same.
    #[default]
    #[serde(alias = "current")]
    Running,
    /// Every installed kernel that has usable headers.
    All,
    /// The newest so many installed kernels.
    Newest(u32),
    /// Just these releases.
    Releases(Vec<String>),
    /// Every installed kernel whose release fits one of these patterns ("6.1.*-amd64"): `*` stands for any
    /// characters, `?` for one.
    Matching(Vec<String>),
}

/// What is other for some kernels than for the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerKernel {
    /// For which: a release or a pattern, as in [`KernelChoice::Matching`].
    pub kernel: String,
    /// Leave them out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,
    /// With which flags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Initramfs images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initramfs: Option<InitramfsChoice>,
    /// Try the modules in a virtual machine first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearse: Option<RehearseChoice>,
}

/// The longest pattern, in bytes; the kernel's own limit for a release is 64.
const PATTERN: usize = 128;

/// Whether a release fits a pattern with `*` and `?`. Pure, and linear in the length of both but for their product.
pub fn fits(pattern: &str, release: &str) -> bool {
    let (pattern, release) = (pattern.as_bytes(), release.as_bytes());
    // Which lengths of the release the pattern so far can stand for.
    let mut can = vec![false; release.len() + 1];
    can[0] = true;
    for p in pattern {
        let mut next = vec![false; release.len() + 1];
        for at in 0..=release.len() {
            next[at] = match p {
                b'*' => can[at] || (at > 0 && next[at - 1]),
                b'?' => at > 0 && can[at - 1],
                p => at > 0 && can[at - 1] && release[at - 1] == *p,
            };
        }
        can = next;
    }
    can[release.len()]
}

/// Whether a text can be a pattern for releases.
fn is_pattern(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._+~-*?".contains(c);
    !text.is_empty() && text.len() <= PATTERN && !text.starts_with(['.', '-']) && text.chars().all(fits)
}

/// Where the module sources come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceChoice {
    /// Those of the installed product (`/usr/lib/vmware/modules/source`).
    #[default]
    Installed,
    /// An archive that comes with the request as a sealed file.
    Sealed {
        /// SHA-256 of the archive, hexadecimal.
        sha256: String,
        /// What the person calls it ("vmware-host-modules-w17.5.1.tar.gz").
        name: String,
    },
}

/// Whether and with which key modules are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignChoice {
    /// With the key that is there, the distribution's first; with a new one when the kernel wants signatures.
    #[default]
    Auto,
    /// With Hostwright's own key, made when missing.
    Own,
    /// With the distribution's key only.
    Distribution,
    /// Not at all; refused where the kernel would then not load them.
    Never,
}

/// Whether modules are put into the running kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadChoice {
    /// When the modules are for the running kernel.
    #[default]
    Auto,
    /// Not now.
    Never,
}

/// Whether initramfs images are made anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InitramfsChoice {
    /// Only where the image already holds one of the modules.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// Whether modules are tried in a virtual machine before they are installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RehearseChoice {
    /// Where QEMU and the kernel's boot image are there.
    #[default]
    Auto,
    /// Yes; refused where it cannot be done, and failed when it turns out that it could not.
    Always,
    /// No.
    Never,
}

/// Whether modules are built by themselves when kernels are installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateChoice {
    /// As it is now.
    #[default]
    Keep,
    /// By hooks of the distribution.
    Hook,
    /// By DKMS, which calls us to build.
    Dkms,
    /// Not; hooks that are there are removed.
    Never,
}

/// All that a person picks in the `vmware` flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choices {
    /// For which kernels.
    pub kernels: KernelChoice,
    /// With which flags.
    pub mode: Mode,
    /// From which sources.
    pub source: SourceChoice,
    /// Signed or not.
    pub sign: SignChoice,
    /// Queue the signing key for the Machine Owner Key list, when it is not trusted yet.
    pub enroll: bool,
    /// Load them now.
    pub load: LoadChoice,
    /// Load them at every boot (`modules-load.d`).
    pub boot: bool,
    /// Initramfs images.
    pub initramfs: InitramfsChoice,
    /// Try the modules in a virtual machine first.
    pub rehearse: RehearseChoice,
    /// Kernel updates.
    #[serde(skip_serializing_if = "is_keep")]
    pub updates: UpdateChoice,
    /// What is other for some kernels; of several that fit, a later one lies over the earlier ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub per_kernel: Vec<PerKernel>,
}

/// What was always so is not written, so that the plans of earlier versions keep their digest.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_keep(choice: &UpdateChoice) -> bool {
    *choice == UpdateChoice::Keep
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            kernels: KernelChoice::default(),
            mode: Mode::default(),
            source: SourceChoice::default(),
            sign: SignChoice::default(),
            enroll: false,
            load: LoadChoice::default(),
            boot: true,
            initramfs: InitramfsChoice::default(),
            rehearse: RehearseChoice::default(),
            updates: UpdateChoice::default(),
            per_kernel: Vec::new(),
        }
    }
}

impl Choices {
    /// Reads choices from JSON.
    ///
    /// # Errors
    /// A sentence that names the field.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        let choices: Self = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
        choices.check()?;
        Ok(choices)
    }

    /// What the types alone do not hold.
    ///
    /// # Errors
    /// A sentence that names the field.
    pub fn check(&self) -> Result<(), String> {
        if let KernelChoice::Matching(patterns) = &self.kernels {
            if patterns.is_empty() {
                return Err("`kernels`: no pattern is given".to_owned());
            }
            if let Some(bad) = patterns.iter().find(|p| !is_pattern(p)) {
                return Err(format!("`kernels`: `{}` is no pattern of releases", bad.escape_debug()));
            }
        }
        match self.per_kernel.iter().find(|p| !is_pattern(&p.kernel)) {
            Some(bad) => Err(format!(
                "`per_kernel`: `{}` is neither a release nor a pattern of releases",
                bad.kernel.escape_debug()
            )),
            None => Ok(()),
        }
    }

    /// The choices as they are for one kernel.
    #[must_use]
    pub fn for_kernel(&self, release: &str) -> Self {
        let mut choices = self.clone();
        for other in self.per_kernel.iter().filter(|p| fits(&p.kernel, release)) {
            choices.mode = other.mode.unwrap_or(choices.mode);
            choices.initramfs = other.initramfs.unwrap_or(choices.initramfs);
            choices.rehearse = other.rehearse.unwrap_or(choices.rehearse);
        }
        choices
    }

    /// Whether a kernel is left out.
    pub fn skips(&self, release: &str) -> bool {
        self.per_kernel.iter().rev().find(|p| fits(&p.kernel, release)).is_some_and(|p| p.skip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_document_means_the_defaults() {
        assert_eq!(Choices::from_json(&serde_json::json!({})).unwrap(), Choices::default());
    }

    #[test]
    fn a_misspelt_field_is_refused_by_name() {
        let error = Choices::from_json(&serde_json::json!({"kernel": "all"})).unwrap_err();
        assert!(error.contains("kernel"), "{error}");
    }

    #[test]
    fn a_pattern_fits_as_in_a_shell_and_only_the_whole_release() {
        for (pattern, release, fit) in [
            ("6.1.*", "6.1.0-56-amd64", true),
            ("*-amd64", "6.1.0-56-amd64", true),
            ("6.1.0-5?-amd64", "6.1.0-56-amd64", true),
            ("6.1", "6.1.0", false),
            ("*", "", true),
            ("?", "", false),
            ("*a*b*", "xaxbx", true),
            ("*a*b*", "xbxax", false),
        ] {
            assert_eq!(fits(pattern, release), fit, "{pattern} {release}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_pattern_without_signs_fits_itself_only(a in "[0-9a-z.]{0,12}", b in "[0-9a-z.]{0,12}") {
            proptest::prop_assert!(fits(&a, &a));
            proptest::prop_assert_eq!(fits(&a, &b), a == b);
            let around = format!("*{a}*");
            let within = format!("{b}{a}{b}");
            proptest::prop_assert!(fits(&around, &within));
        }
    }

    #[test]
    fn later_settings_for_a_kernel_lie_over_earlier_ones_and_over_the_rest() {
        let choices = Choices::from_json(&serde_json::json!({
            "kernels": {"matching": ["6.*"]},
            "per_kernel": [
                {"kernel": "6.1.*", "mode": "optimized", "rehearse": "never"},
                {"kernel": "6.1.0-56-amd64", "mode": "vanilla"},
                {"kernel": "*-cloud-*", "skip": true},
            ]
        }))
        .unwrap();
        let one = choices.for_kernel("6.1.0-56-amd64");
        assert_eq!((one.mode, one.rehearse), (Mode::Vanilla, RehearseChoice::Never));
        assert_eq!(choices.for_kernel("6.1.0-55-amd64").mode, Mode::Optimized);
        assert_eq!(choices.for_kernel("6.12").mode, Mode::Vanilla);
        assert!(choices.skips("6.1.0-56-cloud-amd64") && !choices.skips("6.1.0-56-amd64"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_its_field() {
        for (json, field) in [
            (serde_json::json!({"kernels": {"matching": []}}), "kernels"),
            (serde_json::json!({"kernels": {"matching": ["../*"]}}), "kernels"),
            (serde_json::json!({"per_kernel": [{"kernel": "a/b"}]}), "per_kernel"),
            (serde_json::json!({"per_kernel": [{"kernel": "6.*", "mod": "vanilla"}]}), "mod"),
        ] {
            assert!(Choices::from_json(&json).unwrap_err().contains(field), "{json}");
        }
    }

    #[test]
    fn choices_come_back_from_json_as_they_were() {
        let choices = Choices {
            kernels: KernelChoice::Releases(vec!["6.1.0-56-amd64".into()]),
            mode: Mode::Optimized,
            source: SourceChoice::Sealed { sha256: "00".into(), name: "x.tar".into() },
            ..Choices::default()
        };
        let json = serde_json::to_value(&choices).unwrap();
        assert_eq!(Choices::from_json(&json).unwrap(), choices);
    }
}
