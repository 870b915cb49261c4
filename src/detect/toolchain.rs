// SPDX-License-Identifier: GPL-3.0-or-later
//! Compilers, make and linkers.

use super::Finding;
use super::distro::Distribution;
use super::kernel::{CompilerKind, parse_version_text};
use super::look::Look;
use crate::host::{Command, FileKind, Host, HostKind, Root};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A compiler on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Compiler {
    /// Which.
    pub kind: CompilerKind,
    /// Its plainest command ("gcc").
    pub command: String,
    /// Its other commands ("gcc-12") → their full paths.
    pub also: BTreeMap<String, String>,
    /// Its full path (not resolved further: some compilers look at the name they are called by).
    pub path: String,
    /// The first line of its `--version`.
    pub text: String,
    /// Its version ("12.2.0").
    pub version: String,
    /// The first number of its version.
    pub major: u32,
}

/// Another tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Its command ("make").
    pub command: String,
    /// Its full path (not resolved further: some compilers look at the name they are called by).
    pub path: String,
    /// Its version ("4.3"), when it told one.
    pub version: Option<String>,
}

/// What modules are built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Toolchain {
    /// Whether these are the running machine's tools: a scratch root without tools of its own is worked on
    /// from outside.
    pub from_machine: bool,
    /// Compilers, the plain name first ("gcc" before "gcc-12"), each program once.
    pub compilers: Vec<Compiler>,
    /// GNU make.
    pub make: Option<Tool>,
    /// The GNU linker.
    pub ld: Option<Tool>,
    /// LLVM's linker.
    pub lld: Option<Tool>,
    /// bubblewrap: nothing foreign is built without it.
    pub bubblewrap: Option<Tool>,
    /// Tools that are needed and not there.
    pub missing: Vec<MissingTool>,
    /// Tools that are there and did not tell their version: how they were asked, and what came.
    pub unanswered: Vec<String>,
}

/// A tool that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MissingTool {
    /// The tool ("make").
    pub tool: String,
    /// The package that has it on this distribution, when known.
    pub package: Option<String>,
    /// The command that installs it, when known.
    pub command: Option<String>,
}

impl Toolchain {
    /// The compiler of this command.
    pub fn compiler(&self, command: &str) -> Option<&Compiler> {
        self.compilers.iter().find(|c| c.command == command || c.also.contains_key(command))
    }
}

/// Folders of the search path ([`crate::host`]) in which compilers and tools lie. Where `/usr/sbin` is a link
/// to `bin` (Arch, Fedora), the plain name is the one to show.
const BIN: &[&str] = &["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/bin", "/sbin"];

