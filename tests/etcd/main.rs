//! The client of etcd and the driver of a node, against processes of etcd that the tests start. Where
//! `etcd` is not installed, they say so and pass; if the environment variable `CI` is set, they fail.
//!
//! - `requests`: each request of a node, applied and refused
//! - `format`: the creation of a cluster, and what is refused
//! - `ceilings`: commits and loads compare epochs
//! - `watches`: what a watch reports, and when it ends
//! - `outages`: lost answers, dead and silent members, a restart
//! - `secrets`: TLS, user and password
//! - `drivers`: nodes that share the ranges of a cluster
//! - `commands`: `globalcounter cluster status`, `topics` and what they refuse
//! - `moving`: `cluster drain` and `rebalance`, with nodes that share the ranges
//! - `nodes`: servers that are nodes, and what each tells of itself, the other and the cluster
//! - `monitoring`: metrics, readiness, JSON, the dashboard and the alerts of nodes
//! - `offline`: `cluster export`, `import` and `advance-all`
//! - `demo`: `cluster demo`
//! - `run`: runs the command
//! - `etcd`: a process of etcd
//! - `relay`: a connection that can be made to swallow what it carries
//! - `cluster`: members of a cluster, and what they usually do first

#![allow(clippy::unwrap_used, missing_docs)]

mod ceilings;
mod cluster;
mod commands;
mod demo;
mod drivers;
mod etcd;
mod format;
mod monitoring;
mod moving;
mod nodes;
mod offline;
mod outages;
mod relay;
mod requests;
mod run;
mod secrets;
mod watches;

#[path = "../support/mod.rs"]
mod support;
