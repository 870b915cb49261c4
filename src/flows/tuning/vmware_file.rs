// SPDX-License-Identifier: GPL-3.0-or-later
//! VMware's configuration files (`/etc/vmware/config`, `~/.vmware/config`, a guest's `.vmx`): lines `name = "value"`,
//! read and edited so that every other byte, the order and the kind of line ends stay as they are. Pure.
//!
//! Names are without regard to case. Text may be in any encoding (`.encoding` says which): only names and values that
//! are plain ASCII are ever written.

/// Why a file is not edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A name stands in it twice: which of them counts differs between VMware's programs.
    #[error("`{key}` is set in line {first} and in line {second}, so that nothing tells which counts")]
    Twice {
        /// The name.
        key: String,
        /// One line, from 1.
        first: usize,
        /// The other.
        second: usize,
    },
    /// A quote stays open.
    #[error("line {line}: the quote after the name `{key}` is not closed")]
    OpenQuote {
        /// The name.
        key: String,
        /// The line, from 1.
        line: usize,
    },
    /// There are zero bytes in it: it is no text.
    #[error("it is no text file")]
    NotText,
    /// What should be written is none of a name and a plain value.
    #[error("`{0}` cannot be written into such a file")]
    NotPlain(String),
}

/// A file, as its lines with their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    lines: Vec<Vec<u8>>,
}

