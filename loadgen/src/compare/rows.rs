//! The rows of a comparison: each is a load, the servers to measure under it, and the targets of
//! globalcounter. docs/benchmarks.md explains them in the same order.

use serde::Serialize;

use super::servers::Server;
use crate::launch::Storage;

/// A row of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) measure: Measure,
    /// The targets of `ours`.
    pub(super) targets: &'static [Target],
    /// The index of the entry that the targets are for.
    pub(super) ours: usize,
    pub(super) entries: &'static [Entry],
}

/// What a row measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// CPU time per request, and the rate, under a load of topics that exist.
    Requests,
    /// The same while each topic of the load is counted once, on a server that has none. Each
    /// measurement takes a new server; `--duration` does not count.
    NewTopics,
    /// The time from the start of the process until it serves, in a data directory that has the topics
    /// of the load, and its resident memory per topic then. The server may use both processors.
    Start,
    /// Resident memory per topic, after the topics of the load were counted once. Measured once.
    Memory,
}

/// What `ours` should reach. Ratios are medians of the rounds' ratios, and `of` is the index of the
/// entry to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    /// The highest ratio of CPU time per request.
    CpuTime { at_most: f64, of: usize },
    /// The highest ratio of user time per request.
    UserTime { at_most: f64, of: usize },
    /// The most nanoseconds of CPU time per request beyond the baseline.
    BeyondBaseline { at_most: f64 },
    /// The lowest rate, in requests per second.
    Rate { at_least: f64 },
    /// The most seconds to start.
    Start { at_most: f64 },
    /// The most bytes of resident memory per topic.
    Memory { at_most: f64 },
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

