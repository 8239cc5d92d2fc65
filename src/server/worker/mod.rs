//! The state that the tasks of one worker share: [`Worker`], for each connection the part that
//! other tasks reach ([`Link`]), and what is forwarded to other nodes ([`Forwarder`]). It knows the way to the shards, but no socket and none of the
//! tasks.

mod datagrams;
mod deadlines;
mod enforce;
mod forwarder;
mod limits;
mod link;
mod ring;
mod state;
mod waiting;

pub(crate) use datagrams::DatagramReplies;
pub(crate) use forwarder::{Forwarder, PeerLink};
pub(crate) use link::{KEEP_LEN, Link, ReplyEncoder, ReplySocket};
pub(crate) use ring::Ring;
pub(crate) use state::{Worker, yield_turn};
pub(crate) use waiting::Awaited;
