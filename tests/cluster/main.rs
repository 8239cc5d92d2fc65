//! A cluster of real processes under faults: three members of etcd and three nodes, under a load of all
//! dialects. What the clients were told is checked: one order per topic.
//!
//! Where the test may, as root on Linux, each process has a network of its own, so that it can be cut off.
//! Else all processes share loopback, and the faults that need links are left out. Where `etcd` is not
//! installed, the tests say so and pass; if the environment variable `CI` is set, they fail.
//!
//! - `rounds`: faults from a seed, alone and together
//! - `scenarios`: each named fault by itself
//! - `failover`: how soon topics count again after a node died, and that a planned move skips nothing
//! - `other_clients`: clients that others wrote, across a failover
//! - `soak`: an hour of faults; memory, descriptors and etcd's size stay flat
//! - `faults`: what can go wrong, and how it is undone
//! - `round`: a fault under load, then the check
//! - `checker`: whether what clients were told can be
//! - `clients`: the load
//! - `cluster`: the processes together
//! - `members`: the members of etcd
//! - `node`: a process of a node
//! - `relay`: a way to etcd that can hold back what it carries
//! - `network`: a network for each process, and its links

#![allow(clippy::unwrap_used, missing_docs)]

mod checker;
mod clients;
mod cluster;
mod failover;
mod faults;
mod members;
mod network;
mod node;
mod other_clients;
mod relay;
mod round;
mod rounds;
mod scenarios;
mod soak;

#[path = "../support/mod.rs"]
mod support;
