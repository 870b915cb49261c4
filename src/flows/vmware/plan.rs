// SPDX-License-Identifier: GPL-3.0-or-later
//! Choices and facts in, a plan or a refusal out. Pure: no clock, no file, no command.

use super::build::{build, is_present, rehearse, target};
use super::choices::{Choices, LoadChoice, RehearseChoice, SourceChoice, UpdateChoice};
use super::facts::{KernelFacts, KeyFacts, SourceFacts, VmwareFacts};
use super::trust::{Signing, decide_signing, enroll, own_key};
use super::{FLOW, MODULES, dkms, updates};
use crate::detect::CompilerFit;
use crate::engine::edit::TextEdit;
use crate::engine::plan::{LeftOut, PLAN_VERSION, Permission, Plan, Refusal, Warning};
use crate::engine::steps::{
    BuildModules, CreateSigningKey, Depmod, InstallModule, LoadModules, Mode, RebuildInitramfs, Rehearse,
    RemoveFile, SignWith, StopServices, UnloadModules, WriteFile,
};
use crate::engine::{Step, steps::RestartServices};
use std::collections::{BTreeMap, BTreeSet};

/// Loads the modules at boot (modules-load.d(5)).
pub const MODULES_LOAD: &str = "/etc/modules-load.d/hostwright-vmware.conf";
/// Order of loading (modprobe.d(5), `softdep`).
pub const MODPROBE: &str = "/etc/modprobe.d/hostwright-vmware.conf";

const MODULES_LOAD_TEXT: &str = "\
# Written by Hostwright: VMware's kernel modules, loaded at every boot.
vmmon
vmnet
";

const MODPROBE_TEXT: &str = "\
# Written by Hostwright: the kernel's own VMCI driver comes before VMware's modules.
softdep vmmon pre: vmw_vmci
softdep vmnet pre: vmmon
";

/// How the sources of one module are adapted to one kernel: resolved, nothing left to decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adapted {
    /// The force-included header.
    pub compat_header: String,
    /// Edits, in order.
    pub edits: Vec<TextEdit>,
    /// kbuild variables.
    pub make_vars: Vec<String>,
    /// What was applied: id, reason, difference.
    pub applied: Vec<(String, String, Option<String>)>,
}

/// Resolves adaptations for one kernel and module: pure, given by whoever knows the catalogue.
pub type Resolver<'a> = dyn Fn(&KernelFacts, &SourceFacts, Mode, &str) -> Result<Adapted, Refusal> + 'a;

