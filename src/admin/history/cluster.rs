//! What a node of a cluster did in about one second.

use globalcounter::server::{ClusterSnapshot, ForwardsSnapshot};
use serde::{Deserialize, Serialize};

/// The cluster as a node saw it at the end of a second. Rates are per second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) node: String,
    pub(crate) in_session: bool,
    pub(crate) lease_seconds_left: f64,
    /// The number of the map of owners; `/api/cluster` has the map.
    pub(crate) map: u64,
    /// The nodes that own ranges, and this one.
    pub(crate) nodes: u64,
    pub(crate) ranges: Ranges,
    pub(crate) forwards: Forwards,
    pub(crate) moves: Moves,
}

/// How many ranges are in which state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ranges {
    pub(crate) serving: u64,
    pub(crate) loading: u64,
    pub(crate) leaving: u64,
    pub(crate) others: u64,
    pub(crate) without_owner: u64,
}

/// Requests for topics of other nodes, and of other nodes for topics of this one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Forwards {
    pub(crate) sent: f64,
    pub(crate) received: f64,
    /// Sent, not applied, and tried again.
    pub(crate) not_applied: f64,
    /// Answered UNAVAILABLE or UNKNOWN.
    pub(crate) unavailable: f64,
    pub(crate) unknown: f64,
    /// Not answered now: before they are sent, sent, or held by this node's shards.
    pub(crate) waiting: u64,
    pub(crate) in_flight: u64,
    pub(crate) held_by_shards: u64,
    /// Open connections to other nodes.
    pub(crate) connections: u64,
    /// Attempts to connect that failed.
    pub(crate) connections_failed: f64,
}

/// Ranges that were taken and given up since the start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Moves {
    pub(crate) loaded: u64,
    pub(crate) longest_load_seconds: f64,
    pub(crate) loads_failed: u64,
    pub(crate) handed_over: u64,
    pub(crate) lost: u64,
    pub(crate) commits_failed: u64,
}

impl Cluster {
    /// Returns what has happened between two snapshots, which are `seconds` apart.
    pub(super) fn between(before: &ClusterSnapshot, now: &ClusterSnapshot, seconds: f64) -> Self {
        let rate = |count: fn(&ForwardsSnapshot) -> u64| {
            count(&now.forwards).saturating_sub(count(&before.forwards)) as f64 / seconds
        };
        let (ranges, forwards, moves) = (&now.ranges, &now.forwards, &now.moves);
        Self {
            node: now.node.clone(),
            in_session: now.in_session,
            lease_seconds_left: now.lease_seconds_left,
            map: now.map,
            nodes: now.nodes.len() as u64,
            ranges: Ranges {
                serving: ranges.serving,
                loading: ranges.loading,
                leaving: ranges.leaving,
                others: ranges.others,
                without_owner: ranges.without_owner,
            },
            forwards: Forwards {
                sent: rate(|forwards| forwards.sent),
                received: rate(|forwards| forwards.received),
                not_applied: rate(|forwards| forwards.not_applied),
                unavailable: rate(|forwards| forwards.unavailable),
                unknown: rate(|forwards| forwards.unknown),
                waiting: forwards.waiting,
                in_flight: forwards.in_flight,
                held_by_shards: forwards.held_by_shards,
                connections: forwards.connections,
                connections_failed: rate(|forwards| forwards.connections_failed),
            },
            moves: Moves {
                loaded: moves.loaded,
                longest_load_seconds: moves.longest_load_seconds,
                loads_failed: moves.loads_failed,
                handed_over: moves.handed_over,
                lost: moves.lost,
                commits_failed: moves.commits_failed,
            },
        }
    }
}
