//! The cluster as the server sees it: which node owns which slots. It must not know etcd, sessions or
//! claims; [`cluster`](crate::cluster) decides, and whoever drives it writes the result here.

mod owners;

pub(crate) use owners::{NodeSlots, Owners, Peer, PeerId, RangeOwner};
