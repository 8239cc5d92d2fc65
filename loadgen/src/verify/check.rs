//! The checker: whether all replies fit into one order.
//!
//! A topic's counts are linearizable if (1) no number was taken twice, and (2) a request that was
//! sent after the reply to another one arrived has a greater sum. A GET sees at least all sums that
//! were answered before it was sent, and no count sent after its reply gets the sum it saw. The sums
//! of a topic order its requests: a pass from the greatest sum down, with the earliest reply so far,
//! finds every pair that breaks (2), after one sort.
//!
//! (3) No number is skipped: all numbers between the first and the last known sum were taken by
//! requests with a reply, or by requests without one. A request without a reply may have been applied
//! once, at any time after it was sent. By (2), it cannot have taken a number below a sum that was
//! answered before that. So the numbers that are missing up to a gap must have gone to requests that
//! were sent before any greater sum was answered, and there must be enough of those for every gap.
//! Each number is judged by itself: that an ADD without a reply takes consecutive numbers is not used.
//! A cluster whose node dies may also skip numbers ([`Promise::Failover`]): such a gap is accepted if
//! a server was seen to fail between the requests on both of its sides.
//!
//! It does not matter which server answered: all of them have one order, and one clock measures them.

use std::net::SocketAddr;
use std::ops::Range;

use super::failures::Failures;
use super::history::{History, Record, Unanswered};
use super::silence::{Silence, longest};
use super::violation::{Fault, Violation};
use crate::plan::Promise;
use crate::workload::Names;

/// What a history is checked against.
#[derive(Debug, Clone)]
pub(crate) struct Rules<'a> {
    pub(crate) promise: Promise,
    pub(crate) names: &'a Names,
    /// The servers by their numbers.
    pub(crate) servers: &'a [SocketAddr],
    /// When the run began and ended. What the history has before and after it are sums that were read,
    /// and no time between them counts as silence.
    pub(crate) run: Range<u64>,
}

/// The result of a check that found no violation.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub(crate) struct Verdict {
    /// Replies that were checked.
    pub(crate) replies: u64,
    /// Topics of those replies.
    pub(crate) topics: u64,
    /// Numbers that no reply had: requests without a reply took them. If numbers may be skipped, they
    /// were taken or skipped.
    pub(crate) gaps: u64,
    /// The most of them that were missing in a row.
    pub(crate) largest_gap: u64,
    /// The longest times without an answer.
    pub(crate) silence: Silence,
}

/// Numbers that no reply to one topic had.
#[derive(Debug, Clone, Copy, Default)]
struct Missing {
    all: u64,
    largest: u64,
}

impl Record {
    /// Returns the position among the requests of the topic: a GET follows the count that it saw.
    fn position(&self) -> (u64, bool) {
        (self.sum, self.taken == 0)
    }

    /// Returns the sum before the first number that the request took; for a GET, the sum.
    fn before(&self) -> Option<u64> {
        self.sum.checked_sub(self.taken.into())
    }
}

/// Checks a whole history.
///
/// # Errors
///
/// The first violation, of the topic with the lowest number, in the order of the rules above.
pub(crate) fn check(mut history: History, rules: &Rules<'_>) -> Result<Verdict, Violation> {
    history
        .records
        .sort_unstable_by_key(|record| (record.topic, record.position(), record.sent));
    history
        .unanswered
        .sort_unstable_by_key(|request| (request.topic, request.sent));
    history.failures.sort();
    let failures = (rules.promise == Promise::Failover).then_some(&history.failures);
    let mut verdict = Verdict::default();
    let mut silences = Vec::new();
    for records in history.records.chunk_by_mut(|a, b| a.topic == b.topic) {
        let topic = records[0].topic;
        let unanswered = of_topic(&history.unanswered, topic);
        let missing = check_numbers(records)
            .and_then(|missing| {
                check_times(records)?;
                if missing.all > 0 && rules.promise != Promise::Monotonic {
                    check_gaps(records, unanswered, failures)?;
                }
                Ok(missing)
            })
            .map_err(|fault| Violation {
                topic: rules.names.of(topic).into(),
                fault,
                servers: rules.servers.into(),
            })?;
        verdict.replies += records.len() as u64;
        verdict.topics += 1;
        verdict.gaps += missing.all;
        verdict.largest_gap = verdict.largest_gap.max(missing.largest);
        silences.extend(longest(records, &rules.run));
    }
    let servers = rules.servers.len();
    verdict.silence = Silence::of(&history.records, servers, &rules.run, silences);
    Ok(verdict)
}

