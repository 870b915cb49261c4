// SPDX-License-Identifier: GPL-3.0-or-later
//! Results for other programs (CSV) and as a page that holds all of itself (HTML): no script, nothing from elsewhere.

use super::chart::{self, Chart, ChartError, number, verdict_words};
use super::compare::{Comparison, METHOD, ways};
use super::document::Results;
use std::fmt::Write;

/// All values, one a line: metric, variant, place, round, value, unit.
pub fn csv(results: &Results) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record(["metric", "variant", "place", "round", "value", "unit"]);
    for series in &results.series {
        for (round, value) in series.values.iter().enumerate() {
            let _ = writer.write_record([
                series.metric.as_str(),
                series.variant.as_deref().unwrap_or(""),
                &series.place.words(),
                &(round + 1).to_string(),
                &value.to_string(),
                &series.unit,
            ]);
        }
    }
    writer.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A comparison, one figure a line.
pub fn csv_of(comparison: &Comparison) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let _ = writer.write_record([
        "metric",
        "title",
        "unit",
        "before",
        "after",
        "ratio",
        "ratio_low",
        "ratio_high",
        "p",
        "verdict",
    ]);
    for c in &comparison.compared {
        let of = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
        let _ = writer.write_record([
            c.metric.clone(),
            c.title.clone(),
            c.unit.clone(),
            c.before.median.to_string(),
            c.after.median.to_string(),
            of(c.ratio.map(|r| r.estimate)),
            of(c.ratio.map(|r| r.low)),
            of(c.ratio.map(|r| r.high)),
            c.p.to_string(),
            serde_json::to_value(c.verdict)
                .ok()
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap_or_default(),
        ]);
    }
    writer.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#241f31;--faint:#5e5c64;--line:#deddda;--paper:#fafafa;--card:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#f6f5f4;--faint:#b5b4b9;--line:#4a484f;--paper:#242424;--card:#303030}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.8rem;margin:0}h2{font-size:1.25rem;margin:2.5rem 0 .5rem}\