/// The name and the rest behind `=` of a line; none for comments and everything that is no setting.
fn parts(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii();
    if line.starts_with(b"#") {
        return None;
    }
    let at = line.iter().position(|b| *b == b'=')?;
    let key = line[..at].trim_ascii();
    (!key.is_empty()).then(|| (key, line[at + 1..].trim_ascii()))
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

impl ConfigFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is no text.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.contains(&0) {
            return Err(ConfigError::NotText);
        }
        Ok(Self { lines: bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect() })
    }

    /// The whole file.
    pub fn bytes(&self) -> Vec<u8> {
        self.lines.concat()
    }

    /// In which line a name is set.
    fn line(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        let mut found = None;
        for (n, line) in self.lines.iter().enumerate() {
            let Some((name, _)) = parts(line) else { continue };
            if !name.eq_ignore_ascii_case(key.as_bytes()) {
                continue;
            }
            if let Some(first) = found {
                return Err(ConfigError::Twice { key: key.to_owned(), first: first + 1, second: n + 1 });
            }
            found = Some(n);
        }
        Ok(found)
    }

    /// The value of a name.
    ///
    /// # Errors
    /// When it is set twice, or its quote is not closed.
    pub fn get(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let Some(n) = self.line(key)? else { return Ok(None) };
        let Some((_, value)) = parts(&self.lines[n]) else { return Ok(None) };
        let value = match value.strip_prefix(b"\"") {
            None => value,
            Some(rest) => {
                let end = rest.iter().position(|b| *b == b'"');
                let end = end.ok_or_else(|| ConfigError::OpenQuote { key: key.to_owned(), line: n + 1 })?;
                &rest[..end]
            }
        };
        Ok(Some(String::from_utf8_lossy(value).into_owned()))
    }

    /// Sets a name: in its line where it has one, else in a new last line.
    ///
    /// # Errors
    /// When it is set twice, its quote is not closed, or name or value are not plain.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        for text in [key, value] {
            if !is_plain(text) {
                return Err(ConfigError::NotPlain(text.escape_debug().to_string()));
            }
        }
        if self.get(key)?.is_some_and(|now| now.eq_ignore_ascii_case(value)) {
            return Ok(());
        }
        let ending: &[u8] = match self.lines.first() {
            Some(line) if line.ends_with(b"\r\n") => b"\r\n",
            _ => b"\n",
        };
        if let Some(n) = self.line(key)? {
            let line = &self.lines[n];
            let own: &[u8] = if line.ends_with(b"\r\n") {
                b"\r\n"
            } else if line.ends_with(b"\n") {
                b"\n"
            } else {
                b""
            };
            // The name as it is written there, and what stands before it.
            let at = line.iter().position(|b| *b == b'=').unwrap_or(0);
            let head = line[..at].trim_ascii_end().to_vec();
            self.lines[n] = [&head, format!(" = \"{value}\"").as_bytes(), own].concat();
            return Ok(());
        }
        if let Some(last) = self.lines.last_mut().filter(|l| !l.ends_with(b"\n")) {
            last.extend_from_slice(ending);
        }
        self.lines.push([format!("{key} = \"{value}\"").as_bytes(), ending].concat());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(text: &str, key: &str, value: &str) -> String {
        let mut file = ConfigFile::parse(text.as_bytes()).unwrap();
        file.set(key, value).unwrap();
        String::from_utf8(file.bytes()).unwrap()
    }

    #[test]
    fn only_the_line_of_the_setting_changes() {
        let text =
            "# mine\n.encoding = \"UTF-8\"\nlibdir = \"/usr/lib/vmware\"\n\tMemTrimRate=30\nodd line\n";
        assert_eq!(
            after(text, "memtrimrate", "0"),
            "# mine\n.encoding = \"UTF-8\"\nlibdir = \"/usr/lib/vmware\"\n\tMemTrimRate = \"0\"\nodd line\n"
        );
        assert_eq!(after(text, "x.y", "TRUE"), format!("{text}x.y = \"TRUE\"\n"));
        assert_eq!(after("a = \"1\"", "b", "2"), "a = \"1\"\nb = \"2\"\n", "the last line had no end");
        assert_eq!(after("a = \"1\"\r\n", "b", "2"), "a = \"1\"\r\nb = \"2\"\r\n");
        assert_eq!(after("", "b", "2"), "b = \"2\"\n");
        assert_eq!(after("# a = \"1\"\n", "a", "2"), "# a = \"1\"\na = \"2\"\n", "a comment sets nothing");
        assert_eq!(after("a = \"true\"\n", "a", "TRUE"), "a = \"true\"\n", "it is so already");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        let file = ConfigFile::parse(b"a = \"1\"\nB = \"x\nA = \"2\"\n").unwrap();
        assert_eq!(
            file.get("a").unwrap_err().to_string(),
            "`a` is set in line 1 and in line 3, so that nothing tells which counts"
        );
        assert!(file.get("b").unwrap_err().to_string().contains("line 2"));
        assert_eq!(ConfigFile::parse(b"a\0b"), Err(ConfigError::NotText));
        for (key, value) in
            [("a", "x\"\nb = \"y"), ("a\n", "1"), ("", "1"), ("a", ""), ("a b", "1"), ("a", "é")]
        {
            assert!(file.clone().set(key, value).is_err(), "{key:?} {value:?}");
        }
    }

    #[test]
    fn text_in_another_encoding_stays() {
        let mut file = ConfigFile::parse(b"displayName = \"B\xfcro\"\r\n").unwrap();
        file.set("MemTrimRate", "0").unwrap();
        assert_eq!(file.bytes(), b"displayName = \"B\xfcro\"\r\nMemTrimRate = \"0\"\r\n");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_is_set_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let Ok(mut file) = ConfigFile::parse(&bytes) else { return Ok(()) };
            prop_assert_eq!(file.bytes(), bytes);
            if file.set("mainMem.useNamedFile", "FALSE").is_ok() {
                prop_assert_eq!(file.get("mainmem.usenamedfile").unwrap().unwrap().to_uppercase(), "FALSE");
            }
        }

        #[test]
        fn lines_of_others_stay_in_their_order(lines in proptest::collection::vec("[a-z#=\" ]{0,12}", 0..8)) {
            let text: String = lines.iter().map(|l| format!("{l}\n")).collect();
            let mut file = ConfigFile::parse(text.as_bytes()).unwrap();
            if file.set("X.y", "1").is_ok() {
                let now = String::from_utf8(file.bytes()).unwrap();
                prop_assert!(now.starts_with(&text));
            }
        }
    }
}
