// SPDX-License-Identifier: GPL-3.0-or-later
//! Decides: choices and facts become a plan.
pub mod vmware;
