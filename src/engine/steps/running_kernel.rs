// SPDX-License-Identifier: GPL-3.0-or-later
//! The modules of the running kernel and who uses them.

use crate::engine::error::StepError;
use crate::host::Host;

/// One line of `/proc/modules` (proc_modules(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// Its name, as the kernel spells it.
    pub name: String,
    /// How often it is used.
    pub uses: u64,
    /// The modules that use it.
    pub users: Vec<String>,
    /// Whether it is ready: neither being loaded nor being unloaded.
    pub live: bool,
}

/// Reads `/proc/modules`. Pure.
pub(super) fn parse(text: &str) -> Vec<Module> {
    let module = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next()?.to_owned();
        // `-` stands for a kernel that does not unload modules.
        let uses = fields.nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
        let users = fields.next().unwrap_or("-").split(',').filter(|u| !u.is_empty() && *u != "-");
        let users = users.map(str::to_owned).collect();
        let live = fields.next() == Some("Live");
        Some(Module { name, uses, users, live })
    };
    text.lines().filter_map(module).collect()
}

/// A module's name as the kernel spells it.
pub(super) fn spelled(name: &str) -> String {
    name.replace('-', "_")
}

/// The modules that are loaded now.
///
/// # Errors
/// When `/proc/modules` cannot be read.
pub(super) fn modules(host: &Host) -> Result<Vec<Module>, StepError> {
    Ok(parse(&host.root().read_text("/proc/modules")?))
}

/// The module of this name, if it is loaded now.
///
/// # Errors
/// When `/proc/modules` cannot be read.
pub(super) fn find(host: &Host, name: &str) -> Result<Option<Module>, StepError> {
    let name = spelled(name);
    Ok(modules(host)?.into_iter().find(|m| m.name == name))
}

/// The release of the running kernel (`uname -r`).
///
/// # Errors
/// When it cannot be read.
pub(super) fn release(host: &Host) -> Result<String, StepError> {
    Ok(host.root().read_text("/proc/sys/kernel/osrelease")?.trim().to_owned())
}

/// Refuses anything but the running machine.
///
/// # Errors
/// When this host has no kernel that runs.
pub(super) fn require_machine(host: &Host) -> Result<(), StepError> {
    if host.is_machine() {
        return Ok(());
    }
    Err(StepError::refused(
        "this is a directory tree, whose kernel does not run",
        "make the plan again for this root; its modules are loaded when it boots",
    ))
}

/// Refuses names that are none of a module, for they become arguments.
///
/// # Errors
/// When one is not.
pub(super) fn require_names(names: &[String]) -> Result<(), StepError> {
    let odd = |n: &&String| {
        n.is_empty()
            || !n.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
            || n.starts_with('-')
    };
    match names.iter().find(odd) {
        None => Ok(()),
        Some(name) => Err(StepError::refused(
            format!("`{}` is no name of a module", name.escape_debug()),
            "make the plan again; if it still says so, report it",
        )),
    }
}

/// Refuses a module that something uses, and names what does.
///
/// # Errors
/// When it is used.
pub(super) fn require_unused(host: &Host, module: &Module) -> Result<(), StepError> {
    if module.uses == 0 && module.users.is_empty() {
        return Ok(());
    }
    let mut by: Vec<String> = module.users.iter().map(|m| format!("the module {m}")).collect();
    by.extend(processes(host, &module.name));
    if by.is_empty() {
        by.push(format!("{} open handles", module.uses));
    }
    Err(StepError::refused(
        format!("{} is in use by {}", module.name, by.join(", ")),
        "shut down the virtual machines, close the programs that use it and try again",
    ))
}

/// The processes that hold a device of this module open (`/dev/vmmon`, `/dev/vmnet8`), as far as they can
/// be seen.
fn processes(host: &Host, module: &str) -> Vec<String> {
    let root = host.root();
    let device = format!("/dev/{module}");
    let mut found = Vec::new();
    for entry in root.list("/proc").unwrap_or_default() {
        let Ok(pid) = entry.name.parse::<u32>() else { continue };
        // Processes come and go: what cannot be read any more does not count.
        let fds = root.list(&format!("/proc/{pid}/fd")).unwrap_or_default();
        let holds = fds.iter().any(|fd| {
            let target = root.read_link(&format!("/proc/{pid}/fd/{}", fd.name)).unwrap_or_default();
            target.strip_prefix(&device).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        });
        if holds {
            let name = root.read_text(&format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push(format!("{} (process {pid})", name.trim()));
        }
    }
    found
}

/// What to do when the kernel does not take a module, by what modprobe says. Pure.
pub(super) fn remedy(said: &str) -> &'static str {
    if said.contains("Key was rejected") || said.contains("Required key not available") {
        "its signature is not trusted by this kernel: enroll the signing key, restart, and try again"
    } else if said.contains("Exec format error") || said.contains("Invalid module format") {
        "it was built for another kernel: build it anew for this one"
    } else if said.contains("Unknown symbol") {
        "the kernel lacks something that it needs; `journalctl -k` names it"
    } else if said.contains("Operation not permitted") {
        "the kernel is locked down or takes no more modules (`kernel.modules_disabled`): restart and try again"
    } else if said.contains("not found in directory") {
        "the module index does not know it: run `depmod` and try again"
    } else {
        "look at the kernel's log: `journalctl -k`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROC_MODULES: &str = "\
vmnet 73728 13 - Live 0xffffffffc0a2f000 (OE)
vmmon 167936 0 - Live 0xffffffffc0a00000 (OE)
vmw_vmci 118784 2 vmmon,vsock, Live 0xffffffffc09d0000
dummy 16384 0 - Loading 0x0000000000000000
odd
";

    #[test]
    fn users_counts_and_states_are_read() {
        let modules = parse(PROC_MODULES);
        let m = |name: &str, uses, users: &[&str], live| Module {
            name: name.into(),
            uses,
            users: users.iter().map(|u| (*u).to_owned()).collect(),
            live,
        };
        assert_eq!(
            modules,
            [
                m("vmnet", 13, &[], true),
                m("vmmon", 0, &[], true),
                m("vmw_vmci", 2, &["vmmon", "vsock"], true),
                m("dummy", 0, &[], false),
                m("odd", 0, &[], false),
            ]
        );
    }

    #[test]
    fn the_modules_of_this_machine_are_read() {
        let host = Host::machine().unwrap();
        if host.root().exists("/proc/modules") {
            let modules = modules(&host).unwrap();
            assert_eq!(modules.len(), std::fs::read_to_string("/proc/modules").unwrap().lines().count());
        }
        assert!(!release(&host).unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[ -~\n]{0,300}") {
            parse(&text);
        }
    }
}
