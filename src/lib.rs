// SPDX-License-Identifier: GPL-3.0-or-later
//! placeholder
pub mod detect;
pub mod host;
