//! Packs replies into datagrams. The replies to one datagram go together, as many as fit.

use std::cell::RefMut;

use crate::protocol::framed::{self, Answer, RequestId};
use crate::protocol::{Reply, classic};
use crate::server::exchange::{Datagram, Queued};
use crate::server::net::sys::{Outgoing, Peer};

/// Packs replies into [`Outgoing`]. The last datagram is complete once the packer is dropped.
pub(super) struct Packer<'a> {
    outgoing: RefMut<'a, Outgoing>,
    /// The index and the peer of the datagram to which the open datagram replies. `None` if the open
    /// datagram is empty.
    current: Option<(u32, &'a Peer)>,
}

impl<'a> Packer<'a> {
    /// Creates a packer that appends to `outgoing`.
    pub(super) fn new(outgoing: RefMut<'a, Outgoing>) -> Self {
        Self {
            outgoing,
            current: None,
        }
    }

    /// Appends the replies to requests that came in `datagrams`; see [`add`](Self::add).
    pub(super) fn add_all<'r>(
        &mut self,
        datagrams: &'a [Datagram],
        replies: impl Iterator<Item = (&'r Queued, Reply)>,
    ) {
        for (request, reply) in replies {
            let datagram = &datagrams[request.datagram as usize];
            let answer = Answer::Reply(reply);
            self.add(request.datagram, datagram, request.id, &answer);
        }
    }

    /// Appends one reply to `datagram`. All replies to it come in a row and with the same `index`.
    #[inline]
    pub(super) fn add(
        &mut self,
        index: u32,
        datagram: &'a Datagram,
        id: RequestId,
        answer: &Answer<'_>,
    ) {
        if self.current.is_none_or(|(current, _)| current != index) {
            self.close();
        }
        if datagram.classic {
            // The only reply to its datagram.
            if let Answer::Reply(reply) = *answer {
                classic::encode_reply(reply, self.outgoing.open());
                self.outgoing.close(&datagram.peer);
            }
            return;
        }
        self.current = Some((index, &datagram.peer));
        let before = self.outgoing.open_len();
        framed::encode_answer(id, answer, self.outgoing.open());
        if before > 0 && self.outgoing.open_len() > datagram.reply_limit {
            self.outgoing.close_first(before, &datagram.peer);
        }
    }

    #[inline]
    fn close(&mut self) {
        if let Some((_, peer)) = self.current.take() {
            self.outgoing.close(peer);
        }
    }
}

impl Drop for Packer<'_> {
    fn drop(&mut self) {
        self.close();
    }
}
