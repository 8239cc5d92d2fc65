//! What a shard tells to those who watch it: how many requests were refused, by method and error code,
//! and how much memory its topics take.

use crate::measure::Counter;
use crate::protocol::{ErrorCode, Method};

const CODES: usize = ErrorCode::ALL.len();

/// How many requests were refused with each error. Whoever runs the shard, or the worker that decodes, writes it; any
/// thread may read it.
#[derive(Debug, Default)]
pub struct ErrorCounts {
    by_method: [[Counter; CODES]; Method::ALL.len()],
    /// Of requests whose method is not known, since they could not be decoded.
    unknown: [Counter; CODES],
}

/// What a shard tells to those who watch it. Whoever runs the shard writes it; any thread may read it.
#[derive(Debug, Default)]
pub struct ShardCounts {
    /// The errors among the shard's replies.
    pub errors: ErrorCounts,
    table_bytes: Counter,
    /// Requests that wait for a range that is on its way to or from this node.
    pub(super) held: Counter,
    /// Topics that were refused because their maker had created as many as it may.
    pub(super) over_maker: Counter,
}

impl ShardCounts {
    /// Returns the bytes of memory that the shard's topics take.
    #[must_use]
    pub fn table_bytes(&self) -> u64 {
        self.table_bytes.get()
    }

    /// Returns how many topics were refused because of the limit of their maker.
    #[must_use]
    pub fn over_maker(&self) -> u64 {
        self.over_maker.get()
    }

    /// Returns how many requests wait for a range that is on its way to or from this node of a cluster.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.get()
    }

    pub(super) fn set_table_bytes(&self, bytes: usize) {
        self.table_bytes.set(bytes as u64);
    }
}

impl ErrorCounts {
    /// Counts a refusal of a request with this method, if it is known. No other thread may do so at
    /// the same time.
    pub(crate) fn count(&self, method: Option<Method>, error: ErrorCode) {
        let counts = match method {
            Some(method) => &self.by_method[method as usize],
            None => &self.unknown,
        };
        let index = ErrorCode::ALL.iter().position(|&known| known == error);
        if let Some(count) = index.and_then(|index| counts.get(index)) {
            count.add(1);
        }
    }

    /// Returns for each method, and at last for requests whose method is not known, each error with
    /// its count.
    pub fn all(&self) -> impl Iterator<Item = (Option<Method>, ErrorCode, u64)> {
        let methods = Method::ALL.into_iter().map(Some).zip(&self.by_method);
        let all = methods.chain([(None, &self.unknown)]);
        all.flat_map(|(method, counts)| {
            let counts = ErrorCode::ALL.into_iter().zip(counts);
            counts.map(move |(error, count)| (method, error, count.get()))
        })
    }
}
