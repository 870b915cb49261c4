// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;
use proptest::prelude::*;

const GOOD: &str = r#"
schema = 1
id = "good"
title = "old() became new()"
modules = ["vmmon"]
since = "removed in 6.15"
source = "measured"
[[probe]]
name = "old"
code = 'void f(void) { old(); }'
[[apply]]
when = "!old"
reason = "this kernel has no old()"
uses = '\bold\('
compat = '#define old new'
"#;

fn why(text: &str) -> String {
    Adaptation::parse("good.toml", text).unwrap_err().to_string()
}

#[test]
fn a_good_file_is_read() {
    let a = Adaptation::parse("dir/good.toml", GOOD).unwrap();
    assert_eq!(a.id, "good");
    assert_eq!(a.applies[0].compat, "#define old new\n");
    assert_eq!(a.applies[0].when.to_string(), "!old");
}

#[test]
fn what_is_wrong_is_said_with_its_file() {
    let cases: &[(&str, &str, &str)] = &[
        ("schema = 1", "schema = 2", "schema 2"),
        ("id = \"good\"", "id = \"other\"", "the file's name"),
        ("title", "titel", "titel"),
        ("when = \"!old\"", "when = \"!old &&\"", "character 8"),
        ("when = \"!old\"", "when = \"!olt\"", "`olt`"),
        ("reason = \"this kernel has no old()\"", "reason = ''", "reason"),
        ("compat = '#define old new'", "", "does nothing"),
        ("compat = '#define old new'", "compat = '#include <linux/mm.h>'", "<linux/version.h> only"),
        ("compat = '#define old new'", "compat = '#define old @{what}'", "refers to none"),
        ("uses = '\\bold\\('", "uses = '('", "pattern"),
        ("name = \"old\"", "name = \"optimized\"", "built-in"),
        ("code = 'void", "config = 'CONFIG_X'\ncode = 'void", "exactly one"),
        ("compat = '#define old new'", "make = ['KCFLAGS=-O3']", "cflags"),
        ("compat = '#define old new'", "cflags = ['-O3 -x']", "no compiler option"),
        ("modules = [\"vmmon\"]", "modules = []", "at least one module"),
    ];
    for (from, to, expected) in cases {
        assert!(GOOD.contains(from), "{from}");
        let e = why(&GOOD.replacen(from, to, 1));
        assert!(e.contains("good.toml") && e.contains(expected), "{to}: {e}");
    }
    assert!(why("schema = ").contains("line 1"));
}

#[test]
fn an_unused_probe_is_a_mistake() {
    let e = why(&GOOD.replace("when = \"!old\"", "when = \"vmmon\""));
    assert!(e.contains("no condition uses"), "{e}");
}

#[test]
fn edits_need_an_anchor_and_a_text() {
    let edit = |text: &str| why(&format!("{GOOD}[[apply.edit]]\nfile = 'a.c'\n{text}"));
    assert!(edit("find = 'x'").contains("either"));
    assert!(edit("append = 'x'").contains("again and again"));
    assert!(edit("regex = 'x*'\nreplace = ''").contains("empty text"));
    assert!(why(&format!("{GOOD}[[apply.edit]]\nfile = '../a.c'\nfind='x'\nreplace=''")).contains("../a.c"));
}

#[test]
fn patterns_of_files_stay_in_their_folder() {
    let glob = |g: &str, p: &str| Glob::parse(g).unwrap().matches(p);
    assert!(glob("a.c", "a.c") && !glob("a.c", "x/a.c") && !glob("a.c", "axc"));
    assert!(glob("**/a.h", "a.h") && glob("**/a.h", "x/y/a.h") && !glob("**/a.h", "xa.h"));
    assert!(glob("linux/*.c", "linux/b.c") && !glob("linux/*.c", "linux/x/b.c"));
}

proptest! {
    #[test]
    fn any_text_never_panics(text in "\\PC{0,200}") {
        let _ = Adaptation::parse("x.toml", &text);
    }

    #[test]
    fn a_damaged_file_never_panics(at in any::<prop::sample::Index>(), c in any::<char>()) {
        let mut chars: Vec<char> = GOOD.chars().collect();
        let i = at.index(chars.len());
        chars[i] = c;
        let _ = Adaptation::parse("good.toml", &chars.into_iter().collect::<String>());
    }
}
