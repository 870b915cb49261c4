// SPDX-License-Identifier: GPL-3.0-or-later
//! Which kernel the package manager is about to install, and how its packages become a tree in a private folder. Nothing
//! of the machine is changed.

use crate::cli::look::clean;
use crate::cli::session::Session;
use crate::flows::vmware::next;
use crate::flows::vmware::offers::{Manager, Offer};
use crate::host::{Command, Host};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a download may take.
const DOWNLOAD: Duration = Duration::from_secs(30 * 60);

/// What the machine's package manager is about to install; or why that is not known.
pub(super) fn all(host: &Host, package: Option<&str>) -> Result<Vec<Offer>, String> {
    if !host.is_machine() {
        return Err("On a directory tree nothing is downloaded: only its installed kernels were looked at."
            .to_owned());
    }
    let root = host.root();
    if root.exists("/usr/bin/apt-cache") && root.exists("/usr/bin/dpkg-query") {
        return apt(host, package);
    }
    match Manager::of(|program| root.exists(program)) {
        Some(manager) => of_manager(host, manager, package),
        None => Err("Which kernel comes next is known where apt, dnf, zypper or pacman is. With another package manager \
                     install it, and look again before you boot it."
            .to_owned()),
    }
}

/// What dnf, zypper or pacman is about to install.
fn of_manager(host: &Host, manager: Manager, package: Option<&str>) -> Result<Vec<Offer>, String> {
    let root = host.root();
    let missing = manager.needs().iter().find(|(program, _)| !root.exists(program));
    if let Some((program, package)) = missing {
        return Err(format!("{program} is needed to look at the kernel that comes next; install {package}."));
    }
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let ask = manager.ask(folder.path());
    let output = host.runner().run(&ask).map_err(|e| e.to_string())?;
    if !manager.answered(output.code) {
        let said = output.stderr.lines().next_back().unwrap_or("it said nothing");
        return Err(format!("`{}` did not tell what comes next: {}", ask.display(), clean(said)));
    }
    let mut offers = manager.read(&output.stdout);
    offers.retain(|offer| !root.exists(&format!("/lib/modules/{}/kernel", offer.release)));
    match package {
        None => Ok(offers),
        Some(name) => {
            offers.retain(|offer| offer.package == name);
            if offers.is_empty() {
                Err(format!("Nothing newer comes of `{}`.", clean(name)))
            } else {
                Ok(offers)
            }
        }
    }
}

/// What apt offers that is not installed.
fn apt(host: &Host, package: Option<&str>) -> Result<Vec<Offer>, String> {
    let root = host.root();
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status} ${Package}\\n"])
        .args(next::PATTERNS);
    let packages = match package {
        Some(name) if !next::is_part(name) && name != "proxmox-default-kernel" => {
            return Err(format!("`{}` is no package that brings kernels.", clean(name)));
        }
        Some(name) => vec![name.to_owned()],
        // It ends with 1 when one of the patterns fits nothing.
        None => next::metapackages(&host.runner().run(&query).map(|o| o.stdout).map_err(|e| e.to_string())?),
    };
    if packages.is_empty() {
        return Err(
            "No package that brings new kernels is installed (linux-image-amd64 or the like), so that none \
                    comes by itself. Name one with --package."
                .to_owned(),
        );
    }
    let mut offers: Vec<Offer> = Vec::new();
    for package in packages {
        let policy = apt_cache(host, "policy", &package)?;
        let Some(version) = next::candidate(&policy) else {
            return Err(format!("apt has no {package}; `apt-get update` may help."));
        };
        let Some(kernel) = kernel_package(host, &package, 3)? else { continue };
        let Some(release) = next::release_of(&kernel).map(str::to_owned) else { continue };
        if root.exists(&format!("/lib/modules/{release}/kernel"))
            || offers.iter().any(|o| o.release == release)
        {
            continue;
        }
        let mut parts = vec![kernel.clone()];
        parts.extend(next::headers_of(&kernel));
        let mut at = 0;
        while let Some(part) = parts.get(at).cloned() {
            at += 1;
            for below in needs(host, &part)? {
                if next::is_part(&below) && !parts.contains(&below) {
                    parts.push(below);
                }
            }
        }
        offers.push(Offer { release, package, version, parts });
    }
    Ok(offers)
}

