// SPDX-License-Identifier: GPL-3.0-or-later
//! Known mistakes in the hooks of mkinitcpio, which show hours later as an image that does not boot.

use super::Mistake;
use super::profile::{Value, assignments};

/// Hooks, and the package that has each. Those of mkinitcpio itself are not here.
const FROM: [(&str, &str); 17] = [
    ("plymouth", "plymouth"),
    ("archiso", "mkinitcpio-archiso"),
    ("archiso_loop_mnt", "mkinitcpio-archiso"),
    ("archiso_pxe_common", "mkinitcpio-archiso"),
    ("archiso_pxe_nbd", "mkinitcpio-archiso"),
    ("archiso_pxe_http", "mkinitcpio-archiso"),
    ("archiso_pxe_nfs", "mkinitcpio-archiso"),
    ("memdisk", "mkinitcpio-archiso"),
    ("encrypt", "cryptsetup"),
    ("sd-encrypt", "cryptsetup"),
    ("lvm2", "lvm2"),
    ("mdadm_udev", "mdadm"),
    ("btrfs", "btrfs-progs"),
    ("zfs", "zfs-utils"),
    ("bcachefs", "bcachefs-tools"),
    ("net", "mkinitcpio-nfs-utils"),
    ("v86d", "v86d"),
];

/// Hooks that a newer archiso or mkinitcpio no longer has, and what takes their place.
const GONE: [(&str, &str); 4] = [
    ("archiso_shutdown", "nothing: remove it"),
    ("archiso_kms", "the hook `kms`"),
    ("plymouth-encrypt", "`plymouth` before `encrypt`"),
    ("usr", "nothing: remove it, /usr is on the root file system"),
];

/// What is wrong with the hooks of these configurations (name and text), in a system of these packages.
pub(super) fn mistakes(configurations: &[(String, String)], packages: &[String]) -> Vec<Mistake> {
    let mut all = Vec::new();
    let has = |package: &str| {
        packages.iter().any(|p| {
            p == package
                || (p.starts_with(package) && ["-git", "-dkms"].iter().any(|e| p == &format!("{package}{e}")))
        })
    };
    let mut any = false;
    for (name, text) in configurations {
        // The last assignment counts.
        let hooks = assignments(text).into_iter().rev().find_map(|(variable, value)| match value {
            Value::List(list) if variable == "HOOKS" => Some(list),
            Value::Word(words) if variable == "HOOKS" => {
                Some(words.split_whitespace().map(str::to_owned).collect())
            }
            _ => None,
        });
        let Some(hooks) = hooks else { continue };
        any = true;
        of(name, &hooks, &has, &mut all);
    }
    if any && !has("mkinitcpio") {
        all.push(Mistake::doubtful(
            "the profile configures mkinitcpio, and the package mkinitcpio is not in its list; another initramfs tool \
             may be chosen",
        ));
    }
    all
}

