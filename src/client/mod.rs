//! Clients: [`Client`] for asynchronous programs, [`blocking::Client`] for others, each over TCP or
//! UDP. Both speak the framed dialect; neither knows the server's insides.
//!
//! A client is a handle: clone it, share it, have as many calls in flight as you like. Over TCP
//! they share one connection, which comes back by itself when it was lost. Over UDP each request
//! is a datagram that is sent again until its reply comes.
//!
//! Counts of one topic that wait for the connection at the same time go as one request, and each
//! caller gets a sum of its own ([`Options::coalesce`]). A program that counts many topics at a high
//! rate can have a connection to each of the server's shards ([`Options::shard_aware`]).
//!
//! # What a retry can do to the count
//!
//! A failed call says whether its request [may have been applied](Error::may_have_been_applied). A
//! COUNT that was applied without its caller knowing leaves a gap: its number is never given to
//! anyone. Nothing is ever counted twice *for one number*: order and uniqueness hold whatever is
//! sent again.
//!
//! UDP clients send again by themselves, [`Options::attempts`] datagrams a call, so with a lossy
//! network sums have gaps, and [`add`](Client::add) may skip whole ranges. RESET, DELETE and
//! ADVANCE come to the same when applied twice, with one exception: a copy that the network held up
//! can arrive *after* the call returned, and undo counts made since. Where that matters, reset over
//! TCP, which sends nothing twice.

mod address;
mod asynchronous;
pub mod blocking;
mod error;
mod options;
mod outcome;
mod tcp;
mod udp;

pub use asynchronous::Client;
pub use error::Error;
pub use options::Options;
