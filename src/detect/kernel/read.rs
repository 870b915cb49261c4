// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads the kernels under `/lib/modules`.

use super::{Compression, Headers, Kernel, RunningKernel, compiler, config, headers};
use crate::detect::Finding;
use crate::detect::distro::{Distribution, KernelNames};
use crate::detect::look::{Look, NOT_RUNNING, compare_versions};
use crate::detect::modules::{self, Modinfo, ModuleFile, module_name, parse_modules_dep};
use crate::detect::os::{Family, Os};
use crate::host::{Command, FileKind};
use std::collections::BTreeSet;
use std::time::Duration;

const MODULES: &str = "/lib/modules";

/// Folders below a kernel's where modules from outside it are put by installers, DKMS, akmods, VMware.
const OUTSIDE_DIRS: &[&str] = &[
    "updates",
    "updates/dkms",
    "updates/vmware",
    "extra",
    "extra/vmware",
    "misc",
    "kernel/drivers/misc",
    "kernel/misc",
    "weak-updates",
    "weak-updates/vmware",
];

/// The modules looked for.
const VMWARE_MODULES: &[&str] = &["vmmon", "vmnet"];

/// When the kernel was started: `btime` of `/proc/stat` (proc_stat(5)).
fn started(stat: &str) -> Option<i64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Reads the running kernel.
pub(in crate::detect) fn running(look: &Look<'_>) -> Finding<RunningKernel> {
    if !look.running {
        return Finding::unseen(NOT_RUNNING);
    }
    let Some(release) = look.line("/proc/sys/kernel/osrelease") else {
        return Finding::unseen("/proc/sys/kernel/osrelease cannot be read");
    };
    let enforces = match look.text_if_there("/sys/module/module/parameters/sig_enforce") {
        Finding::Seen(Some(text)) => Finding::Seen(text.trim() == "Y"),
        // A kernel that cannot check signatures has no such parameter.
        Finding::Seen(None) => Finding::Seen(false),
        Finding::CouldNotLook { why } => Finding::CouldNotLook { why },
    };
    let lockdown = match look.text("/sys/kernel/security/lockdown") {
        Ok(text) => match chosen(&text) {
            Some(mode) => Finding::Seen(mode.to_owned()),
            None => Finding::unseen("/sys/kernel/security/lockdown says nothing known"),
        },
        Err(e) if e.is_not_found() && look.exists("/sys/kernel/security/lsm") => {
            Finding::Seen("none".to_owned())
        }
        Err(e) if e.is_not_found() => Finding::unseen("securityfs is not mounted"),
        Err(e) => Finding::unseen(e.to_string()),
    };
    Finding::Seen(RunningKernel {
        release,
        started: look.text("/proc/stat").ok().and_then(|text| started(&text)),
        version: look.line("/proc/version").unwrap_or_default(),
        command_line: look.line("/proc/cmdline").unwrap_or_default(),
        has_modules: look.exists("/proc/modules"),
        enforces_signatures: enforces,
        lockdown,
    })
}

/// The word in brackets ("none \[integrity\] confidentiality").
pub(in crate::detect) fn chosen(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(word, _)| word)
}

