//! The checker: whether what the replies said can be one order.
//!
//! A topic's counts are linearizable where (1) no number was taken twice, and (2) a request that
//! was sent after another one's reply had come got a greater sum; a GET sees at least all sums that
//! were answered before it was sent, and no count sent after its reply gets what it saw. The sums
//! of one topic order its requests: walking from the greatest sum down, while keeping the earliest
//! reply seen so far, finds every pair that breaks (2), in one pass after a sort.
//!
//! (3) Nothing is skipped: the numbers between the first and the last known sum were all taken by
//! requests that were answered, or by as many as were never answered.

use std::fmt;

use super::history::{History, Record};
use crate::workload::Names;

/// What was checked and found right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub(crate) struct Verdict {
    /// Replies that were checked.
    pub(crate) replies: u64,
    /// Topics that they are of.
    pub(crate) topics: u64,
    /// Numbers that were taken by requests whose replies were lost.
    pub(crate) gaps: u64,
}

/// What can't be in one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The topic's name.
    topic: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// The same number, to both.
    Twice(Record, Record),
    /// The first was answered before the second was sent, and has the greater sum.
    Backwards(Record, Record),
    /// A GET saw a sum inside of a range that one request took at once.
    Torn(Record, Record),
    /// Numbers that nobody got, between these two.
    Skipped {
        missing: u64,
        unanswered: u64,
        between: (Record, Record),
    },
    /// A sum lower than the numbers that it stands for.
    TooLow(Record),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = &self.topic;
        match &self.what {
            What::Twice(a, b) => write!(
                f,
                "topic {topic:?}: the same number went to two requests:\n  {a}\n  {b}"
            ),
            What::Backwards(a, b) => write!(
                f,
                "topic {topic:?} went back: the first was answered before the second was sent:\n  \
                 {a}\n  {b}"
            ),
            What::Torn(a, b) => write!(
                f,
                "topic {topic:?}: a sum was seen within a range that one request took:\n  {a}\n  {b}"
            ),
            What::Skipped {
                missing,
                unanswered,
                between: (a, b),
            } => write!(
                f,
                "topic {topic:?} skipped {missing} numbers, and only {unanswered} can have gone to \
                 requests without a reply; the first between these two:\n  {a}\n  {b}"
            ),
            What::TooLow(a) => {
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
    /// Where it stands among the requests of its topic: a GET after the count that it saw.
    fn place(&self) -> (u64, bool) {
        (self.sum, self.taken == 0)
    }

    /// The sum before the first number that it took; for a GET, the sum.
    fn before(&self) -> Option<u64> {
        self.sum.checked_sub(self.taken.into())
    }
}

/// Checks a whole history.
///
/// # Errors
///
/// The first violation found: of the lowest topic by number, and there, in the order above.
pub(crate) fn check(mut history: History, names: &Names) -> Result<Verdict, Violation> {
    history
        .records
        .sort_unstable_by_key(|record| (record.topic, record.place(), record.sent));
    let mut verdict = Verdict::default();
    for records in history.records.chunk_by(|a, b| a.topic == b.topic) {
        let topic = records[0].topic;
        let unanswered = history.unanswered.get(&topic).copied().unwrap_or(0);
        let gaps = check_topic(records, unanswered).map_err(|what| Violation {
            topic: names.of(topic),
            what,
        })?;
        verdict.replies += records.len() as u64;
        verdict.topics += 1;
        verdict.gaps += gaps;
    }
    Ok(verdict)
}

/// Checks one topic's records, which are sorted by place. Returns how many numbers went to requests
/// without a reply.
fn check_topic(records: &[Record], unanswered: u64) -> Result<u64, What> {
    // The numbers, from below: each count begins where the one before it ended, or above.
    let mut missing = 0;
    let mut first_gap = None;
    let mut last: Option<(u64, Record)> = None;
    for record in records {
        let before = record.before().ok_or(What::TooLow(*record))?;
        if let Some((sum, below)) = last {
            let is_get = record.taken == 0;
            if before < sum && !is_get {
                return Err(if below.taken == 0 {
                    What::Torn(below, *record)
                } else {
                    What::Twice(below, *record)
                });
            }
            if before > sum {
                missing += before - sum;
                first_gap.get_or_insert((below, *record));
            }
        }
        last = Some((record.sum, *record));
    }
    // The times, from above: nothing with a greater place was answered before this was sent.
    let mut earliest: Option<&Record> = None;
    for group in records.chunk_by(|a, b| a.place() == b.place()).rev() {
        for record in group {
            if let Some(above) = earliest
                && above.replied < record.sent
            {
                return Err(What::Backwards(*above, *record));
            }
        }
        let first = group.iter().min_by_key(|record| record.replied);
        earliest = [earliest, first]
            .into_iter()
            .flatten()
            .min_by_key(|record| record.replied);
    }
    match first_gap {
        Some(between) if missing > unanswered => Err(What::Skipped {
            missing,
            unanswered,
            between,
        }),
        _ => Ok(missing),
    }
}

#[cfg(test)]
mod tests;
