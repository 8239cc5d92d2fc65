//! A server that counts, and may lie.

use std::collections::HashMap;

use globalcounter::protocol::framed::{self, Call};
use globalcounter::protocol::{ErrorCode, Op, Reply};

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

/// Which requests a server refuses: every so many; 0 for none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Refusals {
    /// These were not applied.
    pub(crate) unavailable: u64,
    pub(crate) busy: u64,
    /// These were applied.
    pub(crate) unknown: u64,
}

/// The sums of such a server.
pub(crate) struct Liar {
    lie: Lie,
    refusals: Refusals,
    requests: u64,
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
            refusals: Refusals::default(),
            requests: 0,
            sums: HashMap::new(),
            counts: 0,
            withheld: None,
        }
    }

    /// Refuses some requests from now on.
    pub(crate) fn refusing(mut self, refusals: Refusals) -> Self {
        self.refusals = refusals;
        self
    }

    /// Skips numbers in every topic, as the next owner of a range does.
    pub(crate) fn skip(&mut self, numbers: u64) {
        for sum in self.sums.values_mut() {
            *sum += numbers;
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
        self.requests += 1;
        let is_due = |every: u64| every > 0 && self.requests.is_multiple_of(every);
        if is_due(self.refusals.unavailable) {
            return Reply::Error(ErrorCode::Unavailable);
        }
        if is_due(self.refusals.busy) {
            return Reply::Error(ErrorCode::Busy);
        }
        if request.op == Op::Count && is_due(self.refusals.unknown) {
            self.count(topic);
            return Reply::Error(ErrorCode::Unknown);
        }
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
