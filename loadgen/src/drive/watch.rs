//! Ends a run whose server has fallen silent, and what threads tell each other about that.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::plan::Plan;

/// Over UDP, a run fails if the server sends nothing for the timeout of a request plus this time,
/// while requests are in flight.
const SILENCE: Duration = Duration::from_secs(5);

/// Signals between the threads of a run.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// A thread has failed, so the others stop as well.
    pub(super) failed: AtomicBool,
    /// A thread cannot record more replies (`--verify`), so all threads finish early.
    pub(super) full: AtomicBool,
    /// When a server answered last, in any thread.
    pub(super) last_reply: AtomicU64,
}

/// Watches whether a thread's servers answer.
#[derive(Debug)]
pub(super) struct Watch {
    /// How long they may be silent, in nanoseconds.
    limit: u64,
    /// With several servers, it is enough if one of them answers, in any thread.
    has_several_servers: bool,
    /// The last check at which a new reply had arrived, or nothing was in flight.
    silent_since: u64,
}

impl Watch {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut limit = plan.timeout;
        if plan.target.transport().is_udp() {
            limit += SILENCE;
        }
        // A connection that was opened again may wait as long for the server to accept it.
        limit = limit.max(plan.reconnect.unwrap_or_default());
        Self {
            limit: limit.as_nanos() as u64,
            has_several_servers: plan.has_several_servers(),
            silent_since: 0,
        }
    }

    /// Checks at `now` whether the servers answer. `outstanding` are the requests without an answer, and
    /// `is_any_open` says whether any connection is open.
    ///
    /// # Errors
    ///
    /// No server has answered for too long.
    pub(super) fn check(
        &mut self,
        now: u64,
        outstanding: usize,
        is_any_open: bool,
        mut last_reply: u64,
        signals: &Signals,
    ) -> Result<()> {
        let mut is_idle = outstanding == 0;
        if self.has_several_servers {
            let others = signals.last_reply.fetch_max(last_reply, Ordering::Relaxed);
            last_reply = last_reply.max(others);
            is_idle &= is_any_open;
        }
        if is_idle || last_reply > self.silent_since {
            self.silent_since = now;
        }
        if now - self.silent_since <= self.limit {
            return Ok(());
        }
        let limit = Duration::from_nanos(self.limit);
        if self.has_several_servers {
            bail!("no server has answered for {limit:?}");
        }
        bail!("the server has not answered for {limit:?}, with {outstanding} requests in flight");
    }
}
