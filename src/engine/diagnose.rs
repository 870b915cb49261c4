// SPDX-License-Identifier: GPL-3.0-or-later
//! Output of make, gcc, clang, objtool and modpost as typed diagnostics. Pure.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Explains another one.
    Note,
    /// Does not stop the build.
    Warning,
    /// Stops the build.
    Error,
}

/// One message of a build tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// The file it is about, as the tool wrote it; none for make and modpost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What it says.
    pub message: String,
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

// The patterns are constants of this file; a test compiles them all.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

/// `file:line:column: severity: message` of gcc, clang and ld.
static COMPILER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"^(?P<file>[^\s:][^:]*):(?P<line>\d+):(?:(?P<col>\d+):)? (?P<sev>fatal error|error|warning|note|Error|Warning): (?P<msg>.+)$",
    )
});
/// `object: severity: objtool: message`.
static OBJTOOL: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"^(?P<file>[^\s:]+\.k?o): (?P<sev>warning|error): objtool: (?P<msg>.+)$"));
/// `SEVERITY: modpost: message`; before 5.10 without the tool's name.
static MODPOST: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"^(?P<sev>ERROR|WARNING|FATAL): (?:modpost: )?(?P<msg>.+)$"));
/// `make[2]: *** [where: target] Error 1` and `make: *** No rule to make target …`.
static MAKE: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"^make(?:\[\d+\])?: \*\*\* (?P<msg>.+)$"));
/// A tool that could not even begin: `gcc: error: …`, `/bin/sh: 1: gcc-12: not found`.
static TOOL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"^(?:(?P<tool>[\w./+-]*(?:gcc|clang|cc1|ld|ld\.lld|as|collect2)[\w.+-]*): (?:fatal )?error: (?P<msg>.+)|/bin/(?:ba)?sh: (?P<sh>.+(?:not found|No such file or directory|Permission denied)))$",
    )
});

/// One line of build output, when it is a diagnostic.
pub fn parse_line(line: &str) -> Option<Diagnostic> {
    let line = line.trim_end();
    // Tools of the build never write lines like that; regular expressions need not look at them.
    if line.len() > 8192 || !line.contains(": ") {
        return None;
    }
    let number = |m: Option<regex::Match<'_>>| m.and_then(|m| m.as_str().parse().ok());
    if let Some(c) = COMPILER.as_ref().and_then(|r| r.captures(line)) {
        let severity = match &c["sev"] {
            "note" => Severity::Note,
            "warning" | "Warning" => Severity::Warning,
            _ => Severity::Error,
        };
        return Some(Diagnostic {
            severity,
            file: Some(c["file"].to_owned()),
            line: number(c.name("line")),
            column: number(c.name("col")),
            message: c["msg"].to_owned(),
        });
    }
    let plain = |severity, file: Option<&str>, message: String| Diagnostic {
        severity,
        file: file.map(str::to_owned),
        line: None,
        column: None,
        message,
    };
    if let Some(c) = OBJTOOL.as_ref().and_then(|r| r.captures(line)) {
        let severity = if &c["sev"] == "error" { Severity::Error } else { Severity::Warning };
        return Some(plain(severity, Some(&c["file"]), format!("objtool: {}", &c["msg"])));
    }
    if let Some(c) = MODPOST.as_ref().and_then(|r| r.captures(line)) {
        let severity = if &c["sev"] == "WARNING" { Severity::Warning } else { Severity::Error };
        return Some(plain(severity, None, format!("modpost: {}", &c["msg"])));
    }
    if let Some(c) = MAKE.as_ref().and_then(|r| r.captures(line)) {
        return Some(plain(Severity::Error, None, format!("make: {}", &c["msg"])));
    }
    if let Some(c) = TOOL.as_ref().and_then(|r| r.captures(line)) {
        let message = match (c.name("tool"), c.name("msg"), c.name("sh")) {
            (Some(tool), Some(msg), _) => format!("{}: {}", tool.as_str(), msg.as_str()),
            (_, _, Some(sh)) => sh.as_str().to_owned(),
            _ => return None,
        };
        return Some(plain(Severity::Error, None, message));
    }
    None
}

/// All diagnostics of an output, in its order, each once.
pub fn parse_output(output: &str) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    output.lines().filter_map(parse_line).filter(|d| seen.insert(d.to_string())).collect()
}

