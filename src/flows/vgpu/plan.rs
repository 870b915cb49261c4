// SPDX-License-Identifier: GPL-3.0-or-later
//! Choices and facts in, the plan of a stage or a refusal out. Pure.

use super::catalogue::{Catalogue, DriverEntry};
use super::choices::{Choices, KeptFile, Role, Stage};
use super::decision::{ConditionKind, Decision, ExpectedInterface, KernelAction, KernelChoice, Row, Verdict};
use super::facts::VgpuFacts;
use super::licensing::{self, LicensingFacts};
use super::rules::{ProxmoxRelease, Rules, Series};
use super::setup::{KEPT, SetupFacts};
use super::{FLOW, overrides, sources};
use crate::detect::Finding;
use crate::detect::signing::{OWN_CERTIFICATE, OWN_KEY};
use crate::engine::Step;
use crate::engine::kernel_params::Parameter;
use crate::engine::plan::{Note, PLAN_VERSION, Permission, Plan, Refusal, Warning};
use crate::engine::steps::{
    BuildLibrary, CreateSigningKey, DriverPatch, EnableServices, EnrollKey, InitramfsTool, InstallDriver,
    KeepFile, PinKernel, RebuildInitramfs, UpdatePackageLists, WriteFile,
};
use crate::flows::{boot, packages};
use std::collections::BTreeMap;

const MODULES_LOAD: &str = "/etc/modules-load.d/hostwright-vgpu.conf";
const MODPROBE: &str = "/etc/modprobe.d/hostwright-vgpu.conf";
const PASSTHROUGH: &str = "/etc/udev/rules.d/61-hostwright-vgpu-passthrough.rules";
const DKMS: &str = "/etc/dkms/framework.conf.d/hostwright.conf";
const READY: &str = "hostwright-vgpu-ready.service";
const READY_UNIT: &str = "/etc/systemd/system/hostwright-vgpu-ready.service";
const SRIOV: &str = "hostwright-nvidia-sriov.service";
const SRIOV_UNIT: &str = "/etc/systemd/system/hostwright-nvidia-sriov.service";
pub(super) const UNLOCK_LIBRARY: &str = "/usr/local/lib/hostwright/libvgpu_unlock_rs.so";
const DROP_INS: [&str; 2] = [
    "/etc/systemd/system/nvidia-vgpud.service.d/hostwright-unlock.conf",
    "/etc/systemd/system/nvidia-vgpu-mgr.service.d/hostwright-unlock.conf",
];

/// The files that only this flow writes.
pub(super) const OWN_FILES: [&str; 8] =
    [MODULES_LOAD, MODPROBE, PASSTHROUGH, DKMS, READY_UNIT, SRIOV_UNIT, DROP_INS[0], DROP_INS[1]];

/// `vfio_virqfd` is a module of its own before this kernel.
const WITHOUT_VIRQFD: Series = Series { major: 6, minor: 2 };

/// The packages that are needed for a decision. `built`: the library for unlocked cards is here already. Pure.
pub(super) fn packages(
    decision: &Decision,
    choices: &Choices,
    facts: &VgpuFacts,
    release: &ProxmoxRelease,
    built: bool,
) -> Vec<String> {
    let Some(row) = decision.row() else { return Vec::new() };
    let mut wanted = Vec::new();
    if let Some(kernel) = &row.kernel {
        let unsigned = matches!(&row.verdict, Verdict::WorksIf { conditions }
            if conditions.iter().any(|c| c.kind == ConditionKind::SignedKernel));
        if kernel.action == KernelAction::InstallAndPin || unsigned {
            let stem = release.headers.replace("headers", "kernel");
            let signed = if release.signed_kernels { "-signed" } else { "" };
            wanted.push(format!("{stem}{}{signed}", kernel.release));
        }
        wanted.push(format!("{}{}", release.headers, kernel.release));
    }
    wanted.extend(["dkms", "build-essential", "mdevctl"].map(str::to_owned));
    if row.proxmox_helper && !facts.vgpu_helper.is_true() {
        wanted.push("pve-nvidia-vgpu-helper".to_owned());
    }
    if row.unlock_patch.is_some() && choices.unlock_source.is_some() && !built {
        wanted.push(release.cargo.clone());
    }
    wanted
}

