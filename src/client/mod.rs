//! Clients of a globalcounter server over TCP, TLS (feature `tls`) or UDP: [`Client`] for asynchronous programs,
//! [`blocking::Client`] for all others. Both speak the framed dialect and know nothing of the
//! server's internals.
//!
//! A client is a handle: clone it, share it, and have any number of calls in flight. Over TCP, all
//! calls share one connection, and the client reconnects after it was lost. Over UDP, each request
//! is a datagram, which is sent again until its reply arrives.
//!
//! Over TCP, counts of one topic that wait to be sent at the same time are sent as one request, and
//! each caller gets a sum of its own ([`Options::coalesce`]). A program that counts many topics at
//! a high rate can have one connection to each of the server's shards ([`Options::shard_aware`]).
//!
//! # A cluster
//!
//! A URL with several hosts, `tcp://a:9999,b:9999`, names nodes of one cluster: some of them suffice. The
//! client connects to the first that answers and asks it which node owns which topics. It sends each
//! request to the owner of its topic, over connections that it opens when they are first needed. If it
//! cannot reach an owner, it sends the request to any other node, which forwards it.
//!
//! It asks for the map again when a call fails, and every few seconds. If a node is gone, or cannot serve a
//! topic at the moment, the client tries again within the call's [timeout](Options::timeout), also at other
//! nodes, as long as it is certain that the request was not applied. Servers that belong to no cluster
//! are refused: each would count by itself. A [token](Options::token) is shown to each node that the map
//! names.
//!
//! # What a retry can do to the count
//!
//! The error of a failed call says whether its request [may have been
//! applied](Error::may_have_been_applied). A COUNT that was applied although its call failed leaves
//! a gap: nobody ever gets its number. A retry never makes a number appear twice: the order and the
//! uniqueness of sums hold however often a request is sent.
//!
//! UDP clients retry by themselves and send up to [`Options::attempts`] datagrams a call. On a
//! lossy network, sums therefore have gaps, and [`add`](Client::add) may skip whole ranges. RESET,
//! DELETE and ADVANCE have the same effect when they are applied twice, with one exception: a copy
//! that the network delayed can arrive *after* the call returned and undo counts made since. If
//! that matters, reset over TCP, which never sends a request twice.

mod address;
mod asynchronous;
pub mod blocking;
mod cluster;
mod error;
mod options;
mod outcome;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod udp;

pub use asynchronous::Client;
pub use error::Error;
pub use options::{Options, Secret};
#[cfg(feature = "tls")]
pub use tls::TlsOptions;
