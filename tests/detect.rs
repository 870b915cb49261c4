// SPDX-License-Identifier: GPL-3.0-or-later
//! Gathering on recorded hosts: the whole of each as a snapshot, and what matters in sentences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "detect/recorded.rs"]
mod recorded;

use hostwright::detect::{
    BootloaderKind, CompilerFit, Compression, Facts, Family, Finding, Headers, ImmutableKind, KeyOwner,
    Options, Topic, VmwareRole, gather, gather_with,
};
use hostwright::host::HostKind;
use recorded::{names, unpack, unpack_with};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What is found on a recorded host; looked at once for all tests.
fn facts(name: &str) -> Facts {
    static FOUND: Mutex<BTreeMap<String, Facts>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().unwrap();
    found.entry(name.to_owned()).or_insert_with(|| gather(&unpack(name).host, None)).clone()
}

/// Every difference in what is found on a recorded host is looked at by a person.
#[test]
fn each_recorded_host_is_found_as_it_was() {
    let names = names();
    assert!(names.len() >= 11, "{names:?}");
    for name in names {
        let mut facts = serde_json::to_value(facts(&name)).unwrap();
        // They stand in the recording as they are.
        if let Some(flags) = facts.pointer_mut("/cpu/seen/flags") {
            *flags = flags.as_array().unwrap().len().into();
        }
        // How a test's own encoder compresses a module is not what is tested here.
        for kernel in facts.pointer_mut("/kernels/seen").unwrap().as_array_mut().unwrap() {
            for module in kernel["vmware_modules"].as_array_mut().unwrap() {
                assert_eq!(module["sha256"]["seen"].as_str().unwrap().len(), 64);
                module["sha256"] = "a digest".into();
            }
        }
        insta::with_settings!({ snapshot_path => "detect/snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_json_snapshot!(name.as_str(), facts);
        });
    }
}

#[test]
fn facts_come_back_from_json_as_they_were() {
    for name in names() {
        let facts = facts(&name);
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts, "{name}");
    }
}

#[test]
fn gathering_writes_nothing() {
    fn tree(dir: &std::path::Path, into: &mut Vec<(std::path::PathBuf, std::time::SystemTime, u64)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.path().symlink_metadata().unwrap();
            into.push((entry.path(), meta.modified().unwrap(), meta.len()));
            if meta.is_dir() {
                tree(&entry.path(), into);
            }
        }
    }
    let host = unpack("debian-12");
    let (mut before, mut after) = (Vec::new(), Vec::new());
    tree(host.dir.path(), &mut before);
    gather(&host.host, None);
    tree(host.dir.path(), &mut after);
    assert_eq!(before, after);
}

#[test]
fn commands_are_run_only_for_what_no_file_says() {
    let host = unpack("debian-12");
    gather(&host.host, None);
    let mut calls = host.runner.calls();
    calls.sort();
    assert_eq!(calls, ["/usr/bin/gcc --version", "/usr/bin/ld --version", "/usr/bin/make --version"]);

    let host = unpack("debian-12");
    let only = gather(&host.host, Some(&[Topic::SecureBoot, Topic::Cpu]));
    assert_eq!(host.runner.calls(), Vec::<String>::new());
    assert!(only.cpu.is_seen() && only.secure_boot.is_seen());
    assert_eq!(only.os.why(), Some("not asked for"));
}

#[test]
fn immutable_systems_are_told_the_right_way() {
    for (name, kind, word) in [
        ("nixos", ImmutableKind::Nixos, "virtualisation.vmware.host.enable"),
        ("silverblue-40", ImmutableKind::Ostree, "rpm-ostree"),
        ("microos", ImmutableKind::Transactional, "transactional-update"),
    ] {
        let os = facts(name).os.into_seen().unwrap();
        let immutable = os.immutable.unwrap();
        assert_eq!(immutable.kind, kind, "{name}");
        assert!(immutable.guidance.contains(word), "{name}: {}", immutable.guidance);
    }
    // A tool that only some use does not make a system immutable.
    assert_eq!(facts("opensuse-tumbleweed").os.into_seen().unwrap().immutable, None);
}

