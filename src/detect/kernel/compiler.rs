// SPDX-License-Identifier: GPL-3.0-or-later
//! The compiler that built a kernel, and the one of this machine that goes with it best.

use super::{BuildCompiler, CompilerFit, CompilerKind, KernelCompiler};
use crate::detect::toolchain::{Compiler, Toolchain};

/// Reads the first line of a compiler's `--version` ("gcc-12 (Debian 12.2.0-14) 12.2.0", "Debian clang
/// version 16.0.6"): kind, version, major version.
pub fn parse_version_text(text: &str) -> Option<(CompilerKind, String, u32)> {
    let (kind, rest) = if let Some((_, after)) = text.split_once("clang version ") {
        (CompilerKind::Clang, after)
    } else {
        // The package's own words stand in parentheses before the version; they may hold versions too.
        let first = text.split_whitespace().next()?;
        let name = first.rsplit('/').next()?;
        if !name.split('-').any(|part| matches!(part, "gcc" | "cc" | "GCC")) {
            return None;
        }
        let mut depth = 0usize;
        let mut end = first.len();
        for (i, c) in text.char_indices() {
            match c {
                '(' => depth += 1,
                ')' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        end = i + 1;
                        break;
                    }
                }
                _ => {}
            }
        }
        (CompilerKind::Gcc, text.get(end..)?)
    };
    let version = rest
        .split(|c: char| c.is_whitespace() || c == ',' || c == ')')
        .find(|w| w.starts_with(|c: char| c.is_ascii_digit()))?;
    let major = version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some((kind, version.to_owned(), major))
}

/// The compiler command in the headers' own makefile: the last word of a line `CC = … gcc-12`
/// (Debian's `.kernelvariables`).
pub fn parse_makefile_cc(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let value = line.trim().strip_prefix("CC")?.trim_start();
        let value = value.strip_prefix(":=").or_else(|| value.strip_prefix('='))?;
        let word = value.split_whitespace().last()?;
        let word = word.rsplit(')').next().unwrap_or(word);
        let known = word.starts_with("gcc") || word.starts_with("clang");
        (known && word.chars().all(|c| c.is_ascii_alphanumeric() || "-._+".contains(c)))
            .then(|| word.to_owned())
    })
}

/// The compiler's text out of `/proc/version` ("Linux version K (who@where) (gcc … 12.2.0, GNU ld …) #1").
pub fn compiler_of_proc_version(text: &str) -> Option<&str> {
    let (_, after) = text.split_once(") (")?;
    Some(without_linker(after))
}

/// `LINUX_COMPILER` of `compile.h`.
pub fn parse_compile_h(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("#define LINUX_COMPILER")?;
    let (_, after) = after.split_once('"')?;
    let (value, _) = after.split_once('"')?;
    Some(without_linker(value))
}

fn without_linker(text: &str) -> &str {
    let ends = [", GNU ld", ", LLD", ", Debian LLD", ", Ubuntu LLD", ", mold"];
    ends.iter().filter_map(|end| text.split_once(end)).map(|(head, _)| head).next().unwrap_or(text).trim()
}

/// What built a kernel, from its version text and the command in its makefiles.
pub(super) fn kernel_compiler(text: &str, command: Option<String>) -> Option<KernelCompiler> {
    let (kind, version, major) = parse_version_text(text)?;
    let command = command.unwrap_or_else(|| match kind {
        CompilerKind::Clang => "clang".to_owned(),
        CompilerKind::Gcc => {
            let first = text.split_whitespace().next().unwrap_or("gcc");
            first.rsplit('/').next().unwrap_or(first).to_owned()
        }
    });
    Some(KernelCompiler { kind, text: text.to_owned(), version, major, command })
}

