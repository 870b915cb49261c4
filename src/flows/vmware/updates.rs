// SPDX-License-Identifier: GPL-3.0-or-later
//! Keeping the modules there across kernel updates: hooks of the distribution that call
//! `hostwright vmware kernel-event`, and the choices that they build with.
//!
//! Which hook a distribution calls: Debian's kernel packages run `/etc/kernel/postinst.d`, `postrm.d` and (headers)
//! `header_postinst.d` (Debian Kernel Handbook, 4.2); `kernel-install(8)` runs `/etc/kernel/install.d` on Fedora and
//! RHEL; pacman runs `/etc/pacman.d/hooks` (alpm-hooks(5)); Gentoo's installkernel runs either of the first two.

use super::FLOW;
use super::choices::{Choices, KernelChoice, SourceChoice, UpdateChoice};
use super::facts::VmwareFacts;
use crate::detect::Family;
use crate::engine::Step;
use crate::engine::plan::{Refusal, Warning};
use crate::engine::steps::{RemoveFile, WriteFile};
use crate::host::Root;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The choices that hooks build with: a profile.
pub const PROFILE: &str = "/etc/hostwright/vmware.json";

/// What the last event of each kernel led to: `RELEASE.json`.
pub const OUTCOMES: &str = "/var/lib/hostwright/updates";

const INSTALLED: &str = include_str!("../../../data/hooks/kernel-installed.sh");
const REMOVED: &str = include_str!("../../../data/hooks/kernel-removed.sh");
const KERNEL_INSTALL: &str = include_str!("../../../data/hooks/kernel-install.sh");
const PACMAN: &str = include_str!("../../../data/hooks/pacman.hook");

/// Who calls a hook when kernels come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Updater {
    /// The kernel packages of Debian and its descendants.
    KernelPackages,
    /// kernel-install(8).
    KernelInstall,
    /// pacman.
    Pacman,
}

impl Updater {
    /// Who does so on a system of this family; `None` when it is not known.
    pub fn of(family: Family, root: &Root) -> Option<Self> {
        match family {
            Family::Debian | Family::Ubuntu | Family::Proxmox => Some(Self::KernelPackages),
            Family::Fedora | Family::Rhel => Some(Self::KernelInstall),
            Family::Arch => Some(Self::Pacman),
            Family::Gentoo if root.exists("/etc/kernel/postinst.d") => Some(Self::KernelPackages),
            Family::Gentoo if root.exists("/usr/lib/kernel/install.d") => Some(Self::KernelInstall),
            _ => None,
        }
    }

    /// Path, text, mode and reason of each hook.
    fn hooks(self) -> Vec<(&'static str, &'static str, u32, &'static str)> {
        let builds = "builds the modules when a kernel is installed";
        match self {
            Self::KernelPackages => vec![
                ("/etc/kernel/postinst.d/zz-hostwright", INSTALLED, 0o755, builds),
                (
                    "/etc/kernel/header_postinst.d/zz-hostwright",
                    INSTALLED,
                    0o755,
                    "builds the modules when a kernel's headers are installed",
                ),
                (
                    "/etc/kernel/postrm.d/zz-hostwright",
                    REMOVED,
                    0o755,
                    "removes the modules when their kernel is removed",
                ),
            ],
            Self::KernelInstall => {
                vec![("/etc/kernel/install.d/95-hostwright.install", KERNEL_INSTALL, 0o755, builds)]
            }
            Self::Pacman => vec![("/etc/pacman.d/hooks/95-hostwright.hook", PACMAN, 0o644, builds)],
        }
    }
}

/// Every file that a plan may write or remove here.
pub fn paths() -> impl Iterator<Item = &'static str> {
    [Updater::KernelPackages, Updater::KernelInstall, Updater::Pacman]
        .into_iter()
        .flat_map(|u| u.hooks().into_iter().map(|(path, ..)| path))
        .chain([PROFILE])
}

