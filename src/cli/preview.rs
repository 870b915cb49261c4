// SPDX-License-Identifier: GPL-3.0-or-later
//! A plan, and the undo of a run, as a person reads them before saying yes. Pure: data → text.

use super::look::{Look, Mark, count, pad, width};
use crate::engine::plan::{Note, Plan, Warning};
use crate::engine::steps::Mode;
use crate::engine::{FileChange, Reversal, StepPreview, UndoPreview};
use crate::flows::vmware::FLOW;
use crate::flows::vmware::choices::{Choices, SourceChoice};
use crate::tell::{applies_to, grouped, permission, shorter, told_and_diff};

/// A difference longer than this is shown with `--diff` only.
const SHORT_DIFF: usize = 30;

/// The whole preview of a plan.
pub(crate) fn plan(look: Look, plan: &Plan, steps: &[StepPreview], diff: bool) -> String {
    let mut out = head(look, plan);
    if plan.is_empty() {
        out.push_str(&look.item(0, Mark::Good, "Nothing to do: everything is as it should be."));
        out.push_str(&warnings(look, &plan.warnings));
        return out;
    }
    out.push_str(&format!("\n{}\n", look.bold("What is done")));
    let number = steps.len().to_string().len();
    for (i, step) in steps.iter().enumerate() {
        out.push_str(&self::step(look, &format!("{:>number$}. ", i + 1), step, diff));
    }
    out.push_str(&notes(look, &plan.notes, diff));
    out.push_str(&permissions(look, plan));
    out.push_str(&warnings(look, &plan.warnings));
    out.push_str(&afterwards(look, plan, steps));
    out
}

fn head(look: Look, plan: &Plan) -> String {
    let what = match plan.flow.as_str() {
        "vmware" => "VMware's kernel modules",
        "wayland" => "VMware's launchers",
        "lab-write" => "An image onto a medium",
        "tuning" => "Tuning for virtual machines",
        other => other,
    };
    let mut out = format!("{}\n", look.bold(what));
    let mut rows: Vec<(String, String)> = plan.details.clone().into_iter().collect();
    rows.extend(chosen(plan));
    let digest = plan.digest();
    rows.push(("plan".into(), digest.get(..12).unwrap_or(&digest).to_owned()));
    let column = rows.iter().map(|(k, _)| width(k)).max().unwrap_or(0) + 2;
    for (key, value) in rows {
        let first = format!("  {}", look.dim(&pad(&key, column)));
        out.push_str(&look.wrap(&value, &first, &" ".repeat(column + 2)));
    }
    out
}

/// The choices that say what the modules are made from.
fn chosen(plan: &Plan) -> Vec<(String, String)> {
    if plan.flow != FLOW {
        return Vec::new();
    }
    let Ok(choices) = Choices::from_json(&plan.choices) else { return Vec::new() };
    let sources = match &choices.source {
        SourceChoice::Installed => "those of the installed product".to_owned(),
        SourceChoice::Sealed { sha256, name } => {
            format!("{name} (SHA-256 {}…)", sha256.get(..12).unwrap_or(sha256))
        }
    };
    let mode = match choices.mode {
        Mode::Vanilla => "vanilla, with the kernel's own flags",
        Mode::Optimized => "optimized for this processor",
    };
    vec![("sources".to_owned(), sources), ("mode".to_owned(), mode.to_owned())]
}

fn step(look: Look, number: &str, step: &StepPreview, diff: bool) -> String {
    let indent = 2 + width(number);
    let hang = " ".repeat(indent);
    let mut out = look.wrap(&step.title, &format!("  {number}"), &hang);
    for command in &step.commands {
        out.push_str(&look.dim_lines(&super::look::command(look, indent, command)));
    }
    for file in &step.files {
        out.push_str(&file_change(look, indent, file, &step.title, diff));
    }
    match &step.reversal {
        Reversal::Full => {}
        Reversal::Partial { what } => {
            out.push_str(&look.item(indent, Mark::Warning, &format!("Undo does not bring back: {what}")));
        }
        Reversal::None { why } => {
            out.push_str(&look.item(indent, Mark::Warning, &format!("Cannot be undone: {why}")));
        }
    }
    out
}

fn file_change(look: Look, indent: usize, file: &FileChange, step: &str, diff: bool) -> String {
    // A step that is about one file has named it.
    let named = if step.contains(&file.path) { String::new() } else { format!("{}: ", file.path) };
    let hang = " ".repeat(indent);
    let lines = file.diff.lines().count();
    if lines <= 1 {
        let what = file.diff.trim();
        let text = if what.is_empty() { file.path.clone() } else { format!("{named}{what}") };
        return look.wrap(&text, &hang, &format!("{hang}  "));
    }
    let (said, body) = told_and_diff(&file.diff);
    let what = if said.is_empty() { "changes".to_owned() } else { said };
    if body.len() > SHORT_DIFF && !diff {
        let text = format!("{}: {what}, {} lines of differences; --diff shows them", file.path, body.len());
        return look.wrap(&text, &hang, &format!("{hang}  "));
    }
    let title = look.wrap(&format!("{named}{what}"), &hang, &format!("{hang}  "));
    format!("{title}{}", look.diff(indent + 2, &body.join("\n")))
}

