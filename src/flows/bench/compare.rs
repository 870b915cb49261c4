// SPDX-License-Identifier: GPL-3.0-or-later
//! Two sets of repetitions side by side: what is a difference and what is noise. Pure.

use super::document::{Place, Results, Series};
use super::metrics::{Better, Workload};
use super::stats::{Ratio, Summary, mann_whitney, ratio};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A difference is called one only when chance alone would make it more rarely than this. Not 5 %: among thirty
/// figures that would call one or two of an unchanged machine every time.
pub const SIGNIFICANCE: f64 = 0.01;

/// And only when it is at least this large: below, two starts of the same program differ.
pub const SMALLEST: f64 = 0.01;

/// With fewer repetitions on either side no outcome of the test is below [`SIGNIFICANCE`].
pub const LEAST: usize = 5;

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The second is better, beyond the noise.
    Better,
    /// The second is worse, beyond the noise.
    Worse,
    /// No difference that is larger than the noise.
    NoDifference,
    /// Too few repetitions to tell.
    TooFew,
}

/// One figure, before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Its name.
    pub metric: String,
    /// What was run for it.
    pub workload: Workload,
    /// What it is, in words.
    pub title: String,
    /// Its unit.
    pub unit: String,
    /// In which direction it is better.
    pub better: Better,
    /// Where it was taken.
    pub place: Place,
    /// The first.
    pub before: Summary,
    /// The second.
    pub after: Summary,
    /// How many times the first the second is; none where a value is zero.
    pub ratio: Option<Ratio>,
    /// Of the Mann-Whitney U test, two-sided.
    pub p: f64,
    /// What came of it.
    pub verdict: Verdict,
}

impl Compared {
    /// By how much, as people say it ("12 % more"); none without a ratio.
    pub fn change(&self) -> Option<String> {
        let percent = (self.ratio?.estimate - 1.0) * 100.0;
        let digits = if percent.abs() < 10.0 { 1 } else { 0 };
        Some(format!("{percent:+.digits$} %"))
    }
}

/// Two documents, or two ways within one, side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// What the first is called.
    pub before: String,
    /// What the second is called.
    pub after: String,
    /// What makes the two hard to compare (another kernel, another governor, a busy machine).
    pub cautions: Vec<String>,
    /// The figures that both have.
    pub compared: Vec<Compared>,
    /// Figures that only one of them has.
    pub only_in_one: Vec<String>,
    /// How it was decided, in a sentence.
    pub method: String,
}

/// How it is decided, for people.
pub const METHOD: &str = "A difference is called one when the two-sided Mann-Whitney U test gives p ≤ 0.01 and the \
    Hodges-Lehmann estimate of the ratio is 1 % away from 1 or more; each side needs 5 repetitions. Intervals are of 99 %.";

/// Two sets of repetitions. `title` is how the figure is called.
pub fn compare_series(title: String, before: &Series, after: &Series) -> Compared {
    let p = mann_whitney(&before.values, &after.values);
    let ratio = ratio(&before.values, &after.values);
    let verdict = verdict(before, after, ratio, p);
    Compared {
        metric: before.metric.clone(),
        workload: before.workload,
        title,
        unit: before.unit.clone(),
        better: before.better,
        place: before.place.clone(),
        before: before.summary,
        after: after.summary,
        ratio,
        p,
        verdict,
    }
}

fn verdict(before: &Series, after: &Series, ratio: Option<Ratio>, p: f64) -> Verdict {
    if before.values.len() < LEAST || after.values.len() < LEAST {
        return Verdict::TooFew;
    }
    let Some(ratio) = ratio.filter(|r| p <= SIGNIFICANCE && (r.estimate - 1.0).abs() >= SMALLEST) else {
        return Verdict::NoDifference;
    };
    match (before.better, ratio.estimate > 1.0) {
        (Better::Higher, true) | (Better::Lower, false) => Verdict::Better,
        _ => Verdict::Worse,
    }
}

/// Two documents: before and after a change.
pub fn compare(before: &Results, after: &Results) -> Comparison {
    let mut compared = Vec::new();
    let mut only_in_one = Vec::new();
    for series in &before.series {
        match after.series.iter().find(|s| s.is_same_as(series)) {
            Some(other) => compared.push(compare_series(series.name(), series, other)),
            None => only_in_one.push(format!("{} ({})", series.name(), before.name)),
        }
    }
    for series in &after.series {
        if !before.series.iter().any(|s| s.is_same_as(series)) {
            only_in_one.push(format!("{} ({})", series.name(), after.name));
        }
    }
    let mut cautions = before.before.cautions(&after.before);
    if before.debug_build != after.debug_build {
        cautions.push("one was measured by a build for development, whose figures are slower".to_owned());
    }
    if before.hostwright != after.hostwright {
        cautions.push(format!(
            "they were measured by different versions ({} and {})",
            before.hostwright, after.hostwright
        ));
    }
    Comparison {
        before: before.name.clone(),
        after: after.name.clone(),
        cautions,
        compared,
        only_in_one,
        method: METHOD.to_owned(),
    }
}

/// Pairs of ways that one call measures by turns: the usual one first.
const WAYS: [(&str, &str); 2] = [("vanilla", "optimized"), ("small pages", "huge pages")];