/// Returns a load to create topics with. Many requests wait for each commit, so many have to be in
/// flight: a million topics took 5.4 s with 16 × 64, 3.1 s with 16 × 1,024 and 2.4 s with 64 × 1,024.
const fn new_topics(target: &'static str, topics: u32) -> Load {
    load(target, 64, 1_024).topics(topics)
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
const MONOTONIC: Server = Server::stored(1, Storage::Monotonic);
const EXACT: Server = Server::stored(1, Storage::Exact);
const REDIS: Server = Server::Redis { options: &[] };
/// Redis that syncs its log before it replies: the same promise as `exact`.
const REDIS_ALWAYS: Server = Server::Redis {
    options: &["--appendonly", "yes", "--appendfsync", "always"],
};
const VALKEY: Server = Server::Valkey { options: &[] };
const MEMCACHED: Server = Server::Memcached { threads: 1 };

/// Returns a row about requests whose second entry is ours. In most, the first is the baseline.
const fn requests(
    name: &'static str,
    about: &'static str,
    targets: &'static [Target],
    entries: &'static [Entry],
) -> Row {
    Row {
        name,
        about,
        measure: Measure::Requests,
        targets,
        ours: 1,
        entries,
    }
}

/// Returns the highest ratio of CPU time per request to that of the entry with index `of`.
const fn cpu_time(at_most: f64, of: usize) -> Target {
    Target::CpuTime { at_most, of }
}

/// Returns the highest ratio of user time per request to that of the entry with index `of`.
const fn user_time(at_most: f64, of: usize) -> Target {
    Target::UserTime { at_most, of }
}

const fn beyond_baseline(at_most: f64) -> Target {
    Target::BeyondBaseline { at_most }
}

/// Every row.
pub(super) const ROWS: &[Row] = &[
    requests(
        "framed-50x1",
        "TCP framed, 50 connections, 1 in flight",
        &[cpu_time(1.03, 0)],
        &[
            entry(NULL, load("framed", 50, 1)),
            entry(ONE, load("framed", 50, 1)),
            entry(REDIS, load("resp", 50, 1)),
            entry(VALKEY, load("resp", 50, 1)),
            entry(MEMCACHED, load("memcached", 50, 1)),
        ],
    ),
    requests(
        "framed-16x64",
        "TCP framed, 16 connections, 64 in flight, 10 thousand topics",
        &[beyond_baseline(25.0), cpu_time(0.24, 2), cpu_time(0.16, 4)],
        &[
            entry(NULL, load("framed", 16, 64)),
            entry(ONE, load("framed", 16, 64)),
            entry(REDIS, load("resp", 16, 64)),
            entry(VALKEY, load("resp", 16, 64)),
            entry(MEMCACHED, load("memcached", 16, 64)),
        ],
    ),
    requests(
        "framed-1x512",
        "TCP framed, 1 connection, 512 in flight (Redis and Valkey: 4)",
        &[beyond_baseline(25.0)],
        &[
            entry(NULL, load("framed", 1, 512)),
            entry(ONE, load("framed", 1, 512)),
            against(&[], REDIS, load("resp", 4, 512)),
            against(&[], VALKEY, load("resp", 4, 512)),
        ],
    ),
    requests(
        "resp",
        "RESP INCR, 16 connections, 64 in flight: ratio to Redis, or Valkey without it",
        &[cpu_time(0.33, 0)],
        &[
            against(&[0, 2], REDIS, load("resp", 16, 64)),
            against(&[0, 2], ONE, load("resp", 16, 64)),
            against(&[0, 2], VALKEY, load("resp", 16, 64)),
            against(&[0, 2], NULL, load("resp", 16, 64)),
        ],
    ),
    requests(
        "resp-50x1",
        "RESP INCR, 50 connections, 1 in flight",
        &[cpu_time(0.9, 2)],
        &[
            entry(NULL, load("resp", 50, 1)),
            entry(ONE, load("resp", 50, 1)),
            entry(REDIS, load("resp", 50, 1)),
            entry(VALKEY, load("resp", 50, 1)),
        ],
    ),
    requests(
        "udp-classic",
        "UDP classic, one datagram per request, 64 sockets",
        &[cpu_time(1.03, 0)],
        &[
            entry(NULL, load("classic-udp", 64, 1)),
            entry(ONE, load("classic-udp", 64, 1)),
            entry(MEMCACHED, load("memcached-udp", 64, 1)),
        ],
    ),
    requests(
        "udp-classic-gso",
        "UDP classic, the sender uses GSO, 16 sockets, 64 in flight",
        &[beyond_baseline(28.0)],
        &[
            entry(NULL_GSO, load("classic-udp", 16, 64).gso()),
            entry(ONE, load("classic-udp", 16, 64).gso()),
        ],
    ),
    requests(
        "udp-framed",
        "UDP framed, 32 per datagram, 16 sockets, 64 in flight",
        &[beyond_baseline(15.0)],
        &[
            entry(NULL, load("udp", 16, 64).per_datagram(32)),
            entry(ONE, load("udp", 16, 64).per_datagram(32)),
        ],
    ),
    requests(
        "topics-1m",
        "TCP framed, 16 × 64 over 1 million topics, all warm",
        &[beyond_baseline(50.0)],
        &[
            entry(NULL, load("framed", 16, 64).topics(1_000_000)),
            entry(ONE, load("framed", 16, 64).topics(1_000_000)),
        ],
    ),
    requests(
        "topics-10m",
        "TCP framed, 16 × 64 over 10 million topics, all warm",
        &[beyond_baseline(70.0)],
        &[
            entry(NULL, load("framed", 16, 64).topics(10_000_000)),
            entry(ONE, load("framed", 16, 64).topics(10_000_000)),
        ],
    ),
    requests(
        "shards-2",
        "TCP framed, 16 × 64, plain clients, 2 shards or threads: ratio to 1",
        &[user_time(1.1, 0)],
        &[
            entry(ONE, load("framed", 16, 64)),
            entry(Server::globalcounter(2), load("framed", 16, 64)),
            against(&[2], MEMCACHED, load("memcached", 16, 64)),
            against(
                &[2],
                Server::Memcached { threads: 2 },
                load("memcached", 16, 64),
            ),
        ],
    ),
    requests(
        "shards-4",
        "TCP framed, 16 × 64, plain clients, 4 shards or threads: ratio to 1",
        &[user_time(1.15, 0)],
        &[
            entry(ONE, load("framed", 16, 64)),
            entry(Server::globalcounter(4), load("framed", 16, 64)),
            against(&[2], MEMCACHED, load("memcached", 16, 64)),
            against(
                &[2],
                Server::Memcached { threads: 4 },
                load("memcached", 16, 64),
            ),
        ],
    ),
    requests(
        "shards-4-aware",
        "TCP framed, 16 × 64, shard-aware clients, 4 shards: ratio to 1 shard",
        &[cpu_time(1.1, 0)],
        &[
            entry(ONE, load("framed", 16, 64)),
            entry(
                Server::globalcounter(4),
                load("framed", 16, 64).shard_aware(),
            ),
        ],
    ),
    requests(
        "shards-4-udp",
        "UDP classic, 64 sockets, 4 shards or threads: ratio to 1",
        &[cpu_time(1.1, 0)],
        &[
            entry(ONE, load("classic-udp", 64, 1)),
            entry(Server::globalcounter(4), load("classic-udp", 64, 1)),
            against(&[2], MEMCACHED, load("memcached-udp", 64, 1)),
            against(
                &[2],
                Server::Memcached { threads: 4 },
                load("memcached-udp", 64, 1),
            ),
        ],
    ),
    requests(
        "durable",
        "TCP framed, 16 × 64, with a data directory, monotonic: ratio to in memory",
        &[cpu_time(1.03, 0)],
        &[
            entry(ONE, load("framed", 16, 64)),
            entry(MONOTONIC, load("framed", 16, 64)),
            against(&[2], REDIS, load("resp", 16, 64)),
            against(
                &[2],
                Server::Redis {
                    options: &["--appendonly", "yes", "--appendfsync", "everysec"],
                },
                load("resp", 16, 64),
            ),
            against(&[2], REDIS_ALWAYS, load("resp", 16, 64)),
        ],
    ),
    requests(
        "exact",
        "RESP INCR, 16 × 64, each reply waits for the disk: ratio to Redis",
        &[cpu_time(0.8, 0)],
        &[
            entry(REDIS_ALWAYS, load("resp", 16, 64)),
            entry(EXACT, load("resp", 16, 64)),
        ],
    ),
    requests(
        "exact-50x1",
        "TCP framed, 50 connections, 1 in flight, one topic, exact",
        &[Target::Rate {
            at_least: 150_000.0,
        }],
        &[
            entry(ONE, load("framed", 50, 1).topics(1)),
            entry(EXACT, load("framed", 50, 1).topics(1)),
        ],
    ),
    requests(
        "exact-1000x1",
        "TCP framed, 1,000 connections, 1 in flight, one topic, exact",
        &[Target::Rate {
            at_least: 240_000.0,
        }],
        &[
            entry(ONE, load("framed", 1_000, 1).topics(1)),
            entry(EXACT, load("framed", 1_000, 1).topics(1)),
        ],
    ),
    Row {
        name: "new-topics",
        about: "A million new topics, each counted once, 64 connections, 1,024 in flight",
        measure: Measure::NewTopics,
        targets: &[Target::Rate {
            at_least: 1_500_000.0,
        }],
        ours: 1,
        entries: &[
            entry(ONE, new_topics("framed", 1_000_000)),
            entry(MONOTONIC, new_topics("framed", 1_000_000)),
            against(&[], REDIS_ALWAYS, new_topics("resp", 1_000_000)),
        ],
    },
    Row {
        name: "start-10m",
        about: "Start with 10 million topics, 2 shards on 2 processors",
        measure: Measure::Start,
        targets: &[Target::Start { at_most: 2.0 }],
        ours: 0,
        entries: &[entry(
            Server::stored(2, Storage::Monotonic),
            new_topics("framed", 10_000_000),
        )],
    },
    Row {
        name: "memory",
        about: "Resident memory per topic, 10 million names of 16 bytes",
        measure: Measure::Memory,
        targets: &[Target::Memory { at_most: 64.0 }],
        ours: 0,
        entries: &[
            entry(ONE, load("framed", 4, 64).topics(10_000_000)),
            entry(REDIS, load("resp", 4, 64).topics(10_000_000)),
            entry(VALKEY, load("resp", 4, 64).topics(10_000_000)),
            entry(MEMCACHED, load("memcached", 4, 64).topics(10_000_000)),
        ],
    },
];
