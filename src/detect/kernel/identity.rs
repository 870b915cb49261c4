// SPDX-License-Identifier: GPL-3.0-or-later
//! Which build of a kernel its headers are of: the key of caches.

use crate::host::{HostError, Root};
use sha2::{Digest, Sha256};

/// Why the identity of a kernel's headers could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file that every header tree has cannot be read.
    #[error("the identity of the headers cannot be told: {0}; install the kernel's headers again")]
    Unreadable(#[from] HostError),
}

/// What makes one build of a kernel differ from another with the same release: its configuration, the
/// compiler, the symbols with their versions. The content counts, never times or sizes alone.
const FILES: &[(&str, bool)] = &[
    ("include/generated/utsrelease.h", true),
    ("include/generated/autoconf.h", true),
    ("Module.symvers", true),
    ("include/config/auto.conf", true),
    ("include/generated/compile.h", false),
    ("include/generated/utsversion.h", false),
    ("include/generated/package.h", false),
    ("include/generated/uapi/linux/version.h", false),
    ("include/generated/asm-offsets.h", false),
    (".kernelvariables", false),
    ("Makefile", false),
];

/// SHA-256 over the files of `build_dir` that tell one build of a kernel from another, hexadecimal. Reads
/// some 2 MiB, so it is not part of gathering; call it where a cache key is needed.
///
/// # Errors
/// When the tree lacks a file that every usable one has.
pub fn build_id(root: &Root, build_dir: &str) -> Result<String, IdentityError> {
    let mut hasher = Sha256::new();
    for (file, required) in FILES {
        let content = match root.read_at_most(&format!("{build_dir}/{file}"), 64 << 20) {
            Ok(content) => content,
            Err(e) if e.is_not_found() && !required => continue,
            Err(e) => return Err(e.into()),
        };
        hasher.update(file.as_bytes());
        hasher.update([0]);
        hasher.update((content.len() as u64).to_le_bytes());
        hasher.update(&content);
    }
    Ok(hex::encode(hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_symbol_version_is_another_build() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.create_dirs("/b/include/generated", 0o755).unwrap();
        root.create_dirs("/b/include/config", 0o755).unwrap();
        for (file, required) in FILES {
            if *required {
                root.write(&format!("/b/{file}"), b"same", 0o644, None).unwrap();
            }
        }
        let first = build_id(&root, "/b").unwrap();
        assert_eq!(build_id(&root, "/b").unwrap(), first);
        root.write("/b/Module.symvers", b"Same", 0o644, None).unwrap();
        assert_ne!(build_id(&root, "/b").unwrap(), first);
        root.remove_file("/b/Module.symvers").unwrap();
        let error = build_id(&root, "/b").unwrap_err().to_string();
        assert!(error.contains("Module.symvers") && error.contains("install"), "{error}");
    }
}
