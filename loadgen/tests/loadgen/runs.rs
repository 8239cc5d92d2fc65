//! Runs that measure: targets, loops, ramps, flags, reports.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use globalcounter::access::{Digest, Grant, Guard, Policy, Rule, Token, TokenLimits};
use globalcounter::protocol::Reply;
use globalcounter::protocol::framed;
use globalcounter::server::affinity;
use serde_json::Value;

use crate::support::{Embedded, Null, answering_server, load, row, udp_server};

/// The rows that every table has.
const ROWS: [&str; 8] = [
    "requests",
    "rate achieved",
    "latency p50",
    "latency p90",
    "latency p99",
    "latency p99.9",
    "latency max",
    "errors",
];

fn number(text: &str) -> f64 {
    let digits: String = text.chars().take_while(|c| !"/ ".contains(*c)).collect();
    digits.replace(',', "").parse().unwrap()
}

#[test]
fn every_target_of_this_server_is_measured() {
    let server = Embedded::start(2);
    for target in [
        "framed",
        "udp --frames-per-datagram 8",
        "classic-udp",
        "classic-tcp",
        "resp",
    ] {
        let ended = load(
            server.at(target),
            &format!("--target {target} --requests 2000"),
        );
        let table = ended.measured();
        for name in ROWS {
            row(table, name);
        }
        assert!(
            row(table, "requests").starts_with("2,000 in"),
            "{target}: {table}"
        );
        assert_eq!(row(table, "errors"), "none");
        let losses = table.lines().find(|line| line.starts_with("datagrams"));
        assert_eq!(
            losses.is_some(),
            target.contains("udp"),
            "{target}: {table}"
        );
        assert!(
            losses.is_none_or(|line| line.ends_with("0 lost, 0 late")),
            "{table}"
        );
        // The server is this process.
        assert!(row(table, "server").contains(&format!("(process {})", std::process::id())));
    }
}

#[test]
fn a_closed_loop_lasts_for_its_duration() {
    let server = Embedded::start(1);
    let ended = load(
        server.tcp,
        "--duration 0.3 --connections 3 --pipeline 4 --threads 2 --pin 0",
    );
    let table = ended.measured();
    assert!(row(table, "requests").ends_with("in 0.30 s"), "{table}");
    assert!(number(row(table, "rate achieved")) > 100.0, "{table}");
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let server = Embedded::start(1);
    for target in ["framed", "udp", "classic-udp", "classic-tcp", "resp"] {
        for arrivals in ["fixed", "poisson"] {
            let flags =
                format!("--target {target} --rate 1000 --duration 0.5 --arrivals {arrivals}");
            let ended = load(server.at(target), &flags);
            let table = ended.measured();
            assert_eq!(row(table, "target rate"), "1,000/s");
            let rate = number(row(table, "rate achieved"));
            assert!(
                (700.0..1300.0).contains(&rate),
                "{target} {arrivals}: {table}"
            );
        }
    }
}

#[test]
fn all_methods_and_distributions_are_measured() {
    let server = Embedded::start(2);
    let mix = "--mix count=5,add,get,reset,delete,advance --requests 3000";
    for flags in [
        "",
        "--distribution zipf:0.9",
        "--distribution hot:0.5",
        "--shard-aware",
    ] {
        let ended = load(server.tcp, &format!("{mix} --topics 50 {flags}"));
        assert_eq!(row(ended.measured(), "errors"), "none", "{flags}");
    }
}

