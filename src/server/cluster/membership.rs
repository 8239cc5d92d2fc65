//! What the workers of a node of a cluster have to know.

use std::time::Duration;

use super::deadline::Deadline;
use super::owners::Owners;
use super::peers::Credentials;

/// A server's part in a cluster.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) owners: Owners,
    pub(crate) deadline: Deadline,
    /// How this node shows itself to the others.
    pub(crate) peers: Credentials,
    /// How long a request waits for an owner, or for the reply of another node.
    pub(crate) forward_timeout: Duration,
}
