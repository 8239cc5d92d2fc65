//! The metrics: what each is called, what it means, and where its value comes from. Names begin with
//! `globalcounter_`, units are base units, and no label's values depend on what peers send: topics and
//! addresses of peers are no labels.

mod cluster;

use globalcounter::server::{Distribution, Monitor, Snapshot, State, TlsSnapshot};

use super::exposition::{Exposition, Format};
use super::process;

/// Returns the metrics of a server; without the server's own as long as it loads its topics.
pub(super) fn text(monitor: Option<&Monitor>, format: Format) -> String {
    let mut all = Exposition::new(format);
    let info = &[("version", env!("CARGO_PKG_VERSION"))];
    all.gauge(
        "globalcounter_build_info",
        "The version that runs; always 1.",
    )
    .sample(info, 1);
    let ready = monitor.is_some_and(|monitor| monitor.state() == State::Ready);
    all.gauge(
        "globalcounter_ready",
        "Whether every request can be expected to be answered: 1, or 0 while the server loads, \
         stops, after its store failed, or while a node has no part in its cluster.",
    )
    .value(u8::from(ready));
    if let Some(monitor) = monitor {
        let snapshot = monitor.snapshot();
        requests(&mut all, &snapshot);
        workers(&mut all, &snapshot);
        connections(&mut all, &snapshot);
        access(&mut all, &snapshot);
        topics(&mut all, &snapshot);
        commits(&mut all, &snapshot);
        if let Some(cluster) = &snapshot.cluster {
            cluster::add(&mut all, cluster);
        }
    }
    process(&mut all);
    all.finish()
}

fn requests(all: &mut Exposition, snapshot: &Snapshot) {
    let mut requests = all.counter(
        "globalcounter_requests",
        "Valid requests by dialect and method; of Redis clients, commands that were executed.",
    );
    for count in &snapshot.requests {
        let labels = [("dialect", count.dialect), ("method", count.method)];
        requests.sample(&labels, count.requests);
    }
    for command in &snapshot.commands {
        let labels = [("dialect", "resp"), ("method", command.command)];
        requests.sample(&labels, command.calls);
    }
    let mut errors = all.counter(
        "globalcounter_errors",
        "Requests that were refused, by method and error: those of every dialect that a shard refused, \
         and framed and classic ones that could not be decoded (method unknown). Commands of Redis \
         clients that are refused before they reach a shard are in globalcounter_resp_errors_total \
         alone.",
    );
    for count in &snapshot.errors {
        let labels = [("method", count.method), ("error", count.error)];
        errors.sample(&labels, count.requests);
    }
    let mut refused = all.counter(
        "globalcounter_resp_commands_refused",
        "Commands of Redis clients that were refused because of their arguments or a transaction.",
    );
    for command in &snapshot.commands {
        refused.sample(&[("method", command.command)], command.refused);
    }
    let mut seconds = all.counter(
        "globalcounter_resp_command_seconds",
        "The time that commands of Redis clients took, estimated from one read in 64.",
    );
    for command in &snapshot.commands {
        let microseconds = command.microseconds as f64;
        seconds.sample(&[("method", command.command)], microseconds / 1e6);
    }
    all.counter(
        "globalcounter_resp_errors",
        "Replies to Redis clients that were errors.",
    )
    .value(snapshot.resp_errors);
    all.counter(
        "globalcounter_datagram_requests",
        "Requests in datagrams that arrived at the worker that owns their topic, or were handed \
         over to it.",
    )
    .sample(
        &[("arrived", "at_owner")],
        snapshot.datagram_requests_at_owner,
    )
    .sample(
        &[("arrived", "elsewhere")],
        snapshot.datagram_requests_handed_over,
    );
    if let Some(dropped) = snapshot.datagrams_dropped {
        all.counter(
            "globalcounter_datagrams_dropped",
            "Datagrams that the kernel dropped before the server could receive them.",
        )
        .value(dropped);
    }
    all.histogram(
        "globalcounter_batch_requests",
        "Requests in one read from a connection, or in one receive call of datagrams.",
        &ranges(&snapshot.batches, 1, 12, 1.0),
        snapshot.batches.count(),
        snapshot.batches.sum() as f64,
    );
    all.histogram(
        "globalcounter_request_seconds",
        "The time from a read until its requests have their replies, of a sample of reads, weighted by \
         their requests. Datagrams whose requests were handed over, or waited for the store, are left \
         out.",
        &ranges(&snapshot.latencies, 10, 33, NANOSECOND),
        snapshot.latencies.count(),
        snapshot.latencies.sum() as f64 * NANOSECOND,
    );
    let mut received = all.counter("globalcounter_received_bytes", "Bytes that were received.");
    received.sample(&[("transport", "tcp")], snapshot.bytes.tcp_received);
    received.sample(&[("transport", "udp")], snapshot.bytes.udp_received);
    let mut sent = all.counter("globalcounter_sent_bytes", "Bytes that were sent.");
    sent.sample(&[("transport", "tcp")], snapshot.bytes.tcp_sent);
    sent.sample(&[("transport", "udp")], snapshot.bytes.udp_sent);
    all.counter(
        "globalcounter_stalls",
        "How often a connection, or the socket for datagrams, was not read for a while because it or \
         its worker had too much to do.",
    )
    .value(snapshot.stalls);
    let reached = &snapshot.limits_reached;
    all.counter(
        "globalcounter_limits_reached",
        "How often a limit was reached, by its setting: requests over a rate, topics over a token's \
         limit, full turns of datagrams, and errors that were not sent to sources of datagrams.",
    )
    .sample(
        &[("limit", "max_rate_per_connection")],
        reached.requests_over_connection_rate,
    )
    .sample(
        &[("limit", "max_rate_per_token")],
        reached.requests_over_token_rate,
    )
    .sample(
        &[("limit", "max_topics_per_token")],
        reached.topics_over_token_limit,
    )
    .sample(
        &[("limit", "max_datagrams_per_turn")],
        reached.full_datagram_turns,
    )
    .sample(
        &[("limit", "max_errors_per_source")],
        reached.unsent_datagram_errors,
    );
}

