// SPDX-License-Identifier: GPL-3.0-or-later
//! Recorded hosts: small machines in one text file each, unpacked into a directory of the test's own.
//!
//! Lines up to the first `== ` are a comment. Then, each with the lines that follow it as content:
//!
//! ```text
//! == file PATH              the lines, as they are
//! == program PATH           an executable file with these lines (or nothing)
//! == dir PATH
//! == link PATH -> TARGET
//! == hex PATH               bytes, hexadecimal; "text" in quotes stands for UTF-16; # begins a comment
//! == copy PATH NAME         the file tests/detect/keys/NAME
//! == siglist PATH NAME…     an EFI variable with a signature list of these certificates
//! == module PATH [signed]   a kernel module with these lines as .modinfo, compressed by its suffix
//! == headers PATH RELEASE   all that makes headers usable; the lines go into auto.conf
//! == unified PATH RELEASE   a unified kernel image of this kernel; the lines are its .osrel
//! == without PATH…          removes a file that came with `headers`
//! == answer COMMAND         what this command prints, when the machine's runner is asked
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

use hostwright::host::fake::{FakeRunner, host};
use hostwright::host::{Host, HostKind, Output};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A recorded host, unpacked; gone with this value.
pub struct Recorded {
    /// Where it lies.
    pub dir: tempfile::TempDir,
    /// The host on it.
    pub host: Host,
    /// The runner, to see what was asked.
    pub runner: Arc<FakeRunner>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/detect")
}

/// The names of all recorded hosts.
pub fn names() -> Vec<String> {
    let entries = fs::read_dir(fixtures().join("hosts")).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter_map(|n| n.strip_suffix(".host").map(str::to_owned)).collect();
    names.sort();
    names
}

/// Unpacks a recorded host as a running machine.
pub fn unpack(name: &str) -> Recorded {
    unpack_with(name, HostKind::Machine, "")
}

/// Unpacks a recorded host, with more in the same format.
pub fn unpack_with(name: &str, kind: HostKind, more: &str) -> Recorded {
    let path = fixtures().join(format!("hosts/{name}.host"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) + more;
    unpack_text(name, &text, kind)
}

/// Unpacks a recorded host from its text.
pub fn unpack_text(name: &str, text: &str, kind: HostKind) -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = FakeRunner::new();
    let (_, text) = text.split_once("\n== ").expect("a recorded host has an entry");
    for part in text.split("\n== ") {
        let (head, body) = part.split_once('\n').unwrap_or((part, ""));
        let body =
            if body.is_empty() { String::new() } else { body.trim_end_matches('\n').to_owned() + "\n" };
        let (word, rest) = head.split_once(' ').unwrap_or_else(|| panic!("{name}: {head}"));
        if word == "answer" {
            let wanted = rest.to_owned();
            runner = runner.answer(move |c| {
                let output = Output { code: Some(0), stdout: body.clone(), ..Output::default() };
                (c.display() == wanted).then_some(output)
            });
        } else {
            place(dir.path(), word, rest, &body);
        }
    }
    let runner = Arc::new(runner);
    let host = host(dir.path(), runner.clone(), kind).unwrap();
    Recorded { dir, host, runner }
}

