//! A server that counts, and may lie.

use std::collections::HashMap;

use globalcounter::protocol::framed::{self, Call};
use globalcounter::protocol::{Op, Reply};

/// A way in which a server breaks the order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lie {
    /// It never lies.
    Never,
    /// Every 1,000th count gets the sum of the one before it.
    Repeat,
    /// Every 1,000th count gets a sum that was skipped before: too late, but only once.
    GoBack,
    /// Every 1,000th count skips a number.
    Skip,
    /// GET returns less than was counted.
    Forget,
}

/// The sums of such a server.
pub(crate) struct Liar {
    lie: Lie,
    sums: HashMap<Vec<u8>, u64>,
    counts: u64,
    withheld: Option<u64>,
}

impl Liar {
    pub(crate) fn honest() -> Self {
        Self::new(Lie::Never)
    }

    pub(crate) fn new(lie: Lie) -> Self {
        Self {
            lie,
            sums: HashMap::new(),
            counts: 0,
            withheld: None,
        }
    }

    fn count(&mut self, topic: &[u8]) -> u64 {
        let sum = self.sums.entry(topic.to_owned()).or_default();
        self.counts += 1;
        let at = self.counts % 1_000;
        match self.lie {
            Lie::Repeat if at == 0 && *sum > 0 => return *sum,
            Lie::GoBack if at == 1 => {
                self.withheld = Some(*sum + 1);
                *sum += 1;
            }
            Lie::GoBack if at == 500 => {
                if let Some(sum) = self.withheld.take() {
                    return sum;
                }
            }
            Lie::Skip if at == 0 => *sum += 1,
            _ => {}
        }
        *sum += 1;
        *sum
    }

    fn reply(&mut self, call: Call<'_>) -> Reply {
        let Call::Topic(request) = call else {
            panic!("only counts and gets are expected");
        };
        let topic = request.topic.as_bytes();
        match request.op {
            Op::Count => Reply::Count(self.count(topic)),
            Op::Get => {
                let sum = self.sums.get(topic).copied().unwrap_or(0);
                let forgets = self.lie == Lie::Forget && sum > 0;
                Reply::Get(Some(if forgets { sum - 1 } else { sum }))
            }
            other => panic!("{other:?} is not expected"),
        }
    }

    /// Returns how many bytes all complete frames take, and the replies to them.
    pub(crate) fn answer(&mut self, input: &[u8]) -> (usize, Vec<u8>) {
        let (mut at, mut replies) = (0, Vec::new());
        while let Ok(Some(frame)) = framed::decode_request(&input[at..], 1024) {
            at += frame.len;
            let reply = self.reply(frame.call.unwrap());
            framed::encode_reply(frame.id, reply, &mut replies);
        }
        (at, replies)
    }
}