/// One nanosecond, in seconds.
const NANOSECOND: f64 = 1e-9;

/// Returns how many of some numbers are below each power of two from `2^first` to `2^last`, with these
/// in `unit`s.
fn ranges(numbers: &Distribution, first: u32, last: u32, unit: f64) -> Vec<(f64, u64)> {
    let below = numbers.below_powers_of_two(first, last).into_iter();
    below
        .map(|(bound, count)| ((bound - 1) as f64 * unit, count))
        .collect()
}

fn workers(all: &mut Exposition, snapshot: &Snapshot) {
    let numbers: Vec<String> = (0..snapshot.workers.len()).map(|n| n.to_string()).collect();
    let workers = || numbers.iter().zip(&snapshot.workers);
    let mut requests = all.counter(
        "globalcounter_worker_requests",
        "Requests that a worker read, of every dialect.",
    );
    for (number, worker) in workers() {
        requests.sample(&[("worker", number)], worker.requests);
    }
    let mut seconds = all.counter(
        "globalcounter_worker_cpu_seconds",
        "Time that a worker spent on processors, in seconds.",
    );
    for (number, cpu_seconds) in process::workers_cpu_seconds() {
        seconds.sample(&[("worker", &number.to_string())], cpu_seconds);
    }
    let mut turns = all.summary(
        "globalcounter_worker_turn_seconds",
        "The time from when a worker wakes until it sleeps again, of a sample of its turns since the \
         start.",
    );
    for (number, worker) in workers() {
        let seconds = |nanoseconds| nanoseconds as f64 * NANOSECOND;
        let quantiles = [0.5, 0.99, 1.0].into_iter();
        let quantiles = quantiles.filter_map(|q| Some((q, seconds(worker.turns.quantile(q)?))));
        let (count, sum) = (worker.turns.count(), seconds(worker.turns.sum()));
        turns.values(("worker", number), quantiles, count, sum);
    }
    let mut waiting = all.gauge(
        "globalcounter_shard_waiting_batches",
        "Batches of requests that wait for a shard.",
    );
    for (number, worker) in workers() {
        waiting.sample(&[("shard", number)], worker.waiting_batches);
    }
    let mut bytes = all.gauge(
        "globalcounter_topics_memory_bytes",
        "Memory that the topics of a shard take. That of deleted topics stays the shard's.",
    );
    for (number, worker) in workers() {
        bytes.sample(&[("shard", number)], worker.table_bytes);
    }
}

