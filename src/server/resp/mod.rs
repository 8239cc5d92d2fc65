//! A connection that speaks the Redis protocol: its commands in, their replies out in the same order,
//! over however many shards. [`Session`] reads commands and says what can be said at once; [`Ring`]
//! keeps replies in order. Bytes come and go through the
//! connection, requests through the router, as for any other dialect.

mod answer;
mod clients;
mod info;
mod ring;
mod scan;
mod session;

pub(super) use clients::Clients;
pub(super) use ring::Ring;
pub(super) use session::{Rest, Session};
