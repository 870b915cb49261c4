// SPDX-License-Identifier: GPL-3.0-or-later
//! NVIDIA vGPU: what this host can do.

mod view;

pub(in crate::ui) use view::VgpuView;
