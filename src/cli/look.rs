// SPDX-License-Identifier: GPL-3.0-or-later
//! How text looks on this terminal: width, colour, marks. Rendering is pure text → text, so that it can
//! be tested; [`super::screen`] is what writes it.

pub(crate) use crate::tell::{Mark, bytes, count, seconds};
use anstyle::{AnsiColor, Style};

/// What a terminal (or a pipe) can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns.
    pub(crate) width: usize,
    /// Whether colours are wanted.
    pub(crate) colour: bool,
    /// Whether more than ASCII can be shown.
    pub(crate) unicode: bool,
}

/// The widest text a person reads with ease; wider terminals keep the rest empty.
const READABLE: usize = 100;

impl Look {
    /// Plain text of `width` columns.
    #[cfg(test)]
    pub(crate) fn plain(width: usize) -> Self {
        Self { width, colour: false, unicode: true }
    }

    fn styled(self, text: &str, style: Style) -> String {
        if self.colour && !text.is_empty() {
            format!("{}{text}{}", style.render(), style.render_reset())
        } else {
            text.to_owned()
        }
    }

    /// A heading.
    pub(crate) fn bold(self, text: &str) -> String {
        self.styled(text, Style::new().bold())
    }

    /// Something that matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.styled(text, Style::new().dimmed())
    }

    /// Good news, or an added line.
    pub(crate) fn green(self, text: &str) -> String {
        self.styled(text, AnsiColor::Green.on_default())
    }

    /// Something worth a look.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.styled(text, AnsiColor::Yellow.on_default())
    }

    /// Bad news, or a removed line.
    pub(crate) fn red(self, text: &str) -> String {
        self.styled(text, AnsiColor::Red.on_default())
    }

    /// A place in a difference.
    pub(crate) fn cyan(self, text: &str) -> String {
        self.styled(text, AnsiColor::Cyan.on_default())
    }

    /// The sign of a mark, one column wide.
    pub(crate) fn mark(self, mark: Mark) -> String {
        let (nice, plain) = match mark {
            Mark::Good => ("✓", "+"),
            Mark::Warning => ("!", "!"),
            Mark::Bad => ("✗", "x"),
            Mark::Unknown => ("?", "?"),
            Mark::Neutral => ("·", "-"),
        };
        let sign = if self.unicode { nice } else { plain };
        match mark {
            Mark::Good => self.green(sign),
            Mark::Warning | Mark::Unknown => self.yellow(sign),
            Mark::Bad => self.red(sign),
            Mark::Neutral => self.dim(sign),
        }
    }

    /// An arrow to what to do about something.
    pub(crate) fn arrow(self) -> &'static str {
        if self.unicode { "→" } else { "->" }
    }

    /// Columns for running text.
    pub(crate) fn columns(self) -> usize {
        self.width.clamp(24, READABLE)
    }

    /// Running text, wrapped; `first` begins its first line and `rest` every further one. Long words
    /// (paths, commands) stay whole, so that they can be copied. Control characters of the text are made
    /// visible.
    pub(crate) fn wrap(self, text: &str, first: &str, rest: &str) -> String {
        let options = textwrap::Options::new(self.columns())
            .initial_indent(first)
            .subsequent_indent(rest)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .word_separator(textwrap::WordSeparator::AsciiSpace);
        let mut out = String::new();
        for (i, line) in clean(text).lines().enumerate() {
            let options = if i == 0 { options.clone() } else { options.clone().initial_indent(rest) };
            for wrapped in textwrap::wrap(line, options) {
                out.push_str(wrapped.trim_end());
                out.push('\n');
            }
        }
        out
    }

    /// A paragraph with a mark before it, indented by `indent` columns.
    pub(crate) fn item(self, indent: usize, mark: Mark, text: &str) -> String {
        let pad = " ".repeat(indent);
        self.wrap(text, &format!("{pad}{} ", self.mark(mark)), &format!("{pad}  "))
    }

    /// What to do about the line before, indented by `indent` columns.
    pub(crate) fn remedy(self, indent: usize, text: &str) -> String {
        let pad = " ".repeat(indent);
        let hang = " ".repeat(width(self.arrow()) + 1);
        self.wrap(text, &format!("{pad}{} ", self.arrow()), &format!("{pad}{hang}"))
    }

    /// Every line of a text made to matter less.
    pub(crate) fn dim_lines(self, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        text.lines().map(|line| format!("{}\n", self.dim(line))).collect()
    }

    /// A unified difference, indented and coloured; lines are never broken.
    pub(crate) fn diff(self, indent: usize, diff: &str) -> String {
        let pad = " ".repeat(indent);
        let mut out = String::new();
        for line in diff.lines() {
            let line = clean(line);
            let shown = match line.as_bytes().first() {
                _ if line.starts_with("+++") || line.starts_with("---") => self.bold(&line),
                Some(b'+') => self.green(&line),
                Some(b'-') => self.red(&line),
                Some(b'@') => self.cyan(&line),
                _ => line,
            };
            out.push_str(format!("{pad}{shown}").trim_end());
            out.push('\n');
        }
        out
    }
}

/// A command as one could paste it: broken between its words only, each broken line ending in `\`.
pub(crate) fn command(look: Look, indent: usize, text: &str) -> String {
    let room = look.columns().saturating_sub(indent + 4).max(20);
    let mut lines: Vec<String> = Vec::new();
    for word in words(&clean(text)) {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(&word) <= room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    let pad = " ".repeat(indent);
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        let begin = if i == 0 { "$ " } else { "    " };
        let end = if i + 1 < lines.len() { " \\" } else { "" };
        out.push_str(&format!("{pad}{begin}{line}{end}\n"));
    }
    out
}

