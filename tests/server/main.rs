//! The server from outside: embedded, or the real binary where a process of its own matters, always
//! on ports that the system chose.
//!
//! - `classic`: clients of the original kind
//! - `order`: sums are 1..n and in real-time order, under load
//! - `frames`: every method, vectors, pipelines, datagrams of many frames, HELLO
//! - `bad_input`: every error of the protocol over each transport; random bytes
//! - `peers`: many, idle, slow and disappearing ones
//! - `moving`: connections that go to another worker
//! - `lifecycle`: binding, stopping, signals, idle processor use
//! - `client`: the library's clients, also against servers that fail
//! - `command`: the command line
//! - `redis_clients`: Redis clients as they are
//! - `resp`, `resp_model`: the Redis protocol, byte for byte, and beside a model
//! - `scan`: SCAN over the wire
//! - `steering`: classic datagrams arrive at their owner
//! - `durable`, `stores`, `disks`: topics that are kept; stores and disks that fail
//! - `readme`: what the README says can be done, can be done

#![allow(clippy::unwrap_used, missing_docs)]

mod bad_input;
mod classic;
mod client;
mod command;
mod disks;
mod durable;
mod frames;
mod lifecycle;
mod moving;
mod order;
mod peers;
mod readme;
mod redis_clients;
mod resp;
mod resp_model;
mod scan;
mod steering;
mod stores;

#[path = "../support/mod.rs"]
mod support;
