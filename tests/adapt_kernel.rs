// SPDX-License-Identifier: GPL-3.0-or-later
//! Adaptations against the real headers and compiler of the kernels that are installed on this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail the test")]

use hostwright::engine::edit;
use hostwright::engine::source::Files;
use hostwright::engine::steps::{Compiler, Mode};
use hostwright::flows::vmware::adapt::diagnose::{first_error, nearest, parse_output};
use hostwright::flows::vmware::adapt::probe::kernel_outcomes;
use hostwright::flows::vmware::adapt::{
    Catalogue, Options, Outcomes, ProbeDir, ProbeError, Resolved, Severity, resolve,
};
use hostwright::flows::vmware::facts::CpuFacts;
use hostwright::flows::vmware::source::{MODULES, SourceTree};
use hostwright::host::Root;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel of this machine, and how it was asked.
struct Kernel {
    build: PathBuf,
    compiler: Compiler,
}

/// All kernels of this machine with headers; `make deps` installs one.
fn kernels() -> Vec<Kernel> {
    let found: Vec<Kernel> = std::fs::read_dir("/lib/modules")
        .expect("no /lib/modules; run `make deps`")
        .map(|e| e.unwrap().path().join("build"))
        .filter(|build| build.join("Module.symvers").exists())
        .map(|build| {
            // The compiler that built it: CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0".
            let config = std::fs::read_to_string(build.join(".config")).unwrap();
            let text = config.lines().find_map(|l| l.strip_prefix("CONFIG_CC_VERSION_TEXT=\"")).unwrap();
            let named = text.split_whitespace().next().unwrap().to_owned();
            let there = Command::new(&named).arg("--version").output().is_ok();
            let cc = if there { named } else { "gcc".to_owned() };
            Kernel { build, compiler: Compiler { cc, version: text.to_owned(), llvm: false } }
        })
        .collect();
    assert!(!found.is_empty(), "no kernel headers are installed; run `make deps`");
    found
}

fn write(dir: &Path, files: &Files) {
    for (path, bytes) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Runs make; its exit status and all that it wrote.
fn make(args: &[String]) -> (bool, String) {
    let output = Command::new("make").args(args).env("LC_ALL", "C").env_remove("MAKEFLAGS").output().unwrap();
    let text = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
    (output.status.success(), text)
}

fn ask(kernel: &Kernel, catalogue: &Catalogue, options: &Options) -> Result<Outcomes, ProbeError> {
    let dir = tempfile::tempdir().unwrap();
    let probes = ProbeDir::new(catalogue, &options.values());
    write(dir.path(), &probes.files);
    let (build, at) = (kernel.build.display().to_string(), dir.path().display().to_string());
    let (_, output) = make(&ProbeDir::make_args(&build, &at, 2, &kernel.compiler));
    let made: BTreeSet<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".o"))
        .collect();
    let known = |file: &str| std::fs::read_to_string(kernel.build.join(file)).unwrap_or_default();
    let answers = probes.outcomes(&made, &output)?;
    Ok(kernel_outcomes(catalogue, &known(".config"), &known("Module.symvers")).with(answers))
}

fn optimized() -> Options {
    let cpu = CpuFacts {
        model: "Test CPU".into(),
        march: "haswell".into(),
        nested_paging: true,
        avx512: true,
        nvme: true,
    };
    Options { mode: Mode::Optimized, cpu: Some(cpu), record: "0123abcd".into(), ..Options::default() }
}

fn practice(module: &str) -> SourceTree {
    let root = Root::open(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    SourceTree::read(&root, "/data/practice", module).unwrap()
}

/// Builds sources for a kernel: whether it went well, what make wrote, and the folder.
fn build(kernel: &Kernel, files: &Files, vars: &[String]) -> (bool, String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), files);
    let at = dir.path().display();
    let mut args = vec![
        "-j2".to_owned(),
        "-C".to_owned(),
        kernel.build.display().to_string(),
        format!("M={at}"),
        format!("SRCROOT={at}"),
        "MODULEBUILDDIR=".to_owned(),
        format!("CC={}", kernel.compiler.cc),
    ];
    args.extend(vars.iter().cloned());
    args.push("modules".to_owned());
    let (good, output) = make(&args);
    (good, output, dir)
}

fn adapt(tree: &SourceTree, resolved: &Resolved) -> Files {
    let mut files = tree.files.clone();
    edit::apply(&mut files, &resolved.edits).unwrap();
    if !resolved.compat_header.is_empty() {
        files.insert(edit::COMPAT_HEADER.into(), resolved.compat_header.clone().into_bytes());
    }
    files
}

