// SPDX-License-Identifier: GPL-3.0-or-later
//! What a person set for the assistant itself, kept in `hostwright/assistant.json` of the configuration folder.

use super::machine::elsewhere;
use crate::flows::vmware::choices::RehearseChoice;
use crate::tell::Problem;
use gtk::glib;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Light or dark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Appearance {
    /// As the desktop is.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Appearance {
    /// All, in the order in which they are offered.
    pub(super) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// Shows it.
    pub(super) fn apply(self) {
        adw::StyleManager::default().set_color_scheme(match self {
            Self::System => adw::ColorScheme::Default,
            Self::Light => adw::ColorScheme::ForceLight,
            Self::Dark => adw::ColorScheme::ForceDark,
        });
    }
}

/// What a person set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    /// Light or dark.
    pub(super) appearance: Appearance,
    /// Whether the end of a run is told to somebody who looks elsewhere.
    pub(super) notifications: bool,
    /// Whether modules are tried in a virtual machine first, when nothing else is picked.
    pub(super) rehearse: RehearseChoice,
    /// Whether runs of the lab are kept when later ones need their place.
    pub(super) keep_lab_runs: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            appearance: Appearance::default(),
            notifications: true,
            rehearse: RehearseChoice::default(),
            keep_lab_runs: false,
        }
    }
}

impl Settings {
    fn path() -> PathBuf {
        glib::user_config_dir().join("hostwright/assistant.json")
    }

    /// Reads them; the defaults where there are none, or none that can be understood.
    pub(super) fn load() -> Self {
        let path = Self::path();
        let Ok(bytes) = std::fs::read(&path) else { return Self::default() };
        serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the settings cannot be understood; the defaults count");
            Self::default()
        })
    }

    /// Writes them. A reader sees the ones before or these, never half of them.
    pub(super) async fn save(self) -> Result<(), Problem> {
        elsewhere(move || {
            let path = Self::path();
            let text =
                serde_json::to_vec_pretty(&self).map_err(|e| Problem::internal("write the settings", &e))?;
            let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            made.map_err(|e| Problem::file("make the folder of", &path, &e))?;
            glib::file_set_contents(&path, &text)
                .map_err(|e| Problem::file("write", &path, &std::io::Error::other(e.to_string())))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_an_earlier_version_keep_what_they_say() {
        let read: Settings = serde_json::from_str(r#"{"appearance": "dark"}"#).unwrap();
        assert_eq!(read, Settings { appearance: Appearance::Dark, ..Settings::default() });
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&written).unwrap(), read);
    }
}
