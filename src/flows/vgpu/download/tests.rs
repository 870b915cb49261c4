// SPDX-License-Identifier: GPL-3.0-or-later
//! Obtaining a driver from files, bundles and a server on loopback.

use super::*;
use crate::fetch::test::{Act, Server, run_file};
use crate::flows::vgpu::Catalogue;
use crate::host::Root;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const VERSION: &str = "535.309.01";

struct Scene {
    dir: tempfile::TempDir,
    driver: DriverEntry,
}

impl Scene {
    fn new() -> Self {
        let all = Catalogue::built_in().unwrap();
        let driver = all.driver("16.14".parse().unwrap()).unwrap().clone();
        assert_eq!((driver.host_driver.as_str(), &driver.md5, &driver.sha256), (VERSION, &None, &None));
        Self { dir: tempfile::tempdir().unwrap(), driver }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Source {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Source::File(path)
    }

    fn to(&self) -> std::path::PathBuf {
        self.dir.path().join("to")
    }

    fn obtain(&self, source: Option<&Source>, yes: bool) -> Result<Option<Obtained>, DownloadError> {
        self.obtain_this((&self.driver).into(), source, yes)
    }

    fn obtain_this(
        &self,
        driver: Wanted<'_>,
        source: Option<&Source>,
        yes: bool,
    ) -> Result<Option<Obtained>, DownloadError> {
        let state = self.dir.path().join("state");
        std::fs::create_dir_all(&state).unwrap();
        let mut pins = Pins::load(Root::open(&state).unwrap()).unwrap();
        let folder = Folder::open(&self.to()).unwrap();
        let request = Request {
            driver,
            source,
            from: "the test",
            folder: &folder,
            net: &Net { silence: Duration::from_millis(500), ..Net::default() },
            retry: &Retry { pause: Duration::from_millis(5), ..Retry::default() },
            now: "2026-01-01T00:00:00Z".to_owned(),
        };
        obtain(&request, &mut pins, &Cancel::new(), &mut |_| {}, &mut |question| {
            assert!(driver.what != Wants::Host || question.header.unwrap().is_host_driver(VERSION));
            yes
        })
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn an_unknown_file_is_taken_with_consent_and_pinned_from_then_on() {
    let scene = Scene::new();
    let good = run_file(VERSION, "-vgpu-kvm");
    let source = scene.file("mine.run", &good);
    assert!(matches!(scene.obtain(Some(&source), false), Err(DownloadError::NoConsent)));
    assert_eq!(names(&scene.to()), Vec::<String>::new());
    let first = scene.obtain(Some(&source), true).unwrap().unwrap();
    assert!(first.consented && first.verified == Verified::Nothing && first.payload_intact == Some(true));

    // From now on its SHA-256 is known: nobody is asked, and the file that is there is used.
    let again = scene.obtain(Some(&source), false).unwrap().unwrap();
    assert!(again.was_there && again.verified == Verified::Sha256 && again.transferred == 0);
    let alone = scene.obtain(None, false).unwrap().unwrap();
    assert!(alone.was_there);

    // Another file under the same name is not taken, and the old one stays.
    let mut other = run_file(VERSION, "-vgpu-kvm");
    let at = other.windows(5).position(|w| w == b"never").unwrap();
    other[at] = b'N';
    let source = scene.file("other.run", &other);
    std::fs::remove_file(scene.to().join(&scene.driver.file_name)).unwrap();
    let error = scene.obtain(Some(&source), true).unwrap_err();
    assert!(matches!(error, DownloadError::Pinned { .. }), "{error}");
    assert_eq!(names(&scene.to()), Vec::<String>::new());
}

#[test]
fn an_existing_file_that_is_not_the_one_is_kept_aside() {
    let mut scene = Scene::new();
    let good = run_file(VERSION, "-vgpu-kvm");
    scene.driver.sha256 = Some(hex::encode(Sha256::digest(&good)));
    std::fs::create_dir_all(scene.to()).unwrap();
    std::fs::write(scene.to().join(&scene.driver.file_name), "half a download").unwrap();
    assert_eq!(scene.obtain(None, false).unwrap(), None, "the wrong one is not used");
    let server = Server::new(good.clone(), |_, _| Act::Serve);
    let source = Source::Url(format!("{}/x.run", server.url));
    let obtained = scene.obtain(Some(&source), false).unwrap().unwrap();
    assert_eq!(obtained.verified, Verified::Sha256);
    assert_eq!(obtained.kept, Some(format!("{}.bak.1", scene.driver.file_name)));
    assert_eq!(std::fs::read(&obtained.path).unwrap(), good);
    // Now it matches: nothing is asked of the server again.
    let again = scene.obtain(Some(&source), false).unwrap().unwrap();
    assert!(again.was_there);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn the_driver_is_taken_out_of_a_bundle_wherever_it_comes_from() {
    let good = run_file(VERSION, "-vgpu-kvm");
    let name = format!("Host_Drivers/NVIDIA-Linux-x86_64-{VERSION}-vgpu-kvm.run");
    let zip = zip_of(&[("Guest_Drivers/grid.run", b"guest"), (&name, &good)]);
    let mut scene = Scene::new();
    scene.driver.md5 = Some(hex::encode(md5::Md5::digest(&good)));
    let file = scene.file("bundle-without-its-ending", &zip);
    let obtained = scene.obtain(Some(&file), false).unwrap().unwrap();
    assert_eq!((obtained.verified, obtained.consented), (Verified::Md5, false));
    assert_eq!(names(&scene.to()), std::slice::from_ref(&scene.driver.file_name));

    let scene = Scene { driver: scene.driver.clone(), ..Scene::new() };
    let server = Server::new(zip, |_, _| Act::Serve);
    let obtained =
        scene.obtain(Some(&Source::Url(format!("{}/b.zip?token=1", server.url))), false).unwrap().unwrap();
    assert_eq!(std::fs::read(&obtained.path).unwrap(), good);
    assert_eq!(names(&scene.to()), std::slice::from_ref(&scene.driver.file_name));
}

#[test]
fn what_is_not_this_driver_takes_no_name_and_leaves_nothing() {
    let scene = Scene::new();
    let mut cut = run_file(VERSION, "-vgpu-kvm");
    cut.truncate(cut.len() - 3);
    for (bytes, word) in [
        (run_file("535.230.02", "-vgpu-kvm"), "not the vGPU host driver"),
        (run_file(VERSION, "-grid"), "not the vGPU host driver"),
        (b"<!DOCTYPE html><title>Sign in</title>".to_vec(), "no self-extracting archive"),
        (cut, "cut off"),
        (zip_of(&[("guest.run", b"x")]), "guest.run"),
    ] {
        let source = scene.file("wrong", &bytes);
        let error = scene.obtain(Some(&source), true).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(names(&scene.to()), Vec::<String>::new(), "{error}");
    }
    assert_eq!(scene.obtain(None, true).unwrap(), None);
}

/// The smallest thing that says it is a program for Windows.
fn exe() -> Vec<u8> {
    let mut bytes = vec![0u8; 512];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes
}

#[test]
fn a_linux_guests_driver_is_told_from_the_hosts_by_its_header() {
    let scene = Scene::new();
    let all = Catalogue::built_in().unwrap();
    let entry = all.guest_driver("16.9".parse().unwrap(), System::Linux).unwrap();
    for (other, version) in [("-vgpu-kvm", "535.230.02"), ("", "535.230.02"), ("-grid", "535.1")] {
        let source = scene.file("other.run", &run_file(version, other));
        let error = scene.obtain_this(entry.into(), Some(&source), true).unwrap_err();
        assert!(error.to_string().contains("vGPU Linux guest driver 535.230.02"), "{error}");
    }
    let source = scene.file("mine.run", &run_file("535.230.02", "-grid"));
    let obtained = scene.obtain_this(entry.into(), Some(&source), true).unwrap().unwrap();
    assert!(obtained.path.ends_with("NVIDIA-Linux-x86_64-535.230.02-grid.run"));
    assert_eq!(obtained.payload_intact, Some(true));
}

#[test]
fn a_windows_guests_driver_comes_out_of_nvidias_bundle_and_is_pinned() {
    let scene = Scene::new();
    let all = Catalogue::built_in().unwrap();
    let entry = all.guest_driver("16.9".parse().unwrap(), System::Windows).unwrap();
    let page = scene.file("page.exe", b"<html>sign in</html>");
    let error = scene.obtain_this(entry.into(), Some(&page), true).unwrap_err();
    assert!(matches!(error, DownloadError::NotWindows { .. }), "{error}");
    let inside = format!("Guest_Drivers/{}", entry.file_name);
    let bundle = scene.file("bundle.zip", &zip_of(&[("Host_Drivers/x.run", b"x"), (&inside, &exe())]));
    assert!(matches!(scene.obtain_this(entry.into(), Some(&bundle), false), Err(DownloadError::NoConsent)));
    let obtained = scene.obtain_this(entry.into(), Some(&bundle), true).unwrap().unwrap();
    assert_eq!(std::fs::read(&obtained.path).unwrap(), exe());
    assert_eq!((obtained.header, obtained.verified), (None, Verified::Nothing));
    let again = scene.obtain_this(entry.into(), None, false).unwrap().unwrap();
    assert!(again.was_there && again.verified == Verified::Sha256);
}
