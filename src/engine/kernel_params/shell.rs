// SPDX-License-Identifier: GPL-3.0-or-later
//! As much of the shell's language (POSIX, "Shell Command Language") as is needed to know every assignment of
//! a file that is sourced, where its value stands, and what in it is not known before it runs. Everything
//! else is a statement of another kind, whose text is known.

use super::ParamError;
use std::ops::Range;

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Text, quotes taken off.
    Text(String),
    /// `$NAME` or `${NAME}`.
    Variable(String),
    /// Anything that only a shell can tell: `$(…)`, backquotes, `${NAME:-…}`, `$1`.
    Unknown,
}

/// An assignment that is always made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: String,
    /// Where its value stands, with its quotes.
    pub(super) value: Range<usize>,
    pub(super) parts: Vec<Part>,
    /// The line, from 1.
    pub(super) line: usize,
}

/// What a file does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    Assign(Assignment),
    /// A command, or something conditional.
    Other {
        text: String,
        line: usize,
    },
}

const OPENERS: [&str; 7] = ["if", "case", "for", "while", "until", "select", "{"];
const CLOSERS: [&str; 4] = ["fi", "esac", "done", "}"];

/// Parts a file into what it does.
pub(super) fn parse(text: &str) -> Result<Vec<Statement>, ParamError> {
    let mut scanner = Scanner { text, at: 0 };
    let (mut statements, mut depth) = (Vec::new(), 0usize);
    loop {
        scanner.skip_blanks();
        match scanner.peek() {
            None => return Ok(statements),
            Some(b'\n' | b';') => scanner.at += 1,
            Some(b'#') => scanner.skip_comment(),
            Some(_) => statements.extend(command(&mut scanner, &mut depth)?),
        }
    }
}

