// SPDX-License-Identifier: GPL-3.0-or-later
//! What is mounted, as the kernel says it: `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number.
    pub id: u32,
    /// The number of the mount it is on.
    pub parent: u32,
    /// Major and minor number of its device, "0:31".
    pub device: String,
    /// What of its file system is seen.
    pub root: PathBuf,
    /// Where it is.
    pub point: PathBuf,
    /// Its file system type.
    pub kind: String,
    /// What it was made from.
    pub source: PathBuf,
    /// Whether changes of it are seen in other namespaces.
    pub shared: bool,
}

impl Mount {
    /// Whether it is `folder` or below it.
    pub fn is_in(&self, folder: &Path) -> bool {
        self.point.starts_with(folder)
    }
}

/// All mounts, in the order in which the kernel lists them. A line that is none is left out: the kernel
/// writes none, and a caller who must be sure asks the kernel again by `RESOLVE_NO_XDEV`.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    // Optional fields end with a single hyphen.
    let end = words.iter().position(|w| *w == b"-")?;
    let text = |at: usize| words.get(at).and_then(|w| std::str::from_utf8(w).ok());
    if end < 6 {
        return None;
    }
    Some(Mount {
        id: text(0)?.parse().ok()?,
        parent: text(1)?.parse().ok()?,
        device: text(2)?.to_owned(),
        root: path(words.get(3)?),
        point: path(words.get(4)?),
        kind: text(end + 1)?.to_owned(),
        source: path(words.get(end + 2)?),
        shared: words[6..end].iter().any(|w| w.starts_with(b"shared:")),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn path(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, after)) = rest.split_first() {
        let octal = |b: u8| (b'0'..=b'7').contains(&b).then(|| u32::from(b - b'0'));
        let escaped = match (first, after) {
            (b'\\', [a, b, c, ..]) => octal(*a)
                .zip(octal(*b))
                .zip(octal(*c))
                .and_then(|((a, b), c)| u8::try_from(a * 64 + b * 8 + c).ok()),
            _ => None,
        };
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REAL: &str = "\
22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
97 27 0:5 / /home/me/a\\040b/root/dev rw,nosuid,relatime - devtmpfs udev rw,size=1k
98 27 7:0 /sub /mnt/\\134x rw master:2 propagate_from:3 - squashfs /dev/loop0 ro
";

    #[test]
    fn real_lines_are_read_with_their_escapes() {
        let mounts = parse(REAL.as_bytes());
        assert_eq!(mounts.len(), 4);
        assert!(mounts[0].shared && !mounts[2].shared && !mounts[3].shared);
        assert_eq!(mounts[2].point, Path::new("/home/me/a b/root/dev"));
        assert_eq!(mounts[2].device, "0:5");
        assert_eq!(mounts[3].point, Path::new("/mnt/\\x"));
        assert_eq!((mounts[3].root.as_path(), mounts[3].kind.as_str()), (Path::new("/sub"), "squashfs"));
        assert!(mounts[2].is_in(Path::new("/home/me/a b/root")));
        // A name that only begins the same is another folder.
        assert!(!mounts[2].is_in(Path::new("/home/me/a")));
    }

    #[test]
    fn this_machine_has_a_root() {
        let mounts = parse(&std::fs::read("/proc/self/mountinfo").unwrap());
        assert!(mounts.iter().any(|m| m.point == Path::new("/")));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&text);
        }

        #[test]
        fn an_escaped_point_is_read_back(name in "[ -~\t]{1,20}") {
            let escaped: String = name.chars().map(|c| match c {
                ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", u32::from(c)),
                c => c.to_string(),
            }).collect();
            let mounts = parse(format!("1 0 0:1 / /{escaped} rw - tmpfs none rw").as_bytes());
            prop_assert_eq!(&mounts[0].point, &PathBuf::from(format!("/{name}")));
        }
    }
}
