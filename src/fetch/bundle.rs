// SPDX-License-Identifier: GPL-3.0-or-later
//! Zip bundles: one file is wanted of them, and its name is the only thing of the archive's that is believed.

use super::digest::{CHUNK, read_chunk};
use super::{Digests, FetchError, Folder, Hashers, Part, is_plain_name};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

/// Largest file that is taken out, in bytes.
const LIMIT: u64 = 4 << 30;
/// How many entries a bundle may have.
const ENTRIES: usize = 10_000;

/// Why nothing was taken out.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is no zip archive, or damaged.
    #[error("the bundle cannot be read ({0}); get it again from its source")]
    Zip(#[from] zip::result::ZipError),
    /// What is wanted is not in it.
    #[error("the bundle holds no {wanted}; it holds {there}")]
    Missing {
        /// What is wanted.
        wanted: String,
        /// What is there of that kind.
        there: String,
    },
    /// It is there more than once.
    #[error("the bundle holds {0} more than once; take it out by hand and give the file")]
    Twice(String),
    /// An entry that no honest bundle has.
    #[error("{name} in the bundle {why}; do not use this bundle")]
    Hostile {
        /// Its name, as far as it can be shown.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Writing it failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// A file that was taken out.
#[derive(Debug)]
pub struct Bundled {
    /// The file, complete and without its name yet.
    pub part: Part,
    /// Its checksums.
    pub digests: Digests,
}

/// Whether a file begins as a zip archive does.
///
/// # Errors
/// When it cannot be read.
pub fn is_zip(file: &mut File) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut head = [0u8; 4];
    let read = file.take(4).read(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(read == 4 && matches!(&head, b"PK\x03\x04" | b"PK\x05\x06"))
}

/// The last component of an entry's name, when it is a plain one.
fn base_name(name: &str) -> Option<&str> {
    let base = name.rsplit(['/', '\\']).next()?;
    is_plain_name(base).then_some(base)
}

/// Takes the file called `wanted`, in whatever folder of the archive it lies, out into a part of `folder`.
///
/// # Errors
/// See [`BundleError`].
pub fn extract(file: File, wanted: &str, folder: &Folder) -> Result<Bundled, BundleError> {
    let mut archive = zip::ZipArchive::new(file)?;
    if archive.len() > ENTRIES {
        return Err(BundleError::Hostile { name: "the list".to_owned(), why: "has too many entries" });
    }
    let mut found = None;
    let mut others = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        let Some(base) = entry.name().ok().and_then(|name| base_name(&name).map(str::to_owned)) else {
            continue;
        };
        if entry.is_dir() {
            continue;
        }
        if base == wanted {
            if entry.is_symlink() {
                return Err(BundleError::Hostile { name: base, why: "is a link" });
            }
            if entry.encrypted() {
                return Err(BundleError::Hostile { name: base, why: "is encrypted" });
            }
            if found.replace(index).is_some() {
                return Err(BundleError::Twice(base));
            }
        } else if base.ends_with(".run") || base.ends_with(".zip") {
            others.push(base);
        }
    }
    let Some(index) = found else {
        others.truncate(20);
        let there = if others.is_empty() { "no driver at all".to_owned() } else { others.join(", ") };
        return Err(BundleError::Missing { wanted: wanted.to_owned(), there });
    };
    let mut part = folder.part(wanted)?;
    match unpack(&mut archive, index, &mut part) {
        Ok(digests) => Ok(Bundled { part, digests }),
        Err(e) => {
            folder.discard(part)?;
            Err(e)
        }
    }
}

fn unpack(
    archive: &mut zip::ZipArchive<File>,
    index: usize,
    part: &mut Part,
) -> Result<Digests, BundleError> {
    part.restart()?;
    let mut entry = archive.by_index(index)?;
    let announced = entry.size();
    if announced > LIMIT {
        return Err(BundleError::Hostile { name: "the driver".to_owned(), why: "is larger than 4 GiB" });
    }
    let shown = part.shown().to_owned();
    let (mut hashers, mut done) = (Hashers::default(), 0u64);
    loop {
        let chunk = read_chunk(&mut entry, CHUNK).map_err(|e| BundleError::Zip(e.into()))?;
        if chunk.is_empty() {
            break;
        }
        done += chunk.len() as u64;
        if done > announced {
            return Err(BundleError::Hostile {
                name: "the driver".to_owned(),
                why: "is larger than it says",
            });
        }
        let chunk = Arc::new(chunk);
        hashers.update(&chunk);
        part.file.write_all(&chunk).map_err(FetchError::io(&shown))?;
    }
    hashers.finish().ok_or_else(|| {
        let why = "a thread ended in an error of this program; please report it".to_owned();
        FetchError::Folder { path: shown, why }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zip::write::SimpleFileOptions;

    fn bundle(entries: &[(&str, &[u8])]) -> File {
        let mut writer = zip::ZipWriter::new(tempfile::tempfile().unwrap());
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        for (name, content) in entries {
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn the_host_driver_is_found_in_whatever_folder_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let content = vec![7u8; 900_000];
        let mut file = bundle(&[
            ("Guest_Drivers/NVIDIA-Linux-x86_64-595.71.05-grid.run", b"guest"),
            ("Host_Drivers/a.run", &content),
            ("notes.pdf", b"x"),
        ]);
        assert!(is_zip(&mut file).unwrap());
        let taken = extract(file, "a.run", &folder).unwrap();
        assert_eq!(taken.digests.size, 900_000);
        folder.keep(taken.part, "a.run").unwrap();
        assert_eq!(std::fs::read(dir.path().join("a.run")).unwrap(), content);
    }

    #[test]
    fn names_that_lead_out_of_the_folder_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("in");
        let folder = Folder::open(&inner).unwrap();
        let file = bundle(&[("../../a.run", b"1"), ("/etc/b.run", b"2"), ("x\\..\\..\\c.run", b"3")]);
        for name in ["a.run", "b.run", "c.run"] {
            let taken = extract(file.try_clone().unwrap(), name, &folder).unwrap();
            folder.keep(taken.part, name).unwrap();
            assert!(inner.join(name).is_file());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let error = extract(file, "../a.run", &folder).unwrap_err();
        assert!(matches!(error, BundleError::Missing { .. }), "{error}");
    }

    #[test]
    fn a_bundle_without_the_driver_says_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let file = bundle(&[("other.run", b"x")]);
        let error = extract(file, "a.run", &folder).unwrap_err().to_string();
        assert!(error.contains("other.run"), "{error}");
        let twice = bundle(&[("x/a.run", b"1"), ("y/a.run", b"2")]);
        assert!(matches!(extract(twice, "a.run", &folder), Err(BundleError::Twice(_))));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn a_damaged_bundle_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let mut file = bundle(&[("a.run", &[9u8; 400_000])]);
        // In the compressed bytes, after the local header.
        file.seek(SeekFrom::Start(60)).unwrap();
        file.write_all(&[0xff; 16]).unwrap();
        assert!(extract(file, "a.run", &folder).is_err());
        let mut short = tempfile::tempfile().unwrap();
        short.write_all(b"PK\x03\x04 and no more").unwrap();
        assert!(is_zip(&mut short).unwrap());
        assert!(extract(short, "a.run", &folder).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
