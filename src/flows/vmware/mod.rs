// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware's `vmmon` and `vmnet` for any installed kernel.

pub mod adapt;
pub mod source;
