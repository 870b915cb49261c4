// SPDX-License-Identifier: GPL-3.0-or-later
//! Charts of results and of comparisons, as SVG and as PNG. Every repetition is drawn, so that a spread is seen and not
//! only told; a comparison shows ratios with their intervals. Colours are told apart by who sees no red or green, and
//! nothing is said by colour alone.

use super::compare::{Compared, Comparison, Verdict};
use super::document::{Results, Series};
use super::metrics::{Better, Workload};
use plotters::coord::Shift;
use plotters::prelude::{
    BitMapBackend, Circle, Color, DrawingArea, DrawingBackend, FontStyle, IntoDrawingArea, IntoFont,
    PathElement, RGBColor, Rectangle, SVGBackend, Text,
};
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::sync::OnceLock;

/// A picture.
#[derive(Debug, Clone)]
pub struct Chart {
    title: String,
    kind: Kind,
    tell: Tell,
}

/// What says a text in the words of who looks.
pub type Tell = fn(&str) -> String;

#[derive(Debug, Clone)]
enum Kind {
    Values(Vec<Series>),
    Ratios(Comparison),
}

/// Why no picture was made.
#[derive(Debug, thiserror::Error)]
#[error("the chart could not be drawn: {0}")]
pub struct ChartError(String);

const WIDTH: i32 = 920;
const MARGIN: i32 = 20;
/// The height of a row, and of a line of small letters.
const ROW: i32 = 26;
const LINE_HEIGHT: i32 = 17;
/// From this width on, names stand to the left of the plot and numbers to the right; below, above it.
const ROOM: i32 = 700;

/// How a chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Width of the picture, in points; at least 240.
    pub width: i32,
    /// Light on dark.
    pub dark: bool,
    /// With its title.
    pub titled: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { width: WIDTH, dark: false, titled: true }
    }
}

impl Style {
    fn is_wide(&self) -> bool {
        self.width >= ROOM
    }

    /// Where the plot begins and ends.
    fn plot(&self) -> (i32, i32) {
        if self.is_wide() { (self.width * 34 / 100, self.width * 75 / 100) } else { (4, self.width - 4) }
    }

    fn margin(&self) -> i32 {
        if self.is_wide() { MARGIN } else { 4 }
    }
}

struct Palette {
    ink: RGBColor,
    faint: RGBColor,
    line: RGBColor,
    paper: RGBColor,
    better: RGBColor,
    worse: RGBColor,
    /// For several ways of one figure.
    ways: [RGBColor; 4],
}

const LIGHT: Palette = Palette {
    ink: RGBColor(36, 31, 49),
    faint: RGBColor(94, 92, 100),
    line: RGBColor(222, 221, 218),
    paper: RGBColor(255, 255, 255),
    better: RGBColor(26, 95, 180),
    worse: RGBColor(198, 70, 0),
    ways: [RGBColor(26, 95, 180), RGBColor(198, 70, 0), RGBColor(97, 53, 131), RGBColor(99, 69, 44)],
};

