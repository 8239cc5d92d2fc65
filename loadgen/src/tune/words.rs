//! A recommendation in words.

use super::decision::{Certainty, Comparison, Recommendation};
use super::results::Goal;
use super::setting::Setting;
use crate::report::grouped;
use crate::stats::Ratio;

impl Goal {
    /// Returns its name for a table; `rate` is that of the open loop.
    pub(super) fn name(self, rate: f64) -> String {
        let rate = grouped(rate.round() as u64);
        match self {
            Self::Throughput => "throughput".to_owned(),
            Self::P99 => format!("p99 at {rate}/s"),
            Self::CpuTime => format!("CPU time at {rate}/s"),
        }
    }

    fn figure(self) -> &'static str {
        match self {
            Self::Throughput => "the throughput",
            Self::P99 => "the p99",
            Self::CpuTime => "the CPU time per request",
        }
    }
}

/// Says which setting is recommended, and how sure that is.
pub(super) fn answer(goal: Goal, found: &Recommendation, settings: &[Setting]) -> String {
    let name = settings[found.setting].name();
    let Some(Comparison { with, ratio }) = found.comparison else {
        return format!("{name}: no other setting could be measured");
    };
    let (other, figure) = (settings[with].name(), goal.figure());
    let measured = measured(ratio);
    match found.certainty {
        Certainty::Clear => {
            format!("{name}: {measured} {figure} of the runner-up, {other}")
        }
        Certainty::WithinNoise => format!(
            "{name}: the difference from {other} is within the noise ({measured} {figure}); as far as \
             these rounds can tell, the simpler setting is as good"
        ),
        Certainty::SmallGain => format!(
            "{name}: {other} is better, but not surely by enough for a more complex setting ({measured} {figure})"
        ),
        Certainty::TooFewRounds => format!(
            "{name}: there are too few rounds to tell it from {other} ({measured} {figure}); use \
             --rounds {} or more",
            found.rounds_needed
        ),
        Certainty::OnlyOne => name,
    }
}

/// Returns a ratio with its confidence interval.
fn measured(ratio: Ratio) -> String {
    let Ratio { estimate, interval } = ratio;
    match interval {
        Some((low, high)) => format!("{estimate:.2} × [{low:.2} to {high:.2}]"),
        None => format!("{estimate:.2} ×"),
    }
}
