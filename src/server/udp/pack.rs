//! Packs replies into datagrams. The replies to one datagram go together, as many as fit.

use crate::protocol::framed::{self, Answer, RequestId};
use crate::protocol::{Reply, classic};
use crate::server::exchange::{Datagrams, Entry, Queued, ReplyFormat};
use crate::server::net::sys::{Outgoing, Recipient};

/// Appends to `outgoing` the datagrams that reply to `datagrams`. An answer comes with the index of its
/// datagram and the id of its request; all answers to a datagram come in a row.
pub(super) fn pack<'a>(
    outgoing: &mut Outgoing,
    datagrams: &Datagrams,
    answers: impl Iterator<Item = (u32, RequestId, Answer<'a>)>,
) {
    // The datagram whose replies are being packed, and the peer that they go to.
    let mut current: Option<(u32, Entry, Recipient)> = None;
    for (index, id, answer) in answers {
        let (entry, to) = match current {
            Some((same, entry, to)) if same == index => (entry, to),
            before => {
                let entry = datagrams.entry(index);
                let mut same_peer = None;
                if let Some((_, before, to)) = before {
                    outgoing.close_for(to);
                    same_peer = (before.peer == entry.peer).then_some(to);
                }
                let to = match same_peer {
                    Some(to) => to,
                    None => outgoing.recipient(datagrams.peer(entry.peer)),
                };
                current = Some((index, entry, to));
                (entry, to)
            }
        };
        match entry.format {
            ReplyFormat::Classic => {
                if let Answer::Reply(reply) = answer {
                    classic::encode_reply(reply, outgoing.open());
                }
            }
            ReplyFormat::Framed { limit } => {
                let before = outgoing.open_len();
                framed::encode_answer(id, &answer, outgoing.open());
                if before > 0 && outgoing.open_len() > limit.into() {
                    outgoing.close_first(before, to);
                }
            }
        }
    }
    if let Some((_, _, to)) = current {
        outgoing.close_for(to);
    }
}

/// Returns requests and their replies as [`pack`] takes them.
pub(super) fn answers<'a>(
    replies: impl Iterator<Item = (&'a Queued, Reply)>,
) -> impl Iterator<Item = (u32, RequestId, Answer<'a>)> {
    replies.map(|(request, reply)| (request.datagram, request.id, Answer::Reply(reply)))
}