const DARK: Palette = Palette {
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

/// Points of a picture, three bytes each (red, green, blue), row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Points {
    /// Points in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The pictures of results: one for each workload.
pub fn of_results(results: &Results) -> Vec<Chart> {
    let chart = |workload: Workload| {
        let series: Vec<Series> = results.of(workload).cloned().collect();
        let title = format!("{}: {}", results.name, workload.title());
        (!series.is_empty()).then_some(Chart { title, kind: Kind::Values(series), tell: str::to_owned })
    };
    Workload::ALL.into_iter().filter_map(chart).collect()
}

/// The picture of a comparison; none without figures that have a ratio.
pub fn of_comparison(comparison: &Comparison) -> Option<Chart> {
    let mut comparison = comparison.clone();
    comparison.compared.retain(|c| c.ratio.is_some());
    let title = format!("{} compared with {}", comparison.after, comparison.before);
    (!comparison.compared.is_empty()).then_some(Chart {
        title,
        kind: Kind::Ratios(comparison),
        tell: str::to_owned,
    })
}

impl Chart {
    /// The same in other words.
    #[must_use]
    pub fn told(self, tell: Tell) -> Self {
        Self { tell, ..self }
    }

    /// What it shows.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// All that it shows in a sentence, for who does not see it.
    pub fn words(&self) -> String {
        let tell = self.tell;
        let each: Vec<String> = match &self.kind {
            Kind::Values(series) => series
                .iter()
                .map(|s| format!("{}: {} {}", tell(&s.name()), number(s.summary.median), s.unit))
                .collect(),
            Kind::Ratios(c) => {
                let said = |c: &Compared| {
                    let verdict = tell(verdict_words(c.verdict));
                    format!("{}: {}, {verdict}", tell(&c.title), c.change().unwrap_or_default())
                };
                c.compared.iter().map(said).collect()
            }
        };
        format!("{}. {}.", tell(&self.title), each.join("; "))
    }

    /// The height of the picture in this style, in points.
    pub fn height(&self, style: Style) -> i32 {
        let row = if style.is_wide() { ROW } else { ROW + LINE_HEIGHT };
        let body = match &self.kind {
            Kind::Values(series) => {
                let heading = if style.is_wide() { ROW } else { ROW + LINE_HEIGHT };
                groups(series).len() as i32 * (heading + 10) + series.len() as i32 * row
            }
            Kind::Ratios(c) => 10 + c.compared.len() as i32 * row + 2 * ROW,
        };
        self.head(style) + body + style.margin()
    }

    /// Where the plot begins, below title and legend.
    fn head(&self, style: Style) -> i32 {
        let title = if style.titled { 34 } else { 0 };
        title + 7 + self.legend(style).len() as i32 * LINE_HEIGHT
    }

    /// What the signs mean, in lines that fit.
    fn legend(&self, style: Style) -> Vec<String> {
        let text = match self.kind {
            Kind::Values(_) => "dots: repetitions; strong: the middle half of them; line: the median",
            Kind::Ratios(_) => {
                "ratio of the medians over all pairs, with its 99 % interval; to the right is better; full: a difference \
                 beyond the noise"
            }
        };
        wrapped(&(self.tell)(text), 12, style.width - 2 * style.margin())
    }

    /// As SVG.
    ///
    /// # Errors
    /// When the plotting fails.
    pub fn svg(&self) -> Result<String, ChartError> {
        fonts()?;
        let style = Style::default();
        let mut text = String::new();
        {
            let size = (style.width as u32, self.height(style) as u32);
            let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
            self.draw(&Pen { area: &area, scale: 1, style, palette: &LIGHT, tell: self.tell })?;
            area.present().map_err(|e| ChartError(e.to_string()))?;
        }
        Ok(text)
    }

    /// As points, `scale` of them for each point of the style: for a screen.
    ///
    /// # Errors
    /// When the plotting fails.
    pub fn points(&self, style: Style, scale: u32) -> Result<Points, ChartError> {
        fonts()?;
        let style = Style { width: style.width.max(240), ..style };
        let (width, height) = (style.width as u32 * scale, self.height(style) as u32 * scale);
        let mut bytes = vec![0; width as usize * height as usize * 3];
        {
            let area = BitMapBackend::with_buffer(&mut bytes, (width, height)).into_drawing_area();
            let palette = if style.dark { &DARK } else { &LIGHT };
            self.draw(&Pen { area: &area, scale: scale as i32, style, palette, tell: self.tell })?;
            area.present().map_err(|e| ChartError(e.to_string()))?;
        }
        Ok(Points { width, height, bytes })
    }

    /// As PNG, of twice as many points for fine screens.
    ///
    /// # Errors
    /// When the plotting or the writing fails.
    pub fn png(&self) -> Result<Vec<u8>, ChartError> {
        let points = self.points(Style::default(), 2)?;
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, points.width, points.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut w| w.write_image_data(&points.bytes));
        written.map_err(|e| ChartError(e.to_string()))?;
        Ok(bytes)
    }

    fn draw<B: DrawingBackend>(&self, pen: &Pen<'_, B>) -> Result<(), ChartError> {
        let (style, colours) = (pen.style, pen.palette);
        pen.area.fill(&colours.paper).map_err(|e| ChartError(e.to_string()))?;
        let mut y = 7;
        if style.titled {
            pen.text(style.margin(), 24, &(self.tell)(&self.title), Letters::new(20, colours.ink).bold())?;
            y += 34;
        }
        for line in self.legend(style) {
            pen.text(style.margin(), y + LINE_HEIGHT / 2, &line, Letters::new(12, colours.faint))?;
            y += LINE_HEIGHT;
        }
        match &self.kind {
            Kind::Values(series) => values(pen, self.head(style), series),
            Kind::Ratios(comparison) => ratios(pen, self.head(style), comparison),
        }
    }
}