#[test]
fn every_probe_of_an_installed_kernel_is_answered() {
    let catalogue = Catalogue::embedded().unwrap();
    for kernel in kernels() {
        let answers = ask(&kernel, &catalogue, &optimized()).unwrap();
        for adaptation in catalogue.adaptations() {
            for probe in &adaptation.probes {
                use hostwright::flows::vmware::adapt::model::ProbeKind;
                let answer = answers.get(&adaptation.id, &probe.name);
                let of_sources = matches!(probe.kind, ProbeKind::Source { .. });
                assert_eq!(answer.is_none(), of_sources, "{}.{}", adaptation.id, probe.name);
            }
        }
        // A function that every kernel has by exactly one of two names, or by both for a while.
        let timer = |name| answers.get("timer-delete-sync", name).unwrap();
        assert!(timer("del_timer_sync") || timer("timer_delete_sync"));
        let msr = |name| answers.get("rdmsrq-safe", name).unwrap();
        assert!(msr("rdmsrl_safe") != msr("rdmsrq_safe"));
        assert_eq!(answers.get("optimize-march", "march"), Some(true));
    }
}

#[test]
fn adapted_practice_sources_build_without_a_warning() {
    let catalogue = Catalogue::embedded().unwrap();
    for kernel in kernels() {
        for options in [Options { record: "0123abcd".into(), ..Options::default() }, optimized()] {
            let answers = ask(&kernel, &catalogue, &options).unwrap();
            for module in MODULES {
                let tree = practice(module);
                let resolved = resolve(&catalogue, &answers, &tree, &options).unwrap();
                let (good, output, dir) = build(&kernel, &adapt(&tree, &resolved), &resolved.make_vars);
                assert!(good, "{module}:\n{output}");
                let bad: Vec<String> = parse_output(&output)
                    .iter()
                    .filter(|d| d.severity != Severity::Note)
                    .map(ToString::to_string)
                    .collect();
                assert!(bad.is_empty(), "{module}: {bad:#?}");
                let ko = std::fs::read(dir.path().join(format!("{module}.ko"))).unwrap();
                let ko = String::from_utf8_lossy(&ko);
                assert!(ko.contains("hostwright_record=0123abcd"));
                assert_eq!(ko.contains("hostwright_cpu=Test CPU"), options.mode == Mode::Optimized);
            }
        }
    }
}

#[test]
fn an_error_of_unadapted_sources_leads_to_an_adaptation_that_is_applied_here() {
    let catalogue = Catalogue::embedded().unwrap();
    let options = Options::default();
    for kernel in kernels() {
        let answers = ask(&kernel, &catalogue, &options).unwrap();
        for module in MODULES {
            let tree = practice(module);
            let resolved = resolve(&catalogue, &answers, &tree, &options).unwrap();
            let (good, output, _dir) = build(&kernel, &tree.files, &[]);
            if good {
                // An old kernel, for which they need nothing: then only the record is added.
                assert!(resolved.applied.iter().any(|a| a.id == "module-record"), "{output}");
                continue;
            }
            let all = parse_output(&output);
            let error = first_error(&all).unwrap_or_else(|| panic!("no error in:\n{output}"));
            let near = nearest(&catalogue, error).unwrap_or_else(|| panic!("nothing near {error}"));
            assert!(resolved.applied.iter().any(|a| a.id == near.adaptation), "{error}: {near:?}");
        }
    }
}

#[test]
fn a_broken_tree_and_a_compiler_that_is_not_there_are_no_answers() {
    let catalogue = Catalogue::embedded().unwrap();
    for mut kernel in kernels() {
        kernel.compiler.cc = "gcc-that-is-not-there".into();
        let e = ask(&kernel, &catalogue, &Options::default()).unwrap_err();
        assert!(matches!(e, ProbeError::Broken { .. }), "{e}");
        assert!(e.to_string().contains("install the kernel's headers and its compiler"), "{e}");
    }
    let empty = tempfile::tempdir().unwrap();
    std::fs::write(empty.path().join("Makefile"), "modules:\n\t@true\n").unwrap();
    let compiler = Compiler { cc: "gcc".into(), version: String::new(), llvm: false };
    let kernel = Kernel { build: empty.path().to_owned(), compiler };
    let e = ask(&kernel, &catalogue, &Options::default()).unwrap_err();
    assert!(matches!(e, ProbeError::Broken { .. }), "{e}");
}
