// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright bench show`, `compare` and `list`.

use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{Look, Mark, table};
use crate::cli::session::Session;
use crate::flows::bench::chart::{self, Chart, number, verdict_words};
use crate::flows::bench::{Comparison, Results, Verdict, Workload, report, store};
use crate::measure::{self, folder, read, write};
use clap::Args;
use std::path::PathBuf;

/// What is written beside what is shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Export")]
struct Export {
    /// Write a page that holds all of itself, with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the figures as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write each chart as SVG into this folder
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Write each chart as PNG into this folder
    #[arg(long, value_name = "DIR")]
    png: Option<PathBuf>,
}

/// Show results
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Their name, or the path of a file; without: the latest
    #[arg(value_name = "RESULTS")]
    results: Option<String>,
    #[command(flatten)]
    export: Export,
}

/// Compare results from before a change with those after it
///
/// A difference is called one only beyond the noise: the two-sided Mann-Whitney U test must give p ≤ 0.01, and the ratio
/// must be 1 % away from 1 or more; each side needs 5 repetitions. Differences of the machine's conditions (kernel,
/// governor, temperature, load) are said.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Results from before: a name, or the path of a file
    before: String,
    /// Results from after
    after: String,
    #[command(flatten)]
    export: Export,
}

/// Runs `bench show`.
pub(super) fn show(session: &mut Session, args: &Show) -> Result<Exit, Problem> {
    let wanted = match &args.results {
        Some(name) => name.clone(),
        None => store::names(&folder()?)?.into_iter().next().ok_or_else(|| {
            Problem::usage("Nothing was measured yet.").remedy("Measure: hostwright bench run")
        })?,
    };
    let results = read(&wanted)?;
    let export = &args.export;
    if let Some(file) = &export.html {
        write(file, measure::html(&results)?.as_bytes())?;
    }
    if let Some(file) = &export.csv {
        write(file, report::csv(&results).as_bytes())?;
    }
    let mut charts = chart::of_results(&results);
    charts.extend(crate::flows::bench::compare::ways(&results).iter().filter_map(chart::of_comparison));
    pictures(export, &charts)?;
    if session.json() {
        session.screen.document(&results)?;
    } else {
        let text = table_of(session.look(), &results);
        session.screen.print(&text);
    }
    Ok(Exit::Done)
}

/// Runs `bench compare`.
pub(super) fn compare(session: &mut Session, args: &Compare) -> Result<Exit, Problem> {
    let pair = measure::pair(&args.before, &args.after)?;
    let compared = &pair.compared;
    let export = &args.export;
    if let Some(file) = &export.html {
        write(file, pair.html()?.as_bytes())?;
    }
    if let Some(file) = &export.csv {
        write(file, report::csv_of(compared).as_bytes())?;
    }
    let charts: Vec<Chart> = chart::of_comparison(compared).into_iter().collect();
    pictures(export, &charts)?;
    if session.json() {
        session.screen.document(compared)?;
    } else {
        let text = compared_text(session.look(), compared);
        session.screen.print(&text);
    }
    Ok(Exit::Done)
}

/// Runs `bench list`.
pub(super) fn list(session: &mut Session) -> Result<Exit, Problem> {
    let folder = folder()?;
    let names = store::names(&folder)?;
    if session.json() {
        let workloads: Vec<_> = Workload::ALL
            .iter()
            .map(|w| serde_json::json!({ "name": w.id(), "title": w.title(), "what": w.what() }))
            .collect();
        session.screen.document(&serde_json::json!({ "workloads": workloads, "results": names }))?;
        return Ok(Exit::Done);
    }
    let look = session.look();
    let mut text = format!("{}\n", look.bold("What can be measured"));
    for workload in Workload::ALL {
        text.push_str(&look.wrap(workload.what(), &format!("  {:<10} ", workload.id()), &" ".repeat(13)));
    }
    text.push_str(&format!("\n{}\n", look.bold("Results")));
    if names.is_empty() {
        text.push_str("  none yet: hostwright bench run\n");
    }
    for name in &names {
        let line = match store::read(&folder, name) {
            Ok(r) => format!(
                "{} figures, {} rounds, kernel {}",
                r.series.len(),
                r.rounds,
                r.before.kernel.as_deref().unwrap_or("not known")
            ),
            Err(e) => e.to_string(),
        };
        text.push_str(&look.wrap(&line, &format!("  {name}  "), "    "));
    }
    session.screen.print(&text);
    Ok(Exit::Done)
}

