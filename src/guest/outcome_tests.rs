// SPDX-License-Identifier: GPL-3.0-or-later
//! One row for every way a guest can end.

use super::*;
use crate::guest::spec::{Accelerator, Display, Firmware, GuestRoot, KernelBoot, Network};

fn command() -> Guest {
    let task = Task::Command { argv: vec!["true".into()], env: vec![], cwd: None };
    Guest {
        boot: Boot::Kernel(KernelBoot {
            image: "/boot/vmlinuz".into(),
            modules: None,
            config: None,
            root: GuestRoot::None,
            writable: false,
            task,
            append: vec![],
            insert: vec![],
            collect: vec![],
        }),
        cpus: 1,
        memory: 256,
        accelerator: Accelerator::Auto,
        display: Display::None,
        network: Network::None,
        disks: vec![],
        timeout: 60,
        until: None,
    }
}

fn iso() -> Guest {
    Guest { boot: Boot::Iso { path: "/a.iso".into(), firmware: Firmware::Bios }, ..command() }
}

fn trouble(kind: TroubleKind) -> Trouble {
    Trouble { kind, message: format!("{kind:?}"), lines: vec![] }
}

fn seen(hello: bool) -> Seen {
    Seen { hello, ..Seen::default() }
}

fn reset(hello: bool) -> Seen {
    Seen { qemu: Some(Ended::Code(0)), shutdown: Some("guest-reset".into()), ..seen(hello) }
}

fn timed_out(hello: bool) -> Seen {
    Seen { we_ended: Some(WeEnded::TimedOut), ..seen(hello) }
}

fn said(end: CommandEnd) -> Seen {
    Seen { command: Some(end), we_ended: Some(WeEnded::Finished), ..seen(true) }
}

fn kind(outcome: &Outcome) -> String {
    serde_json::to_value(outcome).unwrap()["kind"].as_str().unwrap().to_owned()
}

#[test]
fn every_way_to_end_has_its_name() {
    use TroubleKind as K;
    let qemu = Seen { qemu: Some(Ended::Code(1)), qemu_said: "no such file".into(), ..seen(false) };
    let quit = Seen { shutdown: Some("host-qmp-quit".into()), qemu: Some(Ended::Code(0)), ..seen(true) };
    let failed = Seen { failed: Some(("root".into(), "9p: no such device".into())), ..seen(true) };
    let nothing = Seen { nothing_bootable: Some("No bootable device.".into()), ..seen(false) };
    let rows: Vec<(&str, Guest, Seen, Vec<K>)> = vec![
        ("exited", command(), said(CommandEnd::Exit(3)), vec![]),
        ("exited", command(), said(CommandEnd::Exit(0)), vec![K::Oops]),
        ("signalled", command(), said(CommandEnd::Killed(11)), vec![]),
        ("signalled", command(), said(CommandEnd::Killed(9)), vec![]),
        ("out_of_memory", command(), said(CommandEnd::Killed(9)), vec![K::OutOfMemory]),
        ("out_of_memory", command(), said(CommandEnd::Exit(137)), vec![K::OutOfMemory]),
        ("exited", command(), said(CommandEnd::Exit(1)), vec![K::OutOfMemory]),
        ("out_of_memory", command(), reset(true), vec![K::OutOfMemory, K::Panic]),
        ("panic", command(), reset(true), vec![K::Panic]),
        ("panic", command(), reset(true), vec![K::Oops, K::Panic]),
        ("oops", command(), timed_out(true), vec![K::Oops]),
        ("lock_up", command(), timed_out(true), vec![K::LockUp]),
        (
            "powered_off",
            iso(),
            Seen { qemu: Some(Ended::Code(0)), shutdown: Some("guest-shutdown".into()), ..seen(true) },
            vec![K::LockUp],
        ),
        ("timed_out", command(), timed_out(true), vec![K::Warning]),
        ("never_reached_init", command(), timed_out(false), vec![]),
        ("never_reached_init", command(), reset(false), vec![]),
        ("never_reached_init", command(), reset(false), vec![K::NoRoot]),
        ("never_reached_init", command(), reset(false), vec![K::NoInit]),
        ("init_failed", command(), failed, vec![]),
        ("init_failed", command(), reset(true), vec![]),
        ("qemu_failed", command(), qemu, vec![]),
        ("stopped", command(), quit, vec![]),
        ("cancelled", command(), Seen { we_ended: Some(WeEnded::Cancelled), ..seen(true) }, vec![K::Panic]),
        ("nothing_bootable", iso(), nothing.clone(), vec![]),
        ("nothing_bootable", iso(), Seen { we_ended: Some(WeEnded::TimedOut), ..nothing }, vec![]),
        ("timed_out", iso(), timed_out(false), vec![]),
        ("powered_off", iso(), reset(false), vec![]),
        ("reached", iso(), Seen { we_ended: Some(WeEnded::Reached("login:".into())), ..seen(false) }, vec![]),
    ];
    for (n, (wanted, guest, seen, kinds)) in rows.into_iter().enumerate() {
        let troubles: Vec<Trouble> = kinds.into_iter().map(trouble).collect();
        assert_eq!(kind(&decide(&guest, &seen, &troubles)), wanted, "row {n}: {seen:?}");
    }
}
