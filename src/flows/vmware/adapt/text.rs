// SPDX-License-Identifier: GPL-3.0-or-later
//! Looking into source texts: C without its comments, at the same places.

/// The text with comments blanked, every other byte where it was. Only C is changed; in makefiles and
/// everything else a `/*` is no comment.
pub fn without_comments(path: &str, text: &[u8]) -> Vec<u8> {
    if !(path.ends_with(".c") || path.ends_with(".h")) {
        return text.to_vec();
    }
    let mut out = text.to_vec();
    let mut i = 0;
    while i < text.len() {
        match (text[i], text.get(i + 1)) {
            (b'/', Some(b'*')) => {
                let end = find(text, i + 2, b"*/").map_or(text.len(), |e| e + 2);
                blank(&mut out[i..end]);
                i = end;
            }
            (b'/', Some(b'/')) => {
                let mut end = i;
                // A line that ends with a backslash goes on (C, translation phase 2).
                loop {
                    end = find(text, end, b"\n").unwrap_or(text.len());
                    if end < text.len() && text[..end].ends_with(b"\\") {
                        end += 1;
                    } else {
                        break;
                    }
                }
                blank(&mut out[i..end]);
                i = end;
            }
            (quote @ (b'"' | b'\''), _) => {
                i += 1;
                while i < text.len() && text[i] != quote && text[i] != b'\n' {
                    i += if text[i] == b'\\' { 2 } else { 1 };
                }
                i += 1;
            }
            _ => i += 1,
        }
    }
    out
}

fn find(text: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    text.get(from..)?.windows(what.len()).position(|w| w == what).map(|p| from + p)
}

fn blank(bytes: &mut [u8]) {
    for b in bytes.iter_mut().filter(|b| **b != b'\n') {
        *b = b' ';
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> String {
        String::from_utf8(without_comments("a.c", text.as_bytes())).unwrap()
    }

    #[test]
    fn comments_are_blanked_and_strings_are_not() {
        assert_eq!(plain("a /* b */ c"), "a         c");
        assert_eq!(plain("a // b\nc"), "a     \nc");
        assert_eq!(plain("\"/* b */\" '\\'' // x"), "\"/* b */\" '\\''     ");
        assert_eq!(plain("a /* b\nc */ d"), "a     \n     d");
        assert_eq!(plain("// a \\\nb\nc"), "      \n \nc");
        assert_eq!(plain("it's\n/* x */"), "it's\n       ");
        assert_eq!(without_comments("Makefile", b"a/*.c /* x"), b"a/*.c /* x");
    }

    proptest! {
        #[test]
        fn every_byte_stays_where_it_was(text in "[-/*\"'\\\\\na ]{0,60}") {
            let out = without_comments("a.h", text.as_bytes());
            prop_assert_eq!(out.len(), text.len());
            prop_assert!(out.iter().zip(text.bytes()).all(|(&o, t)| o == t || (o == b' ' && t != b'\n')));
        }
    }
}