/// The version in the first line of a tool's `--version` ("GNU ld (GNU Binutils for Debian) 2.40").
pub fn parse_tool_version(text: &str) -> Option<String> {
    let mut depth = 0u32;
    let outside: String = text
        .lines()
        .next()?
        .chars()
        .filter(|c| {
            match c {
                '(' => depth += 1,
                ')' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect();
    outside.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

/// The full path of a command of this root.
pub(super) fn which(root: &Root, command: &str) -> Option<String> {
    BIN.iter().map(|dir| format!("{dir}/{command}")).find(|path| is_program(root, path))
}

fn is_program(root: &Root, path: &str) -> bool {
    root.metadata(path).is_ok_and(|m| m.kind == FileKind::File && m.mode & 0o111 != 0)
}

/// A compiler that is there and was not asked yet.
struct Candidate {
    kind: CompilerKind,
    command: String,
    path: String,
    also: BTreeMap<String, String>,
}

/// Compilers that are there, each program once, the plain names first.
fn candidates(root: &Root) -> Vec<Candidate> {
    let versions = |name: &str, from: u32, to: u32| {
        let numbered: Vec<String> = (from..=to).rev().map(|v| format!("{name}-{v}")).collect();
        std::iter::once(name.to_owned()).chain(numbered).collect::<Vec<_>>()
    };
    let mut found: Vec<(String, Candidate)> = Vec::new();
    let mut add = |kind, command: &str, path: String| {
        let Ok(real) = root.resolve(&path) else { return };
        match found.iter_mut().find(|(r, c)| *r == real && c.kind == kind) {
            Some((_, known)) if known.command == command => {}
            Some((_, known)) => {
                known.also.insert(command.to_owned(), path);
            }
            None => {
                let command = command.to_owned();
                found.push((real, Candidate { kind, command, path, also: BTreeMap::new() }));
            }
        }
    };
    for command in versions("gcc", 8, 17) {
        for name in [command.clone(), format!("x86_64-linux-gnu-{command}")] {
            if let Some(path) = which(root, &name) {
                add(CompilerKind::Gcc, &name, path);
            }
        }
    }
    for command in versions("clang", 11, 24) {
        if let Some(path) = which(root, &command) {
            add(CompilerKind::Clang, &command, path);
        }
    }
    // Gentoo's slots.
    for slot in root.list("/usr/lib/llvm").unwrap_or_default() {
        let path = format!("/usr/lib/llvm/{}/bin/clang", slot.name);
        if is_program(root, &path) {
            add(CompilerKind::Clang, &format!("clang-{}", slot.name), path);
        }
    }
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Asks a program for its version; the first line of what it says.
fn ask(host: &Host, path: &str) -> Result<String, String> {
    let command = Command::new(path).arg("--version").timeout(Duration::from_secs(5));
    // A root without tools is worked on by the running machine's.
    let command = host.tool(command.clone()).unwrap_or(command);
    let output = host.runner().run_ok(&command).map_err(|e| e.to_string())?;
    match output.stdout.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("`{}` said nothing", command.display())),
    }
}

/// Reads the toolchain. Versions are asked of the programs: no file says them.
pub(super) fn read(look: &Look<'_>, distribution: &Distribution) -> Finding<Toolchain> {
    let from_machine = look.host.kind() == HostKind::PartialRoot;
    let machine;
    let root = if from_machine {
        match Root::open(Path::new("/")) {
            Ok(root) => {
                machine = root;
                &machine
            }
            Err(e) => return Finding::unseen(e.to_string()),
        }
    } else {
        look.root()
    };
    let tool = |command: &str| {
        which(root, command).map(|path| Tool { command: command.to_owned(), path, version: None })
    };
    let candidates = candidates(root);
    let mut toolchain = Toolchain {
        from_machine,
        compilers: Vec::new(),
        make: tool("make"),
        ld: tool("ld"),
        lld: tool("ld.lld"),
        bubblewrap: tool("bwrap"),
        missing: Vec::new(),
        unanswered: Vec::new(),
    };
    let tools: Vec<&mut Tool> =
        [&mut toolchain.make, &mut toolchain.ld, &mut toolchain.lld].into_iter().flatten().collect();
    let (compilers, unanswered) = std::thread::scope(|scope| {
        let asked: Vec<_> = candidates.iter().map(|c| scope.spawn(|| ask(look.host, &c.path))).collect();
        let tools: Vec<_> = tools
            .into_iter()
            .map(|tool| {
                scope.spawn(|| match ask(look.host, &tool.path) {
                    Ok(line) => {
                        tool.version = parse_tool_version(&line);
                        None
                    }
                    Err(why) => Some(why),
                })
            })
            .collect();
        let mut unanswered = Vec::new();
        let mut compilers = Vec::new();
        for (candidate, answer) in candidates.iter().zip(asked) {
            let text = match answer.join() {
                Ok(Ok(text)) => text,
                Ok(Err(why)) => {
                    unanswered.push(why);
                    continue;
                }
                Err(_) => continue,
            };
            match parse_version_text(&text) {
                Some((kind, version, major)) if kind == candidate.kind => {
                    let (command, path) = (candidate.command.clone(), candidate.path.clone());
                    let also = candidate.also.clone();
                    compilers.push(Compiler { kind, command, also, path, text, version, major });
                }
                _ => unanswered.push(format!("`{} --version` is not understood: {text}", candidate.path)),
            }
        }
        unanswered.extend(tools.into_iter().filter_map(|t| t.join().ok().flatten()));
        (compilers, unanswered)
    });
    toolchain.compilers = compilers;
    toolchain.unanswered = unanswered;
    let absent = [
        ("gcc", candidates.is_empty()),
        ("make", toolchain.make.is_none()),
        ("ld", toolchain.ld.is_none() && toolchain.lld.is_none()),
        ("bwrap", toolchain.bubblewrap.is_none()),
    ];
    for (tool, _) in absent.into_iter().filter(|(_, absent)| *absent) {
        let package = distribution.package_of(tool).map(str::to_owned);
        let command = package.as_deref().and_then(|p| distribution.install_command(p));
        toolchain.missing.push(MissingTool { tool: tool.to_owned(), package, command });
    }
    Finding::Seen(toolchain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tool_versions_are_those_outside_of_parentheses() {
        for (text, version) in [
            ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu", Some("4.3")),
            ("GNU ld (GNU Binutils for Debian) 2.40", Some("2.40")),
            ("GNU ld version 2.41-38.fc40", Some("2.41-38.fc40")),
            ("GNU ld (Gentoo 2.42 p6) 2.42.0", Some("2.42.0")),
            ("Debian LLD 16.0.6 (compatible with GNU linkers)", Some("16.0.6")),
            ("nothing here", None),
            ("", None),
        ] {
            assert_eq!(parse_tool_version(text).as_deref(), version, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*") {
            parse_tool_version(&text);
        }
    }
}
