// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether there is room for the change and for what must be kept of the old state.

use super::error::RunError;
use super::folders::RUNS;
pub(super) use super::folders::RUNS as KEPT;
use super::plan::Plan;
use super::restore::folder;
use crate::host::{FileKind, Host};
use std::collections::BTreeMap;

/// For the records of the run itself, in bytes.
const RECORDS: u64 = 1 << 20;

/// The folder itself, or the nearest one above it that is there.
fn nearest(host: &Host, path: &str) -> String {
    let mut path = path;
    while path != "/" && !host.root().exists(path) {
        path = folder(path);
    }
    path.to_owned()
}

/// Refuses a plan for which there is no room.
///
/// # Errors
/// [`RunError::Space`] names the folder, what is needed and what is free.
pub(super) fn check(host: &Host, plan: &Plan) -> Result<(), RunError> {
    let mut needs: BTreeMap<u64, (String, u64)> = BTreeMap::new();
    let asked = plan.steps.iter().flat_map(|s| s.action().space(host));
    for (path, bytes) in asked.chain([(RUNS.to_owned(), RECORDS)]) {
        let at = nearest(host, &path);
        let need = needs.entry(host.root().file_system(&at)?).or_insert((at, 0));
        need.1 = need.1.saturating_add(bytes);
    }
    for (path, needed) in needs.into_values() {
        let (free, _) = host.root().space(&path)?;
        if free < needed {
            return Err(RunError::Space { path, needed, free });
        }
    }
    Ok(())
}

/// What it takes to replace `path` with `new` bytes: the old ones are kept, the new ones written beside.
pub(super) fn for_replacing(host: &Host, path: &str, new: u64) -> Vec<(String, u64)> {
    let kept = match host.root().symlink_metadata(path) {
        Ok(meta) if meta.kind == FileKind::File => meta.size,
        _ => 0,
    };
    vec![(RUNS.to_owned(), kept), (folder(path).to_owned(), new)]
}
