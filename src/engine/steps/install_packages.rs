// SPDX-License-Identifier: GPL-3.0-or-later
//! Install packages of the distribution.

use super::{Action, preview::preview};
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome, Level};
use crate::engine::packages::{self, PackageChange, PackageManager, is_name};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Install packages in just the versions that were simulated when the plan was made. A simulation right
/// before must say the same, or nothing is done. Undo removes what is new since, and nothing else: nothing
/// that another package needs by now, nothing of the running kernel, nothing "automatically".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallPackages {
    /// Who installs them.
    pub manager: PackageManager,
    /// Names of what is wanted.
    pub packages: Vec<String>,
    /// All that is installed or upgraded for it, dependencies too, as simulated. `None` when that could not
    /// be known yet (the lists of packages change in this very plan, or this package manager does not
    /// say): it is then told when the step begins, and nothing may be removed.
    pub expected: Option<Vec<PackageChange>>,
    /// Why, for people.
    pub reason: String,
}

/// What programs of a package write at their first use, and its removal leaves (dkms(8), "mok_signing_key"): folders
/// behind what they hold.
const LEFT_BEHIND: [(&str, &[&str], &str); 1] =
    [("dkms", &["/var/lib/dkms/mok.key", "/var/lib/dkms/mok.pub"], "/var/lib/dkms")];

/// What the step keeps.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    /// Packages that come new: what undo removes, when they are there.
    new: Vec<String>,
    /// All that was installed before, where no simulation said what is new.
    #[serde(default)]
    there: Option<BTreeSet<String>>,
    /// Of the new ones those that had left configuration files before: these stay.
    #[serde(default)]
    leftovers: BTreeSet<String>,
    /// Of the wanted ones those that were there, marked as automatically installed.
    #[serde(default)]
    automatic: Vec<String>,
    /// The version of each change.
    #[serde(default)]
    versions: BTreeMap<String, String>,
    /// Of what packages leave behind that which was not there before.
    #[serde(default)]
    absent: BTreeSet<String>,
}

impl Kept {
    fn of(before: &Before) -> Self {
        serde_json::from_value(before.data.clone()).unwrap_or_default()
    }
}

/// A kernel is in the package: then it is a matter of how the machine starts, too.
fn is_kernel(name: &str) -> bool {
    ["proxmox-kernel-", "pve-kernel-", "linux-image-", "proxmox-default-kernel"]
        .iter()
        .any(|p| name.starts_with(p))
}

fn could_not(reason: String) -> StepError {
    StepError::refused(
        reason,
        "see what the package manager says when it is run by hand, mend it and try again",
    )
}

