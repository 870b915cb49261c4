// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;
use crate::engine::edit;
use crate::engine::steps::{Mode, SourceRef};
use crate::flows::vmware::facts::CpuFacts;
use proptest::prelude::*;

const HEAD: &str =
    "schema = 1\ntitle = 'a title'\nmodules = ['vmmon']\nsince = 'removed in 9.9'\nsource = 'test'\n";

fn catalogue(files: &[(&str, &str)]) -> Catalogue {
    let texts: Vec<(String, String)> =
        files.iter().map(|(id, body)| (format!("{id}.toml"), format!("id = '{id}'\n{HEAD}{body}"))).collect();
    Catalogue::from_texts(texts.iter().map(|(n, t)| (n.as_str(), t.as_str()))).unwrap()
}

fn tree(files: &[(&str, &str)]) -> SourceTree {
    let mut all = Files::from([("Makefile".to_owned(), b"obj-m += vmmon.o\n".to_vec())]);
    all.insert("main.c".into(), b"int init_module(void) { return misc_register(0); }\n".to_vec());
    all.extend(files.iter().map(|(p, t)| ((*p).to_owned(), t.as_bytes().to_vec())));
    SourceTree::from_files(&all, "vmmon", &SourceRef::Installed { path: "/src".into() }).unwrap()
}

fn answers(list: &[(&str, bool)]) -> Outcomes {
    Outcomes(list.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect())
}

fn run(
    files: &[(&str, &str)],
    list: &[(&str, bool)],
    sources: &[(&str, &str)],
) -> Result<Resolved, ResolveError> {
    resolve(&catalogue(files), &answers(list), &tree(sources), &Options::default())
}

fn edited(resolved: &Resolved, sources: &[(&str, &str)]) -> Files {
    let mut files = tree(sources).files;
    edit::apply(&mut files, &resolved.edits).unwrap();
    files
}

const RENAME: &str = "[[probe]]\nname = 'old'\ncode = 'int x;'\n[[apply]]\nwhen = '!old'\nreason = 'gone'\nuses = '\\bold\\('\nfixed = '#define old\\b'\ncompat = '#define old new'\n";

#[test]
fn a_macro_goes_into_the_header_where_the_kernel_lacks_the_function() {
    let r = run(&[("a", RENAME)], &[("a.old", false)], &[("a.c", "old();")]).unwrap();
    assert!(r.compat_header.contains("#define old new\n"), "{}", r.compat_header);
    assert!(r.compat_header.contains("#ifndef HOSTWRIGHT_COMPAT_H"));
    assert_eq!(r.make_vars, ["KCFLAGS=-include $(M)/hostwright-compat.h"]);
    assert_eq!((r.applied[0].id.as_str(), r.applied[0].reason.as_str()), ("a", "gone"));
    assert!(r.applied[0].shown().unwrap().contains("+hostwright-compat.h: #define old new"));
}

#[test]
fn nothing_is_applied_that_is_not_needed() {
    let because = |list: &[(&str, bool)], text: &str| {
        let r = run(&[("a", RENAME)], list, &[("a.c", text)]).unwrap();
        assert!(r.applied.is_empty() && r.compat_header.is_empty() && r.make_vars.is_empty(), "{r:?}");
        r.not_needed[0].why.to_string()
    };
    assert_eq!(because(&[("a.old", true)], "old();"), "not so here: old: yes");
    assert_eq!(because(&[("a.old", false)], "/* old() */ new();"), "the sources do not use it");
    assert_eq!(
        because(&[("a.old", false)], "#define old new\nold();"),
        "the sources are already fixed (a.c)"
    );
}

#[test]
fn a_probe_without_an_answer_is_an_error() {
    let e = run(&[("a", RENAME)], &[], &[("a.c", "old();")]).unwrap_err();
    assert!(matches!(&e, ResolveError::NoAnswer { probe, .. } if probe == "old"), "{e}");
}

const EDIT: &str = "[[apply]]\nreason = 'r'\n[[apply.edit]]\nfile = 'a.c'\nneeded = 'lock'\nfixed = 'rcu'\nfind = 'take(lock)'\nreplace = 'rcu_take()'\n";

#[test]
fn an_edit_matches_exactly_once_or_is_proven_not_needed() {
    let with = |text: &'static str| run(&[("a", EDIT)], &[], &[("a.c", text)]);
    let r = with("x;\ntake(lock);\n").unwrap();
    assert_eq!((r.edits[0].at, r.edits[0].before.as_str()), (3, "take(lock)"));
    assert_eq!(edited(&r, &[("a.c", "x;\ntake(lock);\n")])["a.c"], b"x;\nrcu_take();\n");
    assert!(r.applied[0].diff.as_ref().unwrap().contains("-take(lock);\n+rcu_take();\n"));

    assert_eq!(with("nothing\n").unwrap().not_needed[0].why, Why::NotUsed);
    assert!(matches!(with("rcu lock\n").unwrap().not_needed[0].why, Why::Fixed { .. }));
    for (text, found) in [("lock\n", 0), ("take(lock); take(lock);\n", 2)] {
        let e = with(text).unwrap_err();
        assert!(matches!(e, ResolveError::NoMatch { found: f, .. } if f == found), "{e}");
        for word in ["adaptation a ", "`a.c`", "`take(lock)`", "exactly once", "use those of your"] {
            assert!(e.to_string().contains(word), "{word}: {e}");
        }
    }
}

