//! The transport of a client of several nodes: it sends each request to the owner of its topic, and to
//! another node if the owner is gone. It must not know the client's methods, and nothing of how the nodes
//! agree on owners: it believes the maps that they tell it.

mod attempt;
mod deadline;
mod node;
mod nodes;
mod table;

pub(super) use nodes::Cluster;