/// Makes the plan.
///
/// # Errors
/// A refusal with its reason and what to do.
pub fn plan(choices: &Choices, facts: &VmwareFacts, resolve: &Resolver<'_>) -> Result<Plan, Refusal> {
    refuse_what_cannot_be(choices, facts)?;
    let named = matches!(choices.kernels, super::choices::KernelChoice::Releases(_));
    dkms::refuse(choices.updates, choices.sign, facts)?;
    let by_dkms = facts.dkms.as_ref().filter(|_| choices.updates == UpdateChoice::Dkms);
    let mut warnings = warnings(facts);
    let mut notes = Vec::new();
    let mut left_out: Vec<LeftOut> = facts
        .unusable
        .iter()
        .map(|k| LeftOut {
            kernel: k.release.clone(),
            reason: k.reason.clone(),
            remedy: Some(k.remedy.clone()),
            named,
        })
        .collect();
    let (mut builds, mut tries) = (Vec::new(), Vec::new());
    let mut permissions = BTreeSet::new();
    let mut needs_reboot = false;

    let signing = match by_dkms {
        Some(dkms) => {
            let (key, create) = dkms::key(facts, dkms);
            Signing::with(key, create, facts)
        }
        None => decide_signing(choices, facts)?,
    };
    let mut changed_kernels = Vec::new();
    let mut installs = Vec::new();
    let mut refused = None;
    for kernel in &facts.kernels {
        let choices = &choices.for_kernel(&kernel.release);
        let mut kernel_notes = Vec::new();
        let (wanted, records) = match build(choices, facts, kernel, resolve, &mut kernel_notes) {
            Ok(built) => built,
            // One kernel that cannot be served does not stop the others.
            Err(refusal) if facts.kernels.len() > 1 => {
                warnings.push(Warning {
                    message: format!("{} is left out: {}", kernel.release, refusal.reason),
                    remedy: refusal.remedy.clone(),
                });
                left_out.push(LeftOut {
                    kernel: kernel.release.clone(),
                    reason: refusal.reason.clone(),
                    remedy: refusal.remedy.clone(),
                    named,
                });
                refused = Some((refused.map_or(1, |(n, _)| n + 1), refusal));
                continue;
            }
            Err(refusal) => return Err(refusal),
        };
        // DKMS signs by itself, and only where the kernel checks.
        let key = signing.key.as_ref().filter(|_| by_dkms.is_none() || kernel.checks_signatures);
        let owned = by_dkms.is_none_or(|dkms| dkms.registered && dkms.kernels.contains(&kernel.release));
        if owned && records.iter().all(|(module, record)| is_present(kernel, module, record, key)) {
            continue;
        }
        notes.extend(kernel_notes);
        // Both are built and installed together: they share structures of one product version.
        match by_dkms {
            Some(dkms) => installs.extend(dkms::install(kernel, |m| target(kernel, m), key, dkms)),
            None => installs.extend(install_steps(kernel, &wanted, key)?),
        }
        tries.extend(rehearse(choices, facts, kernel, &wanted, &mut warnings)?.map(Step::Rehearse));
        builds.push(Step::BuildModules(wanted));
        changed_kernels.push(kernel);
    }
    // All builds come first, for they are done together.
    let mut steps = builds;
    steps.extend(tries);
    if let Some((count, refusal)) = refused
        && count == facts.kernels.len()
    {
        return Err(refusal);
    }
    // Nothing on the machine is changed before everything is built and tried.
    if signing.create {
        permissions.insert(Permission::KeysEnroll);
        let key = signing.key.clone().unwrap_or_else(own_key);
        let of = if by_dkms.is_some() { "DKMS" } else { "Hostwright" };
        steps.push(Step::CreateSigningKey(CreateSigningKey {
            key: key.key,
            certificate: key.certificate,
            common_name: format!("{of} module signing key"),
        }));
    }
    let hooks = updates::steps(choices, facts, &mut warnings)?;
    if !hooks.is_empty() {
        // They run as root whenever a kernel is installed.
        permissions.extend([Permission::BootConfigure, Permission::SystemTune]);
    }
    // DKMS reads what the first of these write.
    let (before, after) = if by_dkms.is_some() { (hooks, Vec::new()) } else { (Vec::new(), hooks) };
    steps.extend(before);
    steps.extend(installs);
    if choices.boot {
        steps.extend(boot_steps(facts));
    }
    steps.extend(after);
    if let Some(note) = updates::explained(choices.updates, facts) {
        notes.push(note);
    }
    for kernel in &changed_kernels {
        steps.push(Step::Depmod(Depmod { kernel: kernel.release.clone() }));
        if let Some(initramfs) = &kernel.initramfs {
            permissions.insert(Permission::BootConfigure);
            steps.push(Step::RebuildInitramfs(RebuildInitramfs {
                kernel: kernel.release.clone(),
                tool: initramfs.tool,
                images: initramfs.images.clone(),
            }));
        }
    }
    if let Some(enroll) = enroll(choices, &signing, &mut warnings) {
        permissions.insert(Permission::KeysEnroll);
        needs_reboot = true;
        steps.push(enroll);
    }
    match loading(choices, facts, &changed_kernels, &signing) {
        Loading::Now(loads) => steps.extend(loads),
        Loading::AfterReboot(why) => {
            needs_reboot = true;
            warnings.push(Warning { message: why, remedy: None });
        }
        Loading::Not => {}
    }
    if !steps.is_empty() {
        permissions.insert(Permission::ModulesInstall);
    }

    let releases: Vec<String> = facts.kernels.iter().map(|k| k.release.clone()).collect();
    Ok(Plan {
        version: PLAN_VERSION,
        flow: FLOW.to_owned(),
        title: format!("VMware modules for {}", releases.join(", ")),
        choices: serde_json::to_value(choices).unwrap_or_default(),
        facts: serde_json::to_value(facts).unwrap_or_default(),
        steps,
        permissions,
        details: BTreeMap::from([
            ("kernels".to_owned(), releases.join(", ")),
            ("modules".to_owned(), MODULES.join(", ")),
        ]),
        warnings,
        left_out,
        notes,
        needs_reboot,
    })
}

