// SPDX-License-Identifier: GPL-3.0-or-later
//! What must hold for every text of every boot loader's configuration.

use hostwright::engine::kernel_params::{Format, Parameter, add, missing, read, take_out};

/// Words to add: one with a value, one without, one that most texts have.
pub fn words() -> Vec<Parameter> {
    ["iommu=pt", "hugepagesz=2M", "hugepages=256"].iter().filter_map(|w| w.parse().ok()).collect()
}

/// Whatever is understood is edited so that each word is there once, twice changes nothing, and other lines stay.
pub fn hold(format: Format, bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let before = read(format, text);
    let wanted = words();
    let Ok(Some(edited)) = add(format, text, &wanted) else { return };
    assert!(before.is_ok(), "edited what cannot be read");
    let after = read(format, &edited).expect("what was written is read back");
    assert_eq!(missing(&after, &wanted), None, "{edited:?}");
    assert_eq!(add(format, &edited, &wanted), Ok(None), "a second time changes nothing: {edited:?}");
    if format == Format::LoaderEntry {
        let back = take_out(&edited, &wanted).expect("what was written is understood");
        assert!(back.is_some(), "the words are taken out again: {edited:?}");
    }
    // Lines that hold none of the words are those of before, in their order.
    let ours = |line: &&str| wanted.iter().any(|w| line.contains(w.as_str()));
    let mut old = text.lines();
    for line in edited.lines().filter(|l| !ours(l)) {
        assert!(old.any(|o| o == line), "{line:?} was not there before: {edited:?}");
    }
}
