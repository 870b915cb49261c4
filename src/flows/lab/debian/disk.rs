// SPDX-License-Identifier: GPL-3.0-or-later
//! A disk image, written as a file: no loop device, no mount, no root.
//!
//! ```text
//!   0      protective MBR with GRUB's boot.img   ─► BIOS
//!   1 MiB  GRUB's core.img, one MiB
//!   2 MiB  EFI system partition (FAT32)          ─► UEFI
//!   then   ext4 with /live and /boot/grub
//! ```

use super::super::LabError;
use super::super::job::Job;
use super::super::tools;
use super::medium::Medium;
use super::signed::Signed;
use crate::host::Command;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// Where GRUB's core image is.
const CORE: u64 = MIB;
/// Where the EFI system partition is, and how large: FAT32 wants 33 MiB at least.
const ESP: (u64, u64) = (2 * MIB, 40 * MIB);
/// Where the live system is.
const LIVE: u64 = ESP.0 + ESP.1;

/// Where boot.img keeps the sector of the core image: `GRUB_BOOT_MACHINE_KERNEL_SECTOR` in GRUB's
/// include/grub/i386/pc/boot.h.
const KERNEL_SECTOR: usize = 0x5c;
/// How much of boot.img is code: behind it are the disk's signature and its partition table
/// (`GRUB_BOOT_MACHINE_WINDOWS_NT_MAGIC`).
const BOOT_CODE: usize = 0x1b8;
/// Where the first sector of the core image keeps the list of its other sectors: the first of them as eight
/// bytes, how many as two, and where in memory (`struct grub_pc_bios_boot_blocklist`).
const BLOCK_LIST: usize = 0x200 - 12;

/// Modules of GRUB that are in its images, so that it needs none from the disk.
pub(super) const MODULES: [&str; 14] = [
    "part_gpt",
    "ext2",
    "fat",
    "search",
    "search_label",
    "normal",
    "configfile",
    "linux",
    "echo",
    "serial",
    "terminal",
    "test",
    "all_video",
    "gzio",
];

/// Writes the disk image.
pub(super) fn write(
    job: &mut Job<'_>,
    medium: &Medium<'_>,
    signed: Option<&Signed>,
) -> Result<PathBuf, LabError> {
    let stage = medium.lay_out(job)?;
    let label = label(medium.name);
    let size = live_size(&stage)?;
    let disk = job.work.join("image.img");
    let what = "could not write the disk image";
    let file = File::options().read(true).write(true).create_new(true).open(&disk);
    let file = file.map_err(LabError::io(&disk, what))?;
    // One MiB behind the last partition for the second copy of the partition table.
    file.set_len(LIVE + size + MIB).map_err(LabError::io(&disk, what))?;
    job.run(&table_command(&disk, size))?;
    job.run(&ext4_command(&disk, &stage, size, &label))?;
    let (core, efi) = grub_images(job, &label)?;
    job.run(&fat_command(&disk))?;
    let efi = signed.map_or_else(|| vec![(efi, "BOOTX64.EFI")], Signed::files);
    for command in copy_commands(&disk, &efi) {
        job.run(&command)?;
    }
    install_bios(&file, &core).map_err(LabError::io(&disk, what))?;
    file.sync_all().map_err(LabError::io(&disk, what))?;
    Ok(disk)
}

/// The label of the live file system, by which GRUB finds it: 16 bytes at most on ext4.
fn label(name: &str) -> String {
    super::medium::volume(name).chars().take(16).collect()
}

/// Bytes of an ext4 file system that holds these files: with its own tables, in whole MiB.
fn live_size(stage: &Path) -> Result<u64, LabError> {
    let mut sum = 0;
    for folder in ["live", "boot/grub", ".disk"] {
        let path = stage.join(folder);
        let what = "could not look at";
        for entry in std::fs::read_dir(&path).map_err(LabError::io(&path, what))? {
            let meta = entry.and_then(|e| e.metadata()).map_err(LabError::io(&path, what))?;
            sum += meta.len().div_ceil(4096) * 4096;
        }
    }
    Ok((sum + sum / 32 + 16 * MIB).div_ceil(MIB) * MIB)
}

/// The partition table (sfdisk(8)); the types are those of the Discoverable Partitions and UEFI specifications.
fn table_command(disk: &Path, live: u64) -> Command {
    let table = format!(
        "label: gpt\nunit: sectors\n\
         start={}, size={}, type=21686148-6449-6E6F-744E-656564454649, name=\"BIOS boot\"\n\
         start={}, size={}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=\"EFI\"\n\
         start={}, size={}, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=\"live\"\n",
        CORE / SECTOR,
        (ESP.0 - CORE) / SECTOR,
        ESP.0 / SECTOR,
        ESP.1 / SECTOR,
        LIVE / SECTOR,
        live / SECTOR,
    );
    Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(disk.display().to_string())
        .stdin(table)
}

fn ext4_command(disk: &Path, stage: &Path, live: u64, label: &str) -> Command {
    Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-L", label])
        .args(["-E".to_owned(), format!("offset={LIVE},lazy_itable_init=1,root_owner=0:0")])
        .args(["-d".to_owned(), stage.display().to_string(), disk.display().to_string()])
        .arg(format!("{}k", live >> 10))
}

fn fat_command(disk: &Path) -> Command {
    Command::new("mkfs.vfat")
        .args(["-F", "32", "-s", "1", "-n", "EFI", "-h"])
        .arg((ESP.0 / SECTOR).to_string())
        .arg(format!("--offset={}", ESP.0 / SECTOR))
        .args([disk.display().to_string(), (ESP.1 / 1024).to_string()])
}

