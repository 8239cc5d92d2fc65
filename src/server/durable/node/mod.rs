//! A node of a cluster: joins it, and moves ranges of topics between etcd and the shards as
//! [`cluster`](crate::cluster) decides. docs/cluster.md has the rules.

mod exact_sums;
mod join;
mod loading;
mod owners;
mod ranges;
mod steps;
mod sweeper;

pub(crate) use join::join;
