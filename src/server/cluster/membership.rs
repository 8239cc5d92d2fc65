//! What the workers of a node of a cluster have to know.

use std::time::Duration;

use super::deadline::Deadline;
use super::owners::Owners;
use super::peers::Credentials;
use super::range_counts::RangeCounts;

/// A server's part in a cluster.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) owners: Owners,
    pub(crate) deadline: Deadline,
    /// What this node does with its ranges.
    pub(crate) ranges: RangeCounts,
    /// How this node shows itself to the others.
    pub(crate) peers: Credentials,
    /// How long a request waits for an owner, or for the reply of another node.
    pub(crate) forward_timeout: Duration,
}