fn connections(all: &mut Exposition, snapshot: &Snapshot) {
    let mut connections = all.gauge(
        "globalcounter_connections",
        "Open TCP connections, by the worker that has them.",
    );
    for (number, worker) in snapshot.workers.iter().enumerate() {
        connections.sample(&[("worker", &number.to_string())], worker.connections);
    }
    let mut held = all.gauge(
        "globalcounter_held_bytes",
        "Bytes that a worker's connections hold: incomplete requests, and replies that are not sent \
         (at most --max-held).",
    );
    for (number, worker) in snapshot.workers.iter().enumerate() {
        held.sample(&[("worker", &number.to_string())], worker.held_bytes);
    }
    all.gauge(
        "globalcounter_connections_limit",
        "The most TCP connections that may be open (--max-connections).",
    )
    .value(snapshot.max_connections);
    all.gauge(
        "globalcounter_resp_connections",
        "Open connections that speak the Redis protocol.",
    )
    .value(snapshot.resp_connections);
    all.counter(
        "globalcounter_connections_accepted",
        "TCP connections that were accepted, refused ones included.",
    )
    .value(snapshot.connections_accepted);
    all.counter(
        "globalcounter_connections_refused",
        "TCP connections that were closed at once because too many were open.",
    )
    .value(snapshot.connections_refused);
    all.counter(
        "globalcounter_connections_refused_by_address",
        "TCP connections that were closed at once because too many of their address were open \
         (--max-connections-per-address).",
    )
    .value(snapshot.connections_refused_by_address);
    let refused = snapshot.connections_refused + snapshot.connections_refused_by_address;
    let gone = refused + snapshot.connections;
    all.counter(
        "globalcounter_connections_closed",
        "TCP connections that were served and are closed.",
    )
    .value(snapshot.connections_accepted.saturating_sub(gone));
    let mut closed = all.counter(
        "globalcounter_connections_closed_at_limit",
        "Open TCP connections that were closed at a limit: no first byte, the rest of a request did not \
         come, silent between requests, replies not read, or the worker's connections held too many \
         bytes.",
    );
    for (limit, count) in &snapshot.connections_closed_at_limit {
        closed.sample(&[("limit", limit)], *count);
    }
    if let Some(tls) = &snapshot.tls {
        self::tls(all, tls);
    }
}

fn tls(all: &mut Exposition, tls: &TlsSnapshot) {
    all.gauge(
        "globalcounter_tls_connections",
        "Open TLS connections whose handshake is complete.",
    )
    .value(tls.connections);
    all.gauge(
        "globalcounter_tls_handshake_slots_taken",
        "TLS handshakes in progress, and for each worker one that may begin (at most --max-handshakes).",
    )
    .value(tls.handshake_slots_taken);
    all.counter(
        "globalcounter_tls_handshakes",
        "TLS handshakes that were completed: in full, or by resuming an earlier session.",
    )
    .sample(&[("kind", "full")], tls.handshakes_full)
    .sample(&[("kind", "resumed")], tls.handshakes_resumed);
    let mut failed = all.counter(
        "globalcounter_tls_handshakes_failed",
        "TLS handshakes that failed, by reason: what the peer sent is not TLS, it offers nothing that \
         the server accepts, its certificate is missing or not accepted, it sent an alert, it broke the \
         protocol, it took too long, it closed the connection, or the server stopped.",
    );
    for (reason, count) in &tls.handshakes_failed {
        failed.sample(&[("reason", reason)], *count);
    }
}

