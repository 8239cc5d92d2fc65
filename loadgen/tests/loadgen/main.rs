//! The load generator from outside: the real binary, against servers in this process.
//!
//! - `runs`: every target, closed and open loops, ramps, reports
//! - `servers`: several servers with one order: together, one after the other, and apart
//! - `order`: `--verify`, against servers that keep order, lose datagrams, or lie
//! - `redis_cluster`: requests that are sent to the owners of their topics
//! - `failures`: bad usage, and servers that are absent, vanish, fall silent or send invalid bytes
//! - `reconnect`: `--reconnect`, with servers that close connections or are away
//! - `null_and_compare`: the server that counts nothing, and the comparison of servers
//! - `manual`: manual pages and completion scripts
//! - `tls`: runs over TLS
//! - `tune`: settings of the server, recommended from measurements

#![allow(clippy::unwrap_used)] // also outside of test functions

mod failures;
mod liar;
mod manual;
mod null_and_compare;
mod order;
mod reconnect;
mod redis_cluster;
mod runs;
mod servers;
mod support;
mod tls;
mod tune;
