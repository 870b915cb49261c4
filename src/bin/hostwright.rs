// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line of Hostwright.

use std::process::ExitCode;

fn main() -> ExitCode {
    hostwright::cli::main()
}
