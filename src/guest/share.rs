// SPDX-License-Identifier: GPL-3.0-or-later
//! How a directory becomes the root of a guest: by virtiofsd where one is here that can do it as it must be done,
//! else by QEMU's own 9p; and only by what the guest's kernel has.

use super::argv::Share;
use super::error::GuestError;
use super::modules::{Abilities, Have, Need};
use super::setup::Sharing;
use super::wires;
use crate::host::{Command, Host, Inherited, Process};
use std::path::Path;

/// Where virtiofsd is, by distribution; it is not for people and so not in `PATH`.
const PLACES: [&str; 5] = [
    "/usr/libexec/virtiofsd",
    "/usr/lib/qemu/virtiofsd",
    "/usr/lib/virtiofsd",
    "/usr/local/libexec/virtiofsd",
    "/usr/bin/virtiofsd",
];

/// Largest message of 9p: what one request moves. The default of 128 KiB (older kernels: 8 KiB) is slower.
pub(super) const MSIZE: u32 = 512_000;

/// A virtiofsd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Virtiofsd {
    path: String,
    version: (u32, u32),
}

/// By which way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    Virtiofs(Virtiofsd),
    NineP,
}

/// `virtiofsd 1.13.0` → (1, 13). The one that came with QEMU up to 7.2 says `virtiofsd version 7.2.22 …`; it cannot
/// share read-only, nor run without root, and is none for us.
fn version(said: &str) -> Option<(u32, u32)> {
    let rest = said.trim().strip_prefix("virtiofsd ")?;
    let mut numbers = rest.split_whitespace().next()?.split('.').map(str::parse);
    match (numbers.next()?, numbers.next()?) {
        (Ok(major), Ok(minor)) => Some((major, minor)),
        _ => None,
    }
}

/// Chooses. Pure.
///
/// # Errors
/// When the kernel has neither, with the option that is missing.
pub(super) fn choose(
    virtiofs: &Have,
    ninep: &Have,
    daemon: Option<Virtiofsd>,
    writable: bool,
) -> Result<Way, GuestError> {
    let there = |have: &Have| !matches!(have, Have::Missing { .. });
    // `--readonly` came with 1.11.
    let daemon = daemon.filter(|d| writable || d.version >= (1, 11));
    match (daemon, there(virtiofs), there(ninep)) {
        (Some(daemon), true, _) => Ok(Way::Virtiofs(daemon)),
        (_, _, true) => Ok(Way::NineP),
        (None, true, false) => Err(GuestError::refused(
            "no-virtiofsd",
            "the kernel has virtiofs but no 9p, and no virtiofsd that fits (1.11 or newer) is installed",
            "install the package `virtiofsd`, or boot a kernel with CONFIG_9P_FS and CONFIG_NET_9P_VIRTIO",
        )),
        (_, false, false) => {
            let why = |have: &Have| match have {
                Have::Missing { option, why } => format!("{option} {why}"),
                _ => String::new(),
            };
            Err(GuestError::refused(
                "no-shared-root",
                format!("the kernel cannot use a shared directory: {}; {}", why(ninep), why(virtiofs)),
                "boot another kernel, or use --root none or an image (Debian's cloud kernels have neither; \
                 linux-image-amd64 has both)",
            ))
        }
    }
}

/// Looks what is here and chooses.
pub(super) fn way(
    host: &Host,
    sharing: &Sharing,
    abilities: &Abilities,
    writable: bool,
) -> Result<Way, GuestError> {
    let places: Vec<String> = match sharing {
        Sharing::Find => PLACES.iter().map(|p| (*p).to_owned()).collect(),
        Sharing::By(path) => path.to_str().map(str::to_owned).into_iter().collect(),
        Sharing::NineP => Vec::new(),
    };
    let daemon = places.into_iter().filter(|p| host.root().exists(p)).find_map(|path| {
        let output = host.runner().run(&Command::new(&path).arg("--version")).ok()?;
        Some(Virtiofsd { version: version(&output.stdout)?, path })
    });
    choose(&abilities.has(Need::Virtiofs), &abilities.has(Need::Ninep), daemon, writable)
}

