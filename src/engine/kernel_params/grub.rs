// SPDX-License-Identifier: GPL-3.0-or-later
//! `/etc/default/grub` and the drop-ins that some distributions read after it. grub-mkconfig's `10_linux`
//! gives usual entries `GRUB_CMDLINE_LINUX` and then `GRUB_CMDLINE_LINUX_DEFAULT`, recovery entries the first only:
//! words go into the second where there is one, so that recovery mode stays the way back.

use super::generated::Generated;
use super::shell::{self, Assignment, Part, Statement};
use super::words::{CommandLine, Parameter};
use super::{ParamError, check_text};
use std::collections::BTreeMap;

/// The drop-in with the words that were added. It is read after the others: names sort it last.
pub const DROP_IN: &str = "zz-hostwright.cfg";

const LINUX: &str = "GRUB_CMDLINE_LINUX";
const DEFAULT: &str = "GRUB_CMDLINE_LINUX_DEFAULT";

const HEAD: &str = "\
# Written by Hostwright: words that it added to the kernel command line. `hostwright undo` takes them out.
";

/// The files that grub-mkconfig reads, in that order: (path, text).
#[derive(Debug, Clone, Copy)]
pub struct GrubFiles<'a>(pub &'a [(String, String)]);

/// What is known of the variables, and the last assignment of each.
#[derive(Default)]
struct Known {
    values: BTreeMap<String, Option<String>>,
    last: BTreeMap<&'static str, (String, Assignment)>,
}

impl Known {
    fn take_in(&mut self, path: &str, text: &str) -> Result<(), ParamError> {
        check_text(text)?;
        for statement in shell::parse(text)? {
            match statement {
                Statement::Other { text, line } => {
                    if let Some(name) = [LINUX, DEFAULT].into_iter().find(|n| shell::mentions(&text, n)) {
                        return Err(ParamError::new(
                            line,
                            format!(
                                "{name} is changed or used by a command or under a condition here, which is not understood"
                            ),
                            format!("write it as one plain assignment ({name}=\"…\")"),
                        ));
                    }
                }
                Statement::Assign(assignment) => {
                    let value = self.value(&assignment.parts);
                    self.values.insert(assignment.name.clone(), value);
                    if let Some(name) = [LINUX, DEFAULT].into_iter().find(|n| *n == assignment.name) {
                        self.last.insert(name, (path.to_owned(), assignment));
                    }
                }
            }
        }
        Ok(())
    }

    /// The text of a value; `None` when only a shell can tell it.
    fn value(&self, parts: &[Part]) -> Option<String> {
        let mut value = String::new();
        for part in parts {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Variable(name) => match self.values.get(name) {
                    Some(Some(text)) => value.push_str(text),
                    // grub-mkconfig itself sets neither before it reads these files.
                    None if name == LINUX || name == DEFAULT => {}
                    _ => return None,
                },
                Part::Unknown => return None,
            }
        }
        Some(value)
    }

    /// The words that usual entries get.
    fn command_line(&self) -> Result<CommandLine, ParamError> {
        let mut all = CommandLine::default();
        for name in [LINUX, DEFAULT] {
            let line = self.last.get(name).map_or(1, |(_, a)| a.line);
            match self.values.get(name) {
                None => {}
                Some(None) => {
                    return Err(ParamError::new(
                        line,
                        format!("{name} is made by a command or from a variable that is not set here"),
                        "write its words themselves there",
                    ));
                }
                Some(Some(text)) => {
                    let found = CommandLine::parse(text).map_err(|e| e.at(line))?;
                    if text.split_whitespace().any(|w| w == "--") {
                        return Err(ParamError::new(
                            line,
                            format!("{name} has the word `--`, behind which nothing is the kernel's"),
                            "take it out; words for init can be given without it",
                        ));
                    }
                    all.words.extend(found.words);
                }
            }
        }
        Ok(all)
    }
}

/// Reads one file alone.
pub(super) fn read(text: &str) -> Result<Vec<Generated>, ParamError> {
    let mut known = Known::default();
    known.take_in("", text)?;
    Ok(vec![Generated::of("", known.command_line()?)])
}

