// SPDX-License-Identifier: GPL-3.0-or-later
//! Is a call well-formed? Pure checks of what a stranger sent, before anything is done with it.
//!
//! Everything has a size. What is checked is what is used: documents are parsed once, sealed files are
//! read once ([`read_sealed`]).

use crate::engine::{Inputs, Secret};
use crate::ipc::{Error, IMAGE_PREFIX, LARGE_PREFIX, MOK_PASSWORD, SOURCE_PREFIX, read_sealed, take_sealed};
use rustix::fs::{FileType, OFlags};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

/// The largest document of choices, in bytes. The largest real one is a few kilobytes.
pub const MAX_CHOICES: usize = 64 << 10;
/// How deep a document of choices may be nested.
pub const MAX_DEPTH: usize = 16;
/// The longest name of a flow, in bytes.
pub const MAX_FLOW: usize = 32;
/// How many sealed files may come with a call.
pub const MAX_FILES: usize = 8;
/// How much all sealed archives of a call may hold, in bytes. VMware's own hold 1 to 3 MB.
pub const MAX_SOURCES: u64 = 64 << 20;
/// How large one sealed file may be that is not read into memory, in bytes. NVIDIA's drivers have 50 to 400 MB.
pub const MAX_LARGE: u64 = 2 << 30;
/// The longest password for enrolling a key, in bytes; shim takes 256 characters (mokutil(1)).
pub const MAX_PASSWORD: u64 = 256;

fn bad(what: impl std::fmt::Display, remedy: &str) -> Error {
    Error::BadArgument(format!("{what}; {remedy}"))
}

/// The name of a flow: lower-case letters, digits and dashes, beginning with a letter. Whether there is
/// such a flow is for the flows to say.
///
/// # Errors
/// [`Error::BadArgument`].
pub fn flow(name: &str) -> Result<&str, Error> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if first && rest && name.len() <= MAX_FLOW {
        return Ok(name);
    }
    let shown: String = name.chars().take(MAX_FLOW).collect();
    Err(bad(format!("{shown:?} cannot be the name of a flow"), "give one like `vmware`"))
}

