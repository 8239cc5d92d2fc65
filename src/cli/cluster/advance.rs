//! `globalcounter cluster advance-all`: raises all topics, after etcd lost what it had acknowledged.

use anyhow::{Context, Result};
use clap::Args;
use globalcounter::etcd::Offline;

use super::connection::ConnectionArguments;
use crate::cli::figures::whole;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    globalcounter cluster advance-all --cluster etcd://10.0.0.1:2379 1000000\n\n\
    A snapshot of etcd is older than the numbers that were handed out since: a cluster that continues \
    from it would repeat them. Raise all topics by more than any of them was counted since the snapshot. \
    Topics that were created since are not in it, and begin at 1 again: import them. \
    docs/operations.md describes the steps and how to choose N.")]
pub(in crate::cli) struct Arguments {
    /// How many numbers each topic skips
    #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    by: u64,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Raises all topics.
///
/// # Errors
///
/// A node is live, or etcd fails. Some topics may have been raised.
pub(super) async fn run(arguments: &Arguments) -> Result<()> {
    let operator = arguments.connection.open().await?;
    let offline = operator.take_offline().await?;
    let mut raised = Raised::default();
    let result = raise(&offline, arguments.by, &mut raised).await;
    result.with_context(|| match raised.topics {
        0 => "no topic was raised, or an unknown part of the first ones".to_owned(),
        topics => format!(
            "{} topics were raised, but not all. Run the command again: it raises those once more, which \
             skips further numbers and repeats none",
            whole(topics)
        ),
    })?;
    println!(
        "{} topics raised by {}",
        whole(raised.topics),
        whole(arguments.by)
    );
    let largest = raised.to_largest;
    if largest > 0 {
        eprintln!(
            "{} of them reached {}, the largest sum, and cannot be counted on any more",
            whole(largest),
            whole(u64::MAX)
        );
    }
    Ok(())
}

/// What was raised.
#[derive(Debug, Default)]
struct Raised {
    topics: u64,
    /// Those of them that reached the largest sum.
    to_largest: u64,
}

async fn raise(offline: &Offline, by: u64, raised: &mut Raised) -> Result<()> {
    let mut topics = offline.topics();
    while let Some(page) = topics.next().await? {
        raised.to_largest += offline.advance(&page, by).await? as u64;
        raised.topics += page.len() as u64;
    }
    Ok(())
}
