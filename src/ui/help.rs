// SPDX-License-Identifier: GPL-3.0-or-later
//! Help: the project's own documents, in a window. They are part of the program, so that they are always those of
//! its version.

use super::dialogs::close_by_escape;
use super::i18n::gettext;
use super::widgets::{code, named, whole_entries};
use super::window::Window;
use adw::prelude::*;
use gtk::{glib, pango};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// A document: the file's name, its title for people, its text.
type Topic = (&'static str, fn() -> String, &'static str);

/// What can be read, in the order in which it is offered.
const TOPICS: [Topic; 7] = [
    ("assistant", || gettext("The assistant"), include_str!("../../docs/assistant.md")),
    ("lab", || gettext("The test lab"), include_str!("../../docs/lab.md")),
    ("tuning", || gettext("Tuning"), include_str!("../../docs/tuning.md")),
    ("bench", || gettext("Benchmarks"), include_str!("../../docs/bench.md")),
    ("wayland", || gettext("VMware on Wayland"), include_str!("../../docs/wayland.md")),
    ("vgpu", || gettext("NVIDIA vGPU"), include_str!("../../docs/vgpu.md")),
    ("command-line", || gettext("The command line"), include_str!("../../docs/command-line.md")),
];

/// Opens help at the topic of a view.
pub(super) fn show(parent: &Window, view: &str) {
    let window = adw::Window::builder()
        .transient_for(parent)
        .title(gettext("Help"))
        .default_width(760)
        .default_height(720)
        .width_request(360)
        .build();
    let body = gtk::Box::builder()
        .orientation(gtk::Orientation::Vertical)
        .spacing(12)
        .margin_start(18)
        .margin_end(18)
        .margin_top(12)
        .margin_bottom(24)
        .build();
    let scroll = gtk::ScrolledWindow::builder()
        .hscrollbar_policy(gtk::PolicyType::Never)
        .vexpand(true)
        .child(&adw::Clamp::builder().maximum_size(720).child(&body).build())
        .build();
    let names: Vec<String> = TOPICS.iter().map(|(_, title, _)| title()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let topics = gtk::DropDown::from_strings(&names);
    named(&topics, &gettext("Topic"));
    whole_entries(&topics);
    topics.connect_selected_notify(glib::clone!(
        #[weak]
        body,
        #[weak]
        scroll,
        move |topics| {
            let n = usize::try_from(topics.selected()).unwrap_or(0);
            if let Some((_, _, text)) = TOPICS.get(n) {
                fill(&body, text, topics);
                scroll.vadjustment().set_value(0.0);
            }
        }
    ));
    let header = adw::HeaderBar::builder().title_widget(&topics).build();
    let column = gtk::Box::new(gtk::Orientation::Vertical, 0);
    column.append(&header);
    column.append(&scroll);
    window.set_content(Some(&column));
    close_by_escape(&window);
    let at = TOPICS.iter().position(|(name, ..)| *name == view).unwrap_or(0);
    fill(&body, TOPICS[at].2, &topics);
    topics.set_selected(u32::try_from(at).unwrap_or(0));
    window.present();
}

/// Shows a document.
fn fill(body: &gtk::Box, text: &str, topics: &gtk::DropDown) {
    while let Some(child) = body.first_child() {
        body.remove(&child);
    }
    for block in blocks(text) {
        match block {
            Block::Code(text) => body.append(&code(text.trim_end())),
            Block::Table(rows) => body.append(&table(&rows, topics)),
            Block::Heading(level, markup) => {
                let class = match level {
                    HeadingLevel::H1 => "title-1",
                    HeadingLevel::H2 => "title-2",
                    _ => "title-4",
                };
                let label = paragraph(&markup, topics);
                label.set_css_classes(&[class]);
                label.set_margin_top(12);
                body.append(&label);
            }
            Block::Text(depth, markup) => {
                let label = paragraph(&markup, topics);
                label.set_margin_start(18 * depth);
                body.append(&label);
            }
        }
    }
}

fn paragraph(markup: &str, topics: &gtk::DropDown) -> gtk::Label {
    let label = gtk::Label::builder()
        .label(markup)
        .use_markup(true)
        .wrap(true)
        .wrap_mode(pango::WrapMode::WordChar)
        .xalign(0.0)
        .selectable(true)
        .build();
    label.connect_activate_link(glib::clone!(
        #[weak]
        topics,
        #[upgrade_or]
        glib::Propagation::Proceed,
        move |_, link| follow(link, &topics)
    ));
    label
}

/// A link from one document to another stays in this window; one to a file that is not here leads nowhere.
fn follow(link: &str, topics: &gtk::DropDown) -> glib::Propagation {
    if link.contains("://") {
        return glib::Propagation::Proceed;
    }
    let name = link.rsplit('/').next().unwrap_or(link);
    let name = name.split('#').next().unwrap_or(name).trim_end_matches(".md");
    if let Some(n) = TOPICS.iter().position(|(topic, ..)| *topic == name) {
        topics.set_selected(u32::try_from(n).unwrap_or(0));
    }
    glib::Propagation::Stop
}

fn table(rows: &[Vec<String>], topics: &gtk::DropDown) -> gtk::Grid {
    let grid = gtk::Grid::builder().column_spacing(18).row_spacing(6).build();
    for (y, row) in (0..).zip(rows) {
        for (x, cell) in (0..).zip(row) {
            let label = paragraph(cell, topics);
            label.set_valign(gtk::Align::Start);
            label.set_hexpand(x > 0);
            if y == 0 {
                label.add_css_class("heading");
            }
            grid.attach(&label, x, y, 1, 1);
        }
    }
    grid
}

/// A part of a document; texts are Pango's markup.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    Heading(HeadingLevel, String),
    /// A paragraph or an item of a list, and how deep that is.
    Text(i32, String),
    Code(String),
    Table(Vec<Vec<String>>),
}