fn refuse_what_cannot_be(choices: &Choices, facts: &VmwareFacts) -> Result<(), Refusal> {
    if let Some(guidance) = &facts.immutable {
        let reason = format!(
            "{} manages its modules itself; files installed into it are lost or refused.",
            facts.system
        );
        return Err(Refusal::new("immutable-system", reason, guidance.clone()));
    }
    if facts.kernels.is_empty() {
        let Some(first) = facts.unusable.first() else {
            return Err(Refusal::new(
                "no-kernel",
                "No installed kernel was found under /lib/modules.",
                "Install a kernel and its headers, or name one with --kernel.",
            ));
        };
        let reasons: Vec<String> =
            facts.unusable.iter().map(|k| format!("{}: {}", k.release, k.reason)).collect();
        let all = format!("No chosen kernel can be built for. {}", reasons.join("; "));
        return Err(Refusal::new("headers-missing", all, first.remedy.clone()));
    }
    let optimized = |k: &KernelFacts| choices.for_kernel(&k.release).mode == Mode::Optimized;
    if facts.cpu.is_none() && facts.kernels.iter().any(optimized) {
        return Err(Refusal::new(
            "processor-unknown",
            "The processor that optimized modules would be for is not known here.",
            "Use --mode vanilla; on a scratch root nothing tells the processor.",
        ));
    }
    if !facts.missing_tools.is_empty() {
        return Err(Refusal::new(
            "tools-missing",
            format!("To build modules, this is missing: {}.", facts.missing_tools.join(", ")),
            "Install it and look again.",
        ));
    }
    for module in MODULES {
        if !facts.sources.iter().any(|s| s.module == module) {
            let (reason, remedy) = match &choices.source {
                SourceChoice::Installed => (
                    format!("No sources of {module} are installed."),
                    "Install VMware Workstation or Player, or give the sources with --source FOLDER.",
                ),
                SourceChoice::Sealed { name, .. } => (
                    format!("{name} holds no sources of {module}."),
                    "Give a folder or archive with vmmon-only and vmnet-only in it.",
                ),
            };
            return Err(Refusal::new("sources-missing", reason, remedy));
        }
    }
    let touches_running =
        facts.machine && choices.load == LoadChoice::Auto && facts.kernels.iter().any(|k| k.running);
    if touches_running && !facts.in_the_way.is_empty() {
        return Err(Refusal::new(
            "vmware-running",
            format!("VMware is running: {}.", facts.in_the_way.join(", ")),
            "Shut down the virtual machines and close VMware, or install without loading (--no-load).",
        ));
    }
    Ok(())
}

/// For what has no way to say that it left a kernel out which was asked for.
fn refuse_left_out(choices: &Choices, facts: &VmwareFacts) -> Result<(), Refusal> {
    if let super::choices::KernelChoice::Releases(_) = choices.kernels
        && let Some(first) = facts.unusable.first()
    {
        let reason = format!("{}: {}", first.release, first.reason);
        return Err(Refusal::new("headers-missing", reason, first.remedy.clone()));
    }
    Ok(())
}

fn warnings(facts: &VmwareFacts) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut add = |message: String, remedy: Option<String>| warnings.push(Warning { message, remedy });
    for kernel in &facts.unusable {
        add(format!("{} is left out: {}", kernel.release, kernel.reason), Some(kernel.remedy.clone()));
    }
    for kernel in &facts.kernels {
        if matches!(kernel.compiler_fit, CompilerFit::OtherMajor | CompilerFit::OtherKind) {
            add(format!("{}: {}", kernel.release, kernel.compiler_note), None);
        }
    }
    if let Some(why) = &facts.processes_unseen
        && facts.machine
    {
        add(format!("It could not be seen whether VMware is running: {why}"), None);
    }
    if let Some(why) = &facts.secure_boot_unseen
        && facts.machine
    {
        add(format!("It could not be seen whether Secure Boot is in effect: {why}"), None);
    }
    warnings
}

/// What is built and tried, and nothing else: for a rehearsal without any change.
///
/// # Errors
/// As [`plan`].
pub fn rehearsals(
    choices: &Choices,
    facts: &VmwareFacts,
    resolve: &Resolver<'_>,
) -> Result<Vec<(BuildModules, Rehearse)>, Refusal> {
    let choices = Choices { rehearse: RehearseChoice::Always, load: LoadChoice::Never, ..choices.clone() };
    refuse_what_cannot_be(&choices, facts)?;
    refuse_left_out(&choices, facts)?;
    let mut all = Vec::new();
    for kernel in &facts.kernels {
        let choices = choices.for_kernel(&kernel.release);
        let (build, _) = build(&choices, facts, kernel, resolve, &mut Vec::new())?;
        if let Some(rehearsal) = rehearse(&choices, facts, kernel, &build, &mut Vec::new())? {
            all.push((build, rehearsal));
        }
    }
    Ok(all)
}

