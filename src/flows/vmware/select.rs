// SPDX-License-Identifier: GPL-3.0-or-later
//! Which installed kernels a choice means, and why some cannot be served. Pure.

use super::choices::{Choices, KernelChoice, fits};
use super::facts::UnusableKernel;
use crate::detect::{Facts, Finding, Headers, Kernel};
use crate::engine::plan::Refusal;

/// The kernels that a choice means, newest first, and those of them that cannot be served.
#[derive(Debug, Default)]
pub struct Selected<'a> {
    /// Those that can be built for.
    pub kernels: Vec<&'a Kernel>,
    /// Those that cannot.
    pub unusable: Vec<UnusableKernel>,
}

/// Picks kernels. `scratch`: a root where no kernel runs; *running* then means the newest.
///
/// # Errors
/// When no kernel could be looked at, or a named release is not installed.
pub fn select<'a>(choices: &Choices, facts: &'a Facts, scratch: bool) -> Result<Selected<'a>, Refusal> {
    let installed = match &facts.kernels {
        Finding::Seen(kernels) => kernels,
        Finding::CouldNotLook { why } => {
            let reason = format!("The installed kernels could not be looked at: {why}");
            return Err(Refusal::new("no-kernel", reason, "Install a kernel and its headers."));
        }
    };
    let mut newest: Vec<&Kernel> = installed.iter().collect();
    newest.sort_by(|a, b| compare_releases(&b.release, &a.release));
    let chosen: Vec<&Kernel> = match &choices.kernels {
        KernelChoice::All => newest,
        KernelChoice::Newest(count) => {
            newest.into_iter().take(usize::try_from(*count).unwrap_or(0)).collect()
        }
        KernelChoice::Running if scratch => newest.into_iter().take(1).collect(),
        KernelChoice::Running => {
            let running: Vec<&Kernel> = newest.iter().copied().filter(|k| k.runs()).collect();
            if running.is_empty() {
                let release = facts.running_kernel.seen().map_or("?", |k| k.release.as_str());
                return Err(Refusal {
                    code: "running-kernel-not-installed".to_owned(),
                    reason: format!("The running kernel {release} has no folder under /lib/modules."),
                    remedy: Some(installed_list(&newest)),
                });
            }
            running
        }
        KernelChoice::Releases(releases) => {
            let mut found = Vec::new();
            for release in releases {
                match newest.iter().find(|k| k.release == *release) {
                    Some(kernel) => found.push(*kernel),
                    None => {
                        return Err(Refusal {
                            code: "kernel-not-installed".to_owned(),
                            reason: format!("The kernel {release} is not installed."),
                            remedy: Some(installed_list(&newest)),
                        });
                    }
                }
            }
            found.dedup_by(|a, b| a.release == b.release);
            found
        }
        KernelChoice::Matching(patterns) => {
            let fit = |k: &&Kernel| patterns.iter().any(|p| fits(p, &k.release));
            let found: Vec<&Kernel> = newest.iter().copied().filter(fit).collect();
            if found.is_empty() {
                return Err(Refusal {
                    code: "kernel-not-installed".to_owned(),
                    reason: format!("No installed kernel fits {}.", patterns.join(" or ")),
                    remedy: Some(installed_list(&newest)),
                });
            }
            found
        }
    };
    let chosen: Vec<&Kernel> = chosen.into_iter().filter(|k| !choices.skips(&k.release)).collect();
    let mut selected = Selected::default();
    for kernel in chosen {
        match unusable(kernel) {
            Some(reason) => selected.unusable.push(reason),
            None => selected.kernels.push(kernel),
        }
    }
    Ok(selected)
}

/// The releases that a person who has picked nothing would most likely mean: of the kernels that can be served the one
/// that runs and the one that starts next; when neither can be, the newest.
pub fn recommended(facts: &Facts) -> Vec<String> {
    let mut servable: Vec<&Kernel> =
        facts.kernels.seen().into_iter().flatten().filter(|k| unusable(k).is_none()).collect();
    servable.sort_by(|a, b| compare_releases(&b.release, &a.release));
    let wanted: Vec<String> =
        servable.iter().filter(|k| k.runs() || k.is_next_boot.is_true()).map(|k| k.release.clone()).collect();
    if wanted.is_empty() { servable.first().map(|k| k.release.clone()).into_iter().collect() } else { wanted }
}

