// SPDX-License-Identifier: GPL-3.0-or-later
//! Hands files over: those that fit the patterns, in one cpio archive.

use super::newc::Archive;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Files of `/proc` and `/sys` have no size; this much of one is read.
const UNSIZED: u64 = 16 << 20;

/// Folders below folders, at most.
const DEPTH: usize = 32;

/// Writes all that fits one of `patterns` below `root` to `out`, a folder with all that is in it; returns the
/// number of bytes. What cannot be read is left out, and named in the file `could-not-collect` of the archive, as is
/// a pattern that nothing fits.
///
/// # Errors
/// When `out` takes no more.
pub fn hand_over(out: impl Write, root: &str, patterns: &[String]) -> io::Result<u64> {
    let mut found = BTreeSet::new();
    let mut missed = String::new();
    for pattern in patterns {
        let paths = matching(Path::new(root), pattern);
        if paths.is_empty() {
            missed.push_str(&format!("{pattern}: {}\n", why_none(Path::new(root), pattern)));
        }
        for path in paths {
            below(&path, DEPTH, &mut found, &mut missed);
        }
    }
    let mut archive = Archive::new(Counting { out, count: 0 });
    let mut folders = BTreeSet::new();
    for path in &found {
        let name = path.strip_prefix(root).unwrap_or(path);
        let mut above: Vec<&Path> = name.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).collect();
        above.reverse();
        for folder in above {
            if folders.insert(folder.to_owned()) {
                archive.folder(folder.as_os_str().as_bytes(), 0o755)?;
            }
        }
        match readable(path) {
            Ok((meta, file)) => one(&mut archive, name, &meta, file)?,
            Err(e) => missed.push_str(&format!("{}: {e}\n", path.display())),
        }
    }
    if !missed.is_empty() {
        archive.file(b"could-not-collect", 0o644, missed.as_bytes())?;
    }
    Ok(archive.finish()?.count)
}

fn readable(path: &Path) -> io::Result<(std::fs::Metadata, File)> {
    let file = File::open(path)?;
    Ok((file.metadata()?, file))
}

fn one<W: Write>(
    archive: &mut Archive<W>,
    name: &Path,
    meta: &std::fs::Metadata,
    mut file: File,
) -> io::Result<()> {
    let name = name.as_os_str().as_bytes();
    let mode = meta.permissions().mode() & 0o777;
    if meta.size() == 0 {
        let mut content = Vec::new();
        // What cannot be read to its end is handed over as far as it goes.
        let _ = file.take(UNSIZED).read_to_end(&mut content);
        return archive.file(name, mode, &content);
    }
    archive.file_head(name, mode, u32::try_from(meta.mtime()).unwrap_or(0), meta.size())?;
    let mut left = meta.size();
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = match file.read(&mut buffer[..most]) {
            Ok(count @ 1..) => count,
            // It became shorter meanwhile: the size is already said.
            _ => {
                buffer[..most].fill(0);
                most
            }
        };
        archive.bytes(&buffer[..count])?;
        left -= count as u64;
    }
    archive.pad()
}

/// All files at or below `path`; links are not followed, and neither pipes nor devices are read.
fn below(path: &Path, depth: usize, found: &mut BTreeSet<PathBuf>, missed: &mut String) {
    let mut look = || -> io::Result<()> {
        let meta = path.symlink_metadata()?;
        if meta.is_dir() && depth > 0 {
            for entry in std::fs::read_dir(path)? {
                match entry {
                    Ok(entry) => below(&entry.path(), depth - 1, found, missed),
                    Err(e) => missed.push_str(&format!("in {}: {e}\n", path.display())),
                }
            }
        } else if meta.is_file() {
            found.insert(path.to_owned());
        }
        Ok(())
    };
    if let Err(e) = look() {
        missed.push_str(&format!("{}: {e}\n", path.display()));
    }
}

/// The names that a pattern is made of; nothing leads up.
fn parts(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').filter(|p| !p.is_empty() && *p != "." && *p != "..")
}

