//! Histories of several servers, and of failovers.

use globalcounter::protocol::Op;

use super::super::history::Sent;
use super::*;

const PROMISES: [Promise; 3] = [Promise::Exact, Promise::Failover, Promise::Monotonic];

/// A cluster of two servers, and what is recorded of one of its topics.
struct Cluster(History);

impl Cluster {
    fn new() -> Self {
        Self(History::new(1))
    }

    fn sent(op: Op, at: u64, server: u16) -> Sent {
        Sent {
            topic: 0,
            op,
            at,
            server,
        }
    }

    /// A count that a server answered.
    fn count(mut self, server: u16, sum: u64, sent: u64, replied: u64) -> Self {
        let request = Self::sent(Op::Count, sent, server);
        self.0.reply(request, sum, replied);
        self
    }

    /// A count whose outcome is unknown.
    fn unknown(mut self, server: u16, sent: u64, replied: u64) -> Self {
        self.0.unanswered(Self::sent(Op::Count, sent, server));
        self.0.failure(sent, replied);
        self
    }

    /// A count that was refused because nobody can serve the topic.
    fn unavailable(mut self, sent: u64, replied: u64) -> Self {
        self.0.failure(sent, replied);
        self
    }

    fn judge(self, promise: Promise) -> Result<Verdict, String> {
        let names = Names::new(1, 16).unwrap();
        let servers = ["10.0.0.1:9999", "10.0.0.2:9999"].map(|server| server.parse().unwrap());
        let rules = Rules {
            promise,
            names: &names,
            servers: &servers,
            run: 0..10_000,
        };
        check(self.0, &rules).map_err(|violation| violation.to_string())
    }

    /// Returns how many numbers are missing, in all and in a row.
    fn gaps(self, promise: Promise) -> (u64, u64) {
        let verdict = self.judge(promise).unwrap();
        (verdict.gaps, verdict.largest_gap)
    }
}

#[test]
fn a_number_of_two_servers_is_found() {
    for promise in PROMISES {
        let cluster = Cluster::new().count(0, 1, 0, 10).count(1, 1, 5, 20);
        let error = cluster.unavailable(0, 30).judge(promise).unwrap_err();
        assert_eq!(
            error,
            "topic \"topic-0000000000\": the same number went to two requests:\n  \
             count 1, sent at 0 ns, answered at 10 ns by 10.0.0.1:9999\n  \
             count 1, sent at 5 ns, answered at 20 ns by 10.0.0.2:9999"
        );
    }
}

#[test]
fn a_number_that_is_back_after_a_failover_is_found() {
    for promise in PROMISES {
        // The first server counts to 3 and dies; the second one continues from a stale 2.
        let cluster = Cluster::new()
            .count(0, 1, 0, 10)
            .count(0, 2, 11, 20)
            .count(0, 3, 21, 30)
            .unknown(0, 31, 4_000)
            .count(1, 3, 4_001, 4_010);
        let error = cluster.judge(promise).unwrap_err();
        assert!(error.contains("the same number went to two"), "{error}");
    }
}

#[test]
fn a_number_below_an_answered_one_is_found_over_servers() {
    for promise in PROMISES {
        // The second server gives out what nobody got, but too late.
        let cluster = Cluster::new()
            .count(0, 1, 0, 10)
            .count(0, 3, 11, 20)
            .unavailable(15, 25)
            .count(1, 2, 21, 30);
        let error = cluster.judge(promise).unwrap_err();
        assert!(error.contains("went back"), "{error}");
        assert!(error.contains("answered at 20 ns by 10.0.0.1:9999"));
        assert!(error.contains("answered at 30 ns by 10.0.0.2:9999"));
        let overlapping = Cluster::new().count(0, 3, 11, 20).count(1, 2, 19, 30);
        assert_eq!(overlapping.gaps(promise), (0, 0));
    }
}

#[test]
fn an_unknown_outcome_explains_one_number() {
    let cluster = || {
        let cluster = Cluster::new().count(0, 1, 0, 10);
        cluster.unknown(0, 11, 500).count(1, 3, 501, 510)
    };
    assert_eq!(cluster().gaps(Promise::Exact), (1, 1));
    let error = cluster().count(1, 5, 511, 520).judge(Promise::Exact);
    assert!(
        error.unwrap_err().contains("skipped 2 numbers, and only 1"),
        "a second number is missing"
    );
}

#[test]
fn a_failover_may_skip_numbers_only_while_a_failure_is_seen() {
    let skipping = || {
        Cluster::new()
            .count(0, 1, 100, 110)
            .count(1, 5_000, 200, 210)
    };
    for (from, to) in [(120, 130), (0, 100), (210, 900), (0, 900)] {
        let cluster = || skipping().unavailable(from, to);
        assert_eq!(cluster().gaps(Promise::Failover), (4_998, 4_998));
        let error = cluster().judge(Promise::Exact).unwrap_err();
        assert!(error.contains("skipped 4998 numbers, and only 0"));
        assert!(!error.contains("seen to fail"), "{error}");
    }
    // Before a request below the gap was sent, or after the one above it was answered.
    for failed in [(0, 99), (211, 900)] {
        let cluster = skipping().unavailable(failed.0, failed.1);
        let error = cluster.judge(Promise::Failover).unwrap_err();
        assert!(
            error.contains("skipped 4998 numbers, and only 0"),
            "{error}"
        );
        assert!(error.contains("no server was seen to fail then"), "{error}");
    }
    assert_eq!(skipping().gaps(Promise::Monotonic), (4_998, 4_998));
}

/// The failure explains the upper gap, the unknown outcome one number of the lower one.
#[test]
fn each_gap_needs_its_own_explanation() {
    let cluster = |lost: usize| {
        let mut cluster = Cluster::new()
            .count(0, 1, 0, 10)
            .count(0, 3, 2_000_000, 2_000_010)
            .unavailable(4_000_000, 4_000_500)
            .count(1, 900, 4_000_600, 4_000_700);
        for _ in 0..lost {
            let request = Cluster::sent(Op::Count, 20, 0);
            cluster.0.unanswered(request);
        }
        cluster
    };
    assert_eq!(cluster(1).gaps(Promise::Failover), (897, 896));
    let error = cluster(0).judge(Promise::Failover).unwrap_err();
    assert!(error.contains("skipped 1 numbers, and only 0"), "{error}");
}

#[test]
fn the_longest_silence_of_each_server_is_reported() {
    let at = |millis: u64| millis * 1_000_000;
    let mut cluster = Cluster::new();
    for sum in 1..=10 {
        cluster = cluster.count(0, sum, at(sum), at(sum) + 10);
    }
    let cluster = cluster.count(1, 11, at(11), at(50) + 10);
    let names = Names::new(1, 16).unwrap();
    let rules = Rules {
        promise: Promise::Exact,
        names: &names,
        servers: &["10.0.0.1:9999", "10.0.0.2:9999"].map(|server| server.parse().unwrap()),
        run: 0..at(51),
    };
    let silence = check(cluster.0, &rules).unwrap().silence;
    assert_eq!(silence.all, 39e3, "11 ms to 49 ms");
    assert_eq!(silence.by_server, [40e3, 50e3]);
    assert_eq!(silence.topic_max, 40e3, "from one answer to the next");
}
