// SPDX-License-Identifier: GPL-3.0-or-later
//! What holds for every format and any text.

use super::*;
use proptest::prelude::*;

const EDITED: [Format; 5] =
    [Format::Plain, Format::GrubDefaults, Format::LoaderEntry, Format::Refind, Format::Limine];

fn parameters() -> impl Strategy<Value = Vec<Parameter>> {
    let one = "[a-z][a-z0-9_]{0,7}(\\.[a-z]{1,3})?(=[a-zA-Z0-9,:./-]{1,6})?";
    proptest::collection::vec(one.prop_map(|w| w.parse().unwrap()), 1..4)
}

/// A text of a format, with a command line of these words in it.
fn text_of(format: Format, words: &str) -> String {
    match format {
        Format::Plain => format!("{words}\n"),
        Format::GrubDefaults => format!("GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT=\"{words}\"\n# end\n"),
        Format::LoaderEntry => format!("title X\nlinux /vmlinuz\noptions {words}\ninitrd /initrd\n"),
        Format::Refind => format!("# c\n\"Boot\"   \"{words}\"\n\"Single\" \"{words} single\"\n"),
        Format::Limine => format!("timeout: 5\n/Linux\n  protocol: linux\n  cmdline: {words}\n  path: x\n"),
        Format::GrubConfig => format!("menuentry 'X' {{\n linux /vmlinuz {words}\n}}\n"),
    }
}

proptest! {
    #[test]
    fn words_are_there_once_and_nothing_else_changed(
        words in "[a-z]{1,4}( [a-z]{1,4}=[a-z0-9]{1,4}){0,4}", wanted in parameters()
    ) {
        for format in EDITED {
            let text = text_of(format, &words);
            let Ok(changed) = add(format, &text, &wanted) else { continue };
            let changed = changed.unwrap_or_else(|| text.clone());
            let found = read(format, &changed).unwrap();
            let before = read(format, &text).unwrap();
            prop_assert_eq!(add(format, &changed, &wanted).unwrap(), None);
            for parameter in &wanted {
                // What stood there twice is its owner's.
                let expected = before[0].line.count(parameter).max(1);
                prop_assert_eq!(found[0].line.count(parameter), expected, "{:?}", format);
            }
            // The words before are still there, in their order, before all others.
            prop_assert_eq!(&found[0].line.words[..before[0].line.words.len()], &before[0].line.words[..]);
            // Without the added words it is what it was.
            let mut back = changed.clone();
            for parameter in wanted.iter().filter(|p| before[0].line.count(p) == 0) {
                let (with, alone) = (format!(" {parameter}"), parameter.as_str());
                let at = if format == Format::Refind { back.find("\n\"Single").unwrap() } else { back.len() };
                if let Some(at) = back[..at].rfind(&with) {
                    back.replace_range(at..at + with.len(), "");
                } else {
                    back = back.replacen(alone, "", 1);
                }
            }
            prop_assert_eq!(back.len(), text.len(), "{:?}: {:?} {:?}", format, changed, text);
        }
    }

    #[test]
    fn no_text_makes_any_format_panic(text in "(?s).{0,200}", wanted in parameters()) {
        for format in EDITED.into_iter().chain([Format::GrubConfig]) {
            let _ = read(format, &text);
            if let Ok(Some(changed)) = add(format, &text, &wanted) {
                prop_assert!(read(format, &changed).is_ok(), "{:?}: {:?}", format, changed);
            }
        }
        let _ = take_out(&text, &wanted);
    }

    #[test]
    fn no_shell_text_makes_the_parser_panic(
        text in "((GRUB_CMDLINE_LINUX(_DEFAULT)?)=|[\"'`$(){}\\\\; \n#é<&|]|if|fi|\\$\\{X\\}|quiet|<<|A=1){0,40}", wanted in parameters()
    ) {
        if let Ok(Some(changed)) = add(Format::GrubDefaults, &text, &wanted) {
            let found = read(Format::GrubDefaults, &changed).unwrap();
            for parameter in &wanted {
                prop_assert!(found[0].line.count(parameter) >= 1);
            }
        }
    }

    #[test]
    fn no_structured_text_makes_the_others_panic(
        text in "(/[a-z]|protocol: linux|cmdline:|options|linux|[\"'\n\t #é-]|--| a=1|\\$\\{x\\}){0,40}", wanted in parameters()
    ) {
        for format in [Format::LoaderEntry, Format::Refind, Format::Limine, Format::Plain] {
            if let Ok(Some(changed)) = add(format, &text, &wanted) {
                prop_assert_eq!(add(format, &changed, &wanted), Ok(None), "{:?}: {:?} -> {:?}", format, text, changed);
            }
        }
    }

    /// The real shell is asked what a file that was edited says.
    #[test]
    fn the_shell_reads_what_the_parser_says(
        value in "([a-z]{1,3}=?|\"[a-z ]{0,4}\"|'[a-z ]{0,4}'|\\$A|\\$\\{A\\}|\\\\ ){0,5}"
    ) {
        let text = format!("A=b\nGRUB_CMDLINE_LINUX_DEFAULT={value}\n");
        let Ok(Some(changed)) = add(Format::GrubDefaults, &text, &["x=1".parse().unwrap()]) else { return Ok(()) };
        let script = format!("{changed}printf '%s' \"$GRUB_CMDLINE_LINUX_DEFAULT\"");
        let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let words: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
        let found = read(Format::GrubDefaults, &changed).unwrap();
        prop_assert_eq!(&found[0].line.words, &words, "{}", changed);
        prop_assert_eq!(words.iter().filter(|w| *w == "x=1").count(), 1);
    }
}

#[test]
fn what_only_looks_empty_is_a_second_line() {
    assert!(
        read(Format::Plain, "quiet\n\u{b}").is_err(),
        "a vertical tab is a word to those who read the file"
    );
    assert!(read(Format::Plain, "quiet\n \n").is_ok());
}

#[test]
fn what_stays_as_it_is_must_be_understood_too() {
    let wanted = ["iommu=pt".parse::<Parameter>().unwrap()];
    // The second line is a way out, and its doubled quotes leave one open for the kernel.
    let text = "\"a\" \"ro\"\n\"b\" \"ro\"\"x y\"\n";
    let error = add(Format::Refind, text, &wanted).unwrap_err();
    assert!(error.to_string().starts_with("line 2: "), "{error}");
    assert!(add(Format::Refind, &text.replace("\"\"", ""), &wanted).unwrap().is_some());
}

#[test]
fn a_change_that_would_come_twice_is_refused_at_its_line() {
    let text = "GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX_DEFAULT\"\n";
    let wanted = ["iommu=pt".parse().unwrap()];
    let error = add(Format::GrubDefaults, text, &wanted).unwrap_err().to_string();
    assert!(error.starts_with("line 2: with the change"), "{error}");
}
