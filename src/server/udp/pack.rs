//! Packs replies into datagrams. The replies to one datagram go together, as many as fit.

use crate::protocol::framed::{self, Answer, RequestId};
use crate::protocol::{Reply, classic};
use crate::server::exchange::{Datagrams, Entry, Queued, ReplyFormat, with_replies};
use crate::server::net::sys::{Outgoing, Recipient};

/// Appends to `outgoing` the replies to requests that came in `datagrams`. All requests of a datagram are
/// in a row. A request that waits for the store has no reply.
pub(super) fn pack_replies(
    outgoing: &mut Outgoing,
    datagrams: &Datagrams,
    requests: &[Queued],
    mut replies: &[Option<Reply>],
) {
    // Each classic reply has a datagram of its own, so one loop packs those to many datagrams.
    let together = |one: &Queued, next: &Queued| {
        let [one_entry, next_entry] = [one, next].map(|request| datagrams.entry(request.datagram));
        one.datagram == next.datagram
            || one_entry == next_entry && one_entry.format == ReplyFormat::Classic
    };
    for requests in requests.chunk_by(together) {
        let own;
        (own, replies) = replies.split_at(requests.len());
        let Entry { peer, format } = datagrams.entry(requests[0].datagram);
        let to = outgoing.recipient(datagrams.peer(peer));
        let answers = with_replies(requests, own);
        let answers = answers.map(|(request, reply)| (request.id, Answer::Reply(reply)));
        pack_answers(outgoing, to, format, answers);
    }
}

/// Appends answers to the requests of one datagram, with their ids, or to those of classic datagrams of
/// one peer. They are sent to `to`.
#[inline]
pub(super) fn pack_answers<'a>(
    outgoing: &mut Outgoing,
    to: Recipient,
    format: ReplyFormat,
    answers: impl Iterator<Item = (RequestId, Answer<'a>)>,
) {
    match format {
        ReplyFormat::Classic => answers.for_each(|(_, answer)| {
            if let Answer::Reply(reply) = answer {
                classic::encode_reply(reply, outgoing.open());
                outgoing.close_for(to);
            }
        }),
        ReplyFormat::Framed { limit } => {
            answers.for_each(|(id, answer)| {
                let before = outgoing.open_len();
                framed::encode_answer(id, &answer, outgoing.open());
                if before > 0 && outgoing.open_len() > limit.into() {
                    outgoing.close_first(before, to);
                }
            });
            if outgoing.open_len() > 0 {
                outgoing.close_for(to);
            }
        }
    }
}
