// SPDX-License-Identifier: GPL-3.0-or-later
//! What guests really said is in `tests/rehearsal/said`; modules that are broken on purpose come from
//! `tests/rehearsal/broken.c`.

use super::*;
use crate::guest::spec::{Accelerator, Boot, Display, Firmware, Guest, Network};
use crate::guest::{AcceleratorUsed, SCHEMA};
use jiff::Timestamp;
use proptest::prelude::*;

fn heard(text: &str) -> Rehearsal {
    let mut rehearsal = Rehearsal::default();
    for line in text.lines() {
        rehearsal.hear(line).unwrap_or_else(|| panic!("not understood: {line}"));
    }
    rehearsal
}

fn report(outcome: Outcome, console: &str) -> Report {
    Report {
        schema: SCHEMA,
        name: "test".into(),
        guest: Guest {
            boot: Boot::Disk { firmware: Firmware::Bios },
            cpus: 1,
            memory: 1,
            accelerator: Accelerator::Tcg,
            display: Display::None,
            network: Network::None,
            disks: Vec::new(),
            timeout: 1,
            until: None,
        },
        began: Timestamp::UNIX_EPOCH,
        took_ms: 1,
        outcome,
        stages: Vec::new(),
        accelerator: AcceleratorUsed { name: "tcg".into(), reason: String::new() },
        kernel: None,
        troubles: Vec::new(),
        console_tail: console.lines().map(str::to_owned).collect(),
        collected: Vec::new(),
        screenshots: Vec::new(),
        command: String::new(),
    }
}

fn of(said: &str) -> Verdict {
    verdict(&heard(said), &report(Outcome::Exited { status: 1 }, ""))
}