/// Reads all kernels, newest first.
pub(in crate::detect) fn kernels(look: &Look<'_>, os: &Finding<Os>) -> Finding<Vec<Kernel>> {
    let entries = match look.root().list(MODULES) {
        Ok(entries) => entries,
        Err(e) if e.is_not_found() => return Finding::Seen(vec![]),
        Err(e) => return Finding::unseen(e.to_string()),
    };
    let dir = look.root().resolve(MODULES).unwrap_or_else(|_| MODULES.to_owned());
    let mut releases: Vec<String> = entries
        .into_iter()
        .filter(|e| e.kind == FileKind::Directory)
        .map(|e| e.name)
        // A folder that only DKMS or a header package left behind is no kernel.
        .filter(|name| {
            ["modules.builtin", "modules.order", "kernel"]
                .iter()
                .any(|f| look.exists(&format!("{dir}/{name}/{f}")))
        })
        .collect();
    releases.sort_by(|a, b| compare_versions(b, a));
    let running = look.line("/proc/sys/kernel/osrelease");
    let read =
        |release: &String| one(look, os.seen(), release, &format!("{dir}/{release}"), running.as_deref());
    // Each takes a few milliseconds, mostly of decompressing one of its modules.
    let kernels = std::thread::scope(|scope| {
        let threads: Vec<_> = releases.iter().map(|release| scope.spawn(move || read(release))).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>()
    });
    match kernels {
        Ok(kernels) => Finding::Seen(kernels),
        Err(_) => Finding::unseen("looking at a kernel ended in an error of this program; please report it"),
    }
}

fn one(look: &Look<'_>, os: Option<&Os>, release: &str, modules_dir: &str, running: Option<&str>) -> Kernel {
    let distribution = Distribution::of(os.map_or(Family::Unknown, |os| os.family));
    let pkgbase = look.line(&format!("{modules_dir}/pkgbase"));
    let is_running = match (look.running, running) {
        (true, Some(running)) => Finding::Seen(running == release),
        (true, None) => Finding::unseen("/proc/sys/kernel/osrelease cannot be read"),
        (false, _) => Finding::unseen(NOT_RUNNING),
    };
    let mut build = headers::find(look, release, modules_dir);
    let build_dir = build.as_ref().map(|b| b.path.clone());
    let config = config::read(look, release, modules_dir, build_dir.as_deref(), is_running.is_true());
    if let (Some(build), Some(config)) = (build.as_mut(), config.seen()) {
        build.missing.extend(headers::missing_objtool(look, &build.path, config));
    }
    let headers = headers::state(build, || {
        let names = KernelNames { pkgbase: pkgbase.clone(), edition: edition(look, os, modules_dir) };
        match os {
            Some(os) => distribution.headers_package(os, release, &names),
            None => crate::detect::distro::HeadersPackage {
                package: None,
                command: format!("install the headers of the kernel {release} from your distribution"),
            },
        }
    });
    let modules_dep =
        look.root().read_at_most(&format!("{modules_dir}/modules.dep"), 16 << 20).unwrap_or_default();
    let modules_dep = String::from_utf8_lossy(&modules_dep);
    let compression = compression(&modules_dep, config.seen());
    let vermagic = vermagic(look, modules_dir, &modules_dep);
    Kernel {
        vmware_modules: vmware_modules(look, release, modules_dir, &modules_dep, &vermagic),
        compiler: kernel_compiler(look, build_dir.as_deref(), config.seen(), is_running.is_true()),
        image: image(look, release, modules_dir, pkgbase.as_deref()),
        sign_file: sign_file(look, release, build_dir.as_deref()),
        release: release.to_owned(),
        modules_dir: modules_dir.to_owned(),
        headers,
        vermagic,
        config,
        compression,
        is_running,
        is_next_boot: Finding::unseen("the boot loader was not looked at"),
        module_install_dir: distribution.module_dir,
        build_compiler: Finding::unseen("the toolchain was not looked at"),
    }
}

/// Version and release of the package that owns a kernel: only openSUSE's header packages need it, and
/// no file says it (the package database is binary).
fn edition(look: &Look<'_>, os: Option<&Os>, modules_dir: &str) -> Option<String> {
    if os?.family != Family::Suse {
        return None;
    }
    let query = Command::new("rpm")
        .args(["-qf", "--qf", "%{VERSION}-%{RELEASE}\\n", modules_dir])
        .timeout(Duration::from_secs(5));
    let output = look.host.runner().run(&look.host.tool(query)?).ok()?;
    let line = output.stdout.lines().next()?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_~+".contains(c);
    (output.success() && line.starts_with(|c: char| c.is_ascii_digit()) && line.chars().all(plain))
        .then(|| line.to_owned())
}

