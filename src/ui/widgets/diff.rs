// SPDX-License-Identifier: GPL-3.0-or-later
//! Text that a machine wrote: commands, and differences of files.

use crate::ui::i18n::gettext;
use gtk::pango;
use gtk::prelude::*;

/// A difference longer than this is shown to here, with a word about the rest: labels are no editors.
const SHOWN: usize = 400;

/// A block of commands or the like; can be selected.
pub(in crate::ui) fn code(text: &str) -> gtk::Label {
    gtk::Label::builder()
        .label(text)
        .xalign(0.0)
        .wrap(true)
        .wrap_mode(pango::WrapMode::WordChar)
        .selectable(true)
        .css_classes(["code", "code-box"])
        .build()
}

/// A unified difference. What is added and removed is told by the signs at the beginnings of the lines, and by colour.
pub(in crate::ui) fn diff(lines: &[&str]) -> gtk::Widget {
    let label = code("");
    label.set_wrap(false);
    label.update_property(&[gtk::accessible::Property::Label(&gettext("Difference"))]);
    let attributes = pango::AttrList::new();
    let mut text = String::new();
    let dark = adw::StyleManager::default().is_dark();
    for line in lines.iter().take(SHOWN) {
        let start = text.len();
        text.push_str(line);
        let colour = match line.as_bytes().first() {
            Some(b'+') if dark => Some((0x8f, 0xf0, 0xa4)),
            Some(b'+') => Some((0x1b, 0x6f, 0x2f)),
            Some(b'-') if dark => Some((0xff, 0x93, 0x8c)),
            Some(b'-') => Some((0xb0, 0x1b, 0x24)),
            Some(b'@') if dark => Some((0x99, 0xc1, 0xf1)),
            Some(b'@') => Some((0x1a, 0x5f, 0xb4)),
            _ => None,
        };
        if let Some((r, g, b)) = colour {
            let mut attribute = pango::AttrColor::new_foreground(r * 257, g * 257, b * 257);
            attribute.set_start_index(u32::try_from(start).unwrap_or(u32::MAX));
            attribute.set_end_index(u32::try_from(text.len()).unwrap_or(u32::MAX));
            attributes.insert(attribute);
        }
        text.push('\n');
    }
    if lines.len() > SHOWN {
        text.push_str(&gettext(
            "(the rest is not shown; \u{201c}hostwright vmware plan --diff\u{201d} shows all of it)",
        ));
    }
    label.set_label(text.trim_end_matches('\n'));
    label.set_attributes(Some(&attributes));
    let scroll = gtk::ScrolledWindow::builder()
        .vscrollbar_policy(gtk::PolicyType::Never)
        .propagate_natural_height(true)
        .child(&label)
        .build();
    scroll.upcast()
}
