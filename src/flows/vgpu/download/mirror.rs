// SPDX-License-Identifier: GPL-3.0-or-later
//! A mirror of the user's own: a template of an address, and credentials. None is preset.

use super::Wanted;
use crate::fetch::Credentials;
use serde::Deserialize;

/// What stands in `mirror.toml`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The address, with `{branch}`, `{major}`, `{version}` (of the driver; also `{host_driver}`) and `{file_name}`.
    pub template: Option<String>,
    /// Name for the server.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// A token, in place of both.
    pub token: Option<String>,
    /// A PEM file with the authority of a server of one's own.
    pub ca_file: Option<String>,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror").field("template", &self.template).finish_non_exhaustive()
    }
}

/// Why a mirror cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// Not TOML, or an unknown field. The text itself is not repeated: it may hold a password.
    #[error("mirror.toml is not valid in line {0}; it may have template, user, password, token and ca_file")]
    Wrong(usize),
    /// A name in braces that means nothing.
    #[error("the template has {{{0}}}; it may have {{branch}}, {{major}}, {{version}} and {{file_name}}")]
    Placeholder(String),
    /// The template is no https address.
    #[error("the template must begin with https:// (or http:// for a server that needs no password)")]
    Scheme,
    /// Credentials that contradict each other.
    #[error("give either user and password, or token")]
    Credentials,
    /// Others can read the password.
    #[error("mirror.toml holds a password and can be read by others; run `chmod 600` on it")]
    Open,
}

impl Mirror {
    /// Reads `mirror.toml`; `mode` is that of the file.
    ///
    /// # Errors
    /// See [`MirrorError`].
    pub fn parse(text: &str, mode: u32) -> Result<Self, MirrorError> {
        let mirror: Self = toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |s| s.start);
            MirrorError::Wrong(text.get(..at).unwrap_or_default().matches('\n').count() + 1)
        })?;
        if (mirror.password.is_some() || mirror.token.is_some()) && mode & 0o077 != 0 {
            return Err(MirrorError::Open);
        }
        mirror.credentials()?;
        if let Some(template) = &mirror.template
            && !template.starts_with("https://")
            && !template.starts_with("http://")
        {
            return Err(MirrorError::Scheme);
        }
        Ok(mirror)
    }

    /// What the server is told.
    ///
    /// # Errors
    /// When it is half there.
    pub fn credentials(&self) -> Result<Option<Credentials>, MirrorError> {
        match (&self.user, &self.password, &self.token) {
            (None, None, None) => Ok(None),
            (Some(user), Some(password), None) if !user.contains(':') => {
                Ok(Some(Credentials::Basic { user: user.clone(), password: password.clone() }))
            }
            (None, None, Some(token)) if token.chars().all(|c| c.is_ascii_graphic()) => {
                Ok(Some(Credentials::Bearer(token.clone())))
            }
            _ => Err(MirrorError::Credentials),
        }
    }

    /// The address of a driver; `None` without a template.
    ///
    /// # Errors
    /// When the template has a name that means nothing.
    pub fn url(&self, driver: Wanted<'_>) -> Result<Option<String>, MirrorError> {
        let Some(template) = &self.template else { return Ok(None) };
        let mut out = String::new();
        let mut rest = template.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                return Err(MirrorError::Placeholder(after.to_owned()));
            };
            match name {
                "branch" => out.push_str(&driver.branch.to_string()),
                "major" => out.push_str(&driver.branch.major.to_string()),
                "version" | "host_driver" => out.push_str(driver.version),
                // A plain name, as the catalogue requires: nothing in it needs escaping but `+`.
                "file_name" => out.push_str(&driver.file_name.replace('+', "%2B")),
                other => return Err(MirrorError::Placeholder(other.to_owned())),
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(Some(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::vgpu::Catalogue;
    use proptest::prelude::*;

    #[test]
    fn a_template_becomes_the_address_of_a_driver() {
        let all = Catalogue::built_in().unwrap();
        let driver = all.driver("16.9".parse().unwrap()).unwrap();
        let of = |template: &str| {
            Mirror { template: Some(template.to_owned()), ..Mirror::default() }.url(driver.into())
        };
        assert_eq!(
            of("https://files.example/{major}/{branch}/{file_name}?v={host_driver}").unwrap().unwrap(),
            "https://files.example/16/16.9/NVIDIA-Linux-x86_64-535.230.02-vgpu-kvm.run?v=535.230.02"
        );
        assert_eq!(of("https://x/{home}"), Err(MirrorError::Placeholder("home".to_owned())));
        assert!(of("https://x/{branch").is_err());
        assert_eq!(Mirror::default().url(driver.into()), Ok(None));
    }

    #[test]
    fn passwords_are_for_their_owner_only_and_never_shown() {
        let text = "template = \"https://x/{branch}\"\nuser = \"me\"\npassword = \"secret\"\n";
        assert_eq!(Mirror::parse(text, 0o644), Err(MirrorError::Open));
        let mirror = Mirror::parse(text, 0o600).unwrap();
        assert!(!format!("{mirror:?}").contains("secret"));
        assert!(Mirror::parse("template = \"https://x\"\n", 0o644).is_ok());
        assert_eq!(Mirror::parse("template = \"ftp://x\"\n", 0o600), Err(MirrorError::Scheme));
        assert_eq!(Mirror::parse("user = \"me\"\n", 0o600), Err(MirrorError::Credentials));
        let wrong = Mirror::parse("user = \"me\"\npassword = \"secret\n", 0o600).unwrap_err();
        assert!(!wrong.to_string().contains("secret"), "{wrong}");
    }

    proptest! {
        #[test]
        fn no_text_makes_these_panic(text in "(?s).*", template in "\\PC*") {
            let _ = Mirror::parse(&text, 0o600);
            let all = Catalogue::built_in().unwrap();
            let driver = all.drivers().next().unwrap();
            let _ = Mirror { template: Some(template), ..Mirror::default() }.url(driver.into());
        }
    }
}
