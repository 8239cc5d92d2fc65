//! The state of the server as a whole: its settings, its age, its connections and clients, and the
//! counters of each worker. Workers write it; INFO, CONFIG GET, CLIENT LIST and a [`Monitor`] read it. It knows no
//! socket and no request.

mod clients;
mod closings;
mod cluster;
mod connections;
mod counters;
mod limits;
mod monitor;
mod reached;
mod request_limits;
mod server;
mod topics;

pub(crate) use clients::{Client, DEFAULT_USER, Registration};
pub(crate) use closings::CloseReason;
pub(crate) use cluster::ForwardCounts;
pub use cluster::{ClusterMap, ClusterSnapshot, ForwardsSnapshot, NodeSnapshot, RangesSnapshot};
pub(crate) use connections::{Accepting, Connections, OpenConnection, Refused};
pub(crate) use counters::Counters;
pub use limits::Limits;
pub use monitor::{
    BytesSnapshot, CommandCalls, ErrorCount, LoadedSnapshot, Monitor, RequestCount, Snapshot,
    State, WorkerSnapshot,
};
pub use reached::LimitsReached;
pub(crate) use server::Status;
pub use topics::{HotTopic, SearchError, TopicPage, TopicSum};
