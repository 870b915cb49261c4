// SPDX-License-Identifier: GPL-3.0-or-later
//! The assistants and views of the flows, one folder each.

pub(super) mod bench;
pub(super) mod lab;
pub(super) mod profile;
pub(super) mod tuning;
pub(super) mod vgpu;
pub(super) mod vmware;
pub(super) mod wayland;
