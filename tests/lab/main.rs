// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright lab` as a person uses it: the real binary, real kernels, real QEMU.
//!
//! One guest at a time: two of them on a small machine would be measuring each other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot set itself up must fail"
)]

mod bad;
mod commands;
mod firmware;
mod many;
mod roots;
mod scene;
