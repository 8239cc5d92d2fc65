//! Packs replies into datagrams. The replies to one datagram go together, as many as fit.

use std::cell::RefMut;

use crate::protocol::classic;
use crate::protocol::framed::{self, Answer, RequestId};
use crate::server::exchange::Datagram;
use crate::server::net::sys::Outgoing;

/// Packs replies into [`Outgoing`]. The last datagram is complete once the packer is dropped.
pub(super) struct Packer<'a> {
    outgoing: RefMut<'a, Outgoing>,
    /// The datagram whose replies are being packed, and its index.
    current: Option<(u32, Datagram)>,
}

impl<'a> Packer<'a> {
    /// Creates a packer that appends to `outgoing`.
    pub(super) fn new(outgoing: RefMut<'a, Outgoing>) -> Self {
        Self {
            outgoing,
            current: None,
        }
    }

    /// Appends one reply to `datagram`. All replies to it come in a row and with the same `index`.
    pub(super) fn add(
        &mut self,
        index: u32,
        datagram: &Datagram,
        id: RequestId,
        answer: &Answer<'_>,
    ) {
        if self.current.is_none_or(|(current, _)| current != index) {
            self.close();
            self.current = Some((index, *datagram));
        }
        if datagram.classic {
            if let Answer::Reply(reply) = *answer {
                classic::encode_reply(reply, self.outgoing.open());
            }
            return;
        }
        let len = self.outgoing.open_len();
        if len > 0 && len + framed::answer_len(answer) > datagram.reply_limit {
            self.outgoing.close(datagram.peer);
        }
        framed::encode_answer(id, answer, self.outgoing.open());
    }

    fn close(&mut self) {
        if let Some((_, datagram)) = self.current.take() {
            self.outgoing.close(datagram.peer);
        }
    }
}

impl Drop for Packer<'_> {
    fn drop(&mut self) {
        self.close();
    }
}