fn failed(verdict: Verdict) -> (String, Vec<String>) {
    match verdict {
        Verdict::Failed { why, lines } => (why, lines),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sound_modules_pass_with_all_that_was_seen_of_them() {
    for said in [
        include_str!("../../tests/rehearsal/said/practice-on-6.1.txt"),
        include_str!("../../tests/rehearsal/said/17.5.1-on-6.1.txt"),
        include_str!("../../tests/rehearsal/said/16.2.5-on-7.2.txt"),
    ] {
        match verdict(&heard(said), &report(Outcome::Exited { status: 0 }, "")) {
            Verdict::Passed { tried, skipped } => {
                assert!(tried.len() >= 20, "{tried:?}");
                assert!(tried.contains(&"bridge another hub to the interface".to_owned()), "{tried:?}");
                assert!(skipped.len() <= 3, "{skipped:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_oops_shows_where_it_happened() {
    let (why, lines) = failed(of(include_str!("../../tests/rehearsal/said/oops.txt")));
    assert!(why.starts_with("could not insert vmmon: the kernel ended the program that did it"), "{why}");
    assert!(why.contains("BUG: kernel NULL pointer dereference, address: 0000000000000008"), "{why}");
    assert!(lines.iter().any(|l| l.contains("RIP: 0010:broken_init+0x5/0x1000 [vmmon]")), "{lines:#?}");
    assert!(lines.len() <= SHOWN);
}

#[test]
fn a_symbol_that_the_kernel_does_not_have_is_named() {
    let (why, lines) = failed(of(include_str!("../../tests/rehearsal/said/unknown-symbol.txt")));
    assert!(why.contains("vmmon: Unknown symbol hostwright_no_such_function (err -2)"), "{why}");
    assert!(lines[0].contains("Unknown symbol"), "{lines:#?}");
}

#[test]
fn a_warning_is_shown_from_its_first_line_to_its_last() {
    let (why, lines) = failed(of(include_str!("../../tests/rehearsal/said/warning.txt")));
    assert!(why.contains("WARNING: CPU: ") && why.contains("(to insert vmmon)"), "{why}");
    assert!(lines[0].contains("[ cut here ]"), "{lines:#?}");
    assert_eq!(lines[1], "broken on purpose");
    let (why, lines) = failed(of(include_str!("../../tests/rehearsal/said/field-spanning.txt")));
    assert!(why.contains("detected field-spanning write (size 12) of single field"), "{why}");
    assert!(lines[0].contains("[ cut here ]"), "{lines:#?}");
}

#[test]
fn a_warning_alone_fails_a_rehearsal_in_which_all_went_well() {
    let good = include_str!("../../tests/rehearsal/said/practice-on-6.1.txt");
    for line in [
        "UBSAN: array-index-out-of-bounds in /build/vmmon-only/common/vmx86.c:1234:5",
        "memcpy: detected field-spanning write (size 48) of single field \"&a\" at vnetEvent.c:1 (size 32)",
        "BUG: sleeping function called from invalid context at mm/slab.h:1",
        "unchecked MSR access error: RDMSR from 0x1a4",
    ] {
        let said = Said::Kernel { level: 4, text: line.to_owned() }.line();
        let (why, lines) = failed(of(&good.replace("rehearse end", &format!("{said}\nrehearse end"))));
        assert!(why.starts_with("the kernel complained: ") && why.contains(line), "{why}");
        assert_eq!(lines[0], line);
    }
}

#[test]
fn a_module_that_refuses_to_start_fails_with_its_error() {
    let (why, _) = failed(of(include_str!("../../tests/rehearsal/said/refuses.txt")));
    assert_eq!(why, "could not insert vmmon: the kernel refuses it: No such device (os error 19)");
}

#[test]
fn a_panic_shows_the_console() {
    let said = include_str!("../../tests/rehearsal/said/panic.txt");
    let console = "[    1.803914] Kernel panic - not syncing: broken on purpose\n\
                   [    1.803914] CPU: 1 PID: 85 Comm: init Tainted: G           OE      6.1.0-56-amd64 #1\n\
                   [    1.803914] ---[ end Kernel panic - not syncing: broken on purpose ]---\n";
    let message = "Kernel panic - not syncing: broken on purpose".to_owned();
    let (why, lines) = failed(verdict(&heard(said), &report(Outcome::Panic { message }, console)));
    assert_eq!(
        why,
        "the machine did not outlive it (insert vmmon): Kernel panic - not syncing: broken on purpose"
    );
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_machine_that_hangs_says_at_what() {
    let said = format!("{}\n", Said::Trying { what: "insert vmmon".into() }.line());
    let (why, _) = failed(verdict(&heard(&said), &report(Outcome::TimedOut { seconds: 180 }, "")));
    assert_eq!(why, "the machine did not outlive it (insert vmmon): it came to no end in 180 seconds");
}

#[test]
fn a_new_mark_of_damage_fails_but_not_that_of_a_foreign_unsigned_module() {
    let good = include_str!("../../tests/rehearsal/said/practice-on-6.1.txt");
    let taint = good.lines().find(|l| l.starts_with("rehearse taint")).unwrap();
    let with = |after: u64| of(&good.replace(taint, &Said::Taint { before: 0, after }.line()));
    assert!(with(12288).passed() && with(12289).passed() && with(0).passed());
    let (why, _) = failed(with(12288 | 512));
    assert!(why.contains("marked itself as damaged"), "{why}");
}

#[test]
fn a_guest_that_never_came_to_the_modules_says_nothing_about_them() {
    for (outcome, says) in [
        (Outcome::NeverReachedInit { reason: "no PVH entry".into() }, "no PVH entry"),
        (Outcome::QemuFailed { message: "cannot set up guest memory".into() }, "QEMU: cannot set up"),
        (Outcome::TimedOut { seconds: 180 }, "no end in 180 seconds"),
        (Outcome::Panic { message: "Kernel panic - not syncing: VFS".into() }, "Kernel panic"),
    ] {
        match verdict(&Rehearsal::default(), &report(outcome, "the last line")) {
            Verdict::CouldNotLook { why, lines } => {
                assert!(why.contains(says), "{why}");
                assert_eq!(lines, ["the last line"]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_healthy_kernel_says_is_no_complaint() {
    for line in [
        "vmmon: loading out-of-tree module taints kernel.",
        "vmmon: module verification failed: signature and/or required key missing - tainting kernel",
        "/dev/vmmon[85]: Module vmmon: initialized",
        "device vmnet9 entered promiscuous mode",
        "bridge-vmnet9: enabled promiscuous mode",
        "clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable",
        "hostwright: insert vmmon",
    ] {
        assert!(!is_complaint(line), "{line}");
    }
}

#[test]
fn a_verdict_comes_back_from_json_as_it_was() {
    for verdict in [
        of(include_str!("../../tests/rehearsal/said/oops.txt")),
        of(include_str!("../../tests/rehearsal/said/practice-on-6.1.txt")),
        Verdict::CouldNotLook { why: "x".into(), lines: vec![] },
    ] {
        let json = serde_json::to_string(&verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
    }
}

proptest! {
    #[test]
    fn no_order_of_what_is_said_makes_it_panic(picked in proptest::collection::vec(0usize..4, 0..40), words in "\\PC{0,20}") {
        let mut rehearsal = Rehearsal::default();
        for which in picked {
            let said = match which {
                0 => Said::Trying { what: words.clone() },
                1 => Said::Kernel { level: 4, text: format!("BUG: {words}") },
                2 => Said::Bad { what: words.clone(), why: words.clone() },
                _ => Said::End,
            };
            rehearsal.hear(&said.line());
        }
        let _ = verdict(&rehearsal, &report(Outcome::PoweredOff, &words));
    }
}
