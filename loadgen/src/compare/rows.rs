//! The rows of a comparison: each is a load, the servers to measure under it, and the highest ratio
//! that globalcounter should have. docs/benchmarks.md explains them in the same order.

use super::servers::Server;

/// A row of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) measure: Measure,
    /// The row's target: the most that the ratio of `ours` should be; for memory, the most bytes per
    /// topic.
    pub(super) target_at_most: Option<f64>,
    /// The index of the entry that the target is for.
    pub(super) ours: usize,
    pub(super) entries: &'static [Entry],
}

/// What a row measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// CPU time per request, and the rate.
    Processor,
    /// Resident memory per topic.
    Memory,
}

/// A server under a load.
pub(super) struct Entry {
    pub(super) server: Server,
    pub(super) load: Load,
    /// The indices of entries to compare with: the first one that was measured is used.
    pub(super) bases: &'static [usize],
}

/// A closed loop of counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) target: &'static str,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
    pub(super) per_datagram: usize,
    pub(super) gso: bool,
    pub(super) shard_aware: bool,
    pub(super) topics: u32,
}

const TOPICS: u32 = 10_000;

const fn load(target: &'static str, connections: usize, pipeline: usize) -> Load {
    Load {
        target,
        connections,
        pipeline,
        per_datagram: 1,
        gso: false,
        shard_aware: false,
        topics: TOPICS,
    }
}

impl Load {
    const fn topics(self, topics: u32) -> Self {
        Self { topics, ..self }
    }

    const fn gso(self) -> Self {
        Self { gso: true, ..self }
    }

    const fn shard_aware(self) -> Self {
        Self {
            shard_aware: true,
            ..self
        }
    }

    const fn per_datagram(self, per_datagram: usize) -> Self {
        Self {
            per_datagram,
            ..self
        }
    }
}

/// Returns an entry that is compared with the first one of its row.
const fn entry(server: Server, load: Load) -> Entry {
    against(&[0], server, load)
}

/// Returns an entry that is compared with others, by index.
const fn against(bases: &'static [usize], server: Server, load: Load) -> Entry {
    Entry {
        server,
        load,
        bases,
    }
}

const NULL: Server = Server::Null { gso: false };
const NULL_GSO: Server = Server::Null { gso: true };
const ONE: Server = Server::globalcounter(1);
const REDIS: Server = Server::Redis { options: &[] };
const VALKEY: Server = Server::Valkey { options: &[] };
const MEMCACHED: Server = Server::Memcached { threads: 1 };

/// Returns a row about CPU time whose first entry is `loadgen null` and whose second is ours.
const fn against_baseline(
    name: &'static str,
    about: &'static str,
    target_at_most: f64,
    entries: &'static [Entry],
) -> Row {
    Row {
        name,
        about,
        measure: Measure::Processor,
        target_at_most: Some(target_at_most),
        ours: 1,
        entries,
    }
}

