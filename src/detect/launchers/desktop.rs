// SPDX-License-Identifier: GPL-3.0-or-later
//! Desktop files that start VMware's programs past their launchers (`Exec=/usr/lib/vmware/bin/vmware`): these know
//! nothing of XWayland. Format: Desktop Entry Specification 1.5, "The Exec key".

use crate::host::{FileKind, Host, HostError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a machine's desktop files are (XDG Base Directory Specification).
const FOLDERS: [&str; 2] = ["/usr/local/share/applications", "/usr/share/applications"];
/// The largest that is read.
const LIMIT: u64 = 1 << 20;

/// A desktop file that bypasses a launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bypass {
    /// Its name ("vmware-workstation.desktop").
    pub name: String,
    /// Where it is.
    pub path: String,
    /// Its text, so that it starts the launchers.
    pub rerouted: String,
}

/// Desktop files of this machine that bypass launchers in `bindir`; of two with one name the first counts.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn bypasses(host: &Host, bindir: &str, launchers: &[&str]) -> Result<Vec<Bypass>, HostError> {
    let root = host.root();
    let mut seen: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for folder in FOLDERS {
        let entries = match root.list(folder) {
            Ok(entries) => entries,
            Err(e) if e.is_not_found() => continue,
            Err(e) => return Err(e),
        };
        for entry in entries {
            let named = entry.name.ends_with(".desktop") && entry.kind == FileKind::File;
            if !named || seen.contains(&entry.name) {
                continue;
            }
            seen.push(entry.name.clone());
            let path = format!("{folder}/{}", entry.name);
            let bytes = root.read_at_most(&path, LIMIT)?;
            // What is no UTF-8 is no desktop file.
            let Ok(text) = String::from_utf8(bytes) else { continue };
            if let Some(rerouted) = rerouted(&text, bindir, launchers) {
                found.push(Bypass { name: entry.name, path, rerouted });
            }
        }
    }
    Ok(found)
}

/// The text with every `Exec` and `TryExec` that starts a program of VMware's library folder going to the launcher of
/// the same name; `None` when none does. Pure.
pub fn rerouted(text: &str, bindir: &str, launchers: &[&str]) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut changed = false;
    for line in text.split_inclusive('\n') {
        match reroute(line, bindir, launchers) {
            Some(line) => {
                out.push_str(&line);
                changed = true;
            }
            None => out.push_str(line),
        }
    }
    changed.then_some(out)
}

fn reroute(line: &str, bindir: &str, launchers: &[&str]) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    if !matches!(key.trim(), "Exec" | "TryExec") {
        return None;
    }
    let blanks = value.len() - value.trim_start().len();
    let (before, value) = value.split_at(blanks);
    let (program, rest) = match value.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => {
            let end = value.find(|c: char| c.is_whitespace()).unwrap_or(value.len());
            value.split_at(end)
        }
    };
    // Arguments are parted by blanks, and quoted as a whole: anything else means what the specification does not say.
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let (folder, name) = program.rsplit_once('/')?;
    let is_vmware = folder.ends_with("/vmware/bin") && launchers.contains(&name);
    let plain = bindir.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    (is_vmware && plain).then(|| format!("{key}={before}{bindir}/{name}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 2] = ["vmware", "vmplayer"];

    #[test]
    fn only_what_goes_past_a_launcher_is_changed() {
        let text = "[Desktop Entry]\nName=VMware\nTryExec=/usr/lib/vmware/bin/vmware\nExec=\"/usr/lib/vmware/bin/vmware\" %U\n\
                    Icon=vmware\n[Desktop Action x]\nExec= /opt/vmware/bin/vmplayer -x\n";
        assert_eq!(
            rerouted(text, "/usr/bin", &NAMES).unwrap(),
            "[Desktop Entry]\nName=VMware\nTryExec=/usr/bin/vmware\nExec=/usr/bin/vmware %U\nIcon=vmware\n\
             [Desktop Action x]\nExec= /usr/bin/vmplayer -x\n"
        );
        for fine in [
            "Exec=/usr/bin/vmware %U\n",
            "Exec=vmware\n",
            "Exec=/usr/lib/vmware/bin/vmware-vmx\n",
            "# Exec=/usr/lib/vmware/bin/vmware\n",
            "Comment=Exec=/usr/lib/vmware/bin/vmware\n",
            "Exec=\"/usr/lib/vmware/bin/vmware\n",
            "Exec=\"/usr/lib/vmware/bin/vmware\"/usr/lib/vmware/bin/vmware\n",
        ] {
            assert_eq!(rerouted(fine, "/usr/bin", &NAMES), None, "{fine}");
        }
        assert_eq!(rerouted(text, "/usr/b in; x", &NAMES), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_once_is_enough(text in "(?s)(Exec=|\"|/usr/lib/vmware/bin/vmware| |\n|é|.){0,20}") {
            if let Some(once) = rerouted(&text, "/usr/bin", &NAMES) {
                prop_assert_eq!(rerouted(&once, "/usr/bin", &NAMES), None);
            }
        }
    }
}
