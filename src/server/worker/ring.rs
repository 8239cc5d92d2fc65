//! The replies of one connection, in the order of its requests, whatever order they become known in.
//! Knows no socket and no shard.

use std::collections::VecDeque;
use std::fmt;
use std::mem;

use crate::protocol::Reply;
use crate::protocol::framed::RequestId;
use crate::protocol::resp::{Content, Form, Replies, Tally, Version, Writer};
use crate::server::exchange::{empty, shrink};

/// The number of slots, and of bytes of text, that an empty ring keeps allocated.
const KEEP_SLOTS: usize = 256;
const KEEP_TEXT: usize = 4 * 1024;

/// A queue of slots for replies. Each is filled once; they are drained in order.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u32,
    /// The bytes of all text slots, one after another; the first `drained` bytes were drained.
    text: Vec<u8>,
    drained: usize,
    version: Version,
    tally: Tally,
    /// Errors in the text that were not reported by [`drain`](Self::drain) yet.
    errors: u64,
    wanted: Wanted,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    /// The request is in flight.
    Waiting(Form),
    /// The request is in flight, and its reply is not sent.
    Silent,
    /// The content of the reply is known, but not encoded yet.
    Known(Content),
    /// This many bytes of encoded text.
    Text(usize),
}

// A connection may have thousands.
const _: () = assert!(size_of::<Slot>() <= 24);

/// Which replies the client wants: see [`Replies`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Wanted {
    #[default]
    All,
    /// No reply to the command that comes next.
    NotNext,
    /// No reply to the current command.
    NotThis,
    /// No replies.
    Nothing,
}

impl Ring {
    /// Returns the version in which replies are encoded.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Sets the version in which later replies are encoded. No request may be in flight.
    pub(crate) fn set_version(&mut self, version: Version) {
        debug_assert!(self.slots.iter().all(|slot| matches!(slot, Slot::Text(_))));
        self.version = version;
    }

    /// Sets which replies are sent from now on; the reply to the current command is sent only with
    /// [`Replies::On`].
    pub(crate) fn set_replies(&mut self, replies: Replies) {
        self.wanted = match (replies, self.wanted) {
            (Replies::On, _) => Wanted::All,
            (Replies::Off, _) | (Replies::Skip, Wanted::Nothing) => Wanted::Nothing,
            (Replies::Skip, _) => Wanted::NotNext,
        };
    }

    /// Notes that the replies from now on are those to another command.
    pub(crate) fn begin_command(&mut self) {
        match self.wanted {
            Wanted::All | Wanted::Nothing => {}
            Wanted::NotNext => self.wanted = Wanted::NotThis,
            Wanted::NotThis => self.wanted = Wanted::All,
        }
    }

    /// Returns whether the current command's reply is not sent.
    fn is_silent(&self) -> bool {
        matches!(self.wanted, Wanted::Nothing | Wanted::NotThis)
    }

    /// Appends a slot for the reply to a request. Returns its number, as the id of the request.
    pub(crate) fn expect(&mut self, form: Form) -> RequestId {
        let id = RequestId(self.first.wrapping_add(self.slots.len() as u32));
        self.slots.push_back(match self.is_silent() {
            true => Slot::Silent,
            false => Slot::Waiting(form),
        });
        id
    }

