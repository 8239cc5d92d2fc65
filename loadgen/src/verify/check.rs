//! The checker: whether all replies fit into one order.
//!
//! A topic's counts are linearizable if (1) no number was taken twice, and (2) a request that was
//! sent after the reply to another one arrived has a greater sum. A GET sees at least all sums that
//! were answered before it was sent, and no count sent after its reply gets the sum it saw. The sums
//! of a topic order its requests: a pass from the greatest sum down, with the earliest reply so far,
//! finds every pair that breaks (2), after one sort.
//!
//! (3) No number is skipped: all numbers between the first and the last known sum were taken by
//! requests with a reply, or by no more than the requests without one can have taken.

use std::fmt;

use super::history::{History, Record};
use crate::workload::Names;

/// The result of a check that found no violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub(crate) struct Verdict {
    /// Replies that were checked.
    pub(crate) replies: u64,
    /// Topics of those replies.
    pub(crate) topics: u64,
    /// Numbers that requests with lost replies took.
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
    /// Numbers were skipped, first between these two requests.
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
                 requests without a reply; the first between these two:\n  {a}\n  {b}"
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
pub(crate) fn check(mut history: History, names: &Names) -> Result<Verdict, Violation> {
    history
        .records
        .sort_unstable_by_key(|record| (record.topic, record.position(), record.sent));
    let mut verdict = Verdict::default();
    for records in history.records.chunk_by(|a, b| a.topic == b.topic) {
        let topic = records[0].topic;
        let unanswered = history.unanswered.get(&topic).copied().unwrap_or(0);
        let gaps = check_topic(records, unanswered).map_err(|fault| Violation {
            topic: names.of(topic),
            fault,
        })?;
        verdict.replies += records.len() as u64;
        verdict.topics += 1;
        verdict.gaps += gaps;
    }
    Ok(verdict)
}

/// Checks one topic's records, which are sorted by position. Returns how many numbers went to
/// requests without a reply.
fn check_topic(records: &[Record], unanswered: u64) -> Result<u64, Fault> {
    // Rules 1 and 3, upwards: each count begins at or above the end of the count before it.
    let mut missing = 0;
    let mut first_gap = None;
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
            if before > sum {
                missing += before - sum;
                first_gap.get_or_insert((below, *record));
            }
        }
        last = Some((record.sum, *record));
    }
    // Rule 2, downwards: no request at a greater position was answered before this one was sent.
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
    match first_gap {
        Some(between) if missing > unanswered => Err(Fault::Skipped {
            missing,
            unanswered,
            between,
        }),
        _ => Ok(missing),
    }
}

#[cfg(test)]
mod tests;
