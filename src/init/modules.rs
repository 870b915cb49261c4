// SPDX-License-Identifier: GPL-3.0-or-later
//! Inserts modules of the initramfs.

use super::protocol::{MODULES, unescape};
use super::{Failure, sys};
use std::fs::File;

/// One module of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    group: String,
    must: bool,
    path: String,
    done: bool,
}

/// The modules that are there, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List(Vec<Entry>);

impl List {
    /// Reads the list of the initramfs; without one there are none.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read() -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(MODULES) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(Failure::at("modules", MODULES))?,
        };
        Self::parse(&text)
            .ok_or_else(|| Failure { stage: "modules", reason: format!("{MODULES} is damaged") })
    }

    fn parse(text: &str) -> Option<Self> {
        let entry = |line: &str| {
            let mut words = line.split(' ');
            let group = words.next()?.to_owned();
            let must = match words.next()? {
                "must" => true,
                "may" => false,
                _ => return None,
            };
            let path = String::from_utf8(unescape(words.next()?)?).ok()?;
            words.next().is_none().then_some(Entry { group, must, path, done: false })
        };
        text.lines().map(entry).collect::<Option<_>>().map(Self)
    }

    /// Inserts all of a group.
    ///
    /// # Errors
    /// When the kernel refuses one that must be there.
    pub fn insert(&mut self, group: &str) -> Result<(), Failure> {
        for entry in self.0.iter_mut().filter(|e| e.group == group && !e.done) {
            entry.done = true;
            match insert(&entry.path, "modules") {
                Err(failure) if entry.must => return Err(failure),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Inserts modules of the caller.
///
/// # Errors
/// When the kernel refuses one.
pub fn insert_given(paths: &[String]) -> Result<(), Failure> {
    paths.iter().try_for_each(|path| insert(path, "insert"))
}

fn insert(path: &str, stage: &'static str) -> Result<(), Failure> {
    let file = File::open(path).map_err(Failure::at(stage, format_args!("could not open {path}")))?;
    match sys::insert_module(&file, "") {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Failure { stage, reason: format!("the kernel refused {path}: {e}{}", hint(&e)) })
        }
        _ => Ok(()),
    }
}

fn hint(e: &std::io::Error) -> &'static str {
    match e.raw_os_error() {
        Some(8) => " (it is of another kernel)",
        Some(2) => " (it uses a symbol that nothing here has)",
        Some(126 | 129) => " (its signature is missing or of a key that this kernel does not know)",
        Some(19) => " (its device is not there)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_is_read_and_a_damaged_one_is_told_apart() {
        let list = List::parse("always must /m/a.ko\next4 may /m/b%20c.ko\n").unwrap();
        assert_eq!(list.0[1].path, "/m/b c.ko");
        assert!(list.0[0].must && !list.0[1].must && list.0[1].group == "ext4");
        assert_eq!(List::parse("always /m/a.ko\n"), None);
        assert_eq!(List::parse("always must /m/a.ko more\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*") {
            List::parse(&text);
        }
    }
}
