//! Requests that a server refused without applying them, and that are sent again (`--reconnect`).

use std::collections::VecDeque;

use super::in_flight::Pending;

/// How long to wait before a request is sent again, in nanoseconds: a server refuses at once, so without
/// a pause the load would be nothing else. Little, compared with a failover.
const PAUSE: u64 = 10_000_000;

/// How many requests are sent again in each [`PAUSE`]. If more wait, they wait longer: in an open loop, all
/// that are due while an owner is away wait together, and would be most of the load.
const IN_EACH_PAUSE: u64 = 256;

/// The requests of one thread that wait to be sent again.
#[derive(Debug, Default)]
pub(super) struct Resends {
    enabled: bool,
    /// The time from which each may be sent, and the number of its connection in the thread. They are
    /// sent in this order, so one whose time has come may wait for those before it.
    waiting: VecDeque<(u64, usize, Pending)>,
}

impl Resends {
    /// Returns an empty list. It takes requests if it is `enabled`.
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Adds a request that was refused at `now` on a connection.
    pub(super) fn add(&mut self, connection: usize, pending: Pending, now: u64) {
        let pauses = 1 + self.waiting.len() as u64 / IN_EACH_PAUSE;
        self.waiting
            .push_back((now + pauses * PAUSE, connection, pending));
    }

    /// Adds a request that can be sent again at once.
    pub(super) fn add_first(&mut self, connection: usize, pending: Pending) {
        self.waiting.push_front((0, connection, pending));
    }

    /// Returns the connection and the topic of the next request that may be sent at `now`.
    pub(super) fn next(&self, now: u64) -> Option<(usize, u32)> {
        let (from, connection, pending) = self.waiting.front()?;
        (*from <= now).then_some((*connection, pending.topic))
    }

    /// Removes and returns the next request.
    pub(super) fn take(&mut self) -> Option<Pending> {
        self.waiting.pop_front().map(|(_, _, pending)| pending)
    }

    /// Returns how many requests wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Drops all requests that wait. Returns how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        let dropped = self.waiting.len() as u64;
        self.waiting.clear();
        dropped
    }
}

#[cfg(test)]
mod tests {
    use globalcounter::protocol::Op;

    use super::*;

    fn request(topic: u32) -> Pending {
        Pending {
            op: Op::Count,
            topic,
            due: 0,
            sent: 0,
        }
    }

    #[test]
    fn requests_wait_longer_the_more_of_them_wait() {
        let mut resends = Resends::new(true);
        let all = 10 * IN_EACH_PAUSE as u32;
        for topic in 0..all {
            resends.add(1, request(topic), 0);
        }
        let mut sent = 0;
        for pauses in 0..=10 {
            while let Some((connection, topic)) = resends.next(pauses * PAUSE) {
                assert_eq!((connection, topic), (1, sent), "in order");
                resends.take();
                sent += 1;
            }
            assert_eq!(u64::from(sent), pauses * IN_EACH_PAUSE);
        }
        resends.add(1, request(7), 0);
        resends.add_first(2, request(8));
        assert_eq!(resends.next(0), Some((2, 8)), "at once");
        assert_eq!(resends.clear(), 2);
        assert_eq!(resends.next(u64::MAX), None);
    }
}
