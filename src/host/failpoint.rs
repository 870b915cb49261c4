// SPDX-License-Identifier: GPL-3.0-or-later
//! Where a test can stop the program dead (`abort(3)`, no unwinding, no destructor), as a crash would.
//!
//! Debug builds only; a release build has none of it. Only code can set one: no variable, no argument.

#[cfg(debug_assertions)]
mod hook {
    use std::io::Write;
    use std::sync::Mutex;

    static AT: Mutex<Option<(String, u32)>> = Mutex::new(None);

    /// Stops this process dead when it comes to `name` for the `nth` time (from 1). For tests.
    #[doc(hidden)]
    pub fn die_at(name: &str, nth: u32) {
        if let Ok(mut at) = AT.lock() {
            *at = Some((name.to_owned(), nth));
        }
    }

    fn is_due(name: &str) -> bool {
        let Ok(mut at) = AT.lock() else { return false };
        match &mut *at {
            Some((wanted, left)) if wanted == name => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            _ => false,
        }
    }

    pub(crate) fn hit(name: &str) {
        if is_due(name) {
            std::process::abort();
        }
    }

    /// Dies with half of the line written.
    pub(crate) fn tear(file: &mut std::fs::File, line: &[u8]) {
        if is_due("torn-record") {
            let _ = file.write_all(&line[..line.len() / 2]);
            std::process::abort();
        }
    }
}

#[cfg(not(debug_assertions))]
mod hook {
    pub(crate) fn hit(_name: &str) {}
    pub(crate) fn tear(_file: &mut std::fs::File, _line: &[u8]) {}
}

#[cfg(debug_assertions)]
pub use hook::die_at;
pub(crate) use hook::{hit, tear};
