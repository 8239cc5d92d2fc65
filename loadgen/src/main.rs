//! The load generator: keeps a server busy with COUNTs over framed TCP and says how fast it was.

mod load;
mod report;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

/// Measure a globalcounter server: a fixed number of requests in flight, for a fixed time.
#[derive(Debug, Parser)]
#[command(
    name = "loadgen",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 measured, 1 the server failed or is not there, 2 bad usage."
)]
struct Arguments {
    /// The server's TCP address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9999")]
    server: SocketAddr,
    /// How many connections
    #[arg(long, value_name = "N", default_value = "16")]
    connections: NonZeroUsize,
    /// How many requests each connection has in flight
    #[arg(long, value_name = "N", default_value = "64")]
    pipeline: NonZeroU32,
    /// How many topics are counted, all equally often
    #[arg(long, value_name = "N", default_value = "10000")]
    topics: NonZeroUsize,
    /// How long to measure, in seconds, after a tenth of it to warm up
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    duration: Duration,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "it must be a number of seconds above 0".into())
}

fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a runtime")?;
    let plan = load::Plan {
        server: arguments.server,
        connections: arguments.connections.get(),
        pipeline: arguments.pipeline.get(),
        topics: arguments.topics.get(),
        warm_up: arguments.duration / 10,
        duration: arguments.duration,
    };
    let measured = runtime.block_on(load::measure(&plan))?;
    report::print(&measured).context("writing to standard output")
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}