    /// Appends a reply that `encode` writes, behind all replies so far.
    pub(crate) fn push(&mut self, encode: impl FnOnce(&mut Writer<'_>)) {
        if self.is_silent() {
            return;
        }
        let before = self.text.len();
        encode(&mut Writer::new(self.version, &mut self.text));
        let len = self.text.len() - before;
        if let Some(Slot::Text(last)) = self.slots.back_mut() {
            *last += len;
        } else {
            self.slots.push_back(Slot::Text(len));
        }
    }

    /// Appends an error.
    pub(crate) fn refuse(&mut self, refusal: impl fmt::Display) {
        if !self.is_silent() {
            self.errors += 1;
        }
        self.push(|writer| writer.error(refusal));
    }

    /// Fills the slot of the request with this id.
    #[inline(always)] // it is the body of a loop
    pub(crate) fn fill(&mut self, id: RequestId, reply: Reply) {
        let index = id.0.wrapping_sub(self.first) as usize;
        let Some(slot) = self.slots.get_mut(index) else {
            debug_assert!(false, "no slot has this number");
            return;
        };
        match *slot {
            Slot::Waiting(form) => *slot = Slot::Known(form.content(reply)),
            Slot::Silent => *slot = Slot::Text(0),
            Slot::Known(_) | Slot::Text(_) => debug_assert!(false, "the slot was filled before"),
        }
    }

    /// Appends to `out` all replies before the first that is still unknown. Returns the number of
    /// errors since the last call.
    pub(crate) fn drain(&mut self, out: &mut Vec<u8>) -> u64 {
        let mut errors = mem::take(&mut self.errors);
        while let Some(slot) = self.slots.front() {
            match *slot {
                Slot::Waiting(_) | Slot::Silent => {
                    // The ring may never become empty, so drained text is dropped once it is most of
                    // the text.
                    if self.drained > KEEP_TEXT && self.drained > self.text.len() / 2 {
                        self.text.drain(..mem::take(&mut self.drained));
                        shrink(&mut self.text, KEEP_TEXT);
                    }
                    return errors;
                }
                Slot::Known(content) => {
                    let mut writer = Writer::new(self.version, out);
                    errors += u64::from(self.tally.write(content, &mut writer));
                }
                Slot::Text(len) => {
                    out.extend_from_slice(&self.text[self.drained..self.drained + len]);
                    self.drained += len;
                }
            }
            self.slots.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        self.drained = 0;
        empty(&mut self.text, KEEP_TEXT);
        if self.slots.capacity() > KEEP_SLOTS {
            self.slots = VecDeque::new();
        }
        errors
    }

    /// Returns the number of bytes of text that wait for replies before them.
    pub(crate) fn text_len(&self) -> usize {
        self.text.len() - self.drained
    }

    /// Returns whether one more command may take slots. `limit` is the number of slots that a ring may
    /// have: as many as a connection may have requests in flight. One command may exceed it, by its
    /// number of keys.
    pub(crate) fn has_room(&self, limit: usize) -> bool {
        self.slots.len() < limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ErrorCode;

    fn drained(ring: &mut Ring) -> String {
        let mut out = Vec::new();
        ring.drain(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let mut ring = Ring::default();
        let first = ring.expect(Form::Sum);
        ring.push(|writer| writer.simple("PONG"));
        ring.push(|writer| writer.bulk(b"again"));
        let last = ring.expect(Form::Value);
        ring.fill(last, Reply::Get(None));
        assert_eq!(drained(&mut ring), "");
        assert!(ring.text_len() > 0);
        ring.fill(first, Reply::Add(7));
        assert_eq!(drained(&mut ring), ":7\r\n+PONG\r\n$5\r\nagain\r\n$-1\r\n");
        assert_eq!(ring.text_len(), 0);
    }

    #[test]
    fn a_command_that_counts_existing_topics_gets_one_reply() {
        let mut ring = Ring::default();
        let tally = |ring: &mut Ring, replies: &[Reply]| {
            let last = replies.len() - 1;
            for (i, &reply) in replies.iter().enumerate() {
                let id = ring.expect(Form::Tally { last: i == last });
                ring.fill(id, reply);
            }
            drained(ring)
        };
        let there = Reply::Get(Some(0));
        let removed = Reply::Delete { existed: true };
        let missing = Reply::Delete { existed: false };
        let failed = Reply::Error(ErrorCode::Store);
        assert_eq!(
            tally(&mut ring, &[there, Reply::Get(None), there]),
            ":2\r\n"
        );
        assert_eq!(tally(&mut ring, &[removed, missing]), ":1\r\n");
        let refused = tally(&mut ring, &[removed, failed, removed]);
        assert!(refused.starts_with("-MISCONF") && refused.matches("\r\n").count() == 1);
        assert_eq!(tally(&mut ring, &[missing]), ":0\r\n");
    }

    /// Slot numbers wrap around after 2^32 requests.
    #[test]
    fn slot_numbers_wrap_around() {
        let mut ring = Ring {
            first: u32::MAX - 1,
            ..Ring::default()
        };
        let ids: Vec<_> = (0..4).map(|_| ring.expect(Form::Sum)).collect();
        assert_eq!(ids[3], RequestId(1));
        for (sum, id) in ids.into_iter().enumerate().rev() {
            ring.fill(id, Reply::Add(sum as u64));
        }
        assert_eq!(drained(&mut ring), ":0\r\n:1\r\n:2\r\n:3\r\n");
    }

    /// A ring that always waits for some reply keeps only the text behind that reply.
    #[test]
    fn drained_text_is_dropped() {
        let mut ring = Ring::default();
        let mut waiting = ring.expect(Form::Sum);
        for _ in 0..1_000 {
            ring.push(|writer| writer.bulk(&[b'x'; 1_000]));
            let next = ring.expect(Form::Sum);
            ring.fill(waiting, Reply::Add(1));
            waiting = next;
            assert!(drained(&mut ring).starts_with(":1"));
        }
        assert!(ring.text.len() < 2 * KEEP_TEXT, "{}", ring.text.len());
    }

    #[test]
    fn a_ring_is_full_at_its_limit() {
        let mut ring = Ring::default();
        for _ in 0..10 {
            assert!(ring.has_room(10));
            ring.expect(Form::Sum);
        }
        assert!(!ring.has_room(10));
    }

    /// Returns the ring's replies to `commands` commands; each command counts once and appends one
    /// word.
    fn replies_to(ring: &mut Ring, commands: usize) -> String {
        for _ in 0..commands {
            ring.begin_command();
            let id = ring.expect(Form::Sum);
            ring.push(|writer| writer.simple("text"));
            ring.fill(id, Reply::Add(1));
        }
        drained(ring)
    }

    #[test]
    fn unwanted_replies_are_not_sent_and_the_others_keep_their_order() {
        let mut ring = Ring::default();
        let one = ":1\r\n+text\r\n";
        for (replies, expected) in [
            (Replies::Skip, one.repeat(2)),
            (Replies::On, one.repeat(3)),
            (Replies::Off, String::new()),
            (Replies::Skip, String::new()),
            (Replies::On, one.repeat(3)),
        ] {
            ring.begin_command();
            ring.set_replies(replies);
            assert_eq!(replies_to(&mut ring, 3), expected, "{replies:?}");
        }
    }

    /// A slot whose reply is not sent still holds back those behind it: only then is it known that
    /// the request is done.
    #[test]
    fn a_silent_request_in_flight_holds_back_later_replies() {
        let mut ring = Ring::default();
        ring.set_replies(Replies::Skip);
        ring.begin_command();
        let silent = ring.expect(Form::Sum);
        ring.refuse("ERR not sent");
        ring.begin_command();
        let last = ring.expect(Form::Sum);
        ring.fill(last, Reply::Add(2));
        assert_eq!(drained(&mut ring), "");
        ring.fill(silent, Reply::Error(ErrorCode::Store));
        let mut out = Vec::new();
        assert_eq!(
            ring.drain(&mut out),
            0,
            "an error that is not sent is not counted"
        );
        assert_eq!(out, b":2\r\n");
    }
}
