// SPDX-License-Identifier: GPL-3.0-or-later
//! Charts of results and of comparisons, as SVG and as PNG. Every repetition is drawn, so that a spread is seen and not
//! only told; a comparison shows ratios with their intervals. Colours are told apart by who sees no red or green, and
//! nothing is said by colour alone.

use super::compare::{Comparison, Verdict};
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
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    title: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
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
/// Where the plot begins and ends; names stand to the left, numbers to the right.
const LEFT: i32 = 310;
const RIGHT: i32 = 690;
const ROW: i32 = 26;
const HEAD: i32 = 58;

const INK: RGBColor = RGBColor(36, 31, 49);
const FAINT: RGBColor = RGBColor(119, 118, 123);
const LINE: RGBColor = RGBColor(222, 221, 218);
const PAPER: RGBColor = RGBColor(255, 255, 255);
const BLUE: RGBColor = RGBColor(26, 95, 180);
const ORANGE: RGBColor = RGBColor(198, 70, 0);
/// For several ways of one figure.
const WAYS: [RGBColor; 4] = [BLUE, ORANGE, RGBColor(97, 53, 131), RGBColor(99, 69, 44)];

/// The pictures of results: one for each workload.
pub fn of_results(results: &Results) -> Vec<Chart> {
    let chart = |workload: Workload| {
        let series: Vec<Series> = results.of(workload).cloned().collect();
        let title = format!("{}: {}", results.name, workload.title());
        (!series.is_empty()).then_some(Chart { title, kind: Kind::Values(series) })
    };
    Workload::ALL.into_iter().filter_map(chart).collect()
}

/// The picture of a comparison; none without figures that have a ratio.
pub fn of_comparison(comparison: &Comparison) -> Option<Chart> {
    let mut comparison = comparison.clone();
    comparison.compared.retain(|c| c.ratio.is_some());
    let title = format!("{} compared with {}", comparison.after, comparison.before);
    (!comparison.compared.is_empty()).then_some(Chart { title, kind: Kind::Ratios(comparison) })
}

impl Chart {
    /// What it shows.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// All that it shows in a sentence, for who does not see it.
    pub fn words(&self) -> String {
        match &self.kind {
            Kind::Values(series) => {
                let each =
                    series.iter().map(|s| format!("{}: {} {}", s.name(), number(s.summary.median), s.unit));
                format!("{}. {}.", self.title, each.collect::<Vec<_>>().join("; "))
            }
            Kind::Ratios(c) => {
                let each = c.compared.iter().map(|c| {
                    format!("{}: {}, {}", c.title, c.change().unwrap_or_default(), verdict_words(c.verdict))
                });
                format!("{}. {}.", self.title, each.collect::<Vec<_>>().join("; "))
            }
        }
    }

    fn height(&self) -> i32 {
        let body = match &self.kind {
            Kind::Values(series) => {
                let metrics = groups(series).len() as i32;
                metrics * (ROW + 10) + series.len() as i32 * ROW
            }
            Kind::Ratios(c) => c.compared.len() as i32 * ROW + 2 * ROW,
        };
        HEAD + body + MARGIN
    }

    /// As SVG.
    ///
    /// # Errors
    /// When the plotting fails.
    pub fn svg(&self) -> Result<String, ChartError> {
        fonts()?;
        let mut text = String::new();
        {
            let area =
                SVGBackend::with_string(&mut text, (WIDTH as u32, self.height() as u32)).into_drawing_area();
            self.draw(&Pen { area: &area, scale: 1 })?;
            area.present().map_err(|e| ChartError(e.to_string()))?;
        }
        Ok(text)
    }

    /// As PNG, of twice as many points for fine screens.
    ///
    /// # Errors
    /// When the plotting or the writing fails.
    pub fn png(&self) -> Result<Vec<u8>, ChartError> {
        const SCALE: i32 = 2;
        fonts()?;
        let (width, height) = ((WIDTH * SCALE) as u32, (self.height() * SCALE) as u32);
        let mut points = vec![0; width as usize * height as usize * 3];
        {
            let area = BitMapBackend::with_buffer(&mut points, (width, height)).into_drawing_area();
            self.draw(&Pen { area: &area, scale: SCALE })?;
            area.present().map_err(|e| ChartError(e.to_string()))?;
        }
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut w| w.write_image_data(&points));
        written.map_err(|e| ChartError(e.to_string()))?;
        Ok(bytes)
    }

    fn draw<B: DrawingBackend>(&self, pen: &Pen<'_, B>) -> Result<(), ChartError> {
        pen.area.fill(&PAPER).map_err(|e| ChartError(e.to_string()))?;
        pen.text(MARGIN, 24, &self.title, Style { size: 20, bold: true, colour: INK, at: HPos::Left })?;
        match &self.kind {
            Kind::Values(series) => values(pen, series),
            Kind::Ratios(comparison) => ratios(pen, comparison),
        }
    }
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
struct Style {
    size: i32,
    bold: bool,
    colour: RGBColor,
    at: HPos,
}

/// Draws in units of the picture, whatever the points are.
struct Pen<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    scale: i32,
}

