//! What every reply of a run said.

use std::collections::HashMap;

use globalcounter::protocol::Op;

/// The most replies that a run keeps: 2 GiB of them, and as much again while the list
/// grows. The run ends when they are there.
pub(crate) const RECORDS: usize = 1 << 26;

/// Bytes that a reply takes.
pub(crate) const RECORD_LEN: usize = size_of::<Record>();

/// What a reply said. Times are nanoseconds of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// The sum: of a count the last number it took, of a GET what it saw.
    pub(super) sum: u64,
    /// When it was asked, or a little before.
    pub(super) sent: u64,
    /// When the reply was there, or a little after.
    pub(super) replied: u64,
    pub(super) topic: u32,
    /// How many numbers were taken: those up to the sum. A GET takes none.
    pub(super) taken: u32,
}

/// Replies of a run, and requests whose reply never came.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(super) records: Vec<Record>,
    /// By topic, how many numbers may have been taken by requests that nobody heard of again.
    pub(super) unanswered: HashMap<u32, u64>,
    /// How many records make it full; 0 where it keeps none.
    limit: usize,
}

/// How many numbers `op` takes.
fn taken_by(op: Op) -> u32 {
    match op {
        Op::Count => 1,
        Op::Add(n) => n.get(),
        _ => 0,
    }
}

impl History {
    /// One that keeps replies: a share of [`RECORDS`] for each of so many threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            limit: RECORDS / threads.max(1),
            ..Self::default()
        }
    }

    /// Whether it keeps anything.
    #[inline]
    pub(crate) fn keeps(&self) -> bool {
        self.limit > 0
    }

    /// Whether it has as much as it may.
    pub(crate) fn is_full(&self) -> bool {
        self.keeps() && self.records.len() >= self.limit
    }

    /// Keeps a reply to `op`.
    pub(crate) fn reply(&mut self, topic: u32, op: Op, sum: u64, sent: u64, replied: u64) {
        self.records.push(Record {
            sum,
            sent,
            replied,
            topic,
            taken: taken_by(op),
        });
    }

    /// Keeps that a request to `op` may have been applied, and with which result is not known.
    pub(crate) fn unanswered(&mut self, topic: u32, op: Op) {
        let taken = taken_by(op);
        if self.keeps() && taken > 0 {
            *self.unanswered.entry(topic).or_default() += u64::from(taken);
        }
    }

    /// Adds what was seen at the same time, by the same clock.
    pub(crate) fn add(&mut self, other: Self) {
        if self.records.is_empty() {
            self.records = other.records;
        } else {
            self.records.extend(other.records);
        }
        for (topic, times) in other.unanswered {
            *self.unanswered.entry(topic).or_default() += times;
        }
    }

    /// Adds what was seen after all of this, by a clock that began anew.
    pub(crate) fn then(&mut self, mut later: Self) {
        // All of the later ones were asked after all of these were answered.
        let past = self.records.iter().map(|record| record.replied).max();
        let began = past.map_or(0, |past| past + 1);
        for record in &mut later.records {
            record.sent += began;
            record.replied += began;
        }
        self.add(later);
    }

    /// How many replies it has.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}
