//! `globalcounter cluster`: the commands that look at a cluster and change it. They need etcd alone, and no
//! node.
//!
//! - [`status`]: who is live and who owns what, once or again and again
//! - [`moves`]: move the ranges away from a node, and back
//! - [`topics`]: list and export topics
//! - [`import`] and [`advance`]: raise topics while no node is live
//! - [`demo`]: etcd and three nodes on this machine, to look at
//! - [`connection`]: the flags that say where the cluster is

mod advance;
mod connection;
mod demo;
mod import;
mod moves;
mod status;
mod topics;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;

use super::pipe::exit_code;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look at a cluster and change it, by means of its etcd
    #[command(subcommand)]
    Cluster(ClusterCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Show the nodes of a cluster, which ranges of topics they own, and what state the cluster is in
    Status(status::Arguments),
    /// Move all ranges of a node to the others, and wait until it owns none
    Drain(moves::DrainArguments),
    /// Take the marks of drained nodes away, and wait until ranges have moved back to them
    Rebalance(moves::RebalanceArguments),
    /// List the topics of a cluster, one a line (sum, ceiling or exact, range, owner, topic)
    Topics(topics::ListArguments),
    /// Write all topics of a cluster to a file, one JSON object per line
    Export(topics::ExportArguments),
    /// Import the output of an export into a cluster whose nodes are stopped; never lower a sum
    Import(import::Arguments),
    /// Raise all topics of a cluster whose nodes are stopped, after etcd was restored from a snapshot
    AdvanceAll(advance::Arguments),
    /// Run etcd and a cluster of three nodes on this machine with a small load, to look at
    Demo(demo::Arguments),
}

/// Runs the command.
///
/// # Errors
///
/// etcd cannot be reached or refuses, the cluster does not exist or is in the wrong state for the command,
/// or a file cannot be read or written.
pub(super) fn run(Command::Cluster(command): &Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let result = runtime.block_on(async {
        match command {
            ClusterCommand::Status(arguments) => status::run(arguments).await,
            ClusterCommand::Drain(arguments) => moves::drain(arguments).await,
            ClusterCommand::Rebalance(arguments) => moves::rebalance(arguments).await,
            ClusterCommand::Topics(arguments) => topics::list(arguments).await,
            ClusterCommand::Export(arguments) => topics::export(arguments).await,
            ClusterCommand::Import(arguments) => import::run(arguments).await,
            ClusterCommand::AdvanceAll(arguments) => advance::run(arguments).await,
            ClusterCommand::Demo(arguments) => demo::run(arguments).await,
        }
    });
    exit_code(result)
}
