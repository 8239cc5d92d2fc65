//! Summarises the rounds of a row: medians, comparisons round by round, and whether targets were
//! reached. Knows no processes.

use super::results::{EntryResult, Round, RowResult, TargetResult};
use super::rows::{Entry, Measure, Row, Target};
use super::servers::{self, Build, Server};
use crate::stats::median;

/// The measurements of one server in a row.
#[derive(Debug)]
pub(super) struct Series {
    /// The index of its entry in the row.
    pub(super) entry: usize,
    pub(super) build: Build,
    /// Why there are no results.
    pub(super) missing: Option<String>,
    pub(super) rounds: Vec<Round>,
}

/// A figure of a round.
type Figure = fn(&Round) -> Option<f64>;

/// Summarises a row. `series` has the row's entries in their order, then those of the other build.
pub(super) fn summarise(row: &'static Row, series: &[Series]) -> RowResult {
    let summary = Summary { row, series };
    let entries = (0..series.len()).map(|number| summary.entry(number));
    let targets = row.targets.iter().map(|&target| summary.target(target));
    RowResult {
        name: row.name,
        about: row.about,
        entries: entries.collect(),
        targets: targets.collect(),
    }
}

struct Summary<'a> {
    row: &'static Row,
    series: &'a [Series],
}

impl Summary<'_> {
    fn entry(&self, number: usize) -> EntryResult {
        let own = &self.series[number];
        let entry = &self.row.entries[own.entry];
        let cost: Figure = match self.row.measure {
            Measure::Requests | Measure::NewTopics => |round| round.nanos_per_reply,
            Measure::Start => |round| round.start_seconds,
            Measure::Memory => |round| round.bytes_per_topic,
        };
        let ratio = |base| self.compare(number, base, cost, |own, base| own / base);
        let base = self.base(own, entry);
        let other = (own.build == Build::This)
            .then(|| self.of_build(own.entry, Build::Other))
            .flatten();
        EntryResult {
            server: servers::name(&entry.server, own.build),
            ours: number == self.row.ours,
            base,
            missing: own.missing.clone(),
            medians: medians(&own.rounds),
            rounds: own.rounds.clone(),
            ratio: base.and_then(ratio),
            beyond_baseline: self.beyond_baseline(number),
            ratio_to_other_build: other.and_then(ratio),
        }
    }

    fn target(&self, target: Target) -> TargetResult {
        let ours = self.row.ours;
        let median_of = |figure: Figure| {
            let rounds = &self.series[ours].rounds;
            median(rounds.iter().filter_map(figure).collect())
        };
        let ratio = |of, figure| self.compare(ours, of, figure, |own, base| own / base);
        let value = match target {
            Target::CpuTime { of, .. } => ratio(of, |round| round.nanos_per_reply),
            Target::UserTime { of, .. } => ratio(of, |round| round.user_nanos_per_reply),
            Target::BeyondBaseline { .. } => self.beyond_baseline(ours),
            Target::Rate { .. } => median_of(|round| round.rate),
            Target::Start { .. } => median_of(|round| round.start_seconds),
            Target::Memory { .. } => median_of(|round| round.bytes_per_topic),
        };
        TargetResult {
            target,
            value,
            met: value.map(|value| target.is_met(value)),
        }
    }

    /// Returns the first series that an entry may be compared with and that was measured: of the same
    /// build, if there are two.
    fn base(&self, own: &Series, entry: &Entry) -> Option<usize> {
        let same_build = |&base: &usize| self.of_build(base, own.build).unwrap_or(base);
        let mut bases = entry.bases.iter().map(same_build);
        bases.find(|&base| self.series[base].is_measured())
    }

    /// Returns the series of an entry's build.
    fn of_build(&self, entry: usize, build: Build) -> Option<usize> {
        self.series
            .iter()
            .position(|series| series.entry == entry && series.build == build)
    }

    /// Returns how much CPU time per request a series needs beyond the row's baseline, if there is one
    /// under the same load.
    fn beyond_baseline(&self, number: usize) -> Option<f64> {
        let entries = self.row.entries;
        let is_baseline = |entry: &Entry| matches!(entry.server, Server::Null { .. });
        let baseline = entries.iter().position(is_baseline)?;
        let entry = &entries[self.series[number].entry];
        if is_baseline(entry) || entry.bases.is_empty() {
            return None;
        }
        let cost: Figure = |round| round.nanos_per_reply;
        self.compare(number, baseline, cost, |own, baseline| own - baseline)
    }

    /// Returns the median of a comparison round by round: a disturbance in a round affected both.
    fn compare(
        &self,
        own: usize,
        base: usize,
        figure: Figure,
        comparison: fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let rounds = self.series[own].rounds.iter();
        let pairs = rounds.zip(&self.series[base].rounds);
        let results = pairs
            .filter_map(|(own, base)| Some(comparison(figure(own)?, figure(base)?)))
            .filter(|result| result.is_finite());
        median(results.collect())
    }
}

impl Series {
    fn is_measured(&self) -> bool {
        self.missing.is_none() && !self.rounds.is_empty()
    }
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::CpuTime { at_most, .. }
            | Self::UserTime { at_most, .. }
            | Self::BeyondBaseline { at_most }
            | Self::Start { at_most }
            | Self::Memory { at_most } => value <= at_most,
            Self::Rate { at_least } => value >= at_least,
        }
    }
}

fn medians(rounds: &[Round]) -> Round {
    let of = |figure: Figure| median(rounds.iter().filter_map(figure).collect());
    Round {
        rate: of(|round| round.rate),
        nanos_per_reply: of(|round| round.nanos_per_reply),
        user_nanos_per_reply: of(|round| round.user_nanos_per_reply),
        p50: of(|round| round.p50),
        p99: of(|round| round.p99),
        start_seconds: of(|round| round.start_seconds),
        bytes_per_topic: of(|round| round.bytes_per_topic),
        lost: rounds.iter().map(|round| round.lost).sum(),
    }
}

#[cfg(test)]
mod tests;
