// SPDX-License-Identifier: GPL-3.0-or-later
//! Results, and two of them side by side, as groups of rows with their charts.

use crate::flows::bench::chart::{self, number};
use crate::flows::bench::metrics::METRICS;
use crate::flows::bench::{Comparison, Results, Verdict, Workload, compare};
use crate::tell::{Mark, Row};
use crate::ui::i18n::{gettext, gettext_f, told};
use crate::ui::widgets::{ChartView, finding, mark_icon, text_row};
use adw::prelude::*;

/// The groups of results: each workload with its figures and its chart, ways that were measured by turns side by side,
/// what was not measured, and the machine.
pub(super) fn of_results(results: &Results) -> Vec<adw::PreferencesGroup> {
    let mut groups = Vec::new();
    groups.extend(cautions(results));
    let mut charts = chart::of_results(results).into_iter();
    for workload in Workload::ALL {
        let figures = adw::PreferencesGroup::new();
        let mut any = false;
        for series in results.of(workload) {
            any = true;
            let s = &series.summary;
            // Translators: a figure: the median of all repetitions, their spread, the smallest and the largest.
            let line = gettext_f(
                "{median} {unit} \u{b1} {spread} %, from {least} to {most}",
                &[
                    ("median", number(s.median).as_str()),
                    ("unit", &series.unit),
                    ("spread", &format!("{:.1}", s.spread() * 100.0)),
                    ("least", &number(s.min)),
                    ("most", &number(s.max)),
                ],
            );
            figures.add(&text_row(&named(&series.metric, &series.name()), &line));
        }
        if any {
            groups.extend(charts.next().map(|chart| picture(&told(workload.title()), chart)));
            groups.push(figures);
        }
    }
    for ways in compare::ways(results) {
        groups.extend(of_comparison(&ways));
    }
    if !results.left_out.is_empty() {
        let group = group(&gettext("Not measured"));
        for left in &results.left_out {
            group.add(&finding(&Row::new(Mark::Unknown, &left.what, left.why.clone())));
        }
        groups.push(group);
    }
    groups.push(machine(results));
    groups
}

/// The groups of a comparison: what makes it hard, every figure with its verdict, the chart, and how it was decided.
pub(super) fn of_comparison(comparison: &Comparison) -> Vec<adw::PreferencesGroup> {
    let values = [("before", comparison.before.as_str()), ("after", comparison.after.as_str())];
    let title = gettext_f("{before} \u{2192} {after}", &values);
    let mut groups = Vec::new();
    let cautions = adw::PreferencesGroup::new();
    for caution in &comparison.cautions {
        let text = gettext_f("Hard to compare: {why}", &[("why", &told(caution))]);
        cautions.add(&finding(&Row::new(Mark::Warning, &text, String::new())));
    }
    if !comparison.cautions.is_empty() {
        groups.push(cautions);
    }
    groups.extend(chart::of_comparison(comparison).map(|chart| picture(&title, chart)));
    let group = adw::PreferencesGroup::new();
    for c in &comparison.compared {
        let (mark, words) = match c.verdict {
            Verdict::Better => (Mark::Good, gettext("better")),
            Verdict::Worse => (Mark::Bad, gettext("worse")),
            Verdict::NoDifference => (Mark::Neutral, gettext("no difference beyond the noise")),
            Verdict::TooFew => (Mark::Unknown, gettext("too few repetitions")),
        };
        let medians = format!("{} \u{2192} {} {}", number(c.before.median), number(c.after.median), c.unit);
        let parts = [Some(medians), c.change(), Some(words), Some(format!("p = {:.3}", c.p))];
        let line: Vec<String> = parts.into_iter().flatten().collect();
        let row = text_row(&named(&c.metric, &c.title), &line.join(" \u{b7} "));
        row.add_prefix(&mark_icon(mark));
        group.add(&row);
    }
    for only in &comparison.only_in_one {
        group.add(&text_row(&gettext_f("Only in one: {what}", &[("what", &told(only))]), ""));
    }
    groups.push(group);
    let method = adw::PreferencesGroup::new();
    method.set_description(Some(&told(&comparison.method)));
    groups.push(method);
    groups
}

/// The name of a figure in the person's language; ways and places stand behind its title.
fn named(metric: &str, name: &str) -> String {
    let title = METRICS.iter().find(|m| m.id == metric).map_or("", |m| m.title);
    match name.strip_prefix(title) {
        Some(rest) if !title.is_empty() => format!("{}{}", told(title), told(rest)),
        _ => told(name),
    }
}

fn group(title: &str) -> adw::PreferencesGroup {
    adw::PreferencesGroup::builder().title(gtk::glib::markup_escape_text(title)).build()
}

fn picture(title: &str, chart: chart::Chart) -> adw::PreferencesGroup {
    let group = group(title);
    let view = ChartView::new(chart.told(told));
    let card = adw::Bin::builder().child(&view).css_classes(["card", "chart-card"]).build();
    group.add(&card);
    group
}

/// What makes figures doubtful by themselves.
fn cautions(results: &Results) -> Option<adw::PreferencesGroup> {
    let mut texts = Vec::new();
    if results.debug_build {
        texts.push(gettext("Measured by a build for development: comparable only with the same."));
    }
    if let Some(load) = results.before.busy() {
        texts.push(gettext_f(
            "The machine was busy with something else (load {load}).",
            &[("load", &format!("{load:.1}"))],
        ));
    }
    if texts.is_empty() {
        return None;
    }
    let group = adw::PreferencesGroup::new();
    for text in texts {
        group.add(&finding(&Row::new(Mark::Warning, &text, String::new())));
    }
    Some(group)
}

fn machine(results: &Results) -> adw::PreferencesGroup {
    let group = group(&gettext("The machine"));
    for (what, text) in results.before.rows() {
        group.add(&text_row(&capital(&told(what)), &text));
    }
    group
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().collect::<String>() + chars.as_str())
}
