//! globalcounter gives a distributed system one complete order. A server holds a sum for each topic;
//! COUNT adds one to a topic's sum and returns it. So every event that anyone counts on a topic has
//! its place in one order.
//!
//! ```text
//!            core 0                                       core 1
//!  ┌───────────────────────────────┐            ┌───────────────────────────────┐
//!  │ worker 0 (one thread)         │            │ worker 1                      │
//!  │  UDP socket   SO_REUSEPORT    │            │  UDP socket   SO_REUSEPORT    │
//!  │  TCP listener SO_REUSEPORT    │            │  TCP listener SO_REUSEPORT    │
//!  │  its connections              │            │  its connections              │
//!  └───────┬───────────────┬───────┘            └───────┬───────────────┬───────┘
//!          │ own topics    │ others', a batch           │               │
//!          ▼               └──────────────┐   ┌─────────┘               ▼
//!  ┌───────────────┐                    ┌─▼───▼─────────┐
//!  │ shard 0       │◄── channel ──      │ shard 1       │◄── channel ──
//!  │ owns topics   │                    │ owns topics   │      (also from the store:
//!  └───────────────┘                    └───────────────┘       ceilings made durable)
//! ```
//!
//! - [`Client`] and [`blocking::Client`] count over TCP or UDP (feature `client`).
//! - [`server::Server`] is the server, for embedding (feature `server`). The command `globalcounter
//!   serve` is a thin layer over it (feature `cli`, the default).
//! - [`protocol`] is the codec that clients and server share; [`topic`] defines topics and their
//!   owners.
//!
//! Dependencies point one way: `topic ← protocol ← shard ← store ← server` and
//! `topic ← protocol ← client`. The server asks [`access`] who may do what. `etcd` (feature `cluster`) drives
//! a node of [`cluster`] for the server. Shard and server count with `measure`, which knows nothing of them.

#[cfg(all(feature = "server", not(target_os = "linux")))]
compile_error!("the server needs Linux; the feature `client` alone does not");

// Before the modules that use its macro.
#[cfg(feature = "server")]
#[macro_use]
mod planting;

#[cfg(feature = "server")]
pub mod access;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod cluster;
#[cfg(feature = "cluster")]
pub mod etcd;
#[cfg(feature = "server")]
mod measure;
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod shard;
#[cfg(feature = "server")]
pub mod store;
pub mod topic;

/// The seeded numbers that the test binaries use as well.
#[cfg(all(test, feature = "server"))]
#[allow(dead_code, reason = "the tests in here use only a part")]
#[path = "../tests/support/random.rs"]
mod random;

/// The corpora of the fuzz targets, which the test binaries use as well.
#[cfg(all(test, feature = "server"))]
#[path = "../tests/support/corpus.rs"]
mod corpus;

#[cfg(feature = "client")]
pub use client::{Client, Error, blocking};

/// Compiles the README's examples.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