/// Why modules cannot be built for a kernel, and what to do; `None` when they can.
pub fn hindrance(kernel: &Kernel) -> Option<UnusableKernel> {
    unusable(kernel)
}

fn installed_list(kernels: &[&Kernel]) -> String {
    if kernels.is_empty() {
        return "No kernel is installed under /lib/modules. Install one with its headers.".to_owned();
    }
    let names: Vec<&str> = kernels.iter().map(|k| k.release.as_str()).collect();
    format!("Installed are: {}. Name one with --kernel.", names.join(", "))
}

fn unusable(kernel: &Kernel) -> Option<UnusableKernel> {
    let because = |reason: String, remedy: &str| {
        Some(UnusableKernel { release: kernel.release.clone(), reason, remedy: remedy.to_owned() })
    };
    match &kernel.headers {
        Headers::Missing { command, .. } => because("its headers are not installed".to_owned(), command),
        Headers::Broken { missing, command, .. } => {
            because(format!("its header tree is not complete ({} missing)", missing.join(", ")), command)
        }
        Headers::Usable { .. } => {
            if let Finding::CouldNotLook { why } = &kernel.vermagic {
                return because(
                    format!("its vermagic could not be read: {why}"),
                    "Reinstall the kernel's headers and look again.",
                );
            }
            match &kernel.build_compiler {
                Finding::CouldNotLook { why } => because(
                    format!("no compiler for it was found: {why}"),
                    "Install the compiler that built the kernel (see `hostwright detect --only toolchain`).",
                ),
                Finding::Seen(None) => because(
                    "no compiler that can build for it is installed".to_owned(),
                    "Install the compiler that built the kernel (see `hostwright detect --only toolchain`).",
                ),
                Finding::Seen(Some(_)) => None,
            }
        }
    }
}

/// Compares kernel releases by their numbers first ("6.9" is older than "6.12").
pub fn compare_releases(a: &str, b: &str) -> std::cmp::Ordering {
    fn parts(release: &str) -> Vec<Result<u64, &str>> {
        let mut out = Vec::new();
        let mut rest = release;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits > 0 {
                out.push(rest[..digits].parse().map_err(|_| &rest[..digits]));
                rest = &rest[digits..];
            } else {
                let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
                let word = rest[..end].trim_matches(['.', '-', '+', '_', '~']);
                if !word.is_empty() {
                    out.push(Err(word));
                }
                rest = &rest[end..];
            }
        }
        out
    }
    // A number is newer than a word at the same place ("6.1.0" is newer than "6.1-rc1").
    let key = |p: Result<u64, &str>| match p {
        Ok(number) => (1, number, String::new()),
        Err(word) => (0, 0, word.to_owned()),
    };
    parts(a).into_iter().map(key).cmp(parts(b).into_iter().map(key)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering::{Equal, Less};

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for (older, newer) in [
            ("6.9.1-amd64", "6.12.0-amd64"),
            ("5.10.0-46-amd64", "6.1.0-56-amd64"),
            ("6.1.0-9-amd64", "6.1.0-56-amd64"),
            ("6.1-rc1", "6.1.0"),
            ("6.12.117+deb12-amd64", "6.12.117+deb13-amd64"),
        ] {
            assert_eq!(compare_releases(older, newer), Less, "{older} {newer}");
        }
        assert_eq!(compare_releases("6.1", "6.1"), Equal);
    }

    proptest::proptest! {
        #[test]
        fn any_two_names_can_be_compared_and_the_order_is_antisymmetric(a in "\\PC{0,20}", b in "\\PC{0,20}") {
            proptest::prop_assert_eq!(compare_releases(&a, &b), compare_releases(&b, &a).reverse());
        }
    }
}
