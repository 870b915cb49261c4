// SPDX-License-Identifier: GPL-3.0-or-later
//! What a failed build means: output of make, gcc, clang, objtool and modpost as typed diagnostics.

use super::catalogue::Catalogue;
use super::model::{EditAction, ProbeKind};
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

/// The adaptation that is nearest to an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nearest {
    /// Which.
    pub adaptation: String,
    /// What it is about.
    pub title: String,
    /// What it has in common with the error.
    pub because: String,
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
fn is_echo(d: &Diagnostic) -> bool {
    d.message.starts_with("make: ")
        && (d.message.contains("] Error ") || d.message.contains("Waiting for unfinished"))
}

/// The first real error: of a compiler or another tool if there is one, of make otherwise.
pub fn first_error(all: &[Diagnostic]) -> Option<&Diagnostic> {
    let errors = || all.iter().filter(|d| d.severity == Severity::Error);
    errors().find(|d| !is_echo(d)).or_else(|| errors().next())
}

/// The identifiers that a message puts in quotes, and the headers that it misses.
fn mentioned(message: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut word = |text: &str| {
        let text = text.trim().trim_end_matches("()");
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.len() > 2 && text.chars().all(|c| is_name(c) || "./-".contains(c)) {
            found.insert(text.to_owned());
        }
        for part in text.split(|c: char| !is_name(c)).filter(|p| p.len() > 3) {
            found.insert(part.to_owned());
        }
    };
    // Only what comes before the compiler's own guess counts: "did you mean" names something else.
    let message = message.split("; did you mean").next().unwrap_or_default();
    let quoted: Vec<&str> = message.split(['\'', '‘', '’', '"', '`']).collect();
    for text in quoted.iter().skip(1).step_by(2) {
        word(text);
    }
    if let Some(header) = message.strip_suffix(": No such file or directory") {
        word(header);
    }
    if let Some(rest) = message.strip_prefix("objtool: ") {
        word(rest.split(['+', '(', ' ']).next().unwrap_or_default());
    }
    found
}

/// Words that are everywhere and hint at nothing.
const COMMON: [&str; 12] = [
    "struct", "const", "void", "unsigned", "static", "return", "char", "long", "function", "include",
    "linux", "module",
];

/// The adaptation that has most to do with an error: by its symptoms first, then by the identifiers that
/// both mention.
pub fn nearest(catalogue: &Catalogue, error: &Diagnostic) -> Option<Nearest> {
    let near = |a: &super::model::Adaptation, because: String| Nearest {
        adaptation: a.id.clone(),
        title: a.title.clone(),
        because,
    };
    for a in catalogue.adaptations() {
        if a.symptoms.iter().any(|s| s.is_match(error.message.as_bytes())) {
            return Some(near(a, "the message is one of its known symptoms".into()));
        }
    }
    let names = mentioned(&error.message);
    let names: Vec<&String> = names.iter().filter(|n| !COMMON.contains(&n.as_str())).collect();
    let mut best: Option<(usize, Nearest)> = None;
    for a in catalogue.adaptations() {
        let mut text = a.title.clone();
        for probe in &a.probes {
            match &probe.kind {
                ProbeKind::Code { code, .. } => text.push_str(code),
                ProbeKind::Symbol(s) | ProbeKind::Config(s) => text.push_str(s),
                ProbeKind::Source { regex, .. } => text.push_str(regex.as_str()),
            }
            text.push('\n');
        }
        for apply in &a.applies {
            text.push_str(&apply.compat);
            for edit in &apply.edits {
                if let EditAction::Replace { shown, with, .. } = &edit.action {
                    text.push_str(shown);
                    text.push_str(with);
                }
            }
        }
        let words: BTreeSet<&str> = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
        let shared: Vec<&str> = names.iter().map(|n| n.as_str()).filter(|n| words.contains(n)).collect();
        if !shared.is_empty() && best.as_ref().is_none_or(|(n, _)| shared.len() > *n) {
            best = Some((shared.len(), near(a, format!("both are about {}", shared.join(", ")))));
        }
    }
    best.map(|(_, n)| n)
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

    /// A line; what is read from it: severity, file, line, a part of the message.
    type Case = (&'static str, Severity, Option<&'static str>, Option<u32>, &'static str);

    #[test]
    fn lines_of_all_tools_are_read() {
        use Severity::{Error, Note, Warning};
        #[rustfmt::skip]
        let cases: &[Case] = &[
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

    #[test]
    fn the_nearest_adaptation_shares_the_identifier() {
        let catalogue = Catalogue::embedded().unwrap();
        let near = |line: &str| nearest(&catalogue, &parse_line(line).unwrap()).map(|n| n.adaptation);
        let cases = [
            (
                "a.c:1:1: error: implicit declaration of function 'del_timer_sync'; did you mean 'dev_mc_sync'?",
                "timer-delete-sync",
            ),
            (
                "a.h:1:1: error: 'dev_base_lock' undeclared (first use in this function); did you mean 'device_lock'?",
                "dev-base-lock",
            ),
            ("a.c:1:1: fatal error: driver-config.h: No such file or directory", "extra-cflags"),
            (
                "a.h:1:1: error: implicit declaration of function ‘pud_large’; did you mean ‘pud_page’?",
                "page-table-walk",
            ),
            ("ERROR: modpost: \"csum_partial_copy_nocheck\" [/b/vmnet.ko] undefined!", "csum-copy-to-user"),
            (
                "vmnet.o: error: objtool: init_module(): Magic init_module() function name is deprecated, use module_init(fn) instead",
                "module-init",
            ),
        ];
        for (line, id) in cases {
            assert_eq!(near(line).as_deref(), Some(id), "{line}");
        }
        assert_eq!(near("a.c:1:1: error: expected ';' before '}' token"), None);
    }

    proptest! {
        #[test]
        fn any_line_never_panics(line in "\\PC{0,120}") {
            let _ = parse_line(&line).map(|d| mentioned(&d.message));
        }
    }
}
