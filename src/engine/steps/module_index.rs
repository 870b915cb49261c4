// SPDX-License-Identifier: GPL-3.0-or-later
//! The module index of a kernel: the files that depmod(8) makes in `/lib/modules/K`.

use crate::engine::error::StepError;
use crate::host::{FileKind, Host, HostError, HostKind};
use std::collections::{BTreeMap, BTreeSet};

/// What depmod makes (kmod, `tools/depmod.c`). `modules.order`, `modules.builtin` and
/// `modules.builtin.modinfo` are the kernel's own and only read by it.
const MADE: [&str; 11] = [
    "modules.alias",
    "modules.alias.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.bin",
    "modules.dep",
    "modules.dep.bin",
    "modules.devname",
    "modules.softdep",
    "modules.symbols",
    "modules.symbols.bin",
    "modules.weakdep",
];

/// The kernel's own files beside them.
const KERNELS_OWN: [&str; 3] = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];

/// How deep folders of modules are looked at; the kernel's own go 8 deep.
const DEPTH: usize = 24;

/// The folder of a kernel's modules.
pub(super) fn folder(kernel: &str) -> String {
    format!("/lib/modules/{kernel}")
}

/// A kernel release is one name of a folder.
///
/// # Errors
/// When it is not, or no such kernel is installed.
pub(super) fn require_kernel(host: &Host, kernel: &str) -> Result<(), StepError> {
    let plain = !kernel.is_empty() && !kernel.contains(['/', '\0']) && !kernel.starts_with(['.', '-']);
    if !plain {
        return Err(StepError::refused(
            format!("`{}` is no kernel release", kernel.escape_debug()),
            "make the plan again; if it still says so, report it",
        ));
    }
    match host.root().metadata(&folder(kernel)) {
        Ok(meta) if meta.kind == FileKind::Directory => Ok(()),
        Ok(_) => Err(StepError::refused(
            format!("{} is no directory", folder(kernel)),
            "look at it and install the kernel anew",
        )),
        Err(e) if e.is_not_found() => Err(StepError::refused(
            format!("the kernel {kernel} is no longer installed"),
            "make the plan again, without it",
        )),
        Err(e) => Err(e.into()),
    }
}

/// The index files of a kernel: all that depmod may make, and whatever else of that kind is there (a
/// later depmod may make more).
pub(super) fn files(host: &Host, kernel: &str) -> Result<BTreeSet<String>, HostError> {
    let dir = folder(kernel);
    let mut names: BTreeSet<String> = MADE.iter().map(|n| (*n).to_owned()).collect();
    for entry in host.root().list(&dir)? {
        let ours = entry.name.starts_with("modules.") && !KERNELS_OWN.contains(&entry.name.as_str());
        if ours && entry.kind != FileKind::Directory {
            names.insert(entry.name);
        }
    }
    Ok(names.into_iter().map(|n| format!("{dir}/{n}")).collect())
}

/// Whether a name is that of a file that depmod was still writing: `modules.dep.PID.USEC.SEC`
/// (kmod, `depmod_output`).
pub(super) fn is_half_made(name: &str) -> bool {
    let mut parts = name.rsplitn(4, '.');
    let numbers = (0..3).all(|_| {
        parts.next().is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
    });
    numbers && parts.next().is_some_and(|rest| MADE.contains(&rest))
}

/// Which argument of `depmod -b` makes it work on this root. Links are resolved inside the root first, so
/// that depmod, which would follow them on the running machine, is never led out of it.
///
/// # Errors
/// When the modules are not at `…/lib/modules/K` once links are resolved.
pub(super) fn base_for_depmod(host: &Host, kernel: &str) -> Result<String, StepError> {
    let real = host.root().resolve(&folder(kernel))?;
    match real.strip_suffix(&folder(kernel)) {
        Some(base) => Ok(host.root().outside(base).display().to_string()),
        None => Err(StepError::refused(
            format!("{} leads to {real}, where depmod would not look for it", folder(kernel)),
            "put the modules there instead of the link",
        )),
    }
}

