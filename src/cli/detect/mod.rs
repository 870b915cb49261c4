// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright detect`: what is there on this machine.

use super::errors::{Exit, Problem};
use super::look::{Look, pad, width};
use super::session::Session;
use crate::detect::{Facts, Topic};
pub(crate) use crate::tell::Row;
use crate::tell::{SECTIONS, findings};
use clap::Args;
use serde_json::{Map, Value};

/// Look at this machine and say what is there
///
/// Nothing is changed and no privilege is needed. What could not be looked at is marked `?` with the reason; that is
/// not the same as looking and finding it missing.
#[derive(Debug, Args)]
pub(crate) struct Detect {
    /// Only these topics
    ///
    /// The topics: os, running_kernel, kernels, toolchain, vmware, processes, loaded_modules, kvm, secure_boot, signing,
    /// initramfs, bootloader, sessions, cpu, memory, storage, gpus, iommu, score.
    #[arg(long, value_name = "TOPIC,…", value_parser = topic, value_delimiter = ',')]
    only: Vec<Topic>,
}

/// A topic by its name in the JSON document.
fn topic(name: &str) -> Result<Topic, String> {
    name.parse().map_err(|e: crate::detect::UnknownTopic| e.to_string())
}

/// Runs `detect`.
pub(crate) fn run(session: &mut Session, args: &Detect) -> Result<Exit, Problem> {
    let only = (!args.only.is_empty()).then_some(args.only.as_slice());
    let facts = session.facts(only)?;
    if session.json() {
        let document = document(&facts, &args.only)?;
        session.screen.document(&document)?;
    } else {
        let text = render(session.look(), &facts, &args.only);
        session.screen.print(&text);
    }
    Ok(Exit::Done)
}

/// The facts as JSON; with `only` just those fields, and the version of the document.
fn document(facts: &Facts, only: &[Topic]) -> Result<Value, Problem> {
    let all = serde_json::to_value(facts).map_err(|e| Problem::internal("write the facts", &e))?;
    let Value::Object(all) = all else { return Ok(all) };
    if only.is_empty() {
        return Ok(Value::Object(all));
    }
    let kept: Map<String, Value> =
        all.into_iter().filter(|(k, _)| k == "schema" || only.iter().any(|t| t.name() == k)).collect();
    Ok(Value::Object(kept))
}

/// The facts as people read them.
pub(crate) fn render(look: Look, facts: &Facts, only: &[Topic]) -> String {
    let mut sections: Vec<(&str, Vec<Row>)> = Vec::new();
    for (title, topics) in SECTIONS {
        let wanted = topics.iter().filter(|t| only.is_empty() || only.contains(t));
        let rows: Vec<Row> = wanted.flat_map(|t| findings(facts, *t)).collect();
        if !rows.is_empty() {
            sections.push((title, rows));
        }
    }
    render_rows(look, &sections)
}

/// Sections of lines with their marks, labels in one column.
pub(crate) fn render_rows(look: Look, sections: &[(&str, Vec<Row>)]) -> String {
    let column = sections.iter().flat_map(|(_, rows)| rows).map(|r| width(&r.label)).max().unwrap_or(0);
    // A label may be long (a kernel's release); the texts still want most of the line.
    let column = column.min(look.columns() / 3) + 2;
    let mut out = String::new();
    for (i, (title, rows)) in sections.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if !title.is_empty() {
            out.push_str(&format!("{}\n", look.bold(title)));
        }
        let mut last = "";
        for row in rows {
            // A label that the line above has already is not said again.
            let label = if row.label == last { "" } else { row.label.as_str() };
            out.push_str(&line(look, row, label, column));
            if !row.label.is_empty() {
                last = &row.label;
            }
        }
    }
    out
}

fn line(look: Look, row: &Row, label: &str, column: usize) -> String {
    let hang = " ".repeat(column + 4);
    let first = format!("  {} {}", look.mark(row.mark), pad(label, column));
    let mut out = if width(label) + 2 > column && !row.text.is_empty() {
        // The label takes its own line.
        format!("{}\n{}", first.trim_end(), look.wrap(&row.text, &hang, &hang))
    } else {
        look.wrap(&row.text, &first, &hang)
    };
    if let Some(remedy) = &row.remedy {
        out.push_str(&look.remedy(column + 4, remedy));
    }
    out
}

#[cfg(test)]
mod tests;
