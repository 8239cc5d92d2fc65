//! The trait of a connection, with the operations that a thread's loop needs from every transport.

use std::time::Duration;

use anyhow::Result;
use globalcounter::server::sys::Received;
use mio::event::Event;
use mio::{Registry, Token};

use super::in_flight::{InFlight, Pending, ReplyMatch};
use super::resends::Resends;
use super::schedule::Schedule;
use super::tally::Tally;
use crate::target::{Decoded, Fate, Outcome, Target};

/// How long a connection may take to open.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What all connections of a thread share while they work.
pub(super) struct Shared {
    pub(super) target: &'static dyn Target,
    pub(super) schedule: Schedule,
    pub(super) tally: Tally,
    pub(super) resends: Resends,
    /// The number of the connection that is being used, in its thread.
    pub(super) connection: usize,
    /// Read buffer for streams.
    pub(super) buffer: Box<[u8]>,
    /// Receive buffer for datagrams. `None` while a connection uses it.
    pub(super) received: Option<Box<Received>>,
}

/// A connection, or UDP socket, that requests are made on.
pub(super) trait Connection {
    /// Registers for events. A connection that opens sockets later keeps the registry.
    fn register(&mut self, registry: &Registry, token: Token) -> Result<()>;

    /// Returns the requests in flight.
    fn in_flight(&self) -> &InFlight;

    /// Returns the most requests in flight in an open loop.
    fn limit(&self) -> usize {
        self.in_flight().limit()
    }

    /// Returns whether requests can be made.
    fn is_open(&self) -> bool {
        true
    }

    /// Opens a closed connection if that is possible now. Returns whether it was opened.
    fn reopen(&mut self, _shared: &mut Shared) -> Result<bool> {
        Ok(false)
    }

    /// Makes a request; [`flush`](Self::flush) sends it.
    fn queue(&mut self, pending: Pending, topic: &[u8], shared: &mut Shared) -> Result<()>;

    /// Sends as much as the socket takes.
    fn flush(&mut self, shared: &mut Shared) -> Result<()>;

    /// Handles an event: reads and records the replies.
    fn ready(&mut self, event: &Event, shared: &mut Shared) -> Result<()>;

    /// Times out requests sent before `before`, if the transport can lose replies. If it cannot, a
    /// connection on which nothing has arrived since then, with requests in flight, has ended.
    fn expire(&mut self, _before: u64, _shared: &mut Shared) -> Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Records a reply that was read at `now`. Returns whether it belongs to a request.
    #[inline]
    pub(super) fn record_reply(
        &mut self,
        in_flight: &mut InFlight,
        decoded: &Decoded,
        now: u64,
    ) -> bool {
        match in_flight.take(decoded.id) {
            ReplyMatch::InTime(pending) => self.record_answer(&pending, &decoded.outcome, now),
            ReplyMatch::Late(pending) => self.record_late(&pending, &decoded.outcome, now),
            ReplyMatch::Unknown => return false,
        }
        true
    }

    /// Records the reply to a request that had timed out.
    pub(super) fn record_late(&mut self, pending: &Pending, outcome: &Outcome, now: u64) {
        self.tally.late(pending);
        self.record_answer(pending, outcome, now);
    }

    /// Records the reply to a request. A request that was refused and not applied waits to be sent again.
    #[inline]
    fn record_answer(&mut self, pending: &Pending, outcome: &Outcome, now: u64) {
        if self.resends.is_enabled()
            && let Outcome::Refused(message) = outcome
            && Fate::of(message).can_be_sent_again()
        {
            self.tally.refused_for_now(pending, message, now);
            self.resends.add(self.connection, *pending, now);
            return;
        }
        self.tally.reply(pending, outcome, now);
    }
}

/// Returns the first connection with room, searching from `turn` on. If `allowed` is not empty, only
/// those connections are searched.
pub(super) fn connection_with_room<C: Connection>(
    connections: &[C],
    allowed: &[usize],
    turn: usize,
) -> Option<usize> {
    let has_room = |&connection: &usize| {
        connections[connection].in_flight().len() < connections[connection].limit()
    };
    match allowed.len() {
        0 => (0..connections.len())
            .map(|i| (turn + i) % connections.len())
            .find(has_room),
        len => (0..len).map(|i| allowed[(turn + i) % len]).find(has_room),
    }
}