/// The words of a shell command; blanks inside quotes do not part them.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        if c == ' ' && !quoted {
            words.push(String::new());
            continue;
        }
        quoted ^= c == '\'';
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

/// Columns that a text takes, colours not counted.
pub(crate) fn width(text: &str) -> usize {
    textwrap::core::display_width(text)
}

/// `text` followed by blanks up to `columns`.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// A text from elsewhere (a file name, a compiler's output) without anything that a terminal would obey.
pub(crate) fn clean(text: &str) -> String {
    let hidden =
        |c: char| (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c);
    let text = text.replace("\r\n", "\n");
    if !text.contains(hidden) && !text.contains('\t') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("    "),
            c if hidden(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Rows in aligned columns; the last column is wrapped under itself. With too little room the cells of a
/// row stand below each other.
pub(crate) fn table(look: Look, indent: usize, head: &[&str], rows: &[Vec<String>]) -> String {
    let columns = head.len();
    let mut widths: Vec<usize> = head.iter().map(|h| width(h)).collect();
    for row in rows {
        for (i, cell) in row.iter().enumerate().take(columns) {
            widths[i] = widths[i].max(width(cell));
        }
    }
    let fixed: usize = indent + widths.iter().take(columns.saturating_sub(1)).map(|w| w + 2).sum::<usize>();
    let mut out = String::new();
    if look.width < fixed + 12 {
        for row in rows {
            for (i, cell) in row.iter().enumerate() {
                let pad = " ".repeat(indent + if i == 0 { 0 } else { 2 });
                out.push_str(&look.wrap_styled(cell, &pad, &pad));
            }
        }
        return out;
    }
    let mut line = |cells: &[String], style: &dyn Fn(&str) -> String| {
        let mut first = " ".repeat(indent);
        for (i, cell) in cells.iter().enumerate().take(columns.saturating_sub(1)) {
            first.push_str(&style(&pad(cell, widths[i] + 2)));
        }
        let last = cells.get(columns.saturating_sub(1)).map(String::as_str).unwrap_or_default();
        out.push_str(&look.wrap_styled(&style(last), &first, &" ".repeat(fixed)));
    };
    if head.iter().any(|h| !h.is_empty()) {
        let cells: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
        line(&cells, &|t| look.dim(t));
    }
    for row in rows {
        line(row, &|t| t.to_owned());
    }
    out
}

impl Look {
    /// As [`Look::wrap`] for a text of our own that may hold colours.
    fn wrap_styled(self, text: &str, first: &str, rest: &str) -> String {
        if text.is_empty() {
            return format!("{}\n", first.trim_end());
        }
        let options = textwrap::Options::new(self.width.max(24))
            .initial_indent(first)
            .subsequent_indent(rest)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .word_separator(textwrap::WordSeparator::AsciiSpace);
        let mut out = String::new();
        for line in textwrap::wrap(text, options) {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_elsewhere_commands_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\r\nc\u{202e}d\x07"), "a\\u{1b}[2Jb\nc\\u{202e}d\\u{7}");
        assert!(!Look::plain(80).wrap("x\u{1b}]0;title\x07", "", "").contains('\u{1b}'));
    }

    #[test]
    fn long_words_stay_whole_so_that_they_can_be_copied() {
        let path = "/lib/modules/6.1.0-56-amd64/updates/dkms/vmmon.ko.xz";
        let text = Look::plain(30).wrap(&format!("Install {path} now"), "  ", "    ");
        assert!(text.lines().any(|l| l.trim() == path), "{text}");
    }

    #[test]
    fn colour_does_not_shift_columns() {
        let look = Look { width: 80, colour: true, unicode: true };
        let rows = vec![vec![look.green("ab"), "c".into()], vec!["abc".into(), "d".into()]];
        let plain: String = table(look, 0, &["", ""], &rows);
        let bare = Look::plain(80);
        let want =
            table(bare, 0, &["", ""], &[vec!["ab".into(), "c".into()], vec!["abc".into(), "d".into()]]);
        let stripped = plain.replace("\u{1b}[32m", "").replace("\u{1b}[0m", "");
        assert_eq!(stripped, want);
    }

    #[test]
    fn a_narrow_terminal_gets_cells_below_each_other() {
        let rows = vec![vec!["6.1.0-56-amd64".into(), "built for it".into(), "signed by Hostwright".into()]];
        let text = table(Look::plain(30), 0, &["Kernel", "Module", "Signer"], &rows);
        assert_eq!(text, "6.1.0-56-amd64\n  built for it\n  signed by Hostwright\n");
    }

    #[test]
    fn sizes_have_three_digits_at_most() {
        let shown = [0, 999, 1000, 2048, 1_500_000, 25_276_452_864, 274_877_906_944, u64::MAX].map(bytes);
        assert_eq!(
            shown,
            ["0 bytes", "999 bytes", "1 KiB", "2 KiB", "1.4 MiB", "23.5 GiB", "256 GiB", "16384 PiB"]
        );
    }

    #[test]
    fn a_broken_command_can_still_be_pasted() {
        let text = command(Look::plain(30), 2, "make -C /usr/src/linux 'A=b c d e f g h i j k' modules V=1");
        assert_eq!(
            text,
            "  $ make -C /usr/src/linux \\\n      'A=b c d e f g h i j k' \\\n      modules V=1\n"
        );
    }
}