/// Reads a document. Pure.
fn blocks(text: &str) -> Vec<Block> {
    let mut out = Vec::new();
    let mut now = String::new();
    let (mut depth, mut in_code) = (0, false);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let take = |now: &mut String| std::mem::take(now).trim().to_owned();
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::List(_)) => {
                if !now.trim().is_empty() {
                    out.push(Block::Text(depth, take(&mut now)));
                }
                depth += 1;
            }
            Event::End(TagEnd::List(_)) => depth -= 1,
            Event::Start(Tag::Item) => now.push_str("\u{2022} "),
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => {
                in_code = false;
                out.push(Block::Code(std::mem::take(&mut now)));
            }
            Event::Start(Tag::Strong) => now.push_str("<b>"),
            Event::End(TagEnd::Strong) => now.push_str("</b>"),
            Event::Start(Tag::Emphasis) => now.push_str("<i>"),
            Event::End(TagEnd::Emphasis) => now.push_str("</i>"),
            Event::Start(Tag::Link { dest_url, .. }) => {
                now.push_str(&format!("<a href=\"{}\">", glib::markup_escape_text(&dest_url)));
            }
            Event::End(TagEnd::Link) => now.push_str("</a>"),
            Event::Code(text) => now.push_str(&format!("<tt>{}</tt>", glib::markup_escape_text(&text))),
            Event::Text(text) if in_code => now.push_str(&text),
            Event::Text(text) => now.push_str(&glib::markup_escape_text(&text)),
            Event::SoftBreak => now.push(' '),
            Event::HardBreak => now.push('\n'),
            Event::End(TagEnd::Heading(level)) => out.push(Block::Heading(level, take(&mut now))),
            Event::End(TagEnd::Paragraph | TagEnd::Item) if !now.trim().is_empty() => {
                out.push(Block::Text(depth, take(&mut now)));
            }
            Event::Start(Tag::TableRow | Tag::TableHead) => rows.push(Vec::new()),
            Event::End(TagEnd::TableCell) => {
                let cell = take(&mut now);
                if let Some(row) = rows.last_mut() {
                    row.push(cell);
                }
            }
            Event::End(TagEnd::Table) => out.push(Block::Table(std::mem::take(&mut rows))),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_blocks_with_its_marks_escaped() {
        let read = blocks(
            "# A & B\n\nOne `x<y>` and **two**.\n\n- item\n  more\n\n```sh\na <b\n```\n\n| k | v |\n|---|---|\n| 1 | 2 |\n",
        );
        assert_eq!(
            read,
            [
                Block::Heading(HeadingLevel::H1, "A &amp; B".into()),
                Block::Text(0, "One <tt>x&lt;y&gt;</tt> and <b>two</b>.".into()),
                Block::Text(1, "\u{2022} item more".into()),
                Block::Code("a <b\n".into()),
                Block::Table(vec![vec!["k".into(), "v".into()], vec!["1".into(), "2".into()]]),
            ]
        );
    }

    #[test]
    fn every_topic_is_readable_markup() {
        // Links are GtkLabel's own, which Pango does not know.
        let link = regex::Regex::new("<a href=\"[^\"<>]*\">|</a>").unwrap();
        for (name, _, text) in TOPICS {
            let read = blocks(text);
            assert!(matches!(read.first(), Some(Block::Heading(HeadingLevel::H1, _))), "{name}");
            for block in read {
                if let Block::Text(_, markup) | Block::Heading(_, markup) = block {
                    assert_eq!(
                        markup.matches("<a ").count(),
                        markup.matches("</a>").count(),
                        "{name}: {markup}"
                    );
                    let plain = link.replace_all(&markup, "");
                    assert!(pango::parse_markup(&plain, '\0').is_ok(), "{name}: {markup}");
                }
            }
        }
    }
}
