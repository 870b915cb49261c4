// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;
use crate::engine::RunState;
use crate::engine::steps::Step;
use crate::engine::testing::Scene;
use std::sync::Arc;

/// More than one piece, and not a whole number of blocks.
const SIZE: usize = CHUNK + 12_345;

fn bytes() -> Vec<u8> {
    (0..SIZE).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

/// A scratch machine with a stick of `room` bytes, the image at hand, and the step.
fn scene(room: usize) -> (Scene, WriteImage) {
    let mut scene = Scene::real();
    for (file, text) in [("dev", "8:16\n"), ("size", "20000\n"), ("diskseq", "7\n")] {
        scene.put(&format!("/sys/block/sdb/{file}"), text, 0o644);
    }
    scene.put("/dev/sdb", vec![0xee; room], 0o660);
    let image = bytes();
    let sha256 = hex::encode(Sha256::digest(&image));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&image).unwrap();
    scene.inputs.images.insert(sha256.clone(), Arc::new(file));
    let step = WriteImage {
        device: "/dev/sdb".into(),
        number: "8:16".into(),
        instance: Some(7),
        capacity: 20_000 * 512,
        holds: vec![],
        image: "an image, 1.iso".into(),
        size: SIZE as u64,
        sha256,
    };
    (scene, step)
}

#[test]
fn an_image_is_written_read_back_and_nothing_of_it_can_be_undone() {
    let (scene, step) = scene(SIZE + 100_000);
    let report = scene.execute(vec![Step::WriteImage(step)]).unwrap();
    assert_eq!(report.state, RunState::Done, "{report:?}");
    assert!(report.is_verified(), "{report:?}");
    assert!(report.checks[0].what.contains("read back"), "{report:?}");
    assert_eq!(report.message, "The step is done.");
    let held = std::fs::read(scene.path().join("dev/sdb")).unwrap();
    assert!(held[..SIZE] == bytes()[..] && held[SIZE..].iter().all(|b| *b == 0xee));
    let summary = crate::engine::runs(&scene.host).unwrap().remove(0);
    assert!(!summary.can_undo, "{summary:?}");
    let undo = scene.undo(report.run).unwrap_err();
    assert!(matches!(undo, crate::engine::RunError::NothingToUndo { .. }), "{undo}");
}

#[test]
fn a_wrong_image_is_noticed_before_the_first_byte_is_written() {
    let (mut scene, step) = scene(SIZE);
    let mut other = bytes();
    other[SIZE - 1] ^= 1;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&other).unwrap();
    scene.inputs.images.insert(step.sha256.clone(), Arc::new(file));
    let report = scene.execute(vec![Step::WriteImage(step)]).unwrap();
    assert_eq!(report.state, RunState::RolledBack);
    assert!(report.message.contains("not the one that was shown"), "{}", report.message);
    assert!(std::fs::read(scene.path().join("dev/sdb")).unwrap().iter().all(|b| *b == 0xee));
}

#[test]
fn an_image_that_did_not_come_along_or_is_too_large_or_a_device_changes_nothing() {
    for (change, says) in [
        ("no image", "did not come with the run"),
        ("small", "use a larger medium"),
        ("another", "another medium"),
        ("gone", "/dev/sdb is gone"),
        ("device", "no plain file"),
        ("link", "could not open"),
    ] {
        let (mut scene, step) = scene(if change == "small" { SIZE - 1 } else { SIZE });
        let device = scene.path().join("dev/sdb");
        match change {
            "no image" => scene.inputs.images.clear(),
            "another" => {
                scene.put("/sys/block/sdb/diskseq", "8\n", 0o644);
            }
            "gone" => std::fs::remove_dir_all(scene.path().join("sys/block/sdb")).unwrap(),
            "device" => {
                std::fs::remove_file(&device).unwrap();
                nix::unistd::mkfifo(&device, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }
            "link" => {
                std::fs::rename(&device, scene.path().join("dev/real")).unwrap();
                std::os::unix::fs::symlink("real", &device).unwrap();
            }
            _ => {}
        }
        let report = scene.execute(vec![Step::WriteImage(step)]).unwrap();
        assert_eq!(report.state, RunState::RolledBack, "{change}");
        assert!(report.message.contains(says), "{change}: {}", report.message);
        for file in [device, scene.path().join("dev/real")] {
            if file.is_file() {
                assert!(std::fs::read(&file).unwrap().iter().all(|b| *b == 0xee), "{change}");
            }
        }
    }
}

#[test]
fn a_wish_to_stop_ends_it_and_says_what_is_lost() {
    let (scene, step) = scene(SIZE);
    let cancel = scene.cancel.clone();
    let plan = crate::engine::testing::plan(vec![Step::WriteImage(step)]);
    // At the first piece that is written.
    let mut sink = move |event: crate::engine::Event| {
        if matches!(event, crate::engine::Event::Progress { ref unit, .. } if unit == UNIT) {
            cancel.cancel();
        }
    };
    let owner = crate::engine::Owner { uid: 0, name: "root".into() };
    let report = crate::engine::execute(
        &scene.host,
        &plan,
        &scene.inputs,
        &owner,
        &|_, _| Vec::new(),
        &scene.cancel,
        &mut sink,
    )
    .unwrap();
    assert_eq!(report.state, RunState::RolledBack);
    assert!(report.message.contains("what /dev/sdb held before is lost"), "{}", report.message);
    let summary = crate::engine::runs(&scene.host).unwrap().remove(0);
    assert!(!summary.can_undo, "{summary:?}");
}
