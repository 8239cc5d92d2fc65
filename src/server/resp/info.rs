//! INFO and CONFIG GET: facts about the server, under Redis's names as far as they have a meaning here.
//! Fields without a meaning here are left out.

use std::fmt::Write;

use crate::protocol::resp::{COMMANDS, MAX_ARGUMENT};
use crate::server::exchange::Shared;
use crate::server::status::Status;

/// The version of Redis whose protocol and replies this server follows. Clients and exporters look at
/// it, here and in HELLO, to know which commands they can use.
pub(super) const REDIS_VERSION: &str = "7.0.0";

/// A section of INFO: its name, and the function that appends it.
type Section = (&'static str, fn(&mut Text<'_>));

const SECTIONS: [Section; 9] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Commandstats", command_stats),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
];

/// The text of INFO so far, and where its facts come from.
struct Text<'a> {
    out: String,
    status: &'a Status,
    shared: &'a Shared,
}

impl Text<'_> {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{name}:{value}\r\n");
    }
}

/// Returns the requested sections; without a request, those that Redis returns by default.
pub(super) fn text<'a>(
    requested: impl Iterator<Item = &'a [u8]>,
    status: &Status,
    shared: &Shared,
) -> String {
    let requested: Vec<String> = requested
        .map(|name| String::from_utf8_lossy(name).to_ascii_lowercase())
        .collect();
    let all = requested
        .iter()
        .any(|name| name == "all" || name == "everything");
    let default = requested.is_empty() || requested.iter().any(|name| name == "default");
    let mut text = Text {
        out: String::new(),
        status,
        shared,
    };
    for (name, section) in SECTIONS {
        let lower = name.to_ascii_lowercase();
        // As in Redis, the counts of each command are returned only on request.
        let by_default = default && name != "Commandstats";
        if all || by_default || requested.contains(&lower) {
            if !text.out.is_empty() {
                text.out.push_str("\r\n");
            }
            let _ = write!(text.out, "# {name}\r\n");
            section(&mut text);
        }
    }
    text.out
}

fn server(text: &mut Text<'_>) {
    let status = text.status;
    let uptime = status.uptime();
    text.line("redis_version", REDIS_VERSION);
    text.line("redis_mode", mode(text.shared));
    text.line("server_name", env!("CARGO_PKG_NAME"));
    text.line("globalcounter_version", env!("CARGO_PKG_VERSION"));
    text.line("os", std::env::consts::OS);
    text.line("arch_bits", usize::BITS);
    text.line("process_id", std::process::id());
    text.line("run_id", &status.run_id);
    let port = status.config.tcp.map_or(0, |address| address.port());
    text.line("tcp_port", port);
    text.line("uptime_in_seconds", uptime);
    text.line("uptime_in_days", uptime / (24 * 60 * 60));
    text.line("shards", status.config.shards.count());
}

fn clients(text: &mut Text<'_>) {
    let [open, ..] = text.status.connections.counts();
    let resp = text.status.clients.count();
    text.line("connected_clients", open);
    text.line("resp_clients", resp);
    let by_worker = text.status.connections.by_worker();
    let by_worker: Vec<String> = by_worker.map(|count| count.to_string()).collect();
    text.line("clients_by_worker", by_worker.join(","));
    text.line("maxclients", text.status.connections.max());
    text.line("blocked_clients", 0); // no command waits for another client
}

fn memory(text: &mut Text<'_>) {
    if let Some(resident) = resident() {
        text.line("used_memory", resident);
        let mebibytes = resident as f64 / (1024.0 * 1024.0);
        text.line("used_memory_human", format_args!("{mebibytes:.2}M"));
        text.line("used_memory_rss", resident);
    }
    text.line("maxmemory", 0);
    text.line("maxmemory_policy", "noeviction");
}

fn persistence(text: &mut Text<'_>) {
    text.line("loading", 0);
    let is_durable = text.status.is_durable();
    // Monitoring of Redis looks at these. Here, too, they say whether answered commands are stored,
    // and whether the last write failed.
    text.line("aof_enabled", u8::from(is_durable));
    text.line("durability", text.status.durability());
    if !is_durable {
        return;
    }
    let failure = text.shared.store_failure();
    text.line(
        "aof_last_write_status",
        if failure.is_some() { "err" } else { "ok" },
    );
    text.line("store_status", failure.map_or("ok", |_| "failed"));
    if let Some(failure) = failure {
        text.line("store_failure", failure);
    }
    if let Some(loaded) = text.status.loaded {
        text.line("loaded_topics", loaded.topics);
        text.line("skipped_topics", loaded.skipped_topics);
        text.line("skipped_numbers", loaded.skipped_numbers);
    }
}

fn stats(text: &mut Text<'_>) {
    let status = text.status;
    let [_, accepted, refused, by_address] = status.connections.counts();
    let refused = refused + by_address;
    let calls = COMMANDS.iter().map(|spec| status.calls(spec.verb).calls);
    let commands: u64 = calls.sum();
    text.line("total_connections_received", accepted);
    text.line("rejected_connections", refused);
    text.line("total_commands_processed", commands);
    text.line("total_error_replies", status.errors());
    let [at_owner, forwarded] = status.datagram_requests();
    text.line("udp_requests_at_owner", at_owner);
    text.line("udp_requests_forwarded", forwarded);
    text.line("evicted_keys", 0);
    text.line("expired_keys", 0);
}

