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

use std::fmt;

use super::history::{History, Record, Unanswered};
use crate::plan::Promise;
use crate::workload::Names;

/// The result of a check that found no violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub(crate) struct Verdict {
    /// Replies that were checked.
    pub(crate) replies: u64,
    /// Topics of those replies.
    pub(crate) topics: u64,
    /// Numbers that no reply had: requests without a reply took them. If numbers may be skipped, they
    /// were taken or skipped.
    pub(crate) gaps: u64,
}

/// Replies that do not fit into one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The topic's name.
    topic: String,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    /// Both requests got the same number.
    Duplicate(Record, Record),
    /// The first request was answered before the second was sent, and has the greater sum.
    Backwards(Record, Record),
    /// A GET saw a sum inside a range that one request took at once.
    Torn(Record, Record),
    /// More numbers are missing, up to those between these two requests, than requests without a reply
    /// can have taken.
    Skipped {
        missing: u64,
        unanswered: u64,
        between: (Record, Record),
    },
    /// A sum is lower than the numbers that the request took.
    TooLow(Record),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = &self.topic;
        match &self.fault {
            Fault::Duplicate(a, b) => write!(
                f,
                "topic {topic:?}: the same number went to two requests:\n  {a}\n  {b}"
            ),
            Fault::Backwards(a, b) => write!(
                f,
                "topic {topic:?} went back: the first was answered before the second was sent:\n  \
                 {a}\n  {b}"
            ),
            Fault::Torn(a, b) => write!(
                f,
                "topic {topic:?}: a sum was seen within a range that one request took:\n  {a}\n  {b}"
            ),
            Fault::Skipped {
                missing,
                unanswered,
                between: (a, b),
            } => write!(
                f,
                "topic {topic:?} skipped {missing} numbers, and only {unanswered} can have gone to \
                 requests without a reply that were sent in time; the last between these two:\n  \
                 {a}\n  {b}"
            ),
            Fault::TooLow(a) => {
                write!(
                    f,
                    "topic {topic:?}: a sum lower than what was counted:\n  {a}"
                )
            }
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sum,
            sent,
            replied,
            taken,
            ..
        } = self;
        match taken {
            0 => write!(f, "get {sum}")?,
            1 => write!(f, "count {sum}")?,
            _ => write!(
                f,
                "add {} to {sum}",
                (sum + 1).saturating_sub((*taken).into())
            )?,
        }
        write!(f, ", sent at {sent} ns, answered at {replied} ns")
    }
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
pub(crate) fn check(
    mut history: History,
    names: &Names,
    promise: Promise,
) -> Result<Verdict, Violation> {
    history
        .records
        .sort_unstable_by_key(|record| (record.topic, record.position(), record.sent));
    history
        .unanswered
        .sort_unstable_by_key(|request| (request.topic, request.sent));
    let mut verdict = Verdict::default();
    for records in history.records.chunk_by(|a, b| a.topic == b.topic) {
        let topic = records[0].topic;
        let unanswered = of_topic(&history.unanswered, topic);
        let gaps = check_topic(records, unanswered, promise).map_err(|fault| Violation {
            topic: names.of(topic),
            fault,
        })?;
        verdict.replies += records.len() as u64;
        verdict.topics += 1;
        verdict.gaps += gaps;
    }
    Ok(verdict)
}

/// Returns the requests for `topic` among `unanswered`, which is sorted.
fn of_topic(unanswered: &[Unanswered], topic: u32) -> &[Unanswered] {
    let start = unanswered.partition_point(|request| request.topic < topic);
    let end = unanswered.partition_point(|request| request.topic <= topic);
    &unanswered[start..end]
}

/// Checks one topic's records, which are sorted by position, with its requests without a reply, which
/// are sorted by time. Returns how many numbers are missing.
fn check_topic(
    records: &[Record],
    unanswered: &[Unanswered],
    promise: Promise,
) -> Result<u64, Fault> {
    let missing = check_numbers(records)?;
    check_times(records)?;
    if missing > 0 && promise == Promise::Exact {
        check_gaps(records, unanswered, missing)?;
    }
    Ok(missing)
}

/// Rule 1: each count begins at or above the end of the count before it. Returns how many numbers are
/// missing between them.
fn check_numbers(records: &[Record]) -> Result<u64, Fault> {
    let mut missing = 0;
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
            missing += before.saturating_sub(sum);
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

/// Rule 3, for `missing` numbers in all. The requests that can fill a gap can also fill every gap
/// above it, so it is enough to compare, for each gap, all numbers that are missing up to it with all
/// requests that can fill it.
fn check_gaps(
    records: &[Record],
    mut unanswered: &[Unanswered],
    mut missing: u64,
) -> Result<(), Fault> {
    let mut taken: u64 = unanswered
        .iter()
        .map(|request| u64::from(request.taken))
        .sum();
    let mut earliest = u64::MAX;
    let mut lowest = Ok(());
    for pair in records.windows(2).rev() {
        let [below, above] = [pair[0], pair[1]];
        earliest = earliest.min(above.replied);
        let gap = above.before().unwrap_or(0).saturating_sub(below.sum);
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
            });
        }
        missing -= gap;
    }
    lowest
}

#[cfg(test)]
mod tests;