/// The two ways of each figure within one document, where it was measured in two: one comparison for each pair.
pub fn ways(results: &Results) -> Vec<Comparison> {
    let of = |way: &str, series: &Series| series.variant.as_deref() == Some(way);
    let mut found = Vec::new();
    for (usual, other) in WAYS {
        let compared: Vec<Compared> = results
            .series
            .iter()
            .filter(|s| of(usual, s))
            .filter_map(|s| {
                let same = |o: &&Series| of(other, o) && o.metric == s.metric && o.place == s.place;
                let place = match &s.place {
                    Place::Host => String::new(),
                    place => format!(", {}", place.words()),
                };
                Some(compare_series(format!("{}{place}", s.title), s, results.series.iter().find(same)?))
            })
            .collect();
        if !compared.is_empty() {
            found.push(Comparison {
                before: usual.to_owned(),
                after: other.to_owned(),
                cautions: Vec::new(),
                compared,
                only_in_one: Vec::new(),
                method: METHOD.to_owned(),
            });
        }
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::document::Recorder;
    use super::super::metrics::{BUILD, MEMORY_COPY, MEMORY_RANDOM};
    use super::*;
    use crate::detect::conditions::Conditions;

    /// Results with these values.
    pub(in crate::flows::bench) fn results(name: &str, factor: f64) -> Results {
        let mut recorder = Recorder::default();
        for n in 0..7 {
            let noise = 1.0 + f64::from(n * 5 % 7) * 0.001;
            recorder.add(MEMORY_COPY, Some("small pages"), &Place::Host, 10.0 * noise);
            recorder.add(MEMORY_COPY, Some("huge pages"), &Place::Host, 10.0 * noise * 1.3);
            recorder.add(MEMORY_RANDOM, Some("small pages"), &Place::Host, 90.0 * noise * factor);
            let guest = Place::Guest { accelerator: "tcg".into() };
            recorder.add(BUILD, Some("vanilla"), &guest, 3.0 * noise);
        }
        Results {
            schema: 1,
            name: name.into(),
            hostwright: "0.1.0".into(),
            debug_build: false,
            began: jiff::Timestamp::UNIX_EPOCH,
            took: 12.5,
            rounds: 7,
            before: Conditions::default(),
            after: Conditions::default(),
            series: recorder.series(),
            left_out: vec![],
        }
    }

    #[test]
    fn a_difference_beyond_the_noise_is_called_in_the_right_direction() {
        let slower = compare(&results("before", 1.0), &results("after", 1.1));
        let random = slower.compared.iter().find(|c| c.metric == "memory.random").unwrap();
        assert_eq!(random.verdict, Verdict::Worse, "latency went up: {random:?}");
        assert_eq!(random.change().unwrap(), "+10 %");
        let copy = slower.compared.iter().find(|c| c.metric == "memory.copy").unwrap();
        assert_eq!((copy.verdict, copy.p), (Verdict::NoDifference, 1.0));
        let faster = compare(&results("before", 1.0), &results("after", 0.8));
        assert!(faster.compared.iter().any(|c| c.verdict == Verdict::Better));
    }

    #[test]
    fn a_difference_below_one_per_cent_is_not_called_one() {
        let all = compare(&results("before", 1.0), &results("after", 1.008));
        let random = all.compared.iter().find(|c| c.metric == "memory.random").unwrap();
        assert!(random.p <= SIGNIFICANCE, "the ranks tell them apart: {}", random.p);
        assert_eq!(random.verdict, Verdict::NoDifference);
    }

    #[test]
    fn a_few_repetitions_tell_nothing_however_far_apart() {
        let mut after = results("after", 2.0);
        for series in &mut after.series {
            series.values.truncate(4);
        }
        let all = compare(&results("before", 1.0), &after);
        assert!(all.compared.iter().all(|c| c.verdict == Verdict::TooFew));
    }

    #[test]
    fn two_ways_within_one_document_are_compared_and_what_is_in_one_only_is_named() {
        let one = results("one", 1.0);
        let ways = ways(&one);
        assert_eq!(ways.len(), 1);
        assert_eq!((ways[0].before.as_str(), ways[0].after.as_str()), ("small pages", "huge pages"));
        assert_eq!(ways[0].compared[0].verdict, Verdict::Better);
        let mut other = results("other", 1.0);
        other.series.retain(|s| s.metric != "modules.build");
        assert_eq!(compare(&one, &other).only_in_one, ["Compiling both modules, vanilla, guest (tcg) (one)"]);
    }

    #[test]
    fn a_document_of_a_later_version_or_of_nothing_is_refused() {
        let text = serde_json::to_string(&results("x", 1.0)).unwrap();
        assert_eq!(Results::parse(&text).unwrap(), results("x", 1.0));
        let newer = text.replacen("\"schema\":1", "\"schema\":9", 1);
        assert!(Results::parse(&newer).unwrap_err().to_string().contains("version 9"));
        for bad in ["", "{}", "[]", "{\"schema\":1}", "nonsense"] {
            assert!(Results::parse(bad).is_err(), "{bad}");
        }
        // A summary that was written by hand does not count.
        let lie = text.replacen("\"median\":", "\"median\":1000.0,\"x\":", 1);
        assert_ne!(Results::parse(&lie).unwrap().series[0].summary.median, 1000.0);
    }
}
