// SPDX-License-Identifier: GPL-3.0-or-later
//! What is built for a kernel and tried with it, and when that is there already. Pure.

use super::MODULES;
use super::choices::{Choices, RehearseChoice};
use super::facts::{KernelFacts, KeyFacts, SourceFacts, VmwareFacts};
use super::plan::Resolver;
use crate::engine::plan::{Note, Refusal, Warning};
use crate::engine::steps::{BuildModules, Compiler, Compression, Mode, ModuleBuild, Rehearse};
use sha2::{Digest, Sha256};

pub(super) fn build(
    choices: &Choices,
    facts: &VmwareFacts,
    kernel: &KernelFacts,
    resolve: &Resolver<'_>,
    notes: &mut Vec<Note>,
) -> Result<(BuildModules, Vec<(String, String)>), Refusal> {
    let mut modules = Vec::new();
    let mut records = Vec::new();
    for name in MODULES {
        let Some(source) = facts.sources.iter().find(|s| s.module == name) else { continue };
        let record = record(choices, facts, kernel, source);
        let adapted = resolve(kernel, source, choices.mode, &record)?;
        for (id, reason, diff) in adapted.applied {
            let topic = format!("{id} ({name}, {})", kernel.release);
            notes.push(Note { topic, text: reason, diff });
        }
        records.push((name.to_owned(), record));
        modules.push(ModuleBuild {
            module: name.to_owned(),
            source: source.from.clone(),
            source_sha256: source.sha256.clone(),
            edits: adapted.edits,
            compat_header: adapted.compat_header,
            make_vars: adapted.make_vars,
        });
    }
    let build = BuildModules {
        kernel: kernel.release.clone(),
        build_dir: kernel.build_dir.clone(),
        build_id: kernel.build_id.clone(),
        vermagic: kernel.vermagic.clone(),
        mode: choices.mode,
        compiler: Compiler { cc: kernel.cc.clone(), version: kernel.cc_version.clone(), llvm: kernel.llvm },
        modules,
        go_on: facts.kernels.len() > 1,
    };
    Ok((build, records))
}

/// What a module is built from, as one short word that it carries in its `.modinfo`: a module that has
/// it need not be built again.
pub fn record(choices: &Choices, facts: &VmwareFacts, kernel: &KernelFacts, source: &SourceFacts) -> String {
    let cpu = facts.cpu.as_ref().filter(|_| choices.mode == Mode::Optimized);
    let identity = serde_json::json!([
        source.sha256,
        facts.catalogue,
        kernel.build_id,
        kernel.vermagic,
        kernel.cc,
        kernel.cc_version,
        kernel.probes,
        choices.mode,
        cpu,
    ]);
    let all = hex::encode(Sha256::digest(identity.to_string()));
    format!("{}-{}", source_mark(&source.sha256), &all[..24])
}

/// The first part of a record: from which sources.
fn source_mark(sha256: &str) -> String {
    hex::encode(Sha256::digest(sha256))[..16].to_owned()
}

/// Whether a record is of these sources; `None` for one of an earlier version, which does not say.
pub fn is_of(record: &str, source_sha256: &str) -> Option<bool> {
    let (mark, _) = record.split_once('-')?;
    Some(mark == source_mark(source_sha256))
}

/// Whether a module is there as this build would make it.
pub(super) fn is_present(kernel: &KernelFacts, module: &str, record: &str, key: Option<&KeyFacts>) -> bool {
    let mut copies = kernel.present.iter().filter(|p| p.module == module);
    let (Some(only), None) = (copies.next(), copies.next()) else { return false };
    only.path == target(kernel, module)
        && only.fits
        && only.record.as_deref() == Some(record)
        && only.signer.is_some() == key.is_some()
}

pub(super) fn target(kernel: &KernelFacts, module: &str) -> String {
    let suffix = match kernel.compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Xz => ".xz",
        Compression::Zstd => ".zst",
    };
    format!("{}/{module}.ko{suffix}", kernel.install_dir)
}

/// The rehearsal of what is built for a kernel; none, with a warning that says why, where it cannot be done.
pub(super) fn rehearse(
    choices: &Choices,
    facts: &VmwareFacts,
    kernel: &KernelFacts,
    build: &BuildModules,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Rehearse>, Refusal> {
    if choices.rehearse == RehearseChoice::Never {
        return Ok(None);
    }
    let required = choices.rehearse == RehearseChoice::Always;
    let (why, remedy) = match (&facts.no_rehearsal, &kernel.image) {
        (None, Some(image)) => {
            return Ok(Some(Rehearse {
                kernel: kernel.release.clone(),
                image: image.clone(),
                modules: build.modules.iter().map(|m| m.module.clone()).collect(),
                required,
            }));
        }
        (Some(missing), _) => (format!("this is missing for it: {missing}"), "Install it and look again."),
        (None, None) => (
            "its boot image is not there, or cannot be read".to_owned(),
            "Look for its vmlinuz in /boot; on some systems only root can read it.",
        ),
    };
    let release = &kernel.release;
    if required {
        let reason = format!("The modules for {release} cannot be tried in a virtual machine: {why}.");
        let remedy = format!("{remedy} Or leave --rehearse out.");
        return Err(Refusal::new("rehearsal-impossible", reason, remedy));
    }
    let message = format!("The modules for {release} are not tried in a virtual machine first: {why}.");
    let warning = Warning { message, remedy: Some(remedy.to_owned()) };
    if !warnings.contains(&warning) {
        warnings.push(warning);
    }
    Ok(None)
}
