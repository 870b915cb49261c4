// SPDX-License-Identifier: GPL-3.0-or-later
use super::super::spec::{Autorun, BuilderSpec, Image, Project};
use super::super::work::LabFolder;
use super::*;
use crate::engine::event::Event;
use crate::host::fake::{FakeRunner, host};
use crate::host::{Cancel, HostKind, Output};
use std::fs;
use std::sync::Arc;

const PROFILEDEF: &str = "iso_name=demo\niso_label=DEMO\nbuildmodes=('iso')\nbootmodes=('bios.syslinux' 'uefi.systemd-boot')\n\
    arch=x86_64\nfile_permissions=(\n  [\"/etc/shadow\"]=\"0:0:400\"\n)\n";

fn profile(dir: &Path) -> PathBuf {
    let profile = dir.join("profile");
    for folder in ["airootfs/etc/mkinitcpio.conf.d", "syslinux", "efiboot"] {
        fs::create_dir_all(profile.join(folder)).unwrap();
    }
    let write = |name: &str, text: &str| fs::write(profile.join(name), text).unwrap();
    write("profiledef.sh", PROFILEDEF);
    write("packages.x86_64", "base\nlinux\nmkinitcpio\nmkinitcpio-archiso\nsyslinux\n");
    write("pacman.conf", "[options]\n[offline]\nServer = file:///opt/repo\n");
    write("airootfs/etc/mkinitcpio.conf.d/archiso.conf", "HOOKS=(base udev archiso block filesystems)\n");
    std::os::unix::fs::symlink("/usr/share/zoneinfo/UTC", profile.join("airootfs/etc/localtime")).unwrap();
    profile
}

