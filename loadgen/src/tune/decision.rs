//! From measurements to a recommendation. Knows no servers.

use serde::Serialize;

use crate::stats::{Ratio, median, ratio, rounds_needed};

/// The probability that, among settings that are all alike, one is recommended that is not the
/// simplest. All comparisons that a recommendation takes share it.
const ERROR: f64 = 0.05;

/// Which figures are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Higher,
    Lower,
}

/// The setting to use, by index, and how sure that is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Recommendation {
    pub(super) setting: usize,
    pub(super) certainty: Certainty,
    /// The fewest rounds that can tell settings apart.
    pub(super) rounds_needed: usize,
    /// The comparison that decided. `None` if there is nothing to compare with.
    pub(super) comparison: Option<Comparison>,
}

/// How sure a recommendation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Certainty {
    /// It is better than the runner-up.
    Clear,
    /// It cannot be told from the other one, and is simpler.
    WithinNoise,
    /// The other one is better, but not surely by enough to be worthwhile.
    SmallGain,
    /// There are too few rounds to tell it from the other one, and it is simpler.
    TooFewRounds,
    /// No other setting could be measured.
    OnlyOne,
}

/// The recommended setting beside another one: the best of all, or the runner-up if the recommended one
/// is the best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Comparison {
    pub(super) with: usize,
    /// The figure of the recommended setting, divided by that of the other.
    pub(super) ratio: Ratio,
}

/// Recommends a setting. `figures` has those of each setting by round, the simplest setting first;
/// `None` for a setting that cannot be recommended. Returns `None` if there is no other. A setting has
/// to be surely better than a simpler one by the factor `worthwhile`.
///
/// The answer is the setting with the best median, unless a simpler one cannot be told from it, or is
/// hardly worse: then it is the simplest of those.
pub(super) fn recommend(
    better: Better,
    worthwhile: f64,
    figures: &[Option<Vec<f64>>],
) -> Option<Recommendation> {
    let decision = Decision::new(better, worthwhile, figures);
    let best = *decision.ranking.first()?;
    let setting = decision.simplest_as_good_as(best);
    let other = match setting == best {
        true => decision.ranking.get(1).copied(),
        false => Some(best),
    };
    let comparison = other.and_then(|with| {
        let ratio = decision.ratio(setting, with)?;
        Some(Comparison { with, ratio })
    });
    Some(Recommendation {
        setting,
        certainty: decision.certainty(comparison),
        rounds_needed: rounds_needed(decision.error),
        comparison,
    })
}

struct Decision<'a> {
    better: Better,
    worthwhile: f64,
    figures: &'a [Option<Vec<f64>>],
    /// The settings that can be recommended, from the best median on; of equal ones, the simpler first.
    ranking: Vec<usize>,
    /// The error of one comparison.
    error: f64,
}

impl<'a> Decision<'a> {
    fn new(better: Better, worthwhile: f64, figures: &'a [Option<Vec<f64>>]) -> Self {
        let median_of = |(setting, figures): (usize, &Option<Vec<f64>>)| {
            Some((setting, median(figures.clone()?)?))
        };
        let mut medians: Vec<(usize, f64)> =
            figures.iter().enumerate().filter_map(median_of).collect();
        medians.sort_by(|(_, a), (_, b)| match better {
            Better::Higher => b.total_cmp(a),
            Better::Lower => a.total_cmp(b),
        });
        let ranking: Vec<usize> = medians.into_iter().map(|(setting, _)| setting).collect();
        let comparisons = ranking.len().saturating_sub(1).max(1);
        Self {
            better,
            worthwhile,
            figures,
            ranking,
            error: ERROR / comparisons as f64,
        }
    }

    fn ratio(&self, own: usize, base: usize) -> Option<Ratio> {
        let of = |setting: usize| self.figures[setting].as_deref();
        ratio(of(own)?, of(base)?, self.error)
    }

    /// Returns by which factor the first setting of a ratio is better than the second, and the ends of
    /// the interval of that factor.
    fn gain(&self, ratio: Ratio) -> (f64, Option<(f64, f64)>) {
        let Ratio { estimate, interval } = ratio;
        match self.better {
            Better::Higher => (estimate, interval),
            Better::Lower => (
                1.0 / estimate,
                interval.map(|(low, high)| (1.0 / high, 1.0 / low)),
            ),
        }
    }

    fn simplest_as_good_as(&self, best: usize) -> usize {
        let is_as_good = |setting: usize| {
            let Some(ratio) = self.ratio(best, setting) else {
                return false;
            };
            match self.gain(ratio) {
                (_, Some((low, _))) => low < self.worthwhile,
                (_, None) => true,
            }
        };
        let mut simpler = (0..best).filter(|setting| self.ranking.contains(setting));
        simpler.find(|&setting| is_as_good(setting)).unwrap_or(best)
    }

    fn certainty(&self, comparison: Option<Comparison>) -> Certainty {
        let Some(Comparison { ratio, .. }) = comparison else {
            return Certainty::OnlyOne;
        };
        match self.gain(ratio) {
            (_, None) => Certainty::TooFewRounds,
            (_, Some((low, _))) if low > 1.0 => Certainty::Clear,
            (_, Some((_, high))) if high < 1.0 => Certainty::SmallGain,
            _ => Certainty::WithinNoise,
        }
    }
}

#[cfg(test)]
mod tests;
