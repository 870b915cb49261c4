// SPDX-License-Identifier: GPL-3.0-or-later
//! The kernel that dnf, zypper or pacman is about to install: what each is asked, how its answer is read, how the packages
//! come into a private folder, and how a package is unpacked. Pure; apt, which is asked package by package, is in `next`.

use crate::host::Command;
use std::path::Path;
use std::time::Duration;

/// How long a package manager may take to answer; it may load its lists first.
const ASK: Duration = Duration::from_secs(180);

/// A package manager that says by itself what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Fedora, RHEL and their kin.
    Dnf,
    /// openSUSE and SLE.
    Zypper,
    /// Arch Linux and its kin.
    Pacman,
}

/// A kernel that a package manager offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its release, as `uname -r` will say.
    pub release: String,
    /// The package that brings it.
    pub package: String,
    /// Its version.
    pub version: String,
    /// All packages that are needed to build and to boot, as the package manager names them.
    pub parts: Vec<String>,
}

impl Manager {
    /// The one of a machine that has these programs; zypper first, for dnf can be installed beside it.
    pub fn of(has: impl Fn(&str) -> bool) -> Option<Self> {
        [(Self::Zypper, "/usr/bin/zypper"), (Self::Dnf, "/usr/bin/dnf"), (Self::Pacman, "/usr/bin/pacman")]
            .into_iter()
            .find(|(_, program)| has(program))
            .map(|(manager, _)| manager)
    }

    /// The programs that are needed to ask, to download and to unpack, each with the package that has it.
    pub fn needs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Dnf => &[
                ("/usr/bin/dnf", "dnf"),
                ("/usr/bin/rpmkeys", "rpm"),
                ("/usr/bin/rpm2archive", "rpm"),
                ("/usr/bin/tar", "tar"),
            ],
            Self::Zypper => &[
                ("/usr/bin/zypper", "zypper"),
                ("/usr/bin/rpmkeys", "rpm"),
                ("/usr/bin/rpm2archive", "rpm"),
                ("/usr/bin/tar", "tar"),
            ],
            Self::Pacman => &[
                ("/usr/bin/checkupdates", "pacman-contrib"),
                ("/usr/bin/fakeroot", "fakeroot"),
                ("/usr/bin/tar", "tar"),
            ],
        }
    }

    /// Asks what is about to be installed. Nothing of the machine is changed: `folder` is private.
    pub fn ask(self, folder: &Path) -> Command {
        let command = match self {
            // Ends with 100 when there is something.
            Self::Dnf => Command::new("dnf").args(["-q", "check-update", "kernel-core"]),
            Self::Zypper => {
                Command::new("zypper").args(["--non-interactive", "--no-refresh", "--xmlout", "list-updates"])
            }
            // Ends with 2 when there is nothing; its own lists, so that those of the machine stay as they are.
            Self::Pacman => Command::new("checkupdates")
                .args(["--nocolor"])
                .env("CHECKUPDATES_DB", folder.join("db").display().to_string()),
        };
        command.timeout(ASK)
    }

    /// Whether an exit status is an answer.
    pub fn answered(self, status: Option<i32>) -> bool {
        match self {
            Self::Dnf => matches!(status, Some(0 | 100)),
            Self::Zypper => status == Some(0),
            Self::Pacman => matches!(status, Some(0 | 2)),
        }
    }

    /// Reads the answer.
    pub fn read(self, text: &str) -> Vec<Offer> {
        let mut offers: Vec<Offer> = match self {
            Self::Dnf => text.lines().filter_map(dnf).collect(),
            Self::Zypper => text.split('<').filter_map(zypper).collect(),
            Self::Pacman => text.lines().filter_map(pacman).collect(),
        };
        // Several repositories may offer the same.
        let mut seen = std::collections::BTreeSet::new();
        offers.retain(|offer| seen.insert(offer.release.clone()));
        offers
    }

    /// Brings the packages into the folder; what they are signed with is verified by the last of the commands, or by the
    /// package manager itself. Files end with one of [`Manager::endings`].
    pub fn download(self, folder: &Path, parts: &[String]) -> Command {
        let here = folder.display().to_string();
        let command = match self {
            Self::Dnf => {
                Command::new("dnf").args(["-q", "-y", "--setopt=strict=0", "download", "--destdir", &here])
            }
            Self::Zypper => Command::new("zypper").args([
                "--non-interactive",
                "--no-refresh",
                "--pkg-cache-dir",
                &here,
                "download",
            ]),
            Self::Pacman => Command::new("fakeroot").args([
                "--",
                "pacman",
                "-Swdd",
                "--noconfirm",
                "--logfile",
                "/dev/null",
                "--dbpath",
                &format!("{here}/db"),
                "--cachedir",
                &here,
            ]),
        };
        command.args(parts.iter().map(String::as_str))
    }

    /// How the name of a package's file ends.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Dnf | Self::Zypper => &[".rpm"],
            Self::Pacman => &[".pkg.tar.zst", ".pkg.tar.xz", ".pkg.tar"],
        }
    }

    /// Verifies a package and unpacks it into the tree, command by command. pacman has verified it when it loaded it.
    pub fn unpack(self, package: &Path, tree: &Path) -> Vec<Command> {
        let (file, into) = (package.display().to_string(), tree.display().to_string());
        let tar = |archive: &str| {
            Command::new("tar").args([
                "--no-same-owner",
                "--no-same-permissions",
                "-C",
                &into,
                "-xf",
                archive,
            ])
        };
        match self {
            Self::Dnf | Self::Zypper => vec![
                Command::new("rpmkeys").args(["--checksig", &file]),
                // Writes FILE.tgz beside it.
                Command::new("rpm2archive").arg(&file),
                tar(&format!("{file}.tgz")),
            ],
            Self::Pacman => vec![tar(&file)],
        }
    }
}

