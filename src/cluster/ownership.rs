//! What a node does with a range at the moment.

use super::time::Moment;
use super::view::{Epoch, NodeName, SessionId};

/// See the [module](self). A range is served under the epoch of the claim at which it was loaded, and
/// under no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ownership {
    /// There is no memory of the range in this node.
    Absent {
        /// A write of this epoch, or an earlier one, may have an unknown outcome: the range must not
        /// be served at it (rule 7).
        fenced: Epoch,
        /// Nothing is tried before this moment.
        retry_at: Moment,
    },
    /// The range is being claimed.
    Claiming,
    /// The own claim is being written anew.
    Reclaiming,
    /// The shards load the range.
    Loading(Epoch),
    /// The shards serve the range.
    Serving(Epoch),
    /// The shards answer nothing further and write exact sums.
    Freezing(Epoch, Successor),
    /// The new owner's claim is being written.
    HandingOver(Epoch),
    /// The exact sums are written, and nobody takes over.
    Closed(Epoch),
    /// The shards discard their memory of the range.
    Dropping { fenced: Epoch },
}

/// Who gets a range that is frozen; `None` if the last node leaves.
pub(super) type Successor = Option<(NodeName, SessionId)>;

impl Ownership {
    /// The state at the beginning of a session.
    pub(super) const NONE: Self = Self::Absent {
        fenced: Epoch(super::view::Revision(0)),
        retry_at: Moment::START,
    };

    /// Returns the epoch of the memory that the shards have of the range.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match *self {
            Self::Loading(epoch)
            | Self::Serving(epoch)
            | Self::Freezing(epoch, _)
            | Self::HandingOver(epoch)
            | Self::Closed(epoch) => Some(epoch),
            Self::Absent { .. } | Self::Claiming | Self::Reclaiming | Self::Dropping { .. } => None,
        }
    }

    /// Returns whether the range is on its way to another node.
    pub(super) fn is_moving(&self) -> bool {
        matches!(self, Self::Freezing(..) | Self::HandingOver(_))
    }
}
