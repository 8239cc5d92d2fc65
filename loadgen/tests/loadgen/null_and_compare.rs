//! The server that counts nothing, and the comparison of servers.

use crate::support::{Null, load, loadgen, row};

#[test]
fn the_server_that_counts_nothing_answers_every_target() {
    for arguments in [&[][..], &["--gso"]] {
        let null = Null::start(arguments);
        // Over UDP, few requests in flight: all of them fit into the socket of a server that the
        // system does not run.
        for target in [
            "framed",
            "udp --frames-per-datagram 16",
            "udp --gso --pipeline 8",
            "classic-udp",
            "classic-udp --gso --pipeline 8",
            "classic-tcp",
            "resp --mix count,add,get,reset,delete",
            "memcached --mix count,add,get,reset,delete",
            "memcached-udp --pipeline 8",
        ] {
            let ended = load(
                null.at(target),
                &format!("--target {target} --requests 2000 --topics 99"),
            );
            let table = ended.measured();
            assert!(
                row(table, "requests").starts_with("2,000 in"),
                "{target}: {table}"
            );
            assert_eq!(row(table, "errors"), "none", "{target}: {table}");
        }
    }
}

#[test]
fn rows_are_listed() {
    let ended = loadgen("compare --list");
    for name in [
        "framed-50x1",
        "framed-16x64",
        "resp",
        "udp-classic-gso",
        "topics-10m",
        "exact-1000x1",
        "new-topics",
        "start-10m",
        "memory",
    ] {
        row(ended.measured(), name);
    }
}

/// A whole comparison, as short as possible; its figures mean nothing.
#[test]
fn servers_are_compared() {
    // The tests of the workspace build it; those of this package alone do not.
    let server =
        std::path::Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("globalcounter");
    if !server.is_file() {
        eprintln!(
            "skipped: no globalcounter beside loadgen; build it with cargo build --workspace"
        );
        return;
    }
    if std::thread::available_parallelism().unwrap().get() < 2 {
        eprintln!("skipped: servers and load need a CPU each");
        return;
    }
    let json = std::env::temp_dir().join(format!("loadgen-compare-{}.json", std::process::id()));
    let rows = "--row framed-16x64 --row shards-2 --row exact-50x1 --rounds 2 --duration 0.1";
    let ended = loadgen(&format!(
        "compare {rows} --against {} --json {}",
        server.display(),
        json.display()
    ));
    let table = ended.measured();
    assert!(table.contains("framed-16x64 · TCP framed"), "{table}");
    for words in [
        "target: beyond the baseline at most 25 ns: ",
        "globalcounter, 2 shards (other build)",
        "× the other build",
        "globalcounter, exact ",
        "target: at least 150,000/s: ",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
    assert!(table.contains("baseline (loadgen null)"), "{table}");
    let report = std::fs::read(&json).unwrap();
    std::fs::remove_file(&json).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let entries = report["rows"][0]["entries"].as_array().unwrap();
    assert_eq!(entries[0]["ratio"], 1.0);
    assert!(entries[0]["beyond_baseline"].is_null());
    assert!(entries[1]["ours"].as_bool().unwrap());
    assert!(entries[1]["beyond_baseline"].is_number());
    assert_eq!(entries[1]["rounds"].as_array().unwrap().len(), 2);
    for entry in entries {
        let measured = entry["nanos_per_reply"]
            .as_f64()
            .is_some_and(|nanos| nanos > 0.0);
        let missing = entry["missing"]
            .as_str()
            .is_some_and(|why| why.contains("not installed"));
        assert!(measured != missing, "{entry}");
    }
}
