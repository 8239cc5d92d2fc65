//! Where a thread's requests come from.

use super::hello::ConnectionsByTopic;
use crate::workload::{Arrivals, Request, Requests};

/// A source of requests.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) requests: Requests,
    /// The number of requests that are still to be measured. Requests of the warm-up do not count.
    pub(super) left: u64,
}

/// When requests are made, and from which sources.
#[derive(Debug)]
pub(super) enum Sources {
    /// Each connection has its own source and makes a request when a reply has arrived.
    Closed {
        pipeline: usize,
        by_connection: Vec<Source>,
    },
    /// The thread has one source for all its connections and makes requests when they are due.
    Open(Box<Open>),
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) arrivals: Arrivals,
    pub(super) source: Source,
    /// The connections that a topic's requests may use. `None` if they may use all.
    pub(super) by_topic: Option<ConnectionsByTopic>,
}

impl Source {
    /// Returns the next request, which is due at `due`; before `start` it belongs to the warm-up.
    /// `None` if all requests were made.
    #[inline]
    pub(super) fn next(&mut self, due: u64, start: u64) -> Option<Request> {
        if due >= start {
            self.left = self.left.checked_sub(1)?;
        }
        self.requests.next()
    }
}
