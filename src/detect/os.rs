// SPDX-License-Identifier: GPL-3.0-or-later
//! The distribution: os-release(5), its family, and the immutable ones that are refused with guidance.

use super::Finding;
use super::look::{Look, shell_assignments};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The families of distributions that need the same handling; keys of `data/distributions.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Debian and what follows it closely.
    Debian,
    /// Ubuntu and its descendants (Mint, Pop!_OS…): a machine owner key of shim-signed.
    Ubuntu,
    /// Proxmox VE: Debian with its own kernels and boot tool.
    Proxmox,
    /// Fedora.
    Fedora,
    /// Red Hat Enterprise Linux and its rebuilds.
    Rhel,
    /// openSUSE and SUSE Linux Enterprise.
    Suse,
    /// Arch Linux and its descendants.
    Arch,
    /// Gentoo.
    Gentoo,
    /// NixOS: refused, with guidance.
    Nixos,
    /// None of these: no package names are guessed.
    Unknown,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Debian,
        Self::Ubuntu,
        Self::Proxmox,
        Self::Fedora,
        Self::Rhel,
        Self::Suse,
        Self::Arch,
        Self::Gentoo,
        Self::Nixos,
        Self::Unknown,
    ];

    /// The family of a distribution by its `ID` and `ID_LIKE`.
    pub fn of(id: &str, id_like: &[String]) -> Self {
        std::iter::once(id)
            .chain(id_like.iter().map(String::as_str))
            .find_map(Self::by_name)
            .unwrap_or(Self::Unknown)
    }

    fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "debian" | "raspbian" | "kali" | "devuan" | "mx" => Self::Debian,
            "ubuntu" | "linuxmint" | "pop" | "elementary" | "neon" | "zorin" | "tuxedo" => Self::Ubuntu,
            "proxmox" | "pve" => Self::Proxmox,
            "fedora" | "nobara" | "ultramarine" => Self::Fedora,
            "rhel" | "centos" | "rocky" | "almalinux" | "ol" | "scientific" => Self::Rhel,
            "suse" | "opensuse" | "sles" | "sled" | "sle-micro" | "sl-micro" => Self::Suse,
            name if name.starts_with("opensuse-") => Self::Suse,
            "arch" | "archlinux" | "manjaro" | "endeavouros" | "cachyos" | "artix" | "garuda" => Self::Arch,
            "gentoo" | "funtoo" | "calculate" => Self::Gentoo,
            "nixos" => Self::Nixos,
            _ => return None,
        })
    }
}

/// Why the system's own files cannot be changed in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImmutableKind {
    /// Booted from an OSTree deployment (`/run/ostree-booted`).
    Ostree,
    /// NixOS: the system is generated from its configuration.
    Nixos,
    /// Read-only root changed by `transactional-update` (MicroOS, Aeon, Leap Micro).
    Transactional,
}

/// An immutable system, and the right way there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Immutable {
    /// Which kind.
    pub kind: ImmutableKind,
    /// What to do instead, for people.
    pub guidance: String,
}

/// The distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Os {
    /// `ID` of os-release(5) ("debian").
    pub id: String,
    /// `ID_LIKE`, in its order.
    pub id_like: Vec<String>,
    /// `PRETTY_NAME`, for people.
    pub name: String,
    /// `VERSION_ID` ("12"); rolling distributions have none.
    pub version_id: Option<String>,
    /// `VERSION_CODENAME` ("bookworm").
    pub codename: Option<String>,
    /// Whose handling it needs.
    pub family: Family,
    /// Set when the system cannot be changed in place: every flow refuses with this guidance.
    pub immutable: Option<Immutable>,
    /// Machine type of the user space, as `uname -m` names it ("x86_64").
    pub architecture: Option<String>,
    /// Proxmox VE's version ("8.2.4"), on Proxmox VE.
    pub proxmox: Option<String>,
}

/// os-release(5) as it stands in `/etc/os-release`, without what other files add.
fn parse_os_release(text: &str) -> Os {
    let mut fields = shell_assignments(text);
    // The defaults are those of os-release(5).
    let id = fields.remove("ID").filter(|id| !id.is_empty()).unwrap_or_else(|| "linux".to_owned());
    let id_like: Vec<String> =
        fields.remove("ID_LIKE").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    Os {
        name: fields
            .remove("PRETTY_NAME")
            .or_else(|| fields.remove("NAME"))
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| "Linux".to_owned()),
        version_id: fields.remove("VERSION_ID").filter(|v| !v.is_empty()),
        codename: fields.remove("VERSION_CODENAME").filter(|v| !v.is_empty()),
        family: Family::of(&id, &id_like),
        immutable: None,
        architecture: None,
        proxmox: None,
        id,
        id_like,
    }
}

/// Version of Proxmox VE from `PVE/pvecfg.pm` (`sub version { return '8.2.4'; }`).
fn parse_pvecfg(text: &str) -> Option<String> {
    let after = text.split_once("sub version")?.1;
    let value = after.split_once("return")?.1.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let value = value[1..].split(quote).next()?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// `uname -m` name of the machine an ELF file is for (`e_machine` of elf.h).
fn elf_machine(header: &[u8]) -> Option<&'static str> {
    if !header.starts_with(b"\x7fELF") {
        return None;
    }
    Some(match u16::from_le_bytes([*header.get(18)?, *header.get(19)?]) {
        62 => "x86_64",
        3 => "i686",
        183 => "aarch64",
        243 => "riscv64",
        21 => "ppc64le",
        _ => return None,
    })
}

/// Whether `/proc/mounts` says that `/` is read-only.
fn root_is_read_only(mounts: &str) -> bool {
    let mut options = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == "/").then(|| words.nth(1)).flatten()
    });
    // The last mount on a place is the one that is seen.
    options.next_back().is_some_and(|options| options.split(',').any(|o| o == "ro"))
}

fn immutable(look: &Look<'_>, os: &Os) -> Option<Immutable> {
    let (kind, guidance) = if look.exists("/run/ostree-booted")
        || (!look.running && (look.exists("/ostree/repo") || look.exists("/sysroot/ostree/repo")))
    {
        (
            ImmutableKind::Ostree,
            "this system is an image managed by OSTree, and nothing under /usr can be installed in place. Build the \
             modules into an image of your own that derives from this one, or layer an akmod package with \
             `rpm-ostree install`; kernel parameters are set with `rpm-ostree kargs`",
        )
    } else if os.family == Family::Nixos || look.exists("/etc/NIXOS") {
        (
            ImmutableKind::Nixos,
            "NixOS generates the system from its configuration. Set `virtualisation.vmware.host.enable = true;` (and \
             `boot.kernelParams` for kernel parameters) and run `nixos-rebuild switch`",
        )
    } else if matches!(
        os.id.as_str(),
        "opensuse-microos"
            | "opensuse-aeon"
            | "opensuse-kalpa"
            | "opensuse-leap-micro"
            | "sle-micro"
            | "sl-micro"
    ) || (look.exists("/usr/sbin/transactional-update")
        && look.text("/proc/mounts").is_ok_and(|m| root_is_read_only(&m)))
    {
        (
            ImmutableKind::Transactional,
            "the root file system is read-only and changed by snapshots. Work inside `transactional-update shell`, \
             which makes a new snapshot, and reboot into it",
        )
    } else {
        return None;
    };
    Some(Immutable { kind, guidance: guidance.to_owned() })
}

/// Reads the distribution.
pub(super) fn read(look: &Look<'_>) -> Finding<Os> {
    let text = match look.text("/etc/os-release").or_else(|_| look.text("/usr/lib/os-release")) {
        Ok(text) => text,
        Err(e) => return Finding::unseen(format!("no os-release file tells the distribution ({e})")),
    };
    let mut os = parse_os_release(&text);
    os.proxmox = look.text("/usr/share/perl5/PVE/pvecfg.pm").ok().as_deref().and_then(parse_pvecfg);
    if os.proxmox.is_some() {
        os.family = Family::Proxmox;
    }
    os.immutable = immutable(look, &os);
    // NixOS has no /usr/bin but for env.
    let programs = ["/usr/bin/env", "/bin/sh", "/usr/lib64/ld-linux-x86-64.so.2"];
    os.architecture = programs.iter().find_map(|path| {
        let mut header = [0u8; 20];
        let mut file = look.root().open_file(path).ok()?;
        std::io::Read::read_exact(&mut file, &mut header).ok()?;
        elf_machine(&header).map(str::to_owned)
    });
    Finding::Seen(os)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn families_follow_id_before_id_like() {
        let like = |s: &str| s.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (id, id_like, family) in [
            ("debian", "", Family::Debian),
            ("ubuntu", "debian", Family::Ubuntu),
            ("linuxmint", "ubuntu debian", Family::Ubuntu),
            ("some-remix", "ubuntu debian", Family::Ubuntu),
            ("fedora", "", Family::Fedora),
            ("rocky", "rhel centos fedora", Family::Rhel),
            ("bazzite", "fedora", Family::Fedora),
            ("opensuse-tumbleweed", "opensuse suse", Family::Suse),
            ("cachyos", "arch", Family::Arch),
            ("void", "", Family::Unknown),
        ] {
            assert_eq!(Family::of(id, &like(id_like)), family, "{id}");
        }
    }

    #[test]
    fn proxmox_tells_its_version_in_perl() {
        let text = "package PVE::pvecfg;\nuse strict;\nsub package {\n    return 'pve-manager';\n}\n\nsub version {\n    return '8.2.4';\n}\n";
        assert_eq!(parse_pvecfg(text).as_deref(), Some("8.2.4"));
        assert_eq!(parse_pvecfg("sub version { return }"), None);
    }

    #[test]
    fn a_read_only_root_is_seen_in_the_last_mount() {
        let text =
            "rootfs / rootfs rw 0 0\n/dev/sda2 / btrfs ro,relatime,subvol=/@ 0 0\nproc /proc proc rw 0 0\n";
        assert!(root_is_read_only(text));
        assert!(!root_is_read_only("/dev/sda1 / ext4 rw,errors=remount-ro 0 0\n"));
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*", bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            parse_os_release(&text);
            parse_pvecfg(&format!("sub version {{ return{text}"));
            root_is_read_only(&text);
            elf_machine(&bytes);
        }
    }
}
