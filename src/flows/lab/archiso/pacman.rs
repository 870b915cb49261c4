// SPDX-License-Identifier: GPL-3.0-or-later
//! Two configurations of pacman (pacman.conf(5)): one that reaches the archives while the image is built, and
//! the one that stays in the image, which may name packages that lie on the image itself.

use super::super::LabError;

/// What there is to choose from.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The person named it.
    pub given: Option<String>,
    /// The profile's own, for the build.
    pub of_profile: Option<String>,
    /// `airootfs/etc/pacman.conf`.
    pub of_image: Option<String>,
    /// This machine's.
    pub of_machine: Option<String>,
}

/// The two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Both {
    /// For the build.
    pub build: String,
    /// Written into the image; `None`: what the profile has there stays.
    pub image: Option<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Chooses. The build needs an archive that can be reached; an offline configuration of the profile is
/// left in the image, where it was meant to be used.
pub(super) fn both(known: &Known) -> Result<Both, LabError> {
    let mut warnings = Vec::new();
    let online = |text: &Option<String>| text.clone().filter(|t| is_online(t));
    let build =
        known.given.clone().or_else(|| online(&known.of_profile)).or_else(|| online(&known.of_machine));
    let Some(build) = build else {
        return Err(LabError::refused(
            "no-archive",
            "neither the profile nor this machine has a pacman.conf that names an archive on the network",
            "name one with --pacman-conf",
        ));
    };
    let image = match (&known.of_image, &known.of_profile) {
        (Some(_), _) => None,
        (None, Some(offline)) if !is_online(offline) => Some(offline.clone()),
        _ => None,
    };
    for (text, whose) in
        [(Some(&build), "for the build"), (image.as_ref().or(known.of_image.as_ref()), "of the image")]
    {
        if let Some(line) = text.and_then(|t| unsigned(t)) {
            warnings.push(format!(
                "the pacman.conf {whose} takes packages that nobody signed (`{line}`); sign the repository and use \
                 SigLevel = Required"
            ));
        }
    }
    Ok(Both { build, image, warnings })
}

/// Lines without comments, as section, key and value.
fn lines(text: &str) -> impl Iterator<Item = (String, &str, &str)> {
    let mut section = String::new();
    text.lines().filter_map(move |line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name.to_owned();
            return None;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        (!key.is_empty()).then(|| (section.clone(), key.trim(), value.trim()))
    })
}

/// Whether it names an archive on the network, by itself or by a list of mirrors.
fn is_online(text: &str) -> bool {
    lines(text).any(|(section, key, value)| {
        section != "options"
            && !section.is_empty()
            && match key {
                "Server" => !value.starts_with("file:"),
                "Include" => true,
                _ => false,
            }
    })
}

/// The first line that lets packages in that nobody signed.
fn unsigned(text: &str) -> Option<String> {
    lines(text).find_map(|(_, key, value)| {
        let lax = |w: &str| {
            matches!(
                w,
                "Never" | "TrustAll" | "PackageNever" | "PackageTrustAll" | "PackageOptional" | "Optional"
            )
        };
        (key == "SigLevel" && value.split_whitespace().any(lax)).then(|| format!("{key} = {value}"))
    })
}

/// The same with a folder for downloaded packages. What it named before goes: pacman writes into the first only.
pub(super) fn with_cache(text: &str, folder: &str) -> String {
    let mut out = String::new();
    let mut placed = false;
    for line in text.lines() {
        let plain = line.split('#').next().unwrap_or_default().trim();
        if plain.split('=').next().map(str::trim) == Some("CacheDir") {
            continue;
        }
        out.push_str(line);
        out.push('\n');
        if plain == "[options]" && !placed {
            placed = true;
            out.push_str(&format!("CacheDir = {folder}/\n"));
        }
    }
    if placed { out } else { format!("[options]\nCacheDir = {folder}/\n{out}") }
}

/// What pacman said to the question of what it would install.
pub(super) fn judge(success: bool, stderr: &str) -> Result<(), LabError> {
    let mut missing: Vec<&str> =
        stderr.lines().filter_map(|l| l.strip_prefix("error: target not found: ")).map(str::trim).collect();
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        return Err(LabError::refused(
            "no-package",
            format!("the repositories have no package {}", missing.join(", ")),
            "look at the spelling in the list of packages, or add the repository to the pacman.conf of the build",
        ));
    }
    if success {
        return Ok(());
    }
    let said: Vec<&str> =
        stderr.lines().filter(|l| l.starts_with("error: ") || l.starts_with(":: ")).take(12).collect();
    Err(LabError::refused(
        "packages",
        format!("pacman cannot install these packages together: {}", said.join("\n")),
        "choose other packages",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONLINE: &str =
        "[options]\nSigLevel = Required DatabaseOptional\n[core]\nInclude = /etc/pacman.d/mirrorlist\n";
    const OFFLINE: &str =
        "[options]\nSigLevel = Optional TrustAll\n[offline]\nServer = file:///var/cache/offline\n";

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn an_offline_configuration_is_left_in_the_image_and_an_online_one_builds_it() {
        let known = Known { of_profile: some(OFFLINE), of_machine: some(ONLINE), ..Known::default() };
        let both = both(&known).unwrap();
        assert_eq!((both.build.as_str(), both.image.as_deref()), (ONLINE, Some(OFFLINE)));
        assert!(
            both.warnings[0].contains("of the image") && both.warnings[0].contains("TrustAll"),
            "{both:?}"
        );
    }

    #[test]
    fn what_the_profile_puts_into_the_image_stays_there() {
        let known = Known { of_profile: some(ONLINE), of_image: some(OFFLINE), ..Known::default() };
        let both = both(&known).unwrap();
        assert_eq!((both.build.as_str(), both.image.as_deref()), (ONLINE, None));
    }

    #[test]
    fn what_a_person_names_comes_first_and_nothing_online_is_refused() {
        let given = "[x]\nServer = https://x/$repo\n";
        let known = Known { given: some(given), of_profile: some(ONLINE), ..Known::default() };
        assert_eq!(both(&known).unwrap().build, given);
        assert!(both(&Known { of_profile: some(OFFLINE), ..Known::default() }).is_err());
        assert!(
            both(&Known { of_profile: some("[core]\n#Server = http://x\n"), ..Known::default() }).is_err()
        );
    }

    #[test]
    fn the_cache_is_ours_and_in_the_options() {
        let text = "#x\n[options]\nCacheDir = /var/cache/a/\n  CacheDir=/b\nArchitecture = auto\n[core]\nServer = x\n";
        assert_eq!(
            with_cache(text, "/c d"),
            "#x\n[options]\nCacheDir = /c d/\nArchitecture = auto\n[core]\nServer = x\n"
        );
        assert!(with_cache("[core]\n", "/c").starts_with("[options]\nCacheDir = /c/\n"));
    }

    #[test]
    fn packages_that_no_repository_has_are_named() {
        let said = "error: target not found: plymoth\nerror: target not found: foo\n";
        assert!(judge(false, said).unwrap_err().to_string().contains("no package foo, plymoth"));
        assert!(judge(true, "warning: x\n").is_ok());
        assert!(
            judge(false, "error: failed to prepare transaction\n:: a and b are in conflict\n")
                .unwrap_err()
                .to_string()
                .contains("in conflict")
        );
    }
}
