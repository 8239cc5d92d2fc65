//! Statistics over the rounds of a measurement.

use serde::Serialize;

/// How two series of figures compare, round by round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// The estimate.
    pub(crate) estimate: f64,
    /// The ends of its confidence interval. `None` if there are too few rounds for one.
    pub(crate) interval: Option<(f64, f64)>,
}

/// Returns the middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (upper, lower) = (values.len() / 2, values.len().checked_sub(1)? / 2);
    Some((values[lower] + values[upper]) / 2.0)
}

/// Returns `own` divided by `base`, compared round by round: a disturbance in a round affected both.
/// Each end of the interval is wrong with a probability of at most `error`. `None` if no round has
/// both figures, above 0.
///
/// This is the interval of Wilcoxon's signed-rank test for the logarithms of the ratios. It assumes no
/// distribution, and one round that was disturbed does not move it far.
pub(crate) fn ratio(own: &[f64], base: &[f64], error: f64) -> Option<Ratio> {
    let pairs = own.iter().zip(base);
    let logarithms: Vec<f64> = pairs
        .map(|(own, base)| (own / base).ln())
        .filter(|logarithm| logarithm.is_finite())
        .collect();
    let means = means_of_pairs(&logarithms);
    let interval = rank(logarithms.len(), error).and_then(|rank| {
        let low = means.get(rank)?;
        let high = means.get(means.len().checked_sub(rank + 1)?)?;
        Some((low.exp(), high.exp()))
    });
    Some(Ratio {
        estimate: median(means)?.exp(),
        interval,
    })
}

/// Returns how many rounds an interval with this `error` takes.
pub(crate) fn rounds_needed(error: f64) -> usize {
    /// More rounds than any `error` in use takes: a probability of 1 in 10^19 takes that many.
    const MOST: usize = 64;
    (1..MOST)
        .find(|&rounds| rank(rounds, error).is_some())
        .unwrap_or(MOST)
}

/// Returns the means of all pairs of values, each value with itself included, in ascending order.
fn means_of_pairs(values: &[f64]) -> Vec<f64> {
    let pairs = values.iter().enumerate();
    let mut means: Vec<f64> = pairs
        .flat_map(|(i, a)| values[i..].iter().map(move |b| (a + b) / 2.0))
        .collect();
    means.sort_by(f64::total_cmp);
    means
}

/// Returns the highest rank sum, from 0, that a sample of `count` values without a difference reaches
/// or stays below with a probability of at most `error`. `None` if there is none.
fn rank(count: usize, error: f64) -> Option<usize> {
    // Each rank belongs to a positive value with a probability of one half.
    let mut probabilities = vec![0.0; count * (count + 1) / 2 + 1];
    probabilities[0] = 1.0;
    for rank in 1..=count {
        for sum in (0..probabilities.len()).rev() {
            let with = sum.checked_sub(rank).map_or(0.0, |sum| probabilities[sum]);
            probabilities[sum] = (probabilities[sum] + with) / 2.0;
        }
    }
    let at_most = probabilities.iter().scan(0.0, |total, probability| {
        *total += probability;
        Some(*total)
    });
    at_most
        .take_while(|&total| total <= error)
        .count()
        .checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![5.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }

    /// The critical values of the signed-rank test in textbooks, for two sides.
    #[test]
    fn ranks_are_those_of_the_tables() {
        for (count, error, expected) in [
            (5, 0.025, None),
            (6, 0.025, Some(0)),
            (7, 0.025, Some(2)),
            (9, 0.025, Some(5)),
            (10, 0.025, Some(8)),
            (20, 0.025, Some(52)),
            (7, 0.005, None),
            (8, 0.005, Some(0)),
            (10, 0.005, Some(3)),
        ] {
            assert_eq!(rank(count, error), expected, "{count} {error}");
        }
        assert_eq!(rounds_needed(0.025), 6);
        assert_eq!(rounds_needed(0.005), 8);
        assert_eq!(rank(0, 0.5), None);
    }

    #[test]
    fn a_ratio_is_compared_round_by_round() {
        // The machine becomes three times slower, which affects both.
        let base = [90.0, 80.0, 70.0, 60.0, 50.0, 40.0, 30.0];
        let own = base.map(|figure| figure * 1.5);
        let Ratio { estimate, interval } = ratio(&own, &base, 0.025).unwrap();
        let (low, high) = interval.unwrap();
        for value in [estimate, low, high] {
            assert!((value - 1.5).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn one_disturbed_round_does_not_move_the_interval_far() {
        let base = [100.0; 9];
        let own = [109.0, 110.0, 111.0, 110.0, 109.0, 20.0, 111.0, 110.0, 112.0];
        let (low, high) = ratio(&own, &base, 0.025).unwrap().interval.unwrap();
        assert!(low < 1.09 && high < 1.12, "{low} {high}");
        let Ratio { estimate, .. } = ratio(&own, &base, 0.025).unwrap();
        assert!((1.08..1.11).contains(&estimate), "{estimate}");
    }

    #[test]
    fn too_few_rounds_have_no_interval() {
        let Ratio { estimate, interval } = ratio(&[3.0], &[2.0], 0.025).unwrap();
        assert!((estimate - 1.5).abs() < 1e-9 && interval.is_none());
        assert_eq!(ratio(&[], &[], 0.025), None);
        assert_eq!(ratio(&[0.0], &[1.0], 0.025), None);
    }
}