/// The package with the kernel itself that a metapackage brings, through at most `depth` others.
fn kernel_package(host: &Host, package: &str, depth: u32) -> Result<Option<String>, String> {
    if next::release_of(package).is_some_and(|r| r.matches('.').count() >= 2) {
        return Ok(Some(package.to_owned()));
    }
    if depth == 0 {
        return Ok(None);
    }
    for below in needs(host, package)?.into_iter().filter(|p| next::is_part(p)) {
        if let Some(found) = kernel_package(host, &below, depth - 1)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn needs(host: &Host, package: &str) -> Result<Vec<String>, String> {
    Ok(next::depends(&apt_cache(host, "depends", package)?))
}

fn apt_cache(host: &Host, what: &str, package: &str) -> Result<String, String> {
    let command = Command::new("apt-cache").args([what, "--", package]).timeout(Duration::from_secs(60));
    host.runner().run_ok(&command).map(|o| o.stdout).map_err(|e| e.to_string())
}

/// Makes a tree of the packages: what a package manager downloads is verified before it is unpacked.
pub(super) fn unpack(
    session: &Session,
    machine: &Host,
    folder: &Path,
    tree: &Path,
    offer: &Offer,
) -> Result<(), String> {
    let run = |command: &Command| {
        let output = machine.runner().run_lines(command, &session.watch.cancel, &mut |_| {});
        let output = output.map_err(|e| e.to_string())?;
        crate::host::check_status(command, output).map(drop).map_err(|e| e.to_string())
    };
    match Manager::of(|program| machine.root().exists(program))
        .filter(|_| !machine.root().exists("/usr/bin/apt-cache"))
    {
        Some(manager) => packages_of(manager, folder, tree, offer, &run)?,
        None => debs(folder, tree, offer, &run)?,
    }
    if !tree.join("lib").exists() && tree.join("usr/lib").exists() {
        std::os::unix::fs::symlink("usr/lib", tree.join("lib")).map_err(|e| e.to_string())?;
    }
    let release = std::fs::read("/etc/os-release").map_err(|e| format!("/etc/os-release: {e}"))?;
    std::fs::write(tree.join("etc/os-release"), release).map_err(|e| e.to_string())?;
    run(&Command::new("depmod").args(["-b", &tree.display().to_string(), &offer.release]))
}

/// What apt downloads, it has verified against the signed lists.
fn debs(
    folder: &Path,
    tree: &Path,
    offer: &Offer,
    run: &dyn Fn(&Command) -> Result<(), String>,
) -> Result<(), String> {
    let mut download = Command::new("apt-get").cwd(folder).timeout(DOWNLOAD).args(["-q", "download"]);
    if nix::unistd::geteuid().is_root() {
        // Its own user could not write into a private folder.
        download = download.args(["-o", "APT::Sandbox::User=root"]);
    }
    run(&download.args(offer.parts.iter().map(String::as_str)))?;
    for deb in files(folder, &[".deb"])? {
        let (file, into) = (deb.display().to_string(), tree.display().to_string());
        run(&Command::new("dpkg-deb").args(["-x", &file, &into]).timeout(DOWNLOAD))?;
        // There must be room for the next one.
        let _ = std::fs::remove_file(&deb);
    }
    Ok(())
}

/// The same of dnf, zypper or pacman.
fn packages_of(
    manager: Manager,
    folder: &Path,
    tree: &Path,
    offer: &Offer,
    run: &dyn Fn(&Command) -> Result<(), String>,
) -> Result<(), String> {
    if manager == Manager::Pacman {
        // Lists of its own, as `checkupdates` makes them; it ends with 2 when nothing comes, and then the next one says so.
        let _ = run(&manager.ask(folder));
    }
    run(&manager.download(folder, &offer.parts).timeout(DOWNLOAD))?;
    let packages = files(folder, manager.endings())?;
    if packages.is_empty() {
        return Err("no package was downloaded".to_owned());
    }
    for package in packages {
        for command in manager.unpack(&package, tree) {
            run(&command.timeout(DOWNLOAD))?;
        }
        let _ = std::fs::remove_file(&package);
        let _ = std::fs::remove_file(format!("{}.tgz", package.display()));
    }
    Ok(())
}

/// The files below a folder whose names end so, but for those in the tree of what was unpacked.
fn files(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| e.to_string())?.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        if is_folder && name != "tree" {
            found.extend(files(&path, endings)?);
        } else if !is_folder && endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::{FakeRunner, host};
    use crate::host::{HostKind, Output};
    use std::sync::Arc;

    /// A machine with these programs, whose package manager answers so.
    fn machine(dir: &Path, programs: &[&str], code: i32, answer: &'static str) -> Host {
        for program in programs {
            let path = dir.join(program.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let runner = FakeRunner::new().answer(move |_| {
            Some(Output {
                code: Some(code),
                signal: None,
                stdout: answer.to_owned(),
                stderr: "no network".to_owned(),
            })
        });
        host(dir, Arc::new(runner), HostKind::Machine).unwrap()
    }

    const DNF: [&str; 4] = ["/usr/bin/dnf", "/usr/bin/rpmkeys", "/usr/bin/rpm2archive", "/usr/bin/tar"];

    #[test]
    fn what_is_installed_already_does_not_come_next() {
        let dir = tempfile::tempdir().unwrap();
        let host = machine(dir.path(), &DNF, 100, "kernel-core.x86_64 6.11.4-201.fc40 updates\n");
        assert_eq!(all(&host, None).unwrap()[0].release, "6.11.4-201.fc40.x86_64");
        assert!(all(&host, Some("kernel-rt")).unwrap_err().contains("Nothing newer comes of `kernel-rt`"));
        std::fs::create_dir_all(dir.path().join("lib/modules/6.11.4-201.fc40.x86_64/kernel")).unwrap();
        assert_eq!(all(&host, None).unwrap(), []);
    }

    #[test]
    fn what_cannot_be_asked_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let host = machine(dir.path(), &DNF, 1, "");
        let why = all(&host, None).unwrap_err();
        assert!(why.contains("dnf -q check-update kernel-core") && why.ends_with("no network"), "{why}");
        let bare = tempfile::tempdir().unwrap();
        let host = machine(bare.path(), &["/usr/bin/pacman"], 0, "");
        assert!(all(&host, None).unwrap_err().ends_with("install pacman-contrib."));
        let other = tempfile::tempdir().unwrap();
        assert!(
            all(&machine(other.path(), &[], 0, ""), None).unwrap_err().contains("another package manager")
        );
    }

    #[test]
    fn packages_are_found_in_folders_of_repositories_and_not_in_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["repo-oss/x86_64/a.rpm", "tree/usr/b.rpm", "c.rpm", "c.rpm.tgz", "d.txt"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = files(dir.path(), &[".rpm"]).unwrap();
        let names: Vec<_> =
            found.iter().map(|p| p.strip_prefix(dir.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["c.rpm", "repo-oss/x86_64/a.rpm"]);
    }
}
