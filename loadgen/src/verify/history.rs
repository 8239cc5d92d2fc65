//! Every reply of a run.

use globalcounter::protocol::Op;

/// The most requests that a run keeps, with and without a reply: they take 2 GiB, and as much again
/// while the list grows. The run ends when there are as many.
pub(crate) const MAX_RECORDS: usize = 1 << 26;

/// Bytes per reply.
pub(crate) const RECORD_LEN: usize = size_of::<Record>();

/// A reply. Times are nanoseconds since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// The sum in the reply: the last number that a count took, or the sum that a GET saw.
    pub(super) sum: u64,
    /// When the request was made, or a little before.
    pub(super) sent: u64,
    /// When the reply arrived, or a little after.
    pub(super) replied: u64,
    pub(super) topic: u32,
    /// How many numbers the request took, up to the sum. A GET takes none.
    pub(super) taken: u32,
}

/// A request without a reply. It was applied once, at any time after it was sent, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unanswered {
    /// When it was made, or a little before.
    pub(super) sent: u64,
    pub(super) topic: u32,
    /// How many numbers it takes if it is applied, at least one.
    pub(super) taken: u32,
}

/// The replies of a run, and its requests without a reply.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(super) records: Vec<Record>,
    /// Requests without a reply that take numbers.
    pub(super) unanswered: Vec<Unanswered>,
    /// The most requests to keep; 0 if they are not recorded.
    limit: usize,
}

/// Returns how many numbers `op` takes.
fn taken_by(op: Op) -> u32 {
    match op {
        Op::Count => 1,
        Op::Add(n) => n.get(),
        _ => 0,
    }
}

impl History {
    /// Returns a history that records replies: one thread's share of [`MAX_RECORDS`].
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            limit: MAX_RECORDS / threads.max(1),
            ..Self::default()
        }
    }

    /// Returns whether replies are recorded.
    #[inline]
    pub(crate) fn is_recording(&self) -> bool {
        self.limit > 0
    }

    /// Returns whether the most requests are recorded.
    pub(crate) fn is_full(&self) -> bool {
        self.is_recording() && self.records.len() + self.unanswered.len() >= self.limit
    }

    /// Records a reply to `op`.
    pub(crate) fn reply(&mut self, topic: u32, op: Op, sum: u64, sent: u64, replied: u64) {
        self.records.push(Record {
            sum,
            sent,
            replied,
            topic,
            taken: taken_by(op),
        });
    }

    /// Records a request without a reply, which may have been applied.
    pub(crate) fn unanswered(&mut self, topic: u32, op: Op, sent: u64) {
        let taken = taken_by(op);
        if self.is_recording() && taken > 0 {
            let request = Unanswered { sent, topic, taken };
            self.unanswered.push(request);
        }
    }

    /// Adds replies of the same run, with times of the same clock.
    pub(crate) fn merge(&mut self, other: Self) {
        if self.records.is_empty() {
            self.records = other.records;
        } else {
            self.records.extend(other.records);
        }
        self.unanswered.extend(other.unanswered);
    }

    /// Adds replies of a later run, whose clock started again at 0.
    pub(crate) fn append(&mut self, mut later: Self) {
        // All later requests were made after all earlier ones were sent, and answered or given up.
        let replied = self.records.iter().map(|record| record.replied);
        let sent = self.unanswered.iter().map(|request| request.sent);
        let began = replied.chain(sent).max().map_or(0, |last| last + 1);
        for record in &mut later.records {
            record.sent += began;
            record.replied += began;
        }
        for request in &mut later.unanswered {
            request.sent += began;
        }
        self.merge(later);
    }

    /// Returns the number of recorded replies.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}
