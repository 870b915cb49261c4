// SPDX-License-Identifier: GPL-3.0-or-later
//! Which kernel is booted next.

use super::entries::{self, LoaderEntry};
use super::grub::{GrubConfig, parse_grub_cfg, parse_grubenv};
use super::{BOOT_DIRS, BootloaderKind, GRUB_DIRS};
use crate::detect::Finding;
use crate::detect::efi::{self, Variables};
use crate::detect::kernel::NextBoot;
use crate::detect::look::Look;
use crate::host::{FileKind, HostError};
use object::{Object, ObjectSection};

/// Reads which kernel the boot loader in charge starts next.
pub(super) fn read(
    look: &Look<'_>,
    variables: &Variables<'_>,
    kind: Option<BootloaderKind>,
) -> Finding<NextBoot> {
    match kind {
        Some(BootloaderKind::ProxmoxBootTool) => proxmox(look),
        Some(BootloaderKind::Grub) => grub(look),
        Some(BootloaderKind::SystemdBoot) => systemd_boot(look, variables),
        Some(BootloaderKind::Refind) => {
            Finding::unseen("rEFInd starts what was started last, and remembers it by itself")
        }
        Some(BootloaderKind::Limine) => Finding::unseen("Limine's menu is not read"),
        Some(BootloaderKind::Syslinux) => Finding::unseen("Syslinux's menu is not read"),
        None => links(look),
    }
}

fn refused(e: &HostError) -> String {
    if e.source.kind() == std::io::ErrorKind::PermissionDenied {
        format!("{} is for root only", e.path)
    } else {
        e.to_string()
    }
}

/// The release of a kernel image's file name ("/@/boot/vmlinuz-6.1.0-25-amd64", "/vmlinuz-linux").
fn release_of_image(look: &Look<'_>, image: &str) -> Option<String> {
    let mut parts = image.rsplit('/');
    let file = parts.next()?;
    if matches!(file, "linux" | "linux.efi") {
        // kernel-install puts it in a folder named by the release.
        return parts
            .next()
            .filter(|release| look.exists(&format!("/lib/modules/{release}")))
            .map(str::to_owned);
    }
    let prefixes = ["vmlinuz-", "kernel-genkernel-x86_64-", "kernel-", "bzImage-", "linux-"];
    let name = prefixes.iter().find_map(|prefix| file.strip_prefix(prefix)).filter(|n| !n.is_empty())?;
    let name = name.strip_suffix(".efi").unwrap_or(name);
    if look.exists(&format!("/lib/modules/{name}")) {
        return Some(name.to_owned());
    }
    // Arch and its kin name the image by the package, and have one kernel of each.
    let of_package = look
        .list("/lib/modules")
        .into_iter()
        .find(|entry| look.line(&format!("/lib/modules/{}/pkgbase", entry.name)).as_deref() == Some(name));
    match of_package {
        Some(entry) => Some(entry.name),
        None => name.starts_with(|c: char| c.is_ascii_digit()).then(|| name.to_owned()),
    }
}

fn seen(look: &Look<'_>, image: &str, source: String) -> Finding<NextBoot> {
    match release_of_image(look, image) {
        Some(release) => Finding::Seen(NextBoot { release, source }),
        None => Finding::unseen(format!("{source} starts {image}, which names no kernel release")),
    }
}

fn proxmox(look: &Look<'_>) -> Finding<NextBoot> {
    for pin in ["/etc/kernel/next-boot-pin", "/etc/kernel/proxmox-boot-pin"] {
        if let Some(release) = look.line(pin) {
            return Finding::Seen(NextBoot { release, source: pin.to_owned() });
        }
    }
    Finding::unseen(
        "no kernel is pinned, and proxmox-boot-tool keeps the menu on EFI system partitions that are not mounted",
    )
}

fn grub(look: &Look<'_>) -> Finding<NextBoot> {
    let Some(dir) = look.first_of(GRUB_DIRS) else {
        return Finding::unseen("grub.cfg was not found under /boot");
    };
    let path = format!("{dir}/grub.cfg");
    let config = match look.text(&path) {
        Ok(text) => parse_grub_cfg(&text),
        Err(e) => return Finding::unseen(refused(&e)),
    };
    let env = match look.text(&format!("{dir}/grubenv")) {
        Ok(text) => parse_grubenv(&text),
        Err(e) if e.is_not_found() => Default::default(),
        Err(e) => return Finding::unseen(refused(&e)),
    };
    let wanted = config.wanted(&env);
    if config.uses_bls {
        return grub_bls(look, &config, wanted, &path);
    }
    match config.entry(wanted) {
        Some(entry) => match &entry.linux {
            Some(image) => seen(look, image, path),
            None => Finding::unseen(format!(
                "{path} starts \u{201c}{}\u{201d}, which loads no kernel",
                entry.title
            )),
        },
        None => Finding::unseen(format!("{path} has no entry \u{201c}{wanted}\u{201d}")),
    }
}

