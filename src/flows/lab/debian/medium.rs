// SPDX-License-Identifier: GPL-3.0-or-later
//! What GRUB and live-boot find on a medium, and the ISO image.

use super::super::LabError;
use super::super::folders;
use super::super::job::Job;
use super::super::tools;
use super::bootstrap::Parts;
use super::signed::Signed;
use crate::host::Command;
use std::path::{Path, PathBuf};

/// Raised when the same parts must give another image.
pub(super) const RECIPE: u32 = 2;

/// Names of the layers on the medium, the lowest first.
const LAYERS: [&str; 2] = ["10-base.squashfs", "20-project.squashfs"];

/// What is put on a medium.
#[derive(Debug)]
pub(super) struct Medium<'a> {
    /// The image's name.
    pub name: &'a str,
    /// More words for the kernel command line.
    pub append: &'a [String],
    /// The system.
    pub parts: &'a Parts,
    /// The packed layer of the project.
    pub layer: &'a Path,
}

impl Medium<'_> {
    /// Lays out the medium's files in a folder of the build.
    pub fn lay_out(&self, job: &Job<'_>) -> Result<PathBuf, LabError> {
        let stage = job.work.folder("medium")?;
        for folder in ["live", "boot/grub", ".disk"] {
            folders::make(&stage.join(folder))?;
        }
        let files = [
            ("live/vmlinuz", self.parts.kernel.as_path()),
            ("live/initrd.img", &self.parts.initramfs),
            (&format!("live/{}", LAYERS[0]), &self.parts.squashfs),
            (&format!("live/{}", LAYERS[1]), self.layer),
        ];
        for (name, from) in files {
            let to = stage.join(name);
            // All of it is below the lab's folder, on one file system.
            std::fs::hard_link(from, &to)
                .or_else(|_| std::fs::copy(from, &to).map(|_| ()))
                .map_err(LabError::io(&to, "could not lay out"))?;
        }
        let texts = [
            ("live/filesystem.module", LAYERS.join("\n") + "\n"),
            ("boot/grub/grub.cfg", self.grub_cfg()),
            (".disk/info", format!("Hostwright {}\n", self.name)),
        ];
        for (name, text) in texts {
            let to = stage.join(name);
            std::fs::write(&to, text).map_err(LabError::io(&to, "could not write"))?;
        }
        Ok(stage)
    }

    /// GRUB's configuration: one entry, started at once, on the screen and the first serial port.
    fn grub_cfg(&self) -> String {
        let mut words = vec!["boot=live", "console=tty0", "console=ttyS0,115200"];
        words.extend(self.append.iter().map(String::as_str));
        format!(
            "set timeout=0\n\
             if serial --unit=0 --speed=115200; then\n  terminal_input console serial\n  terminal_output console serial\nfi\n\
             menuentry \"{}\" {{\n  linux /live/vmlinuz {}\n  initrd /live/initrd.img\n}}\n",
            self.name,
            words.join(" ")
        )
    }

    /// Writes the ISO image.
    pub fn iso(&self, job: &mut Job<'_>, signed: Option<&Signed>) -> Result<PathBuf, LabError> {
        let stage = self.lay_out(job)?;
        if let Some(signed) = signed {
            return signed.iso(job, &stage, &volume(self.name));
        }
        let iso = job.work.join("image.iso");
        let tmp = job.work.folder("tmp")?;
        let command = iso_command(tools::MKRESCUE.name(job.host), &iso, &stage, &volume(self.name))
            .env("TMPDIR", tmp.display().to_string());
        job.run(&command)?;
        // grub-mkrescue leaves xorriso's status alone in some versions.
        if std::fs::metadata(&iso).is_ok_and(|m| m.len() > 1 << 20) {
            return Ok(iso);
        }
        Err(LabError::refused(
            "no-image",
            format!("{} wrote no image", command.program),
            format!("see {}", job.log_path().display()),
        ))
    }
}

/// grub-mkrescue as it is called: El Torito for BIOS and UEFI, and a partition table for USB sticks.
fn iso_command(program: &str, iso: &Path, stage: &Path, volume: &str) -> Command {
    Command::new(program)
        .args([format!("--output={}", iso.display())])
        .args(["--locales=", "--themes=", "--fonts="])
        .arg(stage.display().to_string())
        .args(["-volid", volume])
        .arg("-quiet")
}

/// A volume identifier of ISO 9660: capitals, digits and underscores, 32 at most.
pub(super) fn volume(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("HW_{name}").chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_to_boot_live_and_to_speak_on_the_serial_port() {
        let parts = Parts {
            squashfs: "b".into(),
            kernel: "k".into(),
            initramfs: "i".into(),
            modes: Default::default(),
        };
        let append = ["quiet".to_owned()];
        let medium = Medium { name: "demo", append: &append, parts: &parts, layer: Path::new("l") };
        let text = medium.grub_cfg();
        assert!(text.contains("linux /live/vmlinuz boot=live console=tty0 console=ttyS0,115200 quiet\n"));
        assert!(text.contains("set timeout=0\n"));
    }

    #[test]
    fn volume_names_are_those_of_iso_9660() {
        assert_eq!(volume("my-distro.2"), "HW_MY_DISTRO_2");
        assert_eq!(volume(&"x".repeat(60)).len(), 32);
    }
}
