// SPDX-License-Identifier: GPL-3.0-or-later
//! The statistics behind the words "faster" and "no difference". Pure.
//!
//! Repetitions of a benchmark are not normally distributed (they have a floor and a long tail), so ranks are compared,
//! not means: the Mann-Whitney U test (H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is
//! stochastically larger than the other", 1947), two-sided, and for how much the Hodges-Lehmann estimate, taken of
//! ratios (J. L. Hodges and E. L. Lehmann, "Estimates of location based on rank tests", 1963).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What repetitions of one measurement show. Quartiles and not a standard deviation: the tail is long on one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// How many repetitions.
    pub n: usize,
    /// The middle one.
    pub median: f64,
    /// A quarter of them is lower.
    pub low_quartile: f64,
    /// A quarter of them is higher.
    pub high_quartile: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

impl Summary {
    /// The spread, as a share of the median: half the distance of the quartiles.
    pub fn spread(&self) -> f64 {
        if self.median == 0.0 {
            return 0.0;
        }
        ((self.high_quartile - self.low_quartile) / 2.0 / self.median).abs()
    }
}

/// Sums repetitions up; `None` without any, or when one is no finite number.
pub fn summary(values: &[f64]) -> Option<Summary> {
    if values.is_empty() || values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(Summary {
        n: sorted.len(),
        median: quantile(&sorted, 0.5),
        low_quartile: quantile(&sorted, 0.25),
        high_quartile: quantile(&sorted, 0.75),
        min: sorted[0],
        max: sorted[sorted.len() - 1],
    })
}

/// The quantile of sorted values, between neighbours by their distance (type 7 of R. J. Hyndman and Y. Fan, 1996).
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share.clamp(0.0, 1.0) * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

/// Up to this many pairs the distribution of U is counted out; beyond, the normal one is as good.
const EXACT_PAIRS: usize = 2_500;

/// The two-sided p-value of the Mann-Whitney U test: how often samples this far apart come from one and the same
/// distribution. Counted out where no two values are equal and the samples are small, else by the normal
/// approximation with the corrections for ties and continuity. 1 when either is empty.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let (n, m) = (a.len(), b.len());
    if n == 0 || m == 0 {
        return 1.0;
    }
    // U of `a`: the pairs in which it is larger, ties count half.
    let mut u: f64 = 0.0;
    for x in a {
        for y in b {
            u += if x > y {
                1.0
            } else if x == y {
                0.5
            } else {
                0.0
            };
        }
    }
    let pairs = (n * m) as f64;
    let smaller = u.min(pairs - u);
    let mut all: Vec<f64> = a.iter().chain(b).copied().collect();
    all.sort_by(f64::total_cmp);
    let ties: f64 = all
        .chunk_by(|x, y| x == y)
        .map(|group| {
            let t = group.len() as f64;
            t * t * t - t
        })
        .sum();
    if ties == 0.0 && n * m <= EXACT_PAIRS {
        let below: f64 = distribution(n, m).iter().take(smaller as usize + 1).sum();
        return (2.0 * below).min(1.0);
    }
    let total = (n + m) as f64;
    let variance = pairs / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = ((pairs / 2.0 - smaller) - 0.5).max(0.0) / variance.sqrt();
    if z == 0.0 { 1.0 } else { (2.0 * upper_tail(z)).min(1.0) }
}

/// The probability of each U from 0 to n·m when both samples come from one distribution.
///
/// With `f(i, j)` for samples of i and j values: the largest of all is of the first sample with probability i/(i+j), and
/// then stands above j others.
fn distribution(n: usize, m: usize) -> Vec<f64> {
    // rows[j]: the distribution for i values of the first sample and j of the second.
    let mut rows: Vec<Vec<f64>> = (0..=m).map(|_| vec![1.0]).collect();
    for i in 1..=n {
        let mut next: Vec<Vec<f64>> = vec![vec![1.0]];
        for j in 1..=m {
            let share = i as f64 / (i + j) as f64;
            let mut row = vec![0.0; i * j + 1];
            for (u, p) in rows[j].iter().enumerate() {
                row[u + j] += share * p;
            }
            for (u, p) in next[j - 1].iter().enumerate() {
                row[u] += (1.0 - share) * p;
            }
            next.push(row);
        }
        rows = next;
    }
    rows.swap_remove(m)
}

/// The share of the standard normal distribution above `z` ≥ 0: Abramowitz and Stegun, 26.2.17 (error below 7.5e-8).
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let polynomial = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * polynomial
}

/// How many times the first the second is, and between which bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// The median over all pairs (Hodges-Lehmann).
    pub estimate: f64,
    /// The lower bound of its 99 % confidence interval; the smallest ratio where the samples are too small for one.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// The ratio `b / a` with its 99 % confidence interval from the same ranks; `None` where a value is not above zero.
pub fn ratio(a: &[f64], b: &[f64]) -> Option<Ratio> {
    if a.is_empty() || b.is_empty() || a.iter().chain(b).any(|v| !v.is_finite() || *v <= 0.0) {
        return None;
    }
    let mut ratios: Vec<f64> = a.iter().flat_map(|x| b.iter().map(move |y| y / x)).collect();
    ratios.sort_by(f64::total_cmp);
    let cut = cut(a.len(), b.len());
    Some(Ratio { estimate: quantile(&ratios, 0.5), low: ratios[cut], high: ratios[ratios.len() - 1 - cut] })
}

