//! What breaks the order of a topic, as text for people.

use std::fmt;
use std::net::SocketAddr;

use super::history::Record;

/// Replies that do not fit into one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The topic's name.
    pub(super) topic: Box<str>,
    pub(super) fault: Fault,
    /// The servers by their numbers.
    pub(super) servers: Box<[SocketAddr]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Both requests got the same number.
    Duplicate(Record, Record),
    /// The first request was answered before the second was sent, and has the greater sum.
    Backwards(Record, Record),
    /// A GET saw a sum inside a range that one request took at once.
    Torn(Record, Record),
    /// More numbers are missing, up to those between these two requests, than requests without a reply
    /// can have taken.
    Skipped {
        missing: u64,
        unanswered: u64,
        between: (Record, Record),
        /// Whether failures would have explained them, had any been seen at that time.
        no_failure: bool,
    },
    /// A sum is lower than the numbers that the request took.
    TooLow(Record),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = &self.topic;
        let shown = |record| Shown {
            record,
            servers: &self.servers,
        };
        let pair = |a, b| format!("\n  {}\n  {}", shown(a), shown(b));
        match &self.fault {
            Fault::Duplicate(a, b) => write!(
                f,
                "topic {topic:?}: the same number went to two requests:{}",
                pair(a, b)
            ),
            Fault::Backwards(a, b) => write!(
                f,
                "topic {topic:?} went back: the first was answered before the second was sent:{}",
                pair(a, b)
            ),
            Fault::Torn(a, b) => write!(
                f,
                "topic {topic:?}: a sum was seen within a range that one request took:{}",
                pair(a, b)
            ),
            Fault::Skipped {
                missing,
                unanswered,
                between: (a, b),
                no_failure,
            } => write!(
                f,
                "topic {topic:?} skipped {missing} numbers, and only {unanswered} can have gone to \
                 requests without a reply that were sent in time{}; the last between these two:{}",
                if *no_failure {
                    ", and no server was seen to fail then"
                } else {
                    ""
                },
                pair(a, b)
            ),
            Fault::TooLow(a) => write!(
                f,
                "topic {topic:?}: a sum lower than what was counted:\n  {}",
                shown(a)
            ),
        }
    }
}

/// A record with the names of the servers.
struct Shown<'a> {
    record: &'a Record,
    servers: &'a [SocketAddr],
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record {
            sum,
            sent,
            replied,
            taken,
            server,
            ..
        } = self.record;
        match taken {
            0 => write!(f, "get {sum}")?,
            1 => write!(f, "count {sum}")?,
            _ => write!(
                f,
                "add {} to {sum}",
                (sum + 1).saturating_sub((*taken).into())
            )?,
        }
        write!(f, ", sent at {sent} ns, answered at {replied} ns")?;
        match self.servers {
            [] | [_] => Ok(()),
            several => match several.get(usize::from(*server)) {
                Some(server) => write!(f, " by {server}"),
                None => Ok(()),
            },
        }
    }
}
