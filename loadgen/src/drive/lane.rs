//! What the loop of a thread needs of a connection, whatever its transport.

use std::time::Duration;

use anyhow::Result;
use globalcounter::server::sys::Received;
use mio::event::Event;
use mio::{Registry, Token};

use super::flight::{Answered, Asked, Flight};
use super::schedule::Schedule;
use super::tally::Tally;
use crate::target::{Decoded, Target};

/// How long a connection may take to open.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a lane may use while it works: one of each for all lanes of a thread.
pub(super) struct Shared {
    pub(super) target: &'static dyn Target,
    pub(super) schedule: Schedule,
    pub(super) tally: Tally,
    /// Room for what a stream reads.
    pub(super) buffer: Box<[u8]>,
    /// Room for datagrams; away while a lane uses it.
    pub(super) received: Option<Box<Received>>,
}

/// A connection that requests are made on.
pub(super) trait Lane {
    /// Has its events told to `registry`. The registry is kept by lanes that open sockets later.
    fn register(&mut self, registry: &Registry, token: Token) -> Result<()>;

    /// Requests in flight.
    fn flight(&self) -> &Flight;

    /// The most requests in flight in an open loop.
    fn limit(&self) -> usize {
        self.flight().limit()
    }

    /// Makes a request; [`flush`](Self::flush) sends what was made.
    fn ask(&mut self, asked: Asked, topic: &[u8], shared: &mut Shared) -> Result<()>;

    /// Sends as much as the socket takes.
    fn flush(&mut self, shared: &mut Shared) -> Result<()>;

    /// Takes in what an event brought.
    fn ready(&mut self, event: &Event, shared: &mut Shared) -> Result<()>;

    /// Gives up requests sent before that, where replies can get lost.
    fn expire(&mut self, _before: u64, _shared: &mut Shared) -> Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Books a reply that was read at `now`; returns how it found its request.
    #[inline]
    pub(super) fn book(&mut self, flight: &mut Flight, decoded: &Decoded, now: u64) -> Found {
        match flight.take(decoded.id) {
            Answered::InTime(asked) => {
                self.tally.reply(&asked, &decoded.outcome, now);
                Found::Request
            }
            Answered::Late(asked) => {
                self.tally.late(&asked, &decoded.outcome, now);
                Found::Request
            }
            Answered::Unasked => Found::Nothing,
        }
    }
}

/// Whether a reply was to anything that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Request,
    Nothing,
}
