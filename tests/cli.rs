// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line as a person or a program meets it: the real binary, its words and exit statuses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot set itself up must fail"
)]

#[path = "detect/recorded.rs"]
#[allow(dead_code, reason = "shared with the tests of detect")]
mod recorded;

use recorded::{names, unpack};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary with a known environment and nothing on standard input.
fn hostwright(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostwright"));
    command.env_clear().env("HOME", home).env("LANG", "C.UTF-8").env("COLUMNS", "80").env("TZ", "UTC");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn run<S: AsRef<OsStr>>(home: &Path, args: impl IntoIterator<Item = S>) -> Output {
    hostwright(home).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn every_subcommand_explains_itself() {
    let home = home();
    for of in [
        "",
        "detect",
        "status",
        "vmware",
        "vmware plan",
        "vmware apply",
        "vmware rebuild",
        "vmware restore",
        "vmware check-next",
        "vmware clean",
        "vmware logs",
        "tuning",
        "tuning list",
        "tuning plan",
        "tuning apply",
        "vmware wayland",
        "vmware wayland desktop",
        "vmware settings",
        "vmware settings list",
        "vmware settings set",
        "vmware settings undo",
        "bench",
        "bench run",
        "bench compare",
        "bench show",
        "bench list",
        "lab",
        "lab build",
        "lab run",
        "lab eject",
        "vgpu",
        "vgpu check",
        "vgpu branches",
        "vgpu plan",
        "vgpu gpus",
        "vgpu drivers",
        "vgpu download",
        "vgpu guest-driver",
        "vgpu apply",
        "vgpu continue",
        "vgpu passthrough",
        "vgpu assign",
        "vgpu overrides",
        "vgpu token",
        "vgpu licence-server",
        "vgpu upgrade",
        "vgpu remove",
        "vgpu status",
        "vgpu verify",
        "vgpu ready",
        "plan",
        "apply",
        "undo",
        "runs",
        "runs prune",
        "log",
        "export",
        "profile",
        "profile save",
        "profile list",
        "profile show",
        "profile use",
        "profile validate",
        "profile export",
        "profile import",
        "profile remove",
        "profile diff",
        "lab",
        "lab boot",
        "lab list",
        "lab stop",
        "lab screenshot",
        "lab suspend",
        "lab resume",
        "lab snapshot",
        "lab restore",
        "lab report",
        "lab matrix",
        "lab devices",
        "lab write",
        "doctor",
        "completions",
        "man",
    ] {
        let out = run(home.path(), words(of).into_iter().chain(["--help"]));
        assert_eq!(out.status.code(), Some(0), "{of}: {out:?}");
        let name = if of.is_empty() { "hostwright".to_owned() } else { of.replace(' ', "_") };
        insta::assert_snapshot!(format!("help_{name}"), text(&out.stdout));
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_right() {
    let home = home();
    for (args, says) in [
        ("", "Usage"),
        ("--frobnicate", "--frobnicate"),
        ("vmware", "Usage"),
        ("vmware plan --kernel ../etc", "no kernel release"),
        ("vmware plan --kernel newest:0", "newest:2"),
        ("vmware plan --kernel all --kernel 6.1", "stand alone"),
        ("vmware plan --mode fast", "optimized"),
        ("vmware plan --sign own --no-sign", "--sign"),
        ("vmware plan --enroll --no-sign", "--enroll"),
        ("vmware apply --yes --check", "--check"),
        ("undo --last --all", "--all"),
        ("undo 3 --all", "--all"),
        ("undo -- -3", "-3"),
        ("export --shell --json", "--json"),
        ("detect --only everything", "kernels"),
        ("completions tcsh", "bash"),
        ("man vmware-fly", "vmware-apply"),
        ("--root /nonexistent/tree vmware plan", "existing directory"),
        ("profile save ../x", "letters"),
        ("vgpu plan --branch 16", "16.9"),
        ("vgpu plan --card 41:00.0=all", "passthrough"),
        ("plan tea --root /tmp", "vmware"),
    ] {
        let out = run(home.path(), words(args));
        assert_eq!(out.status.code(), Some(2), "{args}: {out:?}");
        let said = text(&out.stderr);
        assert!(said.contains(says), "{args}: {said}");
        assert_eq!(text(&out.stdout), "", "{args}");
    }
}

#[test]
fn with_json_an_error_is_one_object() {
    let home = home();
    for args in
        ["--json vmware plan --kernel a/b", "--json --root /nonexistent runs", "runs --json --frobnicate"]
    {
        let out = run(home.path(), words(args));
        assert_eq!(out.status.code(), Some(2), "{args}: {out:?}");
        let said: serde_json::Value = serde_json::from_slice(&out.stderr).unwrap();
        assert_eq!(said["error"]["exit"], 2, "{args}: {said}");
        assert!(said["error"]["reason"].as_str().is_some_and(|r| !r.is_empty()), "{args}: {said}");
    }
}

#[test]
fn nothing_is_changed_without_somebody_to_ask() {
    let (home, root) = (home(), home());
    let root = root.path().display().to_string();
    for args in [
        "vmware apply",
        "vmware apply --json",
        "apply vmware",
        "undo",
        "vmware restore",
        "vmware rebuild",
        "vmware clean --logs",
    ] {
        let out = run(home.path(), ["--root", &root].into_iter().chain(words(args)));
        assert_eq!(out.status.code(), Some(2), "{args}: {out:?}");
        assert!(text(&out.stderr).contains("--yes"), "{args}: {out:?}");
    }
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "something was written");
}

#[test]
fn arguments_that_are_not_utf_8_do_no_harm() {
    let home = home();
    let bad = OsStr::from_bytes(b"/nonexistent/\xff\xfe");
    for args in [
        vec![OsStr::new("--root"), bad, OsStr::new("runs")],
        vec![OsStr::new("vmware"), OsStr::new("plan"), OsStr::new("--kernel"), bad],
        vec![bad],
        vec![OsStr::new("--json"), OsStr::new("--root"), bad, OsStr::new("runs")],
    ] {
        let out = run(home.path(), &args);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {out:?}");
        assert!(!text(&out.stderr).contains("panicked"), "{out:?}");
    }
    let out = run(
        home.path(),
        [
            OsStr::new("--root"),
            OsStr::new("/"),
            OsStr::new("vmware"),
            OsStr::new("plan"),
            OsStr::new("--source"),
            bad,
        ],
    );
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(text(&out.stderr).contains("spelling"), "{out:?}");
}

/// A guest's driver from a file, pinned, and on an image that could be put into a drive.
#[test]
fn a_guests_driver_comes_with_an_image_and_what_is_no_driver_is_refused() {
    let home = home();
    let mut exe = vec![0u8; 512];
    exe[..2].copy_from_slice(b"MZ");
    exe[0x3c] = 0x80;
    exe[0x80..0x84].copy_from_slice(b"PE\0\0");
    let (from, to, iso) =
        (home.path().join("x.exe"), home.path().join("to"), home.path().join("template/iso"));
    let get = |bytes: &[u8], more: &[&str]| {
        std::fs::write(&from, bytes).unwrap();
        let mut command = hostwright(home.path());
        command.args(["vgpu", "guest-driver", "--branch", "16.9", "--system", "windows", "--yes"]);
        command.arg("--from").arg(&from).arg("--to").arg(&to).args(more).output().unwrap()
    };
    let page = get(b"<html>sign in</html>", &[]);
    assert!(text(&page.stderr).contains("no program for Windows"), "{page:?}");
    let out = get(&exe, &["--iso", iso.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let name = "539.19_grid_win10_win11_server2019_server2022_dch_64bit_international.exe";
    assert_eq!(std::fs::read(to.join(name)).unwrap(), exe);
    let image = std::fs::read(iso.join(format!("{name}.iso"))).unwrap();
    assert!(image.windows(exe.len()).any(|w| w == exe), "the driver is on the image");
    let shown: String = text(&out.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("qm set VM --ide3 local:iso/539.19"), "{shown}");
}

#[test]
fn what_is_no_token_goes_into_no_guest() {
    let home = home();
    let file = home.path().join("client_configuration_token.tok");
    std::fs::write(&file, "<html>404</html>").unwrap();
    let file = file.to_str().unwrap();
    let out = run(home.path(), ["vgpu", "token", "100", file, "--check"]);
    assert_ne!(out.status.code(), Some(0));
    assert!(text(&out.stderr).contains("JSON web token"), "{out:?}");
}

#[test]
fn a_closed_pipe_is_nobodys_mistake() {
    let home = home();
    for args in ["man", "completions bash", "--help", "detect --root / --json"] {
        let mut child = hostwright(home.path())
            .args(words(args))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()), "{args}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let home = home();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = hostwright(home.path()).arg("man").stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let out = out.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("could not be written"), "{out:?}");
}

#[test]
fn there_is_a_manual_page_for_every_subcommand() {
    let (home, dir) = (home(), home());
    let out = run(home.path(), ["man", "--out", &dir.path().display().to_string()]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let mut names: Vec<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    insta::assert_debug_snapshot!("manual_pages", names);
    let main = std::fs::read_to_string(dir.path().join("hostwright.1")).unwrap();
    for part in [".TH", "EXIT STATUS", "FILES", "ENVIRONMENT", "130"] {
        assert!(main.contains(part), "{part}");
    }
    let one = run(home.path(), ["man", "vmware-apply"]);
    assert_eq!(one.stdout, std::fs::read(dir.path().join("hostwright-vmware-apply.1")).unwrap());
    let nowhere = run(home.path(), ["man", "--out", "/nonexistent"]);
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn every_shell_gets_completions() {
    let home = home();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let out = run(home.path(), ["completions", shell]);
        assert_eq!(out.status.code(), Some(0), "{shell}");
        assert!(text(&out.stdout).contains("vmware"), "{shell}");
    }
}

#[test]
fn a_profile_comes_back_as_it_was_saved() {
    let home = home();
    let at = |args: &str| run(home.path(), words(args));
    assert!(text(&at("profile list").stdout).contains("no profiles yet"));
    let saved = at("profile save desk --kernel all --mode optimized --no-boot");
    assert_eq!(saved.status.code(), Some(0), "{saved:?}");
    let file = home.path().join(".config/hostwright/profiles/desk.json");
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let choices = &document["flows"]["vmware"];
    assert_eq!(
        (&document["version"], &choices["kernels"], &choices["mode"], &choices["boot"]),
        (&2.into(), &"all".into(), &"optimized".into(), &false.into())
    );
    assert_eq!(at("profile save desk").status.code(), Some(3), "a profile was replaced without --force");
    assert!(text(&at("profile list").stdout).contains("desk"));
    let out = home.path().join("out.json").display().to_string();
    assert_eq!(run(home.path(), ["profile", "export", "desk", &out]).status.code(), Some(0));
    assert_eq!(
        run(home.path(), ["profile", "export", "desk", &out]).status.code(),
        Some(3),
        "a file was replaced"
    );
    assert_eq!(run(home.path(), ["profile", "validate", &out, "desk"]).status.code(), Some(0));
    assert_eq!(run(home.path(), ["profile", "import", &out, "--name", "lap"]).status.code(), Some(0));
    let (desk, lap) = (at("profile show desk --json"), at("profile show lap --json"));
    let json = |o: &Output| serde_json::from_slice::<serde_json::Value>(&o.stdout).unwrap();
    assert_eq!(json(&desk)["flows"], document["flows"]);
    assert_eq!(json(&desk)["flows"], json(&lap)["flows"]);
    assert_eq!(at("profile use lap").status.code(), Some(0));
    assert!(text(&at("profile list").stdout).contains("in use"));
    assert_eq!(at("profile remove lap").status.code(), Some(0));
    assert!(!text(&at("profile list").stdout).contains("in use"), "a removed profile stays in use");
    assert_eq!(at("profile show lap").status.code(), Some(3));
}

#[test]
fn the_profile_in_use_begins_every_choice_and_is_named() {
    let (home, host) = (home(), unpack("nixos"));
    let root = host.dir.path().display().to_string();
    let plan =
        |more: &str| run(home.path(), ["--root", &root, "vmware", "plan"].into_iter().chain(words(more)));
    assert!(!text(&plan("").stderr).contains("With the profile"));
    run(home.path(), words("profile save desk --mode optimized"));
    run(home.path(), words("profile use desk"));
    assert!(text(&plan("").stderr).contains("With the profile desk"));
    assert!(!text(&plan("--profile desk").stderr).contains("With the profile"));
    let missing = plan("--profile lap");
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
    assert!(text(&missing.stderr).contains("no profile `lap`"), "{missing:?}");
}

#[test]
fn a_profile_with_a_misspelt_field_is_refused_by_name() {
    let home = home();
    let file = home.path().join("bad.json");
    std::fs::write(&file, r#"{"version":1,"name":"x","flow":"vmware","choices":{"modus":"vanilla"}}"#)
        .unwrap();
    for command in ["validate", "import"] {
        let out = run(home.path(), ["profile", command, &file.display().to_string()]);
        assert_eq!(out.status.code(), Some(2), "{out:?}");
        assert!(text(&out.stderr).contains("modus"), "{out:?}");
    }
}

#[test]
fn an_empty_tree_has_no_runs_and_nothing_to_take_back() {
    let (home, root) = (home(), home());
    let root = root.path().display().to_string();
    let at = |args: &str| run(home.path(), ["--root", &root].into_iter().chain(words(args)));
    assert_eq!(text(&at("runs").stdout), "Nothing was done yet.\n");
    assert_eq!(text(&at("runs --json").stdout), "[]\n");
    assert_eq!(at("undo --yes").status.code(), Some(0));
    assert_eq!(at("undo 7 --yes").status.code(), Some(3));
    assert_eq!(at("log").status.code(), Some(3));
    assert_eq!(at("vmware restore --yes").status.code(), Some(0));
    assert_eq!(at("vmware rebuild --yes").status.code(), Some(3));
    assert_eq!(text(&at("vmware logs").stdout), "Nothing was built yet.\n");
    assert_eq!(at("vmware logs --last").status.code(), Some(3));
    assert_eq!(at("vmware clean").status.code(), Some(0));
}

#[test]
fn clean_says_what_it_removes_and_removes_that() {
    let (home, root) = (home(), home());
    let cache = root.path().join("var/cache/hostwright/builds");
    std::fs::create_dir_all(cache.join("k")).unwrap();
    std::fs::write(cache.join("k/vmmon.ko"), vec![0; 2048]).unwrap();
    let log = root.path().join("var/lib/hostwright/logs/vmware_build_20260101_000000.log");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "make\n").unwrap();
    let at = |args: &str| {
        run(home.path(), ["--root", &root.path().display().to_string()].into_iter().chain(words(args)))
    };
    assert_eq!(at("vmware clean --check").status.code(), Some(10));
    assert!(cache.join("k/vmmon.ko").exists());
    let cleaned = at("vmware clean");
    assert!(text(&cleaned.stdout).contains("Removed 1 file, 2 KiB"), "{cleaned:?}");
    assert!(!cache.join("k").exists() && log.exists());
    assert_eq!(text(&at("vmware logs --last").stdout), "make\n");
    assert_eq!(at("vmware clean --logs --yes").status.code(), Some(0));
    assert!(!log.exists());
}

#[test]
fn colours_are_used_only_where_they_are_wanted() {
    let home = home();
    let root = home.path().display().to_string();
    let at = |color: &str, no_color: &str| {
        let mut command = hostwright(home.path());
        command.env("NO_COLOR", no_color).args(["--root", &root, "doctor", "--color", color]);
        text(&command.output().unwrap().stdout)
    };
    assert!(!at("auto", "").contains('\u{1b}'), "a pipe got colours");
    assert!(at("always", "1").contains('\u{1b}'));
    assert!(!at("never", "").contains('\u{1b}'));
}

#[test]
fn marks_stay_readable_without_unicode() {
    let home = home();
    let root = home.path().display().to_string();
    let out = hostwright(home.path()).env("LANG", "C").args(["--root", &root, "doctor"]).output().unwrap();
    assert!(text(&out.stdout).is_ascii(), "{}", text(&out.stdout));
}

#[test]
fn choices_can_come_from_standard_input() {
    let (home, root) = (home(), home());
    let mut child = hostwright(home.path())
        .args(["--root", &root.path().display().to_string(), "plan", "vmware", "--choices", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(br#"{"kernel": "all"}"#).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(text(&out.stderr).contains("unknown field `kernel`"), "{out:?}");
}

/// A recorded host's words, with the folder it lies in left out.
fn on_recorded(name: &str, args: &str, columns: &str) -> (Option<i32>, String) {
    let (home, host) = (home(), unpack(name));
    let root = host.dir.path().display().to_string();
    let mut command = hostwright(home.path());
    let out = command.env("COLUMNS", columns).args(["--root", &root]).args(words(args)).output().unwrap();
    (out.status.code(), format!("{}{}", text(&out.stdout), text(&out.stderr)).replace(&root, "ROOT"))
}

#[test]
fn recorded_hosts_can_be_looked_at() {
    // How each is told stands in the snapshots of the library; here it is the real binary on each.
    for name in names() {
        let (status, said) = on_recorded(&name, "detect", "92");
        assert_eq!(status, Some(0), "{name}: {said}");
        assert!(said.contains("Distribution") && said.contains("Kernels"), "{name}: {said}");
        let (status, said) = on_recorded(&name, "detect --only os,cpu --json", "92");
        let facts: serde_json::Value = serde_json::from_str(&said).unwrap();
        let mut fields: Vec<&str> = facts.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort();
        assert_eq!((status, fields), (Some(0), vec!["cpu", "os", "schema"]), "{name}");
        let (status, said) = on_recorded(&name, "status", "92");
        assert_eq!(status == Some(1), said.contains('!') || said.contains('✗'), "{name}: {status:?} {said}");
    }
}

#[test]
fn systems_that_are_changed_another_way_are_refused_with_that_way() {
    for (name, way) in [
        ("nixos", "virtualisation.vmware.host.enable"),
        ("silverblue-40", "ostree"),
        ("microos", "transactional-update"),
    ] {
        let (status, said) = on_recorded(name, "vmware plan", "92");
        assert_eq!(status, Some(3), "{name}: {said}");
        assert!(said.contains(way), "{name}: {said}");
    }
}

/// The settings of VMware in a person's own file: shown, changed, put back, without root and without the helper.
#[test]
fn settings_of_a_virtual_machine_are_set_and_put_back() {
    let home = tempfile::tempdir().unwrap();
    let vmx = home.path().join("a b.vmx");
    std::fs::write(&vmx, ".encoding = \"UTF-8\"\nodd line\nmemtrimrate = \"30\"\n").unwrap();
    let before = std::fs::read(&vmx).unwrap();
    let vm = vmx.to_str().unwrap();
    let set = |more: &[&str]| {
        let all = ["vmware", "settings", "set", "vmware-trim", "vmware-page-sharing", "--vm", vm];
        run(home.path(), all.iter().chain(more).copied())
    };
    assert_eq!(set(&["--check"]).status.code(), Some(10));
    assert_eq!(std::fs::read(&vmx).unwrap(), before, "looked only");
    let done = set(&["--yes"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let now = std::fs::read_to_string(&vmx).unwrap();
    assert_eq!(
        now,
        ".encoding = \"UTF-8\"\nodd line\nmemtrimrate = \"0\"\nsched.mem.pshare.enable = \"FALSE\"\n"
    );
    assert!(text(&set(&["--yes"]).stdout).contains("nothing to do"));
    std::fs::create_dir(home.path().join("a b.vmx.lck")).unwrap();
    assert_eq!(run(home.path(), ["vmware", "settings", "undo"]).status.code(), Some(3), "it runs");
    std::fs::remove_dir(home.path().join("a b.vmx.lck")).unwrap();
    assert_eq!(run(home.path(), ["vmware", "settings", "undo"]).status.code(), Some(0));
    assert_eq!(std::fs::read(&vmx).unwrap(), before);
    assert_eq!(
        run(home.path(), ["vmware", "settings", "undo"]).status.code(),
        Some(2),
        "nothing is left to undo"
    );
}

/// A short benchmark of what needs nothing but this machine: kept, shown, exported, compared.
#[test]
fn a_benchmark_is_kept_shown_and_compared() {
    let home = tempfile::tempdir().unwrap();
    let bench = |words: &str| run(home.path(), words.split(' '));
    for name in ["one", "two"] {
        let out = bench(&format!("bench run scheduler cpu --rounds 5 --time 50 --name {name} --json"));
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        let results: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let series = results["series"].as_array().unwrap();
        assert!(series.iter().all(|s| s["values"].as_array().unwrap().len() == 5), "{results}");
        assert!(series.iter().any(|s| s["metric"] == "cpu.hash.all"));
    }
    let again = bench("bench run scheduler --rounds 1 --time 50 --name one");
    assert_eq!(again.status.code(), Some(2), "nothing is overwritten: {again:?}");
    let folder = home.path().join("out");
    let to = |name: &str| folder.join(name).display().to_string();
    std::fs::create_dir(&folder).unwrap();
    let compared = bench(&format!(
        "bench compare one two --html {} --csv {} --svg {}",
        to("c.html"),
        to("c.csv"),
        to("svg")
    ));
    assert_eq!(compared.status.code(), Some(0), "{compared:?}");
    assert!(text(&compared.stdout).contains("Mann-Whitney"));
    assert!(std::fs::read_to_string(to("c.html")).unwrap().contains("<svg role=\"img\""));
    assert!(std::fs::read_to_string(to("c.csv")).unwrap().lines().count() > 10);
    assert_eq!(std::fs::read_dir(to("svg")).unwrap().count(), 1);
    let shown = bench(&format!("bench show one --png {}", to("png")));
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    assert_eq!(std::fs::read_dir(to("png")).unwrap().count(), 2);
    assert_eq!(bench("bench show three").status.code(), Some(2));
    assert_eq!(bench("bench run --root / cpu").status.code(), Some(2));
}