fn of(name: &str, hooks: &[String], has: &dyn Fn(&str) -> bool, all: &mut Vec<Mistake>) {
    let at = |hook: &str| hooks.iter().position(|h| h == hook);
    for (hook, package) in FROM {
        if at(hook).is_some() && !has(package) {
            all.push(Mistake::fatal(format!(
                "{name}: the hook `{hook}` needs the package {package}; add it to the list of packages or remove the hook"
            )));
        }
    }
    for (hook, instead) in GONE {
        if at(hook).is_some() {
            all.push(Mistake::fatal(format!("{name}: the hook `{hook}` is gone; use {instead}")));
        }
    }
    let mut seen: Vec<&String> = Vec::new();
    for hook in hooks {
        if seen.contains(&hook) {
            all.push(Mistake::doubtful(format!("{name}: the hook `{hook}` is there twice; remove one")));
        }
        seen.push(hook);
    }
    if at("base").is_none() && at("systemd").is_none() {
        all.push(Mistake::fatal(format!(
            "{name}: neither `base` nor `systemd` is among the hooks; begin with `base udev`"
        )));
    }
    if at("systemd").is_some() && at("udev").is_some() {
        all.push(Mistake::fatal(format!("{name}: `systemd` and `udev` cannot be together; remove `udev`")));
    }
    if at("archiso").is_some() && at("systemd").is_some() {
        all.push(Mistake::fatal(format!(
            "{name}: `archiso` is a hook of busybox and does nothing under `systemd`; use `base udev`"
        )));
    }
    if at("archiso").is_none() {
        all.push(Mistake::doubtful(format!(
            "{name}: without the hook `archiso` the image cannot find its own root"
        )));
    }
    for hook in hooks.iter().filter(|h| h.starts_with("sd-")) {
        if at("systemd").is_none() {
            all.push(Mistake::fatal(format!("{name}: the hook `{hook}` needs `systemd` in place of `udev`")));
        }
    }
    // Each comes before what needs it.
    for (first, second) in [
        ("base", "udev"),
        ("udev", "archiso"),
        ("udev", "plymouth"),
        ("systemd", "plymouth"),
        ("plymouth", "encrypt"),
        ("plymouth", "sd-encrypt"),
        ("keyboard", "encrypt"),
        ("encrypt", "filesystems"),
        ("lvm2", "filesystems"),
        ("block", "encrypt"),
        ("block", "lvm2"),
        ("archiso", "archiso_loop_mnt"),
    ] {
        if let (Some(a), Some(b)) = (at(first), at(second))
            && a > b
        {
            all.push(Mistake::fatal(format!("{name}: the hook `{first}` must stand before `{second}`")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(hooks: &str, packages: &[&str]) -> Vec<(bool, String)> {
        let packages: Vec<String> = packages.iter().map(|p| (*p).to_owned()).collect();
        mistakes(&[("conf".into(), format!("HOOKS=({hooks})\n"))], &packages)
            .into_iter()
            .map(|m| (m.fatal, m.text.trim_start_matches("conf: ").to_owned()))
            .collect()
    }

    const USUAL: &str =
        "base udev microcode modconf kms memdisk archiso archiso_loop_mnt block filesystems keyboard";
    const WITH: [&str; 2] = ["mkinitcpio", "mkinitcpio-archiso"];

    #[test]
    fn the_official_hooks_have_no_mistake() {
        assert_eq!(said(USUAL, &WITH), []);
    }

    #[test]
    fn a_plymouth_hook_without_plymouth_is_found_before_the_build() {
        let said = said(&USUAL.replace("modconf", "plymouth modconf"), &WITH);
        assert_eq!(said.len(), 1);
        assert!(
            said[0].0 && said[0].1.starts_with("the hook `plymouth` needs the package plymouth"),
            "{said:?}"
        );
        let with = [WITH[0], WITH[1], "plymouth-git"];
        assert_eq!(super::tests::said(&USUAL.replace("modconf", "plymouth modconf"), &with), []);
    }

    #[test]
    fn order_and_company_of_hooks_are_looked_at() {
        let first = |hooks: &str| said(hooks, &[WITH[0], WITH[1], "plymouth", "cryptsetup"])[0].1.clone();
        assert_eq!(first("base plymouth udev archiso"), "the hook `udev` must stand before `plymouth`");
        assert!(first("base udev systemd archiso").starts_with("`systemd` and `udev` cannot"));
        assert!(first("base udev archiso sd-encrypt").starts_with("the hook `sd-encrypt` needs `systemd`"));
        assert!(first("base udev archiso_kms archiso").starts_with("the hook `archiso_kms` is gone"));
        assert!(first("udev archiso").starts_with("neither `base` nor `systemd`"));
    }

    #[test]
    fn the_last_assignment_counts_and_a_word_of_hooks_is_understood() {
        let packages = WITH.map(str::to_owned);
        let text = "HOOKS=(base udev plymouth)\n# HOOKS=(x)\nHOOKS=\"base udev archiso\"\n";
        assert_eq!(mistakes(&[("c".into(), text.into())], &packages), []);
        assert_eq!(mistakes(&[("c".into(), "MODULES=()\n".into())], &[]), []);
    }
}
