//! How a connection moves to another worker: because a HELLO named that worker's shard, or because
//! most of its requests go there.

use std::io;
use std::mem;
use std::rc::Rc;

use super::connection::{Connection, End, Phase, Registered, Step};
use super::context::TcpContext;
use super::moved::{Moved, Resume};
use crate::protocol::framed::{self, Answer, RequestId};
use crate::server::exchange::WorkerId;
use crate::topic::ShardId;

impl Connection {
    /// Resumes a connection that another worker moved here. Its handshake is complete, if it needs one.
    ///
    /// # Errors
    ///
    /// The runtime could not register its socket.
    pub(super) fn arrive(context: Rc<TcpContext>, moved: Moved) -> io::Result<Self> {
        let stream = moved.stream.attach()?;
        let access = match moved.access {
            None => context.access_of(&stream),
            access => access,
        };
        let mut connection = Self {
            partial: moved.partial,
            unserved: moved.unserved,
            bucket: moved.bucket,
            ..Self::with_access(context, stream, access, moved.open)
        };
        let Registered { link, .. } = &connection.registered;
        link.set_encoder(moved.encoder);
        link.append(&moved.unsent);
        link.set_unserved(connection.partial.len());
        connection.resume(moved.resume);
        Ok(connection)
    }

    fn resume(&mut self, resume: Resume) {
        self.phase = match resume {
            Resume::Opening => Phase::Opening,
            Resume::Hello(id) => {
                self.stay_here(id);
                return;
            }
            Resume::Framed => Phase::Framed,
            Resume::Resp(session) => Phase::Resp(session),
        };
    }

    /// Answers a HELLO that named this worker's shard. The client has chosen, so the connection does
    /// not move by itself any more.
    pub(super) fn stay_here(&mut self, hello: RequestId) {
        let mut reply = Vec::new();
        let answer = Answer::Hello(self.registered.worker().intake.hello());
        framed::encode_answer(hello, &answer, &mut reply);
        self.registered.link.append(&reply);
        self.phase = Phase::Framed;
        self.unserved = true;
        self.move_detector = None;
    }

    /// Hands the connection to worker `to`. Nothing of it may be in flight.
    ///
    /// # Errors
    ///
    /// The runtime could not release its socket; the connection is closed.
    pub(super) fn move_to(self, to: WorkerId, resume: Resume) -> io::Result<()> {
        let Self {
            registered,
            mut open,
            ..
        } = self;
        open.move_to(to);
        registered.link.set_socket(None);
        let stream = Rc::into_inner(self.stream).expect("the link has returned it");
        registered.context.move_away(Moved {
            stream: stream.into_inner().detach()?,
            partial: self.partial,
            unserved: self.unserved,
            encoder: registered.link.take_encoder(),
            unsent: registered.link.take_unsent(),
            resume,
            access: self.access,
            bucket: self.bucket,
            open,
        });
        Ok(())
    }

    /// Begins to move to the worker of `shard`, unless that worker has too many connections.
    pub(super) fn move_towards(&mut self, shard: ShardId) {
        let to = WorkerId::of(shard);
        let may_move = match &self.phase {
            Phase::Framed => true,
            Phase::Resp(session) => !session.waits(),
            _ => false,
        };
        if !may_move || !self.open.may_move_to(to) {
            return;
        }
        let resume = match mem::replace(&mut self.phase, Phase::Opening) {
            Phase::Resp(session) => Resume::Resp(session),
            _ => Resume::Framed,
        };
        self.phase = Phase::Moving { to, resume };
    }

    /// Does one step of a connection that is about to move.
    pub(super) fn leave(&mut self) -> Step {
        let stopping = self.registered.worker().stopping();
        if !stopping && self.registered.link.in_flight() > 0 {
            return Step::Wait;
        }
        match mem::replace(&mut self.phase, Phase::Opening) {
            // The other worker may have stopped already, so the connection stays.
            Phase::Moving { resume, .. } if stopping => self.resume(resume),
            Phase::Moving { to, resume } => return Step::End(End::Move { to, resume }),
            other => self.phase = other,
        }
        Step::Again
    }
}