#[test]
fn a_server_with_tokens_is_measured() {
    let rule = Rule {
        rights: "count".parse().unwrap(),
        prefixes: Vec::new(),
    };
    let token = Token {
        name: "loadgen".to_owned(),
        digest: Some(Digest::of_token(b"a-token-for-tests")),
        certificate: None,
        grant: Arc::new(Grant::new([rule])),
        limits: TokenLimits::default(),
    };
    let server = Embedded::with(2, Some(Guard::new(Policy::new(vec![token], Vec::new()))));
    let path = |name: &str, text: &str| {
        let file = format!(
            "{}/{name}-{}",
            env!("CARGO_TARGET_TMPDIR"),
            std::process::id()
        );
        std::fs::write(&file, text).unwrap();
        file
    };
    let right = path("token", "a-token-for-tests\n");
    let named = path("named", "loadgen:a-token-for-tests\n");
    for target in ["framed", "framed --shard-aware", "resp"] {
        for file in [&right, &named] {
            let flags = format!("--requests 500 --target {target} --token-file {file}");
            assert_eq!(
                row(load(server.tcp, &flags).measured(), "errors"),
                "none",
                "{target}"
            );
        }
    }
    let wrong = path("wrong", "another-token\n");
    for (target, refusal) in [("framed", "Denied"), ("resp", "WRONGPASS")] {
        let flags =
            format!("--connections 1 --requests 500 --target {target} --token-file {wrong}");
        load(server.tcp, &flags).refused(1, refusal);
    }
    load(server.tcp, "--requests 500").refused(1, "the server refused every request: DENIED");
    let flags = format!("--target udp --token-file {right}");
    load(server.tcp, &flags).refused(2, "--token-file is for the targets framed and resp");
}

#[test]
fn refusals_are_counted_by_code() {
    let server = Embedded::start(1);
    // Over the server's limit of 1,024 bytes.
    let ended = load(server.tcp, "--topic-len 1025 --requests 100");
    ended.refused(1, "the server refused every request: TOPIC_TOO_LONG");
}

/// A pause of the server shows in all requests that were due meanwhile, not only in those in flight.
#[test]
fn an_open_loop_shows_a_pause() {
    let answered = AtomicUsize::new(0);
    let server = answering_server(move |input| {
        let (taken, replies) = ones(input);
        let before = answered.fetch_add(taken / FRAME_LEN, Ordering::Relaxed);
        // A pause in the middle of the run.
        if (before..before + taken / FRAME_LEN).contains(&3_000) {
            std::thread::sleep(Duration::from_millis(200));
        }
        Some((taken, replies))
    });
    let file = std::env::temp_dir().join(format!("loadgen-pause-{}.json", std::process::id()));
    let flags = "--connections 1 --rate 5000 --arrivals fixed --duration 1 --warmup 0.1";
    load(server, &format!("{flags} --json {}", file.display())).measured();
    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    let latency = &report["result"]["latency"];
    let at_least = |percentile: &str, micros: f64| {
        assert!(
            latency[percentile].as_f64().unwrap() > micros,
            "{latency} µs"
        );
    };
    at_least("p99.9", 190_000.0);
    // A fifth of all requests were due during the pause: half of those waited for half of it or more.
    at_least("p90", 90_000.0);
}

/// A classic UDP server that pauses when datagram number `at` arrives.
fn pausing_server(at: usize, pause: Duration) -> std::net::SocketAddr {
    udp_server(move |number, _| {
        if number == at {
            std::thread::sleep(pause);
        }
        vec![vec![0x80, 1]]
    })
}

/// One request at a time, 200 per second: 10 to warm up, 100 measured, until 0.55 s.
const ONE_AT_A_TIME: &str = "--target classic-udp --connections 1 --rate 200 --arrivals fixed \
    --duration 0.5 --warmup 0.05";

/// Requests that were due before the end are made and counted, also if the server pauses until after
/// it.
#[test]
fn a_pause_over_the_end_is_measured() {
    let server = pausing_server(80, Duration::from_millis(300));
    let file = std::env::temp_dir().join(format!("loadgen-end-{}.json", std::process::id()));
    let flags = format!("{ONE_AT_A_TIME} --timeout 5 --json {}", file.display());
    load(server, &flags).measured();
    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    let latency = &report["result"]["latency"];
    // 30 requests were due in the pause; the first 10 of them waited for a quarter of a second.
    assert!(latency["p90"].as_f64().unwrap() > 200_000.0, "{latency} µs");
}

