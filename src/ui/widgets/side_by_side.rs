// SPDX-License-Identifier: GPL-3.0-or-later
//! Lays widgets out side by side where there is room, else one below the other. The keyboard goes through them as
//! through any box; a flow box would want the focus for itself.

use gtk::prelude::*;
use gtk::subclass::prelude::*;
use gtk::{Orientation, SizeRequestMode, glib, graphene, gsk};

/// Below this width there is no room, in pixels.
const ROOM: i32 = 480;

/// Between the widgets, in pixels.
const SPACING: i32 = 12;

mod imp {
    use super::*;

    #[derive(Debug, Default)]
    pub struct SideBySide;

    #[glib::object_subclass]
    impl ObjectSubclass for SideBySide {
        const NAME: &'static str = "HwSideBySide";
        type Type = super::SideBySide;
        type ParentType = gtk::LayoutManager;
    }

    impl ObjectImpl for SideBySide {}

    impl LayoutManagerImpl for SideBySide {
        fn request_mode(&self, _widget: &gtk::Widget) -> SizeRequestMode {
            SizeRequestMode::HeightForWidth
        }

        fn measure(&self, widget: &gtk::Widget, orientation: Orientation, size: i32) -> (i32, i32, i32, i32) {
            let children = children(widget);
            let n = i32::try_from(children.len()).unwrap_or(1).max(1);
            let gaps = SPACING * (n - 1);
            let of = |for_size: i32| -> Vec<(i32, i32)> {
                children.iter().map(|c| c.measure(orientation, for_size)).map(|m| (m.0, m.1)).collect()
            };
            let (min, natural) = if orientation == Orientation::Horizontal {
                let all = of(-1);
                let widest = all.iter().map(|m| m.1).max().unwrap_or(0);
                (all.iter().map(|m| m.0).max().unwrap_or(0), widest * n + gaps)
            } else if size < 0 || fits(&children, size) {
                let all = of(if size < 0 { -1 } else { (size - gaps) / n });
                (all.iter().map(|m| m.0).max().unwrap_or(0), all.iter().map(|m| m.1).max().unwrap_or(0))
            } else {
                let all = of(size);
                (all.iter().map(|m| m.0).sum::<i32>() + gaps, all.iter().map(|m| m.1).sum::<i32>() + gaps)
            };
            (min, natural.max(min), -1, -1)
        }

        fn allocate(&self, widget: &gtk::Widget, width: i32, height: i32, _baseline: i32) {
            let children = children(widget);
            let n = i32::try_from(children.len()).unwrap_or(1).max(1);
            let beside = fits(&children, width);
            let each = if beside { (width - SPACING * (n - 1)) / n } else { width };
            let right_to_left = widget.direction() == gtk::TextDirection::Rtl;
            let (mut x, mut y) = (0, 0);
            for child in &children {
                let tall = if beside { height } else { child.measure(Orientation::Vertical, each).1 };
                let left = if beside && right_to_left { width - x - each } else { x };
                #[allow(clippy::cast_precision_loss, reason = "pixels of a screen")]
                let at = gsk::Transform::new().translate(&graphene::Point::new(left as f32, y as f32));
                child.allocate(each, tall, -1, Some(at));
                if beside {
                    x += each + SPACING;
                } else {
                    y += tall + SPACING;
                }
            }
        }
    }
}

/// Whether they fit side by side into a width. Large text needs more of it.
fn fits(children: &[gtk::Widget], width: i32) -> bool {
    let n = i32::try_from(children.len()).unwrap_or(1).max(1);
    let each = children.iter().map(|c| c.measure(Orientation::Horizontal, -1).0).max().unwrap_or(0);
    width >= ROOM.max(each * n + SPACING * (n - 1))
}

/// The children that are shown.
fn children(widget: &gtk::Widget) -> Vec<gtk::Widget> {
    let next = |child: &gtk::Widget| child.next_sibling();
    std::iter::successors(widget.first_child(), next).filter(WidgetExt::should_layout).collect()
}

glib::wrapper! {
    pub struct SideBySide(ObjectSubclass<imp::SideBySide>) @extends gtk::LayoutManager;
}

impl Default for SideBySide {
    fn default() -> Self {
        glib::Object::new()
    }
}
