// SPDX-License-Identifier: GPL-3.0-or-later
//! A whole transfer: attempts until it is complete, then verified.

use super::digest::{CHUNK, read_chunk};
use super::http::{self, Answer, Asked, Net, without_secrets};
use super::place::Memo;
use super::{Digests, Expected, FetchError, Folder, Hashers, Part, Progress, Source, Verified};
use crate::host::Cancel;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// How often and how patiently to try again.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Attempts in a row that bring nothing.
    pub attempts: u32,
    /// How long to wait after the first; doubled each time.
    pub pause: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 6, pause: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// Largest file that is taken, in bytes.
const LIMIT: u64 = 8 << 30;
/// Attempts in all, whatever they brought.
const ATTEMPTS: u32 = 200;
/// How soon a cancellation is heard.
const HEARD: Duration = Duration::from_millis(100);
/// How often progress is told.
const TOLD: Duration = Duration::from_millis(100);

/// A complete file that has not got its name yet.
#[derive(Debug)]
pub struct Ready {
    /// The file.
    pub part: Part,
    /// Its checksums.
    pub digests: Digests,
    /// How well it was verified.
    pub verified: Verified,
    /// How many bytes crossed the network (or were copied) for it this time.
    pub transferred: u64,
}

/// Fetches a file into a part of `name` in `folder` and verifies it. A part that an earlier run left is gone
/// on with when it is of the same file.
///
/// # Errors
/// See [`FetchError`]. After a failure of the network the part is kept; one that is not the file is thrown
/// away.
#[allow(clippy::too_many_arguments, reason = "each is another thing, and all are needed")]
pub fn fetch(
    source: &Source,
    expected: &Expected,
    folder: &Folder,
    name: &str,
    net: &Net,
    retry: &Retry,
    cancel: &Cancel,
    told: &mut dyn FnMut(Progress),
) -> Result<Ready, FetchError> {
    let part = folder.part(name)?;
    let mut transfer =
        Transfer { expected, folder, cancel, told, last_told: None, attempt: 1, transferred: 0 };
    let (part, digests) = match source {
        Source::File(path) => transfer.copy(path, part)?,
        Source::Url(url) => transfer.download(url, part, net, retry)?,
    };
    let transferred = transfer.transferred;
    match expected.verify(&digests) {
        Ok(verified) => Ok(Ready { part, digests, verified, transferred }),
        Err(e) => {
            folder.discard(part)?;
            Err(e)
        }
    }
}

struct Transfer<'a> {
    expected: &'a Expected,
    folder: &'a Folder,
    cancel: &'a Cancel,
    told: &'a mut dyn FnMut(Progress),
    last_told: Option<Instant>,
    attempt: u32,
    transferred: u64,
}

