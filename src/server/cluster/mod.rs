//! What a node of a cluster knows of the others, and until when it may answer. Workers read it. It knows
//! neither etcd, shards nor workers.

#[cfg_attr(
    not(feature = "cluster"),
    allow(dead_code, reason = "nothing moves the deadline")
)]
mod deadline;
mod membership;
mod node_map;
#[cfg_attr(
    not(feature = "cluster"),
    allow(dead_code, reason = "no range is ever loaded")
)]
mod outside;
mod owners;
mod peers;
#[cfg_attr(
    not(feature = "cluster"),
    allow(dead_code, reason = "no range ever leaves")
)]
mod range_counts;

pub(crate) use deadline::{Deadline, KnownBefore};
pub(crate) use membership::Membership;
pub(crate) use outside::OutsideCounts;
pub(crate) use owners::{NodeSlots, Owners, Peer, PeerId, RangeOwner};
pub(crate) use peers::{Credentials, PeerStream};
pub use range_counts::MovesSnapshot;
pub(crate) use range_counts::RangeState;
