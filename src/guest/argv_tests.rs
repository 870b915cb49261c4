// SPDX-License-Identifier: GPL-3.0-or-later
//! Arguments of QEMU for whole guests, as snapshots; and QEMU's own word that it takes them.

use super::*;

/// A direct kernel boot of a root-less guest.
fn kernel() -> Prepared {
    Prepared {
        name: "guest".into(),
        machine: Machine::Microvm,
        kvm: false,
        cpus: 1,
        memory: 256,
        kernel: Some(KernelFiles {
            image: "/cache/vmlinux".into(),
            initramfs: "/run/initramfs".into(),
            cmdline: "quiet panic=-1".into(),
        }),
        share: None,
        disks: Vec::new(),
        cdrom: None,
        uefi: None,
        display: Display::None,
        graphics: false,
        net: Net::None,
        vsock: None,
        wires: Wires {
            console: Wire::Socket(5),
            firmware: None,
            qmp: Some(Wire::Socket(6)),
            qmp_listener: Some(Wire::Listener(7)),
            ports: vec![(protocol::CONTROL, Wire::Socket(8)), (protocol::STDOUT, Wire::Socket(9))],
        },
    }
}

fn iso() -> Prepared {
    Prepared {
        machine: Machine::Q35,
        cpus: 4,
        memory: 4096,
        kernel: None,
        cdrom: Some("/images/a, b.iso".into()),
        graphics: true,
        net: Net::User(Some(2222)),
        disks: vec![DiskFile {
            path: "/runs/1/disk.qcow2".into(),
            format: ImageFormat::Qcow2,
            writes: Writes::Kept,
            serial: None,
            usb: false,
        }],
        ..kernel()
    }
}

/// One option and its value on a line.
fn lines(p: &Prepared) -> String {
    argv(p)
        .join("\n")
        .replace("\n-", "\n\n-")
        .replace("\n\n", "\u{0}")
        .replace('\n', " ")
        .replace('\u{0}', "\n")
}

#[test]
fn a_kernel_without_a_root_needs_no_firmware_and_no_bus() {
    insta::assert_snapshot!(lines(&kernel()));
}

#[test]
fn a_directory_is_shared_read_only_by_qemu() {
    let share = Some(Share::NineP { path: "/srv/a tree, with commas".into(), readonly: true });
    insta::assert_snapshot!(lines(&Prepared { share, ..kernel() }));
}

#[test]
fn virtiofs_shares_the_memory_of_the_guest() {
    let p = Prepared { share: Some(Share::VirtioFs { socket: 11 }), kvm: true, ..kernel() };
    insta::assert_snapshot!(lines(&p));
}

#[test]
fn an_iso_with_secure_boot_guards_its_variables() {
    let uefi = Some(UefiFiles {
        code: "/usr/share/OVMF/OVMF_CODE_4M.ms.fd".into(),
        vars: "/runs/1/vars.fd".into(),
        format: ImageFormat::Raw,
        smm: true,
    });
    insta::assert_snapshot!(lines(&Prepared { uefi, ..iso() }));
}

#[test]
fn a_command_to_paste_writes_where_a_person_looks() {
    insta::assert_snapshot!(lines(&Prepared { wires: Wires::to_paste(), ..kernel() }));
}

#[test]
fn what_is_written_to_a_disk_goes_where_it_was_wanted() {
    let disk =
        |writes| DiskFile { path: "/d".into(), format: ImageFormat::Raw, writes, serial: None, usb: false };
    for (writes, option) in
        [(Writes::Kept, "raw,discard"), (Writes::Dropped, "snapshot=on"), (Writes::Refused, "readonly=on")]
    {
        let words = argv(&Prepared { disks: vec![disk(writes)], ..kernel() });
        assert!(words.iter().any(|w| w.starts_with("if=none,id=disk0") && w.contains(option)), "{words:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_path_gets_a_word_of_its_own_into_an_option(path in "[ -~]{0,40}") {
        // Read as QEMU does: a doubled comma is one comma of the value, a single one ends it.
        let escaped = escape(&path);
        let mut value = String::new();
        let mut chars = escaped.chars().peekable();
        while let Some(c) = chars.next() {
            if c == ',' {
                proptest::prop_assert_eq!(chars.next(), Some(','));
            }
            value.push(c);
        }
        proptest::prop_assert_eq!(value, path);
    }
}

#[test]
fn a_usb_stick_is_removable_and_needs_no_graphics_card() {
    let stick = DiskFile {
        path: "/a stick, 1.img".into(),
        format: ImageFormat::Raw,
        writes: Writes::Kept,
        serial: Some("STICK"),
        usb: true,
    };
    let p = Prepared { machine: Machine::Q35, disks: vec![stick], ..kernel() };
    let text = lines(&p);
    assert!(text.contains("-device qemu-xhci,id=usb\n"), "{text}");
    assert!(text.contains("usb-storage,bus=usb.0,removable=on,drive=disk0,serial=STICK"), "{text}");
    assert!(text.contains("file=/a stick,, 1.img"), "{text}");
    assert_eq!(text.matches("qemu-xhci").count(), 1);
    let with_screen = lines(&Prepared { graphics: true, ..p });
    assert_eq!(with_screen.matches("qemu-xhci").count(), 1);
}

#[test]
fn virtual_sockets_go_onto_the_machines_bus() {
    let on_microvm = lines(&Prepared { vsock: Some(4711), ..kernel() });
    assert!(on_microvm.contains("-device vhost-vsock-device,guest-cid=4711\n"), "{on_microvm}");
    let on_pc = lines(&Prepared { vsock: Some(4711), ..iso() });
    assert!(on_pc.contains("-device vhost-vsock-pci,guest-cid=4711\n"), "{on_pc}");
}
