// SPDX-License-Identifier: GPL-3.0-or-later
//! Consoles as guests wrote them.

use super::*;
use TroubleKind as K;

fn read(text: &str) -> (Vec<(TroubleKind, String)>, Vec<Told>) {
    let mut console = Console::default();
    let told = text.lines().filter_map(|l| console.line(l)).collect();
    (console.into_troubles().into_iter().map(|t| (t.kind, t.message)).collect(), told)
}

fn kinds(text: &str) -> Vec<TroubleKind> {
    read(text).0.into_iter().map(|(k, _)| k).collect()
}

const CRASH: &str = "\
[    1.302231] sysrq: Trigger a crash
[    1.302811] Kernel panic - not syncing: sysrq triggered crash
[    1.303500] CPU: 0 PID: 1 Comm: init Not tainted 6.1.0-56-amd64 #1  Debian 6.1.179-1
[    1.304413] Call Trace:
[    1.304901]  <TASK>
[    1.305261]  dump_stack_lvl+0x44/0x5c
[    1.310014] Kernel Offset: disabled
[    1.310522] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---";

const OOPS: &str = "\
[    2.114902] BUG: kernel NULL pointer dereference, address: 0000000000000000
[    2.115722] #PF: supervisor write access in kernel mode
[    2.116301] #PF: error_code(0x0002) - not-present page
[    2.116873] PGD 0 P4D 0
[    2.117180] Oops: 0002 [#1] PREEMPT SMP NOPTI
[    2.117702] CPU: 0 PID: 61 Comm: insmod Tainted: G           OE      6.1.0-56-amd64 #1  Debian 6.1.179-1
[    2.118812] RIP: 0010:init_module+0x5/0x1000 [oops]
[    2.130211]  </TASK>
[    2.130500] ---[ end trace 0000000000000000 ]---";

const LOCKUP: &str = "\
[   28.108113] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [spin:70]
[   28.109012] Modules linked in: spin(OE)
[   28.109544] CPU: 0 PID: 70 Comm: spin Tainted: G           OE      6.1.0-56-amd64 #1";

const OOM: &str = "\
[    4.883105] hungry invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, oom_score_adj=0
[    4.884902] CPU: 0 PID: 66 Comm: hungry Not tainted 6.1.0-56-amd64 #1
[    4.899113] Mem-Info:
[    4.912024] Out of memory: Killed process 66 (hungry) total-vm:212340kB, anon-rss:180112kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:412kB oom_score_adj:0";

const NO_ROOT: &str = "\
[    1.102290] VFS: Cannot open root device \"(null)\" or unknown-block(0,0): error -6
[    1.103221] Please append a correct \"root=\" boot option; here are the available partitions:
[    1.104401] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
[    1.105000] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0-56-amd64 #1";

#[test]
fn every_end_has_its_name() {
    assert_eq!(kinds(CRASH), [K::Panic]);
    assert_eq!(kinds(OOPS), [K::Oops]);
    assert_eq!(kinds(LOCKUP), [K::LockUp]);
    assert_eq!(kinds(OOM), [K::OutOfMemory]);
    assert!(kinds(NO_ROOT).iter().all(|k| *k == K::NoRoot));
    assert_eq!(
        kinds("Kernel panic - not syncing: No working init found.  Try passing init= option to kernel."),
        [K::NoInit]
    );
    assert_eq!(kinds("Kernel panic - not syncing: System is deadlocked on memory"), [K::OutOfMemory]);
    assert_eq!(
        kinds("[    3.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000b00"),
        [K::Panic]
    );
    assert_eq!(kinds("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"), [K::LockUp]);
    assert_eq!(kinds("INFO: task mount:71 blocked for more than 120 seconds."), [K::LockUp]);
    assert_eq!(
        kinds("general protection fault, probably for non-canonical address 0x6b: 0000 [#1] SMP"),
        [K::Oops]
    );
    assert_eq!(kinds("int3: 0000 [#1] PREEMPT SMP NOPTI"), [K::Oops]);
    assert_eq!(kinds("[   12.1][   T71] kernel BUG at mm/slub.c:435!"), [K::Oops]);
}

#[test]
fn modules_that_the_kernel_refuses_are_named() {
    for line in [
        "vmnet: Unknown symbol skb_gso_segment (err -2)",
        "vmmon: disagrees about version of symbol module_layout",
        "vmmon: version magic '6.1.0-55-amd64 SMP preempt mod_unload modversions ' should be '6.1.0-56-amd64 SMP preempt mod_unload modversions '",
        "Loading of unsigned module is rejected",
        "Lockdown: insmod: unsigned module loading is restricted; see man kernel_lockdown.7",
    ] {
        assert_eq!(kinds(line), [K::Module], "{line}");
    }
}

#[test]
fn an_out_of_memory_message_names_the_process_that_was_taken() {
    let (troubles, _) = read(OOM);
    assert!(troubles[0].1.starts_with("Out of memory: Killed process 66 (hungry)"), "{troubles:?}");
}

#[test]
fn the_lines_of_an_oops_stay_together_and_a_panic_after_it_is_its_own() {
    let mut console = Console::default();
    for line in OOPS.lines().chain(CRASH.lines()) {
        console.line(line);
    }
    let troubles = console.into_troubles();
    assert_eq!(troubles.len(), 2, "{troubles:?}");
    assert_eq!(troubles[0].lines.len(), 9);
    assert!(troubles[0].lines[6].starts_with("RIP:"), "{troubles:?}");
}

#[test]
fn a_warning_of_the_kernel_is_a_warning() {
    let text = "[    1.0] ------------[ cut here ]------------\n\
                [    1.0] WARNING: CPU: 0 PID: 61 at kernel/softirq.c:362 __local_bh_enable_ip+0x9a/0xa0";
    assert_eq!(kinds(text), [K::Warning]);
    assert_eq!(
        kinds("WARNING: kernel/softirq.c:362 at __local_bh_enable_ip+0x9a/0xa0, CPU#0: insmod/61"),
        [K::Warning]
    );
}

#[test]
fn a_good_boot_has_places_and_no_complaints() {
    let text = "\
[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0)
[    0.000000] Warning: unable to open an initial console.
[    0.914112] Run /init as init process
[    1.812201] systemd[1]: systemd 252.39-1~deb12u1 running in system mode (+PAM +AUDIT)
[\u{1b}[0;32m  OK  \u{1b}[0m] Reached target \u{1b}[0;1;39mbasic.target\u{1b}[0m - Basic System.
[\u{1b}[0;32m  OK  \u{1b}[0m] Reached target \u{1b}[0;1;39mmulti-user.target\u{1b}[0m - Multi-User System.";
    let (troubles, told) = read(text);
    assert_eq!(troubles, []);
    assert_eq!(
        told,
        [
            Told::Stage("kernel", "6.1.0-56-amd64".into()),
            Told::Stage("init", "/init".into()),
            Told::Stage("systemd", "252.39-1~deb12u1".into()),
            Told::Stage("target", "multi-user.target - Multi-User System".into()),
        ]
    );
}

#[test]
fn firmware_that_finds_nothing_says_so() {
    let uefi = "\u{1b}[2J\u{1b}[01;01HBdsDxe: No bootable option or device was found.";
    assert!(matches!(read(uefi).1[..], [Told::NothingBootable(_)]));
    let bios =
        "Booting from DVD/CD...\nBoot failed: Could not read from CDROM (code 0003)\nNo bootable device.";
    let (_, told) = read(bios);
    assert_eq!(told[0], Told::Stage("boot loader", "DVD/CD".into()));
    assert_eq!(told[1], Told::NothingBootable("No bootable device.".into()));
}

proptest::proptest! {
    #[test]
    fn no_console_makes_the_reader_fall(lines in proptest::collection::vec("\\PC{0,80}", 0..40)) {
        let mut console = Console::default();
        for line in &lines {
            console.line(line);
        }
        proptest::prop_assert!(console.troubles().len() <= TROUBLES);
    }
}
