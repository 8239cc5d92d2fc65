//! What the server waits for at one connection, since when, and when it has waited too long.

use std::cell::Cell;

use super::deadlines::Tick;
use super::limits::Timeouts;
use crate::server::status::CloseReason;

/// The input that a connection's task waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The first byte of the connection.
    FirstByte,
    /// The rest of a request.
    Rest,
    /// Another request.
    #[default]
    Request,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Waiting {
    input: Cell<Awaited>,
    input_since: Cell<Tick>,
    /// Since when the socket has accepted none of the replies that wait; `None` if none wait.
    blocked_since: Cell<Option<Tick>>,
    /// When the connection's entry in the worker's deadlines is due, if it has one.
    pub(super) due: Cell<Option<Tick>>,
    /// The limit that it has reached.
    pub(super) reached: Cell<Option<CloseReason>>,
}

/// What a connection's task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// It waits for input, and the peer waits for nothing.
    Quiet,
    /// It waits for input, and has requests or replies in progress.
    Reading,
    /// It does not read.
    Busy,
}

/// What to do about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Close(CloseReason),
    /// Look again at this time.
    WaitUntil(Tick),
    /// The server would wait for ever.
    WaitForEver,
}

impl Waiting {
    /// The task begins to wait for input. Returns when it has waited too long, if that is limited.
    pub(super) fn wait_for(
        &self,
        input: Awaited,
        timeouts: &Timeouts,
        now: impl FnOnce() -> Tick,
    ) -> Option<Tick> {
        self.input.set(input);
        let timeout = timeouts.of(input)?;
        let now = now();
        self.input_since.set(now);
        Some(now + timeout)
    }

    /// Returns what the task waited for last.
    pub(super) fn awaited(&self) -> Awaited {
        self.input.get()
    }

    /// The socket has accepted some replies, or none, and others wait. Returns when it will have been
    /// blocked for too long, if that is limited.
    pub(super) fn block(
        &self,
        some: bool,
        timeouts: &Timeouts,
        now: impl FnOnce() -> Tick,
    ) -> Option<Tick> {
        let timeout = timeouts.unread?;
        let since = match self.blocked_since.get() {
            Some(since) if !some => since,
            _ => now(),
        };
        self.blocked_since.set(Some(since));
        Some(since + timeout)
    }

    /// The socket has accepted all replies.
    pub(super) fn unblock(&self) {
        self.blocked_since.set(None);
    }

    /// Decides about the connection.
    pub(super) fn check(&self, now: Tick, task: Task, timeouts: &Timeouts) -> Verdict {
        let input = self.input.get();
        let waits = match task {
            Task::Quiet => true,
            Task::Reading => input != Awaited::Request,
            Task::Busy => false,
        };
        let input = timeouts.of(input).map(|timeout| {
            // The time in which the server does not wait for the peer does not count.
            let since = if waits { self.input_since.get() } else { now };
            (since + timeout, input.reason())
        });
        let unread = self.blocked_since.get().zip(timeouts.unread);
        let unread = unread.map(|(since, timeout)| (since + timeout, CloseReason::Unread));
        let first = input.into_iter().chain(unread).min_by_key(|&(due, _)| due);
        match first {
            None => Verdict::WaitForEver,
            Some((due, reason)) if due <= now => Verdict::Close(reason),
            Some((due, _)) => Verdict::WaitUntil(due),
        }
    }
}

impl Awaited {
    fn reason(self) -> CloseReason {
        match self {
            Self::FirstByte => CloseReason::FirstByte,
            Self::Rest => CloseReason::Request,
            Self::Request => CloseReason::Idle,
        }
    }
}

impl Timeouts {
    fn of(&self, input: Awaited) -> Option<Tick> {
        match input {
            Awaited::FirstByte => self.first_byte,
            Awaited::Rest => self.request,
            Awaited::Request => self.idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        first_byte: None,
        request: Some(30),
        idle: Some(100),
        unread: Some(60),
    };

    #[test]
    fn a_connection_is_closed_when_the_server_has_waited_too_long() {
        let waiting = Waiting::default();
        let check = |now| waiting.check(now, Task::Quiet, &TIMEOUTS);
        assert_eq!(
            waiting.wait_for(Awaited::FirstByte, &TIMEOUTS, || unreachable!()),
            None
        );
        assert_eq!(check(1_000), Verdict::WaitForEver);
        for (input, timeout, reason) in [
            (Awaited::Rest, 30, CloseReason::Request),
            (Awaited::Request, 100, CloseReason::Idle),
        ] {
            let due = waiting.wait_for(input, &TIMEOUTS, || 7);
            assert_eq!(due, Some(7 + timeout));
            assert_eq!(check(6 + timeout), Verdict::WaitUntil(7 + timeout));
            assert_eq!(check(7 + timeout), Verdict::Close(reason));
        }
    }

    #[test]
    fn only_time_in_which_the_server_waits_counts() {
        let waiting = Waiting::default();
        waiting.wait_for(Awaited::Rest, &TIMEOUTS, || 0);
        let check = |task| waiting.check(50, task, &TIMEOUTS);
        assert_eq!(check(Task::Busy), Verdict::WaitUntil(80));
        assert_eq!(check(Task::Reading), Verdict::Close(CloseReason::Request));
        waiting.wait_for(Awaited::Request, &TIMEOUTS, || 0);
        let check = |task| waiting.check(500, task, &TIMEOUTS);
        assert_eq!(check(Task::Reading), Verdict::WaitUntil(600));
        assert_eq!(check(Task::Quiet), Verdict::Close(CloseReason::Idle));
    }

    #[test]
    fn a_peer_that_reads_a_little_is_not_blocked() {
        let waiting = Waiting::default();
        let check = |now| waiting.check(now, Task::Busy, &TIMEOUTS);
        waiting.wait_for(Awaited::FirstByte, &TIMEOUTS, || unreachable!());
        assert_eq!(waiting.block(true, &TIMEOUTS, || 10), Some(70));
        assert_eq!(waiting.block(false, &TIMEOUTS, || 20), Some(70));
        assert_eq!(waiting.block(true, &TIMEOUTS, || 30), Some(90));
        assert_eq!(check(89), Verdict::WaitUntil(90));
        assert_eq!(check(90), Verdict::Close(CloseReason::Unread));
        waiting.unblock();
        assert_eq!(check(90), Verdict::WaitForEver);
    }
}
