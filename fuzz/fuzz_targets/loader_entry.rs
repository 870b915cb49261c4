// SPDX-License-Identifier: GPL-3.0-or-later
#![no_main]
mod common;
use hostwright::engine::kernel_params::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| common::hold(Format::LoaderEntry, bytes));
