//! The replies of one connection, in the order of its requests, whatever order they become known in.
//! Knows no socket and no shard.

use std::collections::VecDeque;
use std::fmt;
use std::mem;

use crate::protocol::Reply;
use crate::protocol::framed::RequestId;
use crate::protocol::resp::{Form, Said, Tally, Version, Writer};
use crate::server::exchange::{empty, shrink};

/// A ring with this many slots takes no more commands: as many as a connection may have requests in
/// flight. One command may take it over the limit, by its number of keys.
const SLOTS_LIMIT: usize = 8 * 1024;

/// An empty ring keeps room for this many slots, and this many bytes of text.
const KEEP_SLOTS: usize = 256;
const KEEP_TEXT: usize = 4 * 1024;

/// Slots for replies, each filled once, emptied in order.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u32,
    /// The words of all slots of text, one after another; the first `said` bytes were drained.
    text: Vec<u8>,
    said: usize,
    version: Version,
    tally: Tally,
    /// Errors among the text, not told of yet.
    errors: u64,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    /// Its request is on its way.
    Waiting(Form),
    /// What became of it.
    Said(Said),
    /// That many bytes of text, encoded already.
    Text(usize),
}

// A connection may have thousands.
const _: () = assert!(size_of::<Slot>() <= 24);

impl Ring {
    /// How the replies are said that are not encoded yet.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// From here on, replies are said like that. Nothing is waiting.
    pub(crate) fn set_version(&mut self, version: Version) {
        debug_assert!(self.slots.iter().all(|slot| matches!(slot, Slot::Text(_))));
        self.version = version;
    }

    /// A slot for the reply to a request, which carries its number as an id.
    pub(crate) fn expect(&mut self, form: Form) -> RequestId {
        let id = RequestId(self.first.wrapping_add(self.slots.len() as u32));
        self.slots.push_back(Slot::Waiting(form));
        id
    }

    /// Appends what `say` says, behind all replies so far.
    pub(crate) fn say(&mut self, say: impl FnOnce(&mut Writer<'_>)) {
        let before = self.text.len();
        say(&mut Writer::new(self.version, &mut self.text));
        let len = self.text.len() - before;
        if let Some(Slot::Text(last)) = self.slots.back_mut() {
            *last += len;
        } else {
            self.slots.push_back(Slot::Text(len));
        }
    }

    /// Says that something is not done.
    pub(crate) fn refuse(&mut self, refusal: impl fmt::Display) {
        self.errors += 1;
        self.say(|writer| writer.error(refusal));
    }

    /// The reply to the request with that id.
    pub(crate) fn fill(&mut self, id: RequestId, reply: Reply) {
        let place = id.0.wrapping_sub(self.first) as usize;
        let slot = self.slots.get_mut(place);
        debug_assert!(
            matches!(slot, Some(Slot::Waiting(_))),
            "no slot waits for it"
        );
        if let Some(slot) = slot
            && let Slot::Waiting(form) = *slot
        {
            *slot = Slot::Said(form.said(reply));
        }
    }

    /// Appends to `out` all replies before the first that still waits. Returns how many errors came
    /// since the last time.
    pub(crate) fn drain(&mut self, out: &mut Vec<u8>) -> u64 {
        let mut errors = mem::take(&mut self.errors);
        while let Some(slot) = self.slots.front() {
            match *slot {
                Slot::Waiting(_) => {
                    // It may never be empty: what was said is forgotten once it is most of it.
                    if self.said > KEEP_TEXT && self.said > self.text.len() / 2 {
                        self.text.drain(..mem::take(&mut self.said));
                        shrink(&mut self.text, KEEP_TEXT);
                    }
                    return errors;
                }
                Slot::Said(said) => {
                    let mut writer = Writer::new(self.version, out);
                    errors += u64::from(self.tally.say(said, &mut writer));
                }
                Slot::Text(len) => {
                    out.extend_from_slice(&self.text[self.said..self.said + len]);
                    self.said += len;
                }
            }
            self.slots.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        self.said = 0;
        empty(&mut self.text, KEEP_TEXT);
        if self.slots.capacity() > KEEP_SLOTS {
            self.slots = VecDeque::new();
        }
        errors
    }

    /// Bytes of text that wait for replies before them.
    pub(crate) fn text_len(&self) -> usize {
        self.text.len() - self.said
    }

    /// Whether one more command may take slots.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.len() < SLOTS_LIMIT
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
        ring.say(|writer| writer.simple("PONG"));
        ring.say(|writer| writer.bulk(b"again"));
        let last = ring.expect(Form::Value);
        ring.fill(last, Reply::Get(None));
        assert_eq!(drained(&mut ring), "");
        assert!(ring.text_len() > 0);
        ring.fill(first, Reply::Add(7));
        assert_eq!(drained(&mut ring), ":7\r\n+PONG\r\n$5\r\nagain\r\n$-1\r\n");
        assert_eq!(ring.text_len(), 0);
    }

    #[test]
    fn what_is_counted_over_keys_is_said_once_or_refused_once() {
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

    /// Numbers of slots go round after 2^32 requests.
    #[test]
    fn numbers_go_round() {
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

    /// One that always waits for something keeps no more text than waits.
    #[test]
    fn text_that_was_said_is_forgotten() {
        let mut ring = Ring::default();
        let mut waiting = ring.expect(Form::Sum);
        for _ in 0..1_000 {
            ring.say(|writer| writer.bulk(&[b'x'; 1_000]));
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
        for _ in 0..SLOTS_LIMIT {
            assert!(ring.has_room());
            ring.expect(Form::Sum);
        }
        assert!(!ring.has_room());
    }
}
