// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;
use crate::detect::media::Connection;

fn stick() -> Medium {
    Medium {
        device: "/dev/sdb".into(),
        number: "8:16".into(),
        instance: Some(7),
        model: Some("SanDisk Cruzer".into()),
        serial: Some("AA01".into()),
        size: 16_000_000_000,
        connection: Connection::Usb,
        removable: true,
        read_only: false,
        partitions: vec![("sdb1".into(), 15_000_000_000)],
        used: vec![],
    }
}

fn choices(device: &str) -> Choices {
    let image = ImageChoice {
        name: "a, b.iso".into(),
        size: 700_000_000,
        sha256: "0a".repeat(32),
        content: Content::Hybrid,
    };
    Choices { device: device.into(), image }
}

fn refused(choices: &Choices, medium: Medium) -> Refusal {
    plan(choices, &[medium]).unwrap_err()
}

#[test]
fn the_plan_names_the_medium_and_says_that_it_cannot_be_undone() {
    let plan = plan(&choices("/dev/sdb"), &[stick()]).unwrap();
    insta::assert_json_snapshot!("plan_of_a_write", plan);
}

#[test]
fn what_is_not_a_free_portable_medium_is_refused() {
    let sdb = choices("/dev/sdb");
    assert_eq!(refused(&choices("/dev/sdz"), stick()).code, "no-such-device");
    let partition = refused(&choices("/dev/sdb1"), stick());
    assert_eq!((partition.code.as_str(), partition.remedy.as_deref()), ("partition", Some("Name /dev/sdb.")));
    let built_in = Medium { removable: false, connection: Connection::Other, ..stick() };
    assert_eq!(refused(&sdb, built_in).code, "not-removable");
    let used = Medium { used: vec!["/dev/sdb1 is mounted on /media/x".into()], ..stick() };
    assert!(refused(&sdb, used).reason.contains("mounted on /media/x"));
    assert_eq!(refused(&sdb, Medium { size: 0, ..stick() }).code, "no-medium");
    assert_eq!(refused(&sdb, Medium { read_only: true, ..stick() }).code, "read-only");
    let small = refused(&sdb, Medium { size: 699_999_999, ..stick() });
    assert!(small.code == "too-small" && small.reason.contains("room for"), "{small:?}");
}

#[test]
fn what_a_stranger_sends_is_looked_at() {
    let bad = |change: &dyn Fn(&mut ImageChoice)| {
        let mut choices = choices("/dev/sdb");
        change(&mut choices.image);
        refused(&choices, stick()).code
    };
    assert_eq!(bad(&|i| i.sha256 = "x".repeat(64)), "bad-image");
    assert_eq!(bad(&|i| i.size = 0), "bad-image");
    assert_eq!(bad(&|i| i.name = "../etc".into()), "bad-image");
    assert_eq!(bad(&|i| i.name = "a\u{1b}[2J".into()), "bad-image");
    assert_eq!(refused(&choices("/dev/../etc/passwd"), stick()).code, "no-such-device");
}

#[test]
fn what_may_be_the_wrong_disk_or_the_wrong_file_is_warned_of() {
    let said = |content: Content, medium: Medium| {
        let mut choices = choices("/dev/sdb");
        choices.image.content = content;
        let plan = plan(&choices, &[medium]).unwrap();
        plan.warnings.into_iter().map(|w| w.message).collect::<Vec<_>>().join("\n")
    };
    assert!(!said(Content::Partitioned, stick()).contains('\n'));
    assert!(said(Content::Unknown, stick()).contains("will not boot"));
    assert!(said(Content::Iso, stick()).contains("ISO image for discs"));
    assert!(said(Content::Hybrid, Medium { removable: false, ..stick() }).contains("a fixed disk"));
    assert!(
        said(Content::Hybrid, Medium { size: 2_000_000_000_000, ..stick() }).contains("large for a stick")
    );
}