/// mtools(1) write into the FAT file system at an offset of the image; a path with `@@` in it would be
/// misread, so the image is named by where it is: the build's own folder.
fn copy_commands(disk: &Path, efi: &[(PathBuf, &str)]) -> Vec<Command> {
    let (folder, name) =
        (disk.parent().unwrap_or_else(|| Path::new("/")), disk.file_name().unwrap_or_default());
    let image = format!("{}@@{}", name.to_string_lossy(), ESP.0);
    let tool = |program: &str| {
        Command::new(program).env("MTOOLS_SKIP_CHECK", "1").cwd(folder).args(["-i", image.as_str()])
    };
    let mut all = vec![tool("mmd").args(["::/EFI", "::/EFI/BOOT"])];
    for (path, name) in efi {
        all.push(tool("mcopy").args([path.display().to_string(), format!("::/EFI/BOOT/{name}")]));
    }
    all
}

/// Makes GRUB's images for BIOS and UEFI.
fn grub_images(job: &mut Job<'_>, label: &str) -> Result<(PathBuf, PathBuf), LabError> {
    let early = job.work.join("early.cfg");
    let text =
        format!("search --no-floppy --set=root --label {label}\nset prefix=($root)/boot/grub\nnormal\n");
    std::fs::write(&early, text).map_err(LabError::io(&early, "could not write"))?;
    let program = tools::MKIMAGE.name(job.host);
    let (core, efi) = (job.work.join("core.img"), job.work.join("bootx64.efi"));
    for (format, to, more) in [("i386-pc", &core, "biosdisk"), ("x86_64-efi", &efi, "efi_gop")] {
        let command = Command::new(program)
            .args([format!("--format={format}"), format!("--output={}", to.display())])
            .args([format!("--config={}", early.display()), "--prefix=/boot/grub".to_owned()])
            .args(MODULES)
            .arg(more);
        job.run(&command)?;
    }
    Ok((core, efi))
}

/// Puts GRUB for BIOS where the firmware and its first sector look for it.
fn install_bios(disk: &File, core: &Path) -> std::io::Result<()> {
    let mut boot = [0; SECTOR as usize];
    File::open(tools::GRUB_BIOS.names[0])?.read_exact(&mut boot)?;
    let mut core_bytes = std::fs::read(core)?;
    let mut first = [0; SECTOR as usize];
    disk.read_exact_at(&mut first, 0)?;
    place_core(&mut first, &boot, &mut core_bytes)?;
    disk.write_all_at(&core_bytes, CORE)?;
    let mut disk = disk;
    disk.seek(SeekFrom::Start(0))?;
    disk.write_all(&first)
}

/// Puts the code of boot.img into the disk's first sector and makes both find the core image at [`CORE`]. Pure.
fn place_core(first: &mut [u8; 512], boot: &[u8; 512], core: &mut [u8]) -> std::io::Result<()> {
    let bad = |what: &str| Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned()));
    if boot[510..] != [0x55, 0xaa] {
        return bad("GRUB's boot.img is no boot sector");
    }
    if core.len() <= SECTOR as usize || core.len() as u64 > ESP.0 - CORE {
        return bad("GRUB's core image has no size that fits");
    }
    let at = CORE / SECTOR;
    first[..BOOT_CODE].copy_from_slice(&boot[..BOOT_CODE]);
    first[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&at.to_le_bytes());
    let sectors = u16::try_from(core.len().div_ceil(SECTOR as usize) - 1).unwrap_or(u16::MAX);
    if core[BLOCK_LIST + 8..BLOCK_LIST + 10] != sectors.to_le_bytes() {
        return bad("GRUB's core image has another block list than its size says");
    }
    core[BLOCK_LIST..BLOCK_LIST + 8].copy_from_slice(&(at + 1).to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sector_keeps_its_partition_table_and_finds_the_core_image() {
        let mut first = [7; 512];
        let mut boot = [1; 512];
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        let mut core = vec![0; 512 * 3 - 100];
        core[BLOCK_LIST + 8] = 2;
        place_core(&mut first, &boot, &mut core).unwrap();
        assert_eq!(first[..KERNEL_SECTOR], [1; KERNEL_SECTOR]);
        assert_eq!(first[KERNEL_SECTOR..KERNEL_SECTOR + 8], 2048u64.to_le_bytes());
        assert_eq!(first[BOOT_CODE..], [7; 512 - BOOT_CODE]);
        assert_eq!(core[BLOCK_LIST..BLOCK_LIST + 8], 2049u64.to_le_bytes());
        core[BLOCK_LIST + 8] = 9;
        assert!(place_core(&mut first, &boot, &mut core).is_err());
        assert!(place_core(&mut first, &[0; 512], &mut core).is_err());
        assert!(place_core(&mut first, &boot, &mut [0; 512]).is_err());
    }

    #[test]
    fn partitions_follow_each_other_and_paths_are_whole_words() {
        let command = table_command(Path::new("/a b,c/x.img"), 100 * MIB);
        let table = String::from_utf8(command.stdin.clone().unwrap()).unwrap();
        assert!(table.contains("start=2048, size=2048,") && table.contains("start=4096, size=81920,"));
        assert!(table.contains("start=86016, size=204800,"));
        assert!(command.args.contains(&"/a b,c/x.img".to_owned()));
        let copy = copy_commands(Path::new("/a@@b/x.img"), &[("/w/e.efi".into(), "BOOTX64.EFI")]);
        assert!(copy[1].args.contains(&"x.img@@2097152".to_owned()));
        assert_eq!(copy[1].cwd.as_deref(), Some(Path::new("/a@@b")));
    }
}