impl<B: DrawingBackend> Pen<'_, B> {
    fn at(&self, x: i32, y: i32) -> (i32, i32) {
        (x * self.scale, y * self.scale)
    }

    fn fail(e: impl std::fmt::Display) -> ChartError {
        ChartError(e.to_string())
    }

    fn text(&self, x: i32, y: i32, text: &str, style: Style) -> Result<(), ChartError> {
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
        let paper = Circle::new(self.at(x, y), radius * self.scale, PAPER.filled());
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
fn values<B: DrawingBackend>(pen: &Pen<'_, B>, series: &[Series]) -> Result<(), ChartError> {
    pen.text(
        MARGIN,
        46,
        "dots: repetitions; dark: the middle half of them; line: the median",
        Style { size: 12, bold: false, colour: FAINT, at: HPos::Left },
    )?;
    let mut y = HEAD;
    for group in groups(series) {
        let first = group[0];
        let better = match first.better {
            Better::Higher => "more is better",
            Better::Lower => "less is better",
        };
        y += 10;
        pen.line((MARGIN, y), (WIDTH - MARGIN, y), LINE, 1)?;
        let heading = format!("{} ({}, {better})", first.title, first.unit);
        pen.text(MARGIN, y + ROW / 2, &heading, Style { size: 14, bold: true, colour: INK, at: HPos::Left })?;
        y += ROW;
        let most = group.iter().map(|s| s.summary.max).fold(f64::MIN_POSITIVE, f64::max);
        let x = |value: f64| LEFT + ((value / most).clamp(0.0, 1.0) * f64::from(RIGHT - LEFT)).round() as i32;
        for (i, one) in group.iter().enumerate() {
            let colour = WAYS[i % WAYS.len()];
            let middle = y + ROW / 2;
            let name = match &one.variant {
                Some(way) => format!("{way}, {}", one.place.words()),
                None => one.place.words(),
            };
            pen.text(
                LEFT - 10,
                middle,
                &name,
                Style { size: 13, bold: false, colour: INK, at: HPos::Right },
            )?;
            pen.bar((LEFT, middle - 7), (RIGHT, middle + 7), LINE, 0.35)?;
            let s = &one.summary;
            pen.bar((LEFT, middle - 7), (x(s.median), middle + 7), colour, 0.25)?;
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
            let told = format!("{} ± {:.1} %, {} ×", number(s.median), s.spread() * 100.0, s.n);
            pen.text(
                RIGHT + 14,
                middle,
                &told,
                Style { size: 13, bold: false, colour: INK, at: HPos::Left },
            )?;
            y += ROW;
        }
    }
    Ok(())
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
fn ratios<B: DrawingBackend>(pen: &Pen<'_, B>, comparison: &Comparison) -> Result<(), ChartError> {
    let subtitle = "ratio of the medians over all pairs, with its 99 % interval; to the right is better; full: a difference \
                    beyond the noise";
    pen.text(MARGIN, 46, subtitle, Style { size: 12, bold: false, colour: FAINT, at: HPos::Left })?;
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
        let half = f64::from(RIGHT - LEFT) / 2.0;
        f64::from(LEFT + RIGHT).mul_add(0.5, (gain / reach).clamp(-1.0, 1.0) * half).round() as i32
    };
    let top = HEAD + 10;
    let bottom = top + rows.len() as i32 * ROW;
    for (factor, label) in ticks(reach) {
        let at = x(factor.ln());
        let (colour, width) = if factor == 1.0 { (FAINT, 2) } else { (LINE, 1) };
        pen.line((at, top), (at, bottom), colour, width)?;
        pen.text(at, bottom + 14, &label, Style { size: 12, bold: false, colour: FAINT, at: HPos::Center })?;
    }
    pen.text(LEFT, bottom + 34, "← worse", Style { size: 12, bold: false, colour: ORANGE, at: HPos::Left })?;
    pen.text(RIGHT, bottom + 34, "better →", Style { size: 12, bold: false, colour: BLUE, at: HPos::Right })?;
    for (i, (c, gain, low, high)) in rows.iter().enumerate() {
        let middle = top + i as i32 * ROW + ROW / 2;
        let called = matches!(c.verdict, Verdict::Better | Verdict::Worse);
        let colour = match c.verdict {
            Verdict::Better => BLUE,
            Verdict::Worse => ORANGE,
            _ => FAINT,
        };
        pen.text(
            LEFT - 10,
            middle,
            &c.title,
            Style {
                size: if c.title.chars().count() > 42 { 11 } else { 13 },
                bold: false,
                colour: INK,
                at: HPos::Right,
            },
        )?;
        pen.line((x(*low), middle), (x(*high), middle), colour, 2)?;
        for end in [low, high] {
            pen.line((x(*end), middle - 4), (x(*end), middle + 4), colour, 2)?;
        }
        pen.dot(x(*gain), middle, 5, colour, called)?;
        let word = match c.verdict {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::NoDifference => "no difference",
            Verdict::TooFew => "too few",
        };
        let told = format!("{}, {word}", c.change().unwrap_or_default());
        pen.text(RIGHT + 14, middle, &told, Style { size: 13, bold: called, colour: INK, at: HPos::Left })?;
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
    fn a_name_from_elsewhere_cannot_break_out_of_the_picture() {
        let mut hostile = results("x", 1.0);
        hostile.name = "<script>alert(1)</script>".into();
        assert!(!of_results(&hostile)[0].svg().unwrap().contains("<script"));
    }
}
