// SPDX-License-Identifier: GPL-3.0-or-later
//! What a guest gets of this machine when nobody says otherwise.

use crate::guest::spec::{Display, Guest};

/// Seconds that a guest without a window has when nothing else is said.
pub const TIMEOUT: u32 = 600;

/// Processors and memory (MiB) of an ISO image or a disk, where this machine has as much.
const LARGE: (u32, u32) = (4, 4096);

/// The same of a directly booted kernel.
const SMALL: (u32, u32) = (1, 1024);

/// Processors and memory (MiB) for a guest on a machine with so many and so much; `large`: with a whole system in it.
/// Pure.
pub fn default_size(large: bool, processors: u32, memory: u32) -> (u32, u32) {
    let (cpus, mib) = if large { LARGE } else { SMALL };
    (cpus.min(processors.max(1)), mib.min((memory / 2).max(256)))
}

/// Processors of this machine.
pub fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// Memory of this machine in MiB (proc(5), `MemTotal`).
pub fn memory_here() -> u32 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(2 << 20);
    u32::try_from(kib >> 10).unwrap_or(u32::MAX)
}

/// What a window of QEMU needs to know.
pub fn window_environment(guest: &Guest) -> Vec<(String, String)> {
    if guest.display == Display::None {
        return Vec::new();
    }
    let names = [
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "XAUTHORITY",
        "XDG_RUNTIME_DIR",
        "DBUS_SESSION_BUS_ADDRESS",
        "HOME",
        "LANG",
        "XDG_SESSION_TYPE",
    ];
    names.iter().filter_map(|n| Some(((*n).to_owned(), std::env::var(n).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_clipped_to_the_machine() {
        assert_eq!(default_size(true, 16, 64000), (4, 4096));
        assert_eq!(default_size(true, 2, 4000), (2, 2000));
        assert_eq!(default_size(false, 16, 64000), (1, 1024));
        assert_eq!(default_size(true, 0, 0), (1, 256));
    }
}