/// What plans are made from.
struct Ground<'a> {
    choices: &'a Choices,
    facts: &'a SetupFacts,
    decision: &'a Decision,
    release: &'a ProxmoxRelease,
    driver: &'a DriverEntry,
    row: &'a Row,
    kernel: &'a KernelChoice,
}

/// Makes the plan of a stage.
///
/// # Errors
/// A refusal with its reason and what to do.
pub fn plan(
    choices: &Choices,
    facts: &SetupFacts,
    catalogue: &Catalogue,
    rules: &Rules,
) -> Result<Plan, Refusal> {
    if let Some(stage @ (Stage::Token | Stage::LicenceServer)) = choices.stage {
        return licensing(stage, choices, facts);
    }
    let decision = super::decide(choices, &facts.vgpu, catalogue, rules)?;
    let release = rules.proxmox(&decision.proxmox).ok_or_else(|| {
        let reason = format!("Nothing is known of Proxmox VE {}.", decision.proxmox);
        Refusal::new("proxmox-release", reason, "Known releases stand in data/vgpu/rules.toml.")
    })?;
    if choices.stage == Some(Stage::Passthrough) {
        let steps = passthrough(facts, &decision)?;
        return Ok(finish(choices, facts, Some(&decision), "GPU passthrough", steps, true, Vec::new()));
    }
    if choices.stage == Some(Stage::Assign) {
        let steps = super::assign::steps(choices, &facts.vgpu)?;
        return Ok(finish(
            choices,
            facts,
            Some(&decision),
            "A virtual GPU for a virtual machine",
            steps,
            false,
            Vec::new(),
        ));
    }
    if choices.stage == Some(Stage::Overrides) {
        let steps = override_file(choices, facts)?;
        return Ok(finish(
            choices,
            facts,
            Some(&decision),
            "Overrides of vGPU types",
            steps,
            false,
            Vec::new(),
        ));
    }
    let no_branch = || {
        Refusal::new(
            "no-branch",
            "No branch works here: every catalogued one has a reason against it.",
            "`hostwright vgpu branches` says them.",
        )
    };
    let row = decision.row().ok_or_else(no_branch)?;
    if let Verdict::No { reasons } = &row.verdict {
        let texts: Vec<&str> = reasons.iter().map(|r| r.text.as_str()).collect();
        let reason = format!("Branch {} does not work here: {}.", row.branch, texts.join("; "));
        return Err(Refusal::new(
            "branch-does-not-work",
            reason,
            "`hostwright vgpu branches` shows which do.",
        ));
    }
    let driver = catalogue.driver(row.branch).ok_or_else(no_branch)?;
    let kernel = row.kernel.as_ref().ok_or_else(|| {
        Refusal::new(
            "kernel-unseen",
            "Which kernel would run could not be seen, and nothing is prepared on a guess.",
            "Look as root, on the running host.",
        )
    })?;
    let ground = Ground { choices, facts, decision: &decision, release, driver, row, kernel };
    ground.check_files()?;
    let install = |g: &Ground<'_>| -> Result<Plan, Refusal> {
        let steps = g.install()?;
        let title = format!("vGPU, stage 2: host driver {} for {}", row.host_driver, kernel.release);
        Ok(finish(choices, facts, Some(&decision), &title, steps, false, g.warnings()))
    };
    if choices.stage == Some(Stage::Install) {
        ground.require_restarted()?;
        ground.require_packages()?;
        return install(&ground);
    }
    let steps = ground.prepare()?;
    if choices.stage.is_none() && steps.is_empty() && ground.require_restarted().is_ok() {
        return install(&ground);
    }
    let title = format!("vGPU, stage 1: this host is made ready for branch {}", row.branch);
    let reboot = !steps.is_empty();
    if !reboot {
        ground.require_restarted()?;
    }
    Ok(finish(choices, facts, Some(&decision), &title, steps, reboot, ground.warnings()))
}