/// Whether this is make reporting that a command failed, whose own message came before.
pub(super) fn is_echo(d: &Diagnostic) -> bool {
    d.message.starts_with("make: ")
        && (d.message.contains("] Error ") || d.message.contains("Waiting for unfinished"))
}

/// The first real error: of a compiler or another tool if there is one, of make otherwise.
pub fn first_error(all: &[Diagnostic]) -> Option<&Diagnostic> {
    let errors = || all.iter().filter(|d| d.severity == Severity::Error);
    errors().find(|d| !is_echo(d)).or_else(|| errors().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_patterns_are_good() {
        for p in [&COMPILER, &OBJTOOL, &MODPOST, &MAKE, &TOOL] {
            assert!(p.is_some());
        }
    }

    #[test]
    fn lines_of_all_tools_are_read() {
        use Severity::{Error, Note, Warning};
        type Case<'a> = (&'a str, Severity, Option<&'a str>, Option<u32>, &'a str);
        #[rustfmt::skip]
        let cases: &[Case<'_>] = &[
            ("/b/vmmon-only/include/pgtbl.h:61:8: error: implicit declaration of function 'pgd_large'; did you mean 'pgd_page'? [-Werror=implicit-function-declaration]", Error, Some("/b/vmmon-only/include/pgtbl.h"), Some(61), "implicit declaration"),
            ("linux/driver.c:20:10: fatal error: driver-config.h: No such file or directory", Error, Some("linux/driver.c"), Some(20), "driver-config.h"),
            ("/b/vnetInt.h:49: warning: \"MAX\" redefined", Warning, Some("/b/vnetInt.h"), Some(49), "MAX"),
            ("./include/linux/minmax.h:330:9: note: this is the location of the previous definition", Note, Some("./include/linux/minmax.h"), Some(330), "previous"),
            ("vmnet.o: error: objtool: init_module(): Magic init_module() function name is deprecated, use module_init(fn) instead", Error, Some("vmnet.o"), None, "init_module()"),
            ("/b/common/crosspage.o: warning: objtool: CrossPage_CodePage+0x207: 'naked' return found in RETHUNK build", Warning, Some("/b/common/crosspage.o"), None, "naked"),
            ("ERROR: modpost: \"csum_partial_copy_nocheck\" [/b/vmnet.ko] undefined!", Error, None, None, "csum_partial_copy_nocheck"),
            ("WARNING: modpost: missing MODULE_DESCRIPTION() in vmmon.o", Warning, None, None, "DESCRIPTION"),
            ("make[2]: *** [/usr/src/linux/scripts/Makefile.build:255: /b/userif.o] Error 1", Error, None, None, "userif.o"),
            ("make: *** /lib/modules/1/build: No such file or directory.  Stop.", Error, None, None, "Stop"),
            ("/bin/sh: 1: gcc-12: not found", Error, None, None, "gcc-12"),
            ("gcc: error: unrecognized command-line option '-mfoo'", Error, None, None, "-mfoo"),
        ];
        for (line, severity, file, number, says) in cases {
            let d = parse_line(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((d.severity, d.file.as_deref(), d.line), (*severity, *file, *number), "{line}");
            assert!(d.message.contains(says), "{d}");
        }
        for line in [
            "  CC [M]  /b/vmmon-only/linux/driver.o",
            "make: Entering directory '/usr/src/x'",
            "In file included from a.c:3:",
            "",
        ] {
            assert_eq!(parse_line(line), None, "{line}");
        }
    }

    #[test]
    fn the_first_real_error_is_not_the_echo_of_make() {
        let all = parse_output(
            "  CC a.o\nmake[2]: *** [Makefile:1: /b/x.o] Error 1\na.c:1:1: warning: w\na.c:2:1: error: the one\nb.c:1:1: error: later\n",
        );
        assert_eq!(first_error(&all).unwrap().message, "the one");
        let only_make = parse_output("make[2]: *** [Makefile:1: /b/x.o] Error 1\n");
        assert!(first_error(&only_make).unwrap().message.starts_with("make: "));
        assert_eq!(first_error(&parse_output("all is well\n")), None);
    }

    proptest! {
        #[test]
        fn any_line_never_panics(line in "\\PC{0,120}") {
            let _ = parse_line(&line);
        }
    }
}
