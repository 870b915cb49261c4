// SPDX-License-Identifier: GPL-3.0-or-later
//! What charts are drawn with: colours, letters, and a pen that knows the picture's units.

use super::{ChartError, LINE_HEIGHT, ROW, Style, Tell};
use plotters::coord::Shift;
use plotters::prelude::{
    Circle, Color, DrawingArea, DrawingBackend, FontStyle, IntoFont, PathElement, RGBColor, Rectangle, Text,
};
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::sync::OnceLock;

pub(super) struct Palette {
    pub(super) ink: RGBColor,
    pub(super) faint: RGBColor,
    pub(super) line: RGBColor,
    pub(super) paper: RGBColor,
    pub(super) better: RGBColor,
    pub(super) worse: RGBColor,
    /// For several ways of one figure.
    pub(super) ways: [RGBColor; 4],
}

pub(super) const LIGHT: Palette = Palette {
    ink: RGBColor(36, 31, 49),
    faint: RGBColor(94, 92, 100),
    line: RGBColor(222, 221, 218),
    paper: RGBColor(255, 255, 255),
    better: RGBColor(26, 95, 180),
    worse: RGBColor(198, 70, 0),
    ways: [RGBColor(26, 95, 180), RGBColor(198, 70, 0), RGBColor(97, 53, 131), RGBColor(99, 69, 44)],
};

pub(super) const DARK: Palette = Palette {
    ink: RGBColor(246, 245, 244),
    faint: RGBColor(180, 178, 184),
    line: RGBColor(78, 76, 82),
    paper: RGBColor(54, 54, 54),
    better: RGBColor(153, 193, 241),
    worse: RGBColor(255, 190, 111),
    ways: [
        RGBColor(153, 193, 241),
        RGBColor(255, 190, 111),
        RGBColor(220, 138, 221),
        RGBColor(205, 171, 143),
    ],
};

/// A text in lines that fit into this width; letters of this size are a good half as wide as they are high.
pub(super) fn wrapped(text: &str, size: i32, width: i32) -> Vec<String> {
    let most = usize::try_from((width * 100 / (size * 55)).max(10)).unwrap_or(10);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The letters of the charts, built in: the same everywhere, and none need be installed (`data/fonts`).
pub(super) fn fonts() -> Result<(), ChartError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = REGISTERED.get_or_init(|| {
        let normal = include_bytes!("../../../../data/fonts/charts.ttf");
        let bold = include_bytes!("../../../../data/fonts/charts-bold.ttf");
        register_font("sans-serif", FontStyle::Normal, normal).is_ok()
            && register_font("sans-serif", FontStyle::Bold, bold).is_ok()
    });
    if *registered { Ok(()) } else { Err(ChartError("its letters cannot be read".to_owned())) }
}

#[derive(Clone, Copy)]
pub(super) struct Letters {
    pub(super) size: i32,
    pub(super) bold: bool,
    pub(super) colour: RGBColor,
    pub(super) at: HPos,
}

impl Letters {
    pub(super) fn new(size: i32, colour: RGBColor) -> Self {
        Self { size, bold: false, colour, at: HPos::Left }
    }

    pub(super) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) fn at(self, at: HPos) -> Self {
        Self { at, ..self }
    }
}

/// Draws in units of the picture, whatever the points are.
pub(super) struct Pen<'a, B: DrawingBackend> {
    pub(super) area: &'a DrawingArea<B, Shift>,
    pub(super) scale: i32,
    pub(super) style: Style,
    pub(super) palette: &'a Palette,
    pub(super) tell: Tell,
}

impl<B: DrawingBackend> Pen<'_, B> {
    pub(super) fn at(&self, x: i32, y: i32) -> (i32, i32) {
        (x * self.scale, y * self.scale)
    }

    pub(super) fn fail(e: impl std::fmt::Display) -> ChartError {
        ChartError(e.to_string())
    }

    pub(super) fn text(&self, x: i32, y: i32, text: &str, style: Letters) -> Result<(), ChartError> {
        let weight = if style.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = ("sans-serif", style.size * self.scale, weight).into_font().color(&style.colour);
        let font = font.pos(Pos::new(style.at, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), self.at(x, y), font)).map_err(Self::fail)
    }

    pub(super) fn line(
        &self,
        from: (i32, i32),
        to: (i32, i32),
        colour: RGBColor,
        width: i32,
    ) -> Result<(), ChartError> {
        let style = colour.stroke_width((width * self.scale) as u32);
        let points = vec![self.at(from.0, from.1), self.at(to.0, to.1)];
        self.area.draw(&PathElement::new(points, style)).map_err(Self::fail)
    }

    pub(super) fn bar(
        &self,
        from: (i32, i32),
        to: (i32, i32),
        colour: RGBColor,
        share: f64,
    ) -> Result<(), ChartError> {
        let corners = [self.at(from.0, from.1), self.at(to.0, to.1)];
        self.area.draw(&Rectangle::new(corners, colour.mix(share).filled())).map_err(Self::fail)
    }

    pub(super) fn dot(
        &self,
        x: i32,
        y: i32,
        radius: i32,
        colour: RGBColor,
        filled: bool,
    ) -> Result<(), ChartError> {
        let paper = Circle::new(self.at(x, y), radius * self.scale, self.palette.paper.filled());
        let style = if filled { colour.filled() } else { colour.stroke_width((2 * self.scale) as u32) };
        let dot = Circle::new(self.at(x, y), radius * self.scale, style);
        self.area.draw(&paper).and_then(|()| self.area.draw(&dot)).map_err(Self::fail)
    }
}

impl<B: DrawingBackend> Pen<'_, B> {
    /// The name and the numbers of a row that begins at `y`: beside the plot where there is room, else above it. Returns
    /// where its plot begins.
    pub(super) fn labels(&self, y: i32, name: &str, told: &str, bold: bool) -> Result<i32, ChartError> {
        let (left, right) = self.style.plot();
        let ink = self.palette.ink;
        let numbers = Letters { bold, ..Letters::new(13, ink) };
        if self.style.is_wide() {
            let middle = y + ROW / 2;
            // What does not fit is written smaller.
            let size = if name.chars().count() as i32 * 7 > left - 20 { 11 } else { 13 };
            self.text(left - 10, middle, name, Letters::new(size, ink).at(HPos::Right))?;
            self.text(right + 14, middle, told, numbers)?;
            return Ok(y);
        }
        let middle = y + LINE_HEIGHT / 2 + 2;
        let fits = (name.chars().count() + told.chars().count() + 2) as i32 * 7 <= right - left;
        let size = if fits { 13 } else { 11 };
        self.text(left, middle, name, Letters::new(size, ink))?;
        self.text(right, middle, told, Letters { size, ..numbers }.at(HPos::Right))?;
        Ok(y + LINE_HEIGHT)
    }
}
