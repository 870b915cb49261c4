// SPDX-License-Identifier: GPL-3.0-or-later
//! The lab: builds images with a project in them, boots anything in seconds, tells what happened, cleans up.
//!
//! Works in the person's own session; nothing here needs root, but for writing an image to a device.
//!
//! ```text
//!   Image (data) ─► check ─► project's files (git) ─► Layer ──┐
//!                                                             ▼
//!                            Builder: validate ─► base (kept) + layer ─► image file
//!                              debian, archiso
//!   eject: what builds that did not end well left behind
//!   write: an image onto a USB stick, by a plan and the helper
//! ```

pub mod account;
mod archiso;
mod build;
mod debian;
mod devices;
pub mod diagnose;
mod eject;
mod error;
pub mod find;
mod folders;
mod inject;
mod job;
mod layer;
pub mod matrix;
mod mountinfo;
mod namespace;
mod places;
mod remove;
pub mod runs;
pub mod session;
pub mod size;
mod spec;
mod tools;
mod work;
pub mod write;

pub use build::{Built, Options, build};
pub use eject::{Action, EjectOptions, Ejected, Kept, eject, look, plan, remove_inside};
pub use error::LabError;
pub use folders::Folders;
pub use inject::check_project;
pub use places::{Places, sharing};
pub use spec::{ArchisoSpec, Autorun, BuilderSpec, DebianSpec, Form, Image, Project, default_suite, name_of};
pub use work::{MARKER, Marker};