/// Adds to one file, which alone is read.
pub(super) fn add(text: &str, wanted: &[Parameter]) -> Result<String, ParamError> {
    let mut known = Known::default();
    known.take_in("", text)?;
    let line = known.command_line()?;
    let target = known.last.get(DEFAULT).or_else(|| known.last.get(LINUX));
    let at = target.map_or(1, |(_, a)| a.line);
    let lacking = line.lacking(wanted).map_err(|e| e.at(at))?;
    if lacking.is_empty() {
        return Ok(text.to_owned());
    }
    let changed = match target {
        Some((_, assignment)) => insert(text, assignment, &lacking)?,
        None => {
            let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            format!("{text}{gap}{DEFAULT}=\"{}\"\n", joined(&lacking))
        }
    };
    // Read anew: a later assignment that does not take this one's words over would lose them.
    let mut after = Known::default();
    after.take_in("", &changed)?;
    arrived(&after, wanted, at)?;
    Ok(changed)
}

fn arrived(after: &Known, wanted: &[Parameter], line: usize) -> Result<(), ParamError> {
    let words = after.command_line()?;
    match wanted.iter().find(|p| words.count(p) == 0) {
        None => Ok(()),
        Some(lost) => Err(ParamError::new(
            line,
            format!("`{lost}` would not arrive: the variable is set anew after this place"),
            "make it one assignment and look again",
        )),
    }
}

fn joined(words: &[&Parameter]) -> String {
    words.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(" ")
}

