//! Packs replies into datagrams. The replies to one datagram go together, as many as fit.

use crate::protocol::framed::{self, Answer, RequestId};
use crate::protocol::{Reply, classic};
use crate::server::exchange::{Datagrams, Queued, ReplyFormat, with_replies};
use crate::server::net::sys::{Outgoing, Recipient};

/// Appends to `outgoing` the replies to requests that came in `datagrams`. All requests of a datagram are
/// in a row. A request that waits for the store has no reply.
pub(super) fn pack_replies(
    outgoing: &mut Outgoing,
    datagrams: &Datagrams,
    mut requests: &[Queued],
    mut replies: &[Option<Reply>],
) {
    while let Some(&Queued { datagram, .. }) = requests.first() {
        let entry = datagrams.entry(datagram);
        let count = match entry.format {
            ReplyFormat::Framed { .. } => count_while(requests, |next| next.datagram == datagram),
            // Each classic reply has a datagram of its own, so one loop packs those to many datagrams.
            ReplyFormat::Classic => {
                count_while(requests, |next| datagrams.entry(next.datagram) == entry)
            }
        };
        let (own_requests, own_replies);
        (own_requests, requests) = requests.split_at(count);
        (own_replies, replies) = replies.split_at(count);
        let to = outgoing.recipient(datagrams.peer(entry.peer));
        let answers = with_replies(own_requests, own_replies);
        let answers = answers.map(|(request, reply)| (request.id, Answer::Reply(reply)));
        pack_answers(outgoing, to, entry.format, answers);
    }
}

/// Returns how many requests at the start of `requests` satisfy `condition`.
fn count_while(requests: &[Queued], condition: impl Fn(&Queued) -> bool) -> usize {
    let end = requests.iter().position(|request| !condition(request));
    end.unwrap_or(requests.len())
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

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;
    use crate::protocol::Op;
    use crate::server::net::sys::Peer;

    /// Framed and classic datagrams take turns, one request waits, and one datagram has more replies than
    /// fit into one.
    #[test]
    fn each_datagram_is_answered_in_its_dialect() {
        const LIMIT: u16 = 40; // two frames of 15 bytes
        let framed = ReplyFormat::Framed { limit: LIMIT };
        let classic = ReplyFormat::Classic;
        let mut datagrams = Datagrams::default();
        datagrams.begin_message(Peer::connected());
        let mut requests = Vec::new();
        let mut replies = Vec::new();
        for (format, counts) in [
            (classic, vec![Some(1)]),
            (classic, vec![Some(300)]),
            (framed, vec![Some(3), Some(4), Some(5)]),
            (framed, vec![Some(6), None]),
            (classic, vec![None]),
            (framed, vec![None]),
            (classic, vec![Some(7)]),
        ] {
            let datagram = datagrams.push(format);
            for count in counts {
                requests.push(Queued {
                    op: Op::Count,
                    topic: 0,
                    topic_len: 0,
                    id: RequestId(requests.len() as u32),
                    datagram,
                });
                replies.push(count.map(Reply::Count));
            }
        }
        let frames = |counts: &[(u32, u64)]| {
            let mut out = Vec::new();
            for &(id, count) in counts {
                framed::encode_reply(RequestId(id), Reply::Count(count), &mut out);
            }
            out
        };
        let expected = [
            vec![0x80, 1],
            vec![0x80, 1, 44],
            frames(&[(2, 3), (3, 4)]),
            frames(&[(4, 5)]),
            frames(&[(5, 6)]),
            vec![0x80, 7],
        ];

        let mut outgoing = Outgoing::new();
        pack_replies(&mut outgoing, &datagrams, &requests, &replies);
        let [from, to] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        from.connect(to.local_addr().unwrap()).unwrap();
        to.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(outgoing.send(from.as_fd()).unwrap(), 0);
        for expected in expected {
            let mut buffer = [0; 100];
            let len = to.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..len], expected);
        }
        to.set_nonblocking(true).unwrap();
        assert!(to.recv(&mut [0]).is_err(), "nothing else was sent");
    }
}
