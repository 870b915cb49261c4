// SPDX-License-Identifier: GPL-3.0-or-later
//! What was measured: a document that is kept, compared and shown. Its schema is `data/schemas/bench.json`.

use super::metrics::{Better, METRICS, Metric, Workload};
use super::stats::{Summary, summary};
use crate::detect::conditions::Conditions;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the document.
pub const SCHEMA: u32 = 1;

/// Where a figure was taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Place {
    /// On the machine itself.
    Host,
    /// In a guest.
    Guest {
        /// What ran it ("tcg", "kvm"). Under emulation (tcg) only ratios within one accelerator mean something.
        accelerator: String,
    },
}

impl Place {
    /// In a word or two ("guest (tcg)").
    pub fn words(&self) -> String {
        match self {
            Self::Host => "host".to_owned(),
            Self::Guest { accelerator } => format!("guest ({accelerator})"),
        }
    }
}

/// The repetitions of one figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Its name ("memory.random").
    pub metric: String,
    /// What was run for it.
    pub workload: Workload,
    /// What it is, in a few words.
    pub title: String,
    /// Its unit.
    pub unit: String,
    /// In which direction it is better.
    pub better: Better,
    /// Which of several ways that were measured by turns ("huge pages"); none where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Where it was taken.
    pub place: Place,
    /// One value for each round, in order.
    pub values: Vec<f64>,
    /// What they show.
    pub summary: Summary,
}

impl Series {
    /// Whether this is the same figure in another document.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.metric == other.metric && self.variant == other.variant && self.place == other.place
    }

    /// Its name with variant and place ("Copying, huge pages"; the host is not said).
    pub fn name(&self) -> String {
        let variant = self.variant.as_ref().map(|v| format!(", {v}")).unwrap_or_default();
        let place = match &self.place {
            Place::Host => String::new(),
            place => format!(", {}", place.words()),
        };
        format!("{}{variant}{place}", self.title)
    }
}

/// What was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl LeftOut {
    pub(super) fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// All that one call measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Results {
    /// Version of this document: [`SCHEMA`].
    pub schema: u32,
    /// What it is called.
    pub name: String,
    /// The version of Hostwright that measured.
    pub hostwright: String,
    /// Whether that was a build for development: its figures are slower, and comparable only among themselves.
    pub debug_build: bool,
    /// When.
    #[schemars(with = "String")]
    pub began: Timestamp,
    /// For how long, in seconds.
    pub took: f64,
    /// How many rounds were wished.
    pub rounds: usize,
    /// How the machine was before.
    pub before: Conditions,
    /// How it was afterwards.
    pub after: Conditions,
    /// The figures.
    pub series: Vec<Series>,
    /// What was not measured, and why.
    pub left_out: Vec<LeftOut>,
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is none.
    #[error("it is no document of results: {0}")]
    NotOne(String),
    /// It is of a later version.
    #[error("it is of version {found}, and this Hostwright knows up to {SCHEMA}: use a newer one")]
    Newer {
        /// Its version.
        found: u32,
    },
}

impl Results {
    /// Reads a document; summaries are made anew of the values, so that none can say otherwise.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let not_one = |e: serde_json::Error| DocumentError::NotOne(e.to_string());
        let version: Version = serde_json::from_str(text).map_err(not_one)?;
        if version.schema > SCHEMA {
            return Err(DocumentError::Newer { found: version.schema });
        }
        let mut results: Self = serde_json::from_str(text).map_err(not_one)?;
        for series in &mut results.series {
            series.summary = summary(&series.values)
                .ok_or_else(|| DocumentError::NotOne(format!("{} has no values", series.metric)))?;
        }
        Ok(results)
    }

    /// The figures of one workload.
    pub fn of(&self, workload: Workload) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(move |s| s.workload == workload)
    }
}

/// Nine digits: more than any clock here tells, and few enough that every reader of JSON reads the same number back.
fn rounded(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

/// Collects values while rounds go on.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    kept: Vec<(Metric, Option<String>, Place, Vec<f64>)>,
}

impl Recorder {
    /// Notes one value.
    pub(super) fn add(&mut self, metric: Metric, variant: Option<&str>, place: &Place, value: f64) {
        if !value.is_finite() {
            return;
        }
        let value = rounded(value);
        let known =
            self.kept.iter_mut().find(|(m, v, p, _)| *m == metric && v.as_deref() == variant && p == place);
        match known {
            Some((.., values)) => values.push(value),
            None => self.kept.push((metric, variant.map(str::to_owned), place.clone(), vec![value])),
        }
    }

    /// The figures, in the order of [`METRICS`].
    pub(super) fn series(self) -> Vec<Series> {
        let at = |metric: &Metric| METRICS.iter().position(|m| m == metric);
        let mut kept = self.kept;
        kept.sort_by_key(|(metric, _, place, _)| (at(metric), place.clone()));
        let series = kept.into_iter().filter_map(|(metric, variant, place, values)| {
            let summary = summary(&values)?;
            Some(Series {
                metric: metric.id.to_owned(),
                workload: metric.workload,
                title: metric.title.to_owned(),
                unit: metric.unit.to_owned(),
                better: metric.better,
                variant,
                place,
                values,
                summary,
            })
        });
        series.collect()
    }
}
