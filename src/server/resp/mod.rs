//! A connection that speaks the Redis protocol: its commands in, their replies out in the same order,
//! over however many shards. [`Session`] reads commands and says what can be said at once; [`Ring`](crate::server::worker::Ring)
//! keeps replies in order. Bytes come and go through the
//! connection, requests through the router, as for any other dialect.

mod answer;
mod info;
mod scan;
mod session;

pub(crate) use session::{Rest, Session};
