// SPDX-License-Identifier: GPL-3.0-or-later
//! Real builds for several kernels at once, against copies of this machine's kernel headers.

use super::jobs::budget;
use super::testkit::{for_release, install, scene, step};
use crate::engine::steps::{BuildModules, Compression, InstallModule, Step};
use crate::engine::testing::{Scene, same};
use crate::engine::{Event, RunState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Builds of two modules for three kernels; the third needs what its sources have not.
fn three(scene: &Scene, mark: &str) -> Vec<BuildModules> {
    let more = "obj-m += MODULE.o\nMODULE-y := driver.o part.o a.o b.o c.o\nccflags-y += -I$(SRCROOT)\n";
    for module in ["vmmon", "vmnet"] {
        let part = |name: &str| format!("#include <linux/kernel.h>\nint part_{name}(void) {{ return 1; }}\n");
        let makefile = more.replace("MODULE", module);
        let (a, b, c) = (part("a"), part("b"), part("c"));
        let only_older = "#include <generated/utsrelease.h>\n#include \"part.h\"\n\
                          _Static_assert(sizeof(UTS_RELEASE) != sizeof(\"0.0.3-other-kernel\"), \"too new\");\n\
                          int part_work(int n) { return n + NUMBER; }\n";
        let mut files = vec![("Makefile.kernel", makefile.as_str()), ("a.c", &a), ("b.c", &b), ("c.c", &c)];
        if module == "vmnet" {
            files.push(("part.c", only_older));
        }
        install(scene, module, &files);
    }
    let mut first = BuildModules { go_on: true, ..step(scene, &["vmmon", "vmnet"]) };
    for module in &mut first.modules {
        module.make_vars.push(format!("KCFLAGS=-D{mark}"));
    }
    let second = for_release(scene, &first, "0.0.2-other");
    let third = for_release(scene, &first, "0.0.3-other-kernel");
    vec![third, first, second]
}

fn install_for(build: &BuildModules) -> Step {
    Step::InstallModule(InstallModule {
        kernel: build.kernel.clone(),
        module: "vmmon".to_owned(),
        to: format!("/lib/modules/{}/updates/vmmon.ko", build.kernel),
        compression: Compression::None,
        sign: None,
    })
}

/// How many compilers with this mark on their command line run now.
fn compilers(mark: &str) -> usize {
    let of = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
    let is_ours = |line: &Vec<u8>| {
        let line = String::from_utf8_lossy(line);
        line.split('\0').next().is_some_and(|program| program.ends_with("/cc1")) && line.contains(mark)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(of).filter(is_ours).count()
}

#[test]
fn kernels_are_built_together_within_the_jobs_of_this_machine_and_one_failure_stops_no_other() {
    let scene = scene();
    let mark = format!("TOGETHER_{}", std::process::id());
    let builds = three(&scene, &mark);
    let kernels: Vec<&str> = builds.iter().map(|b| b.kernel.as_str()).collect();
    let before = scene.tree();
    let steps =
        builds.iter().map(|b| Step::BuildModules(b.clone())).chain(builds.iter().map(install_for)).collect();

    let over = Arc::new(AtomicBool::new(false));
    let (ended, watched) = (over.clone(), mark.clone());
    let watcher = std::thread::spawn(move || {
        let mut most = 0;
        while !ended.load(Ordering::Relaxed) {
            most = most.max(compilers(&watched));
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        most
    });
    let report = scene.execute(steps).unwrap();
    over.store(true, Ordering::Relaxed);
    let most = watcher.join().unwrap();

    assert!(most >= 1 && most <= budget(), "{most} compilers at once, and {} jobs", budget());
    assert_eq!(report.state, RunState::Done, "{report:?}");
    let results: Vec<(&str, bool)> = report.kernels.iter().map(|k| (k.kernel.as_str(), k.good)).collect();
    assert_eq!(results, [(kernels[0], false), (kernels[1], true), (kernels[2], true)]);
    let why = &report.kernels[0].text;
    assert!(why.contains("vmnet could not be compiled for 0.0.3-other-kernel: ") && why.contains("too new"));
    for kernel in &kernels[1..] {
        let module = scene.host.root().read(&format!("/lib/modules/{kernel}/updates/vmmon.ko")).unwrap();
        let info = crate::engine::modinfo::Modinfo::of_module(&module).unwrap();
        assert!(info.get("vermagic").unwrap().starts_with(kernel));
    }
    assert!(scene.host.root().list(crate::host::WORK).unwrap().is_empty());

    let events = std::mem::take(&mut *scene.events.lock().unwrap());
    let begins = |step: usize| {
        let of = |e: &&Event| matches!(e, Event::Step { step: s, .. } if *s == step);
        assert_eq!(events.iter().filter(of).count(), 1, "step {step} is told once");
        events.iter().position(|e| of(&e)).unwrap()
    };
    let ends = events.iter().position(|e| matches!(e, Event::StepFailed { step: 0, .. })).unwrap();
    assert!(begins(0) < begins(1) && begins(1) < begins(2) && begins(2) < ends, "one after the other");
    for (step, kernel) in kernels.iter().enumerate() {
        let said = format!("[{kernel} vmmon] ");
        let told = |e: &Event| matches!(e, Event::Log { step: s, line, .. } if *s == step && line.starts_with(&said));
        assert!(events.iter().any(told), "no line of {said}");
    }
    let progress = |step: usize| {
        events.iter().rev().find_map(|e| match e {
            Event::Progress { step: s, done, total, .. } if *s == step => Some((*done, *total)),
            _ => None,
        })
    };
    assert_eq!((progress(1), progress(2)), (Some((12, 12)), Some((12, 12))));

    assert_eq!(scene.undo(report.run).unwrap().state, RunState::Undone);
    same(&scene.tree(), &before);
    // What went well is in the cache; what failed is tried again.
    let again = scene.execute(builds.iter().map(|b| Step::BuildModules(b.clone())).collect()).unwrap();
    assert_eq!(again.kernels.iter().map(|k| k.good).collect::<Vec<_>>(), [false, true, true]);
    let events = std::mem::take(&mut *scene.events.lock().unwrap());
    let compiled = |step: usize| events.iter().any(|e| matches!(e, Event::Log { step: s, .. } if *s == step));
    assert!(compiled(0) && !compiled(1) && !compiled(2));
}

#[test]
fn a_wish_to_stop_ends_the_builds_of_all_kernels() {
    let scene = scene();
    let mark = format!("STOPPED_{}", std::process::id());
    let mut builds = three(&scene, &mark);
    let endless = "$(shell touch $(SRCROOT)/begun; sleep 97532)\nobj-m += vmmon.o\n";
    install(&scene, "vmmon", &[("Makefile.kernel", endless)]);
    let fresh = step(&scene, &["vmmon", "vmnet"]).modules;
    for build in &mut builds {
        for (module, fresh) in build.modules.iter_mut().zip(&fresh) {
            module.source_sha256.clone_from(&fresh.source_sha256);
        }
    }
    let before = scene.tree();
    let (cancel, work) = (scene.cancel.clone(), scene.path().join("var/cache/hostwright/work"));
    let asker = std::thread::spawn(move || {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let begun = || {
            let folders = std::fs::read_dir(&work).into_iter().flatten().flatten();
            folders.map(|f| f.path().join("vmmon-only/begun")).any(|f| f.exists())
        };
        while !begun() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        cancel.cancel();
    });
    let steps = builds.iter().map(|b| Step::BuildModules(b.clone())).collect();
    let report = scene.execute(steps).unwrap();
    asker.join().unwrap();
    assert_eq!(report.state, RunState::RolledBack);
    assert!(report.message.starts_with("Cancelled at"), "{}", report.message);
    assert!(report.kernels.is_empty());
    assert!(scene.host.root().list(crate::host::WORK).unwrap().is_empty());
    assert_eq!(compilers(&mark), 0);
    same(&scene.tree(), &before);
}
