// SPDX-License-Identifier: GPL-3.0-or-later
//! A program of this machine with all that it needs to run elsewhere: its interpreter and libraries. What a
//! guest without a root of its own runs.
//!
//! Source of facts: `ld.so(8)` for the order in which libraries are looked for, `execve(2)` for scripts.

use super::error::GuestError;
use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where a program named without `/` is looked for.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Where the dynamic linker looks for libraries, after what the program itself says.
const LIBRARIES: [&str; 12] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/local/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/usr/local/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/lib64/glibc-hwcaps/x86-64-v3",
    "/usr/lib/glibc-hwcaps/x86-64-v3",
    "/run/current-system/sw/lib",
];

/// Path in the guest → file of this machine.
pub type Files = BTreeMap<PathBuf, PathBuf>;

/// What `program` needs in an empty guest. A name without `/` is put where it was found.
///
/// # Errors
/// When it is not found, cannot be read, or a library of it is missing.
pub fn closure(program: &str) -> Result<Files, GuestError> {
    let path = find(program)?;
    let mut files = Files::new();
    let mut waiting = VecDeque::from([path]);
    while let Some(path) = waiting.pop_front() {
        if files.contains_key(&path) {
            continue;
        }
        let read = |e| GuestError::file("read", &path, e);
        let real = path.canonicalize().map_err(read)?;
        let mut head = [0; 256];
        let mut file = std::fs::File::open(&real).map_err(read)?;
        let length = file.read(&mut head).map_err(read)?;
        files.insert(path.clone(), real.clone());
        if let Some(script) = head[..length].strip_prefix(b"#!") {
            waiting.extend(interpreters(script)?);
        } else if head.starts_with(b"\x7fELF") {
            let bytes = std::fs::read(&real).map_err(read)?;
            let wants = wants(&bytes).map_err(|e| {
                GuestError::refused(
                    "program",
                    format!("{} cannot be read: {e}", path.display()),
                    "it is damaged or of another architecture; name another program",
                )
            })?;
            waiting.extend(wants.interpreter.map(PathBuf::from));
            for name in wants.libraries {
                waiting.push_back(library(&name, &wants.folders, &real).ok_or_else(|| {
                    GuestError::refused(
                        "library",
                        format!("{} needs the library {name}, which is not found", path.display()),
                        "install it, or boot with a root that holds the program (--root)",
                    )
                })?);
            }
        }
    }
    Ok(files)
}

fn find(program: &str) -> Result<PathBuf, GuestError> {
    let is_program =
        |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let found = if program.contains('/') {
        Some(PathBuf::from(program)).filter(|path| path.is_absolute() && is_program(path))
    } else {
        PATH.iter().map(|dir| Path::new(dir).join(program)).find(|path| is_program(path))
    };
    found.ok_or_else(|| {
        GuestError::refused(
            "program",
            format!("{program} is no program of this machine"),
            "without a root the guest runs this machine's programs: name one by its name or its absolute path, or boot with a root that holds it (--root)",
        )
    })
}

/// `#!/usr/bin/env -S python3 -u`: the interpreter, and what `env` starts.
fn interpreters(line: &[u8]) -> Result<Vec<PathBuf>, GuestError> {
    let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    let mut found = Vec::new();
    if let Some(interpreter) = words.next() {
        found.push(find(interpreter)?);
        if interpreter.ends_with("/env")
            && let Some(name) = words.find(|w| !w.starts_with('-') && !w.contains('='))
        {
            found.push(find(name)?);
        }
    }
    Ok(found)
}

/// What an ELF file asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wants {
    interpreter: Option<String>,
    libraries: BTreeSet<String>,
    /// `DT_RPATH` and `DT_RUNPATH`.
    folders: Vec<String>,
}

fn wants(data: &[u8]) -> object::Result<Wants> {
    let header = FileHeader64::<LittleEndian>::parse(data)?;
    let endian = header.endian()?;
    let mut wants = Wants::default();
    let segments = header.program_headers(endian, data)?;
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, data)? {
            wants.interpreter = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    let sections = header.sections(endian, data)?;
    if let Some((entries, strings)) = sections.dynamic(endian, data)? {
        let strings = sections.strings(endian, data, strings)?;
        for entry in entries {
            let tag = entry.tag32(endian);
            if !matches!(tag, Some(elf::DT_NEEDED | elf::DT_RPATH | elf::DT_RUNPATH)) {
                continue;
            }
            let text = String::from_utf8_lossy(entry.string(endian, strings)?).into_owned();
            if tag == Some(elf::DT_NEEDED) {
                wants.libraries.insert(text);
            } else {
                wants.folders.extend(text.split(':').filter(|f| !f.is_empty()).map(str::to_owned));
            }
        }
    }
    Ok(wants)
}

fn library(name: &str, folders: &[String], user: &Path) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let origin = user.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    let own = folders.iter().map(|f| f.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin));
    own.chain(LIBRARIES.map(str::to_owned)).map(|dir| Path::new(&dir).join(name)).find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_program_comes_with_its_linker_and_its_libraries() {
        let files = closure("true").unwrap();
        let names: Vec<String> = files.keys().map(|p| p.display().to_string()).collect();
        assert!(names.iter().any(|n| n.ends_with("/true")), "{names:?}");
        assert!(names.iter().any(|n| n.contains("/libc.")), "{names:?}");
        assert!(names.iter().any(|n| n.contains("/ld-")), "{names:?}");
    }

    #[test]
    fn a_script_comes_with_its_interpreter() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/usr/bin/env -S sh -e\nexit 3\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let files = closure(script.to_str().unwrap()).unwrap();
        assert!(files.contains_key(&script));
        assert!(files.keys().any(|p| p.ends_with("sh")) && files.keys().any(|p| p.ends_with("env")));
    }

    #[test]
    fn a_program_that_is_not_there_is_refused_with_what_to_do() {
        let error = closure("no-such-program").unwrap_err().to_string();
        assert!(error.contains("no program of this machine") && error.contains("--root"), "{error}");
        assert!(closure("/etc/passwd").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(
            changes in proptest::collection::vec((0usize..4096, any::<u8>()), 0..20),
        ) {
            let mut file = std::fs::read("/usr/bin/env").unwrap();
            changes.iter().for_each(|(at, byte)| file[*at] = *byte);
            let _ = wants(&file);
        }
    }
}
