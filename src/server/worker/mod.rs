//! What the tasks of one worker share: [`Worker`], and what each knows of a connection outside that
//! connection's own task ([`Link`]). Knows the way to the shards; no socket, and none of the tasks.

mod datagrams;
mod link;
mod ring;
mod tasks;

pub(crate) use datagrams::DatagramReplies;
pub(crate) use link::{KEEP_LEN, Link, Spoken, UNSENT_LIMIT};
pub(crate) use ring::Ring;
pub(crate) use tasks::{Worker, give_way};
