// SPDX-License-Identifier: GPL-3.0-or-later
//! What the sandbox, the job budget, the logs and the gate cost: the step that compiles both modules against
//! plain `make -j` of the same two adapted trees, in one run, by turns; and an unchanged build once more.
//! Fails when the step takes more than 1.05 × plain make, or an unchanged build 1 s or more.
//!
//! The sources are the practice modules, or those in the folder that `VMWARE_SOURCES` names (with `vmmon-only`
//! and `vmnet-only` in it). `ROUNDS` is how often each is measured (5).

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, missing_docs)]

use hostwright::engine::steps::{BuildModules, Step};
use hostwright::engine::{Event, Inputs, Owner, Plan, RunState, build, edit, execute, kbuild, source};
use hostwright::flows;
use hostwright::host::{Cancel, Command, Host, RealRunner, Runner};
use std::path::{Path, PathBuf};
use std::time::Instant;

const RATIO: f64 = 1.05;
const UNCHANGED: f64 = 1.0;

/// Plain make stands back for other programs as far as the step's sandbox does, and has a session of its own as
/// every sandbox has (the scheduler shares the processors out among sessions). Even so, only a machine that
/// does nothing else gives figures that mean something; as root, `chrt -r 1` in front of it is the next best.
const NICE: &str = "10";

