//! The commands that walk through the topics, a bounded stretch at a time. Between two stretches the
//! other connections have their turn.

use super::keys::{Keys, TOO_LONG};
use super::random_key::RandomKey;
use super::scan::Scan;
use crate::server::exchange::Walk;
use crate::server::resp::clients::NO_ROOM;
use crate::server::worker::Link;
use crate::topic::Shards;

/// The refusal of a walk that a shutdown interrupts.
const STOPPING: &str = "TRYAGAIN the server is shutting down";

/// A command that walks through the topics.
#[derive(Debug)]
pub(crate) enum Search {
    Scan(Scan),
    Keys(Keys),
    RandomKey(RandomKey),
}

/// How a search continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It is not finished.
    Going,
    /// Its reply is appended.
    Finished,
}

impl Search {
    /// Returns the stretch to walk next; `None` if all that is left is to send the reply.
    pub(crate) fn walk(&self, shards: Shards) -> Option<Walk> {
        match self {
            Self::Scan(scan) => Some(scan.walk(shards)),
            Self::Keys(keys) => keys.walk(shards),
            Self::RandomKey(random) => Some(random.walk(shards)),
        }
    }

    /// Returns whether it can continue now: not while a walk is away, and not while the client does
    /// not read its reply.
    pub(crate) fn may_continue(&self, link: &Link) -> bool {
        match self {
            Self::Keys(keys) if keys.is_complete() => link.has_room(),
            _ => link.in_flight() == 0,
        }
    }

    /// Continues after a stretch, or with the next piece of the reply. `stopping`: the server is
    /// shutting down, so a search with many stretches ends here, unless its reply has begun.
    pub(crate) fn advance(&mut self, walk: Option<&Walk>, link: &Link, stopping: bool) -> Progress {
        match (self, walk) {
            (Self::Scan(scan), Some(walk)) => {
                link.ring().push(|writer| scan.encode_reply(walk, writer));
            }
            (Self::RandomKey(random), Some(walk)) => {
                let name = walk.names().next();
                if name.is_none() && random.advance(walk) {
                    if !stopping {
                        return Progress::Going;
                    }
                    link.ring().refuse(STOPPING);
                } else {
                    link.ring().push(|writer| match name {
                        Some(name) => writer.bulk(name),
                        None => writer.null(),
                    });
                }
            }
            (Self::Keys(keys), Some(walk)) => {
                let fits = keys.collect(walk);
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
                return Progress::Going;
            }
            (Self::Keys(keys), None) => {
                let piece = keys.next_piece();
                link.ring().push(|writer| piece.encode(writer));
                link.set_collected(keys.len());
                if !piece.is_last {
                    return Progress::Going;
                }
            }
            (Self::Scan(_) | Self::RandomKey(_), None) => {
                debug_assert!(false, "it always has a stretch to walk");
            }
        }
        Progress::Finished
    }
}

/// Refuses a KEYS, and forgets what it collected.
fn finish_with(refusal: &str, link: &Link) -> Progress {
    link.set_collected(0);
    link.ring().refuse(refusal);
    Progress::Finished
}
