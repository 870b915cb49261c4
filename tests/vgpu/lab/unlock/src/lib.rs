// SPDX-License-Identifier: GPL-3.0-or-later
//! Leaves the names of the processes that loaded it in `/run/unlocked`, one a line. It unlocks nothing.

use std::io::Write;

extern "C" fn at_start() {
    let name = std::fs::read("/proc/self/comm").unwrap_or_default();
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open("/run/unlocked") {
        let _ = file.write_all(&name);
    }
}

#[used]
#[link_section = ".init_array"]
static AT_START: extern "C" fn() = at_start;