fn image(dir: &Path, profile: &Path) -> Image {
    let project = dir.join("project");
    fs::create_dir_all(&project).unwrap();
    fs::write(project.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(project.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    Image {
        name: "demo".into(),
        builder: BuilderSpec::Archiso(ArchisoSpec { profile: profile.into(), pacman_conf: None }),
        project: Some(Project { folder: project, place: "/root/demo".into() }),
        env: vec![],
        autorun: Some(Autorun { command: "./run.sh".into(), power_off: false }),
        collect: vec![],
    }
}

/// mkarchiso as this builder sees it: keeps what it was given and writes an image.
fn fake_mkarchiso(seen: PathBuf) -> FakeRunner {
    FakeRunner::new()
        .answer(move |command| {
            let words: Vec<&str> = command.args.iter().map(String::as_str).collect();
            if words.contains(&"pacman") {
                return Some(Output { code: Some(0), ..Output::default() });
            }
            let at = words.iter().position(|w| *w == "mkarchiso")?;
            let after =
                |option: &str| words[at..].iter().position(|w| *w == option).map(|i| words[at + i + 1]);
            copy_tree(Path::new(words.last()?), &seen).ok()?;
            fs::write(Path::new(after("-o")?).join("demo-2026.iso"), "image").ok()?;
            Some(Output { code: Some(0), ..Output::default() })
        })
        .ok("pacman", "")
}

fn with_job<T>(dir: &Path, runner: Arc<FakeRunner>, work: impl FnOnce(&mut Job<'_>) -> T) -> T {
    let root = dir.join("machine");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/pacman.conf"), "[core]\nServer = https://mirror/$repo\n").unwrap();
    let host = host(&root, runner, HostKind::Machine).unwrap();
    let folders = Folders { cache: dir.join("cache"), logs: dir.join("logs") };
    let folder = LabFolder::create(&host, &folders, "demo").unwrap();
    let cancel = Cancel::new();
    let mut sink = |_: Event| {};
    let mut job = Job::begin(&host, &folders, &folder, "demo", &cancel, &mut sink).unwrap();
    work(&mut job)
}

#[test]
fn the_project_goes_into_a_copy_of_the_profile_and_the_profile_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let profile = profile(dir.path());
    let image = image(dir.path(), &profile);
    let BuilderSpec::Archiso(spec) = &image.builder else { unreachable!() };
    let builder = Archiso::new(spec, "demo");
    let seen = dir.path().join("seen");
    fs::create_dir(&seen).unwrap();
    let listing = super::super::inject::Listing { files: vec!["run.sh".into()], ..Default::default() };
    let layer = super::super::inject::layer(&image, &listing, b"\x7fELF").unwrap();
    let runner = Arc::new(fake_mkarchiso(seen.clone()));
    let before = builder_key(&builder);
    with_job(dir.path(), runner.clone(), |job| {
        if namespace::is_root() {
            builder.validate(job).unwrap();
        }
        let made = builder.build(job, &layer).unwrap();
        assert_eq!(fs::read(made).unwrap(), b"image");
    });
    assert_eq!(builder_key(&builder), before);

    let read = |name: &str| fs::read_to_string(seen.join(name)).unwrap();
    assert_eq!(read("airootfs/root/demo/run.sh"), "#!/bin/sh\n");
    assert!(read("airootfs/usr/lib/hostwright/autorun").contains("./run.sh"));
    // The offline configuration stays in the image; the build has one that reaches an archive.
    assert!(read("airootfs/etc/pacman.conf").contains("file:///opt/repo"));
    let build = read("hostwright-pacman.conf");
    assert!(build.contains("https://mirror") && build.contains("/packages/pacman/"), "{build}");
    assert_eq!(
        fs::read_link(seen.join("airootfs/etc/localtime")).unwrap(),
        Path::new("/usr/share/zoneinfo/UTC")
    );
    // bash itself reads the profile with what was added.
    let script = ". \"$1/profiledef.sh\"; echo \"${file_permissions[/root/demo/run.sh]} ${file_permissions[/etc/shadow]}\"";
    let out = std::process::Command::new("bash")
        .args(["-c", &format!("declare -A file_permissions; {script}"), "bash"])
        .arg(&seen)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "0:0:755 0:0:400\n", "{out:?}");

    let calls = runner.calls();
    let call = calls.iter().find(|c| c.contains(" mkarchiso ")).unwrap();
    let inner = call.split(" -- ").nth(1).unwrap();
    assert!(call.starts_with("unshare ") && inner.starts_with("mkarchiso -v -w "), "{call}");
    assert!(inner.ends_with("/profile"), "{call}");
}

fn builder_key(builder: &Archiso<'_>) -> String {
    let host = Host::machine().unwrap();
    let folders = Folders { cache: "/nonexistent".into(), logs: "/nonexistent".into() };
    builder.key(&host, &folders).unwrap()
}

#[test]
fn every_change_of_the_profile_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let profile = profile(dir.path());
    let spec = ArchisoSpec { profile: profile.clone(), pacman_conf: None };
    let builder = Archiso::new(&spec, "demo");
    let before = builder_key(&builder);
    fs::write(profile.join("airootfs/etc/motd"), "x").unwrap();
    let changed = builder_key(&builder);
    assert_ne!(before, changed);
    fs::set_permissions(profile.join("airootfs/etc/motd"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_ne!(changed, builder_key(&builder));
}

#[test]
fn mistakes_of_a_profile_stop_the_build_before_it_begins() {
    if !namespace::is_root() {
        eprintln!("mkarchiso needs root: only the refusal is looked at");
    }
    let dir = tempfile::tempdir().unwrap();
    let profile = profile(dir.path());
    let spec = ArchisoSpec { profile: profile.clone(), pacman_conf: None };
    fs::write(profile.join("airootfs/etc/mkinitcpio.conf"), "HOOKS=(base udev plymouth archiso)\n").unwrap();
    fs::write(profile.join("packages.x86_64"), "base\nmkinitcpio\nmkinitcpio-archiso\n").unwrap();
    fs::remove_dir(profile.join("efiboot")).unwrap();
    let runner = Arc::new(FakeRunner::new());
    let error =
        with_job(dir.path(), runner.clone(), |job| Archiso::new(&spec, "demo").validate(job).unwrap_err());
    let text = error.to_string();
    if namespace::is_root() {
        for part in ["plymouth", "efiboot/", "package syslinux", "correct them in"] {
            assert!(text.contains(part), "{text}");
        }
    } else {
        assert!(text.contains("sudo"), "{text}");
    }
    assert!(runner.calls().is_empty());
}

#[test]
fn a_folder_without_profile_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let error = Profile::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is no archiso profile: profiledef.sh"), "{error}");
}