/// How many of the sorted pairs lie outside a 99 % interval, at each end.
fn cut(n: usize, m: usize) -> usize {
    let pairs = n * m;
    if pairs <= EXACT_PAIRS {
        let mut below = 0.0;
        let mut cut: usize = 0;
        for (u, p) in distribution(n, m).iter().enumerate() {
            below += p;
            if below > 0.005 {
                break;
            }
            cut = u + 1;
        }
        return cut.saturating_sub(1).min((pairs - 1) / 2);
    }
    let (half, total) = (pairs as f64 / 2.0, (n + m + 1) as f64);
    let at = half - 2.576 * (pairs as f64 * total / 12.0).sqrt();
    (at.max(0.0) as usize).min((pairs - 1) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn medians_and_quartiles_are_those_of_the_books() {
        let s = summary(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((s.median, s.low_quartile, s.high_quartile), (2.5, 1.75, 3.25));
        assert_eq!((s.n, s.min, s.max), (4, 1.0, 4.0));
        assert!(close(s.spread(), 0.3));
        assert!(summary(&[]).is_none() && summary(&[1.0, f64::NAN]).is_none());
    }

    #[test]
    fn p_values_are_those_of_the_tables() {
        // All of one above all of the other: 2 / C(10, 5) and 2 / C(8, 4).
        let five = [1.0, 2.0, 3.0, 4.0, 5.0];
        let above = [6.0, 7.0, 8.0, 9.0, 10.0];
        assert!(close(mann_whitney(&five, &above), 2.0 / 252.0));
        assert!(close(mann_whitney(&five[..4], &above[..4]), 2.0 / 70.0));
        // scipy.stats.mannwhitneyu([19, 22, 16, 29, 24], [20, 11, 17, 12]): U = 17, p = 0.1111
        let p = mann_whitney(&[19.0, 22.0, 16.0, 29.0, 24.0], &[20.0, 11.0, 17.0, 12.0]);
        assert!(close(p, 0.111_11), "{p}");
        // With ties the normal approximation: scipy, method="asymptotic": 0.0486 (U = 2.5)
        let p = mann_whitney(&[1.0, 2.0, 2.0, 3.0, 3.0], &[3.0, 4.0, 5.0, 6.0]);
        assert!((0.02..0.06).contains(&p), "{p}");
        assert_eq!(mann_whitney(&[1.0; 6], &[1.0; 6]), 1.0, "nothing but ties");
        assert_eq!(mann_whitney(&[], &[1.0]), 1.0);
    }

    #[test]
    fn the_normal_approximation_meets_the_exact_one() {
        let a: Vec<f64> = (0..49).map(f64::from).collect();
        let b: Vec<f64> = (0..49).map(|v| f64::from(v) + 8.5).collect();
        let exact = mann_whitney(&a, &b);
        let long: Vec<f64> = a.iter().chain([&200.0, &300.0]).copied().collect();
        let other: Vec<f64> = b.iter().chain([&250.0, &350.0]).copied().collect();
        let approximate = mann_whitney(&long, &other);
        assert!((exact - approximate).abs() < 0.02, "{exact} {approximate}");
    }

    #[test]
    fn the_distribution_is_one_in_all_and_the_same_from_both_ends() {
        for (n, m) in [(1, 1), (3, 4), (7, 7), (20, 5)] {
            let d = distribution(n, m);
            assert_eq!(d.len(), n * m + 1);
            assert!(close(d.iter().sum(), 1.0));
            for u in 0..d.len() {
                assert!(close(d[u], d[d.len() - 1 - u]));
            }
        }
    }

    #[test]
    fn a_ratio_comes_with_bounds() {
        let a = [10.0, 10.1, 9.9, 10.05, 9.95, 10.02, 9.98];
        let b = a.map(|v| v * 1.2);
        let r = ratio(&a, &b).unwrap();
        assert!(close(r.estimate, 1.2), "{r:?}");
        assert!(r.low > 1.17 && r.high < 1.23 && r.low < 1.2 && r.high > 1.2, "{r:?}");
        assert!(ratio(&[0.0], &[1.0]).is_none() && ratio(&[], &[1.0]).is_none());
    }

    #[test]
    fn unchanged_samples_are_called_different_about_as_rarely_as_promised() {
        // A fixed generator: the share of p ≤ 0.05 among samples of one distribution must not exceed 0.05 by much.
        let mut state = 42u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64
        };
        let mut called = 0;
        for _ in 0..2_000 {
            let a: Vec<f64> = (0..7).map(|_| random()).collect();
            let b: Vec<f64> = (0..7).map(|_| random()).collect();
            called += usize::from(mann_whitney(&a, &b) <= 0.05);
        }
        assert!((20..=140).contains(&called), "{called} of 2000");
    }

    proptest! {
        #[test]
        fn p_is_a_probability_and_does_not_depend_on_which_is_first(
            a in proptest::collection::vec(0u8..20, 1..12), b in proptest::collection::vec(0u8..20, 1..12),
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) =
                (a.into_iter().map(f64::from).collect(), b.into_iter().map(f64::from).collect());
            let p = mann_whitney(&a, &b);
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert!((p - mann_whitney(&b, &a)).abs() < 1e-9);
        }

        #[test]
        fn the_estimate_lies_between_its_bounds(
            a in proptest::collection::vec(1.0f64..9.0, 1..40), b in proptest::collection::vec(1.0f64..9.0, 1..80),
        ) {
            let r = ratio(&a, &b).unwrap();
            prop_assert!(r.low <= r.estimate && r.estimate <= r.high);
        }
    }
}