/// The plan of what stands beside the cards: licences.
fn licensing(stage: Stage, choices: &Choices, facts: &SetupFacts) -> Result<Plan, Refusal> {
    if !matches!(facts.vgpu.proxmox, Finding::Seen(Some(_))) {
        return Err(Refusal::new(
            "not-proxmox",
            "This is no Proxmox VE, or that could not be looked at.",
            "Run this on the Proxmox host itself.",
        ));
    }
    let none = LicensingFacts::default();
    let seen = facts.licensing.as_ref().unwrap_or(&none);
    let (title, part) = if stage == Stage::Token {
        ("A licence token for a virtual machine", licensing::token(choices, seen)?)
    } else {
        let part = licensing::server(choices, seen, &facts.vgpu, &facts.packages, &facts.files)?;
        ("A licence server of one's own", part)
    };
    let plan = finish(choices, facts, None, title, part.steps, false, part.warnings);
    Ok(Plan { notes: part.notes, ..plan })
}

fn finish(
    choices: &Choices,
    facts: &SetupFacts,
    decision: Option<&Decision>,
    title: &str,
    steps: Vec<Step>,
    needs_reboot: bool,
    mut warnings: Vec<Warning>,
) -> Plan {
    let said =
        decision.iter().flat_map(|d| &d.warnings).map(|w| Warning { message: w.clone(), remedy: None });
    warnings.extend(said);
    let mut notes = Vec::new();
    if let Some(row) = decision.and_then(Decision::row) {
        let conditions = match &row.verdict {
            Verdict::WorksIf { conditions } => conditions.as_slice(),
            _ => &[],
        };
        notes.extend(conditions.iter().map(|c| Note {
            topic: format!("branch {}", row.branch),
            text: format!("works if {}", c.text),
            diff: None,
        }));
    }
    let decided = decision.and_then(|d| d.branch);
    let branch = decided.map(|b| b.to_string()).unwrap_or_default();
    // A choice that was left open is written down as it was decided, so that the next stage means the same.
    let choices = Choices { branch: decided.or(choices.branch), ..choices.clone() };
    Plan {
        version: PLAN_VERSION,
        flow: FLOW.to_owned(),
        title: title.to_owned(),
        choices: serde_json::to_value(choices).unwrap_or_default(),
        facts: serde_json::to_value(facts).unwrap_or_default(),
        permissions: steps.iter().flat_map(Step::permissions).collect(),
        needs_reboot: needs_reboot && !steps.is_empty(),
        steps,
        details: BTreeMap::from([("branch".to_owned(), branch), ("what".to_owned(), title.to_owned())]),
        warnings,
        left_out: Vec::new(),
        notes,
    }
}

/// A file of ours, unless it is so already.
fn file(facts: &SetupFacts, path: &str, content: &str, reason: &str) -> Option<Step> {
    if facts.files.iter().any(|f| f.path == path && f.text == content && f.mode == 0o644) {
        return None;
    }
    let (path, content) = (path.to_owned(), content.to_owned());
    Some(Step::WriteFile(WriteFile { path, content, mode: 0o644, reason: reason.to_owned() }))
}

/// The rule that hands cards to vfio-pci by their slot: cards of the same model stay apart.
fn passthrough_rules(decision: &Decision) -> String {
    let cards = decision.cards.iter().filter(|c| c.role == Role::Passthrough);
    cards
        .map(|card| {
            let slot = card.address.rsplit_once('.').map_or(card.address.as_str(), |(slot, _)| slot);
            // Also the other functions of the card (audio, USB). Written once before vfio-pci is there, it counts
            // when that comes; afterwards the kernel is asked to probe the device again.
            format!(
                "ACTION==\"add\", SUBSYSTEM==\"pci\", KERNEL==\"{slot}.*\", ATTR{{driver_override}}=\"vfio-pci\", \
                 ATTR{{subsystem/drivers_probe}}=\"$kernel\"\n"
            )
        })
        .collect()
}

