//! `globalcounter cluster drain` and `rebalance`: move the ranges away from a node, and back. They only set
//! or remove a mark; the nodes move the ranges.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use globalcounter::cluster::NodeName;
use globalcounter::etcd::{Marked, NodeState, Operator, Overview};
use tokio::time::{Instant, sleep};

use super::connection::ConnectionArguments;
use crate::cli::figures::{printable, whole};
use crate::cli::number::parse_number;

/// How often etcd is asked whether the ranges have moved.
const LOOK_PERIOD: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    globalcounter cluster drain --cluster etcd://10.0.0.1:2379 a\n\n\
    The node goes on running, forwards requests to the others, and gets no range until `cluster \
    rebalance` takes its mark away. A node that is stopped by SIGTERM drains by itself. Exit code 1: \
    there is no such node, no other node would take the ranges, or they have not moved in time.")]
pub(in crate::cli) struct DrainArguments {
    /// Name of the node
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    waiting: WaitingArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    globalcounter cluster rebalance --cluster etcd://10.0.0.1:2379\n\n\
    A node that is shutting down sets its mark again.")]
pub(in crate::cli) struct RebalanceArguments {
    #[command(flatten)]
    waiting: WaitingArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Debug, Args)]
struct WaitingArguments {
    /// How long to wait until the ranges have moved, in seconds. They go on moving afterwards
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = parse_number::<u32>,
        default_value_t = 60
    )]
    timeout: u32,
}

/// Marks a node as draining, and waits until it owns no range.
///
/// # Errors
///
/// etcd fails, no other node would take over, or it takes too long.
pub(super) async fn drain(arguments: &DrainArguments) -> Result<()> {
    let operator = arguments.connection.open().await?;
    let node = NodeName::new(&arguments.node);
    let name = printable(&arguments.node);
    let overview = operator.overview().await?;
    if overview.node(&node).is_none() {
        bail!("there is no live node {name}: {}", live(&overview));
    }
    let is_successor = |other: &NodeState| other.name != node && !other.session.draining;
    if !overview.nodes.iter().any(is_successor) {
        bail!(
            "no other node would take over the ranges of {name}: start one, or take the marks of drained \
             nodes away with `globalcounter cluster rebalance`"
        );
    }
    let session = match operator.mark(&node, true).await? {
        Marked::Changed(session) | Marked::Unchanged(session) => session,
        Marked::NoSession => bail!("node {name} has just ended"),
    };
    let moved = until(&operator, &arguments.waiting, |overview| {
        let is_marked = match overview.node(&node) {
            Some(now) if now.session.id == session => now.session.draining,
            // It has ended, and the others take over.
            _ => true,
        };
        match (is_marked, overview.owned_by(session)) {
            (false, _) => Step::Failed(format!(
                "the mark of {name} was taken away while its ranges moved, by `cluster rebalance` or \
                 another command"
            )),
            (true, 0) => Step::Done,
            (true, owned) => Step::Waiting(format!("node {name} still owns {}", ranges(owned))),
        }
    });
    moved.await?;
    println!("node {name} owns no range");
    Ok(())
}

/// Takes the marks of all nodes away, and waits until each range is where it belongs.
///
/// # Errors
///
/// etcd fails, no node is live, or it takes too long.
pub(super) async fn rebalance(arguments: &RebalanceArguments) -> Result<()> {
    let operator = arguments.connection.open().await?;
    let overview = operator.overview().await?;
    if overview.nodes.is_empty() {
        bail!("no node is live, so no range can move");
    }
    for node in overview.nodes.iter().filter(|node| node.session.draining) {
        if let Marked::Changed(_) = operator.mark(&node.name, false).await? {
            println!("node {} takes ranges again", printable(node.name.as_str()));
        }
    }
    let moved = until(&operator, &arguments.waiting, |overview| {
        let (without, misplaced) = (
            overview.without_owner().count(),
            overview.misplaced().count(),
        );
        match without + misplaced {
            0 => Step::Done,
            _ => Step::Waiting(format!(
                "{} on their way to other nodes, and {} without owner",
                are(misplaced),
                ranges(without)
            )),
        }
    });
    moved.await?;
    println!("all ranges are owned by the nodes that they are assigned to");
    Ok(())
}

/// Whether ranges have moved.
enum Step {
    Done,
    /// Why not yet.
    Waiting(String),
    /// Why they will not.
    Failed(String),
}

/// Looks at the cluster until `step` says that it is done, or for too long.
async fn until(
    operator: &Operator,
    waiting: &WaitingArguments,
    step: impl Fn(&Overview) -> Step,
) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(waiting.timeout.into());
    loop {
        let overview = match operator.overview().await {
            Ok(overview) => overview,
            // An election in etcd is no reason to give up.
            Err(_) if Instant::now() < end => {
                sleep(LOOK_PERIOD).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match step(&overview) {
            Step::Done => return Ok(()),
            Step::Failed(why) => bail!("{why}"),
            Step::Waiting(why) if Instant::now() >= end => bail!(
                "after {} s, {why}. They go on moving; `globalcounter cluster status` shows how far \
                 they are",
                waiting.timeout
            ),
            Step::Waiting(_) => sleep(LOOK_PERIOD).await,
        }
    }
}

fn live(overview: &Overview) -> String {
    let names = overview.nodes.iter();
    let names: Vec<String> = names.map(|node| printable(node.name.as_str())).collect();
    match names.len() {
        0 => "no node is live".to_owned(),
        1 => format!("{} is the only one", names[0]),
        _ => format!("live are {}", names.join(", ")),
    }
}

fn ranges(number: usize) -> String {
    match number {
        1 => "1 range".to_owned(),
        number => format!("{} ranges", whole(number as u64)),
    }
}

fn are(number: usize) -> String {
    match number {
        1 => "1 range is".to_owned(),
        number => format!("{} ranges are", whole(number as u64)),
    }
}