/// Fedora's GRUB reads its entries from files; the newest is first.
fn grub_bls(look: &Look<'_>, config: &GrubConfig, wanted: &str, path: &str) -> Finding<NextBoot> {
    let dir = "/boot/loader/entries";
    let mut entries = match entry_files(look, dir) {
        Ok(entries) => entries,
        Err(e) => return Finding::unseen(refused(&e)),
    };
    entries.sort_by(|a, b| crate::detect::look::compare_versions(&b.id, &a.id));
    let entry = match wanted.parse::<usize>() {
        Ok(position) => entries.get(position),
        Err(_) => entries.iter().find(|e| e.id.strip_suffix(".conf") == Some(wanted)),
    };
    match (entry, config.entry(wanted)) {
        (Some(entry), _) => of_entry(look, entry, format!("{dir}/{}", entry.id)),
        (None, Some(entry)) if entry.linux.is_some() => {
            seen(look, entry.linux.as_deref().unwrap_or_default(), path.to_owned())
        }
        _ => Finding::unseen(format!("{dir} has no entry \u{201c}{wanted}\u{201d}")),
    }
}

fn entry_files(look: &Look<'_>, dir: &str) -> Result<Vec<LoaderEntry>, HostError> {
    let mut found = Vec::new();
    for file in look.root().list(dir)? {
        if file.name.ends_with(".conf") {
            found.push(entries::parse_entry(&file.name, &look.text(&format!("{dir}/{}", file.name))?));
        }
    }
    Ok(found)
}

fn of_entry(look: &Look<'_>, entry: &LoaderEntry, source: String) -> Finding<NextBoot> {
    // The version is the release where kernel-install wrote the entry; elsewhere it may be anything.
    let by_version = entry.version.clone().filter(|v| look.exists(&format!("/lib/modules/{v}")));
    if let Some(release) = entry.release.clone().or(by_version) {
        return Finding::Seen(NextBoot { release, source });
    }
    match &entry.linux {
        Some(image) => seen(look, image, source),
        None => Finding::unseen(format!("{source} names no kernel")),
    }
}

/// The entry of a unified kernel image: its release and the distribution's id for sorting.
fn unified_image(look: &Look<'_>, dir: &str, file: &str) -> Option<LoaderEntry> {
    let cache = object::ReadCache::new(look.root().open_file(&format!("{dir}/{file}")).ok()?);
    let image = object::File::parse(&cache).ok()?;
    let section = |name: &str| {
        let data = image.section_by_name(name)?.data().ok()?;
        let text = String::from_utf8_lossy(data.get(..data.len().min(4096))?);
        Some(text.trim_end_matches('\0').trim().to_owned())
    };
    let (id, is_bad) = entries::split_counter(file);
    let os = crate::detect::look::shell_assignments(&section(".osrel").unwrap_or_default());
    let release = section(".uname").filter(|r| !r.is_empty());
    let sort_key = os.get("IMAGE_ID").or_else(|| os.get("ID")).cloned();
    Some(LoaderEntry { id, is_bad, sort_key, version: release.clone(), release, ..LoaderEntry::default() })
}

fn systemd_boot(look: &Look<'_>, variables: &Variables<'_>) -> Finding<NextBoot> {
    let mut all: Vec<LoaderEntry> = Vec::new();
    let mut why = None;
    let mut default = None;
    for boot in BOOT_DIRS {
        match entry_files(look, &format!("{boot}/loader/entries")) {
            Ok(entries) => all.extend(entries),
            Err(e) if e.is_not_found() => {}
            Err(e) => why = Some(refused(&e)),
        }
        let unified = format!("{boot}/EFI/Linux");
        for file in look.list(&unified) {
            if file.kind == FileKind::File && file.name.ends_with(".efi") {
                all.extend(unified_image(look, &unified, &file.name));
            }
        }
        if let Ok(text) = look.text(&format!("{boot}/loader/loader.conf")) {
            default = default.or(entries::loader_conf(&text, "default"));
        }
    }
    if all.is_empty() {
        return Finding::unseen(
            why.unwrap_or_else(|| "no boot loader entry was found under /boot and /efi".to_owned()),
        );
    }
    let mut wanted = None;
    // The order in which systemd-boot asks (systemd-boot(7)).
    for name in ["LoaderEntryOneShot", "LoaderEntryDefault"] {
        match variables.text(name, efi::LOADER) {
            Finding::Seen(Some(id)) => {
                wanted = Some((id, format!("EFI variable {name}")));
                break;
            }
            Finding::Seen(None) => {}
            Finding::CouldNotLook { why } if look.running => return Finding::unseen(why),
            Finding::CouldNotLook { .. } => {}
        }
    }
    if wanted.is_none() && default.as_deref() == Some("@saved") {
        match variables.text("LoaderEntryLastBooted", efi::LOADER) {
            Finding::Seen(last) => {
                wanted = last.map(|id| (id, "EFI variable LoaderEntryLastBooted".to_owned()));
            }
            Finding::CouldNotLook { why } => return Finding::unseen(why),
        }
        default = None;
    }
    let wanted = wanted.or_else(|| default.map(|d| (d, "loader.conf".to_owned())));
    match entries::choose(&all, wanted.as_ref().map(|(pattern, _)| pattern.as_str())) {
        Some(entry) => {
            let source = match &wanted {
                Some((_, told)) => format!("{told} ({})", entry.id),
                None => format!("first entry ({})", entry.id),
            };
            of_entry(look, entry, source)
        }
        None => Finding::unseen("no boot loader entry was found"),
    }
}

/// Without a boot loader's files: the link that distributions keep to the kernel last installed.
fn links(look: &Look<'_>) -> Finding<NextBoot> {
    for link in ["/vmlinuz", "/boot/vmlinuz"] {
        if let Ok(target) = look.root().read_link(link) {
            return seen(look, &target, format!("{link} (a link; no boot loader was found)"));
        }
    }
    Finding::unseen("no boot loader's configuration was found")
}
