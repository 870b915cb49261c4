// SPDX-License-Identifier: GPL-3.0-or-later
//! The sources of a machine.

use super::{Repository, SourcesFile, SourcesFormat};
use crate::detect::Finding;
use crate::detect::look::Look;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file that APT reads its sources from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AptFile {
    /// Its path.
    pub path: String,
    /// Its format.
    pub format: SourcesFormat,
    /// Its entries, disabled ones too.
    pub repositories: Vec<Repository>,
    /// What APT would refuse: "line 3: …".
    pub problems: Vec<String>,
}

/// Reads `/etc/apt/sources.list` and all of `/etc/apt/sources.list.d`, in the order in which APT does.
pub(in crate::detect) fn read(look: &Look<'_>) -> Finding<Vec<AptFile>> {
    let dir = "/etc/apt/sources.list.d";
    let mut paths = vec![("/etc/apt/sources.list".to_owned(), SourcesFormat::OneLine)];
    match look.root().list(dir) {
        Ok(entries) => {
            let mut names: Vec<String> = entries.into_iter().map(|e| e.name).collect();
            names.sort();
            for name in names {
                if let Some(format) = SourcesFormat::of_name(&name) {
                    paths.push((format!("{dir}/{name}"), format));
                }
            }
        }
        Err(e) if e.is_not_found() => {}
        Err(e) => return Finding::unseen(e.to_string()),
    }
    let mut files = Vec::new();
    for (path, format) in paths {
        match look.text_if_there(&path) {
            Finding::Seen(Some(text)) => {
                let file = SourcesFile::parse(format, &text);
                let problems =
                    file.problems().into_iter().map(|(line, why)| format!("line {line}: {why}")).collect();
                files.push(AptFile { path, format, repositories: file.repositories(), problems });
            }
            Finding::Seen(None) => {}
            Finding::CouldNotLook { why } => return Finding::CouldNotLook { why },
        }
    }
    Finding::Seen(files)
}
