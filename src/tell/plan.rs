// SPDX-License-Identifier: GPL-3.0-or-later
//! Parts of a plan, and of an undo, in words. Pure.

use crate::engine::plan::{Note, Permission};

/// What a permission lets happen, in words.
pub(crate) fn permission(permission: Permission) -> &'static str {
    match permission {
        Permission::ModulesInstall => "install and load kernel modules",
        Permission::ApplicationsPatch => "change how applications are started",
        Permission::SystemTune => "change system settings",
        Permission::PackagesInstall => "install packages",
        Permission::BootConfigure => "change how the machine boots",
        Permission::KeysEnroll => "have a signing key trusted",
        Permission::VgpuInstall => "set up NVIDIA vGPU and its licences",
        Permission::MediaWrite => "erase a medium and write an image onto it",
        Permission::Undo => "take back what Hostwright did",
        Permission::Inspect => "look at what only root can see",
    }
}

/// What a file's difference says of the whole file ("new file, mode 0644"), and the lines that change, without
/// those that name the file once more.
pub(crate) fn told_and_diff(diff: &str) -> (String, Vec<&str>) {
    // What happens to the file stands before the difference; the difference names the file once more.
    let mut said = String::new();
    let mut body: Vec<&str> = Vec::new();
    for line in diff.lines() {
        let names_file = line.starts_with("--- ") || line.starts_with("+++ ");
        match line.as_bytes().first() {
            _ if names_file && !body.iter().any(|l| l.starts_with("@@")) => {}
            // All of a new file is new: its place in nothing says nothing.
            Some(b'@') if line.starts_with("@@ -0,0 ") => {}
            Some(b'+' | b'-' | b'@' | b' ' | b'\\') => body.push(line),
            _ if body.is_empty() => said = line.to_owned(),
            _ => body.push(line),
        }
    }
    (said, body)
}

/// Notes of one topic and text, which differ in what they are for only ("vmmon, 6.1.0-56-amd64").
pub(crate) fn grouped(notes: &[Note]) -> Vec<(&str, Vec<&str>, &str, Vec<&Note>)> {
    let mut groups: Vec<(&str, Vec<&str>, &str, Vec<&Note>)> = Vec::new();
    for note in notes {
        let (topic, of) = match note.topic.split_once(" (") {
            Some((topic, rest)) => (topic, rest.strip_suffix(')').unwrap_or(rest)),
            None => (note.topic.as_str(), ""),
        };
        match groups.iter_mut().find(|g| g.0 == topic && g.2 == note.text) {
            Some(group) => {
                group.1.push(of);
                group.3.push(note);
            }
            None => groups.push((topic, vec![of], &note.text, vec![note])),
        }
    }
    groups
}

/// What a note is for: modules, and kernels unless there is a single one. From "vmmon, 6.1" and the like.
pub(crate) fn applies_to(of: &[&str], single: bool) -> String {
    let mut by_modules: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    let mut by_kernel: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in of.iter().filter(|o| !o.is_empty()) {
        let (module, kernel) = one.split_once(", ").unwrap_or((one, ""));
        match by_kernel.iter_mut().find(|(k, _)| *k == kernel) {
            Some((_, modules)) => modules.push(module),
            None => by_kernel.push((kernel, vec![module])),
        }
    }
    for (kernel, modules) in by_kernel {
        match by_modules.iter_mut().find(|(m, _)| *m == modules) {
            Some((_, kernels)) => kernels.push(kernel),
            None => by_modules.push((modules, vec![kernel])),
        }
    }
    let words = |(modules, kernels): &(Vec<&str>, Vec<&str>)| {
        let modules = modules.join(", ");
        let kernels = kernels.join(", ");
        if single || kernels.is_empty() { modules } else { format!("{modules} for {kernels}") }
    };
    by_modules.iter().map(words).collect::<Vec<_>>().join("; ")
}

/// Lines that do the same in one folder, as one line.
pub(crate) fn shorter(lines: &[String]) -> Vec<String> {
    let mut groups: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for line in lines {
        let (verb, path) = line.rsplit_once(' ').unwrap_or(("", line));
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match groups.last_mut() {
            Some((v, f, names)) if *v == verb && *f == folder && path.starts_with('/') => names.push(name),
            _ => groups.push((verb, folder, vec![name])),
        }
    }
    let mut rest = lines.iter();
    let mut out = Vec::new();
    for (verb, folder, names) in groups {
        let same: Vec<&String> = rest.by_ref().take(names.len()).collect();
        if names.len() > 2 {
            out.push(format!("{verb} in {folder}: {}", names.join(", ")));
        } else {
            out.extend(same.into_iter().cloned());
        }
    }
    out
}
