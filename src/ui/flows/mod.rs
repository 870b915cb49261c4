// SPDX-License-Identifier: GPL-3.0-or-later
//! The assistants, one folder each.

pub(super) mod vmware;
