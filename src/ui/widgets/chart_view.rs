// SPDX-License-Identifier: GPL-3.0-or-later
//! A chart of the library's, drawn for just the width and the points that it gets, light or dark as the window is. Who
//! does not see it has all of it in words.

use crate::flows::bench::chart::{Chart, Style};
use gtk::prelude::*;
use gtk::subclass::prelude::*;
use gtk::{Orientation, SizeRequestMode, gdk, glib, graphene};
use std::cell::{OnceCell, RefCell};

/// The least width that a chart is drawn for, and the one that it would like, in pixels.
const LEAST: i32 = 260;
const LIKED: i32 = 760;

mod imp {
    use super::*;

    #[derive(Debug, Default)]
    pub struct ChartView {
        pub(super) chart: OnceCell<Chart>,
        /// What was drawn last, and how.
        pub(super) drawn: RefCell<Option<(Style, i32, gdk::MemoryTexture)>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ChartView {
        const NAME: &'static str = "HwChartView";
        type Type = super::ChartView;
        type ParentType = gtk::Widget;

        fn class_init(class: &mut Self::Class) {
            class.set_accessible_role(gtk::AccessibleRole::Img);
        }
    }

    impl ObjectImpl for ChartView {}

    impl WidgetImpl for ChartView {
        fn request_mode(&self) -> SizeRequestMode {
            SizeRequestMode::HeightForWidth
        }

        fn measure(&self, orientation: Orientation, for_size: i32) -> (i32, i32, i32, i32) {
            if orientation == Orientation::Horizontal {
                return (LEAST, LIKED, -1, -1);
            }
            let width = if for_size < 0 { LEAST } else { for_size };
            let height = self.chart.get().map_or(0, |chart| chart.height(self.obj().style(width)));
            (height, height, -1, -1)
        }

        fn snapshot(&self, snapshot: &gtk::Snapshot) {
            let view = self.obj();
            let Some(texture) = view.texture() else { return };
            #[allow(clippy::cast_precision_loss, reason = "pixels of a screen")]
            let area = graphene::Rect::new(0.0, 0.0, view.width() as f32, view.height() as f32);
            snapshot.append_texture(&texture, &area);
        }
    }
}

glib::wrapper! {
    pub struct ChartView(ObjectSubclass<imp::ChartView>)
        @extends gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl ChartView {
    /// A chart as a widget.
    pub(in crate::ui) fn new(chart: Chart) -> Self {
        let view: Self = glib::Object::builder().property("overflow", gtk::Overflow::Hidden).build();
        view.update_property(&[gtk::accessible::Property::Label(&chart.words())]);
        let _ = view.imp().chart.set(chart);
        adw::StyleManager::default().connect_dark_notify(glib::clone!(
            #[weak]
            view,
            move |_| view.queue_draw()
        ));
        view.connect_scale_factor_notify(|view| view.queue_draw());
        view
    }

    fn style(&self, width: i32) -> Style {
        Style { width: width.max(LEAST), dark: adw::StyleManager::default().is_dark(), titled: false }
    }

    /// What is shown; drawn anew only when something about it is other.
    fn texture(&self) -> Option<gdk::MemoryTexture> {
        let imp = self.imp();
        let (style, scale) = (self.style(self.width()), self.scale_factor().clamp(1, 4));
        if let Some((for_style, for_scale, texture)) = &*imp.drawn.borrow()
            && (*for_style, *for_scale) == (style, scale)
        {
            return Some(texture.clone());
        }
        let points = match imp.chart.get()?.points(style, u32::try_from(scale).unwrap_or(1)) {
            Ok(points) => points,
            Err(error) => {
                tracing::warn!(%error, "a chart is not shown");
                return None;
            }
        };
        let (width, height) = (i32::try_from(points.width).ok()?, i32::try_from(points.height).ok()?);
        let stride = points.width as usize * 3;
        let bytes = glib::Bytes::from_owned(points.bytes);
        let texture = gdk::MemoryTexture::new(width, height, gdk::MemoryFormat::R8g8b8, &bytes, stride);
        imp.drawn.replace(Some((style, scale, texture.clone())));
        Some(texture)
    }
}
