// SPDX-License-Identifier: GPL-3.0-or-later
//! The published schemas are those of the types. `HOSTWRIGHT_WRITE_SCHEMAS=1 cargo test --test schemas`
//! writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail the test")]

use hostwright::detect::Facts;
use hostwright::engine::{Event, Plan, RunReport, RunSummary, UndoPreview};
use hostwright::flows::vmware::Choices;
use schemars::{Schema, schema_for};

fn published() -> Vec<(&'static str, Schema)> {
    vec![
        ("facts", schema_for!(Facts)),
        ("choices-vmware", schema_for!(Choices)),
        ("choices-wayland", schema_for!(hostwright::flows::wayland::Choices)),
        ("choices-tuning", schema_for!(hostwright::flows::tuning::Choices)),
        ("choices-vgpu", schema_for!(hostwright::flows::vgpu::Choices)),
        ("choices-lab-write", schema_for!(hostwright::flows::lab::write::Choices)),
        ("profile", schema_for!(hostwright::flows::profile::Profile)),
        ("applied", schema_for!(hostwright::flows::profile::Applied)),
        ("tunables", schema_for!(Vec<hostwright::flows::tuning::Evaluated>)),
        ("plan", schema_for!(Plan)),
        ("event", schema_for!(Event)),
        ("run", schema_for!(RunSummary)),
        ("report", schema_for!(RunReport)),
        ("undo-preview", schema_for!(UndoPreview)),
        ("guest-report", schema_for!(hostwright::guest::Report)),
        ("bench", schema_for!(hostwright::flows::bench::Results)),
        ("bench-comparison", schema_for!(hostwright::flows::bench::Comparison)),
    ]
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/schemas");
    for (name, schema) in published() {
        let path = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("HOSTWRIGHT_WRITE_SCHEMAS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(there, text, "{} is not what the type says; write it anew", path.display());
    }
}
