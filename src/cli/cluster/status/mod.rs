//! `globalcounter cluster status`: what state a cluster is in, once or again and again.
//!
//! - [`report`]: what is told, also as JSON
//! - [`text`]: the report for people

mod report;
mod text;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::time::{MissedTickBehavior, interval};

use super::connection::ConnectionArguments;
use crate::json;
use report::Report;

/// How often `--watch` looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Moves a terminal's cursor to the first line and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    globalcounter cluster status --cluster etcd://10.0.0.1:2379,10.0.0.2:2379\n  \
    GLOBALCOUNTER_CLUSTER=etcd://10.0.0.1:2379 globalcounter cluster status --watch\n\n\
    States: \"whole\": each range is owned by the node that it is assigned to. \"moving\": all ranges \
    have owners, and some move. \"incomplete\": some ranges have no live owner, and their topics are not \
    served. \"down\": no node is live. \"absent\": there is no cluster yet. Exit code 1: etcd cannot be \
    reached, or its keys are not those of a cluster that this version reads.")]
pub(in crate::cli) struct Arguments {
    /// Print it again each second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print it as JSON, one object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Prints the state of the cluster.
///
/// # Errors
///
/// etcd cannot be reached or refuses, a key is not understood, or standard output fails.
pub(super) async fn run(arguments: &Arguments) -> Result<()> {
    let settings = arguments.connection.settings()?;
    let location = arguments.connection.location();
    if !arguments.watch {
        let report = Report::read(location, &settings).await?;
        return print("", &shown(&report, arguments.json)?);
    }
    let clear = match !arguments.json && io::stdout().is_terminal() {
        true => CLEAR,
        false => "",
    };
    let mut looks = interval(PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        match Report::read(location, &settings).await {
            Ok(report) => print(clear, &shown(&report, arguments.json)?)?,
            // What is watched may be an outage of etcd.
            Err(error) if arguments.json => eprintln!("globalcounter: {error:#}"),
            Err(error) => print(clear, &format!("{error:#}\n"))?,
        }
    }
}

fn shown(report: &Report, as_json: bool) -> Result<String> {
    Ok(match as_json {
        true => json::without_controls(report)? + "\n",
        false => report.text(),
    })
}

fn print(clear: &str, text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(clear.as_bytes())?;
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