/// How a kernel's own modules are compressed: as most of what `modules.dep` begins with, else as its
/// configuration says.
fn compression(modules_dep: &str, config: Option<&super::KernelConfig>) -> Compression {
    let own = parse_modules_dep(modules_dep).find(|path| path.starts_with("kernel/"));
    match own.and_then(|path| path.rsplit('.').next()) {
        Some("xz") => return Compression::Xz,
        Some("zst") => return Compression::Zstd,
        Some("gz") => return Compression::Gzip,
        Some("ko") => return Compression::None,
        _ => {}
    }
    let set = |name| config.is_some_and(|c| c.is_set(name));
    if set("CONFIG_MODULE_COMPRESS_XZ") {
        Compression::Xz
    } else if set("CONFIG_MODULE_COMPRESS_ZSTD") {
        Compression::Zstd
    } else if set("CONFIG_MODULE_COMPRESS_GZIP") {
        Compression::Gzip
    } else {
        Compression::None
    }
}

/// The vermagic of one of the kernel's own modules: the smallest of the first few that `modules.dep` names, or
/// `modules.order`.
fn vermagic(look: &Look<'_>, modules_dir: &str, modules_dep: &str) -> Finding<String> {
    let own = parse_modules_dep(modules_dep).filter(|path| path.starts_with("kernel/")).take(12);
    let mut own: Vec<String> = own.map(str::to_owned).collect();
    if own.is_empty() {
        // The kernel's files are there and its package is not set up yet: its hooks, or those of its headers, may run now.
        let order = look.text(&format!("{modules_dir}/modules.order")).unwrap_or_default();
        let names = order.lines().filter(|line| line.starts_with("kernel/")).take(12);
        own = names.flat_map(|name| ["", ".xz", ".zst", ".gz"].map(|end| format!("{name}{end}"))).collect();
    }
    let mut sized: Vec<(u64, String)> = own
        .iter()
        .map(|path| format!("{modules_dir}/{path}"))
        .filter_map(|path| look.root().metadata(&path).ok().map(|meta| (meta.size, path)))
        .collect();
    sized.sort();
    let mut why = format!("no module of the kernel itself was found in {modules_dir}");
    for (_, path) in sized {
        match modules::read_module(look, &path)
            .and_then(|m| Modinfo::of_module(&m).map_err(|e| format!("{path}: {e}")))
        {
            Ok(info) => match info.get("vermagic") {
                Some(magic) => return Finding::Seen(magic.to_owned()),
                None => why = format!("{path}: it carries no vermagic"),
            },
            Err(e) => why = e,
        }
    }
    Finding::unseen(why)
}

fn kernel_compiler(
    look: &Look<'_>,
    build_dir: Option<&str>,
    config: Option<&super::KernelConfig>,
    is_running: bool,
) -> Finding<super::KernelCompiler> {
    let command = build_dir
        .and_then(|dir| look.text(&format!("{dir}/.kernelvariables")).ok())
        .and_then(|text| compiler::parse_makefile_cc(&text));
    let from_config = config.and_then(|c| c.get("CONFIG_CC_VERSION_TEXT")).map(str::to_owned);
    let from_header = || {
        let text = look.text(&format!("{}/include/generated/compile.h", build_dir?)).ok()?;
        compiler::parse_compile_h(&text).map(str::to_owned)
    };
    let from_proc = || {
        let text = is_running.then(|| look.line("/proc/version")).flatten()?;
        compiler::compiler_of_proc_version(&text).map(str::to_owned)
    };
    let Some(text) = from_config.or_else(from_header).or_else(from_proc) else {
        return Finding::unseen("nothing tells which compiler built it; the kernel's headers would");
    };
    match compiler::kernel_compiler(&text, command) {
        Some(compiler) => Finding::Seen(compiler),
        None => Finding::unseen(format!("the compiler's version text is not understood: {text}")),
    }
}

