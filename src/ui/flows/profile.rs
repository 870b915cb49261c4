// SPDX-License-Identifier: GPL-3.0-or-later
//! A profile in the assistant: its choices for VMware's modules go through the pages; those of other flows are shown
//! as plans after them.

use super::vmware::{Start, Then};
use super::{tuning, wayland};
use crate::profile::Document;

/// How the assistant begins with a profile; nothing for one that chooses nothing.
pub(in crate::ui) fn start(document: &Document) -> Option<Start> {
    let flows = &document.flows;
    let launchers = flows.wayland.as_ref().map(wayland::request);
    let tuned = flows.tuning.as_ref().map(tuning::request);
    let mut then: Vec<Then> = launchers.into_iter().chain(tuned).map(Then::Review).collect();
    if let Some(choices) = &flows.vmware {
        return Some(Start::With { choices: Box::new(choices.clone()), then });
    }
    if then.is_empty() {
        return None;
    }
    match then.remove(0) {
        Then::Review(request) => Some(Start::Review { request: Box::new(request), then }),
        Then::Tuning => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::read_value;
    use serde_json::json;

    fn of(flows: &serde_json::Value) -> Option<Start> {
        start(&read_value(json!({ "version": 2, "name": "x", "flows": flows })).unwrap())
    }

    #[test]
    fn a_profile_begins_with_the_modules_and_goes_on_with_the_rest() {
        let all = of(&json!({ "vmware": {}, "wayland": {}, "tuning": {} }));
        assert!(matches!(all, Some(Start::With { ref then, .. }) if then.len() == 2), "{all:?}");
        let tuning = of(&json!({ "tuning": {} }));
        assert!(
            matches!(tuning, Some(Start::Review { ref request, .. }) if request.flow == "tuning"),
            "{tuning:?}"
        );
        assert!(of(&json!({})).is_none());
    }
}
