// SPDX-License-Identifier: GPL-3.0-or-later
//! The root side of Hostwright, started by the system bus.

use std::process::ExitCode;

fn main() -> ExitCode {
    hostwright::helper::main()
}
