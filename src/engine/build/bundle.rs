// SPDX-License-Identifier: GPL-3.0-or-later
//! What a report of a failed build needs, in one archive: logs, plan with its facts, configuration. No
//! sources and nothing binary: they are not ours to give away.

use super::log::BuildLog;
use crate::engine::steps::BuildModules;
use crate::host::{Host, HostError};
use std::io::{self, Write};

/// The parts of a kernel's configuration that decide how modules are built.
const TELLING: [&str; 14] = [
    "CONFIG_CC_",
    "CONFIG_GCC_",
    "CONFIG_CLANG_",
    "CONFIG_LTO",
    "CONFIG_CFI",
    "CONFIG_MODULE",
    "CONFIG_MODVERSIONS",
    "CONFIG_OBJTOOL",
    "CONFIG_UBSAN",
    "CONFIG_WERROR",
    "CONFIG_RETHUNK",
    "CONFIG_MITIGATION",
    "CONFIG_X86_KERNEL_IBT",
    "CONFIG_PREEMPT",
];

/// The most that is taken of one file, in bytes.
const TAKEN: u64 = 16 << 20;

/// Writes `LOG_report.tar.gz` and returns its path.
///
/// # Errors
/// When it cannot be written.
pub(in crate::engine) fn write(
    host: &Host,
    step: &BuildModules,
    log: &BuildLog,
    plan: Option<&str>,
    explanation: &str,
) -> Result<String, HostError> {
    let root = host.root();
    let path = format!("{}_report.tar.gz", log.path().trim_end_matches(".log"));
    let mut parts = vec![("explanation.txt".to_owned(), explanation.as_bytes().to_vec())];
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let mut logs = vec![log.path().to_owned()];
    logs.extend(step.modules.iter().map(|m| log.path_of(&m.module)));
    for file in logs.iter().map(String::as_str).chain(plan) {
        if let Ok(bytes) = root.read_at_most(file, TAKEN) {
            parts.push((name(file), bytes));
        }
    }
    if let Ok(config) = root.read_at_most(&format!("{}/.config", step.build_dir), TAKEN) {
        parts
            .push(("config-excerpt.txt".to_owned(), telling(&String::from_utf8_lossy(&config)).into_bytes()));
    }
    if let Ok(os) = root.read_at_most("/etc/os-release", 64 << 10) {
        parts.push(("os-release".to_owned(), os));
    }
    let now = u64::try_from(host.clock().now().as_second()).unwrap_or(0);
    let bytes = archive(&parts, now).map_err(|source| HostError {
        path: path.clone(),
        what: "could not pack",
        source,
    })?;
    root.write(&path, &bytes, 0o644, None)?;
    Ok(path)
}

fn telling(config: &str) -> String {
    let wanted = |line: &&str| {
        let option = line.trim_start_matches("# ");
        TELLING.iter().any(|t| option.starts_with(t))
    };
    config.lines().filter(wanted).flat_map(|l| [l, "\n"]).collect()
}

fn archive(parts: &[(String, Vec<u8>)], mtime: u64) -> io::Result<Vec<u8>> {
    let mut tar =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()));
    for (name, bytes) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(mtime);
        tar.append_data(&mut header, format!("hostwright-report/{name}"), bytes.as_slice())?;
    }
    let mut gzip = tar.into_inner()?;
    gzip.flush()?;
    gzip.finish()
}
