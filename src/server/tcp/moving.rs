//! How a connection goes to another worker: when it is new, when a HELLO names a shard, or by itself.

use std::io;
use std::mem;
use std::rc::Rc;

use tokio::net::TcpStream;

use super::connection::{Connection, End, Entry, Phase, Step};
use super::moved::{Moved, Onward};
use super::port::TcpPort;
use crate::protocol::framed::{self, Answer, RequestId};
use crate::server::exchange::WorkerId;
use crate::topic::ShardId;

impl Connection {
    /// A connection that another worker moved here.
    ///
    /// # Errors
    ///
    /// Where the runtime can't watch its socket.
    pub(super) fn arrive(port: Rc<TcpPort>, moved: Moved) -> io::Result<Self> {
        let stream = TcpStream::from_std(moved.stream)?;
        let mut connection = Self {
            partial: moved.partial,
            unserved: moved.unserved,
            ..Self::new(port, stream, moved.open)
        };
        let Entry { link, .. } = &connection.entry;
        link.set_encoder(moved.spoken);
        link.append(&moved.unsent);
        link.set_unserved(connection.partial.len());
        connection.go_on(moved.onward);
        Ok(connection)
    }

    fn go_on(&mut self, onward: Onward) {
        self.phase = match onward {
            Onward::Opening => Phase::Opening,
            Onward::Hello(id) => {
                self.settle(id);
                return;
            }
            Onward::Framed => Phase::Framed,
            Onward::Resp(session) => Phase::Resp(session),
        };
    }

    /// Answers a HELLO that named this worker's shard, and goes on behind it. The client chose, so
    /// here the connection stays.
    pub(super) fn settle(&mut self, hello: RequestId) {
        let mut reply = Vec::new();
        let answer = Answer::Hello(self.entry.worker().intake.hello());
        framed::encode_answer(hello, &answer, &mut reply);
        self.entry.link.append(&reply);
        self.phase = Phase::Framed;
        self.unserved = true;
        self.drift = None;
    }

    pub(super) fn depart(self, to: WorkerId, onward: Onward) -> io::Result<()> {
        let Self {
            entry, mut open, ..
        } = self;
        open.move_to(to);
        entry.port.move_away(Moved {
            stream: self.stream.into_std()?,
            partial: self.partial,
            unserved: self.unserved,
            spoken: entry.link.take_encoder(),
            unsent: entry.link.take_unsent(),
            onward,
            open,
        });
        Ok(())
    }

    /// Another worker's shard draws the connection, if it is not full.
    pub(super) fn follow(&mut self, shard: ShardId) {
        let to = WorkerId::of(shard);
        let may_move = match &self.phase {
            Phase::Framed => true,
            Phase::Resp(session) => !session.waits(),
            _ => false,
        };
        if !may_move || !self.open.may_move_to(to) {
            return;
        }
        let onward = match mem::replace(&mut self.phase, Phase::Opening) {
            Phase::Resp(session) => Onward::Resp(session),
            _ => Onward::Framed,
        };
        self.phase = Phase::Moving { to, onward };
    }

    /// One step of a connection that is about to move.
    pub(super) fn leave(&mut self) -> Step {
        let stopping = self.entry.worker().stopping();
        if !stopping && self.entry.link.in_flight() > 0 {
            return Step::Wait;
        }
        match mem::replace(&mut self.phase, Phase::Opening) {
            // The other worker may have stopped already.
            Phase::Moving { onward, .. } if stopping => self.go_on(onward),
            Phase::Moving { to, onward } => return Step::End(End::Move { to, onward }),
            other => self.phase = other,
        }
        Step::Again
    }
}
