// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware's launchers in words: only what somebody should know.

use super::{Mark, Row};
use crate::detect::launchers::{LauncherFacts, State};

/// Launchers that were fixed for Wayland and are not any more, since an update of the product replaced them.
/// `command` makes a command of ours for the same machine.
pub(crate) fn of(facts: Result<&LauncherFacts, &String>, command: &dyn Fn(&str) -> String) -> Vec<Row> {
    let facts = match facts {
        Ok(facts) => facts,
        Err(why) => return vec![Row::new(Mark::Unknown, "Wayland", format!("could not look: {why}"))],
    };
    let replaced = facts.replaced();
    if !replaced.is_empty() {
        let text =
            format!("an update of VMware replaced what went through XWayland: {}", replaced.join(", "));
        return vec![Row::new(Mark::Warning, "Wayland", text).remedy(command("vmware wayland apply"))];
    }
    if facts.launchers.iter().any(|l| matches!(l.state, State::Fixed { .. })) {
        return vec![Row::new(Mark::Good, "Wayland", "VMware's launchers go through XWayland")];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::launchers::Launcher;

    fn launcher(state: State, copies: usize) -> Launcher {
        Launcher {
            name: "vmware".into(),
            path: "/usr/bin/vmware".into(),
            mode: 0o755,
            sha256: String::new(),
            state,
            text: None,
            starts: None,
            originals: (0..copies)
                .map(|n| (format!("/usr/bin/vmware.original.{n}"), String::new()))
                .collect(),
        }
    }

    #[test]
    fn a_launcher_that_an_update_replaced_is_offered_again_and_one_that_never_was_fixed_is_not() {
        let command = |words: &str| format!("hostwright {words}");
        let of = |state, copies| {
            let facts =
                LauncherFacts { launchers: vec![launcher(state, copies)], ..LauncherFacts::default() };
            super::of(Ok(&facts), &command)
        };
        let rows = of(State::Plain, 1);
        assert_eq!(
            (rows[0].mark, rows[0].remedy.as_deref()),
            (Mark::Warning, Some("hostwright vmware wayland apply"))
        );
        assert!(of(State::Plain, 0).is_empty());
        assert_eq!(of(State::Fixed { current: true }, 1)[0].mark, Mark::Good);
        assert_eq!(super::of(Err(&"denied".to_owned()), &command)[0].mark, Mark::Unknown);
    }
}