/// Starts virtiofsd for `directory`; QEMU's end of the connection is added to `inherit`. Nothing is left in the
/// file system: the listening socket loses its name as soon as it is connected.
pub(super) fn start(
    daemon: &Virtiofsd,
    directory: &str,
    writable: bool,
    scratch: &Path,
    inherit: &mut Vec<Inherited>,
) -> Result<(Share, Process), GuestError> {
    let name = "virtiofs";
    let listener = Inherited::new(wires::listen(scratch, name)?.into());
    let connected = wires::connect(scratch, name);
    let path = scratch.join(name);
    std::fs::remove_file(&path).map_err(|e| GuestError::file("remove", path, e))?;
    let qemu = Inherited::new(connected?.into());
    let process = Process::start(&command(daemon, directory, writable, &listener))?;
    let share = Share::VirtioFs { socket: qemu.number() };
    inherit.push(qemu);
    Ok((share, process))
}

/// The daemon's command. `--sandbox=none`: what it may reach is what we may, as with 9p.
fn command(daemon: &Virtiofsd, directory: &str, writable: bool, listener: &Inherited) -> Command {
    let mut command = Command::new(&daemon.path)
        .arg(format!("--fd={}", listener.number()))
        .args(["--shared-dir", directory, "--sandbox=none", "--log-level=error"])
        // What is mounted below (/proc of the host) would be a mount of its own in the guest, made when somebody looks
        // into it, and overlayfs has none of that: EREMOTE (`ovl_lookup_single` of the kernel).
        .arg("--no-announce-submounts")
        .inherit(listener.clone());
    // What nobody changes meanwhile can be kept by the guest for good.
    command =
        if writable { command.arg("--cache=auto") } else { command.args(["--cache=always", "--readonly"]) };
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(option: &'static str) -> Have {
        Have::Missing { option, why: "is not set".into() }
    }
    fn daemon(version: (u32, u32)) -> Option<Virtiofsd> {
        Some(Virtiofsd { path: "/usr/libexec/virtiofsd".into(), version })
    }

    #[test]
    fn the_way_is_one_that_the_kernel_and_this_machine_have() {
        use Have::{BuiltIn, Module};
        let no = || missing("CONFIG_9P_FS");
        assert!(matches!(choose(&Module, &Module, daemon((1, 13)), false), Ok(Way::Virtiofs(_))));
        assert_eq!(choose(&Module, &Module, daemon((1, 7)), false).unwrap(), Way::NineP);
        assert!(matches!(choose(&Module, &Module, daemon((1, 7)), true), Ok(Way::Virtiofs(_))));
        assert_eq!(choose(&no(), &BuiltIn, daemon((1, 13)), false).unwrap(), Way::NineP);
        assert_eq!(choose(&Module, &Module, None, false).unwrap(), Way::NineP);
        let error = choose(&Module, &no(), None, false).unwrap_err().to_string();
        assert!(error.contains("virtiofsd"), "{error}");
    }

    #[test]
    fn a_kernel_with_neither_is_refused_by_the_options_that_it_lacks() {
        let error =
            choose(&missing("CONFIG_VIRTIO_FS"), &missing("CONFIG_NET_9P_VIRTIO"), daemon((1, 13)), false)
                .unwrap_err()
                .to_string();
        assert!(error.contains("CONFIG_NET_9P_VIRTIO is not set"), "{error}");
        assert!(error.contains("CONFIG_VIRTIO_FS is not set"), "{error}");
    }

    #[test]
    fn qemus_old_daemon_is_told_from_the_new_one() {
        assert_eq!(version("virtiofsd 1.13.2\n"), Some((1, 13)));
        assert_eq!(version("virtiofsd version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright"), None);
        assert_eq!(version(""), None);
    }

    #[test]
    fn a_share_is_read_only_unless_it_was_asked_for() {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let fd = Inherited::new(socket.into());
        let daemon = daemon((1, 13)).unwrap();
        let args = command(&daemon, "/srv/a, b", false, &fd).args;
        assert!(args.contains(&"--readonly".to_owned()), "{args:?}");
        assert!(args.contains(&"--no-announce-submounts".to_owned()), "{args:?}");
        assert!(!command(&daemon, "/srv/a, b", true, &fd).args.contains(&"--readonly".to_owned()));
    }
}
