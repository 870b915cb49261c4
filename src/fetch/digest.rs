// SPDX-License-Identifier: GPL-3.0-or-later
//! SHA-256 and MD5 of what passes by, each in a thread of its own.

use md5::Md5;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// How many chunks may wait for a hash.
const WAITING: usize = 16;

/// Bytes of a chunk.
pub(super) const CHUNK: usize = 256 << 10;

/// Checksums of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Digests {
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// MD5, hexadecimal: only to compare with what others published.
    pub md5: String,
    /// Its size in bytes.
    pub size: u64,
}

struct Hasher {
    to: SyncSender<Arc<Vec<u8>>>,
    thread: JoinHandle<String>,
}

fn start<D: Digest + Send + 'static>() -> Hasher {
    let (to, from) = sync_channel::<Arc<Vec<u8>>>(WAITING);
    let thread = std::thread::spawn(move || {
        let mut hash = D::new();
        for chunk in from {
            hash.update(chunk.as_slice());
        }
        hex::encode(hash.finalize())
    });
    Hasher { to, thread }
}

/// Hashes chunks as they come.
pub struct Hashers {
    sha256: Hasher,
    md5: Hasher,
    size: u64,
}

impl std::fmt::Debug for Hashers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hashers").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Default for Hashers {
    fn default() -> Self {
        Self { sha256: start::<Sha256>(), md5: start::<Md5>(), size: 0 }
    }
}

impl Hashers {
    /// Takes the next chunk; waits when the hashes are far behind.
    pub fn update(&mut self, chunk: &Arc<Vec<u8>>) {
        self.size += chunk.len() as u64;
        for hasher in [&self.sha256, &self.md5] {
            // Only a thread that panicked hangs up, and `finish` tells that.
            let _ = hasher.to.send(Arc::clone(chunk));
        }
    }

    /// The checksums of all that passed; `None` when a thread ended in an error of this program.
    pub fn finish(self) -> Option<Digests> {
        drop((self.sha256.to, self.md5.to));
        let (sha256, md5) = (self.sha256.thread.join(), self.md5.thread.join());
        Some(Digests { sha256: sha256.ok()?, md5: md5.ok()?, size: self.size })
    }

    /// Takes all that a reader gives, up to `limit` bytes.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read(&mut self, from: &mut dyn Read, limit: u64) -> std::io::Result<u64> {
        let mut done = 0;
        while done < limit {
            let chunk = read_chunk(from, usize::try_from(limit - done).unwrap_or(CHUNK).min(CHUNK))?;
            if chunk.is_empty() {
                break;
            }
            done += chunk.len() as u64;
            self.update(&Arc::new(chunk));
        }
        Ok(done)
    }
}

/// Up to `size` bytes; fewer only at the end.
pub(super) fn read_chunk(from: &mut dyn Read, size: usize) -> std::io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(size);
    from.take(size as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // FIPS 180-2 B.1 and RFC 1321 A.5.
        let mut hashers = Hashers::default();
        hashers.read(&mut &b"abc"[..], u64::MAX).unwrap();
        let found = hashers.finish().unwrap();
        assert_eq!(found.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(found.md5, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(found.size, 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn how_the_chunks_are_cut_does_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..4096), cut in 1usize..700) {
            let mut whole = Hashers::default();
            whole.read(&mut bytes.as_slice(), u64::MAX).unwrap();
            let mut parts = Hashers::default();
            for part in bytes.chunks(cut) {
                parts.update(&Arc::new(part.to_vec()));
            }
            prop_assert_eq!(whole.finish(), parts.finish());
        }
    }
}
