// SPDX-License-Identifier: GPL-3.0-or-later
//! A launcher of VMware's: what it is, and how it is changed so that it goes through XWayland in a Wayland session.
//! Pure: bytes → what to write.
//!
//! VMware's windows are made with GTK 3 and Qt; both choose Wayland by themselves in a Wayland session, where VMware's
//! grabs and its display of guests do not work. `GDK_BACKEND` (GTK documentation, "Using GTK with Wayland") and
//! `QT_QPA_PLATFORM` (Qt Platform Abstraction) make them use X11, which XWayland serves.

use std::fmt::Write;

/// Where our part of a launcher begins and ends.
const BEGIN: &str = "# >>> Hostwright: Wayland >>>";
const END: &str = "# <<< Hostwright: Wayland <<<";

/// What is set in a Wayland session.
const BODY: &str = "\
# VMware's windows do not work on Wayland; in a Wayland session they go through XWayland.
# `hostwright vmware wayland remove` takes this away.
if [ \"${XDG_SESSION_TYPE:-}\" = wayland ] || [ -n \"${WAYLAND_DISPLAY:-}\" ]; then
  GDK_BACKEND=x11
  QT_QPA_PLATFORM=xcb
  export GDK_BACKEND QT_QPA_PLATFORM
fi
";

/// Shells that understand [`BODY`].
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"];

/// The largest launcher that is read, in bytes: VMware's own programs are a few MB.
pub const LIMIT: u64 = 256 << 20;

/// What a launcher is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A script for a POSIX shell, without a fix.
    Script(String),
    /// A script with our part in it.
    Fixed(String),
    /// A program; it cannot be changed, but started by a launcher of ours.
    Program,
    /// A launcher of ours, which starts this program.
    Ours {
        /// The program.
        starts: String,
    },
    /// A script that goes through XWayland by somebody else's doing.
    FixedByOthers,
    /// None of these.
    Unknown {
        /// Why it is left alone.
        why: String,
    },
}

/// Looks what a launcher is.
pub fn classify(bytes: &[u8]) -> Kind {
    if bytes.starts_with(b"\x7fELF") {
        return Kind::Program;
    }
    let unknown = |why: &str| Kind::Unknown { why: why.to_owned() };
    let Some(rest) = bytes.strip_prefix(b"#!") else {
        return unknown("it is neither a program nor a script with an interpreter line");
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return unknown("it is a script that is not UTF-8 text");
    };
    let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace().map(|w| w.rsplit('/').next().unwrap_or(w));
    let shell = match words.next() {
        // env(1) may have options before the name: `#!/usr/bin/env -S bash -e`.
        Some("env") => words.find(|w| !w.starts_with('-')).unwrap_or_default().to_owned(),
        word => word.unwrap_or_default().to_owned(),
    };
    if !SHELLS.contains(&shell.as_str()) {
        return unknown(&format!("it is a script for `{shell}`, which is no POSIX shell"));
    }
    if text.contains(BEGIN) {
        if !text.contains(END) {
            return unknown(
                "it holds the beginning of Hostwright's part and not its end: somebody changed it",
            );
        }
        return match starts(text) {
            Some(starts) => Kind::Ours { starts },
            None => Kind::Fixed(text.to_owned()),
        };
    }
    let sets = |name: &str, value: &str| {
        text.lines().map(str::trim_start).filter(|l| !l.starts_with('#')).any(|l| {
            l.split_whitespace().any(|word| {
                word.trim_start_matches("export ")
                    .strip_prefix(name)
                    .and_then(|w| w.strip_prefix('='))
                    .is_some_and(|v| v.trim_matches(['"', '\'', ';']).starts_with(value))
            })
        })
    };
    if sets("GDK_BACKEND", "x11") || sets("QT_QPA_PLATFORM", "xcb") {
        return Kind::FixedByOthers;
    }
    Kind::Script(text.to_owned())
}

/// A script with our part right behind its interpreter line.
pub fn fixed(script: &str) -> String {
    let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
    format!("{first}\n{BEGIN}\n{BODY}{END}\n{rest}")
}

/// A script without our part, as it was before; `None` when that part is not whole.
pub fn unfixed(script: &str) -> Option<String> {
    let begin = script.find(BEGIN)?;
    let end = begin + script.get(begin..)?.find(END)? + END.len();
    let rest = script.get(end..)?;
    Some(format!("{}{}", script.get(..begin)?, rest.strip_prefix('\n').unwrap_or(rest)))
}