fn passthrough(facts: &SetupFacts, decision: &Decision) -> Result<Vec<Step>, Refusal> {
    let rules = passthrough_rules(decision);
    if rules.is_empty() {
        return Err(Refusal::new(
            "no-card",
            "No card is chosen for passthrough.",
            "Name one: `--card 0000:41:00.0=passthrough`.",
        ));
    }
    let mut steps = Vec::new();
    steps.extend(file(facts, MODULES_LOAD, &modules_load(decision.kernel.as_deref()), "VFIO"));
    steps.extend(passthrough_file(facts, decision));
    steps.extend(iommu(facts)?);
    Ok(steps)
}

fn override_file(choices: &Choices, facts: &SetupFacts) -> Result<Vec<Step>, Refusal> {
    let Some(text) = &choices.overrides else {
        return Err(Refusal::new("no-overrides", "No overrides were given.", "Give a file."));
    };
    overrides::check(text)?;
    Ok(file(facts, overrides::PATH, text, "counts for virtual GPUs that are started from now on")
        .into_iter()
        .collect())
}

fn passthrough_file(facts: &SetupFacts, decision: &Decision) -> Option<Step> {
    let rules = passthrough_rules(decision);
    if rules.is_empty() {
        return None;
    }
    let content =
        format!("# Written by Hostwright: cards that are handed to virtual machines as a whole.\n{rules}");
    file(facts, PASSTHROUGH, &content, "cards for passthrough, by their slot")
}

fn modules_load(kernel: Option<&str>) -> String {
    let virqfd = kernel.and_then(Series::of).is_some_and(|s| s < WITHOUT_VIRQFD);
    let virqfd = if virqfd { "vfio_virqfd\n" } else { "" };
    format!("# Written by Hostwright for vGPU and passthrough.\nvfio\nvfio_iommu_type1\nvfio_pci\n{virqfd}")
}

/// The steps that bring the IOMMU about; none where it is in use.
fn iommu(facts: &SetupFacts) -> Result<Vec<Step>, Refusal> {
    if facts.vgpu.iommu.is_true() || !facts.intel.is_true() {
        return Ok(Vec::new());
    }
    let wanted: Result<Vec<Parameter>, _> =
        ["intel_iommu=on", "iommu=pt"].into_iter().map(str::parse).collect();
    let wanted = wanted.map_err(|_| Refusal::new("internal", "A kernel parameter is none.", "Report it."))?;
    boot::steps(&facts.boot, &wanted)
}