/// Whether the kernel of a partial or complete root is worked on from outside.
pub(super) fn from_outside(host: &Host) -> bool {
    host.kind() == HostKind::PartialRoot
}

/// The paths that modules.dep names, relative to the kernel's folder. Pure; see modules.dep(5).
pub(super) fn named(modules_dep: &str) -> Vec<&str> {
    modules_dep.lines().filter_map(|l| l.split_once(':')).map(|(path, _)| path.trim()).collect()
}

/// A module's name by its file: "vhost_net" for `kernel/drivers/vhost/vhost-net.ko.xz`. Pure.
pub(super) fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = ["", ".gz", ".xz", ".zst"].iter().find_map(|c| file.strip_suffix(&format!(".ko{c}")))?;
    Some(stem.replace('-', "_"))
}

/// What is wrong with the index of a kernel, if anything: a module that it does not name, or a name
/// without a file.
pub(super) fn flaw(host: &Host, kernel: &str) -> Result<Option<String>, HostError> {
    let dir = folder(kernel);
    let text = match host.root().read_text(&format!("{dir}/modules.dep")) {
        Err(e) if e.is_not_found() => return Ok(Some("modules.dep is not there".to_owned())),
        other => other?,
    };
    let named = named(&text);
    for path in &named {
        let path = if path.starts_with('/') { (*path).to_owned() } else { format!("{dir}/{path}") };
        if !host.root().exists(&path) {
            return Ok(Some(format!("it names {path}, which is not there")));
        }
    }
    let known: BTreeSet<String> = named.iter().filter_map(|p| name_of(p)).collect();
    let there = modules(host, &dir)?;
    Ok(there
        .iter()
        .find(|(name, _)| !known.contains(*name))
        .map(|(_, path)| format!("it does not name {path}")))
}

/// The modules below a folder: name → one of its files.
fn modules(host: &Host, dir: &str) -> Result<BTreeMap<String, String>, HostError> {
    let mut found = BTreeMap::new();
    let mut todo = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = todo.pop() {
        for entry in host.root().list(&dir)? {
            let path = format!("{dir}/{}", entry.name);
            match entry.kind {
                // As depmod: links to the kernel's sources are not looked into.
                FileKind::Directory if depth < DEPTH && !["build", "source"].contains(&&*entry.name) => {
                    todo.push((path, depth + 1));
                }
                FileKind::File | FileKind::Symlink => {
                    let name = name_of(&entry.name);
                    if let Some(name) = name.filter(|_| host.root().exists(&path)) {
                        found.insert(name, path);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules_are_as_the_kernel_spells_them() {
        assert_eq!(name_of("kernel/drivers/vhost/vhost-net.ko.xz").as_deref(), Some("vhost_net"));
        assert_eq!(name_of("a.ko"), Some("a".into()));
        assert_eq!(name_of("a.ko.zst"), Some("a".into()));
        assert_eq!(name_of("a.kо"), None);
        assert_eq!(name_of("modules.dep"), None);
    }

    #[test]
    fn only_what_depmod_was_still_writing_is_called_half_made() {
        assert!(is_half_made("modules.dep.4711.123456.1700000000"));
        assert!(is_half_made("modules.builtin.alias.bin.1.2.3"));
        for name in ["modules.dep", "modules.dep.bin", "modules.dep.1.2", "modules.mine.1.2.3", "a.1.2.3"] {
            assert!(!is_half_made(name), "{name}");
        }
    }

    #[test]
    fn the_index_is_read_line_by_line() {
        let text = "kernel/a.ko: kernel/b.ko kernel/c.ko\nkernel/b.ko:\n\n/ext/d.ko:\n";
        assert_eq!(named(text), ["kernel/a.ko", "kernel/b.ko", "/ext/d.ko"]);
    }
}
