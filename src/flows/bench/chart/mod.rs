// SPDX-License-Identifier: GPL-3.0-or-later
//! Charts of results and of comparisons, as SVG and as PNG. Every repetition is drawn, so that a spread is seen and not
//! only told; a comparison shows ratios with their intervals. Colours are told apart by who sees no red or green, and
//! nothing is said by colour alone.

mod pen;

use super::compare::{Compared, Comparison, Verdict};
use super::document::{Results, Series};
use super::metrics::{Better, Workload};
use pen::{DARK, LIGHT, Letters, Pen, fonts, wrapped};
use plotters::prelude::{BitMapBackend, DrawingBackend, IntoDrawingArea, SVGBackend};
use plotters::style::text_anchor::HPos;

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
mod tests;
