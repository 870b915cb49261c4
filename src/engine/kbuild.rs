// SPDX-License-Identifier: GPL-3.0-or-later
//! How kbuild is called for external modules, and what its output tells. Pure.
//!
//! The modules' own makefile is not run as a person would run it (`make -C vmmon-only`): that asks
//! `uname -r` for the kernel, copies files beside its folder and starts kbuild for itself. kbuild is called
//! directly with the variables that this outer pass would have set.
//! (Documentation/kbuild/modules.rst, kbuild.rst and llvm.rst of the kernel.)

use super::source::Files;
use super::steps::{BuildModules, Compiler, Mode, ModuleBuild};
use crate::host::{Command, INSIDE};
use std::collections::BTreeSet;

/// How many jobs one call of `make` may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// So many of its own.
    Own(usize),
    /// One of its own, and more from a job server whose pipe it inherits: (read end, write end).
    Shared(i32, i32),
}

/// The folder of a module inside the sandbox. The name is VMware's own, and always the same, so that the
/// same input gives the same output: kbuild writes paths into debugging information.
pub fn folder(module: &str) -> String {
    format!("{INSIDE}/{module}-only")
}

/// Whether the module can only be built after those before it in the list, whose symbols it reads.
pub fn needs_previous(module: &ModuleBuild) -> bool {
    module.make_vars.iter().any(|v| v.starts_with("KBUILD_EXTRA_SYMBOLS"))
}

/// Variables that choose the compiler. `LLVM=-19` takes all tools of that version (since 5.18; an older
/// kbuild reads it as `LLVM=1`, so that the compiler is named beside it).
fn compiler(compiler: &Compiler) -> Vec<String> {
    let mut vars = Vec::new();
    if compiler.llvm {
        let suffix = compiler.cc.strip_prefix("clang").filter(|s| s.starts_with('-'));
        vars.push(format!("LLVM={}", suffix.unwrap_or("1")));
    }
    vars.push(format!("CC={}", compiler.cc));
    vars
}

/// The call of kbuild for one module, as it runs inside the sandbox.
pub fn make(build: &BuildModules, module: &ModuleBuild, jobs: Jobs) -> Command {
    let folder = folder(&module.module);
    let mut command = Command::new("make").args(["-C".to_owned(), build.build_dir.clone()]);
    command = match jobs {
        Jobs::Own(n) => command.arg(format!("-j{n}")),
        // As a sub-make would get it: GNU make manual, "POSIX Jobserver Interaction".
        Jobs::Shared(read, write) => command.env("MAKEFLAGS", format!(" -j --jobserver-auth={read},{write}")),
    };
    command
        .args([format!("M={folder}"), "V=1".to_owned()])
        .args(compiler(&build.compiler))
        .args([
            // What the outer pass of VMware's makefile sets; other sources do not read it.
            format!("SRCROOT={folder}"),
            "VM_KBUILD=yes".to_owned(),
            "VM_KBUILD_SHOWN=yes".to_owned(),
            format!("VM_UNAME={}", build.kernel),
            "MODULEBUILDDIR=".to_owned(),
        ])
        .args(module.make_vars.iter().cloned())
        .arg("modules")
}

/// Takes the debugging information out of the finished modules, as distributions do with theirs: it is nine
/// tenths of them, and nothing at run time reads it. Symbols and BTF stay.
pub fn strip(build: &BuildModules) -> Command {
    let tool = match (build.compiler.llvm, build.compiler.cc.strip_prefix("clang")) {
        (true, suffix) => format!("llvm-strip{}", suffix.unwrap_or_default()),
        (false, _) => "strip".to_owned(),
    };
    Command::new(tool).arg("-g").args(build.modules.iter().map(|m| output(&m.module)))
}

/// Where the finished module is, relative to the sandbox's writable folder.
pub fn output(module: &str) -> String {
    format!("{module}-only/{module}.ko")
}

/// How many object files a build of these sources makes: those that the makefiles name, or whose C files
/// they take by pattern, and the one that kbuild adds. An estimate for progress only.
pub fn objects(files: &Files) -> usize {
    let sources: Vec<&str> =
        files.keys().filter_map(|p| p.strip_suffix(".c").or(p.strip_suffix(".S"))).collect();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for (path, bytes) in files {
        let name = path.rsplit('/').next().unwrap_or(path);
        if !(name == "Kbuild" || name == "Makefile" || name.starts_with("Makefile.")) {
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        for word in text.split(|c: char| c.is_whitespace() || "$(),:=".contains(c)) {
            if let Some(stem) = word.strip_suffix(".o") {
                named.extend(sources.iter().filter(|s| **s == stem));
            } else if let Some(folder) = word.strip_suffix("/*.c") {
                // Of `$(SRCROOT)/linux/*.c` the part after the variable is `/linux`.
                let folder = folder.trim_start_matches(['.', '/']);
                named.extend(sources.iter().filter(|s| s.rsplit_once('/').map_or("", |(d, _)| d) == folder));
            }
        }
    }
    let count = if named.is_empty() { sources.len() } else { named.len() };
    count + 1
}

/// Counts object files as their commands go by.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    seen: BTreeSet<String>,
    total: usize,
}