/// A text in lines that fit into this width; letters of this size are a good half as wide as they are high.
fn wrapped(text: &str, size: i32, width: i32) -> Vec<String> {
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
fn fonts() -> Result<(), ChartError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = REGISTERED.get_or_init(|| {
        let normal = include_bytes!("../../../data/fonts/charts.ttf");
        let bold = include_bytes!("../../../data/fonts/charts-bold.ttf");
        register_font("sans-serif", FontStyle::Normal, normal).is_ok()
            && register_font("sans-serif", FontStyle::Bold, bold).is_ok()
    });
    if *registered { Ok(()) } else { Err(ChartError("its letters cannot be read".to_owned())) }
}

#[derive(Clone, Copy)]
struct Letters {
    size: i32,
    bold: bool,
    colour: RGBColor,
    at: HPos,
}

impl Letters {
    fn new(size: i32, colour: RGBColor) -> Self {
        Self { size, bold: false, colour, at: HPos::Left }
    }

    fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    fn at(self, at: HPos) -> Self {
        Self { at, ..self }
    }
}

/// Draws in units of the picture, whatever the points are.
struct Pen<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    scale: i32,
    style: Style,
    palette: &'a Palette,
    tell: Tell,
}

impl<B: DrawingBackend> Pen<'_, B> {
    fn at(&self, x: i32, y: i32) -> (i32, i32) {
        (x * self.scale, y * self.scale)
    }

    fn fail(e: impl std::fmt::Display) -> ChartError {
        ChartError(e.to_string())
    }

    fn text(&self, x: i32, y: i32, text: &str, style: Letters) -> Result<(), ChartError> {
        let weight = if style.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = ("sans-serif", style.size * self.scale, weight).into_font().color(&style.colour);
        let font = font.pos(Pos::new(style.at, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), self.at(x, y), font)).map_err(Self::fail)
    }

    fn line(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor, width: i32) -> Result<(), ChartError> {
        let style = colour.stroke_width((width * self.scale) as u32);
        let points = vec![self.at(from.0, from.1), self.at(to.0, to.1)];
        self.area.draw(&PathElement::new(points, style)).map_err(Self::fail)
    }

    fn bar(&self, from: (i32, i32), to: (i32, i32), colour: RGBColor, share: f64) -> Result<(), ChartError> {
        let corners = [self.at(from.0, from.1), self.at(to.0, to.1)];
        self.area.draw(&Rectangle::new(corners, colour.mix(share).filled())).map_err(Self::fail)
    }

    fn dot(&self, x: i32, y: i32, radius: i32, colour: RGBColor, filled: bool) -> Result<(), ChartError> {
        let paper = Circle::new(self.at(x, y), radius * self.scale, self.palette.paper.filled());
        let style = if filled { colour.filled() } else { colour.stroke_width((2 * self.scale) as u32) };
        let dot = Circle::new(self.at(x, y), radius * self.scale, style);
        self.area.draw(&paper).and_then(|()| self.area.draw(&dot)).map_err(Self::fail)
    }
}