/// The steps that set the hooks up, or take away those that are there.
///
/// # Errors
/// A refusal when hooks cannot do what is asked.
pub(super) fn steps(
    choices: &Choices,
    facts: &VmwareFacts,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Step>, Refusal> {
    let there = |path: &str| facts.files.get(path).and_then(Option::as_deref);
    match choices.updates {
        UpdateChoice::Keep => Ok(Vec::new()),
        UpdateChoice::Never => Ok(paths()
            .filter(|path| there(path).is_some())
            .map(|path| {
                Step::RemoveFile(RemoveFile {
                    path: path.to_owned(),
                    reason: "no modules are built any more when kernels are installed; kept in the journal"
                        .to_owned(),
                })
            })
            .collect()),
        UpdateChoice::Hook => {
            if let SourceChoice::Sealed { name, .. } = &choices.source {
                return Err(Refusal::new(
                    "sources-not-kept",
                    format!(
                        "A kernel update cannot build from {name}: sources that are given by hand are not kept."
                    ),
                    "Install the sources where the product has them (/usr/lib/vmware/modules/source), or leave \
                     --on-kernel-update out.",
                ));
            }
            let Some(updater) = facts.updater else {
                warnings.push(Warning {
                    message: format!(
                        "It is not known how {} tells that a kernel was installed.",
                        facts.system
                    ),
                    remedy: Some(
                        "Run `hostwright vmware rebuild --kernel RELEASE` after kernel updates.".to_owned(),
                    ),
                });
                return Ok(Vec::new());
            };
            let profile = profile(choices);
            let mut wanted: Vec<(&str, &str, u32, &str)> =
                vec![(PROFILE, &profile, 0o644, "what modules are built with when a kernel is installed")];
            wanted.extend(updater.hooks());
            Ok(wanted
                .into_iter()
                .filter(|(path, text, ..)| there(path) != Some(*text))
                .map(|(path, text, mode, reason)| {
                    Step::WriteFile(WriteFile {
                        path: path.to_owned(),
                        content: text.to_owned(),
                        mode,
                        reason: reason.to_owned(),
                    })
                })
                .collect())
        }
    }
}

/// The profile that hooks build with: these choices, without what is for now and this kernel only.
fn profile(choices: &Choices) -> String {
    let kept = Choices {
        kernels: KernelChoice::default(),
        updates: UpdateChoice::Keep,
        enroll: false,
        ..choices.clone()
    };
    let document =
        serde_json::json!({ "version": 1, "name": "kernel-updates", "flow": FLOW, "choices": kept });
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// What an event of a kernel led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The kernel.
    pub release: String,
    /// When.
    #[schemars(with = "String")]
    pub at: jiff::Timestamp,
    /// Whether all went well.
    pub good: bool,
    /// In a sentence or two.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The outcomes that are kept, of kernels that are still there. Those that cannot be read are left out: they are for
/// information.
pub fn outcomes(root: &Root) -> Vec<Outcome> {
    let Ok(entries) = root.list(OUTCOMES) else { return Vec::new() };
    let mut all: Vec<Outcome> = entries
        .iter()
        .filter(|e| e.name.ends_with(".json"))
        .filter_map(|e| root.read_at_most(&format!("{OUTCOMES}/{}", e.name), 64 << 10).ok())
        .filter_map(|bytes| serde_json::from_slice::<Outcome>(&bytes).ok())
        .filter(|o| root.exists(&format!("/lib/modules/{}", o.release)))
        .collect();
    all.sort_by_key(|o| std::cmp::Reverse(o.at));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(updater: Option<Updater>) -> VmwareFacts {
        VmwareFacts { system: "Debian".into(), updater, ..VmwareFacts::default() }
    }

    fn hook() -> Choices {
        Choices { updates: UpdateChoice::Hook, ..Choices::default() }
    }

    fn written(steps: &[Step]) -> Vec<(&str, &str)> {
        steps
            .iter()
            .map(|s| match s {
                Step::WriteFile(w) => (w.path.as_str(), w.content.as_str()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_is_written_is_not_written_again_and_goes_when_it_is_not_wanted() {
        let mut facts = facts(Some(Updater::KernelPackages));
        let steps_before = steps(&hook(), &facts, &mut vec![]).unwrap();
        assert_eq!(written(&steps_before).len(), 4);
        for (path, text) in written(&steps_before) {
            facts.files.insert(path.to_owned(), Some(text.to_owned()));
        }
        assert_eq!(steps(&hook(), &facts, &mut vec![]).unwrap(), []);
        let never = Choices { updates: UpdateChoice::Never, ..Choices::default() };
        assert_eq!(steps(&never, &facts, &mut vec![]).unwrap().len(), 4);
        assert_eq!(steps(&Choices::default(), &facts, &mut vec![]).unwrap(), [], "nobody asked");
    }

    #[test]
    fn the_profile_of_the_hooks_is_for_any_kernel_and_sets_up_no_hooks_itself() {
        let choices = Choices { kernels: KernelChoice::Releases(vec!["6.1".into()]), enroll: true, ..hook() };
        let document: serde_json::Value = serde_json::from_str(&profile(&choices)).unwrap();
        let kept = Choices::from_json(&document["choices"]).unwrap();
        assert_eq!(
            (kept.kernels, kept.updates, kept.enroll),
            (KernelChoice::Running, UpdateChoice::Keep, false)
        );
    }

    #[test]
    fn sources_that_are_not_kept_are_no_base_for_hooks() {
        let source = SourceChoice::Sealed { sha256: "00".into(), name: "x.tar".into() };
        let choices = Choices { source, ..hook() };
        let refusal = steps(&choices, &facts(Some(Updater::Pacman)), &mut vec![]).unwrap_err();
        assert_eq!(refusal.code, "sources-not-kept");
    }

    #[test]
    fn a_system_whose_updates_are_not_known_is_told_what_to_do_by_hand() {
        let mut warnings = vec![];
        assert_eq!(steps(&hook(), &facts(None), &mut warnings).unwrap(), []);
        assert!(warnings[0].remedy.as_ref().unwrap().contains("rebuild"));
    }
}
