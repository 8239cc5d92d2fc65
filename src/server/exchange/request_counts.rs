//! Counts the requests that one worker decodes, by dialect and method, and those that it refuses. Only that worker writes the
//! counts, so it needs no locked instructions; any thread may read them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::{ErrorCode, Op};
use crate::shard::ErrorCounts;

/// The methods of framed and classic requests, in the order of [`index`].
const METHODS: [&str; 6] = ["count", "reset", "add", "get", "delete", "advance"];

/// How many requests one worker has decoded.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    framed: [AtomicU64; METHODS.len()],
    classic: [AtomicU64; METHODS.len()],
    errors: ErrorCounts,
}

impl RequestCounts {
    /// Counts a framed request.
    #[inline]
    pub(super) fn framed(&self, op: Op) {
        add_unshared(&self.framed[index(op)], 1);
    }

    /// Counts a classic request.
    #[inline]
    pub(super) fn classic(&self, op: Op) {
        add_unshared(&self.classic[index(op)], 1);
    }

    /// Counts a request that cannot be decoded.
    pub(super) fn refused(&self, error: ErrorCode) {
        self.errors.count(error);
    }

    /// Returns the errors with which requests were refused.
    pub(crate) fn errors(&self) -> &ErrorCounts {
        &self.errors
    }

    /// Returns the dialect, the method and the number of each kind of requests.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let dialects = [("framed", &self.framed), ("classic", &self.classic)];
        dialects.into_iter().flat_map(|(dialect, counts)| {
            let counts = METHODS.iter().zip(counts);
            counts.map(move |(&method, count)| (dialect, method, count.load(Ordering::Relaxed)))
        })
    }
}

/// Adds to a counter that only this thread writes, so no locked instruction is needed.
#[inline]
pub(crate) fn add_unshared(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

/// Returns the index of a method in [`METHODS`]. The operations that only Redis clients have are
/// counted by their commands.
#[inline]
fn index(op: Op) -> usize {
    if op == Op::Count {
        return 0; // the most frequent one, without a jump table
    }
    match op {
        Op::Count => 0,
        Op::Reset | Op::Set { .. } => 1,
        Op::Add(_) | Op::Incr(_) => 2,
        Op::Get => 3,
        Op::Delete | Op::GetDelete => 4,
        Op::Advance(_) => 5,
    }
}