/// A number as people read it: three digits that count.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    // 12345678 → 12 345 678, with a narrow space that no line is broken at.
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(w, r)| (w, r));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        let left = whole.len() - i;
        if i > 0 && left.is_multiple_of(3) && whole.len() > 4 && c.is_ascii_digit() {
            grouped.push('\u{a0}');
        }
        grouped.push(c);
    }
    if rest.is_empty() { grouped } else { format!("{grouped}.{rest}") }
}

/// The ways and places of each figure together, in order.
fn groups(series: &[Series]) -> Vec<Vec<&Series>> {
    let mut groups: Vec<Vec<&Series>> = Vec::new();
    for one in series {
        match groups.iter_mut().find(|g| g[0].metric == one.metric) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

/// Every value, on an axis from zero for each figure.
fn values<B: DrawingBackend>(pen: &Pen<'_, B>, top: i32, series: &[Series]) -> Result<(), ChartError> {
    let (style, colours) = (pen.style, pen.palette);
    let (left, right) = style.plot();
    let margin = style.margin();
    let mut y = top;
    for group in groups(series) {
        let first = group[0];
        let better = match first.better {
            Better::Higher => (pen.tell)("more is better"),
            Better::Lower => (pen.tell)("less is better"),
        };
        let title = (pen.tell)(&first.title);
        y += 10;
        pen.line((margin, y), (style.width - margin, y), colours.line, 1)?;
        let letters = Letters::new(14, colours.ink).bold();
        if style.is_wide() {
            let heading = format!("{title} ({}, {better})", first.unit);
            pen.text(margin, y + ROW / 2, &heading, letters)?;
        } else {
            pen.text(margin, y + ROW / 2, &title, letters)?;
            y += LINE_HEIGHT;
            let unit = format!("{}, {better}", first.unit);
            pen.text(margin, y + ROW / 2, &unit, Letters::new(12, colours.faint))?;
        }
        y += ROW;
        let most = group.iter().map(|s| s.summary.max).fold(f64::MIN_POSITIVE, f64::max);
        let x = |value: f64| left + ((value / most).clamp(0.0, 1.0) * f64::from(right - left)).round() as i32;
        for (i, one) in group.iter().enumerate() {
            let colour = colours.ways[i % colours.ways.len()];
            let name = match &one.variant {
                Some(way) => format!("{way}, {}", one.place.words()),
                None => one.place.words(),
            };
            let s = &one.summary;
            let told = format!("{} ± {:.1} %, {} ×", number(s.median), s.spread() * 100.0, s.n);
            y = pen.labels(y, &(pen.tell)(&name), &told, false)?;
            let middle = y + ROW / 2;
            pen.bar((left, middle - 7), (right, middle + 7), colours.line, 0.35)?;
            pen.bar((left, middle - 7), (x(s.median), middle + 7), colour, 0.25)?;
            pen.bar(
                (x(s.low_quartile), middle - 7),
                (x(s.high_quartile).max(x(s.low_quartile) + 1), middle + 7),
                colour,
                0.55,
            )?;
            pen.line((x(s.median), middle - 9), (x(s.median), middle + 9), colour, 2)?;
            for (n, value) in one.values.iter().enumerate() {
                // Apart from each other, in the order of the rounds.
                let beside = (n as i32 % 3 - 1) * 4;
                pen.dot(x(*value), middle + beside, 2, colour, true)?;
            }
            y += ROW;
        }
    }
    Ok(())
}

impl<B: DrawingBackend> Pen<'_, B> {
    /// The name and the numbers of a row that begins at `y`: beside the plot where there is room, else above it. Returns
    /// where its plot begins.
    fn labels(&self, y: i32, name: &str, told: &str, bold: bool) -> Result<i32, ChartError> {
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

/// What came of a comparison, in words.
pub fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NoDifference => "no difference beyond the noise",
        Verdict::TooFew => "too few repetitions",
    }
}

/// Ratios with their intervals, on a logarithmic axis on which the right is better.
fn ratios<B: DrawingBackend>(pen: &Pen<'_, B>, top: i32, comparison: &Comparison) -> Result<(), ChartError> {
    let (style, colours) = (pen.style, pen.palette);
    let (left, right) = style.plot();
    let rows: Vec<_> = comparison
        .compared
        .iter()
        .filter_map(|c| {
            let r = c.ratio?;
            let gain = |factor: f64| match c.better {
                Better::Higher => factor.ln(),
                Better::Lower => -factor.ln(),
            };
            let (a, b) = (gain(r.low), gain(r.high));
            Some((c, gain(r.estimate), a.min(b), a.max(b)))
        })
        .collect();
    let reach = rows.iter().map(|(_, _, low, high)| low.abs().max(high.abs())).fold(0.1f64, f64::max) * 1.08;
    let x = |gain: f64| {
        let half = f64::from(right - left) / 2.0;
        f64::from(left + right).mul_add(0.5, (gain / reach).clamp(-1.0, 1.0) * half).round() as i32
    };
    let top = top + 10;
    let row = if style.is_wide() { ROW } else { ROW + LINE_HEIGHT };
    let bottom = top + rows.len() as i32 * row;
    let small = |colour| Letters::new(12, colour);
    let mut taken: Vec<(i32, i32)> = Vec::new();
    for (factor, label) in ticks(reach) {
        let label = (pen.tell)(&label);
        let at = x(factor.ln());
        let (colour, width) = if factor == 1.0 { (colours.faint, 2) } else { (colours.line, 1) };
        pen.line((at, top), (at, bottom), colour, width)?;
        // A label that would lie on another one, or over the edge, is left out; its line stays.
        let half = label.chars().count() as i32 * 7 / 2 + 3;
        let (from, to) = (at - half, at + half);
        if from >= 0 && to <= style.width && taken.iter().all(|(a, b)| to < *a || from > *b) {
            pen.text(at, bottom + 14, &label, small(colours.faint).at(HPos::Center))?;
            taken.push((from, to));
        }
    }
    pen.text(left, bottom + 34, &(pen.tell)("← worse"), small(colours.worse))?;
    pen.text(right, bottom + 34, &(pen.tell)("better →"), small(colours.better).at(HPos::Right))?;
    let mut y = top;
    for (c, gain, low, high) in rows {
        let called = matches!(c.verdict, Verdict::Better | Verdict::Worse);
        let (colour, word) = match c.verdict {
            Verdict::Better => (colours.better, "better"),
            Verdict::Worse => (colours.worse, "worse"),
            Verdict::NoDifference => (colours.faint, "no difference"),
            Verdict::TooFew => (colours.faint, "too few"),
        };
        let told = format!("{}, {}", c.change().unwrap_or_default(), (pen.tell)(word));
        y = pen.labels(y, &(pen.tell)(&c.title), &told, called)?;
        let middle = y + ROW / 2;
        pen.line((x(low), middle), (x(high), middle), colour, 2)?;
        for end in [low, high] {
            pen.line((x(end), middle - 4), (x(end), middle + 4), colour, 2)?;
        }
        pen.dot(x(gain), middle, 5, colour, called)?;
        y += ROW;
    }
    Ok(())
}

/// Places of the axis: factors and their labels, as many as fit.
fn ticks(reach: f64) -> Vec<(f64, String)> {
    let steps: &[f64] = match reach {
        r if r < 0.12 => &[1.05, 1.1],
        r if r < 0.3 => &[1.1, 1.2, 1.3],
        r if r < 0.8 => &[1.25, 1.5, 2.0],
        r if r < 2.5 => &[1.5, 2.0, 4.0, 8.0],
        _ => &[2.0, 10.0, 100.0, 1000.0],
    };
    let mut ticks = vec![(1.0, "the same".to_owned())];
    for factor in steps.iter().copied().filter(|f| f.ln() <= reach) {
        ticks.push((factor, format!("× {factor}")));
        ticks.push((1.0 / factor, format!("÷ {factor}")));
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::super::compare::{compare, tests::results};
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        let shown = [0.0, 0.01234, 1.2345, 12.345, 123.45, 1234.5, 12_345_678.0].map(number);
        assert_eq!(shown, ["0", "0.012", "1.23", "12.3", "123", "1234", "12\u{a0}345\u{a0}678"]);
    }

    #[test]
    fn every_repetition_and_every_name_is_in_the_picture() {
        let charts = of_results(&results("before", 1.0));
        assert_eq!(charts.len(), 2, "one for each workload that was run");
        let svg = charts[1].svg().unwrap();
        assert!(
            svg.starts_with("<svg") && svg.contains("huge pages") && svg.contains("Following pointers"),
            "{svg}"
        );
        assert!(svg.matches("<circle").count() >= 3 * 7 * 2);
        assert!(charts[1].words().contains("Copying, huge pages: 13.0 GB/s"), "{}", charts[1].words());
    }

    #[test]
    fn a_comparison_says_its_verdict_in_words_and_marks() {
        let chart = of_comparison(&compare(&results("before", 1.0), &results("after", 1.2))).unwrap();
        let svg = chart.svg().unwrap();
        assert!(svg.contains("+20 %, worse") && svg.contains("no difference"), "{svg}");
        assert!(
            of_comparison(&Comparison {
                compared: vec![],
                ..compare(&results("a", 1.0), &results("b", 1.0))
            })
            .is_none()
        );
    }

    #[test]
    fn a_picture_says_all_in_the_words_it_is_told_in() {
        let shout: Tell = |text| text.to_uppercase();
        let compared = of_comparison(&compare(&results("before", 1.0), &results("after", 1.2)));
        for chart in of_results(&results("x", 1.0)).into_iter().chain(compared) {
            let chart = chart.told(shout);
            let svg = chart.svg().unwrap();
            let said: Vec<&str> = svg.lines().filter(|l| !l.starts_with('<')).collect();
            assert!(said.join(" ").contains("BETTER"), "{svg}");
            // Only units stay as they are ("GB/s").
            let words =
                said.iter().flat_map(|l| l.split([' ', ',', '(', ')', '&', ';'])).filter(|w| w.len() > 2);
            let quiet: Vec<&str> =
                words.filter(|w| !w.contains('/') && w.chars().any(char::is_lowercase)).collect();
            assert!(quiet.iter().all(|w| *w == "apos"), "{quiet:?}");
            assert!(chart.words().starts_with(&chart.title().to_uppercase()), "{}", chart.words());
        }
    }

    #[test]
    fn a_png_has_the_size_that_it_says_and_is_not_blank() {
        let png = of_results(&results("x", 1.0))[0].png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
        let mut points = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut points).unwrap();
        assert_eq!(info.width, 2 * WIDTH as u32);
        let colours: std::collections::BTreeSet<&[u8]> = points.chunks(3).collect();
        assert!(colours.len() > 10, "letters, bars and dots");
    }

    #[test]
    fn a_narrow_picture_is_as_narrow_as_wished_and_a_dark_one_is_dark() {
        let chart = of_comparison(&compare(&results("before", 1.0), &results("after", 1.2))).unwrap();
        for chart in of_results(&results("x", 1.0)).into_iter().chain([chart]) {
            let style = Style { width: 320, dark: true, titled: false };
            let points = chart.points(style, 2).unwrap();
            assert_eq!((points.width, points.height), (640, chart.height(style) as u32 * 2));
            assert_eq!(points.bytes.len(), 640 * points.height as usize * 3);
            let dark = points.bytes.chunks(3).filter(|p| p.iter().all(|c| *c < 100)).count();
            assert!(dark * 3 > points.bytes.len() / 3 * 2, "mostly dark");
            assert!(chart.height(style) > chart.height(Style { width: 920, ..style }), "names stand above");
        }
        assert_eq!(wrapped("a line that is too long", 12, 90), ["a line that", "is too long"]);
    }

    #[test]
    fn a_name_from_elsewhere_cannot_break_out_of_the_picture() {
        let mut hostile = results("x", 1.0);
        hostile.name = "<script>alert(1)</script>".into();
        assert!(!of_results(&hostile)[0].svg().unwrap().contains("<script"));
    }
}
