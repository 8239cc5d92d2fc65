//! Counts the requests that one worker decodes, by dialect and method, and those that it refuses.

use crate::measure::Counter;
use crate::protocol::{ErrorCode, Method, Op};
use crate::shard::ErrorCounts;

/// How many requests one worker has decoded. Only that worker writes it.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    framed: [Counter; Method::ALL.len()],
    classic: [Counter; Method::ALL.len()],
    errors: ErrorCounts,
}

impl RequestCounts {
    /// Counts a framed request.
    #[inline]
    pub(super) fn framed(&self, op: Op) {
        self.framed[op.method() as usize].add(1);
    }

    /// Counts a classic request.
    #[inline]
    pub(super) fn classic(&self, op: Op) {
        self.classic[op.method() as usize].add(1);
    }

    /// Counts a request that cannot be decoded.
    pub(super) fn refused(&self, error: ErrorCode) {
        self.errors.count(None, error);
    }

    /// Returns the errors with which requests were refused.
    pub(crate) fn errors(&self) -> &ErrorCounts {
        &self.errors
    }

    /// Returns the dialect, the method and the number of each kind of requests.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, Method, u64)> {
        let dialects = [("framed", &self.framed), ("classic", &self.classic)];
        dialects.into_iter().flat_map(|(dialect, counts)| {
            let counts = Method::ALL.into_iter().zip(counts);
            counts.map(move |(method, count)| (dialect, method, count.get()))
        })
    }
}