#[test]
fn requests_that_cannot_be_sent_are_reported() {
    let server = pausing_server(60, Duration::from_secs(30));
    let ended = load(server, &format!("{ONE_AT_A_TIME} --timeout 0.1"));
    let table = ended.measured();
    assert!(number(row(table, "never sent")) > 20.0, "{table}");
    // The clock decides about the rate, not the last reply.
    assert!(row(table, "requests").ends_with("in 0.50 s"), "{table}");
}

#[test]
fn requests_of_the_warm_up_are_not_counted() {
    let server = Embedded::start(1);
    let ended = load(server.tcp, "--warmup 0.2 --requests 1000");
    assert!(
        row(ended.measured(), "requests").starts_with("1,000 in"),
        "{ended:?}"
    );
}

#[test]
fn a_ramp_finds_a_rate() {
    let server = Embedded::start(1);
    // A rate is not sustained if replies are missing at the end, as on a machine that stalls. That does
    // not happen three times in a row.
    let sustained = (0..3).any(|_| {
        let flags = "--ramp 500..2000 --slo 10000 --duration 0.2 --arrivals fixed";
        let ended = load(server.tcp, flags);
        let table = ended.measured();
        assert!(table.contains("target rate"), "{table}");
        let mut lines = table.lines();
        lines.any(|line| line == "highest rate with p99 up to 10.00 s: 2,000/s")
    });
    assert!(sustained);
    let ended = load(server.tcp, "--ramp 1000..2000 --slo 0.0001 --duration 0.1");
    assert!(
        ended.measured().contains("no rate had a p99 of at most"),
        "{}",
        ended.out
    );
}

/// A rate at which the server fails is not sustained; the rates before it are reported.
#[test]
fn a_ramp_survives_a_server_that_fails() {
    let answered = AtomicUsize::new(0);
    let server = answering_server(move |input| {
        let (taken, replies) = ones(input);
        let before = answered.fetch_add(taken / FRAME_LEN, Ordering::Relaxed);
        (before < 500).then_some((taken, replies))
    });
    let flags = "--ramp 100..10000 --slo 10000 --duration 0.5 --arrivals fixed --connections 1";
    let table = load(server, flags).measured().to_owned();
    assert!(table.contains("not sustained: measuring framed"), "{table}");
    assert!(table.contains("highest rate with p99"), "{table}");
}

/// Each thread needs a connection to each shard, or the run is refused.
#[test]
fn open_loops_of_several_threads_are_shard_aware() {
    let server = Embedded::start(4);
    let flags = "--shard-aware --rate 5000 --duration 0.3 --threads 2";
    let ended = load(server.tcp, &format!("{flags} --connections 8 --verify"));
    assert_eq!(row(ended.measured(), "errors"), "none");
    let ended = load(server.tcp, &format!("{flags} --connections 7"));
    ended.refused(1, "each of 4 shards that own topics on each thread");
}

