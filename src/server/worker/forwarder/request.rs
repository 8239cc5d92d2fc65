//! The requests that a forwarder handles.

use crate::server::exchange::Origin;
use crate::shard::Parked;

/// A request on its way to another node.
pub(crate) type Request = Parked<Origin>;
