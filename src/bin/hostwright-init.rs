// SPDX-License-Identifier: GPL-3.0-or-later
//! The first process of a lab guest. With nothing but the standard library: `build.rs` compiles this file alone.

#[path = "../init/mod.rs"]
pub mod init;

fn main() {
    init::main();
}