/// A document of choices.
///
/// # Errors
/// [`Error::BadArgument`] when it is too large, no JSON object, or nested too deep.
pub fn choices(json: &str) -> Result<Value, Error> {
    let remedy = "give the choices as `hostwright plan --json` shows them";
    if json.len() > MAX_CHOICES {
        let what = format!("the choices hold {} bytes, {MAX_CHOICES} are accepted", json.len());
        return Err(bad(what, remedy));
    }
    // serde_json itself stops at 128 levels, so that neither the parser nor `depth` can run out of stack.
    let value: Value = serde_json::from_str(json)
        .map_err(|e| bad(format!("the choices are no JSON document ({e})"), remedy))?;
    if !value.is_object() {
        return Err(bad("the choices are no JSON object", remedy));
    }
    if depth(&value) > MAX_DEPTH {
        return Err(bad(format!("the choices are nested deeper than {MAX_DEPTH} levels"), remedy));
    }
    Ok(value)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The digest of a plan: a SHA-256 in lower-case hexadecimal.
///
/// # Errors
/// [`Error::BadArgument`].
pub fn digest(text: &str) -> Result<&str, Error> {
    if is_sha256(text) {
        return Ok(text);
    }
    Err(bad("the digest is not 64 hexadecimal digits", "make a plan and give its digest"))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The names of the files that come with a call, looked at before any byte of them is read.
///
/// # Errors
/// [`Error::BadArgument`] for too many, or a name that is none of ours.
pub fn names<T>(files: &HashMap<String, T>) -> Result<(), Error> {
    if files.len() > MAX_FILES {
        let what = format!("{} files came with the call, {MAX_FILES} are accepted", files.len());
        return Err(bad(what, "hand over only the archives that the choices name"));
    }
    for name in files.keys() {
        let prefixed = |prefix| name.strip_prefix(prefix).is_some_and(is_sha256);
        if name != MOK_PASSWORD && ![SOURCE_PREFIX, IMAGE_PREFIX, LARGE_PREFIX].into_iter().any(prefixed) {
            let shown: String = name.chars().take(80).collect();
            let remedy = "the names are `source:SHA256`, `image:SHA256`, `large:SHA256` and `mok-password`";
            return Err(bad(format!("no file is called {shown:?}"), remedy));
        }
    }
    Ok(())
}

/// Reads the sealed files that came with a call. Blocks as long as it takes to hash them.
///
/// # Errors
/// [`Error::BadArgument`] when one is not sealed, too large, or not what its name says.
pub fn inputs<F: AsFd>(files: &HashMap<String, F>) -> Result<Inputs, Error> {
    names(files)?;
    let mut inputs = Inputs { explain: crate::flows::explain(), ..Inputs::default() };
    let mut left = MAX_SOURCES;
    let read = |name: &str, fd: &F, limit| {
        read_sealed(fd, limit).map_err(|e| {
            bad(format!("the file {name} is not accepted: {e}"), "hand it over sealed and whole")
        })
    };
    for (name, fd) in files {
        if let Some(sha256) = name.strip_prefix(LARGE_PREFIX) {
            let (file, is, _) = take_sealed(fd, MAX_LARGE).map_err(|e| {
                bad(format!("the file {name} is not accepted: {e}"), "hand it over sealed and whole")
            })?;
            if is != sha256 {
                let what = format!("the file called {sha256} is {is}");
                return Err(bad(what, "name each file by the SHA-256 of its bytes"));
            }
            inputs.large.insert(is, std::sync::Arc::new(file));
            continue;
        }
        if let Some(sha256) = name.strip_prefix(IMAGE_PREFIX) {
            inputs.images.insert(sha256.to_owned(), Arc::new(image(name, fd)?));
            continue;
        }
        let Some(sha256) = name.strip_prefix(SOURCE_PREFIX) else {
            inputs.mok_password = Some(Secret::new(read(name, fd, MAX_PASSWORD)?));
            continue;
        };
        let bytes = read(name, fd, left)?;
        left -= bytes.len() as u64;
        let is = hex::encode(Sha256::digest(&bytes));
        if is != sha256 {
            let what = format!("the archive called {sha256} is {is}");
            return Err(bad(what, "name each archive by the SHA-256 of its bytes"));
        }
        inputs.sealed.insert(is, bytes);
    }
    Ok(inputs)
}

/// An image as it may be handed over: a plain file, opened for reading. Its bytes are not looked at here; the step
/// that uses it compares them with the SHA-256 of its name.
fn image<F: AsFd>(name: &str, fd: &F) -> Result<File, Error> {
    let refuse =
        |what: &str| bad(format!("the file {name} is not accepted: {what}"), "open a plain file to read it");
    let flags = rustix::fs::fcntl_getfl(fd).map_err(|e| refuse(&e.to_string()))?;
    if flags.contains(OFlags::PATH) || flags & OFlags::ACCMODE == OFlags::WRONLY {
        return Err(refuse("it is not open for reading"));
    }
    let stat = rustix::fs::fstat(fd).map_err(|e| refuse(&e.to_string()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refuse("it is no plain file"));
    }
    fd.as_fd().try_clone_to_owned().map(File::from).map_err(|e| refuse(&e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::Sealed;
    use proptest::prelude::*;
    use std::os::fd::OwnedFd;

    fn files(sealed: &[Sealed]) -> HashMap<String, OwnedFd> {
        sealed.iter().map(|s| (s.name().to_owned(), s.fd().try_clone().unwrap())).collect()
    }

    fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        match result.unwrap_err() {
            Error::BadArgument(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flow_has_a_plain_name() {
        assert_eq!(flow("vmware").unwrap(), "vmware");
        for name in ["", "VMware", "9lives", "a b", "../x", "a\0", &"a".repeat(33), "é"] {
            assert!(reason(flow(name)).contains("cannot be the name"), "{name}");
        }
    }

    #[test]
    fn choices_that_are_too_large_too_deep_or_no_object_are_refused() {
        assert_eq!(choices("{\"a\":[1]}").unwrap()["a"][0], 1);
        assert!(reason(choices(&format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20)))).contains("bytes"));
        assert!(reason(choices("[]")).contains("no JSON object"));
        assert!(reason(choices("{")).contains("no JSON document"));
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(choices(&nested(MAX_DEPTH - 1)).is_ok());
        assert!(reason(choices(&nested(MAX_DEPTH))).contains("deeper than"));
        // More than the stack of any parser would bear.
        assert!(reason(choices(&nested(30_000))).contains("recursion limit"));
    }

    #[test]
    fn a_digest_is_64_lower_case_hexadecimal_digits() {
        assert!(digest(&"0a".repeat(32)).is_ok());
        for text in ["", "0a", &"0A".repeat(32), &"0g".repeat(32), &"a".repeat(65)] {
            assert!(digest(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sealed_files_come_in_by_their_names() {
        let sealed = [Sealed::source(b"tar").unwrap(), Sealed::mok_password(b"secret").unwrap()];
        let inputs = inputs(&files(&sealed)).unwrap();
        assert_eq!(inputs.sealed.values().collect::<Vec<_>>(), [b"tar"]);
        assert_eq!(inputs.mok_password.unwrap().expose(), b"secret");
    }

    #[test]
    fn an_archive_under_a_wrong_name_is_refused() {
        let fd = Sealed::source(b"tar").unwrap().fd().try_clone().unwrap();
        let wrong = HashMap::from([(format!("source:{}", "0".repeat(64)), fd)]);
        assert!(reason(inputs(&wrong)).contains("SHA-256 of its bytes"));
    }

    #[test]
    fn too_much_too_many_and_strange_names_are_refused() {
        let big = files(&[Sealed::mok_password(&[b'x'; 257]).unwrap()]);
        assert!(reason(inputs(&big)).contains("at most 256"));
        let two = files(&[
            Sealed::source(&vec![1; 40 << 20]).unwrap(),
            Sealed::source(&vec![2; 40 << 20]).unwrap(),
        ]);
        assert!(reason(inputs(&two)).contains("are accepted"));
        let many: HashMap<_, _> = (0..9).map(|i| (format!("source:{i:064}"), ())).collect();
        assert!(reason(names(&many)).contains("9 files"));
        for name in ["", "source:", "source:xyz", "mok-password2", "/etc/passwd"] {
            assert!(
                reason(names(&HashMap::from([(name.to_owned(), ())]))).contains("no file is called"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_file_that_could_still_change_is_refused() {
        let plain: OwnedFd = tempfile::tempfile().unwrap().into();
        let files = HashMap::from([(format!("source:{}", "0".repeat(64)), plain)]);
        assert!(reason(inputs(&files)).contains("not a sealed memory file"));
    }

    #[test]
    fn an_image_is_a_plain_file_that_is_open_for_reading() {
        let name = format!("image:{}", "0".repeat(64));
        let one = |fd: OwnedFd| inputs(&HashMap::from([(name.clone(), fd)]));
        let file = tempfile::NamedTempFile::new().unwrap();
        let opened = one(File::open(file.path()).unwrap().into()).unwrap();
        assert!(opened.images.contains_key(&"0".repeat(64)) && opened.sealed.is_empty());
        let to_write = File::options().write(true).open(file.path()).unwrap();
        assert!(reason(one(to_write.into())).contains("not open for reading"));
        let by_path = rustix::fs::open(file.path(), OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        assert!(reason(one(by_path)).contains("not open for reading"));
        assert!(reason(one(File::open("/dev/zero").unwrap().into())).contains("no plain file"));
        assert!(reason(one(File::open("/").unwrap().into())).contains("no plain file"));
        assert!(reason(one(std::io::pipe().unwrap().0.into())).contains("no plain file"));
        assert!(reason(names(&HashMap::from([("image:x".to_owned(), ())]))).contains("no file is called"));
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(text in ".{0,300}") {
            let _ = (choices(&text), flow(&text), digest(&text));
            let _ = names(&HashMap::from([(text, ())]));
        }
    }
}