/// Returns the requests for `topic` among `unanswered`, which is sorted.
fn of_topic(unanswered: &[Unanswered], topic: u32) -> &[Unanswered] {
    let start = unanswered.partition_point(|request| request.topic < topic);
    let end = unanswered.partition_point(|request| request.topic <= topic);
    &unanswered[start..end]
}

/// Rule 1: each count begins at or above the end of the count before it. Returns how many numbers are
/// missing between them. The records are sorted by position.
fn check_numbers(records: &[Record]) -> Result<Missing, Fault> {
    let mut missing = Missing::default();
    let mut last: Option<(u64, Record)> = None;
    for record in records {
        let before = record.before().ok_or(Fault::TooLow(*record))?;
        if let Some((sum, below)) = last {
            let is_get = record.taken == 0;
            if before < sum && !is_get {
                return Err(if below.taken == 0 {
                    Fault::Torn(below, *record)
                } else {
                    Fault::Duplicate(below, *record)
                });
            }
            let gap = before.saturating_sub(sum);
            missing.all += gap;
            missing.largest = missing.largest.max(gap);
        }
        last = Some((record.sum, *record));
    }
    Ok(missing)
}

/// Rule 2: no request at a greater position was answered before this one was sent.
fn check_times(records: &[Record]) -> Result<(), Fault> {
    let mut earliest: Option<&Record> = None;
    for group in records.chunk_by(|a, b| a.position() == b.position()).rev() {
        for record in group {
            if let Some(above) = earliest
                && above.replied < record.sent
            {
                return Err(Fault::Backwards(*above, *record));
            }
        }
        let first = group.iter().min_by_key(|record| record.replied);
        earliest = [earliest, first]
            .into_iter()
            .flatten()
            .min_by_key(|record| record.replied);
    }
    Ok(())
}

/// Rule 3, for the gaps that no failure explains. The requests that can fill a gap can also fill every
/// gap above it, so it is enough to compare, for each gap, all numbers that are missing up to it with
/// all requests that can fill it. `unanswered` are sorted by time.
fn check_gaps(
    records: &[Record],
    mut unanswered: &[Unanswered],
    failures: Option<&Failures>,
) -> Result<(), Fault> {
    // Numbers are skipped after the request below the gap was applied, and before the one above it was.
    let gap_between = |below: &Record, above: &Record| {
        let gap = above.before().unwrap_or(0).saturating_sub(below.sum);
        let is_explained =
            || failures.is_some_and(|failures| failures.overlap(below.sent, above.replied));
        if gap > 0 && is_explained() { 0 } else { gap }
    };
    let pairs = records.windows(2);
    let mut missing: u64 = pairs.map(|pair| gap_between(&pair[0], &pair[1])).sum();
    let mut taken: u64 = unanswered
        .iter()
        .map(|request| u64::from(request.taken))
        .sum();
    let mut earliest = u64::MAX;
    let mut lowest = Ok(());
    for pair in records.windows(2).rev() {
        let [below, above] = [pair[0], pair[1]];
        earliest = earliest.min(above.replied);
        let gap = gap_between(&below, &above);
        if gap == 0 {
            continue;
        }
        while let Some((last, others)) = unanswered.split_last()
            && last.sent > earliest
        {
            taken -= u64::from(last.taken);
            unanswered = others;
        }
        if missing > taken {
            lowest = Err(Fault::Skipped {
                missing,
                unanswered: taken,
                between: (below, above),
                no_failure: failures.is_some(),
            });
        }
        missing -= gap;
    }
    lowest
}

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;
