// SPDX-License-Identifier: GPL-3.0-or-later
//! Package managers of distributions: the arguments they are started with and what they say, pure; and what
//! is installed, asked through the [`Host`].
//!
//! A package is installed by exactly the version that was simulated, nothing is removed on the way, and
//! nothing is ever "automatically removed".

use crate::host::{Command, CommandError, Host, check_status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who installs packages on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PackageManager {
    /// `apt-get` (Debian, Ubuntu, Proxmox).
    Apt,
    /// `dnf` (Fedora and what comes of it).
    Dnf,
    /// `zypper` (openSUSE).
    Zypper,
    /// `pacman` (Arch).
    Pacman,
}

/// One package that a package manager would install or upgrade.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageChange {
    /// Its name, as the package manager takes it.
    pub name: String,
    /// The version that is installed.
    pub version: String,
    /// The version that is there now, for an upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// What a simulation said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simulation {
    /// Installed or upgraded, sorted by name.
    pub changes: Vec<PackageChange>,
    /// Removed, sorted.
    pub removed: Vec<String>,
}

/// How long a package manager may take: a slow mirror and many modules to build.
const LONG: Duration = Duration::from_secs(3 * 3600);
/// How long a question may take.
const SHORT: Duration = Duration::from_secs(300);

/// What every `apt-get` gets: waits for another one, asks nothing, keeps edited configuration files,
/// leaves no archives behind.
const APT: [&str; 8] = [
    "-o",
    "DPkg::Lock::Timeout=300",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "APT::Keep-Downloaded-Packages=false",
];

fn apt() -> Command {
    Command::new("apt-get")
        .args(APT)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("APT_LISTCHANGES_FRONTEND", "none")
        // Says which services are old, and restarts none.
        .env("NEEDRESTART_MODE", "l")
        .timeout(LONG)
}

/// Whether this can be the name of a package (Debian policy 5.6.1, with `:arch`; RPM and pacman allow `_`
/// and capitals as well).
pub fn is_name(name: &str) -> bool {
    name.len() <= 200
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._:".contains(&b))
}

impl PackageManager {
    /// The program, for people.
    pub fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Zypper => "zypper",
            Self::Pacman => "pacman",
        }
    }

    /// The one of this root, by its program; the first of apt, dnf, zypper, pacman.
    pub fn of(host: &Host) -> Option<Self> {
        [Self::Apt, Self::Dnf, Self::Zypper, Self::Pacman]
            .into_iter()
            .find(|m| host.root().exists(&format!("/usr/bin/{}", m.program())))
    }

    /// The command that says what an installation would do; `None` where there is none whose answer is
    /// made to be read by programs.
    pub fn simulate(self, packages: &[String]) -> Option<Command> {
        let command = match self {
            Self::Apt => apt().args(["-s", "install", "--no-install-recommends", "--"]),
            Self::Pacman => {
                Command::new("pacman").args(["-S", "--needed", "--print", "--print-format", "%n %v", "--"])
            }
            Self::Dnf | Self::Zypper => return None,
        };
        Some(command.args(packages.iter().cloned()).timeout(SHORT))
    }

    /// The command that installs these, of apt in just these versions.
    pub fn install(self, packages: &[String], versions: &BTreeMap<String, String>) -> Command {
        match self {
            Self::Apt => {
                let with_version = packages.iter().map(|p| match versions.get(p) {
                    Some(version) => format!("{p}={version}"),
                    None => p.clone(),
                });
                apt()
                    .args(["-y", "--no-remove", "--no-install-recommends", "install", "--"])
                    .args(with_version.collect::<Vec<_>>())
            }
            Self::Dnf => Command::new("dnf")
                .args(["install", "-y", "--setopt=install_weak_deps=False", "--"])
                .args(packages.iter().cloned())
                .timeout(LONG),
            Self::Zypper => Command::new("zypper")
                .args(["--non-interactive", "install", "--no-recommends", "--"])
                .args(packages.iter().cloned())
                .timeout(LONG),
            Self::Pacman => Command::new("pacman")
                .args(["-S", "--needed", "--noconfirm", "--"])
                .args(packages.iter().cloned())
                .timeout(LONG),
        }
    }

    /// The command that says what a removal would do; `None` where the removal itself refuses to take
    /// others along.
    pub fn simulate_removal(self, packages: &[String]) -> Option<Command> {
        (self == Self::Apt).then(|| {
            apt()
                .args(["-s", "-o", "APT::Get::AutomaticRemove=false", "purge", "--"])
                .args(packages.iter().cloned())
                .timeout(SHORT)
        })
    }

    /// The command that removes just these, with their configuration files where `purge`. RPM and pacman
    /// refuse when something else needs one of them.
    pub fn remove(self, packages: &[String], purge: bool) -> Command {
        let command = match self {
            Self::Apt => {
                let verb = if purge { "purge" } else { "remove" };
                apt().args(["-y", "-o", "APT::Get::AutomaticRemove=false", verb, "--"])
            }
            Self::Dnf | Self::Zypper => Command::new("rpm").args(["-e", "--"]),
            Self::Pacman => Command::new("pacman").args(["-R", "--noconfirm", "--"]),
        };
        command.args(packages.iter().cloned()).timeout(LONG)
    }

    fn query(self) -> Command {
        match self {
            Self::Apt => Command::new("dpkg-query")
                .args(["-W", "-f=${db:Status-Abbrev}\\t${binary:Package}\\t${Version}\\n"]),
            Self::Dnf | Self::Zypper => {
                Command::new("rpm").args(["-qa", "--qf", "ii \\t%{NAME}\\t%{VERSION}-%{RELEASE}\\n"])
            }
            Self::Pacman => Command::new("pacman").arg("-Q"),
        }
        .timeout(SHORT)
    }
}

