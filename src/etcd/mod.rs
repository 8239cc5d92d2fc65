//! The client of etcd: the requests of a cluster's nodes as transactions, ceilings guarded by epochs, a
//! watch of sessions and claims; the [`Driver`], which runs a [`cluster::Node`](crate::cluster::Node)
//! with them; and the [`Operator`], for commands that are no node. docs/cluster.md has the keys and the rules. It must not know shards or the server.
//!
//! A request that was not answered may take effect later. [`Error::is_unknown`] tells; nothing is sent
//! again by itself.

mod ceilings;
mod client;
mod connection;
mod driver;
mod error;
mod format;
mod keys;
mod location;
mod member;
mod operator;
mod pages;
mod proto;
mod transaction;
mod values;
mod watch;

pub use ceilings::{Ceilings, Change, MAX_OPERATIONS};
pub use client::Client;
pub use connection::{REQUEST_TIMEOUT, Settings, Tls};
pub use driver::{Driver, Events, Shards, StartError};
pub use error::Error;
pub use location::{Location, LocationError};
pub use member::Member;
pub use operator::{
    ChangeError, EtcdMember, Marked, NodeState, Offline, Operator, Overview, StoredTopic, Topics,
};
pub use values::{Ceiling, Description};
pub use watch::Watch;

pub use crate::measure::boot_time;
