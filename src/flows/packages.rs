// SPDX-License-Identifier: GPL-3.0-or-later
//! Packages of the distribution, for every flow that wants some: what their installation would do here
//! ([`PackageFacts`], gathered), and the step that does just that ([`steps`], pure).

use crate::detect::Finding;
use crate::engine::Step;
use crate::engine::packages::{self, PackageChange, PackageManager};
use crate::engine::plan::Refusal;
use crate::engine::steps::InstallPackages;
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an installation of some packages would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageFacts {
    /// Who installs packages; `None` when nothing known does.
    pub manager: Option<PackageManager>,
    /// The packages asked for.
    pub wanted: Vec<String>,
    /// Those of them that are not installed.
    pub missing: Finding<Vec<String>>,
    /// All that would be installed or upgraded, by a simulation; `None` where this package manager is not
    /// asked beforehand. Could not be looked at: one of them is not to be had here.
    pub changes: Finding<Option<Vec<PackageChange>>>,
    /// What would be removed for it.
    pub removed: Vec<String>,
}

impl PackageFacts {
    /// Nothing is asked for.
    pub fn nothing() -> Self {
        Self {
            manager: None,
            wanted: Vec::new(),
            missing: Finding::Seen(Vec::new()),
            changes: Finding::Seen(Some(Vec::new())),
            removed: Vec::new(),
        }
    }
}

/// Looks what installing these would do. Reads only.
pub fn gather(host: &Host, wanted: &[String]) -> PackageFacts {
    let mut facts = PackageFacts { wanted: wanted.to_vec(), ..PackageFacts::nothing() };
    if wanted.is_empty() {
        return facts;
    }
    let Some(manager) = PackageManager::of(host) else {
        facts.missing = Finding::unseen("no package manager that is known is here");
        return facts;
    };
    facts.manager = Some(manager);
    facts.missing = match packages::installed(host, manager) {
        Ok(there) => Finding::Seen(wanted.iter().filter(|p| there.version(p).is_none()).cloned().collect()),
        Err(why) => Finding::unseen(why),
    };
    if facts.missing.seen().is_some_and(Vec::is_empty) {
        return facts;
    }
    facts.changes = match packages::simulate(host, manager, wanted) {
        Ok(Some(simulated)) => {
            facts.removed = simulated.removed;
            Finding::Seen(Some(simulated.changes))
        }
        Ok(None) => Finding::Seen(None),
        Err(why) => Finding::unseen(why),
    };
    facts
}

/// The step that installs what is missing; none when all is there. Pure.
///
/// # Errors
/// A refusal when no package manager is known here, when something would be removed, or when one of the
/// packages is not to be had and `later` is false. With `later` (APT's sources change in the same plan) the
/// step then simulates by itself when it begins.
pub fn steps(facts: &PackageFacts, later: bool, reason: &str) -> Result<Vec<Step>, Refusal> {
    let missing = match &facts.missing {
        Finding::Seen(missing) if missing.is_empty() => return Ok(Vec::new()),
        Finding::Seen(missing) => missing.clone(),
        Finding::CouldNotLook { .. } => facts.wanted.clone(),
    };
    let Some(manager) = facts.manager else {
        return Err(Refusal::new(
            "no-package-manager",
            format!("{} are needed, and no package manager that is known is here.", missing.join(", ")),
            "Install them yourself and look again.",
        ));
    };
    if !facts.removed.is_empty() {
        return Err(Refusal::new(
            "packages-would-be-removed",
            format!("Installing {} would remove {}.", missing.join(", "), facts.removed.join(", ")),
            "Look at why they exclude each other; nothing is removed to install something.",
        ));
    }
    let expected = match &facts.changes {
        _ if later => None,
        Finding::Seen(changes) => changes.clone(),
        Finding::CouldNotLook { why } => {
            return Err(Refusal::new(
                "packages-not-to-be-had",
                format!("What installing {} does could not be simulated: {why}.", missing.join(", ")),
                "Fetch the lists of packages (as `apt-get update` does), look at the sources, and look again.",
            ));
        }
    };
    let reason = reason.to_owned();
    Ok(vec![Step::InstallPackages(InstallPackages { manager, packages: missing, expected, reason })])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKind;
    use crate::host::fake::{FakeRunner, host};
    use std::sync::Arc;

    fn look(simulated: &str, wanted: &[&str]) -> PackageFacts {
        let dir = tempfile::tempdir().unwrap();
        let runner = FakeRunner::new().ok("dpkg-query", "ii \tmake\t4.3\n").ok("apt-get", simulated);
        let host = host(dir.path(), Arc::new(runner), HostKind::Machine).unwrap();
        host.root().create_dirs("/usr/bin", 0o755).unwrap();
        host.root().write("/usr/bin/apt-get", b"", 0o755, None).unwrap();
        gather(&host, &wanted.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_is_missing_is_asked_for_and_all_that_comes_with_it_is_told() {
        let facts = look("Inst dkms (3 D [all])\nInst gcc (12 D [amd64])\n", &["dkms", "make"]);
        let steps = steps(&facts, false, "why").unwrap();
        let [Step::InstallPackages(install)] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!(install.packages, ["dkms"]);
        assert_eq!(install.expected.as_ref().unwrap().len(), 2);
    }

    #[test]
    fn a_plan_that_would_remove_something_is_refused() {
        let facts = look("Remv proxmox-ve [8]\nInst dkms (3 D [all])\n", &["dkms"]);
        assert_eq!(steps(&facts, false, "").unwrap_err().code, "packages-would-be-removed");
    }

    #[test]
    fn all_there_is_nothing_to_do() {
        assert_eq!(steps(&look("", &["make"]), false, "").unwrap(), []);
    }
}
