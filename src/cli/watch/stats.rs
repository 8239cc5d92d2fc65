//! `globalcounter stats`: prints the present figures once, for people or for programs.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde::Deserialize;

use super::admin_port::{AdminArguments, AdminPort};
use crate::admin::{Cluster, Sample, Use};
use crate::cli::figures::{age, bytes, count, percent, printable, time, whole};

const STATS: &str = "/api/stats";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    globalcounter stats\n  \
    globalcounter stats --json --admin 10.0.0.7:9998\n\n\
    Rates and latencies are those of the last second. Exit code 1: the admin port cannot be \
    reached or wants another token, or the server is still loading its topics.")]
pub(in crate::cli) struct Arguments {
    /// Print the counts since the start as JSON, as /api/stats of the admin port has them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArguments,
}

/// What is shown of `/api/stats`.
#[derive(Debug, Deserialize)]
struct Totals {
    version: String,
    uptime_seconds: u64,
    submitted: u64,
    errors: Vec<Refused>,
    resp_errors: u64,
    connections_accepted: u64,
    connections_refused: u64,
    datagrams_dropped: Option<u64>,
    stalls: u64,
}

#[derive(Debug, Deserialize)]
struct Refused {
    requests: u64,
}

/// Prints the figures.
///
/// # Errors
///
/// The admin port cannot be reached, or the server is loading its topics.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let port = &arguments.admin.port()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let text = runtime.block_on(async {
        if arguments.json {
            let stats = port.get_json(STATS).await?;
            return Ok(stats.ok_or_else(|| loading(port))? + "\n");
        }
        let totals: Option<Totals> = port.get(STATS).await?;
        let totals = totals.ok_or_else(|| loading(port))?;
        let seconds: Vec<Sample> = port.get("/api/history").await?.unwrap_or_default();
        Ok::<_, anyhow::Error>(text(port.address(), &totals, seconds.last()))
    })?;
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

fn loading(port: &AdminPort) -> anyhow::Error {
    anyhow!(
        "the server at {} is loading its data directory and has no figures yet",
        port.address()
    )
}

/// Lines of a name and what is told of it, in two columns.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, what: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<13}{what}");
    }
}

/// Returns the figures as text: the counts since the start, and what the last second was like. A server
/// that has just started has no such second.
fn text(address: &str, totals: &Totals, last: Option<&Sample>) -> String {
    let mut lines = Lines::default();
    let state = last.map_or("ready", |last| &last.state);
    lines.add(
        "server",
        format_args!(
            "{address}: {}, version {}, up {}",
            printable(state),
            printable(&totals.version),
            age(totals.uptime_seconds)
        ),
    );
    let submitted = whole(totals.submitted);
    let Some(last) = last else {
        lines.add("requests", format_args!("{submitted} since the start"));
        add_trouble(&mut lines, totals);
        return lines.0;
    };
    let requests = &last.requests;
    lines.add(
        "requests",
        format_args!("{}/s; {submitted} since the start", count(requests.all)),
    );
    let dialects = [
        ("framed", requests.framed),
        ("classic", requests.classic),
        ("Redis", requests.resp),
    ];
    for (dialect, rate) in dialects {
        if rate > 0.0 {
            lines.add("", format_args!("{dialect} {}/s", count(rate)));
        }
    }
    let latency = &last.latency;
    lines.add(
        "latency",
        format_args!(
            "p50 {}, p99 {}, p99.9 {} from read to reply",
            time(latency.p50),
            time(latency.p99),
            time(latency.p999)
        ),
    );
    add_limits(&mut lines, last);
    lines.add(
        "process",
        format_args!(
            "{:.2} cores, {} resident; receives {}/s, sends {}/s",
            last.cpu,
            bytes(last.resident_bytes as f64),
            bytes(last.received_bytes),
            bytes(last.sent_bytes)
        ),
    );
    add_durability(&mut lines, last);
    if let Some(cluster) = &last.cluster {
        add_cluster(&mut lines, cluster);
    }
    for (number, worker) in last.workers.iter().enumerate() {
        lines.add(
            &format!("shard {number}"),
            format_args!(
                "{}/s, CPU {}, {} connections, {} waiting, longest turn {}",
                count(worker.requests),
                percent(worker.cpu),
                worker.connections,
                worker.waiting_batches,
                time(worker.longest_turn)
            ),
        );
    }
    add_trouble(&mut lines, totals);
    lines.0
}

