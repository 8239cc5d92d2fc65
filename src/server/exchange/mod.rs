//! The exchange between workers and shards. It owns the shards, sorts requests by owner, and
//! decides in which order batches reach each shard and how replies get back. It knows no socket, no
//! connection and no runtime; what a request does to a topic is up to [`shard`](crate::shard).
//! docs/architecture.md lists the five ways in which a reply comes back.

mod batch;
mod buffers;
mod commits;
mod datagrams;
mod intake;
mod mailbox;
mod node_maps;
mod origin;
#[cfg_attr(
    not(feature = "cluster"),
    allow(dead_code, reason = "nothing moves ranges")
)]
mod range_message;
mod request_counts;
mod requests;
mod router;
mod search_part;
mod shard_message;
mod shared;
mod sync;
mod visit;
mod walk_step;

pub(crate) use batch::Batch;
pub(crate) use buffers::{empty, shrink};
pub use commits::CommitSnapshot;
pub(crate) use commits::{CommitResult, CopyStep, NextCommit, TakenChanges};
pub(crate) use datagrams::{Datagrams, Entry};
pub(crate) use intake::{FramesEnd, Intake};
pub(crate) use node_maps::{Alone, NodeMaps};
pub(crate) use origin::{
    ConnectionKey, Datagram, LateReply, Origin, ReplyFormat, Requester, Shard, WorkerId,
};
#[cfg(feature = "cluster")]
pub(crate) use range_message::{Done, RangeMessage, RangeStep, Report};
pub(crate) use request_counts::RequestCounts;
pub(crate) use requests::{Queued, Requests, Source, count_waiting, with_replies};
pub(crate) use router::{HandOvers, Mark, Outcome, Router};
pub(crate) use search_part::{SearchPart, cursor_of, decode_cursor};
pub(crate) use shard_message::ShardMessage;
#[cfg(test)]
pub(crate) use shared::HAND_OVER_CREDIT;
pub(crate) use shared::{ReadGuard, Shared};
pub use sync::{inbox, reach};
pub(crate) use visit::Visit;
pub(crate) use walk_step::WalkStep;
