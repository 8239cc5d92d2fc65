use super::super::rows::{ROWS, Row};
use super::*;

fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).unwrap()
}

/// Rounds with this CPU time per request each; a third of it is user time.
fn rounds(nanos: &[f64]) -> Vec<Round> {
    let round = |&nanos: &f64| Round {
        nanos_per_reply: Some(nanos),
        user_nanos_per_reply: Some(nanos / 3.0),
        rate: Some(1e9 / nanos),
        ..Round::default()
    };
    nanos.iter().map(round).collect()
}

fn series(entry: usize, rounds: Vec<Round>) -> Series {
    Series {
        entry,
        build: Build::This,
        missing: None,
        rounds,
    }
}

fn missing(entry: usize) -> Series {
    Series {
        missing: Some("not installed".to_owned()),
        ..series(entry, Vec::new())
    }
}

fn other_build(entry: usize, rounds: Vec<Round>) -> Series {
    Series {
        build: Build::Other,
        ..series(entry, rounds)
    }
}

/// The median of the differences, not the difference of the medians.
#[test]
fn beyond_the_baseline_is_compared_round_by_round() {
    let result = summarise(
        row("framed-16x64"),
        &[
            series(0, rounds(&[100.0, 200.0, 150.0])),
            series(1, rounds(&[130.0, 260.0, 170.0])),
            series(2, rounds(&[600.0, 700.0, 650.0])),
            missing(3),
            missing(4),
        ],
    );
    let ours = &result.entries[1];
    assert!(ours.ours);
    // 30, 60 and 20; the medians are 170 and 150.
    assert_eq!(ours.beyond_baseline, Some(30.0));
    assert_eq!(ours.ratio, Some(1.3));
    assert_eq!(ours.medians.nanos_per_reply, Some(170.0));
    assert_eq!(result.entries[0].beyond_baseline, None);
    assert_eq!(result.entries[2].beyond_baseline, Some(500.0));
    assert_eq!(result.entries[3].beyond_baseline, None);
    let met: Vec<Option<bool>> = result.targets.iter().map(|target| target.met).collect();
    // At most 25 ns, 0.24 × Redis (0.26), 0.16 × memcached (not installed).
    assert_eq!(met, [Some(false), Some(false), None]);
}

#[test]
fn entries_under_another_load_are_not_compared() {
    let result = summarise(
        row("framed-1x512"),
        &[
            series(0, rounds(&[40.0])),
            series(1, rounds(&[60.0])),
            series(2, rounds(&[500.0])),
            missing(3),
        ],
    );
    assert_eq!(result.entries[1].beyond_baseline, Some(20.0));
    assert_eq!(result.entries[2].ratio, None);
    assert_eq!(result.entries[2].beyond_baseline, None);
    assert_eq!(result.targets[0].met, Some(true));
}

#[test]
fn the_next_base_serves_if_the_first_is_not_installed() {
    let result = summarise(
        row("resp"),
        &[
            missing(0),
            series(1, rounds(&[120.0])),
            series(2, rounds(&[400.0])),
            series(3, rounds(&[90.0])),
        ],
    );
    let ours = &result.entries[1];
    assert_eq!((ours.base, ours.ratio), (Some(2), Some(0.3)));
    assert_eq!(ours.beyond_baseline, Some(30.0));
    assert_eq!(result.targets[0].met, None);
}

/// A server that failed in a round keeps the rounds before, and has no ratio.
#[test]
fn rounds_without_a_counterpart_do_not_count() {
    let failed = Series {
        missing: Some("it closed the connection".to_owned()),
        ..series(0, rounds(&[100.0]))
    };
    let ours = series(1, rounds(&[110.0, 900.0]));
    let result = summarise(row("topics-1m"), &[failed, ours]);
    assert_eq!(result.entries[1].base, None);
    assert_eq!(result.entries[1].beyond_baseline, Some(10.0));
}

#[test]
fn each_build_is_compared_with_its_own_shards() {
    let result = summarise(
        row("shards-2"),
        &[
            series(0, rounds(&[100.0, 100.0])),
            series(1, rounds(&[108.0, 109.0])),
            missing(2),
            missing(3),
            other_build(0, rounds(&[200.0, 200.0])),
            other_build(1, rounds(&[300.0, 300.0])),
        ],
    );
    let [one, two, .., other_one, other_two] = &result.entries[..] else {
        panic!("{result:?}");
    };
    assert_eq!(two.base, Some(0));
    assert_eq!((other_two.base, other_two.ratio), (Some(4), Some(1.5)));
    assert_eq!(other_two.server, "globalcounter, 2 shards (other build)");
    assert_eq!(one.ratio_to_other_build, Some(0.5));
    assert_eq!(other_one.ratio_to_other_build, None);
    assert!(!other_two.ours);
    // User time: 1.085 of at most 1.1.
    let target = &result.targets[0];
    assert!((target.value.unwrap() - 1.085).abs() < 1e-9, "{target:?}");
    assert_eq!(target.met, Some(true));
}

#[test]
fn rates_and_starts_have_targets_too() {
    let result = summarise(
        row("exact-50x1"),
        &[
            series(0, rounds(&[5_000.0])),
            series(1, rounds(&[6_000.0, 7_000.0, 6_500.0])),
        ],
    );
    assert_eq!(result.targets[0].met, Some(true));
    let start = |seconds: f64| Round {
        start_seconds: Some(seconds),
        bytes_per_topic: Some(57.0),
        ..Round::default()
    };
    let result = summarise(
        row("start-10m"),
        &[series(0, vec![start(1.8), start(2.4), start(2.1)])],
    );
    assert_eq!(result.targets[0].value, Some(2.1));
    assert_eq!(result.targets[0].met, Some(false));
    assert_eq!(result.entries[0].medians.bytes_per_topic, Some(57.0));
}

#[test]
fn user_time_that_no_tick_sampled_is_no_ratio() {
    let none = || {
        let mut rounds = rounds(&[100.0]);
        rounds[0].user_nanos_per_reply = Some(0.0);
        rounds
    };
    let result = summarise(
        row("shards-4"),
        &[series(0, none()), series(1, none()), missing(2), missing(3)],
    );
    assert_eq!(result.targets[0].value, None);
    assert_eq!(result.entries[1].ratio, Some(1.0));
}
