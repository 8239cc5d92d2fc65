//! How a connection that has reached a limit is closed: with the named error if a request is incomplete,
//! and at once if the peer reads nothing, or holds too much.

use std::mem;

use tracing::warn;

use super::connection::{Connection, End, Phase, Step};
use crate::protocol::ErrorCode;
use crate::protocol::framed;
use crate::server::net::LogLimit;
use crate::server::status::CloseReason;

static CLOSED: LogLimit = LogLimit::new();

impl Connection {
    /// Closes the connection, or lets its task write an error first.
    pub(super) fn close_at_limit(&mut self, reason: CloseReason) -> Step {
        let at_once = matches!(reason, CloseReason::Unread | CloseReason::Held);
        let serves = matches!(self.phase, Phase::Opening | Phase::Framed | Phase::Resp(_));
        if !at_once && !serves {
            return Step::Again; // it ends, or it has something else to do meanwhile
        }
        self.registered.worker().counters().close(reason);
        if let Some(closed) = CLOSED.count() {
            warn!(
                closed,
                last = %reason,
                "closed connections at a limit; globalcounter_connections_closed_at_limit_total has the \
                 reasons"
            );
        }
        if at_once {
            // The peer does not read, so the kernel would keep the unsent replies for minutes. An error
            // means that the peer is gone.
            let _ = self.stream.borrow().reset_when_closed();
            return Step::End(End::Close);
        }
        self.refuse_incomplete();
        self.phase = Phase::Closing { linger: true };
        Step::Again
    }

    /// Refuses the request whose rest did not come, if there is one.
    fn refuse_incomplete(&mut self) {
        let partial = mem::take(&mut self.partial);
        let link = &self.registered.link;
        link.set_unserved(0);
        if partial.is_empty() {
            return;
        }
        let mut reply = Vec::new();
        match &self.phase {
            Phase::Resp(session) => {
                session.refuse_slow(link);
                let errors = link.drain(&mut reply);
                self.registered.worker().counters().count_errors(errors);
            }
            _ => {
                let broken = self.registered.worker().intake.refuse(ErrorCode::BadFrame);
                framed::encode_reply(framed::broken_id(&partial), broken, &mut reply);
            }
        }
        link.append(&reply);
    }
}
