// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware's launchers in a Wayland session: how they stand, and the request to change them. The plan and the run are
//! shown by the assistant.

use super::vmware::Request;
use crate::flows::wayland::{Choices, FLOW, State, Wish, look};
use crate::host::Host;
use crate::tell::Problem;
use crate::ui::i18n::{gettext, ngettext_f};
use crate::ui::machine::elsewhere;

/// How the launchers stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::ui) struct Launchers {
    /// Those that open their windows on Wayland.
    pub(in crate::ui) plain: usize,
    /// Those that go through XWayland, by whoever's doing.
    pub(in crate::ui) fixed: usize,
    /// Those that are left alone.
    pub(in crate::ui) unknown: usize,
}

impl Launchers {
    /// Looks at the launchers of this machine.
    pub(in crate::ui) async fn look() -> Result<Self, Problem> {
        let facts = elsewhere(|| Ok(look(&Host::machine()?)?)).await?;
        let mut all = Self::default();
        for launcher in &facts.launchers {
            match launcher.state {
                State::Plain | State::Fixed { current: false } => all.plain += 1,
                State::Fixed { current: true } | State::FixedByOthers => all.fixed += 1,
                State::Unknown { .. } => all.unknown += 1,
            }
        }
        Ok(all)
    }

    /// In a sentence.
    pub(in crate::ui) fn in_words(self) -> String {
        match self {
            Self { plain: 0, fixed: 0, unknown: 0 } => {
                gettext("There are no launchers of VMware\u{2019}s here")
            }
            Self { plain: 0, fixed, unknown: 0 } => {
                ngettext_f("{n} launcher goes through XWayland", "{n} launchers go through XWayland", fixed)
            }
            Self { plain: 0, unknown, .. } => ngettext_f(
                "{n} launcher is left alone: what it is was not understood",
                "{n} launchers are left alone: what they are was not understood",
                unknown,
            ),
            Self { plain, .. } => ngettext_f(
                "{n} launcher opens its windows on Wayland, where they do not work",
                "{n} launchers open their windows on Wayland, where they do not work",
                plain,
            ),
        }
    }
}

/// The request to let all launchers go through XWayland.
pub(in crate::ui) fn fix() -> Request {
    request(&Choices { wish: Wish::Fix, only: Vec::new() })
}

/// The request of choices.
pub(in crate::ui) fn request(choices: &Choices) -> Request {
    let what = if choices.wish == Wish::Fix { "apply" } else { "remove" };
    let only: String = choices.only.iter().map(|name| format!(" {name}")).collect();
    Request {
        flow: FLOW.to_owned(),
        title: gettext("VMware on Wayland"),
        choices: serde_json::to_value(choices).unwrap_or_default(),
        command: format!("hostwright vmware wayland {what}{only}"),
    }
}