fn pictures(export: &Export, charts: &[Chart]) -> Result<(), Problem> {
    for (dir, ending) in [(&export.svg, "svg"), (&export.png, "png")] {
        let Some(dir) = dir else { continue };
        std::fs::create_dir_all(dir).map_err(|e| Problem::file("make", dir, &e))?;
        for chart in charts {
            let bytes = match ending {
                "svg" => chart.svg().map(String::into_bytes),
                _ => chart.png(),
            };
            write(&dir.join(file_name(chart.title(), ending)), &bytes?)?;
        }
    }
    Ok(())
}

/// A title as the name of a file.
fn file_name(title: &str, ending: &str) -> PathBuf {
    let mut name = String::new();
    for c in title.to_lowercase().chars() {
        match c {
            c if c.is_ascii_alphanumeric() || c == '.' => name.push(c),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name: String = name.trim_matches(['-', '.']).chars().take(100).collect();
    PathBuf::from(format!("{}.{ending}", if name.is_empty() { "chart" } else { &name }))
}

/// Results as a table.
pub(super) fn table_of(look: Look, results: &Results) -> String {
    let mut out = String::new();
    for workload in Workload::ALL {
        let rows: Vec<Vec<String>> = results
            .of(workload)
            .map(|s| {
                let unit = s.unit.clone();
                vec![
                    s.name(),
                    format!("{} {unit}", number(s.summary.median)),
                    format!("± {:.1} %", s.summary.spread() * 100.0),
                    format!("{} to {}", number(s.summary.min), number(s.summary.max)),
                ]
            })
            .collect();
        if !rows.is_empty() {
            out.push_str(&format!("{}\n", look.bold(workload.title())));
            out.push_str(&table(look, 2, &["What", "Median", "Spread", "From, to"], &rows));
            out.push('\n');
        }
    }
    for ways in crate::flows::bench::compare::ways(results) {
        out.push_str(&compared_text(look, &ways));
        out.push('\n');
    }
    for left in &results.left_out {
        out.push_str(&look.item(0, Mark::Unknown, &format!("{}: not measured: {}", left.what, left.why)));
    }
    if results.debug_build {
        out.push_str(&look.item(
            0,
            Mark::Warning,
            "Measured by a build for development: comparable only with the same.",
        ));
    }
    if let Some(load) = results.before.busy() {
        let text = format!("The machine was busy with something else (load {load:.1}).");
        out.push_str(&look.item(0, Mark::Warning, &text));
    }
    out
}

fn compared_text(look: Look, compared: &Comparison) -> String {
    let mut out = format!("{}\n", look.bold(&format!("{} → {}", compared.before, compared.after)));
    for caution in &compared.cautions {
        out.push_str(&look.item(2, Mark::Warning, &format!("hard to compare: {caution}")));
    }
    let rows: Vec<Vec<String>> = compared
        .compared
        .iter()
        .map(|c| {
            let words = verdict_words(c.verdict);
            let words = match c.verdict {
                Verdict::Better => look.green(words),
                Verdict::Worse => look.red(words),
                _ => words.to_owned(),
            };
            vec![
                c.title.clone(),
                format!("{} → {} {}", number(c.before.median), number(c.after.median), c.unit),
                c.change().unwrap_or_default(),
                format!("{:.3}", c.p),
                words,
            ]
        })
        .collect();
    out.push_str(&table(look, 2, &["What", "Medians", "Change", "p", "Verdict"], &rows));
    for only in &compared.only_in_one {
        out.push_str(&look.item(2, Mark::Neutral, &format!("only in one: {only}")));
    }
    out.push_str(&look.dim_lines(&look.wrap(&compared.method, "  ", "  ")));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_becomes_the_name_of_a_file_and_leads_nowhere_else() {
        for (title, name) in [
            ("before: Memory", "before-memory.svg"),
            ("../../etc/passwd", "etc-passwd.svg"),
            ("2026-11-27: VMware's modules", "2026-11-27-vmware-s-modules.svg"),
            ("…", "chart.svg"),
        ] {
            assert_eq!(file_name(title, "svg"), PathBuf::from(name));
        }
    }
}