fn notes(look: Look, notes: &[Note], diff: bool) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let kernel = |n: &Note| n.topic.split_once(", ").map(|(_, k)| k.to_owned());
    let single = notes.windows(2).all(|pair| kernel(&pair[0]) == kernel(&pair[1]));
    let mut out = format!("\n{}\n", look.bold("Why, and what is adapted"));
    for (topic, of, text, notes) in grouped(notes) {
        let of = applies_to(&of, single);
        let of = if of.is_empty() { of } else { format!(" ({of})") };
        out.push_str(&look.wrap(&format!("{topic}{of}"), "  ", "    "));
        out.push_str(&look.wrap(text, "    ", "    "));
        for text in notes.iter().filter_map(|n| n.diff.as_ref()).filter(|_| diff) {
            out.push_str(&look.diff(4, text));
        }
    }
    let hidden = notes.iter().filter(|n| n.diff.is_some()).count();
    if hidden > 0 && !diff {
        let text =
            format!("{} of the source texts; --diff shows them", count(hidden, "difference", "differences"));
        out.push_str(&look.dim_lines(&look.wrap(&text, "  ", "  ")));
    }
    out
}

fn permissions(look: Look, plan: &Plan) -> String {
    if plan.permissions.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{}\n", look.bold("Permission asked for"));
    for p in &plan.permissions {
        let id = format!("({})", p.action_id());
        let text = permission(*p);
        if width(text) + width(&id) + 3 <= look.columns() {
            out.push_str(&format!("  {text} {}\n", look.dim(&id)));
        } else {
            out.push_str(&format!("  {text}\n    {}\n", look.dim(&id)));
        }
    }
    out
}

fn warnings(look: Look, warnings: &[Warning]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{}\n", look.bold("Know before you say yes"));
    for warning in warnings {
        out.push_str(&look.item(2, Mark::Warning, &warning.message));
        if let Some(remedy) = &warning.remedy {
            out.push_str(&look.remedy(4, remedy));
        }
    }
    out
}

fn afterwards(look: Look, plan: &Plan, steps: &[StepPreview]) -> String {
    let mut out = format!("\n{}\n", look.bold("Afterwards"));
    let (mark, reboot) = if plan.needs_reboot {
        (Mark::Warning, "A reboot is needed for it to take effect.")
    } else {
        (Mark::Neutral, "No reboot is needed.")
    };
    out.push_str(&look.item(2, mark, reboot));
    let stays = steps.iter().filter(|s| s.reversal != Reversal::Full).count();
    let (mark, undo) = match stays {
        0 => (Mark::Neutral, "All of it can be taken back, byte for byte.".to_owned()),
        n => (
            Mark::Warning,
            format!("{} cannot be taken back in full, as marked above.", count(n, "step", "steps")),
        ),
    };
    out.push_str(&look.item(2, mark, &undo));
    out
}

/// What the undo of a run would do.
pub(crate) fn undo(look: Look, preview: &UndoPreview) -> String {
    let mut out = format!("{}\n", look.bold(&format!("Take back run {}: {}", preview.run, preview.title)));
    let number = preview.steps.len().to_string().len();
    for (i, step) in preview.steps.iter().enumerate() {
        let number = format!("{:>number$}. ", i + 1);
        let indent = 2 + width(&number);
        let hang = " ".repeat(indent);
        out.push_str(&look.wrap(&step.title, &format!("  {number}"), &hang));
        for line in &shorter(&step.restores) {
            out.push_str(&look.dim_lines(&look.wrap(line, &hang, &format!("{hang}  "))));
        }
        match &step.reversal {
            Reversal::Full => {}
            Reversal::Partial { what } => {
                out.push_str(&look.item(indent, Mark::Warning, &format!("Does not come back: {what}")));
            }
            Reversal::None { why } => {
                out.push_str(&look.item(indent, Mark::Warning, &format!("Cannot be undone: {why}")));
            }
        }
        for drift in &step.drift {
            out.push_str(&look.item(indent, Mark::Bad, &drift.to_string()));
        }
    }
    if preview.steps.is_empty() && preview.refused.is_none() {
        out.push_str(&look.item(2, Mark::Neutral, "Nothing of it is left to take back."));
    }
    if let Some(why) = &preview.refused {
        out.push_str(&look.item(2, Mark::Bad, why));
    } else if !preview.is_clean() {
        out.push_str(&look.item(
            2,
            Mark::Warning,
            "Undo would stop at what changed since, and leave that alone.",
        ));
    }
    out
}

#[cfg(test)]
#[path = "preview_tests.rs"]
mod tests;