/// Why nothing fits a pattern: the first folder on its way that cannot be read, or that it just is so.
fn why_none(root: &Path, pattern: &str) -> String {
    let mut path = root.to_owned();
    for part in parts(pattern) {
        if part.contains(['*', '?']) {
            return match std::fs::read_dir(&path) {
                Ok(_) => "nothing fits it".to_owned(),
                Err(e) => format!("{}: {e}", path.display()),
            };
        }
        path.push(part);
        if let Err(e) = path.metadata() {
            return format!("{}: {e}", path.display());
        }
    }
    "nothing fits it".to_owned()
}

/// The paths below `root` that fit a pattern: `*` and `?` stand for anything but `/`. A path that was named
/// without them may end in a link.
pub fn matching(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut paths = vec![root.to_owned()];
    for part in parts(pattern) {
        let mut next = Vec::new();
        for path in paths {
            if part.contains(['*', '?']) {
                let mut names: Vec<_> =
                    std::fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
                names.sort();
                let hidden = part.starts_with('.');
                names.retain(|n| {
                    fits(part.as_bytes(), n.as_bytes()) && (hidden || !n.as_bytes().starts_with(b"."))
                });
                next.extend(names.into_iter().map(|n| path.join(n)));
            } else if path.join(part).exists() {
                next.push(path.join(part));
            }
        }
        paths = next;
    }
    paths.into_iter().map(|p| if p.is_symlink() { p.canonicalize().unwrap_or(p) } else { p }).collect()
}

/// Whether a name fits a pattern. Takes time in proportion to the product of both lengths at most.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    n = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

struct Counting<W> {
    out: W,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_fits_is_handed_over_and_what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        std::fs::create_dir_all(dir.path().join("var/log/archinstall/deep")).unwrap();
        let write = |name: &str| std::fs::write(dir.path().join(name), name).unwrap();
        ["var/log/archinstall/a.log", "var/log/archinstall/deep/b", "var/log/other.txt", "var/log/x1.log"]
            .into_iter()
            .for_each(write);
        std::os::unix::fs::symlink("/etc", dir.path().join("var/log/archinstall/etc")).unwrap();
        let mut out = Vec::new();
        let patterns = ["/var/log/archinstall".to_owned(), "/var/log/*.log".to_owned(), "/none".to_owned()];
        let count = hand_over(&mut out, root, &patterns).unwrap();
        assert_eq!(count, out.len() as u64);
        let text = String::from_utf8_lossy(&out);
        for name in ["var/log/archinstall/a.log", "var/log/archinstall/deep/b", "var/log/x1.log"] {
            assert!(text.contains(name), "{name}");
        }
        assert!(text.contains("could-not-collect"), "{text}");
        assert!(text.contains(&format!("/none: {root}/none: No such file")), "{text}");
        assert!(!text.contains("other.txt") && !text.contains("/etc"));
    }

    #[test]
    fn a_pattern_that_nothing_fits_is_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("log")).unwrap();
        assert_eq!(why_none(dir.path(), "/log/*.txt"), "nothing fits it");
        let why = why_none(dir.path(), "/logs/*.txt");
        assert!(why.ends_with("/logs: No such file or directory (os error 2)"), "{why}");
    }

    #[test]
    fn a_pattern_stays_within_one_folder() {
        assert!(fits(b"*.log", b"a.log") && fits(b"a?c*", b"abc") && fits(b"*a*b*", b"xxaxxbxx"));
        assert!(!fits(b"*.log", b"a.txt") && !fits(b"?", b"") && !fits(b"a", b"ab"));
    }

    proptest! {
        #[test]
        fn a_star_fits_everything(name in proptest::collection::vec(any::<u8>(), 0..20)) {
            prop_assert!(fits(b"*", &name));
            prop_assert!(fits(&name, &name) || name.iter().any(|b| b"*?".contains(b)));
        }
    }
}
