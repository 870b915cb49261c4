// SPDX-License-Identifier: GPL-3.0-or-later
//! The one-time password for enrolling a key: typed now, and once more at the next boot, on the blue
//! screen of shim's MokManager, where the keyboard always has the US layout. Pure.

/// Fewest and most characters. mokutil takes up to 256 and MokManager as many; fewer than eight are
/// quickly guessed by whoever stands at the machine.
pub const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

/// Why a password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MokPasswordError {
    /// Too short or too long.
    #[error("the password has {0} characters; choose one of 8 to 256")]
    Length(usize),
    /// Not plain ASCII.
    #[error(
        "the password holds a character that cannot be typed at the next boot; choose letters of the English \
         alphabet, digits and blanks"
    )]
    Characters,
}

/// What keys give another character on the US layout than on a common other one.
fn moved(c: char) -> Option<&'static str> {
    match c.to_ascii_lowercase() {
        'y' | 'z' => Some("German (QWERTZ) and French (AZERTY)"),
        'a' | 'q' | 'w' | 'm' => Some("French (AZERTY)"),
        '0'..='9' => Some("French (AZERTY, where digits need Shift)"),
        ' ' => None,
        c if c.is_ascii_punctuation() => Some("most other than US"),
        _ => None,
    }
}

/// Checks a password. Returns what a person should know who has another keyboard than a US one: which
/// characters are on other keys there.
///
/// # Errors
/// When it cannot be used.
pub fn check(password: &[u8]) -> Result<Option<String>, MokPasswordError> {
    if !LENGTH.contains(&password.len()) {
        return Err(MokPasswordError::Length(password.len()));
    }
    if !password.iter().all(|b| (b' '..=b'~').contains(b)) {
        return Err(MokPasswordError::Characters);
    }
    // Which characters these are is not said: the message may be read by others, or logged.
    let mut layouts: Vec<&str> = password.iter().filter_map(|b| moved(char::from(*b))).collect();
    layouts.sort_unstable();
    layouts.dedup();
    if layouts.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "at the next boot the keyboard has the US layout, and some characters of this password are on other keys \
         there on these layouts: {}; the letters b c d e f g h i j k l n o p r s t u v x are the same on all",
        layouts.join("; ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_length_has_its_limits() {
        assert_eq!(check(b"1234567"), Err(MokPasswordError::Length(7)));
        assert!(check(&[b'b'; 8]).is_ok() && check(&[b'b'; 256]).is_ok());
        assert_eq!(check(&[b'b'; 257]), Err(MokPasswordError::Length(257)));
    }

    #[test]
    fn characters_that_no_us_keyboard_has_are_refused() {
        for bad in ["p\u{e4}sswort", "new\nline1", "nul\0bytes", "tab\ttab1", "key \u{1f511} key"] {
            assert_eq!(check(bad.as_bytes()), Err(MokPasswordError::Characters), "{bad:?}");
        }
    }

    #[test]
    fn characters_that_move_between_layouts_are_warned_of_without_naming_them() {
        assert_eq!(check(b"brief hello fox"), Ok(None));
        let german = check(b"bitter lazy").unwrap().unwrap();
        assert!(german.contains("QWERTZ"), "{german}");
        assert!(check(b"pin 2468 bee").unwrap().unwrap().contains("digits need Shift"));
        assert!(check(b"over-there").unwrap().unwrap().contains("most other than US"));
        assert!(!german.contains("lazy"));
    }

    proptest! {
        #[test]
        fn no_password_makes_it_panic_or_appears_in_what_is_said(password in "[ -~]{8,40}") {
            if let Ok(Some(said)) = check(password.as_bytes()) {
                prop_assert!(!said.contains(&password));
            }
        }
    }
}