/// Reads `apt-get -s`: `Inst NAME [OLD] (NEW ORIGIN [ARCH])`, `Remv`, `Purg`. Pure.
pub fn read_apt(said: &str) -> Simulation {
    let mut found = Simulation::default();
    for line in said.lines() {
        let Some((verb, rest)) = line.split_once(' ') else { continue };
        let Some(name) = rest.split_whitespace().next() else { continue };
        match verb {
            "Inst" => {
                let from = rest
                    .strip_prefix(name)
                    .and_then(|r| r.trim_start().strip_prefix('['))
                    .and_then(|r| r.split_once(']'))
                    .map(|(old, _)| old.to_owned());
                let version = rest.split_once('(').and_then(|(_, r)| r.split([' ', ')']).next());
                found.changes.push(PackageChange {
                    name: name.to_owned(),
                    version: version.unwrap_or_default().to_owned(),
                    from,
                });
            }
            "Remv" | "Purg" => found.removed.push(name.to_owned()),
            _ => {}
        }
    }
    found.changes.sort();
    found.changes.dedup();
    found.removed.sort();
    found.removed.dedup();
    found
}

/// Reads lines of `NAME VERSION`. Pure.
fn read_pairs(said: &str) -> BTreeMap<String, String> {
    let pair = |l: &str| {
        let (name, version) = l.trim().split_once(' ')?;
        is_name(name).then(|| (name.to_owned(), version.trim().to_owned()))
    };
    said.lines().filter_map(pair).collect()
}

/// What is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Wholly installed: name → version. A name without `:arch` where that is how dpkg calls it.
    pub versions: BTreeMap<String, String>,
    /// Removed, with configuration files left (dpkg's `rc`).
    pub leftovers: BTreeSet<String>,
    /// Neither: an installation that was interrupted.
    pub broken: BTreeSet<String>,
}

impl Installed {
    /// The version of a package, by its name with or without the architecture.
    pub fn version(&self, name: &str) -> Option<&str> {
        let plain = name.split(':').next().unwrap_or(name);
        let of = |n: &str| self.versions.get(n).map(String::as_str);
        of(name).or_else(|| of(plain)).or_else(|| {
            let qualified = self.versions.iter().find(|(n, _)| n.split(':').next() == Some(name));
            qualified.map(|(_, v)| v.as_str())
        })
    }
}

