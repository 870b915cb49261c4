// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding: choices and facts become a plan.

pub mod vmware;