/// One command up to the end of its line or `;`.
fn command(scanner: &mut Scanner<'_>, depth: &mut usize) -> Result<Vec<Statement>, ParamError> {
    let (from, line) = (scanner.at, scanner.line(scanner.at));
    let mut assignments = Vec::new();
    let mut plain = *depth == 0;
    let mut parens = 0usize;
    loop {
        scanner.skip_blanks();
        match scanner.peek() {
            None => break,
            Some(b'\n' | b';') if parens == 0 => break,
            Some(b'#') => scanner.skip_comment(),
            Some(c) if b"\n;&|()<>".contains(&c) => {
                if scanner.rest().starts_with("<<") {
                    return Err(ParamError::new(
                        scanner.line(scanner.at),
                        "a here-document begins here, which is not understood",
                        "write the values as plain assignments",
                    ));
                }
                match c {
                    b'(' => parens += 1,
                    b')' => parens = parens.saturating_sub(1),
                    _ => {}
                }
                plain = false;
                scanner.at += 1;
            }
            Some(_) => {
                let line = scanner.line(scanner.at);
                if let Some(name) = scanner.assigned_name() {
                    let value_from = scanner.at;
                    let parts = scanner.word()?;
                    assignments.push(Assignment { name, value: value_from..scanner.at, parts, line });
                } else {
                    let word_from = scanner.at;
                    scanner.word()?;
                    let word = &scanner.text[word_from..scanner.at];
                    if OPENERS.contains(&word) {
                        *depth += 1;
                    } else if CLOSERS.contains(&word) {
                        *depth = depth.saturating_sub(1);
                    }
                    plain = false;
                }
            }
        }
    }
    if parens > 0 {
        return Err(ParamError::new(
            line,
            "a parenthesis is opened and never closed",
            "close it and look again",
        ));
    }
    if plain {
        return Ok(assignments.into_iter().map(Statement::Assign).collect());
    }
    Ok(vec![Statement::Other { text: scanner.text[from..scanner.at].to_owned(), line }])
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn line(&self, at: usize) -> usize {
        super::line_of(self.text, at)
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\\') if self.rest().starts_with("\\\n") => self.at += 2,
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    /// `NAME=` here: its name, and the scanner behind the `=`.
    fn assigned_name(&mut self) -> Option<String> {
        let len = name_len(self.rest());
        if len == 0 || !self.rest()[len..].starts_with('=') {
            return None;
        }
        let name = self.rest()[..len].to_owned();
        self.at += len + 1;
        Some(name)
    }

    /// The word that begins here, which may be empty.
    fn word(&mut self) -> Result<Vec<Part>, ParamError> {
        let mut parts = Parts::default();
        while let Some(c) = self.peek() {
            match c {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>' => break,
                b'\'' => {
                    let from = self.at + 1;
                    let Some(len) = self.text[from..].find('\'') else {
                        return Err(ParamError::open_quote(self.line(self.at), '\''));
                    };
                    parts.text(&self.text[from..from + len]);
                    self.at = from + len + 1;
                }
                b'"' => self.double_quoted(&mut parts)?,
                b'\\' => self.escaped(&mut parts, false),
                b'$' => self.dollar(&mut parts)?,
                b'`' => self.backquoted(&mut parts)?,
                _ => parts.text(self.character()),
            }
        }
        Ok(parts.0)
    }

    /// The character here, and the scanner behind it.
    fn character(&mut self) -> &'a str {
        let len = self.rest().chars().next().map_or(0, char::len_utf8);
        let text = &self.rest()[..len];
        self.at += len;
        text
    }

    fn double_quoted(&mut self, parts: &mut Parts) -> Result<(), ParamError> {
        let open = self.at;
        self.at += 1;
        parts.text("");
        loop {
            match self.peek() {
                None => return Err(ParamError::open_quote(self.line(open), '"')),
                Some(b'"') => break,
                Some(b'\\') => self.escaped(parts, true),
                Some(b'$') => self.dollar(parts)?,
                Some(b'`') => self.backquoted(parts)?,
                Some(_) => parts.text(self.character()),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn escaped(&mut self, parts: &mut Parts, quoted: bool) {
        self.at += 1;
        match self.peek() {
            None => parts.text("\\"),
            Some(b'\n') => self.at += 1,
            Some(c) => {
                if quoted && !b"$`\"\\".contains(&c) {
                    parts.text("\\");
                }
                parts.text(self.character());
            }
        }
    }

    fn backquoted(&mut self, parts: &mut Parts) -> Result<(), ParamError> {
        let open = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(ParamError::open_quote(self.line(open), '`')),
                Some(b'`') => break,
                Some(b'\\') => self.at = (self.at + 2).min(self.text.len()),
                Some(_) => self.at += 1,
            }
            self.skip_to_boundary();
        }
        self.at += 1;
        parts.0.push(Part::Unknown);
        Ok(())
    }

    /// Goes on to the next beginning of a character.
    fn skip_to_boundary(&mut self) {
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
    }

    fn dollar(&mut self, parts: &mut Parts) -> Result<(), ParamError> {
        let open = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'(') => self.nested(open, b'(', b')', parts),
            Some(b'{') => {
                let inside = &self.rest()[1..];
                let len = name_len(inside);
                if len > 0 && inside[len..].starts_with('}') {
                    parts.0.push(Part::Variable(inside[..len].to_owned()));
                    self.at += len + 2;
                    return Ok(());
                }
                self.nested(open, b'{', b'}', parts)
            }
            Some(_) if name_len(self.rest()) > 0 => {
                let len = name_len(self.rest());
                parts.0.push(Part::Variable(self.rest()[..len].to_owned()));
                self.at += len;
                Ok(())
            }
            Some(c) if c.is_ascii_digit() || b"?$!#@*-".contains(&c) => {
                self.at += 1;
                parts.0.push(Part::Unknown);
                Ok(())
            }
            _ => {
                parts.text("$");
                Ok(())
            }
        }
    }

    /// Skips what stands between a bracket here and the one that closes it.
    fn nested(&mut self, from: usize, open: u8, close: u8, parts: &mut Parts) -> Result<(), ParamError> {
        let mut depth = 0usize;
        let mut inner = Parts::default();
        loop {
            match self.peek() {
                None => {
                    let what = format!("`${}` is opened and never closed", char::from(open));
                    return Err(ParamError::new(self.line(from), what, "close it and look again"));
                }
                Some(b'\'') => {
                    let start = self.at + 1;
                    let Some(len) = self.text[start..].find('\'') else {
                        return Err(ParamError::open_quote(self.line(self.at), '\''));
                    };
                    self.at = start + len + 1;
                }
                Some(b'"') => self.double_quoted(&mut inner)?,
                Some(b'\\') => self.escaped(&mut inner, false),
                Some(b'`') => self.backquoted(&mut inner)?,
                Some(c) => {
                    if c == open {
                        depth += 1;
                    } else if c == close {
                        depth -= 1;
                    }
                    self.character();
                    if depth == 0 {
                        parts.0.push(Part::Unknown);
                        return Ok(());
                    }
                }
            }
        }
    }
}

