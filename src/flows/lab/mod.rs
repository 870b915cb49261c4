// SPDX-License-Identifier: GPL-3.0-or-later
//! The lab: builds images with a project in them, boots anything in seconds, tells what happened, cleans up.
//!
//! Works in the person's own session; nothing here needs root, but for writing an image to a device.

pub mod find;
pub mod runs;
