//! The load generator from outside: the real binary, against servers in this process.
//!
//! - `runs`: every target, closed and open loops, ramps, reports
//! - `order`: `--verify`, against servers that keep order, lose datagrams, or lie
//! - `failures`: bad usage, and servers that are absent, vanish, fall silent or send invalid bytes
//! - `null_and_compare`: the server that counts nothing, and the comparison of servers
//! - `tls`: runs over TLS
//! - `tune`: settings of the server, recommended from measurements

#![allow(clippy::unwrap_used)] // also outside of test functions

mod failures;
mod null_and_compare;
mod order;
mod runs;
mod support;
mod tls;
mod tune;