fn fit(kernel: &KernelCompiler, compiler: &Compiler) -> CompilerFit {
    // The first word is the name the compiler was called by ("gcc-12" or "gcc"): no difference.
    let told = |text: &str| text.split_once(' ').map_or(String::new(), |(_, rest)| rest.trim().to_owned());
    let clang_told =
        |text: &str| text.split_once("clang version ").map_or(String::new(), |(_, v)| v.trim().to_owned());
    if kernel.kind != compiler.kind {
        return CompilerFit::OtherKind;
    }
    let same = match kernel.kind {
        CompilerKind::Gcc => told(&kernel.text) == told(&compiler.text),
        CompilerKind::Clang => clang_told(&kernel.text) == clang_told(&compiler.text),
    };
    if same {
        CompilerFit::Same
    } else if kernel.major == compiler.major {
        CompilerFit::SameMajor
    } else {
        CompilerFit::OtherMajor
    }
}

/// The compiler that goes best with a kernel; `None` when there is none at all.
pub fn choose(kernel: &KernelCompiler, toolchain: &Toolchain) -> Option<BuildCompiler> {
    let named = |c: &Compiler| c.command == kernel.command || c.also.contains_key(&kernel.command);
    let best = toolchain.compilers.iter().min_by_key(|c| {
        let distance = kernel.major.abs_diff(c.major);
        (fit(kernel, c), !named(c), distance, std::cmp::Reverse(c.major))
    })?;
    let fit = fit(kernel, best);
    let (command, path) = match best.also.get_key_value(&kernel.command) {
        Some((command, path)) => (command, path),
        None => (&best.command, &best.path),
    };
    let kind = |kind| if kind == CompilerKind::Gcc { "gcc" } else { "clang" };
    let note = match fit {
        CompilerFit::Same => String::new(),
        CompilerFit::SameMajor => {
            format!(
                "the kernel was built by {} {}, this is {}",
                kind(kernel.kind),
                kernel.version,
                best.version
            )
        }
        CompilerFit::OtherMajor => format!(
            "the kernel was built by {k} {}, this is {k} {}; the modules may fail to build or to load. Install {}",
            kernel.version,
            best.version,
            kernel.command,
            k = kind(kernel.kind),
        ),
        CompilerFit::OtherKind => format!(
            "the kernel was built by {} {}, and only {} {} is here; their flags do not go together. Install {}",
            kind(kernel.kind),
            kernel.version,
            kind(best.kind),
            best.version,
            if kernel.kind == CompilerKind::Clang { "clang, lld and llvm" } else { &kernel.command },
        ),
    };
    Some(BuildCompiler { command: command.clone(), path: path.clone(), fit, note })
}

#[cfg(test)]
mod tests {
    use super::*;
    use CompilerKind::{Clang, Gcc};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn version_texts_of_many_distributions_are_read() {
        for (text, kind, version, major) in [
            ("gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0", Gcc, "12.2.0", 12),
            ("x86_64-linux-gnu-gcc-13 (Ubuntu 13.2.0-23ubuntu4) 13.2.0", Gcc, "13.2.0", 13),
            ("gcc (Ubuntu 9.4.0-1ubuntu1~20.04.2) 9.4.0", Gcc, "9.4.0", 9),
            ("gcc (GCC) 14.2.1 20240912 (Red Hat 14.2.1-3)", Gcc, "14.2.1", 14),
            ("gcc (SUSE Linux) 13.3.0", Gcc, "13.3.0", 13),
            ("gcc (GCC) 14.2.1 20240910", Gcc, "14.2.1", 14),
            ("gcc (Gentoo 13.3.1_p20240614 p17) 13.3.1 20240614", Gcc, "13.3.1", 13),
            (
                "x86_64-pc-linux-gnu-gcc (Gentoo Hardened 13.2.1_p20240210 p14) 13.2.1 20240210",
                Gcc,
                "13.2.1",
                13,
            ),
            ("gcc-14 (Debian 14.2.0-19) 14.2.0", Gcc, "14.2.0", 14),
            ("clang version 18.1.8", Clang, "18.1.8", 18),
            ("Debian clang version 16.0.6 (15~deb12u1)", Clang, "16.0.6", 16),
            ("clang version 19.1.0 (/checkout/src/llvm-project/clang abc)", Clang, "19.1.0", 19),
        ] {
            assert_eq!(parse_version_text(text), Some((kind, version.to_owned(), major)), "{text}");
        }
        assert_eq!(parse_version_text("GNU Make 4.3"), None);
        assert_eq!(parse_version_text(""), None);
    }

