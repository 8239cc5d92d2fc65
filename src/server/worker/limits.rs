//! The limits of a worker's connections: what they may hold, and how long the server waits for their
//! peers. It knows no connection.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use crossbeam_utils::CachePadded;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::deadlines::{Deadlines, Tick};
use crate::server::config::ConnectionLimits;

/// How many bytes a connection may hold while the connections of its worker are near their limit
/// together.
const TIGHT_LIMIT: usize = 64 * 1024;

/// The limits of one worker's connections.
pub(super) struct Limits {
    pub(super) in_flight: usize,
    unsent: usize,
    /// The most bytes that all connections may hold.
    max_held: usize,
    /// How many bytes all connections hold: unsent replies, and requests that are incomplete or not
    /// served yet. Only this worker writes it.
    held: Arc<CachePadded<AtomicUsize>>,
    pub(super) timeouts: Timeouts,
    pub(super) deadlines: Deadlines,
    /// Wakers of the connections that are read again when all hold less than the limit.
    stalled: RefCell<Vec<Waker>>,
    /// Wakes the task that enforces the limits.
    due: Notify,
}

/// How long the server waits for a peer, in ticks; `None`: for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) first_byte: Option<Tick>,
    pub(super) request: Option<Tick>,
    pub(super) idle: Option<Tick>,
    pub(super) unread: Option<Tick>,
}

impl Limits {
    /// Creates the limits of a worker without connections. `held` is updated, for those who watch.
    pub(super) fn new(limits: &ConnectionLimits, held: Arc<CachePadded<AtomicUsize>>) -> Self {
        let deadlines = Deadlines::new(limits.shortest_timeout());
        let ticks = |timeout: Option<_>| timeout.map(|timeout| deadlines.ticks(timeout));
        Self {
            in_flight: limits.in_flight,
            unsent: limits.unsent,
            max_held: limits.held,
            held,
            timeouts: Timeouts {
                first_byte: ticks(limits.first_byte_timeout),
                request: ticks(limits.request_timeout),
                idle: ticks(limits.idle_timeout),
                unread: ticks(limits.unread_timeout),
            },
            deadlines,
            stalled: RefCell::default(),
            due: Notify::new(),
        }
    }

    /// Returns how many bytes of replies a connection may hold now.
    pub(super) fn unsent(&self) -> usize {
        match self.has_room() {
            true => self.unsent,
            false => self.unsent.min(TIGHT_LIMIT),
        }
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns whether the connections together hold less than half of their limit.
    pub(super) fn has_room(&self) -> bool {
        self.held() < self.max_held / 2
    }

    /// Updates the number of bytes that a connection holds.
    pub(super) fn change_held(&self, before: usize, after: usize) {
        let all_before = self.held();
        let all = all_before + after - before;
        self.held.store(all, Ordering::Relaxed);
        if (all > self.max_held) != (all_before > self.max_held) {
            self.crossed();
        }
    }

    #[cold]
    fn crossed(&self) {
        if self.held() > self.max_held {
            self.due.notify_one();
        } else {
            for waker in self.stalled.take() {
                waker.wake();
            }
        }
    }

    /// Returns whether all connections together hold too much, so that none may be read. If so, `waker`
    /// is woken when that has changed.
    pub(super) fn exceeded(&self, waker: &Waker) -> bool {
        let exceeded = self.held() > self.max_held;
        if exceeded {
            self.stalled.borrow_mut().push(waker.clone());
        }
        exceeded
    }

    /// Returns how many bytes have to be freed: none up to the limit. Above it an eighth more than the
    /// excess, so that connections are not looked through again for each further byte.
    pub(super) fn excess(&self) -> usize {
        let held = self.held();
        match held > self.max_held {
            true => held - (self.max_held - self.max_held / 8),
            false => 0,
        }
    }

    /// Adds the entry of a connection that has none.
    pub(super) fn insert_deadline(&self, due: Tick, index: u32) {
        if self.deadlines.insert(due, index) {
            self.due.notify_one(); // the task slept without a deadline
        }
    }

    /// Waits until something may have to be done about a connection.
    pub(super) async fn due(&self) {
        let due = self.due.notified();
        match self.deadlines.period() {
            // An error means that a tick is over.
            Some(tick) => drop(timeout(tick, due).await),
            None => due.await,
        }
        self.deadlines.update();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(held: usize) -> Limits {
        let limits = ConnectionLimits {
            held,
            ..ConnectionLimits::default()
        };
        Limits::new(&limits, Arc::default())
    }

    #[test]
    fn connections_may_hold_little_from_half_of_the_limit_on() {
        let limits = limits(1_000);
        limits.change_held(0, 499);
        assert_eq!(limits.unsent(), ConnectionLimits::DEFAULT_UNSENT);
        limits.change_held(499, 500);
        assert_eq!(limits.unsent(), TIGHT_LIMIT);
        limits.change_held(500, 1_000);
        assert!(!limits.exceeded(Waker::noop()));
        assert_eq!(limits.excess(), 0);
        limits.change_held(1_000, 1_001);
        assert!(limits.exceeded(Waker::noop()));
        assert_eq!(limits.excess(), 126);
    }
}
