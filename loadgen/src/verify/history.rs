//! Every reply of a run.

use globalcounter::protocol::Op;

use super::failures::Failures;
use crate::workload::ADD;

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
    pub(super) taken: u16,
    /// The number of the server that answered.
    pub(super) server: u16,
}

/// A request without a reply, or with one that says that its outcome is unknown. It was applied once,
/// at any time after it was sent, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unanswered {
    /// When it was made, or a little before.
    pub(super) sent: u64,
    pub(super) topic: u32,
    /// How many numbers it takes if it is applied, at least one.
    pub(super) taken: u16,
}

/// A request that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) topic: u32,
    pub(crate) op: Op,
    /// When it was made, or a little before.
    pub(crate) at: u64,
    /// The number of the server that it was sent to.
    pub(crate) server: u16,
}

/// The replies of a run, and its requests without a reply.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(super) records: Vec<Record>,
    /// Requests without a reply that take numbers.
    pub(super) unanswered: Vec<Unanswered>,
    /// When servers were seen to fail.
    pub(super) failures: Failures,
    /// The most requests to keep; 0 if they are not recorded.
    limit: usize,
}

/// Returns how many numbers `op` takes.
fn taken_by(op: Op) -> u16 {
    match op {
        Op::Count => 1,
        Op::Add(n) => u16::try_from(n.get()).unwrap_or(u16::MAX),
        _ => 0,
    }
}

/// The only number that a workload adds fits into a record.
const _: () = assert!(ADD.get() <= u16::MAX as u32);

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

    /// Records a reply with its sum.
    pub(crate) fn reply(&mut self, request: Sent, sum: u64, replied: u64) {
        self.records.push(Record {
            sum,
            sent: request.at,
            replied,
            topic: request.topic,
            taken: taken_by(request.op),
            server: request.server,
        });
    }

    /// Records a request without a reply, which may have been applied.
    pub(crate) fn unanswered(&mut self, request: Sent) {
        let taken = taken_by(request.op);
        if self.is_recording() && taken > 0 {
            self.unanswered.push(Unanswered {
                sent: request.at,
                topic: request.topic,
                taken,
            });
        }
    }

    /// Records that a server failed between two times, as far as its clients can tell.
    pub(crate) fn failure(&mut self, from: u64, to: u64) {
        if self.is_recording() {
            self.failures.add(from, to);
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
        self.failures.merge(other.failures);
    }

    /// Adds replies of a later run, whose clock started again at 0. Returns the time at which it began.
    pub(crate) fn append(&mut self, mut later: Self) -> u64 {
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
        later.failures.shift(began);
        self.merge(later);
        began
    }

    /// Returns the number of recorded replies.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}
