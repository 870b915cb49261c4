// SPDX-License-Identifier: GPL-3.0-or-later
//! What the kernel and NVIDIA's services say of virtual GPUs.

use crate::host::{Command, Host};
use std::time::Duration;

/// Lines of the kernel and of NVIDIA's services that matter, the newest twenty.
pub fn messages(host: &Host) -> Vec<String> {
    let command = Command::new("journalctl")
        .args([
            "-b",
            "-q",
            "--no-pager",
            "-o",
            "cat",
            "_TRANSPORT=kernel",
            "+",
            "_SYSTEMD_UNIT=nvidia-vgpu-mgr.service",
        ])
        .timeout(Duration::from_secs(10));
    if !host.is_machine() {
        return Vec::new();
    }
    let Ok(output) = host.runner().run(&command) else { return Vec::new() };
    matter(&output.stdout)
}

/// Those of some lines that tell of trouble with vGPU. Pure.
pub fn matter(text: &str) -> Vec<String> {
    const WORDS: [&str; 9] = [
        "NVRM:",
        "nvidia-vgpu-vfio",
        "waited 10 seconds for mediated device driver",
        "vmiop",
        "DMAR: [DMA",
        "AMD-Vi: Event",
        "module verification failed",
        "Loading of unsigned module",
        "Key was rejected",
    ];
    let said = text.lines().filter(|l| WORDS.iter().any(|w| l.contains(w)));
    let lines: Vec<String> = said.map(|l| l.chars().take(300).collect()).collect();
    lines[lines.len().saturating_sub(20)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_lines_of_trouble_with_virtual_gpus_are_taken_and_of_many_the_newest() {
        let said = "x\nnvidia-vgpu-vfio: waited 10 seconds for mediated device driver\nusb 1-1: new\n";
        assert_eq!(matter(said).len(), 1);
        let many: String = (0..30).map(|n| format!("NVRM: {n}\n")).collect();
        let newest = matter(&many);
        assert_eq!((newest.len(), newest[0].as_str()), (20, "NVRM: 10"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).*") {
            matter(&text);
        }
    }
}
