//! What the workers of a node of a cluster have to know.

use std::time::Duration;

use super::deadline::Deadline;
use super::outside::Outside;
use super::owners::Owners;
use super::peers::Credentials;
use super::range_counts::RangeCounts;
use crate::topic::Shards;

/// A server's part in a cluster.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) owners: Owners,
    pub(crate) deadline: Deadline,
    /// What this node does with its ranges.
    pub(crate) ranges: RangeCounts,
    pub(crate) outside: Outside,
    /// How this node shows itself to the others.
    pub(crate) peers: Credentials,
    /// How long a request waits for an owner, or for the reply of another node.
    pub(crate) forward_timeout: Duration,
}

impl Membership {
    /// Creates the part of a server with these shards, which has no ranges yet.
    pub(crate) fn new(
        owners: Owners,
        shards: Shards,
        peers: Credentials,
        forward_timeout: Duration,
    ) -> Self {
        Self {
            deadline: Deadline::default(),
            ranges: RangeCounts::new(owners.ranges()),
            outside: Outside::new(shards, owners.ranges()),
            owners,
            peers,
            forward_timeout,
        }
    }

    /// Creates the part of a server with these shards in a cluster with this many ranges, for tests.
    #[cfg(test)]
    pub(crate) fn for_tests(shards: Shards, ranges: u16) -> Self {
        let name = crate::cluster::NodeName::new("a");
        let owners = Owners::new(ranges, name, "10.0.0.1:9999".into());
        Self::new(
            owners,
            shards,
            Credentials::default(),
            Duration::from_secs(5),
        )
    }
}
