//! A command that searches the topics, from its parts to its reply.

use super::keys::{Keys, TOO_LONG};
use super::random_key::RandomKey;
use super::scan::Scan;
use super::slot_keys::SlotKeys;
use crate::server::exchange::SearchPart;
use crate::server::resp::clients::NO_ROOM;
use crate::server::worker::Link;
use crate::topic::Shards;

/// The refusal of a search that a shutdown interrupts.
const STOPPING: &str = "TRYAGAIN the server is shutting down";

/// A command that searches the topics.
#[derive(Debug)]
pub(crate) enum Search {
    Scan(Scan),
    Keys(Keys),
    RandomKey(RandomKey),
    SlotKeys(SlotKeys),
}

/// How a search continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It needs another part, or has another piece of its reply to send.
    Unfinished,
    /// Its reply is appended.
    Finished,
}

impl Search {
    /// Returns the next part of the search; `None` if only the reply is left to be sent.
    pub(crate) fn next_part(&self, shards: Shards) -> Option<SearchPart> {
        match self {
            Self::Scan(scan) => Some(scan.part(shards)),
            Self::Keys(keys) => keys.next_part(shards),
            Self::RandomKey(random) => Some(random.next_part(shards)),
            Self::SlotKeys(keys) => keys.next_part(shards),
        }
    }

    /// Returns whether it can continue now: not while a part is handed over, and not while the
    /// client does not read its reply.
    pub(crate) fn may_continue(&self, link: &Link) -> bool {
        match self {
            Self::Keys(keys) if keys.is_complete() => link.has_room(),
            _ => link.in_flight() == 0,
        }
    }

    /// Continues after a part, or with the next piece of the reply. `stopping`: the server is
    /// shutting down, so a search with many parts ends here, unless its reply has begun.
    pub(crate) fn advance(
        &mut self,
        part: Option<&SearchPart>,
        link: &Link,
        stopping: bool,
    ) -> Progress {
        match (self, part) {
            (Self::Scan(scan), Some(part)) => {
                link.ring().push(|writer| scan.encode_reply(part, writer));
            }
            (Self::RandomKey(random), Some(part)) => {
                let name = part.names().next();
                if name.is_none() && random.advance(part) {
                    if !stopping {
                        return Progress::Unfinished;
                    }
                    link.ring().refuse(STOPPING);
                } else {
                    link.ring().push(|writer| match name {
                        Some(name) => writer.bulk(name),
                        None => writer.null(),
                    });
                }
            }
            (Self::Keys(keys), Some(part)) => {
                let fits = keys.collect(part);
                if !fits {
                    return finish_with(TOO_LONG, link);
                }
                link.set_collected(keys.len());
                if !link.worker_has_room() {
                    return finish_with(NO_ROOM, link);
                }
                if stopping && !keys.is_complete() {
                    return finish_with(STOPPING, link);
                }
                return Progress::Unfinished;
            }
            (Self::Keys(keys), None) => {
                let piece = keys.next_piece();
                link.ring().push(|writer| piece.encode(writer));
                link.set_collected(keys.len());
                if !piece.is_last {
                    return Progress::Unfinished;
                }
            }
            (Self::SlotKeys(keys), Some(part)) => {
                let ended = keys.collect(part);
                link.set_collected(if ended { 0 } else { keys.len() });
                match (ended, stopping) {
                    (true, _) => {}
                    (false, true) => return finish_with(STOPPING, link),
                    (false, false) => return Progress::Unfinished,
                }
                link.ring().push(|writer| keys.encode_reply(writer));
            }
            (Self::Scan(_) | Self::RandomKey(_) | Self::SlotKeys(_), None) => {
                debug_assert!(false, "it always has a next part");
            }
        }
        Progress::Finished
    }
}

/// Refuses a search, and forgets what it collected.
fn finish_with(refusal: &str, link: &Link) -> Progress {
    link.set_collected(0);
    link.ring().refuse(refusal);
    Progress::Finished
}