/// The text with words at the end of an assignment's value, inside its quotes.
fn insert(text: &str, assignment: &Assignment, words: &[&Parameter]) -> Result<String, ParamError> {
    let raw = &text[assignment.value.clone()];
    let added = joined(words);
    let place = |inside: usize, lead: &str| {
        let at = assignment.value.start + inside;
        format!("{}{lead}{added}{}", &text[..at], &text[at..])
    };
    let is_empty = assignment.parts.iter().all(|p| matches!(p, Part::Text(t) if t.is_empty()));
    let closing = raw.chars().next_back();
    if let Some(quote @ ('"' | '\'')) = closing
        && raw.len() > 1
        && closes(raw, quote)
    {
        let before = raw[..raw.len() - 1].chars().next_back();
        let lead = if is_empty || before.is_some_and(|c| c == ' ') { "" } else { " " };
        return Ok(place(raw.len() - 1, lead));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._,:=+@/-".contains(c);
    if raw.is_empty() || raw.chars().all(plain) {
        let gap = if raw.is_empty() { "" } else { " " };
        let range = &assignment.value;
        return Ok(format!("{}\"{raw}{gap}{added}\"{}", &text[..range.start], &text[range.end..]));
    }
    Err(ParamError::new(
        assignment.line,
        format!("the value of {} is quoted in a way that is not understood", assignment.name),
        "write it between double quotes",
    ))
}

/// Whether the last byte of a value closes a quoted part.
fn closes(raw: &str, quote: char) -> bool {
    let mut open: Option<char> = None;
    let mut chars = raw.chars().peekable();
    let mut closed = false;
    while let Some(c) = chars.next() {
        closed = false;
        match (open, c) {
            (Some('\''), '\'') => (open, closed) = (None, true),
            (Some('\''), _) => {}
            (_, '\\') => {
                chars.next();
            }
            (Some('"'), '"') => (open, closed) = (None, true),
            (None, '"' | '\'') => open = Some(c),
            _ => {}
        }
    }
    closed && raw.ends_with(quote)
}

impl GrubFiles<'_> {
    fn known(&self) -> Result<Known, (String, ParamError)> {
        let mut known = Known::default();
        for (path, text) in self.0 {
            known.take_in(path, text).map_err(|e| (path.clone(), e))?;
        }
        Ok(known)
    }

    /// The words that usual entries get from all files together.
    ///
    /// # Errors
    /// With the file that is not understood.
    pub fn command_line(&self) -> Result<CommandLine, (String, ParamError)> {
        let known = self.known()?;
        known.command_line().map_err(|e| (self.blamed(&known), e))
    }

    /// The file whose assignment counts.
    fn blamed(&self, known: &Known) -> String {
        let last = known.last.get(DEFAULT).or_else(|| known.last.get(LINUX));
        last.map(|(path, _)| path.clone()).or_else(|| self.0.first().map(|f| f.0.clone())).unwrap_or_default()
    }

    /// The text of the drop-in at `own`, which may be among the files already, with the words that none of
    /// the files has; `None` when all are there.
    ///
    /// # Errors
    /// With the file that is not understood, or that has one of the words with another value, or that would
    /// undo what the drop-in does.
    pub fn drop_in(&self, own: &str, wanted: &[Parameter]) -> Result<Option<String>, (String, ParamError)> {
        let known = self.known()?;
        let line = known.command_line().map_err(|e| (self.blamed(&known), e))?;
        let lacking = line.lacking(wanted).map_err(|e| (self.blamed(&known), e))?;
        if lacking.is_empty() {
            return Ok(None);
        }
        let there = self.0.iter().find(|(path, _)| path == own);
        let named = |e: ParamError| (own.to_owned(), e);
        let text = match there {
            None => format!("{HEAD}{DEFAULT}=\"${DEFAULT} {}\"\n", joined(&lacking)),
            Some((_, text)) => {
                let mut alone = Known::default();
                alone.take_in(own, text).map_err(named)?;
                match alone.last.get(DEFAULT) {
                    Some((_, assignment)) => insert(text, assignment, &lacking).map_err(named)?,
                    None => format!("{text}{DEFAULT}=\"${DEFAULT} {}\"\n", joined(&lacking)),
                }
            }
        };
        let mut files: Vec<(String, String)> =
            self.0.iter().filter(|(path, _)| path != own).cloned().collect();
        let at = files
            .iter()
            .position(|(path, _)| path.as_str() > own && path.contains(".d/"))
            .unwrap_or(files.len());
        files.insert(at, (own.to_owned(), text.clone()));
        let after = GrubFiles(&files).known()?;
        arrived(&after, wanted, 1).map_err(|e| (GrubFiles(&files).blamed(&after), e))?;
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Vec<Parameter> {
        vec!["intel_iommu=on".parse().unwrap(), "iommu=pt".parse().unwrap()]
    }

    #[test]
    fn words_go_inside_the_quotes_of_the_assignment_that_counts() {
        for (text, becomes) in [
            (
                "A=1\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n#x\n",
                "A=1\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet iommu=pt\"\n#x\n",
            ),
            ("GRUB_CMDLINE_LINUX_DEFAULT=''\n", "GRUB_CMDLINE_LINUX_DEFAULT='iommu=pt'\n"),
            ("GRUB_CMDLINE_LINUX_DEFAULT='a b' # c\n", "GRUB_CMDLINE_LINUX_DEFAULT='a b iommu=pt' # c\n"),
            ("GRUB_CMDLINE_LINUX_DEFAULT=quiet\n", "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet iommu=pt\"\n"),
            ("GRUB_CMDLINE_LINUX_DEFAULT=\n", "GRUB_CMDLINE_LINUX_DEFAULT=\"iommu=pt\"\n"),
            ("GRUB_CMDLINE_LINUX=\"rhgb \"\n", "GRUB_CMDLINE_LINUX=\"rhgb iommu=pt\"\n"),
            ("GRUB_TIMEOUT=5", "GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT=\"iommu=pt\"\n"),
            (
                "GRUB_CMDLINE_LINUX_DEFAULT=\"a\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT b\"\n",
                "GRUB_CMDLINE_LINUX_DEFAULT=\"a\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT b iommu=pt\"\n",
            ),
            ("X=\"y\"\nGRUB_CMDLINE_LINUX=\"z$X\"\n", "X=\"y\"\nGRUB_CMDLINE_LINUX=\"z$X iommu=pt\"\n"),
        ] {
            assert_eq!(add(text, &wanted()[1..]).unwrap(), becomes);
            assert_eq!(add(becomes, &wanted()[1..]).unwrap(), becomes, "a second time nothing changes");
        }
    }

    #[test]
    fn a_word_in_either_variable_is_there() {
        let text = "GRUB_CMDLINE_LINUX=\"iommu=pt\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n";
        assert_eq!(
            add(text, &wanted()).unwrap(),
            "GRUB_CMDLINE_LINUX=\"iommu=pt\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on\"\n"
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line_and_what_to_do() {
        for (text, says) in [
            ("\nGRUB_CMDLINE_LINUX=\"a $(cat /x)\"\n", "line 2: GRUB_CMDLINE_LINUX is made by a command"),
            ("GRUB_CMDLINE_LINUX=`x`\n", "line 1: GRUB_CMDLINE_LINUX is made by a command"),
            ("GRUB_CMDLINE_LINUX=\"$UNSET\"\n", "variable that is not set here"),
            (
                "GRUB_CMDLINE_LINUX_DEFAULT+=\" x\"\n",
                "line 1: GRUB_CMDLINE_LINUX_DEFAULT is changed or used by a command",
            ),
            ("if x; then\nGRUB_CMDLINE_LINUX=\"a\"\nfi\n", "under a condition"),
            (
                "GRUB_CMDLINE_LINUX=\"quiet\nGRUB_TIMEOUT=5\n",
                "line 1: a quote (\") is opened and never closed",
            ),
            ("GRUB_CMDLINE_LINUX=\"a -- b\"\n", "the word `--`"),
            ("GRUB_CMDLINE_LINUX=\"iommu=soft\"\n", "`iommu=soft` is there already"),
            ("GRUB_CMDLINE_LINUX=a\\ b\n", "quoted in a way that is not understood"),
            ("GRUB_CMDLINE_LINUX=\"a\"\r\n", "the way of Windows"),
            ("GRUB_CMDLINE_LINUX='dyndbg=\"x'\n", "never closed"),
        ] {
            let error = add(text, &wanted()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn the_command_of_another_variable_is_no_hindrance() {
        let text = "GRUB_DISTRIBUTOR=`( . /etc/os-release; echo ${NAME:-Ubuntu} ) 2>/dev/null || echo Ubuntu`\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\n";
        assert!(add(text, &wanted()).unwrap().ends_with("\"quiet splash intel_iommu=on iommu=pt\"\n"));
    }

    const OWN: &str = "/etc/default/grub.d/zz-hostwright.cfg";

    fn files(drop_ins: &[(&str, &str)]) -> Vec<(String, String)> {
        let defaults =
            ("/etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n");
        std::iter::once(&defaults).chain(drop_ins).map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect()
    }

    #[test]
    fn a_drop_in_adds_to_what_the_files_before_it_say() {
        let files = files(&[(
            "/etc/default/grub.d/50-cloudimg-settings.cfg",
            "GRUB_CMDLINE_LINUX_DEFAULT=\"console=tty1\"\n",
        )]);
        let text = GrubFiles(&files).drop_in(OWN, &wanted()).unwrap().unwrap();
        assert!(text.ends_with(
            "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT intel_iommu=on iommu=pt\"\n"
        ));
        let mut all = files.clone();
        all.push((OWN.into(), text));
        assert_eq!(
            GrubFiles(&all).command_line().unwrap().words,
            ["console=tty1", "intel_iommu=on", "iommu=pt"]
        );
        assert_eq!(GrubFiles(&all).drop_in(OWN, &wanted()).unwrap(), None);
        let more = ["hugepages=4".parse().unwrap()];
        let text = GrubFiles(&all).drop_in(OWN, &more).unwrap().unwrap();
        assert!(text.ends_with("intel_iommu=on iommu=pt hugepages=4\"\n"), "{text}");
    }

    #[test]
    fn a_later_drop_in_that_sets_the_variable_anew_is_told_by_name() {
        let later = "/etc/default/grub.d/zzz.cfg";
        let files = files(&[(later, "GRUB_CMDLINE_LINUX_DEFAULT=\"x\"\n")]);
        let (path, error) = GrubFiles(&files).drop_in(OWN, &wanted()).unwrap_err();
        assert_eq!(path, later);
        assert!(error.to_string().contains("would not arrive"), "{error}");
    }

    #[test]
    fn the_broken_file_is_named() {
        let files = files(&[("/etc/default/grub.d/10-x.cfg", "A='\n")]);
        let (path, error) = GrubFiles(&files).drop_in(OWN, &wanted()).unwrap_err();
        assert_eq!(path, "/etc/default/grub.d/10-x.cfg");
        assert!(error.to_string().contains("never closed"), "{error}");
    }
}