/// Load balancers look here for the master.
fn replication(text: &mut Text<'_>) {
    text.line("role", "master");
    text.line("connected_slaves", 0);
    text.line("master_failover_state", "no-failover");
    text.line("master_replid", &text.status.run_id);
    text.line("master_repl_offset", 0);
    text.line("repl_backlog_active", 0);
}

fn command_stats(text: &mut Text<'_>) {
    for spec in COMMANDS {
        let total = text.status.calls(spec.verb);
        if total.calls == 0 && total.refused == 0 {
            continue;
        }
        let each = total.microseconds as f64 / total.calls.max(1) as f64;
        let name = format!("cmdstat_{}", spec.name);
        text.line(
            &name,
            format_args!(
                "calls={},usec={},usec_per_call={each:.2},rejected_calls={}",
                total.calls, total.microseconds, total.refused
            ),
        );
    }
}

/// Clients that work with and without a cluster look at the first line to decide.
fn cluster(text: &mut Text<'_>) {
    let Some(cluster) = text.status.cluster(text.shared) else {
        text.line("cluster_enabled", 0);
        return;
    };
    text.line("cluster_enabled", 1);
    text.line("cluster_node", without_line_ends(&cluster.node));
    text.line("cluster_address", without_line_ends(&cluster.address));
    text.line("cluster_in_session", u8::from(cluster.in_session));
    let left = cluster.lease_seconds_left;
    text.line("cluster_lease_left", format_args!("{left:.3}"));
    text.line("cluster_map", cluster.map);
    text.line("cluster_nodes_known", cluster.nodes.len());
    for (number, node) in cluster.nodes.iter().enumerate() {
        let (name, address) = (
            without_line_ends(&node.name),
            without_line_ends(&node.address),
        );
        text.line(
            &format!("cluster_node{number}"),
            format_args!("name={name},address={address},ranges={}", node.ranges),
        );
    }
    let (ranges, forwards, moves) = (cluster.ranges, cluster.forwards, cluster.moves);
    for (name, value) in [
        ("ranges_serving", ranges.serving),
        ("ranges_loading", ranges.loading),
        ("ranges_leaving", ranges.leaving),
        ("ranges_of_others", ranges.others),
        ("ranges_without_owner", ranges.without_owner),
        ("forwards_sent", forwards.sent),
        ("forwards_answered", forwards.answered),
        ("forwards_not_applied", forwards.not_applied),
        ("forwards_unavailable", forwards.unavailable),
        ("forwards_unknown", forwards.unknown),
        ("forwards_busy", forwards.busy),
        ("forwards_waiting", forwards.waiting),
        ("forwards_in_flight", forwards.in_flight),
        ("forwards_received", forwards.received),
        ("requests_held", forwards.held_by_shards),
        ("connections", forwards.connections),
        ("connections_opened", forwards.connections_opened),
        ("connections_failed", forwards.connections_failed),
        ("ranges_loaded", moves.loaded),
        ("loads_failed", moves.loads_failed),
        ("ranges_handed_over", moves.handed_over),
        ("ranges_lost", moves.lost),
        ("commits_failed", moves.commits_failed),
        ("highest_epoch", moves.highest_epoch),
    ] {
        text.line(&format!("cluster_{name}"), value);
    }
    for (name, seconds) in [
        ("load_seconds", moves.load_seconds),
        ("longest_load_seconds", moves.longest_load_seconds),
    ] {
        text.line(&format!("cluster_{name}"), format_args!("{seconds:.6}"));
    }
}

/// A name or an address that another node wrote must not begin a line of its own.
fn without_line_ends(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "?")
}

fn keyspace(text: &mut Text<'_>) {
    let topics = text.shared.topics();
    if topics > 0 {
        text.line("db0", format_args!("keys={topics},expires=0,avg_ttl=0"));
    }
}

/// Returns Redis's name for the way in which the server runs, in INFO and HELLO.
pub(super) fn mode(shared: &Shared) -> &'static str {
    match shared.owners() {
        Some(_) => "cluster",
        None => "standalone",
    }
}

/// Returns the process's resident memory, in bytes.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * page.unsigned_abs())
}

/// Returns the settings for CONFIG GET, under Redis's name if Redis has the setting, else under this
/// server's own.
pub(super) fn settings(status: &Status, shared: &Shared) -> Vec<(&'static str, String)> {
    let config = &status.config;
    let (port, address) = match config.tcp {
        Some(tcp) => (tcp.port(), tcp.ip().to_string()),
        None => (0, String::new()),
    };
    let appendonly = match status.is_durable() {
        true => "yes",
        false => "no",
    };
    let cluster_enabled = match shared.owners() {
        Some(_) => "yes",
        None => "no",
    };
    let idle_timeout = config.connection_limits.idle_timeout;
    vec![
        ("appendonly", appendonly.to_owned()),
        ("bind", address),
        ("cluster-enabled", cluster_enabled.to_owned()),
        ("databases", "1".to_owned()),
        ("maxclients", status.connections.max().to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("max-topic-len", config.max_topic_len.to_string()),
        ("max-topics", shared.quota().max().to_string()),
        ("port", port.to_string()),
        ("proto-max-bulk-len", MAX_ARGUMENT.to_string()),
        ("save", String::new()),
        ("shards", config.shards.count().to_string()),
        (
            "timeout",
            idle_timeout
                .map_or(0, |timeout| timeout.as_secs())
                .to_string(),
        ),
    ]
}