fn add_limits(lines: &mut Lines, last: &Sample) {
    let used = |part: &Use| {
        let share = part.used as f64 / part.limit.max(1) as f64;
        let (used, limit) = (whole(part.used), whole(part.limit));
        format!("{used} of {limit} ({})", percent(share))
    };
    lines.add(
        "connections",
        format_args!(
            "{}; {} of Redis clients",
            used(&last.connections),
            whole(last.resp_connections)
        ),
    );
    lines.add(
        "topics",
        format_args!(
            "{}; {} of memory",
            used(&last.topics),
            bytes(last.topics_bytes as f64)
        ),
    );
    lines.add("open files", format_args!("{}", used(&last.files)));
}

fn add_durability(lines: &mut Lines, last: &Sample) {
    let Some(commits) = &last.commits else {
        lines.add(
            "durability",
            format_args!("none: topics are only in memory"),
        );
        return;
    };
    let ago = |seconds: Option<u64>| {
        seconds.map_or_else(
            || "none yet".to_owned(),
            |seconds| format!("{} ago", age(seconds)),
        )
    };
    lines.add(
        "durability",
        format_args!(
            "{}; last commit {}; {} commits/s, {} each",
            printable(&last.durability),
            ago(commits.last_commit_seconds),
            count(commits.commits),
            time(commits.seconds)
        ),
    );
    if last.cluster.is_some() {
        return; // etcd has no checkpoints
    }
    lines.add(
        "",
        format_args!(
            "log {} of {} until a checkpoint; last one {} ({}); {} written, {} failed",
            bytes(commits.log.used as f64),
            bytes(commits.log.limit as f64),
            ago(commits.last_checkpoint_seconds),
            bytes(commits.checkpoint_bytes as f64),
            whole(commits.checkpoints),
            whole(commits.checkpoints_failed)
        ),
    );
    lines.add(
        "",
        format_args!(
            "numbers that the start may have skipped: {}",
            whole(last.skipped_numbers)
        ),
    );
}

/// Adds what a node knows of its cluster.
fn add_cluster(lines: &mut Lines, cluster: &Cluster) {
    let lease = match (cluster.in_session, cluster.lease_seconds_left) {
        (false, _) => "no session".to_owned(),
        (true, left) if left > 0.0 => format!("lease {left:.1} s"),
        (true, _) => "its lease is over".to_owned(),
    };
    lines.add(
        "cluster",
        format_args!(
            "node {}: {lease}; {} nodes; map {}",
            printable(&cluster.node),
            cluster.nodes,
            cluster.map
        ),
    );
    let ranges = &cluster.ranges;
    lines.add(
        "ranges",
        format_args!(
            "{} served, {} loading, {} leaving, {} of other nodes, {} without owner",
            ranges.serving, ranges.loading, ranges.leaving, ranges.others, ranges.without_owner
        ),
    );
    let forwards = &cluster.forwards;
    lines.add(
        "forwards",
        format_args!(
            "{}/s to other nodes, {}/s from them; {}/s tried again; {} in flight, {} waiting, {} held",
            count(forwards.sent),
            count(forwards.received),
            count(forwards.not_applied),
            whole(forwards.in_flight),
            whole(forwards.waiting),
            whole(forwards.held_by_shards)
        ),
    );
    lines.add(
        "",
        format_args!(
            "{}/s UNAVAILABLE, {}/s UNKNOWN; {} connections, {}/s failed to connect",
            count(forwards.unavailable),
            count(forwards.unknown),
            whole(forwards.connections),
            count(forwards.connections_failed)
        ),
    );
    let moves = &cluster.moves;
    lines.add(
        "moves",
        format_args!(
            "since the start: {} ranges loaded (at most {} each), {} handed over, {} lost; {} loads and {} commits failed",
            whole(moves.loaded),
            time(Some(moves.longest_load_seconds)),
            whole(moves.handed_over),
            whole(moves.lost),
            whole(moves.loads_failed),
            whole(moves.commits_failed)
        ),
    );
}

/// Adds what went wrong since the start.
fn add_trouble(lines: &mut Lines, totals: &Totals) {
    let refused = totals.errors.iter().map(|error| error.requests);
    // A shard's refusal of a Redis client's request is in both counts.
    let refused = refused.sum::<u64>().max(totals.resp_errors);
    lines.add(
        "trouble",
        format_args!("since the start: {} requests refused,", whole(refused)),
    );
    lines.add(
        "",
        format_args!(
            "{} of {} connections refused, {} datagrams dropped by the kernel, {} reads put off",
            whole(totals.connections_refused),
            whole(totals.connections_accepted),
            whole(totals.datagrams_dropped.unwrap_or_default()),
            whole(totals.stalls)
        ),
    );
}
