// SPDX-License-Identifier: GPL-3.0-or-later
//! The distribution's own signed boot loaders, for machines with Secure Boot: shim, which Microsoft has signed, and
//! the GRUB and the kernel that shim trusts. Used where the packages are installed; without them an image has the
//! GRUB that this machine makes, which no firmware with Secure Boot starts.
//!
//! The GRUB is the one for removable media (`gcd`): it looks for `/.disk/info` on all disks and reads
//! `/boot/grub/grub.cfg` beside it (Debian's `debian/build-efi-images` of grub2).

use super::super::LabError;
use super::super::job::Job;
use super::super::tools::{self, Tool};
use super::disk::MODULES;
use crate::host::{Command, Host};
use std::path::{Path, PathBuf};

/// Name on the EFI system partition, and where the packages have it. The last one is not in all releases.
const FILES: [(&str, &str); 3] = [
    ("BOOTX64.EFI", tools::SHIM.names[0]),
    ("grubx64.efi", tools::GRUB_SIGNED.names[0]),
    ("mmx64.efi", "/usr/lib/shim/mmx64.efi.signed"),
];

/// What a BIOS core image on a disc needs beside the modules of a disk.
const DISC: [&str; 3] = ["biosdisk", "iso9660", "part_msdos"];

/// GRUB's first sectors for a disc that is also a disk.
const HYBRID: &str = "/usr/lib/grub/i386-pc/boot_hybrid.img";

/// The signed files of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    files: Vec<(&'static str, &'static str)>,
}

impl Signed {
    /// What is installed; nothing unless all that is needed is.
    pub fn find(host: &Host) -> Option<Self> {
        let needed: [Tool; 5] =
            [tools::SHIM, tools::GRUB_SIGNED, tools::MKFS_VFAT, tools::MTOOLS, tools::MKIMAGE];
        if needed.iter().any(|tool| tool.find(host).is_none()) {
            return None;
        }
        let files = FILES.into_iter().filter(|(_, path)| host.root().exists(path)).collect();
        Some(Self { files })
    }

    /// The files and their names in `EFI/BOOT`.
    pub fn files(&self) -> Vec<(PathBuf, &'static str)> {
        self.files.iter().map(|(name, path)| (PathBuf::from(path), *name)).collect()
    }

    /// Writes an ISO image of the files in `stage`: by El Torito for BIOS and UEFI, and with a partition table for
    /// sticks.
    pub fn iso(&self, job: &mut Job<'_>, stage: &Path, volume: &str) -> Result<PathBuf, LabError> {
        let iso = job.work.join("image.iso");
        let folder = stage.join("boot/grub/i386-pc");
        super::super::folders::make(&folder)?;
        let early = job.work.join("early.cfg");
        std::fs::write(&early, "set prefix=($root)/boot/grub\nnormal\n")
            .map_err(LabError::io(&early, "could not write"))?;
        job.run(&core_command(tools::MKIMAGE.name(job.host), &early, &folder.join("eltorito.img")))?;
        let efi = stage.join("efi.img");
        for command in efi_commands(&efi, &self.files(), efi_kib(&self.files())?) {
            job.run(&command)?;
        }
        job.run(&iso_command(&iso, stage, volume))?;
        Ok(iso)
    }
}

/// GRUB for BIOS, as a disc starts it.
fn core_command(program: &str, early: &Path, to: &Path) -> Command {
    Command::new(program)
        .args(["--format=i386-pc-eltorito".to_owned(), format!("--output={}", to.display())])
        .args([format!("--config={}", early.display()), "--prefix=/boot/grub".to_owned()])
        .args(MODULES)
        .args(DISC)
}

/// KiB of a FAT file system for these files: with its tables and some room.
fn efi_kib(files: &[(PathBuf, &str)]) -> Result<u64, LabError> {
    let mut sum = 0;
    for (path, _) in files {
        sum += std::fs::metadata(path).map_err(LabError::io(path, "could not look at"))?.len();
    }
    Ok((sum / 1024 + 1024).next_multiple_of(1024))
}

/// Makes the EFI system partition as a file. mtools would misread `@@` in a path, so it works in the file's folder.
fn efi_commands(efi: &Path, files: &[(PathBuf, &str)], kib: u64) -> Vec<Command> {
    let folder = efi.parent().unwrap_or_else(|| Path::new("/"));
    let name = efi.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let tool = |program: &str| {
        Command::new(program).env("MTOOLS_SKIP_CHECK", "1").cwd(folder).args(["-i", name.as_str()])
    };
    let make = Command::new("mkfs.vfat").args(["-n", "EFI", "-C"]);
    let mut all = vec![make.args([efi.display().to_string(), kib.to_string()])];
    all.push(tool("mmd").args(["::/EFI", "::/EFI/BOOT"]));
    for (path, name) in files {
        all.push(tool("mcopy").args([path.display().to_string(), format!("::/EFI/BOOT/{name}")]));
    }
    all
}

/// xorriso as grub-mkrescue calls it (xorriso(1), xorrisofs(1)).
fn iso_command(iso: &Path, stage: &Path, volume: &str) -> Command {
    Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-r", "-iso-level", "3", "-volid", volume])
        .args(["-b", "boot/grub/i386-pc/eltorito.img", "-no-emul-boot", "-boot-load-size", "4"])
        .args(["-boot-info-table", "--grub2-boot-info", "--grub2-mbr", HYBRID])
        .args(["--efi-boot", "efi.img", "-efi-boot-part", "--efi-boot-image", "--protective-msdos-label"])
        .args(["-o".to_owned(), iso.display().to_string(), stage.display().to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(paths: &[&str]) -> (tempfile::TempDir, Host) {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let host = Host::scratch(dir.path()).unwrap();
        (dir, host)
    }

    #[test]
    fn signed_loaders_are_used_only_when_all_of_them_are_there() {
        let all = [
            tools::SHIM.names[0],
            tools::GRUB_SIGNED.names[0],
            "/usr/sbin/mkfs.vfat",
            "/usr/bin/mcopy",
            "/usr/bin/grub-mkimage",
        ];
        let (_dir, whole) = host(&all);
        let names: Vec<&str> = Signed::find(&whole).unwrap().files().into_iter().map(|(_, n)| n).collect();
        assert_eq!(names, ["BOOTX64.EFI", "grubx64.efi"]);
        for missing in 0..all.len() {
            let rest: Vec<&str> =
                all.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, p)| *p).collect();
            let (_dir, part) = host(&rest);
            assert_eq!(Signed::find(&part), None, "without {}", all[missing]);
        }
    }

    #[test]
    fn paths_are_whole_words() {
        let efi = Path::new("/a b,@@c/efi.img");
        let commands = efi_commands(efi, &[("/x y/shim".into(), "BOOTX64.EFI")], 4096);
        assert!(commands[0].args.contains(&"/a b,@@c/efi.img".to_owned()));
        assert_eq!(commands[2].args[1..], ["efi.img", "/x y/shim", "::/EFI/BOOT/BOOTX64.EFI"]);
        assert_eq!(commands[2].cwd.as_deref(), Some(Path::new("/a b,@@c")));
        let iso = iso_command(Path::new("/o p/i.iso"), Path::new("/s t"), "V");
        assert!(iso.args.ends_with(&["/o p/i.iso".to_owned(), "/s t".to_owned()]));
    }
}