fn access(all: &mut Exposition, snapshot: &Snapshot) {
    all.counter(
        "globalcounter_resp_denied",
        "Commands of Redis clients that were refused for lack of a right, with NOAUTH or NOPERM. Those of \
         other clients are in globalcounter_errors_total with the error DENIED.",
    )
    .value(snapshot.resp_denied);
    if snapshot.logins.is_empty() {
        return;
    }
    let mut attempts = all.counter(
        "globalcounter_authentications",
        "Attempts to authenticate, by dialect (http: the admin port) and result: accepted; wrong; limited: \
         after too many failures of the address; busy: too many passwords were being checked.",
    );
    for count in &snapshot.logins {
        let labels = [("dialect", count.dialect), ("result", count.result)];
        attempts.sample(&labels, count.attempts);
    }
}

fn topics(all: &mut Exposition, snapshot: &Snapshot) {
    all.gauge("globalcounter_topics", "Topics that exist.")
        .value(snapshot.topics);
    all.gauge(
        "globalcounter_topics_limit",
        "The most topics that the server takes (--max-topics).",
    )
    .value(snapshot.max_topics);
    let durability = [("durability", &*snapshot.durability)];
    all.gauge(
        "globalcounter_durability_info",
        "How topics are kept: memory, monotonic or exact; always 1.",
    )
    .sample(&durability, 1);
    all.gauge(
        "globalcounter_store_failed",
        "Whether the store failed, so that requests that need it are refused with STORE.",
    )
    .value(u8::from(snapshot.store_failure.is_some()));
    if let Some(loaded) = snapshot.loaded {
        all.gauge(
            "globalcounter_loaded_topics",
            "Topics that were loaded from the data directory at the start.",
        )
        .value(loaded.topics);
        all.gauge(
            "globalcounter_skipped_topics",
            "Topics that may skip numbers, since the server before did not shut down cleanly.",
        )
        .value(loaded.skipped_topics);
        all.gauge(
            "globalcounter_skipped_numbers",
            "The most numbers that these topics skip together.",
        )
        .value(loaded.skipped_numbers);
    }
}

fn commits(all: &mut Exposition, snapshot: &Snapshot) {
    let Some(commits) = &snapshot.commits else {
        return;
    };
    all.histogram(
        "globalcounter_commit_seconds",
        "The time from the beginning of a commit until its changes were durable.",
        &commits.within_seconds,
        commits.commits,
        commits.seconds,
    );
    all.counter(
        "globalcounter_committed_changes",
        "Changes of topics that were made durable, many in each commit.",
    )
    .value(commits.changes);
    all.counter(
        "globalcounter_checkpoints",
        "Checkpoints that were written while topics were served.",
    )
    .value(commits.checkpoints);
    all.counter(
        "globalcounter_checkpoints_failed",
        "Checkpoints that could not be written; the log grows until one succeeds.",
    )
    .value(commits.checkpoints_failed);
    all.gauge(
        "globalcounter_log_bytes",
        "Log since the last checkpoint began, which the next start would have to replay.",
    )
    .value(commits.log_bytes);
    all.gauge(
        "globalcounter_checkpoint_due_bytes",
        "The length of that log at which the next checkpoint is due.",
    )
    .value(commits.checkpoint_due_bytes);
    all.gauge(
        "globalcounter_checkpoint_bytes",
        "The size of the last checkpoint.",
    )
    .value(commits.checkpoint_bytes);
}

/// The names are those that Prometheus recommends for every process.
fn process(all: &mut Exposition) {
    let process = process::read();
    if let Some(seconds) = process.cpu_seconds {
        all.counter("process_cpu_seconds", "Time on processors, in seconds.")
            .value(seconds);
    }
    let gauges = [
        (
            "process_resident_memory_bytes",
            "Resident memory, in bytes.",
            process.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory, in bytes.",
            process.virtual_bytes,
        ),
        ("process_threads", "Threads.", process.threads),
        (
            "process_open_fds",
            "Open files and sockets.",
            process.open_files,
        ),
        (
            "process_max_fds",
            "The most files and sockets that may be open.",
            process.max_files,
        ),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            all.gauge(name, help).value(value);
        }
    }
    if let Some(seconds) = process.start_seconds {
        all.gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970.",
        )
        .value(seconds);
    }
}