#[test]
fn a_file_that_is_gone_is_fine_only_when_what_it_was_about_is_gone_too() {
    let with = |sources: &[(&str, &str)]| run(&[("a", EDIT)], &[], sources);
    assert_eq!(with(&[("b.c", "nothing")]).unwrap().not_needed[0].why, Why::NotUsed);
    let e = with(&[("b.c", "take(lock);")]).unwrap_err();
    assert!(matches!(&e, ResolveError::NoFile { elsewhere: Some(f), .. } if f == "b.c"), "{e}");
    let anchored = EDIT.replace("needed = 'lock'\n", "");
    let e = run(&[("a", anchored.as_str())], &[], &[("b.c", "x")]).unwrap_err();
    assert!(matches!(e, ResolveError::NoFile { elsewhere: None, .. }), "{e}");
}

#[test]
fn every_match_is_replaced_where_the_file_says_all() {
    let body = "[[apply]]\nreason = 'r'\n[[apply.edit]]\nfile = '*.c'\nneeded = 'old'\nregex = 'old(\\d)'\nreplace = 'brand_new$1'\nall = true\n";
    let sources = [("a.c", "old1 old2 old3"), ("b.c", "old4"), ("c.c", "none")];
    let r = run(&[("a", body)], &[], &sources).unwrap();
    assert_eq!(r.edits.len(), 4);
    let files = edited(&r, &sources);
    assert_eq!(files["a.c"], b"brand_new1 brand_new2 brand_new3");
    assert_eq!(files["b.c"], b"brand_new4");
}

#[test]
fn later_adaptations_see_what_earlier_ones_wrote() {
    let first = "[[apply]]\nreason = 'r'\n[[apply.edit]]\nfile = 'a.c'\nfind = 'one'\nreplace = 'two'\n";
    let second = "after = ['z']\n[[apply]]\nreason = 'r'\n[[apply.edit]]\nfile = 'a.c'\nfind = 'two'\nreplace = 'three'\n";
    // `after` belongs to the top of the file, before the first table.
    let r = run(&[("a", second), ("z", first)], &[], &[("a.c", "one")]).unwrap();
    assert_eq!(edited(&r, &[("a.c", "one")])["a.c"], b"three");
    assert_eq!(r.applied.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["z", "a"]);
}

#[test]
fn text_is_appended_once() {
    let body = "[[apply]]\nreason = 'r'\n[[apply.edit]]\nfile = 'a.c'\nfixed = 'MODULE_INFO'\nappend = 'MODULE_INFO(x, \"@{mode} @{record}\");'\n";
    let cat = catalogue(&[("a", body)]);
    let options = Options { record: "abc\"; evil()".into(), ..Options::default() };
    let sources = tree(&[("a.c", "no newline at the end")]);
    let r = resolve(&cat, &Outcomes::default(), &sources, &options).unwrap();
    let mut files = sources.files.clone();
    edit::apply(&mut files, &r.edits).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&files["a.c"]),
        "no newline at the end\nMODULE_INFO(x, \"vanilla abc evil()\");\n"
    );
    let again = SourceTree::from_files(&files, "vmmon", &sources.source).unwrap();
    assert!(resolve(&cat, &Outcomes::default(), &again, &options).unwrap().edits.is_empty());
}

#[test]
fn flags_are_joined_and_variables_must_agree() {
    let flags = "[[apply]]\nreason = 'r'\ncflags = ['-DA=1', '-DB']\nmake = ['X=n']\n";
    let r =
        run(&[("a", flags), ("b", "[[apply]]\nreason = 'r'\ncflags = ['-DC']\nmake = ['X=n']\n")], &[], &[])
            .unwrap();
    assert_eq!(r.make_vars, ["X=n", "KCFLAGS=-DA=1 -DB -DC"]);
    let e = run(&[("a", flags), ("b", "[[apply]]\nreason = 'r'\nmake = ['X=y']\n")], &[], &[]).unwrap_err();
    assert!(matches!(e, ResolveError::Conflict { .. }), "{e}");
}