impl Transfer<'_> {
    fn tell(&mut self, done: u64, total: Option<u64>, always: bool) {
        if always || self.last_told.is_none_or(|last| last.elapsed() >= TOLD) {
            self.last_told = Some(Instant::now());
            (self.told)(Progress { done, total, attempt: self.attempt });
        }
    }

    fn take(
        &mut self,
        part: &mut Part,
        hashers: &mut Hashers,
        done: &mut u64,
        total: Option<u64>,
        chunk: Vec<u8>,
    ) -> Result<(), FetchError> {
        let size = chunk.len() as u64;
        let limit = self.expected.size.or(total).unwrap_or(LIMIT).min(LIMIT);
        if *done + size > limit {
            return Err(match self.expected.size {
                Some(expected) => FetchError::Size { expected, found: *done + size },
                None => FetchError::TooLarge { what: "the file".to_owned(), limit },
            });
        }
        let chunk = Arc::new(chunk);
        hashers.update(&chunk);
        part.file.write_all(&chunk).map_err(FetchError::io(part.shown()))?;
        *done += size;
        self.transferred += size;
        self.tell(*done, total, false);
        Ok(())
    }

    fn copy(&mut self, path: &Path, mut part: Part) -> Result<(Part, Digests), FetchError> {
        let shown = path.display().to_string();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
            .map_err(|e| FetchError::io(&shown)(e.into()))?;
        let mut from = std::fs::File::from(fd);
        let meta = from.metadata().map_err(FetchError::io(&shown))?;
        if !meta.is_file() {
            return Err(FetchError::Folder {
                path: shown,
                why: "it is no regular file; give a file".to_owned(),
            });
        }
        part.restart()?;
        let (mut hashers, mut done) = (Hashers::default(), 0);
        loop {
            if self.cancel.is_cancelled() {
                self.folder.discard(part)?;
                return Err(FetchError::Cancelled);
            }
            let chunk = read_chunk(&mut from, CHUNK).map_err(FetchError::io(&shown))?;
            if chunk.is_empty() {
                break;
            }
            if let Err(e) = self.take(&mut part, &mut hashers, &mut done, Some(meta.len()), chunk) {
                self.folder.discard(part)?;
                return Err(e);
            }
        }
        self.tell(done, Some(done), true);
        Ok((part, finish(hashers)?))
    }

    fn download(
        &mut self,
        url: &str,
        mut part: Part,
        net: &Net,
        retry: &Retry,
    ) -> Result<(Part, Digests), FetchError> {
        let mut memo = self.folder.memo(&part);
        // Without anything that tells the same file from another one, only a checksum can say in the end
        // whether the halves belong together.
        let checked = self.expected.sha256.is_some() || self.expected.md5.is_some();
        let resumable = memo.url == url && (memo.validator.is_some() || checked);
        let (mut hashers, mut done);
        if resumable {
            hashers = part.hash()?;
            done = part.size()?;
        } else {
            part.restart()?;
            (hashers, done) = (Hashers::default(), 0);
            memo = Memo { url: url.to_owned(), ..Memo::default() };
        }
        let (mut barren, mut restarts) = (0, 0);
        loop {
            if self.cancel.is_cancelled() {
                return Err(FetchError::Cancelled);
            }
            let before = done;
            let (why, wait) = match http::ask(net, url, done, &memo)? {
                Asked::Again(why, wait) => (why, wait),
                Asked::NothingFrom(size) => {
                    let announced = memo.total;
                    if size == Some(done) && announced.is_none_or(|total| total == done) {
                        break;
                    }
                    // What is there is not of this file, or the server does not know its own.
                    restarts += 1;
                    if restarts > 2 {
                        let number =
                            |n: Option<u64>| n.map_or("an unknown number of".to_owned(), |n| n.to_string());
                        let why = format!(
                            "it announced {} bytes, and then that it has {}",
                            number(announced),
                            number(size)
                        );
                        self.folder.discard(part)?;
                        return Err(FetchError::Nonsense { url: without_secrets(url), why });
                    }
                    part.restart()?;
                    (hashers, done) = (Hashers::default(), 0);
                    (memo.validator, memo.total) = (None, None);
                    ("the file is another one now".to_owned(), Some(Duration::ZERO))
                }
                Asked::Answer(answer) => {
                    if answer.from == 0 && done > 0 {
                        part.restart()?;
                        (hashers, done) = (Hashers::default(), 0);
                    } else if done > 0
                        && let (Some(was), Some(is)) = (memo.total, answer.total)
                        && was != is
                    {
                        let why = format!("the file had {was} bytes and has {is} now");
                        self.folder.discard(part)?;
                        return Err(FetchError::Nonsense { url: without_secrets(url), why });
                    }
                    self.announced(url, &answer)?;
                    memo.total = answer.total;
                    memo.validator.clone_from(&answer.validator);
                    self.folder.set_memo(&part, &memo)?;
                    match self.receive(&answer, &mut part, &mut hashers, &mut done)? {
                        None => break,
                        Some(why) => (why, None),
                    }
                }
            };
            barren = if done > before { 0 } else { barren + 1 };
            if barren >= retry.attempts || self.attempt >= ATTEMPTS {
                return Err(FetchError::Network { url: without_secrets(url), why, attempts: self.attempt });
            }
            tracing::debug!(why, done, attempt = self.attempt, "the transfer is tried again");
            self.attempt += 1;
            let doubled = retry.pause.saturating_mul(1 << barren.min(16));
            self.pause(wait.unwrap_or(doubled).min(retry.longest))?;
        }
        self.tell(done, Some(done), true);
        Ok((part, finish(hashers)?))
    }

    /// What the server announces must be able to be the file, and fit onto the disk.
    fn announced(&self, url: &str, answer: &Answer) -> Result<(), FetchError> {
        let Some(total) = answer.total else { return Ok(()) };
        if let Some(expected) = self.expected.size
            && expected != total
        {
            return Err(FetchError::Size { expected, found: total });
        }
        if total > LIMIT {
            return Err(FetchError::TooLarge { what: without_secrets(url), limit: LIMIT });
        }
        Ok(())
    }

    /// Takes chunks until the server ends. `None`: complete; otherwise why not.
    fn receive(
        &mut self,
        answer: &Answer,
        part: &mut Part,
        hashers: &mut Hashers,
        done: &mut u64,
    ) -> Result<Option<String>, FetchError> {
        self.tell(*done, answer.total, true);
        loop {
            if self.cancel.is_cancelled() {
                return Err(FetchError::Cancelled);
            }
            match answer.chunks.recv_timeout(HEARD) {
                Ok(Ok(chunk)) => {
                    let chunk = Arc::try_unwrap(chunk).unwrap_or_else(|shared| shared.to_vec());
                    self.take(part, hashers, done, answer.total, chunk)?;
                }
                Ok(Err(e)) => return Ok(Some(e.to_string())),
                Err(RecvTimeoutError::Timeout) => self.tell(*done, answer.total, false),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        match answer.total {
            Some(total) if *done < total => {
                Ok(Some(format!("the connection ended at {done} of {total} bytes")))
            }
            _ => Ok(None),
        }
    }

    fn pause(&self, how_long: Duration) -> Result<(), FetchError> {
        let began = Instant::now();
        while began.elapsed() < how_long {
            if self.cancel.is_cancelled() {
                return Err(FetchError::Cancelled);
            }
            std::thread::sleep(HEARD.min(how_long.saturating_sub(began.elapsed())));
        }
        Ok(())
    }
}

fn finish(hashers: Hashers) -> Result<Digests, FetchError> {
    hashers.finish().ok_or_else(|| FetchError::Folder {
        path: "checksums".to_owned(),
        why: "a thread ended in an error of this program; please report it".to_owned(),
    })
}