fn image(look: &Look<'_>, release: &str, modules_dir: &str, pkgbase: Option<&str>) -> Option<String> {
    let mut places = vec![
        format!("/boot/vmlinuz-{release}"),
        format!("/boot/kernel-{release}"),
        format!("/boot/kernel-genkernel-x86_64-{release}"),
        format!("/boot/bzImage-{release}"),
    ];
    places.extend(pkgbase.map(|base| format!("/boot/vmlinuz-{base}")));
    places.push(format!("{modules_dir}/vmlinuz"));
    places.into_iter().find(|place| look.exists(place))
}

fn sign_file(look: &Look<'_>, release: &str, build_dir: Option<&str>) -> Option<String> {
    let version = release.split(['-', '+']).next().unwrap_or(release);
    let short = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let mut places: Vec<String> =
        build_dir.map(|dir| format!("{dir}/scripts/sign-file")).into_iter().collect();
    places.push(format!("/usr/src/kernels/{release}/scripts/sign-file"));
    places.push(format!("/usr/src/linux-headers-{release}/scripts/sign-file"));
    places.push(format!("/usr/lib/linux-kbuild-{short}/scripts/sign-file"));
    places.into_iter().find_map(|place| look.root().resolve(&place).ok())
}

/// VMware's modules of a kernel: those in `modules.dep`, and those that lie where installers put them.
fn vmware_modules(
    look: &Look<'_>,
    release: &str,
    modules_dir: &str,
    modules_dep: &str,
    vermagic: &Finding<String>,
) -> Vec<ModuleFile> {
    let wanted = |path: &str| module_name(path).filter(|name| VMWARE_MODULES.contains(&name.as_str()));
    let listed: BTreeSet<&str> = parse_modules_dep(modules_dep)
        // Most of the thousands of lines are told apart by these letters alone.
        .filter(|path| (path.contains("vmmon") || path.contains("vmnet")) && wanted(path).is_some())
        .collect();
    let mut paths: BTreeSet<String> = listed.iter().map(|p| (*p).to_owned()).collect();
    for dir in OUTSIDE_DIRS {
        for entry in look.list(&format!("{modules_dir}/{dir}")) {
            if entry.kind != FileKind::Directory && wanted(&entry.name).is_some() {
                paths.insert(format!("{dir}/{}", entry.name));
            }
        }
    }
    let read = |path: String| {
        let name = wanted(&path)?;
        let full = format!("{modules_dir}/{path}");
        // modules.dep may still name what is gone.
        look.exists(&full)
            .then(|| modules::read_file(look, full, name, listed.contains(path.as_str()), release, vermagic))
    };
    paths.into_iter().filter_map(read).collect()
}

impl Kernel {
    /// Fills in what depends on the boot loader and the toolchain.
    pub(in crate::detect) fn complete(
        &mut self,
        next: &Finding<super::NextBoot>,
        toolchain: &Finding<crate::detect::Toolchain>,
    ) {
        self.is_next_boot = next.as_ref().map(|n| n.release == self.release);
        self.build_compiler = match (&self.compiler, toolchain) {
            (Finding::Seen(kernel), Finding::Seen(toolchain)) => {
                match (compiler::choose(kernel, toolchain), toolchain.unanswered.first()) {
                    // One may be there and have said nothing: that is not none.
                    (None, Some(why)) => Finding::unseen(why.clone()),
                    (choice, _) => Finding::Seen(choice),
                }
            }
            (Finding::CouldNotLook { why }, _) | (_, Finding::CouldNotLook { why }) => {
                Finding::unseen(why.clone())
            }
        };
    }

    /// Where to install this kernel's headers from, when they are not usable.
    pub fn headers_remedy(&self) -> Option<&str> {
        match &self.headers {
            Headers::Usable { .. } => None,
            Headers::Missing { command, .. } | Headers::Broken { command, .. } => Some(command),
        }
    }
}