/// Every row.
pub(super) const ROWS: &[Row] = &[
    against_baseline(
        "framed-50x1",
        "TCP framed, 50 connections, 1 in flight",
        1.03,
        &[
            entry(NULL, load("framed", 50, 1)),
            entry(ONE, load("framed", 50, 1)),
            entry(REDIS, load("resp", 50, 1)),
            entry(VALKEY, load("resp", 50, 1)),
            entry(MEMCACHED, load("memcached", 50, 1)),
        ],
    ),
    against_baseline(
        "framed-16x64",
        "TCP framed, 16 connections, 64 in flight, 10 thousand topics",
        1.15,
        &[
            entry(NULL, load("framed", 16, 64)),
            entry(ONE, load("framed", 16, 64)),
            entry(REDIS, load("resp", 16, 64)),
            entry(VALKEY, load("resp", 16, 64)),
            entry(MEMCACHED, load("memcached", 16, 64)),
        ],
    ),
    against_baseline(
        "framed-1x512",
        "TCP framed, 1 connection, 512 in flight (Redis and Valkey: 4)",
        1.7,
        &[
            entry(NULL, load("framed", 1, 512)),
            entry(ONE, load("framed", 1, 512)),
            against(&[], REDIS, load("resp", 4, 512)),
            against(&[], VALKEY, load("resp", 4, 512)),
        ],
    ),
    Row {
        name: "resp",
        about: "RESP INCR, 16 connections, 64 in flight: ratio to Valkey, or Redis without it",
        measure: Measure::Processor,
        target_at_most: Some(0.4),
        ours: 1,
        entries: &[
            against(&[0, 2], VALKEY, load("resp", 16, 64)),
            against(&[0, 2], ONE, load("resp", 16, 64)),
            against(&[0, 2], REDIS, load("resp", 16, 64)),
            against(&[0, 2], NULL, load("resp", 16, 64)),
        ],
    },
    Row {
        name: "resp-50x1",
        about: "RESP INCR, 50 connections, 1 in flight",
        measure: Measure::Processor,
        target_at_most: Some(1.03),
        ours: 1,
        entries: &[
            entry(NULL, load("resp", 50, 1)),
            entry(ONE, load("resp", 50, 1)),
            entry(REDIS, load("resp", 50, 1)),
            entry(VALKEY, load("resp", 50, 1)),
        ],
    },
    against_baseline(
        "udp-classic",
        "UDP classic, one datagram per request, 64 sockets",
        1.03,
        &[
            entry(NULL, load("classic-udp", 64, 1)),
            entry(ONE, load("classic-udp", 64, 1)),
            entry(MEMCACHED, load("memcached-udp", 64, 1)),
        ],
    ),
    against_baseline(
        "udp-classic-gso",
        "UDP classic, the sender uses GSO, 16 sockets, 64 in flight",
        1.4,
        &[
            entry(NULL_GSO, load("classic-udp", 16, 64).gso()),
            entry(ONE, load("classic-udp", 16, 64).gso()),
        ],
    ),
    against_baseline(
        "udp-framed",
        "UDP framed, 32 per datagram, 16 sockets, 64 in flight",
        1.2,
        &[
            entry(NULL, load("udp", 16, 64).per_datagram(32)),
            entry(ONE, load("udp", 16, 64).per_datagram(32)),
        ],
    ),
    against_baseline(
        "topics-1m",
        "TCP framed, 16 × 64 over 1 million topics, all warm",
        1.4,
        &[
            entry(NULL, load("framed", 16, 64).topics(1_000_000)),
            entry(ONE, load("framed", 16, 64).topics(1_000_000)),
        ],
    ),
    against_baseline(
        "topics-10m",
        "TCP framed, 16 × 64 over 10 million topics, all warm",
        1.7,
        &[
            entry(NULL, load("framed", 16, 64).topics(10_000_000)),
            entry(ONE, load("framed", 16, 64).topics(10_000_000)),
        ],
    ),
    Row {
        name: "shards-2",
        about: "TCP framed, 16 × 64, plain clients, 2 shards or threads: ratio to 1",
        measure: Measure::Processor,
        target_at_most: Some(1.15),
        ours: 1,
        entries: &[
            entry(ONE, load("framed", 16, 64)),
            entry(Server::globalcounter(2), load("framed", 16, 64)),
            against(&[2], MEMCACHED, load("memcached", 16, 64)),
            against(
                &[2],
                Server::Memcached { threads: 2 },
                load("memcached", 16, 64),
            ),
        ],
    },
    Row {
        name: "shards-4",
        about: "TCP framed, 16 × 64, plain clients, 4 shards or threads: ratio to 1",
        measure: Measure::Processor,
        target_at_most: Some(1.25),
        ours: 1,
        entries: &[
            entry(ONE, load("framed", 16, 64)),
            entry(Server::globalcounter(4), load("framed", 16, 64)),
            against(&[2], MEMCACHED, load("memcached", 16, 64)),
            against(
                &[2],
                Server::Memcached { threads: 4 },
                load("memcached", 16, 64),
            ),
        ],
    },
    Row {
        name: "shards-4-aware",
        about: "TCP framed, 16 × 64, shard-aware clients, 4 shards: ratio to 1 shard",
        measure: Measure::Processor,
        target_at_most: Some(1.1),
        ours: 1,
        entries: &[
            entry(ONE, load("framed", 16, 64)),
            entry(
                Server::globalcounter(4),
                load("framed", 16, 64).shard_aware(),
            ),
        ],
    },
    Row {
        name: "shards-4-udp",
        about: "UDP classic, 64 sockets, 4 shards or threads: ratio to 1",
        measure: Measure::Processor,
        target_at_most: Some(1.1),
        ours: 1,
        entries: &[
            entry(ONE, load("classic-udp", 64, 1)),
            entry(Server::globalcounter(4), load("classic-udp", 64, 1)),
            against(&[2], MEMCACHED, load("memcached-udp", 64, 1)),
            against(
                &[2],
                Server::Memcached { threads: 4 },
                load("memcached-udp", 64, 1),
            ),
        ],
    },
    Row {
        name: "durable",
        about: "TCP framed, 16 × 64, durable: ratio to in memory",
        measure: Measure::Processor,
        target_at_most: Some(1.05),
        ours: 1,
        entries: &[
            entry(ONE, load("framed", 16, 64)),
            entry(Server::Durable, load("framed", 16, 64)),
            against(&[2], REDIS, load("resp", 16, 64)),
            against(
                &[2],
                Server::Redis {
                    options: &["--appendonly", "yes", "--appendfsync", "everysec"],
                },
                load("resp", 16, 64),
            ),
            against(
                &[2],
                Server::Redis {
                    options: &["--appendonly", "yes", "--appendfsync", "always"],
                },
                load("resp", 16, 64),
            ),
        ],
    },
    Row {
        name: "memory",
        about: "Resident memory per topic, 10 million names of 16 bytes",
        measure: Measure::Memory,
        target_at_most: Some(64.0),
        ours: 0,
        entries: &[
            entry(ONE, load("framed", 4, 64).topics(10_000_000)),
            entry(REDIS, load("resp", 4, 64).topics(10_000_000)),
            entry(VALKEY, load("resp", 4, 64).topics(10_000_000)),
            entry(MEMCACHED, load("memcached", 4, 64).topics(10_000_000)),
        ],
    },
];