/// Reads what [`PackageManager::query`] printed. Pure.
fn read_installed(manager: PackageManager, said: &str) -> Installed {
    if manager == PackageManager::Pacman {
        return Installed { versions: read_pairs(said), ..Installed::default() };
    }
    let mut found = Installed::default();
    for line in said.lines() {
        let mut fields = line.split('\t');
        let (Some(status), Some(name), Some(version)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        // dpkg-query(1): wanted, state, error.
        match status.as_bytes().get(1) {
            Some(b'i') => {
                found.versions.insert(name.to_owned(), version.to_owned());
            }
            Some(b'c') => {
                found.leftovers.insert(name.to_owned());
            }
            Some(b'n') | None => {}
            Some(_) => {
                found.broken.insert(name.to_owned());
            }
        }
    }
    found
}

fn ask(host: &Host, command: Command) -> Result<String, String> {
    let Some(command) = host.tool(command) else {
        return Err("this root has no package manager of its own".to_owned());
    };
    let say = |e: CommandError| e.to_string();
    let output = host.runner().run(&command).map_err(say)?;
    check_status(&command, output).map(|o| o.stdout).map_err(say)
}

/// What is installed now.
///
/// # Errors
/// A sentence when the package manager cannot be asked.
pub fn installed(host: &Host, manager: PackageManager) -> Result<Installed, String> {
    ask(host, manager.query()).map(|said| read_installed(manager, &said))
}

/// What an installation would do; `None` where this package manager is not asked beforehand.
///
/// # Errors
/// A sentence with what the package manager said.
pub fn simulate(
    host: &Host,
    manager: PackageManager,
    packages: &[String],
) -> Result<Option<Simulation>, String> {
    let Some(command) = manager.simulate(packages) else { return Ok(None) };
    let said = ask(host, command)?;
    if manager == PackageManager::Apt {
        return Ok(Some(read_apt(&said)));
    }
    let there = installed(host, manager)?;
    let change = |(name, version): (String, String)| {
        let from = there.version(&name).map(str::to_owned);
        PackageChange { name, version, from }
    };
    Ok(Some(Simulation { changes: read_pairs(&said).into_iter().map(change).collect(), removed: Vec::new() }))
}

/// What a removal would take along beside these; nothing where the removal itself refuses.
///
/// # Errors
/// A sentence with what the package manager said.
pub fn others_removed(
    host: &Host,
    manager: PackageManager,
    packages: &[String],
) -> Result<Vec<String>, String> {
    let Some(command) = manager.simulate_removal(packages) else { return Ok(Vec::new()) };
    let mut removed = read_apt(&ask(host, command)?).removed;
    let plain = |n: &str| n.split(':').next().unwrap_or(n).to_owned();
    removed.retain(|r| !packages.iter().any(|p| plain(p) == plain(r)));
    Ok(removed)
}

/// The installed packages that these kernels' files belong to, and all that they depend on: none of them may
/// go while such a kernel runs. Empty where dpkg does not know the file.
///
/// # Errors
/// A sentence when the package manager cannot be asked.
pub fn of_kernel(host: &Host, manager: PackageManager, release: &str) -> Result<BTreeSet<String>, String> {
    if manager != PackageManager::Apt {
        return Ok(BTreeSet::new());
    }
    let owner = Command::new("dpkg-query").args(["-S", &format!("/boot/vmlinuz-{release}")]).timeout(SHORT);
    let Some(command) = host.tool(owner) else { return Ok(BTreeSet::new()) };
    let output = host.runner().run(&command).map_err(|e| e.to_string())?;
    let mut found: BTreeSet<String> = BTreeSet::new();
    for line in output.stdout.lines() {
        let names = line.split_once(": ").map_or("", |(names, _)| names);
        found.extend(names.split(", ").filter(|n| is_name(n)).map(str::to_owned));
    }
    if found.is_empty() {
        return Ok(found);
    }
    let depends = Command::new("dpkg-query")
        .args(["-W", "-f=${Package}\\t${Depends}, ${Pre-Depends}\\n"])
        .timeout(SHORT);
    let table = ask(host, depends)?;
    let needs: BTreeMap<&str, BTreeSet<&str>> = table
        .lines()
        .filter_map(|l| l.split_once('\t'))
        .map(|(p, d)| {
            let names = d.split([',', '|']).filter_map(|w| w.split_whitespace().next());
            (p, names.map(|n| n.split(':').next().unwrap_or(n)).collect())
        })
        .collect();
    let mut open: Vec<String> = found.iter().cloned().collect();
    while let Some(next) = open.pop() {
        for needed in needs.get(next.split(':').next().unwrap_or(&next)).into_iter().flatten() {
            if found.insert((*needed).to_owned()) {
                open.push((*needed).to_owned());
            }
        }
    }
    Ok(found)
}

/// Those of `packages` that APT has marked as installed automatically.
///
/// # Errors
/// A sentence when APT cannot be asked.
pub fn automatic(host: &Host, manager: PackageManager, packages: &[String]) -> Result<Vec<String>, String> {
    if manager != PackageManager::Apt || packages.is_empty() {
        return Ok(Vec::new());
    }
    let said = ask(host, Command::new("apt-mark").arg("showauto").timeout(SHORT))?;
    let auto: BTreeSet<&str> = said.lines().map(str::trim).collect();
    Ok(packages.iter().filter(|p| auto.contains(p.as_str())).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `apt-get -s install dkms` said on a Debian 12, shortened, and a removal.
    const SAID: &str = "\
NOTE: This is only a simulation!
Reading package lists...
The following NEW packages will be installed:
  dkms make
Remv oldthing [1.0-1]
Inst make (4.3-4.1 Debian:12.5/stable [amd64])
Inst libc6 [2.36-9+deb12u9] (2.36-9+deb12u10 Debian:12.9/stable [amd64]) []
Inst dkms (3.0.10-8+deb12u1 Debian:12.5/stable [all])
Conf make (4.3-4.1 Debian:12.5/stable [amd64])
Conf dkms (3.0.10-8+deb12u1 Debian:12.5/stable [all])
";

    #[test]
    fn a_simulation_of_apt_is_read_with_versions_old_and_new() {
        let found = read_apt(SAID);
        assert_eq!(found.removed, ["oldthing"]);
        let told: Vec<String> = found
            .changes
            .iter()
            .map(|c| format!("{} {} {}", c.name, c.version, c.from.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(
            told,
            ["dkms 3.0.10-8+deb12u1 -", "libc6 2.36-9+deb12u10 2.36-9+deb12u9", "make 4.3-4.1 -"]
        );
    }

    #[test]
    fn nothing_is_ever_upgraded_wholesale_or_removed_on_the_way() {
        let versions = [("dkms".to_owned(), "3.0".to_owned())].into();
        let shown = PackageManager::Apt.install(&["dkms".into(), "make".into()], &versions).display();
        assert!(
            shown.ends_with("-y --no-remove --no-install-recommends install -- dkms=3.0 make"),
            "{shown}"
        );
        for forbidden in ["upgrade", "autoremove", "--allow", "--force-yes"] {
            assert!(!shown.contains(forbidden), "{shown}");
        }
        let gone = PackageManager::Apt.remove(&["dkms".into()], true).display();
        assert!(gone.contains("APT::Get::AutomaticRemove=false purge -- dkms"), "{gone}");
    }

    #[test]
    fn states_of_dpkg_are_told_apart() {
        let found = read_installed(
            PackageManager::Apt,
            "ii \tdkms\t3.0\nrc \told\t1\niF \thalf\t2\nun \tnever\t\nii \tlibc6:amd64\t2.36\n",
        );
        assert_eq!(found.version("dkms"), Some("3.0"));
        assert_eq!(found.version("libc6"), Some("2.36"));
        assert_eq!(found.version("old"), None);
        assert!(found.leftovers.contains("old") && found.broken.contains("half"));
    }

    #[test]
    fn what_could_be_an_option_or_a_path_is_no_name() {
        for odd in ["-y", "--", "", "a b", "./x.deb", "/x", "a;b", "a=1"] {
            assert!(!is_name(odd), "{odd}");
        }
        for name in ["dkms", "g++", "libc6:amd64", "proxmox-headers-6.8.12-4-pve", "kernel-devel"] {
            assert!(is_name(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn readers_never_panic(text in "\\PC*") {
            let _ = read_apt(&text);
            let _ = read_installed(PackageManager::Apt, &text);
            let _ = read_installed(PackageManager::Pacman, &text);
        }

        #[test]
        fn readers_never_panic_on_lines_like_aptx(text in "(Inst|Remv|Purg) [a-z \\[\\]()0-9.]*") {
            let _ = read_apt(&text);
        }
    }
}