    #[test]
    fn debian_names_the_compiler_in_its_makefile() {
        let text = "override ARCH = x86\nCCACHE = ccache\nCC = $(if $(DEBIAN_KERNEL_USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-12\nifneq (a,b)\n";
        assert_eq!(parse_makefile_cc(text).as_deref(), Some("gcc-12"));
        assert_eq!(parse_makefile_cc("CC = $(shell evil)\n"), None);
        assert_eq!(parse_makefile_cc("CCACHE = gcc\n"), None);
    }

    #[test]
    fn the_linker_is_cut_off() {
        let version = "Linux version 6.1.0-25-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26)";
        assert_eq!(compiler_of_proc_version(version), Some("gcc-12 (Debian 12.2.0-14) 12.2.0"));
        let header =
            "#define LINUX_COMPILE_HOST \"x\"\n#define LINUX_COMPILER \"clang version 18.1.8, LLD 18.1.8\"\n";
        assert_eq!(parse_compile_h(header), Some("clang version 18.1.8"));
    }

    fn compiler(kind: CompilerKind, command: &str, text: &str) -> Compiler {
        let (parsed, version, major) = parse_version_text(text).unwrap();
        assert_eq!(parsed, kind);
        Compiler {
            kind,
            command: command.into(),
            also: BTreeMap::new(),
            path: format!("/usr/bin/{command}"),
            text: text.into(),
            version,
            major,
        }
    }

    fn toolchain(compilers: Vec<Compiler>) -> Toolchain {
        Toolchain {
            from_machine: false,
            compilers,
            make: None,
            ld: None,
            lld: None,
            bubblewrap: None,
            missing: vec![],
            unanswered: vec![],
        }
    }

    #[test]
    fn the_compiler_that_built_the_kernel_is_preferred() {
        let kernel = kernel_compiler("gcc-12 (Debian 12.2.0-14) 12.2.0", Some("gcc-12".into())).unwrap();
        let all = toolchain(vec![
            compiler(Gcc, "gcc", "gcc (Debian 14.2.0-19) 14.2.0"),
            compiler(Clang, "clang", "Debian clang version 16.0.6"),
            compiler(Gcc, "gcc-11", "gcc-11 (Debian 11.3.0-12) 11.3.0"),
            compiler(Gcc, "gcc-12", "gcc-12 (Debian 12.2.0-14) 12.2.0"),
        ]);
        let best = choose(&kernel, &all).unwrap();
        assert_eq!((best.command.as_str(), best.fit, best.note.as_str()), ("gcc-12", CompilerFit::Same, ""));

        let others = toolchain(all.compilers[..3].to_vec());
        let best = choose(&kernel, &others).unwrap();
        assert_eq!((best.command.as_str(), best.fit), ("gcc-11", CompilerFit::OtherMajor));
        assert!(best.note.contains("Install gcc-12"), "{}", best.note);

        let clang = toolchain(all.compilers[1..2].to_vec());
        let best = choose(&kernel, &clang).unwrap();
        assert_eq!(best.fit, CompilerFit::OtherKind);
        assert!(choose(&kernel, &toolchain(vec![])).is_none());
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*") {
            parse_version_text(&text);
            parse_version_text(&format!("gcc ({text}"));
            parse_makefile_cc(&format!("CC = {text}"));
            compiler_of_proc_version(&text);
            parse_compile_h(&format!("#define LINUX_COMPILER {text}"));
        }
    }
}