/// A path inside the recorded host, its folders made. Links of recordings that lead to folders are
/// relative, so that they stay inside.
fn inside(dir: &Path, path: &str) -> PathBuf {
    let path = dir.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

fn write(dir: &Path, path: &str, bytes: &[u8], mode: u32) {
    let path = inside(dir, path);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn place(dir: &Path, word: &str, rest: &str, body: &str) {
    let mut words = rest.split_whitespace();
    let path = words.next().unwrap();
    match word {
        "file" => write(dir, path, body.as_bytes(), 0o644),
        "program" => rest.split_whitespace().for_each(|p| write(dir, p, body.as_bytes(), 0o755)),
        "dir" => rest.split_whitespace().for_each(|p| fs::create_dir_all(inside(dir, p)).unwrap()),
        "link" => {
            let (path, target) = rest.split_once(" -> ").unwrap();
            symlink(target, inside(dir, path)).unwrap();
        }
        "hex" => write(dir, path, &hex_of(body), 0o644),
        "copy" => write(dir, path, &key(words.next().unwrap()), 0o644),
        "siglist" => write(dir, path, &signature_list(words), 0o644),
        "module" => write(dir, path, &module(path, body, rest.ends_with(" signed")), 0o644),
        "unified" => write(dir, path, &unified(words.next().unwrap(), body), 0o755),
        "headers" => headers(dir, path, words.next().unwrap(), body),
        "without" => rest.split_whitespace().for_each(|p| fs::remove_file(inside(dir, p)).unwrap()),
        _ => panic!("unknown entry: {word} {rest}"),
    }
}

fn key(name: &str) -> Vec<u8> {
    let path = fixtures().join("keys").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn hex_of(body: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in body.lines() {
        let line = line.split('#').next().unwrap();
        for (i, part) in line.split('"').enumerate() {
            if i % 2 == 1 {
                out.extend(part.encode_utf16().flat_map(u16::to_le_bytes));
            } else {
                out.extend(hex::decode(part.replace(' ', "")).unwrap());
            }
        }
    }
    out
}

/// Attributes of the variable, then one list for each certificate.
fn signature_list<'a>(names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut out = 7u32.to_le_bytes().to_vec();
    for name in names {
        let certificate = key(name);
        let size = u32::try_from(certificate.len() + 16).unwrap();
        out.extend(hex::decode("a159c0a5e494a74a87b5ab155c2bf072").unwrap());
        out.extend([size + 28, 0, size].into_iter().flat_map(u32::to_le_bytes));
        out.extend([0x50; 16]);
        out.extend(certificate);
    }
    out
}

/// All that kbuild wants of a kernel's headers, and nothing else.
fn headers(dir: &Path, path: &str, release: &str, config: &str) {
    let file = |name: &str, content: &str| write(dir, &format!("{path}/{name}"), content.as_bytes(), 0o644);
    file("Makefile", "# generated\n");
    file("include/config/auto.conf", config);
    file("include/generated/autoconf.h", "#define CONFIG_X86 1\n");
    file("include/generated/utsrelease.h", &format!("#define UTS_RELEASE \"{release}\"\n"));
    file("Module.symvers", "0x00000000\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n");
    for program in
        ["scripts/basic/fixdep", "scripts/mod/modpost", "scripts/sign-file", "tools/objtool/objtool"]
    {
        write(dir, &format!("{path}/{program}"), b"", 0o755);
    }
}

/// A kernel module: an ELF file with nothing but `.modinfo`, signed or not, compressed by its suffix.
fn module(path: &str, modinfo: &str, signed: bool) -> Vec<u8> {
    let section = modinfo.lines().fold(Vec::new(), |mut all, line| {
        all.extend(line.as_bytes());
        all.push(0);
        all
    });
    let mut bytes = elf(&section);
    if signed {
        let message = key("signature.p7s");
        bytes.extend(&message);
        bytes.extend([0, 0, 2, 0, 0, 0, 0, 0]);
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(b"~Module signature appended~\n");
    }
    match path.rsplit('.').next() {
        Some("xz") => {
            let mut to = liblzma::write::XzEncoder::new(Vec::new(), 1);
            to.write_all(&bytes).unwrap();
            to.finish().unwrap()
        }
        Some("gz") => {
            let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            to.write_all(&bytes).unwrap();
            to.finish().unwrap()
        }
        Some("zst") => zstd::encode_all(bytes.as_slice(), 1).unwrap(),
        _ => bytes,
    }
}

/// A unified kernel image: a PE file with nothing but `.uname` and `.osrel`.
fn unified(release: &str, os_release: &str) -> Vec<u8> {
    let sections = [(b".uname\0\0", release), (b".osrel\0\0", os_release)];
    let mut out = b"MZ".to_vec();
    out.resize(60, 0);
    out.extend(64u32.to_le_bytes());
    out.extend(b"PE\0\0");
    out.extend([0x8664u16, 2].into_iter().flat_map(u16::to_le_bytes));
    out.extend([0; 12]);
    out.extend([240u16, 0x22].into_iter().flat_map(u16::to_le_bytes));
    // The optional header of a 64-bit image: sixteen empty data directories.
    let optional = out.len();
    out.extend(0x20bu16.to_le_bytes());
    out.resize(optional + 108, 0);
    out.extend(16u32.to_le_bytes());
    out.resize(optional + 240, 0);
    let mut at = out.len() + 40 * sections.len();
    for (name, content) in sections {
        let size = u32::try_from(content.len()).unwrap();
        out.extend(name);
        out.extend([size, 0x1000, size, u32::try_from(at).unwrap()].into_iter().flat_map(u32::to_le_bytes));
        out.extend([0; 16]);
        at += content.len();
    }
    sections.iter().for_each(|(_, content)| out.extend(content.as_bytes()));
    out
}

fn elf(modinfo: &[u8]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let (at_modinfo, at_names) = (64, 64 + modinfo.len());
    let at_sections = at_names + names.len();
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    out.extend([1u16, 62].into_iter().flat_map(u16::to_le_bytes)); // relocatable, x86-64
    out.extend(1u32.to_le_bytes());
    out.extend([0, 0, at_sections as u64].into_iter().flat_map(u64::to_le_bytes));
    out.extend(0u32.to_le_bytes());
    out.extend([64u16, 0, 0, 64, 3, 2].into_iter().flat_map(u16::to_le_bytes));
    out.extend(modinfo);
    out.extend(names);
    let mut section = |name: u32, kind: u32, offset: usize, size: usize| {
        out.extend([name, kind].into_iter().flat_map(u32::to_le_bytes));
        let fields = [0, 0, offset as u64, size as u64];
        out.extend(fields.into_iter().flat_map(u64::to_le_bytes));
        out.extend([0u32, 0].into_iter().flat_map(u32::to_le_bytes));
        out.extend([1u64, 0].into_iter().flat_map(u64::to_le_bytes));
    };
    section(0, 0, 0, 0);
    section(1, 1, at_modinfo, modinfo.len());
    section(10, 3, at_names, names.len());
    out
}
