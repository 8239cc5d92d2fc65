use super::super::results::Round;
use super::*;

fn entry(server: &str, ratio: Option<f64>, beyond_baseline: Option<f64>) -> EntryResult {
    EntryResult {
        server: server.to_owned(),
        ours: false,
        base: Some(0),
        missing: None,
        rounds: Vec::new(),
        medians: Round {
            rate: Some(5_000_000.0),
            nanos_per_reply: Some(171.2),
            p50: Some(100.0),
            p99: Some(2_000.0),
            ..Round::default()
        },
        ratio,
        beyond_baseline,
        ratio_to_other_build: None,
    }
}

fn target(target: Target, value: f64, met: bool) -> TargetResult {
    TargetResult {
        target,
        value: Some(value),
        met: Some(met),
    }
}

#[test]
fn figures_are_in_words() {
    let mut ours = entry("globalcounter", Some(1.19), Some(26.6));
    ours.ratio_to_other_build = Some(0.97);
    let mut gone = entry("memcached", None, None);
    gone.missing = Some("not installed".to_owned());
    let shown = row(&RowResult {
        name: "framed-16x64",
        about: "TCP framed",
        entries: vec![entry("baseline", Some(1.0), None), ours, gone],
        targets: vec![
            target(Target::BeyondBaseline { at_most: 25.0 }, 26.6, false),
            target(
                Target::CpuTime {
                    at_most: 1.25,
                    of: 0,
                },
                1.19,
                true,
            ),
            TargetResult {
                target: Target::CpuTime {
                    at_most: 0.16,
                    of: 2,
                },
                value: None,
                met: None,
            },
        ],
    });
    assert_eq!(
        shown,
        "\nframed-16x64 · TCP framed
  baseline        5,000,000/s      171 ns   1.00 ×                                 p50  100.0 µs  p99   2.00 ms
  globalcounter   5,000,000/s      171 ns   1.19 ×  beyond the baseline     27 ns  p50  100.0 µs  p99   2.00 ms  0.970 × the other build
  memcached      not installed
  target: beyond the baseline at most 25 ns: 27 ns, missed
  target: at most 1.25 × baseline: 1.19 ×, met
  target: at most 0.16 × memcached: not measured
"
    );
}

#[test]
fn starts_and_memory_are_in_words() {
    let mut ours = entry("globalcounter, 2 shards, monotonic", None, None);
    ours.medians = Round {
        start_seconds: Some(1.804),
        bytes_per_topic: Some(57.71),
        ..Round::default()
    };
    let shown = row(&RowResult {
        name: "start-10m",
        about: "Start",
        entries: vec![ours],
        targets: vec![
            target(Target::Start { at_most: 2.0 }, 1.804, true),
            target(Target::Memory { at_most: 64.0 }, 57.71, true),
            target(Target::Rate { at_least: 1.5e6 }, 1_499_999.0, false),
            target(
                Target::UserTime {
                    at_most: 1.1,
                    of: 0,
                },
                1.12,
                false,
            ),
        ],
    });
    assert_eq!(
        shown,
        "\nstart-10m · Start
  globalcounter, 2 shards, monotonic  1.80 s to start    57.7 B per topic
  target: start within 2 s: 1.80 s, met
  target: at most 64 B per topic: 57.7 B, met
  target: at least 1,500,000/s: 1,499,999/s, missed
  target: user time at most 1.1 × globalcounter, 2 shards, monotonic: 1.12 ×, missed
"
    );
}
