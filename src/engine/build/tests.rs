// SPDX-License-Identifier: GPL-3.0-or-later
//! Real builds against this machine's kernel headers, on a scratch machine. `make deps` installs headers.

use super::testkit::{install, scene, step};
use crate::engine::steps::{BuildModules, Step};
use crate::engine::testing::Scene;
use crate::engine::{Event, Explain, Level, RunState};
use crate::host::FileState;
use std::time::{Duration, Instant};

fn run(scene: &Scene, step: &BuildModules) -> crate::engine::RunReport {
    scene.execute(vec![Step::BuildModules(step.clone())]).unwrap()
}

fn log(scene: &Scene, report: &crate::engine::RunReport, suffix: &str) -> String {
    let path = report.log.clone().expect("the report names no log");
    scene.host.root().read_text(&format!("{path}{suffix}")).unwrap()
}

/// No work folder is left, whatever happened.
fn assert_tidy(scene: &Scene) {
    let left = scene.host.root().list(crate::host::WORK).unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn both_modules_are_built_logged_and_taken_from_the_cache_the_next_time() {
    let scene = scene();
    install(&scene, "vmmon", &[]);
    install(&scene, "vmnet", &[]);
    let mut step = step(&scene, &["vmmon", "vmnet"]);
    let report = run(&scene, &step);
    assert_eq!(report.state, RunState::Done, "{report:?}");
    assert!(report.is_verified() && report.checks.len() == 2, "{report:?}");
    for module in ["vmmon", "vmnet"] {
        let log = log(&scene, &report, &format!(".{module}"));
        for part in [&format!("# module: {module}"), "# compiler: gcc", "part.o", ".ko", "V=1"] {
            assert!(log.contains(part), "{part} is not in {log}");
        }
    }
    assert!(log(&scene, &report, "").contains("vmnet.ko: "));
    let events = std::mem::take(&mut *scene.events.lock().unwrap());
    let progress: Vec<(u64, u64)> = events
        .iter()
        .filter_map(|e| match e {
            Event::Progress { done, total, unit, .. } if unit == "object files" => Some((*done, *total)),
            _ => None,
        })
        .collect();
    assert_eq!(progress.last(), Some(&(6, 6)), "{progress:?}");
    assert!(progress.windows(2).all(|w| w[0].0 <= w[1].0), "{progress:?}");
    assert!(events.iter().any(|e| matches!(e, Event::Log { line, .. } if line.starts_with("[vmnet] "))));
    assert_tidy(&scene);

    let began = Instant::now();
    let again = run(&scene, &step);
    let took = began.elapsed();
    assert_eq!(again.state, RunState::Done);
    assert!(log(&scene, &again, "").contains("nothing changed since the build of"));
    assert!(took < Duration::from_secs(1), "an unchanged build took {took:?}");

    // A damaged cache is no reason to fail, nor to install something else.
    let key = super::key(&step);
    let cached = format!("{}/{key}/vmmon.ko", super::CACHE);
    let good = scene.host.root().read(&cached).unwrap();
    scene.host.root().write(&cached, &good[1..], 0o644, None).unwrap();
    let rebuilt = run(&scene, &step);
    assert!(!log(&scene, &rebuilt, "").contains("nothing changed"), "a damaged module was used");
    assert_eq!(scene.host.root().read(&cached).unwrap(), good, "the same build gave another module");

    step.modules[0].make_vars.push("KCFLAGS=-DOTHER".to_owned());
    assert_ne!(super::key(&step), key);
    assert_eq!(super::clean_cache(&scene.host).unwrap(), 1);
    assert_eq!(super::clean_cache(&scene.host).unwrap(), 0);
}

#[test]
fn a_compiler_error_names_its_log_and_a_report_and_leaves_nothing_behind() {
    let mut scene = scene();
    install(
        &scene,
        "vmmon",
        &[("part.c", "#include \"part.h\"\nint part_work(int n) { return old_api(n); }\n")],
    );
    let before = scene.tree();
    scene.inputs.explain = Explain::by(|_, error| Some(format!("think of {}", error.line?)));
    let report = run(&scene, &step(&scene, &["vmmon"]));
    assert_eq!(report.state, RunState::RolledBack, "{report:?}");
    assert!(report.message.contains("vmmon could not be compiled for"), "{}", report.message);
    let place = "vmmon-only/part.c:2: implicit declaration of function";
    assert!(report.message.contains(place), "{}", report.message);
    assert!(report.message.contains("(think of 2); the complete output is in"), "{}", report.message);
    let told = std::mem::take(&mut *scene.events.lock().unwrap());
    assert!(
        told.iter().any(
            |e| matches!(e, Event::Diagnostic { level: Level::Error, file: Some(file), line: Some(2), .. }
        if file == "vmmon-only/part.c")
        )
    );
    let log = log(&scene, &report, ".vmmon");
    assert!(log.contains("part.c:2:") && log.contains("old_api"), "{log}");
    let path = report.log.clone().unwrap();
    let bundle = format!("{}_report.tar.gz", path.trim_end_matches(".log"));
    assert!(report.message.contains(&bundle), "{}", report.message);
    let names = archive_names(&scene.host.root().read(&bundle).unwrap());
    for part in ["explanation.txt", "plan.json", "config-excerpt.txt", ".log.vmmon", ".log"] {
        assert!(names.iter().any(|n| n.ends_with(part)), "{part} is not in {names:?}");
    }
    assert!(!names.iter().any(|n| n.ends_with(".c") || n.ends_with(".ko") || n.ends_with(".o")), "{names:?}");
    assert_tidy(&scene);
    crate::engine::testing::same(&scene.tree(), &before);
}

fn archive_names(bytes: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect()
}

#[test]
fn a_module_that_uses_vector_registers_is_refused_with_the_function() {
    let scene = scene();
    let part = "#include \"part.h\"\nint part_work(int n)\n{\n\tasm volatile(\"movups %%xmm3, %%xmm4\" ::: \"memory\");\n\
                \treturn n + NUMBER;\n}\n";
    install(&scene, "vmmon", &[("part.c", part)]);
    let report = run(&scene, &step(&scene, &["vmmon"]));
    assert_eq!(report.state, RunState::RolledBack);
    assert!(report.message.contains("part_work+0x"), "{}", report.message);
    assert!(report.message.contains("movups uses xmm4"), "{}", report.message);
}

#[test]
fn a_makefile_that_hands_over_something_else_is_refused() {
    for (recipe, said) in [
        ("ln -sf /etc/shadow $(SRCROOT)/vmmon.ko", "reached over a symbolic link"),
        ("mkfifo $(SRCROOT)/vmmon.ko", "a pipe"),
        ("truncate -s 100M $(SRCROOT)/vmmon.ko", "more than the"),
        ("head -c 9000 /dev/urandom > $(SRCROOT)/vmmon.ko", "is no module for an x86-64 kernel"),
        ("true", "was not made"),
    ] {
        let scene = scene();
        // kbuild reads this file in a pass of its own, in which the recipe runs.
        let hostile = format!("DRIVER := vmmon\n$(shell rm -f $(SRCROOT)/vmmon.ko; {recipe})\nobj-m :=\n");
        install(
            &scene,
            "vmmon",
            &[("Makefile", "include $(SRCROOT)/Makefile.kernel\n"), ("Makefile.kernel", &hostile)],
        );
        let report = run(&scene, &step(&scene, &["vmmon"]));
        assert_eq!(report.state, RunState::RolledBack, "{recipe}: {report:?}");
        assert!(report.message.contains(said), "{recipe}: {}", report.message);
        assert_tidy(&scene);
    }
}

#[test]
fn sources_that_changed_since_the_plan_are_refused() {
    let scene = scene();
    install(&scene, "vmmon", &[]);
    let step = step(&scene, &["vmmon"]);
    scene.put("/usr/lib/vmware/modules/source/vmmon-only/part.c", "int other;\n", 0o644);
    let report = run(&scene, &step);
    assert_eq!(report.state, RunState::RolledBack);
    assert!(report.message.contains("changed since the plan was made"), "{}", report.message);
}

#[test]
fn headers_that_are_not_whole_are_refused_before_anything_is_done() {
    let scene = scene();
    install(&scene, "vmmon", &[]);
    let step = step(&scene, &["vmmon"]);
    scene.host.root().remove_file(&format!("{}/Module.symvers", step.build_dir)).unwrap();
    let report = run(&scene, &step);
    assert_ne!(report.state, RunState::Done);
    assert!(report.message.contains("Module.symvers is not there"), "{}", report.message);
    assert!(report.message.contains("install the header package"), "{}", report.message);
}

#[test]
fn a_cancelled_build_ends_at_once_and_leaves_nothing() {
    let scene = scene();
    // Endless: only the wish to stop ends it.
    let endless = "$(shell touch $(SRCROOT)/begun; sleep 97531)\nobj-m += vmmon.o\n";
    install(&scene, "vmmon", &[("Makefile.kernel", endless)]);
    let step = step(&scene, &["vmmon"]);
    let cancel = scene.cancel.clone();
    let work = scene.path().join("var/cache/hostwright/work");
    let asker = std::thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(30);
        let begun = || {
            let folders = std::fs::read_dir(&work).into_iter().flatten().flatten();
            folders.map(|f| f.path().join("vmmon-only/begun")).any(|f| f.exists())
        };
        while !begun() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        cancel.cancel();
        Instant::now()
    });
    let report = run(&scene, &step);
    let took = asker.join().unwrap().elapsed();
    assert_eq!(report.state, RunState::RolledBack, "{report:?}");
    assert!(report.message.starts_with("Cancelled"), "{}", report.message);
    assert!(took < Duration::from_secs(2), "it took {took:?} to end");
    assert_tidy(&scene);
    let still = std::process::Command::new("pgrep").args(["-f", "sleep 97531"]).output().unwrap();
    assert!(still.stdout.is_empty(), "the build still runs");
}

#[test]
fn nothing_of_the_build_belongs_to_anybody_but_us() {
    let scene = scene();
    install(&scene, "vmmon", &[]);
    let step = step(&scene, &["vmmon"]);
    assert_eq!(run(&scene, &step).state, RunState::Done);
    let me = nix::unistd::geteuid().as_raw();
    let cached = format!("{}/{}/vmmon.ko", super::CACHE, super::key(&step));
    let FileState::File { uid, mode, .. } = scene.host.root().state(&cached).unwrap() else {
        panic!("no file")
    };
    assert_eq!((uid, mode), (me, 0o644));
    // Another's file in the cache is never used.
    if me == 0 {
        std::os::unix::fs::chown(scene.path().join(&cached[1..]), Some(65534), None).unwrap();
        let cache = super::Cache::of(&scene.host);
        assert!(cache.find(&super::key(&step), &step).is_none());
    }
}
