// SPDX-License-Identifier: GPL-3.0-or-later
//! Keeping the modules there across kernel updates: hooks of the distribution that call
//! `hostwright vmware kernel-event`, and the choices that they build with.
//!
//! Which hook a distribution calls: Debian's kernel packages run `/etc/kernel/postinst.d`, `postrm.d` and (headers)
//! `header_postinst.d` (Debian Kernel Handbook, 4.2); `kernel-install(8)` runs `/etc/kernel/install.d` on Fedora and
//! RHEL; pacman runs `/etc/pacman.d/hooks` (alpm-hooks(5)); Gentoo's installkernel runs either of the first two.

use super::choices::{Choices, KernelChoice, SourceChoice, UpdateChoice};
use super::dkms;
use super::facts::VmwareFacts;
use crate::detect::Family;
use crate::engine::Step;
use crate::engine::plan::{Note, Refusal, Warning};
use crate::engine::steps::{RemoveFile, WriteFile};
use crate::flows::profile::Profile;
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
        .chain(dkms::files().into_iter().map(|(path, ..)| path))
        .chain([PROFILE])
}

/// Why the way that was picked, and what the other one would be.
pub(super) fn explained(updates: UpdateChoice, facts: &VmwareFacts) -> Option<Note> {
    let dkms = facts.dkms.as_ref()?;
    let text = match updates {
        UpdateChoice::Hook if dkms.installed => {
            "By the distribution's hooks: a kernel's installation never fails by them, and `hostwright status` tells what \
             came of it. DKMS is installed here too: --on-kernel-update dkms has it build and sign with its own key, \
             as for other modules; a module that cannot be built then is an error of the kernel's installation."
        }
        UpdateChoice::Hook => {
            "By the distribution's hooks: a kernel's installation never fails by them, and `hostwright status` tells what \
             came of it."
        }
        UpdateChoice::Dkms => {
            "By DKMS, which calls Hostwright to build in the sandbox and signs with its own key. A module that cannot be \
             built is an error of the kernel's installation, as with all of DKMS; with --on-kernel-update hook it never \
             is."
        }
        UpdateChoice::Keep | UpdateChoice::Never => return None,
    };
    Some(Note { topic: "kernel updates".to_owned(), text: text.to_owned(), diff: None })
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
        UpdateChoice::Never => {
            let registration = facts.dkms.as_ref().and_then(dkms::registration);
            let files = paths().filter(|path| there(path).is_some());
            let reason = "no modules are built any more when kernels are installed; kept in the journal";
            Ok(registration.into_iter().chain(files).map(|path| removed(path, reason)).collect())
        }
        UpdateChoice::Dkms => {
            refuse_sealed(choices)?;
            let hooks = paths().filter(|p| *p != PROFILE && dkms::files().iter().all(|(f, ..)| f != p));
            let reason = "DKMS builds the modules from now on; kept in the journal";
            let mut steps: Vec<Step> =
                hooks.filter(|p| there(p).is_some()).map(|p| removed(p, reason)).collect();
            let profile = profile(choices);
            let why = "what modules are built with when a kernel is installed";
            let mut wanted = vec![(PROFILE, profile.as_str(), why)];
            wanted.extend(dkms::files());
            let wanted = wanted.into_iter().filter(|(path, text, _)| there(path) != Some(*text));
            steps.extend(wanted.map(|(path, text, reason)| {
                Step::WriteFile(WriteFile {
                    path: path.to_owned(),
                    content: text.to_owned(),
                    mode: 0o644,
                    reason: reason.to_owned(),
                })
            }));
            Ok(steps)
        }
        UpdateChoice::Hook => {
            refuse_sealed(choices)?;
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

fn removed(path: &str, reason: &str) -> Step {
    Step::RemoveFile(RemoveFile { path: path.to_owned(), reason: reason.to_owned() })
}

fn refuse_sealed(choices: &Choices) -> Result<(), Refusal> {
    let SourceChoice::Sealed { name, .. } = &choices.source else { return Ok(()) };
    Err(Refusal::new(
        "sources-not-kept",
        format!("A kernel update cannot build from {name}: sources that are given by hand are not kept."),
        "Install the sources where the product has them (/usr/lib/vmware/modules/source), or leave \
         --on-kernel-update out.",
    ))
}

/// The profile that hooks build with: these choices, without what is for now and this kernel only.
fn profile(choices: &Choices) -> String {
    let kept = Choices {
        kernels: KernelChoice::default(),
        updates: UpdateChoice::Keep,
        enroll: false,
        ..choices.clone()
    };
    Profile::for_vmware("kernel-updates", kept).text()
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
        let kept = Profile::from_bytes(profile(&choices).as_bytes()).unwrap().flows.vmware.unwrap();
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
