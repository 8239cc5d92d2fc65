//! The flags of a run. [`super::plan`] checks how they go together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::load::LoadArguments;
use super::tls::TlsArguments;
use crate::plan::Promise;
use crate::report::ReportFile;
use crate::values::{
    Bounds, parse_milliseconds, parse_processor, parse_rate, parse_seconds, parse_seconds_or_none,
    parse_server,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) load: LoadArguments,
    /// Set the server's address; several, which have one order together, as in A,B,C
    ///
    /// Connections and UDP sockets take turns over the servers. Without --pid, CPU time is reported of
    /// a single server only.
    #[arg(long, value_name = "ADDR,…", default_value = "127.0.0.1:9999", value_delimiter = ',',
        value_parser = parse_server, help_heading = "Target")]
    pub(super) server: Vec<SocketAddr>,
    /// Send each request to the owner of its topic, as Redis Cluster clients do (target resp)
    ///
    /// Asks a server for the nodes and their slots (CLUSTER SLOTS), connects to all of them, and follows
    /// MOVED. While an owner is away, other nodes are asked.
    #[arg(long, help_heading = "Target")]
    pub(super) redis_cluster: bool,
    #[command(flatten)]
    pub(super) tls: TlsArguments,
    /// If a connection ends, connect again, for up to SECONDS [default: 30]
    ///
    /// Without this, the run fails. Connections that cannot be opened at first are tried again as well.
    /// Requests without a reply are not sent again: they may have been applied. Over UDP, datagrams
    /// that nobody receives are lost, instead of the end of the run. Requests that were refused and not
    /// applied (UNAVAILABLE, BUSY, NOT_OWNER) are sent again.
    ///
    /// With several servers, the run goes on as long as one of them answers, and fails if none has for
    /// SECONDS. A connection on which nothing arrives for --timeout has ended.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, num_args = 0..=1,
        require_equals = true, default_missing_value = "30", conflicts_with = "ramp",
        help_heading = "Target")]
    pub(super) reconnect: Option<Duration>,

    /// Send R requests per second, however fast the server replies (open loop)
    ///
    /// The latency of a request counts from the time at which it was due, so a pause of the server
    /// shows in all requests that were due meanwhile.
    #[arg(long, value_name = "R", value_parser = parse_rate,
        conflicts_with_all = ["ramp", "pipeline"], help_heading = "Load")]
    pub(super) rate: Option<f64>,
    /// Find the highest rate that meets --slo, in open loops between two rates
    ///
    /// The rate is raised in steps, then the interval between the highest sustained rate and the
    /// failed one above it is halved. A rate is sustained if p99 is at most --slo, nothing is lost or
    /// refused, and at least 98% of the requests that were due are answered during the measurement. A
    /// rate that fails is tried again: it counts as sustained if one of three tries succeeds. The steps
    /// end at a rate that overloads the server, if the one before failed as well; a rate that is only
    /// late does not end them, because noise can make it late. A rate that fails therefore takes up to
    /// three times --duration, and each try up to --timeout longer.
    #[arg(
        long,
        value_name = "FROM..TO",
        conflicts_with = "pipeline",
        help_heading = "Load"
    )]
    pub(super) ramp: Option<Bounds>,
    /// Set the limit on p99 in a ramp, in milliseconds
    #[arg(long, value_name = "MS", default_value = "1", value_parser = parse_milliseconds,
        requires = "ramp", help_heading = "Load")]
    pub(super) slo: Duration,
    /// Measure for SECONDS (in a ramp, in each try)
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds,
        help_heading = "Load")]
    pub(super) duration: Duration,
    /// Measure N requests instead of a duration
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with_all = ["duration", "ramp"], help_heading = "Load")]
    pub(super) requests: Option<u64>,
    /// Warm up for SECONDS first [default: a tenth of --duration]
    ///
    /// With --requests, the default is no warm-up.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds_or_none, help_heading = "Load")]
    pub(super) warmup: Option<Duration>,
    /// Wait SECONDS for replies [default: 1 over UDP, 5 over TCP]
    ///
    /// Over UDP, a request without a reply by then counts as lost. Over TCP, the run fails if the
    /// server sends nothing for that long while requests are in flight. With several servers and
    /// --reconnect the default over TCP is 10: a node of a cluster may wait 5 for a new owner.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, help_heading = "Load")]
    pub(super) timeout: Option<Duration>,
    /// Count every topic once before the run, so that all of them exist
    ///
    /// For memcached this is always done, without counting: its incr does not create a topic.
    #[arg(long, help_heading = "Requests")]
    pub(super) prepare: bool,

    /// Pin the threads to these CPUs, in turn
    ///
    /// Pin the server to other CPUs if it runs on this machine (globalcounter serve --pin, or
    /// taskset): sharing CPUs makes the results noisy.
    #[arg(long, value_name = "CPU,…", value_delimiter = ',', value_parser = parse_processor,
        help_heading = "This machine")]
    pub(super) pin: Vec<usize>,
    /// Report CPU time and memory of process PID [default: the listener]
    #[arg(long, value_name = "PID", help_heading = "This machine")]
    pub(super) pid: Option<i32>,

    /// Check every reply: no sum twice, real-time order, no gaps
    ///
    /// Several servers must have one order together. Numbers may be missing if requests without a reply,
    /// or with an unknown outcome, can have taken them. With --verify=failover, numbers may also be
    /// missing where a server was seen to fail, as in a cluster whose node dies. With
    /// --verify=monotonic, any number may be missing. No other client may count these topics
    /// meanwhile. The replies are kept in memory; the run ends early at 67,108,864 of them (2 GiB).
    #[arg(long, value_name = "PROMISE", num_args = 0..=1, require_equals = true,
        default_missing_value = "exact", conflicts_with = "ramp", help_heading = "Report")]
    pub(super) verify: Option<Promise>,
    /// Write the report to FILE as JSON
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(super) json: Option<PathBuf>,
    /// Write the report to FILE as an HTML page with plots
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(super) html: Option<PathBuf>,
}

/// The files for reports.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: Option<ReportFile>,
    pub(crate) html: Option<ReportFile>,
}

impl Arguments {
    /// Opens the files for reports.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(crate) fn output(&self) -> Result<Output> {
        let open = |path: &Option<PathBuf>| path.as_deref().map(ReportFile::open).transpose();
        Ok(Output {
            json: open(&self.json)?,
            html: open(&self.html)?,
        })
    }

    /// Returns the rates of a ramp and the limit on p99. `None` if no ramp is wanted.
    pub(crate) fn ramp(&self) -> Option<(Bounds, Duration)> {
        self.ramp.map(|bounds| (bounds, self.slo))
    }

    /// Returns the id of the server's process, if it was given.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.pid
    }
}