fn sh(script: &str) {
    let output = std::process::Command::new("sh").args(["-euc", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

fn release() -> String {
    let mut found: Vec<String> = std::fs::read_dir("/lib/modules")
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().into_string().ok())
        .filter(|r| Path::new(&format!("/lib/modules/{r}/build/Module.symvers")).exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("no kernel headers are installed: run `make deps`"))
}

/// A scratch root with one of this machine's kernels and the sources in VMware's place.
fn scratch(root: &Path, release: &str, sources: &Path) {
    let (root, sources) = (root.display(), sources.display());
    sh(&format!(
        "cd {root}; chmod 755 .
         mkdir -p usr/lib/modules/{release}/kernel usr/lib/vmware/modules/source etc/vmware boot proc
         ln -s usr/lib lib
         cp -a /lib/modules/{release}/build /lib/modules/{release}/modules.builtin* /lib/modules/{release}/modules.order \
           usr/lib/modules/{release}/
         cp -a /lib/modules/{release}/kernel/lib usr/lib/modules/{release}/kernel/
         cp -a /usr/src usr/src
         for d in /usr/lib/linux-kbuild-*; do if [ -d $d ]; then cp -a $d usr/lib/; fi; done
         cp /etc/os-release etc/
         printf 'product.name = \"VMware Workstation\"\\nlibdir = \"/usr/lib/vmware\"\\n' > etc/vmware/config
         for m in vmmon vmnet; do tar -C {sources} -cf usr/lib/vmware/modules/source/$m.tar $m-only; done
         depmod -b . {release}"
    ));
}

/// The step that the flow plans for this root.
fn planned(host: &Host) -> BuildModules {
    let choices = serde_json::json!({ "kernels": "all", "sign": "never", "load": "never" });
    let mut sink = |_: Event| {};
    let plan = flows::plan(host, "vmware", &choices, &Inputs::default(), &Cancel::new(), &mut sink).unwrap();
    let step = plan.steps.into_iter().find_map(|s| match s {
        Step::BuildModules(step) => Some(step),
        _ => None,
    });
    step.unwrap_or_else(|| panic!("the plan builds nothing"))
}

fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

/// Carries out just these builds, with all that belongs to a run.
fn carry_out(host: &Host, builds: &[BuildModules]) -> f64 {
    let steps: Vec<Step> = builds.iter().cloned().map(Step::BuildModules).collect();
    let plan = Plan {
        version: 1,
        flow: "bench".to_owned(),
        title: String::new(),
        choices: serde_json::json!({}),
        facts: serde_json::json!({}),
        permissions: steps.iter().flat_map(Step::permissions).collect(),
        steps,
        details: Default::default(),
        warnings: vec![],
        left_out: Vec::new(),
        notes: vec![],
        needs_reboot: false,
    };
    let owner = Owner { uid: 0, name: "bench".to_owned() };
    let mut sink = |_: Event| {};
    timed(|| {
        let check = |_: &Host, _: &Plan| vec![];
        let inputs = Inputs::default();
        let report = execute(host, &plan, &inputs, &owner, &check, &Cancel::new(), &mut sink).unwrap();
        assert_eq!(report.state, RunState::Done, "{}", report.message);
    })
}

/// How plain make is called.
#[derive(Clone, Copy)]
enum Plain {
    /// One module after the other with all processors for each, as a person calls it.
    OneByOne,
    /// Both from one makefile, whose `make -j` shares its jobs out between them: the best that make can do.
    Together,
}

fn plain(trees: &[(String, source::Files)], step: &BuildModules, dir: &Path, how: Plain) -> f64 {
    let _ = std::fs::remove_dir_all(dir);
    for (module, files) in trees {
        for (path, bytes) in files {
            let to = dir.join(format!("{module}-only")).join(path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, bytes).unwrap();
        }
    }
    let jobs = std::thread::available_parallelism().unwrap().get();
    let here = dir.display().to_string();
    let args = |module, jobs| {
        let make = kbuild::make(step, module, jobs);
        make.args.into_iter().map(|a| a.replace("=/build/", &format!("={here}/"))).collect::<Vec<_>>()
    };
    let make = || Command::new("setsid").args(["--wait", "nice", "-n", NICE, "make"]);
    let commands: Vec<Command> = match how {
        Plain::OneByOne => {
            step.modules.iter().map(|m| make().args(args(m, kbuild::Jobs::Own(jobs)))).collect()
        }
        Plain::Together => {
            let mut makefile = "all: vmmon vmnet\n".to_owned();
            for module in &step.modules {
                let call = Command::new("").args(args(module, kbuild::Jobs::Shared(0, 0))).display();
                let call = call.trim_start_matches("''").replace("$(", "$$(");
                makefile.push_str(&format!("{}:\n\t+$(MAKE){call}\n", module.module));
            }
            std::fs::write(dir.join("Makefile"), makefile).unwrap();
            vec![make().args(["-C", &here, &format!("-j{jobs}")])]
        }
    };
    let took = timed(|| {
        for command in &commands {
            RealRunner.run_ok(command).unwrap();
        }
    });
    for module in &step.modules {
        assert!(dir.join(kbuild::output(&module.module)).exists(), "plain make made no {}", module.module);
    }
    took
}

/// The builds of three kernels together and one after the other, by turns. The kernels have the same headers, and their
/// modules differ in a flag.
fn several(host: &Host, step: &BuildModules, rounds: usize) {
    let of = |n: usize, go_on| {
        let mut build = BuildModules { go_on, ..step.clone() };
        for module in &mut build.modules {
            let flag = format!("-DKERNEL_{n}");
            match module.make_vars.iter_mut().find(|v| v.starts_with("KCFLAGS=")) {
                Some(flags) => flags.push_str(&format!(" {flag}")),
                None => module.make_vars.push(format!("KCFLAGS={flag}")),
            }
        }
        build
    };
    let builds = |go_on| (0..3).map(|n| of(n, go_on)).collect::<Vec<_>>();
    let (mut together, mut apart) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (go_on, times) in [(true, &mut together), (false, &mut apart)] {
            build::clean_cache(host).unwrap();
            times.push(carry_out(host, &builds(go_on)));
        }
    }
    let (together, apart) = (median(&mut together), median(&mut apart));
    println!(
        "three kernels: together {together:.2} s, one after the other {apart:.2} s, ratio {:.2}",
        together / apart
    );
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(5);
    let practice = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/practice");
    let sources =
        std::env::var_os("VMWARE_SOURCES").filter(|s| !s.is_empty()).map_or(practice, PathBuf::from);
    let dir = tempfile::tempdir().unwrap();
    let plain_dir = tempfile::tempdir().unwrap();
    let release = release();
    scratch(dir.path(), &release, &sources);
    let host = Host::scratch(dir.path()).unwrap();
    let began = Instant::now();
    let step = planned(&host);
    println!("{} on {release}, planned in {:.1} s", sources.display(), began.elapsed().as_secs_f64());
    let trees: Vec<_> = step
        .modules
        .iter()
        .map(|m| {
            let mut files = source::load(host.root(), &m.source, &Default::default(), &m.module).unwrap();
            edit::apply(&mut files, &m.edits).unwrap();
            if !m.compat_header.is_empty() {
                files.insert(edit::COMPAT_HEADER.to_owned(), m.compat_header.clone().into_bytes());
            }
            (m.module.clone(), files)
        })
        .collect();

    let (mut ours, mut one_by_one, mut together) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms the caches of the machine and does not count.
    for round in 0..=rounds {
        build::clean_cache(&host).unwrap();
        let a = carry_out(&host, std::slice::from_ref(&step));
        let b = plain(&trees, &step, plain_dir.path(), Plain::OneByOne);
        let c = plain(&trees, &step, plain_dir.path(), Plain::Together);
        println!("round {round}: step {a:.2} s, plain make one by one {b:.2} s, together {c:.2} s");
        if round > 0 {
            ours.push(a);
            one_by_one.push(b);
            together.push(c);
        }
    }
    let unchanged = carry_out(&host, std::slice::from_ref(&step));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine: {}", load.trim());
    for times in [&mut ours, &mut one_by_one, &mut together] {
        times.sort_by(f64::total_cmp);
    }
    let middle = rounds / 2;
    for (name, times) in [("one by one", &one_by_one), ("together", &together)] {
        println!(
            "step / plain make {name}: best {:.2} s / {:.2} s = {:.3}, median {:.2} s / {:.2} s = {:.3}",
            ours[0],
            times[0],
            ours[0] / times[0],
            ours[middle],
            times[middle],
            ours[middle] / times[middle]
        );
    }
    println!("unchanged once more: {unchanged:.3} s");
    several(&host, &step, rounds);
    // The best of each: what else runs on the machine only ever adds.
    assert!(ours[0] / one_by_one[0] <= RATIO, "the step takes more than {RATIO} × plain make");
    assert!(unchanged < UNCHANGED, "an unchanged build takes too long");
}