p{margin:.5rem 0}.faint{color:var(--faint)}\
table{border-collapse:collapse;width:100%;background:var(--card);border-radius:8px}\
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
figure{margin:1rem 0;overflow-x:auto;background:#fff;border-radius:8px}svg{display:block;max-width:100%;height:auto}\
.wide{overflow-x:auto}.better{color:#1a5fb4;font-weight:600}.worse{color:#c64600;font-weight:600}\
@media(prefers-color-scheme:dark){.better{color:#99c1f1}.worse{color:#ffa348}}\
.note{border-left:4px solid #e5a50a;padding:.2rem .8rem;background:var(--card)}";

/// Text as it stands in HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

struct Page(String);

impl Page {
    fn new(title: &str, subtitle: &str) -> Self {
        Self(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
             <p class=\"faint\">{subtitle}</p>\n",
            title = escape(title),
            subtitle = escape(subtitle),
        ))
    }

    fn heading(&mut self, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "<h2>{}</h2>", escape(text));
    }

    fn note(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p class=\"note\">{}</p>", escape(text));
    }

    fn chart(&mut self, chart: &Chart) -> Result<(), ChartError> {
        let label = escape(&chart.words());
        let svg = chart.svg()?.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1);
        let _ = writeln!(self.0, "<figure>{svg}</figure>");
        Ok(())
    }

    fn conditions(&mut self, columns: &[(&str, Vec<(&'static str, String)>)]) {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in columns.iter().flat_map(|(_, rows)| rows) {
            if !names.contains(name) {
                names.push(name);
            }
        }
        self.0.push_str("<div class=\"wide\"><table>\n<tr><th></th>");
        for (title, _) in columns {
            let _ = write!(self.0, "<th>{}</th>", escape(title));
        }
        self.0.push_str("</tr>\n");
        for name in names {
            let _ = write!(self.0, "<tr><th>{}</th>", escape(name));
            for (_, rows) in columns {
                let text = rows.iter().find(|(n, _)| *n == name).map_or("not known", |(_, t)| t.as_str());
                let _ = write!(self.0, "<td>{}</td>", escape(text));
            }
            self.0.push_str("</tr>\n");
        }
        self.0.push_str("</table></div>\n");
    }

    fn comparison(&mut self, comparison: &Comparison) {
        let _ = writeln!(
            self.0,
            "<div class=\"wide\"><table>\n<tr><th>What</th><th class=\"n\">{}</th><th class=\"n\">{}</th>\
             <th class=\"n\">Change</th><th class=\"n\">p</th><th>Verdict</th></tr>",
            escape(&comparison.before),
            escape(&comparison.after)
        );
        for c in &comparison.compared {
            let class = match c.verdict {
                super::Verdict::Better => "better",
                super::Verdict::Worse => "worse",
                _ => "faint",
            };
            let _ = writeln!(
                self.0,
                "<tr><td>{}</td><td class=\"n\">{} {unit}</td><td class=\"n\">{} {unit}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{:.3}</td><td class=\"{class}\">{}</td></tr>",
                escape(&c.title),
                number(c.before.median),
                number(c.after.median),
                c.change().unwrap_or_default(),
                c.p,
                verdict_words(c.verdict),
                unit = escape(&c.unit),
            );
        }
        self.0.push_str("</table></div>\n");
        let _ = writeln!(self.0, "<p class=\"faint\">{}</p>", escape(&comparison.method));
    }

    fn end(mut self) -> String {
        let _ = writeln!(
            self.0,
            "<p class=\"faint\">Made by Hostwright {}. Figures hold for this machine and these conditions.</p>\n</body>\n</html>",
            env!("CARGO_PKG_VERSION")
        );
        self.0
    }
}

fn when(results: &Results) -> String {
    let began = results.began.to_zoned(jiff::tz::TimeZone::system());
    format!("{}, {} rounds, {:.0} s", began.strftime("%Y-%m-%d %H:%M %Z"), results.rounds, results.took)
}

/// A page of results.
///
/// # Errors
/// When a chart cannot be drawn.
pub fn html(results: &Results) -> Result<String, ChartError> {
    let mut page = Page::new(&results.name, &when(results));
    if results.debug_build {
        page.note("Measured by a build for development: slower than what is installed, and comparable only with the same.");
    }
    if let Some(load) = results.before.busy() {
        page.note(&format!(
            "The machine was busy with something else at the beginning (load {load:.1}): spreads are wide."
        ));
    }
    for chart in chart::of_results(results) {
        page.heading(chart.title().split_once(": ").map_or(chart.title(), |(_, t)| t));
        page.chart(&chart)?;
    }
    for comparison in ways(results) {
        page.heading(&format!("{} and {}", capital(&comparison.before), comparison.after));
        if let Some(chart) = chart::of_comparison(&comparison) {
            page.chart(&chart)?;
        }
        page.comparison(&comparison);
    }
    if !results.left_out.is_empty() {
        page.heading("Not measured");
        for left in &results.left_out {
            page.note(&format!("{}: {}", left.what, left.why));
        }
    }
    page.heading("The machine");
    page.conditions(&[("Before", results.before.rows()), ("Afterwards", results.after.rows())]);
    Ok(page.end())
}

/// A page of a comparison.
///
/// # Errors
/// When a chart cannot be drawn.
pub fn html_of(before: &Results, after: &Results, comparison: &Comparison) -> Result<String, ChartError> {
    let title = format!("{} and {}", before.name, after.name);
    let mut page = Page::new(&title, &format!("{}; {}", when(before), when(after)));
    for caution in &comparison.cautions {
        page.note(&format!("Hard to compare: {caution}."));
    }
    if let Some(chart) = chart::of_comparison(comparison) {
        page.heading("What changed");
        page.chart(&chart)?;
    }
    page.comparison(comparison);
    if !comparison.only_in_one.is_empty() {
        page.note(&format!("Only in one of them: {}.", comparison.only_in_one.join("; ")));
    }
    for results in [before, after] {
        page.heading(&format!("All figures of {}", results.name));
        for chart in chart::of_results(results) {
            page.chart(&chart)?;
        }
    }
    page.heading("The machine");
    page.conditions(&[(&before.name, before.before.rows()), (&after.name, after.before.rows())]);
    Ok(page.end())
}

/// How a comparison is made, for people.
pub fn method() -> &'static str {
    METHOD
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().collect::<String>() + chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::compare::{compare, tests::results};
    use super::super::document::LeftOut;
    use super::*;

    #[test]
    fn every_value_is_in_the_csv_once() {
        let text = csv(&results("x", 1.0));
        assert_eq!(text.lines().count(), 1 + 4 * 7);
        assert!(
            text.starts_with(
                "metric,variant,place,round,value,unit\nmodules.build,vanilla,guest (tcg),1,3,s\n"
            ),
            "{text}"
        );
        let compared = csv_of(&compare(&results("a", 1.0), &results("b", 1.2)));
        assert!(compared.contains(",worse\n"), "{compared}");
    }

    #[test]
    fn a_page_holds_all_of_itself_and_nothing_from_elsewhere() {
        let mut one = results("<b>one</b>", 1.0);
        one.left_out.push(LeftOut { what: "Disk".into(), why: "fio & co. <missing>".into() });
        let page = html(&one).unwrap();
        for outside in ["<script", "src=", "href=", "@import", "url(", "<b>one"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(
            page.contains("fio &amp; co. &lt;missing&gt;") && page.contains("<svg role=\"img\" aria-label=")
        );
        assert!(page.contains("Small pages and huge pages"));
        let both = html_of(&one, &results("two", 1.3), &compare(&one, &results("two", 1.3))).unwrap();
        assert!(both.contains("class=\"worse\"") && both.contains("All figures of two"));
    }
}