/// What is built for each kernel, and nothing else.
///
/// # Errors
/// As [`plan`].
pub fn builds(
    choices: &Choices,
    facts: &VmwareFacts,
    resolve: &Resolver<'_>,
) -> Result<Vec<BuildModules>, Refusal> {
    refuse_what_cannot_be(choices, facts)?;
    refuse_left_out(choices, facts)?;
    let one = |kernel: &KernelFacts| {
        let choices = choices.for_kernel(&kernel.release);
        Ok(build(&choices, facts, kernel, resolve, &mut Vec::new())?.0)
    };
    facts.kernels.iter().map(one).collect()
}

fn install_steps(
    kernel: &KernelFacts,
    build: &BuildModules,
    key: Option<&KeyFacts>,
) -> Result<Vec<Step>, Refusal> {
    let sign = match key {
        None => None,
        Some(key) => Some(SignWith {
            key: key.key.clone(),
            certificate: key.certificate.clone(),
            hash: kernel.signature_hash.clone(),
            sign_file: kernel.sign_file.clone().ok_or_else(|| {
                Refusal::new(
                    "sign-file-missing",
                    format!("{}: the kernel's sign-file program was not found.", kernel.release),
                    "Install the kernel's headers (and its kbuild package) completely.",
                )
            })?,
        }),
    };
    let mut steps = Vec::new();
    for module in &build.modules {
        let to = target(kernel, &module.module);
        for other in kernel.present.iter().filter(|p| p.module == module.module && p.path != to) {
            steps.push(Step::RemoveFile(RemoveFile {
                path: other.path.clone(),
                reason: format!(
                    "another copy of {} for {}; kept in the journal",
                    module.module, kernel.release
                ),
            }));
        }
        steps.push(Step::InstallModule(InstallModule {
            kernel: kernel.release.clone(),
            module: module.module.clone(),
            to,
            compression: kernel.compression,
            sign: sign.clone(),
        }));
    }
    Ok(steps)
}

fn boot_steps(facts: &VmwareFacts) -> Vec<Step> {
    let wanted = [
        (MODULES_LOAD, MODULES_LOAD_TEXT, "loads the modules at every boot"),
        (MODPROBE, MODPROBE_TEXT, "loads the kernel's VMCI driver before them"),
    ];
    wanted
        .into_iter()
        .filter(|(path, text, _)| facts.files.get(*path).and_then(Option::as_deref) != Some(*text))
        .map(|(path, text, reason)| {
            Step::WriteFile(WriteFile {
                path: path.to_owned(),
                content: text.to_owned(),
                mode: 0o644,
                reason: reason.to_owned(),
            })
        })
        .collect()
}

enum Loading {
    Now(Vec<Step>),
    AfterReboot(String),
    Not,
}

fn loading(choices: &Choices, facts: &VmwareFacts, changed: &[&KernelFacts], signing: &Signing) -> Loading {
    let Some(kernel) = facts.kernels.iter().find(|k| k.running) else { return Loading::Not };
    if !facts.machine || choices.load == LoadChoice::Never {
        return Loading::Not;
    }
    let trusted = signing.key.as_ref().is_some_and(|k| k.trusted == Some(true));
    if signing.required && !trusted {
        return Loading::AfterReboot(
            "The modules are installed now and load once their signing key is trusted, after a restart."
                .to_owned(),
        );
    }
    let all_loaded = MODULES.iter().all(|m| facts.loaded.iter().any(|l| l == m));
    let renewed = changed.iter().any(|k| k.release == kernel.release);
    if all_loaded && !renewed {
        return Loading::Not;
    }
    let mut steps = Vec::new();
    let to_unload: Vec<String> = MODULES
        .iter()
        .rev()
        .filter(|m| facts.loaded.iter().any(|l| l == *m))
        .map(|m| (*m).to_owned())
        .collect();
    if !to_unload.is_empty() {
        // Services hold the devices open; those that were active are started again at the end.
        if !facts.services.is_empty() {
            steps.push(Step::StopServices(StopServices { units: facts.services.clone() }));
        }
        steps.push(Step::UnloadModules(UnloadModules { modules: to_unload }));
    }
    let modules = MODULES.iter().map(|m| (*m).to_owned()).collect();
    steps.push(Step::LoadModules(LoadModules { kernel: kernel.release.clone(), modules }));
    if !facts.services.is_empty() {
        steps.push(Step::RestartServices(RestartServices { units: facts.services.clone() }));
    }
    Loading::Now(steps)
}