/// A name or version of a package that no tool takes for an option or a path.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= 128
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._+~:-".contains(c))
}

/// A line of `dnf check-update` (NAME.ARCH EPOCH:VERSION-RELEASE REPOSITORY). Debug, real-time and other flavours have
/// packages of other names.
fn dnf(line: &str) -> Option<Offer> {
    let mut words = line.split_whitespace();
    let (name, version, _repository) = (words.next()?, words.next()?, words.next()?);
    let arch = name.strip_prefix("kernel-core.")?;
    let plain = version.split_once(':').map_or(version, |(_, v)| v);
    if words.next().is_some() || arch != "x86_64" || !is_word(plain) || !plain.contains('-') {
        return None;
    }
    let release = format!("{plain}.{arch}");
    // What RHEL 8 and older Fedoras do not have is left out by dnf, with a word on standard error.
    let parts = ["kernel-core", "kernel-modules-core", "kernel-modules", "kernel-devel"];
    Some(Offer {
        parts: parts.map(|p| format!("{p}-{release}")).into(),
        package: "kernel-core".to_owned(),
        version: version.to_owned(),
        release,
    })
}

/// An element of `zypper --xmlout list-updates`: `update kind="package" name="kernel-default" edition="…" …`.
fn zypper(element: &str) -> Option<Offer> {
    let attributes = element.split('>').next()?.strip_prefix("update ")?;
    let value = |name: &str| {
        let (_, rest) = attributes.split_once(&format!(" {name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    let name = value("name")?;
    let flavour = name.strip_prefix("kernel-")?;
    let edition = value("edition")?;
    if value("arch")? != "x86_64" || !["default", "longterm"].contains(&flavour) || !is_word(edition) {
        return None;
    }
    // 6.4.0-150600.23.25.1 is the first build of the kernel 6.4.0-150600.23.25-default.
    let (version, _build) = edition.rsplit_once('.').filter(|(version, _)| version.contains('-'))?;
    let devel = if flavour == "default" { "kernel-devel" } else { "kernel-devel-longterm" };
    let parts = [name.to_owned(), format!("{name}-devel"), devel.to_owned()];
    Some(Offer {
        release: format!("{version}-{flavour}"),
        parts: parts.map(|p| format!("{p}={edition}")).into(),
        package: name.to_owned(),
        version: edition.to_owned(),
    })
}

/// A line of `checkupdates` (NAME OLD -> NEW).
fn pacman(line: &str) -> Option<Offer> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, _old, "->", new] = words.as_slice() else { return None };
    if !is_word(new) {
        return None;
    }
    // The kernel's own version, with what the flavour adds to it: 6.11.4.arch1-1 is 6.11.4-arch1-1 to uname.
    let marked = |mark: &str| {
        new.contains(&format!(".{mark}")).then(|| new.replace(&format!(".{mark}"), &format!("-{mark}")))
    };
    let release = match *name {
        "linux" => marked("arch")?,
        "linux-zen" => format!("{}-zen", marked("zen")?),
        "linux-hardened" => format!("{}-hardened", marked("hardened")?),
        "linux-lts" => format!("{new}-lts"),
        _ => return None,
    };
    Some(Offer {
        release,
        parts: vec![(*name).to_owned(), format!("{name}-headers")],
        package: (*name).to_owned(),
        version: (*new).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dnf_is_about_to_install_is_read() {
        let fedora = "\nkernel-core.x86_64                6.11.4-201.fc40                 updates\n\
                      Obsoleting Packages\nkernel-core.x86_64   6.11.4-201.fc40   updates\n";
        let offers = Manager::Dnf.read(fedora);
        assert_eq!(offers.len(), 1);
        assert_eq!((&*offers[0].release, &*offers[0].version), ("6.11.4-201.fc40.x86_64", "6.11.4-201.fc40"));
        assert_eq!(
            offers[0].parts,
            [
                "kernel-core-6.11.4-201.fc40.x86_64",
                "kernel-modules-core-6.11.4-201.fc40.x86_64",
                "kernel-modules-6.11.4-201.fc40.x86_64",
                "kernel-devel-6.11.4-201.fc40.x86_64"
            ]
        );
        let rhel = "kernel-core.x86_64      5.14.0-427.40.1.el9_4      rhel-9-for-x86_64-baseos-rpms\n";
        assert_eq!(Manager::Dnf.read(rhel)[0].release, "5.14.0-427.40.1.el9_4.x86_64");
        for nothing in [
            "",
            "kernel-rt-core.x86_64 5.14.0-427.el9 rt\n",
            "kernel-core.i686 6.1-1 updates\n",
            "Security: kernel-core-6.11.4-201.fc40.x86_64 is an installed security update\n",
            "kernel-core.x86_64 --installroot=/-1 updates\n",
        ] {
            assert_eq!(Manager::Dnf.read(nothing), [], "{nothing}");
        }
    }

    #[test]
    fn what_zypper_is_about_to_install_is_read() {
        let leap = r#"<?xml version='1.0'?>
<stream>
<message type="info">Loading repository data...</message>
<update-status version="0.6">
<update-list>
<update kind="package" name="kernel-default" edition="6.4.0-150600.23.25.1" arch="x86_64" edition-old="6.4.0-150600.23.22.1"><summary>The Standard Kernel</summary><description>The standard kernel for both uniprocessor and multiprocessor systems.</description><license></license><source url="http://download.opensuse.org/update/leap/15.6/sle/" alias="repo-sle-update"/></update>
<update kind="package" name="kernel-firmware-all" edition="20240728-150600.3.6.1" arch="noarch" edition-old="20240728-150600.3.3.1"><summary>x</summary></update>
</update-list>
</update-status>
</stream>
"#;
        let offers = Manager::Zypper.read(leap);
        assert_eq!(offers.len(), 1);
        assert_eq!(offers[0].release, "6.4.0-150600.23.25-default");
        assert_eq!(
            offers[0].parts,
            [
                "kernel-default=6.4.0-150600.23.25.1",
                "kernel-default-devel=6.4.0-150600.23.25.1",
                "kernel-devel=6.4.0-150600.23.25.1"
            ]
        );
        let tumbleweed = r#"<update kind="package" name="kernel-longterm" edition="6.12.8-1.1" arch="x86_64">
<update kind="package" name="kernel-default" edition="6.11.3-2.1" arch="x86_64" edition-old="6.11.2-1.1">"#;
        let releases: Vec<String> = Manager::Zypper.read(tumbleweed).into_iter().map(|o| o.release).collect();
        assert_eq!(releases, ["6.12.8-1-longterm", "6.11.3-2-default"]);
        let hostile =
            "<update kind=\"package\" name=\"kernel-default\" edition=\"-x/../1.1\" arch=\"x86_64\">";
        assert_eq!(Manager::Zypper.read(hostile), []);
    }

    #[test]
    fn what_pacman_is_about_to_install_is_read() {
        let text = "linux 6.11.3.arch1-1 -> 6.11.4.arch1-1\nlinux-api-headers 6.10-1 -> 6.11-1\n\
                    linux-lts 6.6.55-1 -> 6.6.56-1\nlinux-zen 6.11.3.zen1-1 -> 6.11.4.zen1-1\n\
                    linux-hardened 6.10.13.hardened1-1 -> 6.10.14.hardened1-1\nlinux-firmware 1-1 -> 2-1\n\
                    linux-headers 6.11.3.arch1-1 -> 6.11.4.arch1-1\nglibc 2.40-1 -> 2.41-1\n";
        let offers = Manager::Pacman.read(text);
        let releases: Vec<&str> = offers.iter().map(|o| o.release.as_str()).collect();
        assert_eq!(
            releases,
            ["6.11.4-arch1-1", "6.6.56-1-lts", "6.11.4-zen1-1-zen", "6.10.14-hardened1-1-hardened"]
        );
        assert_eq!(offers[1].parts, ["linux-lts", "linux-lts-headers"]);
    }

    #[test]
    fn an_exit_status_that_means_there_is_something_is_no_failure() {
        assert!(Manager::Dnf.answered(Some(100)) && !Manager::Dnf.answered(Some(1)));
        assert!(Manager::Pacman.answered(Some(2)) && !Manager::Pacman.answered(Some(1)));
        assert!(Manager::Zypper.answered(Some(0)) && !Manager::Zypper.answered(Some(106)));
        assert!(!Manager::Dnf.answered(None));
    }

    #[test]
    fn packages_come_into_the_private_folder_and_are_verified_before_they_are_unpacked() {
        let (folder, tree) = (Path::new("/p"), Path::new("/p/tree"));
        let parts = ["kernel-core-6.11.4-201.fc40.x86_64".to_owned()];
        let shown = |manager: Manager| manager.download(folder, &parts).display();
        assert_eq!(
            shown(Manager::Dnf),
            "dnf -q -y --setopt=strict=0 download --destdir /p kernel-core-6.11.4-201.fc40.x86_64"
        );
        assert!(shown(Manager::Zypper).contains("--pkg-cache-dir /p download"));
        assert!(
            shown(Manager::Pacman).contains("pacman -Swdd --noconfirm --logfile /dev/null --dbpath /p/db")
        );
        let steps: Vec<String> =
            Manager::Dnf.unpack(Path::new("/p/a.rpm"), tree).iter().map(Command::display).collect();
        assert_eq!(steps[..2], ["rpmkeys --checksig /p/a.rpm", "rpm2archive /p/a.rpm"]);
        assert!(steps[2].ends_with("-C /p/tree -xf /p/a.rpm.tgz"), "{steps:?}");
        assert_eq!(Manager::of(|p| p == "/usr/bin/dnf"), Some(Manager::Dnf));
        assert_eq!(Manager::of(|p| p != "/usr/bin/pacman"), Some(Manager::Zypper));
        assert_eq!(Manager::of(|_| false), None);
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_read_without_panic(text in "\\PC{0,200}") {
            for manager in [Manager::Dnf, Manager::Zypper, Manager::Pacman] {
                for offer in manager.read(&text) {
                    proptest::prop_assert!(!offer.release.contains('/'));
                }
            }
        }
    }
}