#[test]
fn missing_headers_name_the_exact_package() {
    for (name, release, package, command) in [
        (
            "debian-12",
            "6.1.0-23-amd64",
            Some("linux-headers-6.1.0-23-amd64"),
            "apt-get install linux-headers-6.1.0-23-amd64",
        ),
        (
            "fedora-40",
            "6.10.12-200.fc40.x86_64",
            Some("kernel-devel-6.10.12-200.fc40.x86_64"),
            "dnf install kernel-devel-6.10.12-200.fc40.x86_64",
        ),
        ("arch-sbctl", "6.6.58-1-lts", Some("linux-lts-headers"), "pacman -S --needed linux-lts-headers"),
        (
            "opensuse-tumbleweed",
            "6.11.5-1-default",
            Some("kernel-default-devel"),
            "zypper install kernel-default-devel=6.11.5-1.1",
        ),
        (
            "proxmox-8",
            "6.8.12-2-pve",
            Some("proxmox-headers-6.8.12-2-pve"),
            "apt-get install proxmox-headers-6.8.12-2-pve",
        ),
    ] {
        let facts = facts(name);
        match &facts.kernel(release).unwrap().headers {
            Headers::Missing { package: found, command: told } => {
                assert_eq!((found.as_deref(), told.as_str()), (package, command), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn broken_headers_say_what_is_missing() {
    let facts = facts("gentoo");
    let Headers::Broken { missing, command, .. } = &facts.kernel("6.6.47-gentoo").unwrap().headers else {
        panic!()
    };
    for file in [
        "Makefile",
        "include/config/auto.conf",
        "Module.symvers",
        "scripts/mod/modpost",
        "tools/objtool/objtool",
    ] {
        assert!(missing.iter().any(|m| m == file), "{file} in {missing:?}");
    }
    assert!(command.contains("modules_prepare"), "{command}");
    // objtool is not missed where the configuration does not run it.
    assert!(facts.kernel("6.6.52-gentoo").unwrap().headers.is_usable());

    // A file in place of a program, and a file that is not there.
    let Headers::Broken { missing, package, .. } =
        &self::facts("cachyos-clang").kernels.into_seen().unwrap()[0].headers
    else {
        panic!()
    };
    assert_eq!(missing, &["Module.symvers", "scripts/mod/modpost (is not executable)"]);
    assert_eq!(package.as_deref(), Some("linux-cachyos-headers"));
}

#[test]
fn headers_of_another_kernel_are_not_taken() {
    let more = "\n== file /usr/src/linux-headers-6.1.0-25-amd64/include/generated/utsrelease.h\n#define UTS_RELEASE \"6.1.0-26-amd64\"\n";
    let host = unpack_with("debian-12", HostKind::Machine, more);
    let facts = gather(&host.host, Some(&[Topic::Kernels]));
    let Headers::Broken { missing, .. } = &facts.kernel("6.1.0-25-amd64").unwrap().headers else { panic!() };
    assert_eq!(missing, &["headers of 6.1.0-25-amd64 (these are of 6.1.0-26-amd64)"]);
}

#[test]
fn the_common_part_of_debian_headers_is_looked_at_too() {
    let more = "\n== without /usr/src/linux-headers-6.1.0-25-common/Makefile\n";
    let host = unpack_with("debian-12", HostKind::Machine, more);
    let facts = gather(&host.host, Some(&[Topic::Kernels]));
    let Headers::Broken { missing, .. } = &facts.kernel("6.1.0-25-amd64").unwrap().headers else { panic!() };
    assert_eq!(missing, &["/usr/src/linux-headers-6.1.0-25-common/Makefile (included by its Makefile)"]);
}

#[test]
fn a_folder_left_behind_is_no_kernel() {
    let facts = facts("debian-12");
    let releases: Vec<&str> = facts.kernels.seen().unwrap().iter().map(|k| k.release.as_str()).collect();
    assert_eq!(releases, ["6.1.0-25-amd64", "6.1.0-23-amd64"]);
}

#[test]
fn modules_are_told_apart_by_whom_they_were_built_for() {
    let debian = facts("debian-12");
    let vmmon = |release: &str| debian.kernel(release).unwrap().vmware_module("vmmon").unwrap().clone();
    assert!(vmmon("6.1.0-25-amd64").vermagic_fits.is_true());
    let content =
        std::fs::read(unpack("debian-12").dir.path().join("lib/modules/6.1.0-25-amd64/misc/vmmon.ko"))
            .unwrap();
    assert_eq!(
        vmmon("6.1.0-25-amd64").sha256,
        Finding::Seen(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content)))
    );
    assert!(vmmon("6.1.0-23-amd64").vermagic_fits.is_false());
    assert_eq!(vmmon("6.1.0-25-amd64").signature, Finding::Seen(None));

    let ubuntu = facts("ubuntu-24.04-secure-boot");
    let kernel = ubuntu.kernel("6.8.0-45-generic").unwrap();
    assert_eq!(kernel.compression, Compression::Zstd);
    let vmmon = kernel.vmware_module("vmmon").unwrap();
    let signature = vmmon.signature.seen().unwrap().as_ref().unwrap();
    assert_eq!(signature.signer.as_deref(), Some("Hostwright test module signing key"));
    assert_eq!(signature.key_id.as_deref(), Some("43096b8ebd169a174702fa837ae57462de9cfb11"));
    assert_eq!(signature.hash.as_deref(), Some("sha256"));
    assert_eq!(vmmon.hostwright["mode"], "vanilla");

    // On Fedora vmnet lies there, and depmod does not know it.
    let fedora = facts("fedora-40");
    let vmnet = fedora.kernel("6.10.11-200.fc40.x86_64").unwrap().vmware_module("vmnet").unwrap().clone();
    assert!(!vmnet.in_modules_dep);
    assert!(vmnet.path.ends_with("extra/vmnet.ko.xz"));
}

#[test]
fn a_damaged_module_is_not_a_missing_one() {
    let facts = facts("gentoo");
    let vmnet = facts.kernel("6.6.52-gentoo").unwrap().vmware_module("vmnet").unwrap();
    assert!(vmnet.sha256.is_seen());
    assert!(vmnet.vermagic.why().unwrap().contains("install it again"), "{:?}", vmnet.vermagic);
    assert!(!vmnet.vermagic_fits.is_seen());
}

#[test]
fn the_next_kernel_is_read_from_the_loader_in_charge() {
    for (name, kind, release, source) in [
        ("debian-12", Some(BootloaderKind::Grub), "6.1.0-25-amd64", "/boot/grub/grub.cfg"),
        ("ubuntu-24.04-secure-boot", Some(BootloaderKind::Grub), "6.8.0-45-generic", "/boot/grub/grub.cfg"),
        (
            "fedora-40",
            Some(BootloaderKind::Grub),
            "6.10.12-200.fc40.x86_64",
            "/boot/loader/entries/0f3e6a11-6.10.12-200.fc40.x86_64.conf",
        ),
        (
            "arch-sbctl",
            Some(BootloaderKind::SystemdBoot),
            "6.6.58-1-lts",
            "EFI variable LoaderEntryOneShot (arch-lts.conf)",
        ),
        ("gentoo", Some(BootloaderKind::Grub), "6.6.52-gentoo", "/boot/grub/grub.cfg"),
        ("opensuse-tumbleweed", Some(BootloaderKind::Grub), "6.11.5-1-default", "/boot/grub2/grub.cfg"),
        ("proxmox-8", Some(BootloaderKind::ProxmoxBootTool), "6.8.8-4-pve", "/etc/kernel/proxmox-boot-pin"),
        ("cachyos-clang", Some(BootloaderKind::Grub), "6.11.5-2-cachyos", "/boot/grub/grub.cfg"),
    ] {
        let facts = facts(name);
        let loader = facts.bootloader.seen().unwrap();
        assert_eq!(loader.kinds.first().copied(), kind, "{name}");
        let next = loader.next_boot.seen().unwrap_or_else(|| panic!("{name}: {:?}", loader.next_boot));
        assert_eq!((next.release.as_str(), next.source.as_str()), (release, source), "{name}");
        let kernels = facts.kernels.seen().unwrap();
        let marked: Vec<&str> =
            kernels.iter().filter(|k| k.is_next_boot.is_true()).map(|k| k.release.as_str()).collect();
        assert_eq!(marked, [release], "{name}");
    }
    assert!(facts("nixos").bootloader.seen().unwrap().next_boot.why().is_some());
}

#[test]
fn unified_kernel_images_tell_their_kernel_themselves() {
    let vars = "/sys/firmware/efi/efivars";
    let more = format!(
        "\n== unified /boot/EFI/Linux/arch-zen.efi 6.11.5-zen1-1-zen\nID=arch\n\
         == unified /boot/EFI/Linux/arch-lts.efi 6.6.58-1-lts\nID=arch\n\
         == file /boot/EFI/Linux/broken.efi\nMZ and no more\n\
         == without /boot/loader/loader.conf /boot/loader/entries/arch-zen.conf /boot/loader/entries/arch-lts.conf \
         {vars}/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f\n"
    );
    let next = |more: &str| {
        let host = unpack_with("arch-sbctl", HostKind::Machine, more);
        gather(&host.host, Some(&[Topic::Bootloader])).bootloader.into_seen().unwrap().next_boot
    };
    assert_eq!(next(&more).into_seen().unwrap().release, "6.11.5-zen1-1-zen");
    let default = "== file /boot/loader/loader.conf\ndefault arch-lts*\n";
    let more = more.replace("/boot/loader/loader.conf ", "") + default;
    assert_eq!(next(&more).into_seen().unwrap().release, "6.6.58-1-lts");
}

#[test]
fn keys_are_trusted_pending_or_neither() {
    let key = |name: &str, owner| facts(name).signing.into_seen().unwrap().key(owner).unwrap().clone();
    let ubuntu = key("ubuntu-24.04-secure-boot", KeyOwner::ShimSigned).trust;
    // In the kernel's keyring, though the list that this recording has is another one.
    assert!(ubuntu.in_kernel.is_true() && ubuntu.enrolled.is_false() && ubuntu.pending.is_false());
    let fedora = key("fedora-40", KeyOwner::Akmods).trust;
    assert!(fedora.pending.is_true() && fedora.enrolled.is_false());
    assert!(fedora.in_kernel.why().unwrap().contains("root only"));
    let arch = key("arch-sbctl", KeyOwner::Dkms).trust;
    assert!(arch.in_firmware.is_false() && arch.enrolled.is_false());
    let gentoo = key("gentoo", KeyOwner::KernelBuild).trust;
    assert!(gentoo.in_kernel.is_true());
    assert!(key("gentoo", KeyOwner::Portage).certificate.is_seen());
}

#[test]
fn our_own_key_is_found_enrolled_pending_or_half_gone() {
    let own = |more: &str| {
        let host = unpack_with("fedora-40", HostKind::Machine, more);
        gather(&host.host, Some(&[Topic::Signing]))
            .signing
            .into_seen()
            .unwrap()
            .key(KeyOwner::Hostwright)
            .cloned()
    };
    assert_eq!(own(""), None);
    let dir = "/var/lib/hostwright/keys";
    let private = format!("\n== file {dir}/hostwright.key\n(a private key)");
    let certificate = |name: &str| format!("\n== copy {dir}/hostwright.der {name}");
    let enrolled = own(&(private.clone() + &certificate("other.der"))).unwrap();
    assert!(enrolled.trust.enrolled.is_true() && enrolled.has_private.is_true());
    let pending = own(&(private.clone() + &certificate("mok.der"))).unwrap();
    assert!(pending.trust.pending.is_true() && pending.trust.enrolled.is_false());
    // A half that is gone is seen, so that nothing makes both anew over an enrolled key.
    let without_private = own(&certificate("other.der")).unwrap();
    assert!(without_private.has_private.is_false() && without_private.trust.enrolled.is_true());
    let without_certificate = own(&private).unwrap();
    assert!(without_certificate.has_private.is_true() && !without_certificate.certificate.is_seen());
    assert!(!without_certificate.trust.enrolled.is_seen());
}

#[test]
fn secure_boot_is_told_by_variables_and_not_by_words() {
    use hostwright::detect::secure_boot::{BootTrust, Firmware};
    let seen = |name: &str| facts(name).secure_boot.into_seen().unwrap();
    assert!(seen("debian-12").is_effective().is_false());
    assert!(seen("ubuntu-24.04-secure-boot").is_effective().is_true());
    assert_eq!(seen("ubuntu-24.04-secure-boot").trust, Finding::Seen(BootTrust::Shim));
    assert_eq!(seen("arch-sbctl").trust, Finding::Seen(BootTrust::OwnKeys));
    assert_eq!(seen("gentoo").firmware, Firmware::Bios);
    // A variable that is cut off is not a no.
    assert!(seen("opensuse-tumbleweed").enabled.why().unwrap().contains("cut off"));
    let more =
        "\n== hex /sys/firmware/efi/efivars/MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23\n06000000 01\n";
    let host = unpack_with("ubuntu-24.04-secure-boot", HostKind::Machine, more);
    let disabled = gather(&host.host, Some(&[Topic::SecureBoot])).secure_boot.into_seen().unwrap();
    assert!(disabled.enabled.is_true() && disabled.is_effective().is_false());
}

#[test]
fn a_damaged_list_of_keys_is_not_an_empty_one() {
    let more = "\n== hex /sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23\n06000000 a159c0a5\n";
    let host = unpack_with("ubuntu-24.04-secure-boot", HostKind::Machine, more);
    let signing = gather(&host.host, Some(&[Topic::Signing])).signing.into_seen().unwrap();
    assert!(signing.key(KeyOwner::ShimSigned).unwrap().trust.enrolled.why().unwrap().contains("damaged"));
}

#[test]
fn programs_of_vmware_are_known_by_their_exact_names() {
    let facts = facts("debian-12");
    let found: Vec<_> = facts
        .processes
        .seen()
        .unwrap()
        .iter()
        .map(|p| (p.pid, p.name.as_str(), p.role, p.user.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            (980, "vmware-usbarbitrator", VmwareRole::Service, Some("root")),
            (4100, "vmware", VmwareRole::Application, Some("mona")),
            (4211, "vmware-vmx", VmwareRole::VirtualMachine, Some("mona")),
        ]
    );
}

#[test]
fn kvm_holds_virtualization_when_it_says_so_or_has_guests() {
    let holds = |name: &str| facts(name).kvm.into_seen().unwrap().holds_virtualization;
    assert!(holds("debian-12").is_false());
    // Since 6.12 (and where it was backported) from the moment it is loaded.
    assert!(holds("fedora-40").is_true());
    let proxmox = facts("proxmox-8").kvm.into_seen().unwrap();
    assert!(proxmox.holds_virtualization.is_true());
    assert_eq!(proxmox.guests.seen().unwrap()[0].name, "qemu-system-x86_64");
}

#[test]
fn a_kernel_built_by_clang_wants_clang() {
    let facts = facts("cachyos-clang");
    let kernel = facts.kernel("6.11.5-2-cachyos").unwrap();
    assert!(kernel.config.seen().unwrap().is_clang() && kernel.config.seen().unwrap().has_lto());
    let compiler = kernel.build_compiler.seen().unwrap().as_ref().unwrap();
    assert_eq!(compiler.fit, CompilerFit::OtherKind);
    assert!(compiler.note.contains("Install clang"), "{}", compiler.note);
}

#[test]
fn the_root_disk_is_found_through_partitions_and_mappings() {
    let root = |name: &str| facts(name).storage.into_seen().unwrap()[0].holds_root;
    assert_eq!(root("debian-12"), Some(true));
    assert_eq!(root("ubuntu-24.04-secure-boot"), Some(true));
    // ZFS tells no device: not known, and not a no.
    assert_eq!(root("proxmox-8"), None);
}

#[test]
fn a_scratch_root_is_not_running() {
    let host = unpack_with(
        "debian-12",
        HostKind::PartialRoot,
        "\n== without /proc/sys/kernel/osrelease /proc/cpuinfo\n",
    );
    let facts = gather(&host.host, None);
    for (what, why) in [
        ("running_kernel", facts.running_kernel.why()),
        ("processes", facts.processes.why()),
        ("loaded_modules", facts.loaded_modules.why()),
        ("secure_boot", facts.secure_boot.as_ref().and_then(|s| s.enabled.clone()).why()),
        ("cpu", facts.cpu.why()),
        ("memory", facts.memory.why()),
    ] {
        assert_eq!(why, Some("this root is not running"), "{what}");
    }
    let kernel = facts.kernel("6.1.0-25-amd64").unwrap();
    assert!(kernel.headers.is_usable() && !kernel.is_running.is_seen() && !kernel.runs());
    assert_eq!(facts.os.seen().unwrap().family, Family::Debian);
    let with_cpu = gather_with(&host.host, Some(&[Topic::Cpu]), Options { cpu_of_machine: true });
    assert!(with_cpu.cpu.is_seen(), "{:?}", with_cpu.cpu);
}

#[test]
fn an_empty_root_is_looked_at_without_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let runner = std::sync::Arc::new(hostwright::host::fake::FakeRunner::new());
    let host = hostwright::host::fake::host(dir.path(), runner, HostKind::CompleteRoot).unwrap();
    let facts = gather(&host, None);
    assert!(facts.os.why().unwrap().contains("os-release"));
    assert_eq!(facts.kernels, Finding::Seen(vec![]));
    assert!(!facts.vmware.seen().unwrap().is_installed());
    let missing: Vec<&str> =
        facts.toolchain.seen().unwrap().missing.iter().map(|m| m.tool.as_str()).collect();
    assert_eq!(missing, ["gcc", "make", "ld", "bwrap"]);
}

#[test]
fn the_score_counts_only_what_was_looked_at() {
    for name in names() {
        let facts = facts(&name);
        let Some(score) = facts.score.seen() else { continue };
        assert_eq!(score.points, score.parts.iter().map(|p| p.points).sum::<u32>(), "{name}");
        assert!(score.points <= score.max && score.max <= 100, "{name}");
        for part in &score.parts {
            assert_eq!(part.max == 0, part.reason.starts_with("could not look"), "{name} {part:?}");
        }
    }
    let full = facts("debian-12").score.into_seen().unwrap();
    assert_eq!(full.max, 100);
}

#[test]
fn links_out_of_a_root_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("os-release"), "ID=evil\n").unwrap();
    let more = format!(
        "\n== without /etc/os-release\n== link /etc/os-release -> {}/os-release\n",
        outside.path().display()
    );
    let host = unpack_with("debian-12", HostKind::Machine, &more);
    assert!(gather(&host.host, Some(&[Topic::Os])).os.why().is_some());
}
