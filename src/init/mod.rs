// SPDX-License-Identifier: GPL-3.0-or-later
//! The first process of a lab guest. Built twice: into the library for its tests, and (by `build.rs`, static,
//! with nothing but the standard library) as the program that every initramfs of ours starts with.

pub mod config;
pub mod newc;
pub mod protocol;

/// The whole of `hostwright-init`.
pub fn main() {}