#[test]
fn reports_are_written() {
    let server = Embedded::start(1);
    let base = std::env::temp_dir().join(format!("loadgen-report-{}", std::process::id()));
    let (json, html) = (base.with_extension("json"), base.with_extension("html"));
    let files = format!("--json {} --html {}", json.display(), html.display());
    load(
        server.tcp,
        &format!("--duration 0.5 --mix count,get {files}"),
    )
    .measured();
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["load"]["mix"], "count=1,get=1");
    assert_eq!(report["load"]["target"], "framed");
    assert!(
        report["environment"]["command"]
            .as_str()
            .unwrap()
            .starts_with("loadgen --server")
    );
    assert!(report["result"]["replies"].as_u64().unwrap() > 0);
    assert!(
        report["result"]["server"]["nanos_per_reply"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    assert!(report["result"]["server"]["cores"].as_f64().unwrap() > 0.0);
    assert_eq!(report["result"]["unmatched"], 0);
    assert!(report["result"]["over_time"].as_array().unwrap().len() >= 3);
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.matches("<svg").count() == 3);
    // The page fetches nothing: its only address is the name of SVG itself.
    let addresses = page.replace("http://www.w3.org/2000/svg", "");
    for fetched in [
        "http:",
        "https:",
        "<script",
        "<link rel=\"stylesheet",
        "@import",
        "url(",
    ] {
        assert!(!addresses.contains(fetched), "{fetched}");
    }
    let ramp = format!("--ramp 500..1000 --slo 1000 --duration 0.1 {files}");
    load(server.tcp, &ramp).measured();
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    for step in report["ramp"]["steps"].as_array().unwrap() {
        assert!((1..=3).contains(&step["tries"].as_u64().unwrap()), "{step}");
        let target = step["target_rate"].as_f64().unwrap();
        assert!((499.0..1_001.0).contains(&target), "{step}");
    }
    assert!(report["ramp"]["noise_tries"].is_u64());
    assert!(
        std::fs::read_to_string(&html)
            .unwrap()
            .contains("Latency by target rate")
    );
    std::fs::remove_file(&json).unwrap();
    std::fs::remove_file(&html).unwrap();
}

/// The hint to pin both appears only if load and server can use the same processors.
#[test]
fn load_and_server_on_the_same_processors_get_a_hint() {
    let processors = affinity::processors();
    let (first, last) = (processors[0], processors[processors.len() - 1]);
    // A child may use the processors of the thread that starts it.
    let start = move || {
        affinity::pin(first).unwrap();
        Null::start(&[])
    };
    let null = std::thread::spawn(start).join().unwrap();
    let file = std::env::temp_dir().join(format!("loadgen-pin-{}.json", std::process::id()));
    let run = |pin: usize| {
        let flags = format!("--duration 0.2 --pin {pin} --json {}", file.display());
        let table = load(null.tcp, &flags).measured().to_owned();
        let report = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        (table, serde_json::from_slice::<Value>(&report).unwrap())
    };
    let (table, report) = run(first);
    let hint = row(&table, "note");
    assert!(
        hint.starts_with(&format!("load and server share CPU {first},")),
        "{table}"
    );
    assert!(table.contains("globalcounter serve --pin"), "{table}");
    assert_eq!(report["shared_processors"][0], first);
    if first != last {
        let (table, report) = run(last);
        assert!(!table.contains("note"), "{table}");
        assert!(report.get("shared_processors").is_none(), "{report}");
    }
}

/// The length of a COUNT of a topic of 16 bytes.
const FRAME_LEN: usize = framed::HEADER_LEN + 16;

/// Returns how many bytes of `input` are complete frames, and a reply with sum 1 to each.
fn ones(input: &[u8]) -> (usize, Vec<u8>) {
    let (mut at, mut replies) = (0, Vec::new());
    while let Ok(Some(frame)) = framed::decode_request(&input[at..], 1024) {
        at += frame.len;
        framed::encode_reply(frame.id, Reply::Count(1), &mut replies);
    }
    (at, replies)
}

/// Returns the bytes of the frames that a run sends on its only connection.
fn sent_with(seed: u32) -> Vec<u8> {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = sent.clone();
    let server = answering_server(move |input| {
        let (taken, replies) = ones(input);
        seen.lock().unwrap().extend_from_slice(&input[..taken]);
        Some((taken, replies))
    });
    let flags =
        format!("--requests 500 --connections 1 --pipeline 1 --distribution zipf --seed {seed}");
    load(server, &flags).measured();
    std::mem::take(&mut sent.lock().unwrap())
}

#[test]
fn the_same_seed_sends_the_same_requests() {
    let first = sent_with(7);
    assert_eq!(first.len(), 500 * FRAME_LEN);
    assert_eq!(first, sent_with(7));
    assert_ne!(first, sent_with(8));
}