#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn text(&mut self, more: &str) {
        if let Some(Part::Text(text)) = self.0.last_mut() {
            text.push_str(more);
        } else {
            self.0.push(Part::Text(more.to_owned()));
        }
    }
}

/// How long the name is that a text begins with; 0 when it begins with none.
fn name_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    if bytes.first().is_none_or(|c| !(c.is_ascii_alphabetic() || *c == b'_')) {
        return 0;
    }
    bytes.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'_').count()
}

/// Whether a text has this name as a whole word.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + name.len()..].chars().next();
        let part_of_a_name = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        if !part_of_a_name(before) && !part_of_a_name(after) {
            return true;
        }
        rest = &rest[at + name.len()..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use Part::{Text, Unknown, Variable};

    fn assignments(text: &str) -> Vec<(String, String, Vec<Part>)> {
        let found = parse(text).unwrap();
        found
            .into_iter()
            .filter_map(|s| match s {
                Statement::Assign(a) => Some((a.name, text[a.value].to_owned(), a.parts)),
                Statement::Other { .. } => None,
            })
            .collect()
    }

    fn others(text: &str) -> Vec<String> {
        let other = |s| match s {
            Statement::Other { text, .. } => Some(text),
            Statement::Assign(_) => None,
        };
        parse(text).unwrap().into_iter().filter_map(other).collect()
    }

    #[test]
    fn values_are_known_with_their_quotes_and_without() {
        let text =
            "# c\nA=1\nB=\"x y\" # after\nC='$q'\nD=a\\ b E=\"\"\nF=\nG=\"a\\\"b\\\nc $X ${Y}z\"; H=w\n";
        let found = assignments(text);
        let names: Vec<&str> = found.iter().map(|f| f.0.as_str()).collect();
        assert_eq!(names, ["A", "B", "C", "D", "E", "F", "G", "H"]);
        assert_eq!(found[1].1, "\"x y\"");
        assert_eq!(found[2].2, [Text("$q".into())]);
        assert_eq!(found[3].2, [Text("a b".into())]);
        assert_eq!((found[5].1.as_str(), found[5].2.len()), ("", 0));
        assert_eq!(
            found[6].2,
            [
                Text("a\"bc ".into()),
                Variable("X".into()),
                Text(" ".into()),
                Variable("Y".into()),
                Text("z".into())
            ]
        );
    }

    #[test]
    fn what_only_a_shell_can_tell_is_unknown() {
        let text = "A=`lsb_release -i 2> /dev/null || echo Debian`\nB=$( . /etc/os-release; echo ${NAME:-x} )\nC=\"${D:-\"}\"}\"\nE=$1\n";
        for (name, _, parts) in assignments(text) {
            assert!(parts.contains(&Unknown), "{name}: {parts:?}");
        }
        assert_eq!(assignments(text).len(), 4);
    }

    #[test]
    fn what_is_conditional_or_a_command_is_no_assignment() {
        for text in [
            "if true; then\nA=1\nfi\n",
            "true && A=1\n",
            "A=1 command\n",
            "export A=1\n",
            "A+=1\n",
            "f() {\nA=1\n}\n",
            "case x in\nfoo)\nA=1\n;;\nesac\n",
            "(A=1)\n",
        ] {
            assert_eq!(assignments(text), [], "{text}");
            assert!(others(text).iter().any(|o| mentions(o, "A")), "{text}");
        }
        assert_eq!(assignments("if x; then y; fi\nA=1\n").len(), 1);
    }

    #[test]
    fn what_stays_open_is_told_with_its_line() {
        for (text, says) in [
            ("A=1\nB=\"x\nC=1\n", "line 2: a quote (\")"),
            ("A='x\n", "line 1: a quote (')"),
            ("\nA=`x\n", "line 2: a quote (`)"),
            ("A=$(x\n", "line 1: `$(`"),
            ("A=${x\n", "line 1: `${`"),
            ("cat <<END\nx\nEND\n", "line 1: a here-document"),
            ("(x\n", "line 1: a parenthesis"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(says), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_mentioned_as_whole_words() {
        assert!(mentions("x $A_B y", "A_B"));
        assert!(!mentions("x $A_BC XA_B", "A_B"));
    }
}
