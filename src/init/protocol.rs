// SPDX-License-Identifier: GPL-3.0-or-later
//! What the host tells the first process of a guest, and what that tells the host. Lines of words, so that
//! neither side needs a parser library; bytes that could be misread travel as `%XX`.
//!
//! ```text
//!   host ── /hostwright/config (a second cpio behind the initramfs) ──► guest
//!   host ◄── org.hostwright.control: "stage root 812", "exit 3" ─────── guest
//!   host ──► org.hostwright.stdin     stdout, stderr, files ◄────────── guest      (virtio-serial ports)
//! ```

/// The version of all that is said here; the guest says it first.
pub const VERSION: u32 = 1;

/// Where the configuration is in the initramfs.
pub const CONFIG: &str = "/hostwright/config";

/// Names of the virtio-serial ports, as in `/sys/class/virtio-ports/*/name`.
pub const CONTROL: &str = "org.hostwright.control";
/// Standard input of the guest's command; its end is the end of the connection.
pub const STDIN: &str = "org.hostwright.stdin";
/// Standard output of the guest's command.
pub const STDOUT: &str = "org.hostwright.stdout";
/// Standard error of the guest's command.
pub const STDERR: &str = "org.hostwright.stderr";
/// Files that the guest hands over at its end: one cpio archive (newc).
pub const FILES: &str = "org.hostwright.files";

/// Escapes one word: everything but printable ASCII, and space and `%` themselves, becomes `%XX`. An empty word is `%`.
pub fn escape(word: &[u8]) -> String {
    if word.is_empty() {
        return "%".to_owned();
    }
    let mut text = String::with_capacity(word.len());
    for &byte in word {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            text.push('%');
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
    }
    text
}

/// The word that [`escape`] wrote; `None` when it is none of its.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    if text == "%" {
        return Some(Vec::new());
    }
    let mut word = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                word.push(u8::try_from(high * 16 + low).ok()?);
            }
            b if b.is_ascii_graphic() => word.push(b),
            _ => return None,
        }
    }
    Some(word)
}