fn list(changes: &[PackageChange]) -> String {
    let one = |c: &PackageChange| match &c.from {
        Some(from) => format!("{} {from} → {}", c.name, c.version),
        None => format!("{} {}", c.name, c.version),
    };
    changes.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl InstallPackages {
    fn upgraded(&self) -> Vec<&str> {
        let changes = self.expected.iter().flatten();
        changes.filter(|c| c.from.is_some()).map(|c| c.name.as_str()).collect()
    }

    /// What would be done now, if the package manager says so.
    fn simulate(&self, ctx: &Context<'_>) -> Result<Option<Vec<PackageChange>>, StepError> {
        let found = packages::simulate(ctx.host(), self.manager, &self.packages).map_err(could_not)?;
        let Some(simulated) = found else { return Ok(None) };
        if !simulated.removed.is_empty() {
            return Err(StepError::refused(
                format!(
                    "installing {} would remove {}, and nothing is removed to install something",
                    self.packages.join(", "),
                    simulated.removed.join(", ")
                ),
                "look at why they exclude each other; remove them yourself if they are not needed",
            ));
        }
        match &self.expected {
            Some(expected) if *expected != simulated.changes => Err(StepError::refused(
                format!(
                    "the packages that would be installed are no longer those of the plan (now: {})",
                    if simulated.changes.is_empty() { "none".into() } else { list(&simulated.changes) }
                ),
                "look again: make the plan anew",
            )),
            Some(_) => Ok(Some(simulated.changes)),
            None => {
                ctx.say(
                    Level::Note,
                    format!("{} installs: {}", self.manager.program(), list(&simulated.changes)),
                );
                Ok(Some(simulated.changes))
            }
        }
    }

    fn kept(&self, ctx: &Context<'_>) -> Result<Kept, StepError> {
        let there = packages::installed(ctx.host(), self.manager).map_err(could_not)?;
        if let Some(broken) = there.broken.first() {
            return Err(StepError::refused(
                format!("the package {broken} is installed by half"),
                "run `dpkg --configure -a` and `apt-get -f install`, and try again",
            ));
        }
        let present: Vec<String> =
            self.packages.iter().filter(|p| there.version(p).is_some()).cloned().collect();
        let automatic = packages::automatic(ctx.host(), self.manager, &present).map_err(could_not)?;
        let Some(changes) = self.simulate(ctx)? else {
            let there = there.versions.into_keys().collect();
            return Ok(Kept { there: Some(there), automatic, ..Kept::default() });
        };
        let new: Vec<String> = changes.iter().filter(|c| c.from.is_none()).map(|c| c.name.clone()).collect();
        let leftovers = new.iter().filter(|n| there.leftovers.contains(*n)).cloned().collect();
        let versions = changes.into_iter().map(|c| (c.name, c.version)).collect();
        Ok(Kept { new, leftovers, automatic, versions, ..Kept::default() })
    }
}

impl Action for InstallPackages {
    fn title(&self) -> String {
        match self.packages.as_slice() {
            [one] => format!("Install the package {one}"),
            many => format!("Install the packages {}", many.join(", ")),
        }
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        let mut needed = BTreeSet::from([Permission::PackagesInstall]);
        let changes = self.expected.iter().flatten().map(|c| &c.name);
        if self.packages.iter().chain(changes).any(|n| is_kernel(n)) {
            needed.insert(Permission::BootConfigure);
        }
        needed
    }

    fn reversal(&self) -> Reversal {
        let upgraded = self.upgraded();
        if upgraded.is_empty() {
            return Reversal::Full;
        }
        Reversal::Partial { what: format!("newer versions stay: {}", upgraded.join(", ")) }
    }

    fn weight(&self) -> u32 {
        600
    }

    fn preview(&self, _host: &Host) -> StepPreview {
        let command = self.manager.install(&self.packages, &BTreeMap::new());
        let files = match &self.expected {
            Some(changes) => changes
                .iter()
                .map(|c| FileChange {
                    path: format!("package {}", c.name),
                    diff: match &c.from {
                        Some(from) => format!("{from} becomes {}", c.version),
                        None => format!("new, {}", c.version),
                    },
                })
                .collect(),
            None => vec![FileChange {
                path: "packages that these need".into(),
                diff: "told when the step begins; nothing is removed for them".into(),
            }],
        };
        preview(self, &[command], files)
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        if let Some(odd) = self.packages.iter().find(|p| !is_name(p)) {
            return Err(StepError::refused(
                format!("`{}` is no name of a package", odd.escape_debug()),
                "make the plan again; if it still says so, report it",
            ));
        }
        let mut kept = self.kept(ctx)?;
        let root = ctx.host().root();
        kept.absent = LEFT_BEHIND
            .iter()
            .flat_map(|(_, files, folder)| files.iter().chain([folder]))
            .filter(|path| root.symlink_metadata(path).is_err_and(|e| e.is_not_found()))
            .map(|path| (*path).to_owned())
            .collect();
        Ok(Before { data: serde_json::to_value(kept).unwrap_or_default(), ..Before::default() })
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        let kept = self.kept(ctx)?;
        if kept.there.is_none() && kept.versions.is_empty() {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        ctx.tool(self.manager.install(&self.packages, &kept.versions))?;
        let now = packages::installed(ctx.host(), self.manager).map_err(could_not)?;
        let new: Vec<&String> = match &kept.there {
            Some(there) => now.versions.keys().filter(|n| !there.contains(*n)).collect(),
            None => kept.new.iter().filter(|n| now.version(n).is_some()).collect(),
        };
        let data = serde_json::json!({ "new": new });
        Ok(Applied { data, ..Applied::default() })
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let there = packages::installed(ctx.host(), self.manager);
        let check = |name: &String| {
            let wanted = self.expected.iter().flatten().find(|c| c.name == *name);
            let outcome = match &there {
                Err(e) => CheckOutcome::CouldNotLook { reason: e.clone() },
                Ok(there) => match (there.version(name), wanted) {
                    (Some(version), Some(wanted)) if version != wanted.version => CheckOutcome::Bad {
                        reason: format!("version {version} is, instead of {}", wanted.version),
                    },
                    (Some(_), _) => CheckOutcome::Good,
                    (None, _) => CheckOutcome::Bad {
                        reason:
                            "the package manager succeeded, and it is not; install it by hand and look at \
                                 what is said"
                                .into(),
                    },
                },
            };
            Check { what: format!("{name} is installed"), outcome }
        };
        self.packages.iter().map(check).collect()
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, after: Option<&After>) -> Result<(), StepError> {
        let kept = Kept::of(before);
        let manager = self.manager;
        if manager == PackageManager::Apt && ctx.host().root().exists("/usr/bin/dpkg") {
            // What an interrupted installation left is finished first, or nothing can be removed.
            let there = packages::installed(ctx.host(), manager).map_err(could_not)?;
            if !there.broken.is_empty() {
                let finish =
                    Command::new("dpkg").args(["--configure", "-a", "--force-confdef", "--force-confold"]);
                ctx.tool(finish.env("DEBIAN_FRONTEND", "noninteractive"))?;
            }
        }
        let there = packages::installed(ctx.host(), manager).map_err(could_not)?;
        let new: Vec<String> = match (after, &kept.there) {
            (Some(after), _) => serde_json::from_value(after.data["new"].clone()).unwrap_or_default(),
            (None, None) => kept.new.clone(),
            (None, Some(then)) => there.versions.keys().filter(|n| !then.contains(*n)).cloned().collect(),
        };
        let mut gone: Vec<String> = new.into_iter().filter(|n| there.version(n).is_some()).collect();
        self.spare_running_kernel(ctx, &mut gone)?;
        if !gone.is_empty() {
            let others = packages::others_removed(ctx.host(), manager, &gone).map_err(could_not)?;
            if !others.is_empty() {
                return Err(StepError::refused(
                    format!(
                        "{} need what this run installed, and would be removed with it",
                        others.join(", ")
                    ),
                    "remove them yourself if they are not needed, or keep this run",
                ));
            }
            let (kept_files, purged): (Vec<_>, Vec<_>) =
                gone.into_iter().partition(|n| kept.leftovers.contains(n));
            for (names, purge) in [(&purged, true), (&kept_files, false)] {
                if !names.is_empty() {
                    ctx.tool(manager.remove(names, purge))?;
                }
            }
            clear(ctx.host(), &kept.absent, &purged)?;
        }
        if !kept.automatic.is_empty() {
            ctx.tool(Command::new("apt-mark").arg("auto").args(kept.automatic))?;
        }
        Ok(())
    }
}

/// Removes what packages that are gone left behind, where nothing of it was there before and nothing else lies with it.
fn clear(host: &Host, absent: &BTreeSet<String>, gone: &[String]) -> Result<(), StepError> {
    let root = host.root();
    for (package, files, folder) in LEFT_BEHIND {
        if !gone.iter().any(|g| g == package) || !files.iter().all(|f| absent.contains(*f)) {
            continue;
        }
        let Ok(there) = root.list(folder) else { continue };
        let path = |name: &str| format!("{folder}/{name}");
        if !there.iter().all(|e| files.contains(&path(&e.name).as_str())) {
            continue;
        }
        for entry in there {
            root.remove_file(&path(&entry.name))?;
        }
        if absent.contains(folder) {
            root.remove_dir(folder)?;
        }
    }
    Ok(())
}

impl InstallPackages {
    /// Takes out of `gone` what the running kernel is or needs.
    fn spare_running_kernel(&self, ctx: &mut Context<'_>, gone: &mut Vec<String>) -> Result<(), StepError> {
        if !ctx.host().is_machine() {
            return Ok(());
        }
        let running = ctx.host().root().read_text("/proc/sys/kernel/osrelease").unwrap_or_default();
        let running = running.trim();
        if running.is_empty() {
            return Err(StepError::refused(
                "which kernel runs could not be read from /proc/sys/kernel/osrelease",
                "mount /proc and undo again",
            ));
        }
        let needed = packages::of_kernel(ctx.host(), self.manager, running).map_err(could_not)?;
        let plain = |n: &str| n.split(':').next().unwrap_or(n).to_owned();
        let spared: Vec<String> = gone.iter().filter(|n| needed.contains(&plain(n))).cloned().collect();
        if spared.is_empty() {
            return Ok(());
        }
        gone.retain(|n| !spared.contains(n));
        ctx.note(format!(
            "{} stay installed: the running kernel {running} needs them; start another kernel and remove them by hand",
            spared.join(", ")
        ));
        Ok(())
    }
}

#[cfg(test)]
#[path = "install_packages_tests.rs"]
mod tests;
