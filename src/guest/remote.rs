// SPDX-License-Identifier: GPL-3.0-or-later
//! What can be asked of a guest that runs, over its QMP socket. Facts: `qapi/*.json` of QEMU.

use super::error::GuestError;
use super::live;
use super::qmp::Qmp;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long QEMU may take to answer what it can answer at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a snapshot may take: the guest's memory is written out.
const SNAPSHOT: Duration = Duration::from_secs(600);

/// Whether it runs ("running"), is paused ("paused"), or what else QEMU says.
///
/// # Errors
/// When QEMU does not answer.
pub fn status(qmp: &mut Qmp) -> Result<String, GuestError> {
    let status = qmp.execute("query-status", &Value::Null, PATIENCE)?;
    Ok(status.get("status").and_then(Value::as_str).unwrap_or("unknown").to_owned())
}

/// Ends the machine at once, like pulling its plug; its disks are written out.
///
/// # Errors
/// When QEMU does not answer.
pub fn stop(qmp: &mut Qmp) -> Result<(), GuestError> {
    qmp.execute("quit", &Value::Null, PATIENCE).map(|_| ())
}

/// Presses the machine's power button; its system decides what comes of it.
///
/// # Errors
/// When QEMU does not answer.
pub fn power_button(qmp: &mut Qmp) -> Result<(), GuestError> {
    qmp.execute("system_powerdown", &Value::Null, PATIENCE).map(|_| ())
}

/// Stops its processors; its time stands still.
///
/// # Errors
/// When QEMU does not answer.
pub fn suspend(qmp: &mut Qmp) -> Result<(), GuestError> {
    qmp.execute("stop", &Value::Null, PATIENCE).map(|_| ())
}

/// Lets its processors run again.
///
/// # Errors
/// When QEMU does not answer.
pub fn resume(qmp: &mut Qmp) -> Result<(), GuestError> {
    qmp.execute("cont", &Value::Null, PATIENCE).map(|_| ())
}

/// A picture of its screen (PNG).
///
/// # Errors
/// When the machine has no graphics card, or the file cannot be written.
pub fn screenshot(qmp: &mut Qmp, path: &Path) -> Result<(), GuestError> {
    live::screenshot(qmp, path).map_err(|e| match e {
        GuestError::Qmp(said) if said.contains("no console") || said.contains("no surface") => {
            GuestError::refused(
                "no-screen",
                "this guest has no graphics card",
                "boot it with --display gtk or sdl; an ISO image and a disk always have one",
            )
        }
        e => e,
    })
}

/// Saves its state, memory and disks, inside its first disk under the name `tag`.
///
/// # Errors
/// When it has no disk that can hold it.
pub fn snapshot(qmp: &mut Qmp, tag: &str) -> Result<(), GuestError> {
    job(qmp, "snapshot-save", tag)
}

/// Sets it back to what [`snapshot`] saved.
///
/// # Errors
/// When there is no such snapshot.
pub fn restore(qmp: &mut Qmp, tag: &str) -> Result<(), GuestError> {
    job(qmp, "snapshot-load", tag)
}

/// The block nodes that take part in a snapshot: writable qcow2 ones. Pure, from `query-block`.
fn nodes(blocks: &Value) -> Vec<String> {
    let all = blocks.as_array().map(Vec::as_slice).unwrap_or_default();
    let inserted = all.iter().filter_map(|b| b.get("inserted"));
    inserted
        .filter(|i| i.get("ro") == Some(&Value::Bool(false)))
        .filter(|i| i.get("drv").and_then(Value::as_str) == Some("qcow2"))
        .filter_map(|i| i.get("node-name").and_then(Value::as_str).map(str::to_owned))
        .filter(|n| !n.starts_with("uefi-"))
        .collect()
}

fn job(qmp: &mut Qmp, command: &str, tag: &str) -> Result<(), GuestError> {
    let blocks = qmp.execute("query-block", &Value::Null, PATIENCE)?;
    let nodes = nodes(&blocks);
    let Some(first) = nodes.first() else {
        return Err(GuestError::refused(
            "no-snapshot-disk",
            "this guest has no writable disk in qcow2 format, and its state has to be kept in one",
            "give it one: --disk 4G, or --disk IMAGE.qcow2 --writable",
        ));
    };
    let id = format!("hostwright-{}", std::process::id());
    let arguments = json!({ "job-id": id, "tag": tag, "vmstate": first, "devices": nodes });
    qmp.execute(command, &arguments, PATIENCE)?;
    let began = Instant::now();
    loop {
        let jobs = qmp.execute("query-jobs", &Value::Null, PATIENCE)?;
        let jobs = jobs.as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(job) = jobs.iter().find(|j| j.get("id").and_then(Value::as_str) == Some(id.as_str())) else {
            return Err(GuestError::Qmp(format!("`{command}` is gone without a word")));
        };
        if job.get("status").and_then(Value::as_str) == Some("concluded") {
            let error = job.get("error").and_then(Value::as_str).map(str::to_owned);
            qmp.execute("job-dismiss", &json!({ "id": id }), PATIENCE)?;
            return error.map_or(Ok(()), |said| Err(GuestError::Qmp(format!("`{command}`: {said}"))));
        }
        if began.elapsed() > SNAPSHOT {
            return Err(GuestError::Qmp(format!("`{command}` did not end within {} s", SNAPSHOT.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_takes_the_disks_that_can_hold_one() {
        let blocks = json!([
            {"device": "cdrom", "inserted": {"ro": true, "drv": "raw", "node-name": "#block1"}},
            {"device": "disk0", "inserted": {"ro": false, "drv": "qcow2", "node-name": "disk0"}},
            {"device": "disk1", "inserted": {"ro": false, "drv": "raw", "node-name": "disk1"}},
            {"device": "", "inserted": {"ro": false, "drv": "qcow2", "node-name": "uefi-vars"}},
            {"device": "empty"}
        ]);
        assert_eq!(nodes(&blocks), ["disk0"]);
        assert!(nodes(&Value::Null).is_empty());
    }
}
