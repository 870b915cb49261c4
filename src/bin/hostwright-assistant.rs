// SPDX-License-Identifier: GPL-3.0-or-later
//! The assistant of Hostwright: a window for what the command line does.

fn main() -> std::process::ExitCode {
    hostwright::ui::main()
}
