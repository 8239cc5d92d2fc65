//! The trait of a connection, with the operations that a thread's loop needs from every transport.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use globalcounter::server::sys::Received;
use mio::event::Event;
use mio::{Registry, Token};

use super::in_flight::{InFlight, Pending, ReplyMatch};
use super::resends::Resends;
use super::routes::Routes;
use super::schedule::Schedule;
use super::tally::Tally;
use crate::plan::Plan;
use crate::sockets::READ_LEN;
use crate::target::{Decoded, Fate, Moved, Outcome, Target};

/// How long a connection may take to open.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What all connections of a thread share while they work.
pub(super) struct Shared {
    pub(super) target: &'static dyn Target,
    pub(super) schedule: Schedule,
    pub(super) tally: Tally,
    pub(super) resends: Resends,
    /// The owners of topics, if requests are sent to them.
    pub(super) routes: Option<Arc<Routes>>,
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
    pub(super) fn new(
        plan: &Plan,
        schedule: Schedule,
        tally: Tally,
        routes: Option<Arc<Routes>>,
    ) -> Self {
        Self {
            target: plan.target,
            schedule,
            tally,
            resends: Resends::new(plan.reconnect.is_some()),
            routes,
            connection: 0,
            buffer: vec![0; READ_LEN].into(),
            received: Some(Box::new(Received::new())),
        }
    }

    /// Says which connection of the thread the following events are of, and which server.
    #[inline]
    pub(super) fn select(&mut self, connection: usize, server: u16) {
        self.connection = connection;
        self.tally.select(server);
    }

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

    /// Records the reply to a request.
    #[inline]
    fn record_answer(&mut self, pending: &Pending, outcome: &Outcome, now: u64) {
        if let Outcome::Refused(message) = outcome
            && self.will_be_sent_again(pending, message, now)
        {
            return;
        }
        self.tally.reply(pending, outcome, now);
    }

    /// Records a refusal if its request was not applied and is to be sent again. Returns whether it is.
    #[cold]
    fn will_be_sent_again(&mut self, pending: &Pending, message: &str, now: u64) -> bool {
        let moved = self.routes.as_ref().zip(Moved::of(message));
        let has_new_owner = moved.map(|(routes, moved)| routes.redirect(moved));
        let can_wait = self.resends.is_enabled() && Fate::of(message).can_be_sent_again();
        if has_new_owner.is_none() && !can_wait {
            return false;
        }
        self.tally.refused_for_now(pending, message, now);
        match has_new_owner {
            Some(true) => self.resends.add_first(self.connection, *pending),
            // Also a redirect to a node that is away, or not known: the map may change soon.
            _ => self.resends.add(self.connection, *pending, now),
        }
        true
    }
}
