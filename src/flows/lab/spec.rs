// SPDX-License-Identifier: GPL-3.0-or-later
//! What is wanted of an image. Plain data; what is wrong with it is said before anything is looked at.

use super::LabError;
use super::layer::check_place;
use crate::detect::{self, Family, Topic};
use crate::host::Host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// An image as a person wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its name: of the file, the volume and the host in it.
    pub name: String,
    /// What builds it, and how.
    pub builder: BuilderSpec,
    /// The project that is put into it.
    #[serde(default)]
    pub project: Option<Project>,
    /// Variables for the image's own scripts. `{project}` in a value is where the project is in the image.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// What runs there when it has booted.
    #[serde(default)]
    pub autorun: Option<Autorun>,
    /// Files or patterns that are handed over when the guest ends.
    #[serde(default)]
    pub collect: Vec<String>,
}

/// The project that is put into an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Its folder on this machine.
    pub folder: PathBuf,
    /// Where it is in the image.
    pub place: String,
}

/// What runs in an image when it has booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Autorun {
    /// A line for the image's own `/bin/sh`, run by root in the project's folder.
    pub command: String,
    /// Whether the machine is powered off afterwards.
    #[serde(default)]
    pub power_off: bool,
}

/// What builds an image, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum BuilderSpec {
    /// A live system of Debian's own packages.
    Debian(DebianSpec),
    /// An Arch profile.
    Archiso(ArchisoSpec),
}

/// How a Debian image is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DebianSpec {
    /// The release ("bookworm").
    pub suite: String,
    /// The archive; none: the one that this machine's apt uses, else <http://deb.debian.org/debian>.
    #[serde(default)]
    pub mirror: Option<String>,
    /// The package of the kernel.
    pub kernel: String,
    /// Packages beside those that a live system needs.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What is made.
    #[serde(default)]
    pub form: Form,
    /// More words for the kernel command line.
    #[serde(default)]
    pub append: Vec<String>,
}

/// How an Arch image is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArchisoSpec {
    /// The profile: `profiledef.sh`, `packages.x86_64`, `airootfs/`….
    pub profile: PathBuf,
    /// The `pacman.conf` for the build; none: the profile's when it can be reached online, else the machine's.
    #[serde(default)]
    pub pacman_conf: Option<PathBuf>,
}

/// What is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// An ISO image, for optical drives and USB sticks.
    #[default]
    Iso,
    /// A raw disk image with a partition table.
    Disk,
}

impl Image {
    /// Where the project is in the image.
    pub fn place(&self) -> Option<&str> {
        self.project.as_ref().map(|p| p.place.as_str())
    }

    /// What the image's file is called when nobody says otherwise.
    pub fn file_name(&self) -> String {
        let ending = match &self.builder {
            BuilderSpec::Debian(DebianSpec { form: Form::Disk, .. }) => "img",
            _ => "iso",
        };
        format!("{}.{ending}", self.name)
    }

    /// The variables with `{project}` filled in, those of ours first.
    pub fn variables(&self) -> Vec<(String, String)> {
        let place = self.place().unwrap_or_default();
        let mut all = vec![("HOSTWRIGHT_IMAGE".to_owned(), self.name.clone())];
        if !place.is_empty() {
            all.push(("HOSTWRIGHT_PROJECT".to_owned(), place.to_owned()));
        }
        all.extend(self.env.iter().map(|(k, v)| (k.clone(), v.replace("{project}", place))));
        all
    }

    /// Looks for what can be said to be wrong without looking at the machine.
    ///
    /// # Errors
    /// With the first mistake and what to do.
    pub fn check(&self) -> Result<(), LabError> {
        let refuse = |reason: String, remedy: &str| Err(LabError::refused("spec", reason, remedy));
        if !is_name(&self.name) {
            return refuse(
                format!("`{}` cannot be the name of an image", self.name),
                "use letters, digits, `-`, `_` and `.`, 60 at most, a letter or digit first",
            );
        }
        if let Some(Err(why)) = self.place().map(check_place) {
            return refuse(why, "give another --place");
        }
        for (key, value) in &self.env {
            if !is_variable(key) {
                return refuse(
                    format!("`{key}` is no name of a variable"),
                    "use letters, digits and `_`, no digit first",
                );
            }
            if value.contains(['\n', '\0']) {
                return refuse(format!("the value of {key} has several lines"), "give it one line");
            }
            if value.contains("{project}") && self.project.is_none() {
                return refuse(
                    format!("the value of {key} names the project, and there is none"),
                    "name a project folder",
                );
            }
        }
        if let Some(autorun) = &self.autorun
            && (autorun.command.trim().is_empty() || autorun.command.contains('\0'))
        {
            return refuse("--autorun has no command".to_owned(), "give it a line for a shell");
        }
        if let Some(bad) = self.collect.iter().find(|c| !c.starts_with('/') || c.contains(['\n', '\0'])) {
            return refuse(format!("`{bad}` is no absolute path of the image"), "begin it with `/`");
        }
        match &self.builder {
            BuilderSpec::Debian(spec) => spec.check(),
            BuilderSpec::Archiso(_) => Ok(()),
        }
    }
}

