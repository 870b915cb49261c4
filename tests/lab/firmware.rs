// SPDX-License-Identifier: GPL-3.0-or-later
//! Images that are started by firmware.

use crate::scene::{Scene, text};

/// A disk whose boot sector says one letter on the serial port and then hangs.
fn hanging_disk(path: &std::path::Path) {
    let mut disk = vec![0; 1 << 20];
    // mov dx, 0x3f8; mov al, 'H'; out dx, al; mov al, '\n'; out dx, al; jmp $
    let code = [0xba, 0xf8, 0x03, 0xb0, b'H', 0xee, 0xb0, b'\n', 0xee, 0xeb, 0xfe];
    disk[..code.len()].copy_from_slice(&code);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(path, disk).unwrap();
}

#[test]
fn an_image_that_hangs_is_ended_with_a_picture_of_its_screen() {
    let scene = Scene::new();
    let disk = scene.home.path().join("hangs, a disk.img");
    hanging_disk(&disk);
    let out = scene.run([
        "boot",
        "--disk",
        disk.to_str().unwrap(),
        "--firmware",
        "bios",
        "--timeout",
        "6",
        "-m",
        "64M",
    ]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(255), "{said}");
    assert!(said.contains("did not end within 6 s") && said.contains("screen.png"), "{said}");
    let picture = std::fs::read(scene.runs().join("1/screen.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    assert_eq!(std::fs::read_to_string(scene.runs().join("1/console.log")).unwrap(), "H\n");
    scene.nothing_is_left();
}

#[test]
fn an_iso_that_is_none_is_named_as_soon_as_the_firmware_knows() {
    let scene = Scene::new();
    let iso = scene.home.path().join("empty.iso");
    std::fs::write(&iso, vec![0; 1 << 20]).unwrap();
    let iso = iso.to_str().unwrap();
    for firmware in ["bios", "uefi"] {
        let out = scene.run(["boot", "--iso", iso, "--firmware", firmware, "--timeout", "100", "-m", "256M"]);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(255), "{said}");
        assert!(said.contains("The firmware found nothing to boot"), "{firmware}: {said}");
        let report = scene.report();
        assert_eq!(report["report"]["outcome"]["kind"], "nothing_bootable");
        assert_eq!(report["report"]["screenshots"][0], "screen.png");
    }
    scene.nothing_is_left();
}

#[test]
fn success_can_be_a_line_of_the_console_and_a_throw_away_layer_takes_what_is_written() {
    let scene = Scene::new();
    let disk = scene.home.path().join("disk");
    hanging_disk(&disk);
    let before = std::fs::read(&disk).unwrap();
    let args = ["boot", "--disk", disk.to_str().unwrap(), "--firmware", "bios", "--until", "^H", "-m", "64M"];
    let out = scene.run(args);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(std::fs::read(&disk).unwrap() == before);
}
