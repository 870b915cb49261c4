// SPDX-License-Identifier: GPL-3.0-or-later
#![no_main]
use hostwright::engine::kernel_params::{Format, read};

libfuzzer_sys::fuzz_target!(|text: &str| {
    // Only read: every text is understood somehow, and none makes it panic.
    assert!(read(Format::GrubConfig, text).is_ok());
});