impl Ground<'_> {
    /// A file that was given must be the one that the catalogue knows, as far as it knows it.
    fn check_files(&self) -> Result<(), Refusal> {
        let plain = |f: &&KeptFile| {
            !f.name.is_empty() && !f.name.starts_with('.') && !f.name.contains('/') && f.name.len() < 200
        };
        for given in self.choices.driver.iter().chain(&self.choices.patch) {
            if !plain(&given) {
                let reason = format!("`{}` is no name of a file.", given.name.escape_debug());
                return Err(Refusal::new("bad-name", reason, "Give the file under its own name."));
            }
        }
        if let (Some(given), Some(known)) = (&self.choices.driver, &self.driver.sha256)
            && given.sha256 != *known
        {
            return Err(Refusal::new(
                "other-driver",
                format!(
                    "{} is not the driver of branch {}: its SHA-256 is another.",
                    given.name, self.row.branch
                ),
                "Get the file again (`hostwright vgpu download`).",
            ));
        }
        if let (Some(given), Some(wanted)) = (&self.choices.patch, &self.row.unlock_patch)
            && given.name != *wanted
        {
            return Err(Refusal::new(
                "other-patch",
                format!("The patch for {} is called {wanted}, not {}.", self.row.host_driver, given.name),
                "A patch is for exactly one build: give that one.",
            ));
        }
        Ok(())
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut found = Vec::new();
        if let Some(driver) = &self.choices.driver
            && self.driver.sha256.is_none()
        {
            found.push(Warning {
                message: format!("Nothing vouches for {}: its SHA-256 is {}.", driver.name, driver.sha256),
                remedy: Some("Go on only with a file from NVIDIA's licensing portal.".to_owned()),
            });
        }
        if self.row.unlock_patch.is_none() {
            let patch = self.choices.patch.as_ref().map(|p| format!("The patch {}", p.name));
            let source =
                self.choices.unlock_source.as_ref().map(|_| "The source of vgpu_unlock-rs".to_owned());
            found.extend(patch.into_iter().chain(source).map(|what| Warning {
                message: format!("{what} is not used: no card that serves here is unlocked."),
                remedy: Some("Leave `--patch` and `--unlock-source` out for native cards.".to_owned()),
            }));
        }
        if self.facts.vgpu.iommu.is_false() && !self.facts.intel.is_true() {
            found.push(Warning {
                message: "The IOMMU is not in use, and this processor needs no kernel parameter for it."
                    .to_owned(),
                remedy: Some("Switch AMD-Vi (IOMMU, SVM) on in the firmware.".to_owned()),
            });
        }
        found
    }

    fn prepare(&self) -> Result<Vec<Step>, Refusal> {
        let facts = self.facts;
        let mut steps: Vec<Step> = Vec::new();
        let edits = sources::edits(facts, self.release)?;
        let unseen = matches!(facts.packages.changes, Finding::CouldNotLook { .. });
        let later = !edits.is_empty() || unseen;
        let mut packages = packages::steps(&facts.packages, later, "to build and hold the driver")?;
        steps.extend(edits.into_iter().map(Step::WriteFile));
        if later && (!packages.is_empty() || !steps.is_empty()) {
            let reason = "packages of the sources as they are then".to_owned();
            steps.push(Step::UpdatePackageLists(UpdatePackageLists { reason }));
        }
        steps.append(&mut packages);
        steps.extend(self.signing());
        let mut initramfs = Vec::new();
        let kernel = Some(self.kernel.release.as_str());
        initramfs.extend(file(facts, MODULES_LOAD, &modules_load(kernel), "VFIO"));
        let blocked = "# Written by Hostwright: the free driver must not take a card first.\nblacklist nouveau\n\
                       options nouveau modeset=0\n";
        if facts.vgpu.nouveau_blocked_by.iter().all(|f| f == MODPROBE) {
            initramfs.extend(file(facts, MODPROBE, blocked, "nouveau stays away"));
        }
        initramfs.extend(passthrough_file(facts, self.decision));
        let anew = !initramfs.is_empty();
        steps.append(&mut initramfs);
        steps.extend(self.unlock_library()?);
        steps.extend(self.keep());
        steps.extend(iommu(facts)?);
        if anew {
            let release = self.kernel.release.clone();
            steps.push(Step::RebuildInitramfs(RebuildInitramfs {
                images: vec![format!("/boot/initrd.img-{release}")],
                kernel: release,
                tool: InitramfsTool::UpdateInitramfs,
            }));
        }
        if self.kernel.action != KernelAction::Keep {
            steps.push(Step::PinKernel(PinKernel {
                release: self.kernel.release.clone(),
                reason: self.kernel.reason.clone().unwrap_or_default(),
            }));
        }
        if !steps.is_empty() {
            steps.extend(self.report());
        }
        Ok(steps)
    }

    /// The key that DKMS signs with, where the firmware wants signatures. A request that was not answered at
    /// the blue screen is made again.
    fn signing(&self) -> Vec<Step> {
        let vgpu = &self.facts.vgpu;
        if !vgpu.secure_boot.is_true() {
            return Vec::new();
        }
        let mut steps = Vec::new();
        if !vgpu.key_trusted.is_true() {
            steps.push(Step::CreateSigningKey(CreateSigningKey {
                key: OWN_KEY.to_owned(),
                certificate: OWN_CERTIFICATE.to_owned(),
                common_name: "Hostwright module signing key".to_owned(),
            }));
            steps.push(Step::EnrollKey(EnrollKey { certificate: OWN_CERTIFICATE.to_owned() }));
            let content = format!(
                "# Written by Hostwright: modules are signed with the key that the firmware trusts.\n\
                 mok_signing_key={OWN_KEY}\nmok_certificate={OWN_CERTIFICATE}\n"
            );
            steps.extend(file(self.facts, DKMS, &content, "DKMS signs with this key"));
        }
        steps
    }

    fn unlock_library(&self) -> Result<Option<Step>, Refusal> {
        if self.row.unlock_patch.is_none() {
            return Ok(None);
        }
        let built = self.facts.library.as_ref();
        let Some(source) = self.choices.unlock_source.as_ref().or(built) else {
            return Err(Refusal::new(
                "no-unlock-source",
                "A card here must be unlocked, and the sources of vgpu_unlock-rs were not given.",
                "Give a folder with them and their dependencies (`cargo vendor`): `--unlock-source DIR`, or a commit of \
                 a git repository: `--unlock-git URL --unlock-commit HASH`; and the patch with `--patch FILE`.",
            ));
        };
        if built == Some(source) {
            return Ok(None);
        }
        Ok(Some(Step::BuildLibrary(BuildLibrary {
            source: source.clone(),
            output: "libvgpu_unlock_rs.so".to_owned(),
            path: UNLOCK_LIBRARY.to_owned(),
            what: "vgpu_unlock-rs".to_owned(),
        })))
    }

    /// What came with the run and is not kept yet.
    fn keep(&self) -> Vec<Step> {
        let patch = self.choices.patch.as_ref().filter(|_| self.row.unlock_patch.is_some());
        let given = [(self.choices.driver.as_ref(), "the driver"), (patch, "the patch")];
        given
            .into_iter()
            .filter_map(|(given, what)| Some((given?, what)))
            .filter(|(g, _)| self.facts.kept.get(&g.name) != Some(&g.sha256))
            .map(|(g, what)| {
                Step::KeepFile(KeepFile {
                    path: format!("{KEPT}/{}", g.name),
                    sha256: g.sha256.clone(),
                    size: g.size,
                    what: what.to_owned(),
                })
            })
            .collect()
    }

    /// The unit that tells, after the restart, that it can go on. It changes nothing.
    fn report(&self) -> Vec<Step> {
        let Some(program) = &self.facts.program else { return Vec::new() };
        let unit = format!(
            "# Written by Hostwright. It reports whether the second stage can begin; it changes nothing.\n[Unit]\n\
             Description=Tell whether vGPU can be set up further\nAfter=systemd-modules-load.service\n\n[Service]\n\
             Type=oneshot\nExecStart={program} vgpu ready --motd\n\n[Install]\nWantedBy=multi-user.target\n"
        );
        let written = file(self.facts, READY_UNIT, &unit, "tells when the second stage can begin");
        let enable = Step::EnableServices(EnableServices {
            units: vec![READY.to_owned()],
            start: false,
            permission: Permission::VgpuInstall,
        });
        written.into_iter().flat_map(|w| [w, enable.clone()]).collect()
    }

    /// Refuses the second stage as long as the first has not come into effect.
    fn require_restarted(&self) -> Result<(), Refusal> {
        let vgpu = &self.facts.vgpu;
        let wanted = &self.kernel.release;
        let again = "Restart the machine, then `hostwright vgpu continue`.";
        if vgpu.running.as_ref() != Some(wanted) {
            let now = vgpu.running.as_deref().unwrap_or("another kernel");
            let reason = format!("{now} runs, and the driver is for {wanted}.");
            return Err(Refusal::new("restart-first", reason, again));
        }
        if !vgpu.nouveau_loaded.is_false() {
            let reason = "The free driver nouveau holds cards (or that could not be looked at).";
            return Err(Refusal::new("restart-first", reason, again));
        }
        if vgpu.secure_boot.is_true() && !vgpu.key_trusted.is_true() {
            return Err(Refusal::new(
                "key-not-trusted",
                "The firmware does not trust the signing key yet: the blue screen of the last start was not answered.",
                "`hostwright vgpu apply --stage prepare` asks again; then restart, and choose Enroll MOK.",
            ));
        }
        Ok(())
    }

    /// Refuses the second stage where what the first installs is missing: the driver's installer would stop in the middle.
    fn require_packages(&self) -> Result<(), Refusal> {
        let missing = match &self.facts.packages.missing {
            Finding::Seen(missing) => missing.join(", "),
            Finding::CouldNotLook { why } => format!("it could not be looked which ({why})"),
        };
        if missing.is_empty() {
            return Ok(());
        }
        Err(Refusal::new(
            "prepare-first",
            format!("Packages that the driver is built with are missing: {missing}."),
            "`hostwright vgpu apply --stage prepare` installs them.",
        ))
    }

    fn install(&self) -> Result<Vec<Step>, Refusal> {
        let vgpu = &self.facts.vgpu;
        if let Finding::Seen(Some(there)) = &vgpu.driver {
            if there.loaded.as_deref() == Some(&self.row.host_driver) && there.is_vgpu {
                return Ok(Vec::new());
            }
            return Err(Refusal::new(
                "driver-there",
                format!(
                    "A driver of NVIDIA's is installed ({}).",
                    there
                        .loaded
                        .as_deref()
                        .or(there.dkms.first().map(String::as_str))
                        .unwrap_or("version unknown")
                ),
                "`hostwright vgpu upgrade` takes one of Hostwright's back first; another is removed by nvidia-uninstall.",
            ));
        }
        let Some(driver) = &self.choices.driver else {
            return Err(Refusal::new(
                "no-driver",
                format!("The driver's file {} is needed and was not given.", self.driver.file_name),
                "Give it with `--driver FILE` (`hostwright vgpu download` fetches and verifies it).",
            ));
        };
        let patch = match (&self.row.unlock_patch, &self.choices.patch) {
            (None, _) => None,
            (Some(_), Some(p)) => Some(DriverPatch {
                file: format!("{KEPT}/{}", p.name),
                sha256: p.sha256.clone(),
                name: p.name.clone(),
            }),
            (Some(wanted), None) => {
                let reason = format!("The patch {wanted} is needed and was not given.");
                return Err(Refusal::new("no-patch", reason, "Give it with `--patch FILE`."));
            }
        };
        let mut steps = self.keep();
        if patch.is_some() {
            let content = format!("[Service]\nEnvironment=LD_PRELOAD={UNLOCK_LIBRARY}\n");
            let reason = "the services see the card as one that is made for vGPU";
            steps.extend(DROP_INS.iter().filter_map(|path| file(self.facts, path, &content, reason)));
        }
        steps.push(Step::InstallDriver(InstallDriver {
            file: format!("{KEPT}/{}", driver.name),
            sha256: driver.sha256.clone(),
            version: self.row.host_driver.clone(),
            arguments: self.row.installer.clone(),
            patch,
            kernel: self.kernel.release.clone(),
        }));
        let enable = |units: &[&str]| {
            Step::EnableServices(EnableServices {
                units: units.iter().map(|u| (*u).to_owned()).collect(),
                start: true,
                permission: Permission::VgpuInstall,
            })
        };
        steps.push(enable(&["nvidia-vgpud.service", "nvidia-vgpu-mgr.service"]));
        if self.row.interface != ExpectedInterface::Mdev {
            if self.row.proxmox_helper {
                steps.push(enable(&["pve-nvidia-sriov@ALL.service"]));
            } else {
                let unit = "# Written by Hostwright.\n[Unit]\nDescription=Virtual functions of NVIDIA cards\n\
                            After=nvidia-vgpud.service nvidia-vgpu-mgr.service\nBefore=pve-guests.service\n\n[Service]\n\
                            Type=oneshot\nRemainAfterExit=yes\nExecStart=/usr/lib/nvidia/sriov-manage -e ALL\n\n[Install]\n\
                            WantedBy=multi-user.target\n";
                steps.extend(file(self.facts, SRIOV_UNIT, unit, "virtual functions at every start"));
                steps.push(enable(&[SRIOV]));
            }
        }
        Ok(steps)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
