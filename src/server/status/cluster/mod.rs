//! What a node of a cluster tells about itself and the others.

mod forwards;
mod snapshot;

pub(crate) use forwards::ForwardCounts;
pub use forwards::ForwardsSnapshot;
pub use snapshot::{ClusterMap, ClusterSnapshot, NodeSnapshot, RangesSnapshot};