#[test]
fn source_probes_and_built_in_words_are_answered_without_a_kernel() {
    let body = "[[probe]]\nname = 'reads'\nsource = '\\bSWITCH\\b'\nfile = '*.c'\n[[apply]]\nwhen = 'reads && optimized && vmmon && !vmnet && has_avx512 && !clang'\nreason = 'r'\ncflags = ['-march=@{march}']\n";
    let cat = catalogue(&[("a", body)]);
    let cpu = CpuFacts {
        model: "X".into(),
        march: "haswell".into(),
        nested_paging: true,
        avx512: true,
        nvme: false,
    };
    let options = Options { mode: Mode::Optimized, cpu: Some(cpu), ..Options::default() };
    let flags = |options: &Options, sources: &[(&str, &str)]| {
        resolve(&cat, &Outcomes::default(), &tree(sources), options).unwrap().make_vars
    };
    assert_eq!(flags(&options, &[("a.c", "#ifdef SWITCH")]), ["KCFLAGS=-march=haswell"]);
    assert!(flags(&options, &[("a.h", "#ifdef SWITCH")]).is_empty());
    assert!(flags(&Options { mode: Mode::Vanilla, ..options.clone() }, &[("a.c", "SWITCH")]).is_empty());
}

#[test]
fn only_names_that_are_safe_in_a_kernel_are_passed_to_the_compiler() {
    let march = |name: &str| {
        let cpu = CpuFacts {
            model: "X".into(),
            march: name.into(),
            nested_paging: false,
            avx512: false,
            nvme: false,
        };
        Options { mode: Mode::Optimized, cpu: Some(cpu), ..Options::default() }.values().get("march").cloned()
    };
    assert_eq!(march("znver4").as_deref(), Some("znver4"));
    for bad in ["native", "diamondrapids", "x86-64 -mavx512f", ""] {
        assert_eq!(march(bad), None, "{bad}");
    }
}

#[test]
fn a_text_that_is_no_utf8_is_left_alone_around_the_match() {
    let mut sources = tree(&[]);
    sources.files.insert("a.c".into(), b"\xa9 take(lock) \xff".to_vec());
    let r = resolve(&catalogue(&[("a", EDIT)]), &Outcomes::default(), &sources, &Options::default()).unwrap();
    let mut files = sources.files.clone();
    edit::apply(&mut files, &r.edits).unwrap();
    assert_eq!(files["a.c"], b"\xa9 rcu_take() \xff");
}

#[test]
fn the_result_is_the_same_each_time_and_survives_json() {
    let cat = Catalogue::embedded().unwrap();
    let answers: BTreeMap<String, bool> = cat
        .adaptations()
        .iter()
        .flat_map(|a| a.probes.iter().map(|p| (format!("{}.{}", a.id, p.name), false)))
        .collect();
    let tree = tree(&[("linux/driver.c", "del_timer_sync(&t);\nMODULE_LICENSE(\"GPL\");\n")]);
    let one = resolve(&cat, &Outcomes(answers.clone()), &tree, &Options::default()).unwrap();
    let two = resolve(&cat, &Outcomes(answers), &tree, &Options::default()).unwrap();
    assert_eq!(one, two);
    let json = serde_json::to_string(&one).unwrap();
    assert_eq!(serde_json::from_str::<Resolved>(&json).unwrap(), one);
}

/// The adaptations of the program, with every answer one way or the other, on sources of any shape.
fn any_answers() -> impl Strategy<Value = u64> {
    any::<u64>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn edits_always_fit_the_sources_they_were_resolved_for(
        bits in any_answers(),
        parts in proptest::collection::vec(0usize..14, 0..12),
    ) {
        const PARTS: [&str; 14] = [
            "del_timer_sync(&x);\n", "rdmsrl_safe(1, &v);\n", "#include <asm/timex.h>\n", "#define MAX(a, b) a\n",
            "int\ninit_module(void)\n{\n}\n", "void\ncleanup_module(void)\n{\n}\n", "read_lock(&dev_base_lock)\n",
            "read_unlock(&dev_base_lock)\n", "MODULE_LICENSE(\"GPL\");\n", "netif_rx_ni(skb);\n",
            "#include <stdarg.h>\n", "// timer_delete_sync(\n", "int\nHostIFStartTimer(int a)\n{\n}\n", "get_fs();\n",
        ];
        static CATALOGUE: std::sync::LazyLock<Catalogue> =
            std::sync::LazyLock::new(|| Catalogue::embedded().unwrap());
        let cat = &*CATALOGUE;
        let keys = cat.adaptations().iter().flat_map(|a| a.probes.iter().map(|p| format!("{}.{}", a.id, p.name)));
        let outcomes = Outcomes(keys.enumerate().map(|(i, k)| (k, bits >> (i % 64) & 1 == 1)).collect());
        let text: String = parts.iter().map(|p| PARTS[*p]).collect();
        let tree = tree(&[("linux/driver.c", &text), ("common/vmx86.c", &text), ("include/vm_assert.h", &text)]);
        if let Ok(resolved) = resolve(cat, &outcomes, &tree, &Options::default()) {
            let mut files = tree.files.clone();
            prop_assert!(edit::apply(&mut files, &resolved.edits).is_ok());
            let seen = resolved.applied.len() + resolved.not_needed.len();
            let all = cat.adaptations().iter().filter(|a| a.modules.contains(&tree.module)).count();
            prop_assert_eq!(seen, all);
        }
    }
}