impl DebianSpec {
    fn check(&self) -> Result<(), LabError> {
        let word = |text: &str| {
            !text.is_empty()
                && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
        };
        let refuse = |reason: String, remedy: &str| Err(LabError::refused("spec", reason, remedy));
        if !word(&self.suite) {
            return refuse(format!("`{}` is no name of a Debian release", self.suite), "name one (bookworm)");
        }
        // Debian Policy 5.6.1.
        if let Some(bad) = self.packages.iter().chain([&self.kernel]).find(|p| !word(p)) {
            return refuse(format!("`{bad}` is no name of a Debian package"), "look at its spelling");
        }
        if let Some(mirror) = &self.mirror {
            let known = ["http://", "https://", "file:///"].iter().any(|s| mirror.starts_with(s));
            if !known || mirror.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return refuse(
                    format!("`{mirror}` is no address of an archive"),
                    "give one that begins with http://, https:// or file:///",
                );
            }
        }
        // GRUB splits at blanks and reads quotes, `$`, `;` and others by itself.
        let plain = |w: &str| {
            !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&b))
        };
        if let Some(bad) = self.append.iter().find(|w| !plain(w)) {
            return refuse(
                format!("`{bad}` cannot stand on a kernel command line of GRUB as it is"),
                "use words of letters, digits and -_./=:,+@%",
            );
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 60
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The Debian release of an image when nobody names one: this machine's if it is a Debian, else `stable`.
pub fn default_suite(host: &Host) -> String {
    let os = detect::gather(host, Some(&[Topic::Os])).os;
    os.seen()
        .filter(|os| os.family == Family::Debian && os.id == "debian")
        .and_then(|os| os.codename.clone())
        .unwrap_or_else(|| "stable".to_owned())
}

/// A name for an image made of any text: what may not be in a name becomes `-`.
pub fn name_of(text: &str) -> String {
    let name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "image".to_owned() } else { name.chars().take(60).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn image() -> Image {
        Image {
            name: "demo".into(),
            builder: BuilderSpec::Debian(DebianSpec {
                suite: "bookworm".into(),
                mirror: None,
                kernel: "linux-image-amd64".into(),
                packages: vec!["g++".into(), "python3.11".into()],
                form: Form::Iso,
                append: vec!["quiet".into()],
            }),
            project: Some(Project { folder: "/p".into(), place: "/root/demo".into() }),
            env: vec![("DEMO_HOME".into(), "{project}/x y".into())],
            autorun: Some(Autorun { command: "./run.sh".into(), power_off: true }),
            collect: vec!["/var/log/*".into()],
        }
    }

    #[test]
    fn variables_lead_to_the_project() {
        assert_eq!(
            image().variables(),
            [
                ("HOSTWRIGHT_IMAGE".to_owned(), "demo".to_owned()),
                ("HOSTWRIGHT_PROJECT".to_owned(), "/root/demo".to_owned()),
                ("DEMO_HOME".to_owned(), "/root/demo/x y".to_owned())
            ]
        );
    }

    #[test]
    fn each_mistake_is_named_with_what_to_do() {
        image().check().unwrap();
        let says = |change: &dyn Fn(&mut Image)| {
            let mut image = image();
            change(&mut image);
            image.check().unwrap_err().to_string()
        };
        let debian = |change: fn(&mut DebianSpec)| {
            says(&move |i| match &mut i.builder {
                BuilderSpec::Debian(spec) => change(spec),
                BuilderSpec::Archiso(_) => {}
            })
        };
        assert!(says(&|i| i.name = "../x".into()).contains("name of an image"));
        assert!(says(&|i| i.env[0].0 = "A-B".into()).contains("A-B"));
        assert!(says(&|i| i.env[0].1 = "a\nb".into()).contains("several lines"));
        assert!(says(&|i| i.project = None).contains("there is none"));
        assert!(says(&|i| i.collect[0] = "var/log".into()).contains("begin it with"));
        assert!(says(&|i| i.autorun.as_mut().unwrap().command = " ".into()).contains("--autorun"));
        assert!(debian(|s| s.suite = "--x".into()).contains("Debian release"));
        assert!(debian(|s| s.packages[0] = "a b".into()).contains("spelling"));
        assert!(debian(|s| s.mirror = Some("ftp://x".into())).contains("https://"));
        assert!(debian(|s| s.append = vec!["a;reboot".into()]).contains("GRUB"));
    }

    proptest! {
        #[test]
        fn any_text_gives_a_name_that_can_be_used(text in ".*") {
            prop_assert!(is_name(&name_of(&text)), "{}", name_of(&text));
        }
    }
}
