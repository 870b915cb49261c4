// SPDX-License-Identifier: GPL-3.0-or-later
//! A scratch machine with this machine's kernel headers and small modules to build, for tests.

use crate::engine::steps::{BuildModules, Compiler, Mode, ModuleBuild, SourceRef};
use crate::engine::testing::Scene;
use crate::engine::{modinfo, source};
use crate::host::{RealRunner, Runner};
use std::path::{Path, PathBuf};

/// The first kernel of this machine that has headers, and its vermagic.
pub(crate) fn kernel() -> (String, String) {
    for entry in std::fs::read_dir("/lib/modules").unwrap().flatten() {
        let release = entry.file_name().into_string().unwrap();
        if !entry.path().join("build/Makefile").exists() {
            continue;
        }
        let module = first_module(&entry.path().join("kernel")).expect("a kernel without a module");
        let bytes = std::fs::read(module).unwrap();
        let bytes = modinfo::decompress(&bytes).unwrap();
        let info = modinfo::Modinfo::of_module(&bytes).unwrap();
        return (release, info.get("vermagic").unwrap().to_owned());
    }
    panic!("no kernel headers are installed: run `make deps`");
}

fn first_module(dir: &Path) -> Option<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(dir).ok()?.flatten().map(|e| e.path()).collect();
    entries.sort();
    entries.into_iter().find_map(|path| {
        if path.is_dir() {
            first_module(&path)
        } else {
            path.to_string_lossy().contains(".ko").then_some(path)
        }
    })
}

/// A scratch machine with this machine's kernel headers in it (linked where the file system allows).
pub(crate) fn scene() -> Scene {
    let scene = Scene::real();
    let (release, _) = kernel();
    let build = std::fs::canonicalize(format!("/lib/modules/{release}/build")).unwrap();
    let copy = |from: &str, to: &str| {
        let to = scene.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let to = to.display().to_string();
        let link = crate::host::Command::new("cp").args(["-alT", from, &to]);
        if !RealRunner.run(&link).unwrap().success() {
            RealRunner.run_ok(&crate::host::Command::new("cp").args(["-aT", from, &to])).unwrap();
        }
    };
    assert!(build.starts_with("/usr/src"), "this test knows kernel trees in /usr/src only");
    copy("/usr/src", "usr/src");
    scene.host.root().create_dirs(&format!("/lib/modules/{release}"), 0o755).unwrap();
    scene
        .host
        .root()
        .symlink(&build.display().to_string(), &format!("/lib/modules/{release}/build"))
        .unwrap();
    // Everybody may pass through, so that the build user reaches its folder as on a real machine.
    std::fs::set_permissions(scene.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    scene
}

const MAKEFILE: &str = "SRCROOT = .\nifneq ($(VM_KBUILD),yes)\n$(error not called as kbuild)\nendif\n\
                        include $(SRCROOT)/Makefile.kernel\n";

const DRIVER: &str = "#include <linux/module.h>\n#include <linux/init.h>\n#include \"part.h\"\n\
    static int __init work_init(void) { return part_work(3) == 3 ? -ENODEV : 0; }\n\
    static void __exit work_exit(void) { }\n\
    module_init(work_init);\nmodule_exit(work_exit);\nMODULE_LICENSE(\"GPL v2\");\n\
    MODULE_DESCRIPTION(\"test\");\n";

const PART: &str =
    "#include <linux/kernel.h>\n#include \"part.h\"\nint part_work(int n) { return n + NUMBER; }\n";

/// Installs sources as VMware does: a folder here, for it is easier to change.
pub(crate) fn install(scene: &Scene, module: &str, files: &[(&str, &str)]) {
    let dir = format!("/usr/lib/vmware/modules/source/{module}-only");
    scene.put(&format!("{dir}/Makefile"), MAKEFILE, 0o644);
    let kernel = "obj-m += MODULE.o\nMODULE-y := driver.o part.o\nccflags-y += -I$(SRCROOT)\n";
    scene.put(&format!("{dir}/Makefile.kernel"), kernel.replace("MODULE", module), 0o644);
    scene.put(&format!("{dir}/driver.c"), DRIVER, 0o644);
    scene.put(&format!("{dir}/part.h"), "#define NUMBER 4\nint part_work(int n);\n", 0o644);
    scene.put(&format!("{dir}/part.c"), PART, 0o644);
    for (path, text) in files {
        scene.put(&format!("{dir}/{path}"), text, 0o644);
    }
}

pub(crate) fn step(scene: &Scene, modules: &[&str]) -> BuildModules {
    let (release, vermagic) = kernel();
    let build_dir = scene.host.root().resolve(&format!("/lib/modules/{release}/build")).unwrap();
    let modules = modules
        .iter()
        .map(|module| {
            let source =
                SourceRef::Installed { path: format!("/usr/lib/vmware/modules/source/{module}-only") };
            let files =
                source::load(scene.host.root(), &source, &std::collections::BTreeMap::new(), module).unwrap();
            ModuleBuild {
                module: (*module).to_owned(),
                source,
                source_sha256: source::tree_sha256(&files),
                edits: vec![],
                compat_header: String::new(),
                make_vars: vec![],
            }
        })
        .collect();
    BuildModules {
        kernel: release,
        build_dir,
        build_id: "test".to_owned(),
        vermagic,
        go_on: false,
        mode: Mode::Vanilla,
        compiler: Compiler { cc: "gcc".to_owned(), version: "test".to_owned(), llvm: false },
        modules,
    }
}

/// The same build for another kernel: this machine's headers once more, with another release in them.
pub(crate) fn for_release(scene: &Scene, build: &BuildModules, release: &str) -> BuildModules {
    let build_dir = format!("/usr/src/linux-headers-{release}");
    let (from, to) = (outside(scene, &build.build_dir), outside(scene, &build_dir));
    RealRunner.run_ok(&crate::host::Command::new("cp").args(["-al", &from, &to])).unwrap();
    for (file, text) in [
        ("include/generated/utsrelease.h", format!("#define UTS_RELEASE \"{release}\"\n")),
        ("include/config/kernel.release", format!("{release}\n")),
    ] {
        let file = format!("{to}/{file}");
        // The other name of the machine's own file is taken away, not written to.
        std::fs::remove_file(&file).ok();
        std::fs::write(&file, text).unwrap();
    }
    let vermagic = build.vermagic.replacen(&build.kernel, release, 1);
    BuildModules { kernel: release.to_owned(), build_dir, vermagic, ..build.clone() }
}

fn outside(scene: &Scene, path: &str) -> String {
    scene.path().join(path.trim_start_matches('/')).display().to_string()
}

/// A build of no module, for what looks at none.
pub(crate) fn nothing() -> BuildModules {
    BuildModules {
        kernel: "0.0.0".to_owned(),
        build_dir: "/usr/src/none".to_owned(),
        build_id: "test".to_owned(),
        vermagic: String::new(),
        go_on: false,
        mode: Mode::Vanilla,
        compiler: Compiler { cc: "gcc".to_owned(), version: "test".to_owned(), llvm: false },
        modules: vec![],
    }
}