/// Whether the part in a fixed script is what this version writes.
pub fn is_current(script: &str) -> bool {
    unfixed(script).is_some_and(|bare| fixed(&bare) == script)
}

/// A launcher of ours for a program. VMware's programs choose by the name that they are started with what they are, so
/// that name is handed on (`exec -a` of bash).
pub fn wrapper(program: &str) -> String {
    let mut text = format!("#!/bin/bash\n{BEGIN}\n{BODY}{END}\n");
    // Writing to a string does not fail.
    let _ = writeln!(text, "exec -a \"$0\" {} \"$@\"", crate::host::quote(program));
    text
}

fn starts(text: &str) -> Option<String> {
    let bare = unfixed(text)?;
    let line = bare.strip_prefix("#!/bin/bash\nexec -a \"$0\" ")?;
    let program = line.strip_suffix(" \"$@\"\n")?;
    Some(
        program
            .strip_prefix('\'')
            .and_then(|p| p.strip_suffix('\''))
            .unwrap_or(program)
            .replace(r"'\''", "'"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VMWARE: &str = "#!/usr/bin/env bash\n\nset -e\n\nETCDIR=/etc/vmware\n. /etc/vmware/bootstrap\nexec \\\n  \"$LIBDIR\"/vmware/bin/\"$PRODUCT\" \"$@\"\n";

    #[test]
    fn our_part_comes_behind_the_interpreter_line_and_goes_without_a_trace() {
        assert_eq!(classify(VMWARE.as_bytes()), Kind::Script(VMWARE.into()));
        let text = fixed(VMWARE);
        assert!(text.starts_with("#!/usr/bin/env bash\n# >>> Hostwright"), "{text}");
        assert_eq!(classify(text.as_bytes()), Kind::Fixed(text.clone()));
        assert!(is_current(&text));
        assert!(!is_current(&text.replace("xcb", "xcb2")));
        assert_eq!(unfixed(&text).as_deref(), Some(VMWARE));
    }

    #[test]
    fn a_launcher_of_ours_names_its_program_whatever_that_is_called() {
        for program in ["/usr/bin/vmware.original", "/opt/it's here/vm ware.original"] {
            let text = wrapper(program);
            assert_eq!(classify(text.as_bytes()), Kind::Ours { starts: program.into() }, "{text}");
        }
    }

    #[test]
    fn what_others_did_is_seen_and_what_they_only_write_about_is_not() {
        for script in [
            "#!/bin/sh\nexport GDK_BACKEND=x11\nexec vmware\n",
            "#!/bin/bash\nGDK_BACKEND=\"x11\" exec vmware\n",
            "#!/bin/sh\nQT_QPA_PLATFORM=xcb; export QT_QPA_PLATFORM\n",
        ] {
            assert_eq!(classify(script.as_bytes()), Kind::FixedByOthers, "{script}");
        }
        let script = "#!/bin/sh\n# GDK_BACKEND=x11 would help\nGDK_BACKEND=wayland exec vmware\n";
        assert!(matches!(classify(script.as_bytes()), Kind::Script(_)));
    }

    #[test]
    fn a_program_is_told_from_a_script_and_what_is_neither_is_left_alone() {
        assert_eq!(classify(b"\x7fELF\x02\x01"), Kind::Program);
        for other in
            [&b"MZ"[..], b"", b"exec vmware\n", b"#!/usr/bin/python3\n", b"#!\n", b"#!/bin/sh\n\xff\xfe"]
        {
            assert!(matches!(classify(other), Kind::Unknown { .. }), "{other:?}");
        }
        assert!(matches!(classify(b"#!/usr/bin/env -S dash -e\n"), Kind::Script(_)));
        let half = fixed(VMWARE).replace(END, "");
        assert!(matches!(classify(half.as_bytes()), Kind::Unknown { .. }));
    }

    proptest! {
        #[test]
        fn any_script_comes_back_byte_for_byte(body in "(?s)[ -~\n]{0,200}") {
            let script = format!("#!/bin/sh\n{body}");
            prop_assert_eq!(unfixed(&fixed(&script)), Some(script));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            classify(&bytes);
            let text = String::from_utf8_lossy(&bytes);
            unfixed(&text);
            is_current(&text);
        }
    }
}
