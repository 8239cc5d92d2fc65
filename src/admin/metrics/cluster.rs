//! The metrics of a node of a cluster. Names of other nodes are no labels: each node tells of itself, and
//! sums over all nodes tell of the cluster.

use globalcounter::server::{ClusterSnapshot, ForwardsSnapshot, MovesSnapshot, RangesSnapshot};

use super::super::exposition::Exposition;

/// Adds the metrics of a node.
pub(super) fn add(all: &mut Exposition, cluster: &ClusterSnapshot) {
    all.gauge(
        "globalcounter_cluster_node_info",
        "The name and the address of this node; always 1.",
    )
    .sample(&[("node", &cluster.node), ("address", &cluster.address)], 1);
    all.gauge(
        "globalcounter_cluster_in_session",
        "Whether this node has a session: a lease in etcd that has not ended as far as it knows.",
    )
    .value(u8::from(cluster.in_session));
    all.gauge(
        "globalcounter_cluster_lease_seconds",
        "For how long this node may answer unless its lease is renewed; 0 if it may not.",
    )
    .value(cluster.lease_seconds_left);
    all.gauge(
        "globalcounter_cluster_map",
        "The number of this node's map of owners, which grows with each change; 0 as long as it knows \
         none.",
    )
    .value(cluster.map);
    all.gauge(
        "globalcounter_cluster_nodes",
        "Nodes that own ranges of topics as far as this one knows, and this one.",
    )
    .value(cluster.nodes.len());
    ranges(all, &cluster.ranges);
    forwards(all, &cluster.forwards);
    moves(all, &cluster.moves);
}

fn ranges(all: &mut Exposition, ranges: &RangesSnapshot) {
    all.gauge(
        "globalcounter_cluster_ranges",
        "Ranges of topics by state, as this node knows it: it serves, loads or hands them over, other \
         nodes own them, or nobody does. Requests for a range without owner wait.",
    )
    .sample(&[("state", "serving")], ranges.serving)
    .sample(&[("state", "loading")], ranges.loading)
    .sample(&[("state", "leaving")], ranges.leaving)
    .sample(&[("state", "others")], ranges.others)
    .sample(&[("state", "without_owner")], ranges.without_owner);
}

fn forwards(all: &mut Exposition, forwards: &ForwardsSnapshot) {
    all.counter(
        "globalcounter_cluster_forwards_sent",
        "Requests that were sent to other nodes, those that were tried again included.",
    )
    .value(forwards.sent);
    all.counter(
        "globalcounter_cluster_forwards_received",
        "Requests that other nodes have forwarded to this one.",
    )
    .value(forwards.received);
    all.counter(
        "globalcounter_cluster_forwards",
        "What became of requests for topics of other nodes: another node has answered; not_applied by \
         the node that they were sent to, so that they are tried again; answered unavailable, unknown \
         or busy.",
    )
    .sample(&[("result", "answered")], forwards.answered)
    .sample(&[("result", "not_applied")], forwards.not_applied)
    .sample(&[("result", "unavailable")], forwards.unavailable)
    .sample(&[("result", "unknown")], forwards.unknown)
    .sample(&[("result", "busy")], forwards.busy);
    all.gauge(
        "globalcounter_cluster_requests",
        "Requests that are not answered now: waiting for an owner or a connection, in_flight at another \
         node, or held while their range is on its way to or from this node.",
    )
    .sample(&[("state", "waiting")], forwards.waiting)
    .sample(&[("state", "in_flight")], forwards.in_flight)
    .sample(&[("state", "held")], forwards.held_by_shards);
    all.gauge(
        "globalcounter_cluster_connections",
        "Connections to other nodes that are open; each worker has its own.",
    )
    .value(forwards.connections);
    all.counter(
        "globalcounter_cluster_connections_opened",
        "Connections to other nodes that were opened.",
    )
    .value(forwards.connections_opened);
    all.counter(
        "globalcounter_cluster_connections_failed",
        "Attempts to connect to another node that failed.",
    )
    .value(forwards.connections_failed);
}

fn moves(all: &mut Exposition, moves: &MovesSnapshot) {
    all.counter(
        "globalcounter_cluster_ranges_loaded",
        "Ranges of topics that this node has taken and loaded.",
    )
    .value(moves.loaded);
    all.counter(
        "globalcounter_cluster_load_seconds",
        "The time that these loads took together.",
    )
    .value(moves.load_seconds);
    all.gauge(
        "globalcounter_cluster_longest_load_seconds",
        "The time that the longest of these loads took.",
    )
    .value(moves.longest_load_seconds);
    all.counter(
        "globalcounter_cluster_loads_failed",
        "Loads of ranges that failed; the range is loaded again.",
    )
    .value(moves.loads_failed);
    all.counter(
        "globalcounter_cluster_ranges_handed_over",
        "Ranges that this node gave up after it had written their exact sums.",
    )
    .value(moves.handed_over);
    all.counter(
        "globalcounter_cluster_ranges_lost",
        "Ranges that this node gave up without that; their topics may skip numbers.",
    )
    .value(moves.lost);
    all.counter(
        "globalcounter_cluster_commits_failed",
        "Commits that etcd refused or that have an unknown outcome, counted for each of their ranges.",
    )
    .value(moves.commits_failed);
    all.gauge(
        "globalcounter_cluster_highest_epoch",
        "The highest epoch at which this node has loaded a range.",
    )
    .value(moves.highest_epoch);
}
