// SPDX-License-Identifier: GPL-3.0-or-later
//! Namespaces of a build's own: its mounts are seen by nobody else, and all of it ends with its parent.
//!
//! As root: mount and process namespaces. As anybody else: a user namespace around them, in which the
//! person is root and has the range of users that `/etc/subuid` gives (user_namespaces(7), newuidmap(1)).
//! Foreign code (the scripts of packages) then has no right on the machine that its user has not.

use crate::host::{Command, CommandError, Host};
use std::path::Path;

/// `command` in namespaces of its own. `root`: whether root runs this.
pub fn alone(command: Command, root: bool) -> Command {
    let mut outer = Command::new("unshare");
    if !root {
        outer = outer.args(["--user", "--map-auto", "--map-root-user"]);
    }
    let inner = std::iter::once(command.program.clone()).chain(command.args.iter().cloned());
    let args: Vec<String> = ["--mount", "--propagation", "private", "--pid", "--fork"]
        .into_iter()
        // The kernel ends everything in the process namespace with its first process, and that one dies
        // with its parent, which dies with us.
        .chain(["--kill-child=SIGKILL", "--mount-proc", "--"])
        .map(str::to_owned)
        .chain(inner)
        .collect();
    Command { program: outer.program, args: [outer.args, args].concat(), ..command }
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether the account has a range of users of its own, as [`alone`] needs for anybody but root.
pub fn has_range(host: &Host) -> bool {
    let Ok(Some(user)) = nix::unistd::User::from_uid(nix::unistd::geteuid()) else { return false };
    ["/etc/subuid", "/etc/subgid"].into_iter().all(|file| {
        host.root().read_text(file).is_ok_and(|text| range_of(&text, &user.name, user.uid.as_raw()).is_some())
    })
}

/// The range of a user in subuid(5): first number and how many.
pub fn range_of(text: &str, name: &str, uid: u32) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let whose = fields.next()?;
        if whose != name && whose.parse() != Ok(uid) {
            return None;
        }
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (count >= 65_536).then_some((first, count))
    })
}

/// Empties a work folder from inside a user namespace, where its files have owners that the person is.
pub(super) fn remove_inside(host: &Host, path: &Path) -> Result<(), CommandError> {
    let failed = |source| CommandError::Start { command: "hostwright lab eject".into(), source };
    let own = std::env::current_exe().map_err(failed)?;
    // Only the command line knows how; a program that merely uses the library does not.
    if own.file_name().is_none_or(|n| n != "hostwright") {
        return Err(failed(std::io::Error::from(std::io::ErrorKind::Unsupported)));
    }
    let (own, path) = (own.display().to_string(), path.display().to_string());
    let command = Command::new(own).args(["lab", "eject", "--inside", path.as_str()]);
    host.runner().run_ok(&alone(command, false)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_root_gets_mounts_and_processes_of_its_own() {
        let command = Command::new("mkarchiso").arg("-v").env("A", "b").cwd("/w");
        let outer = alone(command.clone(), true);
        assert_eq!(
            outer.display(),
            "unshare --mount --propagation private --pid --fork --kill-child=SIGKILL --mount-proc -- \
             mkarchiso -v"
        );
        assert_eq!((&outer.env, &outer.cwd), (&command.env, &command.cwd));
        assert!(
            alone(command, false).display().starts_with("unshare --user --map-auto --map-root-user --mount")
        );
    }

    #[test]
    fn the_range_of_a_user_is_found_by_name_or_number_and_only_when_large_enough() {
        let text = "ann:100000:65536\n1001:165536:65536\nbob:1:10\n# x\n";
        assert_eq!(range_of(text, "ann", 1000), Some((100_000, 65_536)));
        assert_eq!(range_of(text, "eve", 1001), Some((165_536, 65_536)));
        assert_eq!(range_of(text, "bob", 1002), None);
        assert_eq!(range_of(text, "an", 7), None);
    }
}