impl Progress {
    /// Begins with an estimate of [`objects`].
    pub fn new(total: usize) -> Self {
        Self { seen: BTreeSet::new(), total }
    }

    /// Reads one line of `make V=1`; returns whether one more object file was begun.
    pub fn line(&mut self, line: &str) -> bool {
        compiled_object(line).is_some_and(|object| self.seen.insert(object.to_owned()))
    }

    /// Object files that are done: all that were begun but the last, which is still being compiled.
    pub fn done(&self) -> usize {
        self.seen.len().saturating_sub(1)
    }

    /// Object files in all, never fewer than were begun.
    pub fn total(&self) -> usize {
        self.total.max(self.seen.len())
    }
}

/// The object file that a command line of the compiler makes (`… -c -o X.o X.c …`).
fn compiled_object(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    let (mut compiles, mut object) = (false, None);
    while let Some(word) = words.next() {
        match word {
            "-c" => compiles = true,
            "-o" => object = object.or(words.next()),
            // What follows is the next command on the line (objtool, fixdep).
            ";" | "&&" => break,
            _ => {}
        }
    }
    let object = object.map(|o| o.trim_end_matches(';'));
    object.filter(|o| compiles && o.ends_with(".o"))
}

/// The head of a module's log: everything that decided how it was built.
pub fn log_header(build: &BuildModules, module: &ModuleBuild, command: &Command, when: &str) -> String {
    let mode = match build.mode {
        Mode::Vanilla => "vanilla (the kernel's own flags)",
        Mode::Optimized => "optimized",
    };
    let mut adaptations: Vec<&str> = module.edits.iter().map(|e| e.adaptation.as_str()).collect();
    adaptations.dedup();
    let none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let env: String = command.env.iter().map(|(k, v)| format!("{k}='{v}' ")).collect();
    format!(
        "# hostwright {version}, {when}\n\
         # module: {name}\n\
         # kernel: {kernel}\n\
         # vermagic: {vermagic}\n\
         # build tree: {dir} ({id})\n\
         # compiler: {cc} {cc_version}{llvm}\n\
         # mode: {mode}\n\
         # sources: sha256 {sha}\n\
         # edited by: {edits}\n\
         # compat header: {compat}\n\
         # variables: {vars}\n\
         $ {env}{command}\n",
        version = env!("CARGO_PKG_VERSION"),
        name = module.module,
        kernel = build.kernel,
        vermagic = build.vermagic,
        dir = build.build_dir,
        id = build.build_id,
        cc = build.compiler.cc,
        cc_version = build.compiler.version,
        llvm = if build.compiler.llvm { " (LLVM)" } else { "" },
        sha = module.source_sha256,
        edits = none(adaptations.join(", ")),
        compat = none(if module.compat_header.is_empty() {
            String::new()
        } else {
            format!("{} lines", module.compat_header.lines().count())
        }),
        vars = none(module.make_vars.join(" ")),
        command = command.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::steps::SourceRef;

    fn module(name: &str, make_vars: &[&str]) -> ModuleBuild {
        ModuleBuild {
            module: name.to_owned(),
            source: SourceRef::Installed { path: "/usr/lib/vmware/modules/source/vmmon.tar".to_owned() },
            source_sha256: "00".to_owned(),
            edits: vec![],
            compat_header: String::new(),
            make_vars: make_vars.iter().map(|v| (*v).to_owned()).collect(),
        }
    }

    fn build(cc: &str, llvm: bool) -> BuildModules {
        BuildModules {
            kernel: "6.1.0-56-amd64".to_owned(),
            build_dir: "/usr/src/linux-headers-6.1.0-56-amd64".to_owned(),
            build_id: "abc".to_owned(),
            vermagic: "6.1.0-56-amd64 SMP preempt mod_unload modversions ".to_owned(),
            go_on: false,
            mode: Mode::Vanilla,
            compiler: Compiler { cc: cc.to_owned(), version: "12.2.0".to_owned(), llvm },
            modules: vec![],
        }
    }

    #[test]
    fn kbuild_is_called_with_what_the_outer_makefile_would_set() {
        let m =
            module("vmmon", &["KCFLAGS=-include $(M)/hostwright-compat.h -O2", "ccflags-y=$(EXTRA_CFLAGS)"]);
        let command = make(&build("gcc-12", false), &m, Jobs::Own(2));
        assert_eq!(
            command.display(),
            "make -C /usr/src/linux-headers-6.1.0-56-amd64 -j2 M=/build/vmmon-only V=1 CC=gcc-12 \
             SRCROOT=/build/vmmon-only VM_KBUILD=yes VM_KBUILD_SHOWN=yes VM_UNAME=6.1.0-56-amd64 \
             MODULEBUILDDIR= 'KCFLAGS=-include $(M)/hostwright-compat.h -O2' 'ccflags-y=$(EXTRA_CFLAGS)' modules"
        );
        assert!(command.env.is_empty());
    }

    #[test]
    fn a_shared_job_budget_comes_by_the_environment_as_for_a_sub_make() {
        let command = make(&build("gcc-12", false), &module("vmnet", &[]), Jobs::Shared(7, 8));
        assert_eq!(command.env, [("MAKEFLAGS".to_owned(), " -j --jobserver-auth=7,8".to_owned())]);
        assert!(!command.args.iter().any(|a| a.starts_with("-j")), "{command:?}");
    }

    #[test]
    fn kernels_of_clang_get_all_tools_of_llvm() {
        let vars = |cc: &str| compiler(&build(cc, true).compiler).join(" ");
        assert_eq!(vars("clang"), "LLVM=1 CC=clang");
        assert_eq!(vars("clang-19"), "LLVM=-19 CC=clang-19");
    }

    #[test]
    fn debugging_information_is_taken_out_by_the_tool_of_the_compiler() {
        let with = |cc: &str, llvm| BuildModules { modules: vec![module("vmmon", &[])], ..build(cc, llvm) };
        assert_eq!(strip(&with("gcc-12", false)).display(), "strip -g vmmon-only/vmmon.ko");
        assert_eq!(strip(&with("clang-19", true)).display(), "llvm-strip-19 -g vmmon-only/vmmon.ko");
    }

    #[test]
    fn modules_that_read_symbols_of_others_wait_for_them() {
        assert!(!needs_previous(&module("vmnet", &["V=1"])));
        assert!(needs_previous(&module("vmnet", &["KBUILD_EXTRA_SYMBOLS=/build/vmmon-only/Module.symvers"])));
    }

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(p, t)| ((*p).to_owned(), t.as_bytes().to_vec())).collect()
    }

    #[test]
    fn object_files_are_counted_from_lists_and_patterns() {
        let by_list = files(&[
            ("Makefile.kernel", "$(DRIVER)-y := driver.o hub.o \\\n\tsub/smac.o\nobj-m += $(DRIVER).o\n"),
            ("driver.c", ""),
            ("hub.c", ""),
            ("sub/smac.c", ""),
            ("geninclude.c", ""),
        ]);
        assert_eq!(objects(&by_list), 4);
        let by_pattern = files(&[
            ("Makefile.kernel", "$(wildcard $(SRCROOT)/linux/*.c $(SRCROOT)/common/*.c)\n"),
            ("linux/driver.c", ""),
            ("linux/hostif.c", ""),
            ("common/task.c", ""),
            ("other/unused.c", ""),
        ]);
        assert_eq!(objects(&by_pattern), 4);
        assert_eq!(objects(&files(&[("Kbuild", "include x\n"), ("a.c", ""), ("b.S", "")])), 3);
    }

    #[test]
    fn progress_follows_the_commands_of_the_compiler() {
        let mut progress = Progress::new(3);
        let lines = [
            "make -f ./scripts/Makefile.build obj=/build/vmmon-only",
            "  gcc-12 -Wp,-MMD,/b/.driver.o.d -nostdinc  -DKBUILD_MODNAME='\"vmmon\"'  -c -o /build/vmmon-only/linux/driver.o /build/vmmon-only/linux/driver.c   ; ./tools/objtool/objtool --mcount   /build/vmmon-only/linux/driver.o",
            "  gcc-12 -c -o linux/hostif.o linux/hostif.c",
            "  gcc-12 -c -o linux/hostif.o linux/hostif.c",
            "  ld -m elf_x86_64 -r -o /build/vmmon-only/vmmon.o @/build/vmmon-only/vmmon.mod",
            "  gcc-12 -c -o vmmon.mod.o vmmon.mod.c",
        ];
        let begun: Vec<bool> = lines.iter().map(|l| progress.line(l)).collect();
        assert_eq!(begun, [false, true, true, false, false, true]);
        assert_eq!((progress.done(), progress.total()), (2, 3));
    }

    #[test]
    fn the_log_begins_with_all_that_decided_the_build() {
        let (b, m) = (build("gcc-12", false), module("vmmon", &["A=b c"]));
        let header = log_header(&b, &m, &make(&b, &m, Jobs::Shared(3, 4)), "2026-01-02 03:04:05 UTC");
        for part in ["6.1.0-56-amd64 SMP preempt", "gcc-12 12.2.0", "A=b c", "sha256 00", "edited by: none"] {
            assert!(header.contains(part), "{part} is not in {header}");
        }
        assert!(header.ends_with("'A=b c' modules\n") && header.contains("\n$ MAKEFLAGS=' -j --jobserver"));
    }
}
