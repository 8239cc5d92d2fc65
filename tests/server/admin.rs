//! The admin port: metrics and health over HTTP.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use globalcounter::protocol::{Op, Reply};
use globalcounter::server::{Server, State};
use globalcounter::store::{MemoryStore, StoreError};
use nix::sys::signal::Signal;

use crate::support::{
    Directory, Framed, PATIENCE, Process, STORE, ScriptedStore, body, command, config, eventually,
    get, is_ok, metrics, request, try_request,
};

/// Returns whether the admin port answers, and does not close the connection at once.
fn answers(admin: SocketAddr) -> bool {
    is_ok(admin, "/healthz")
}

#[test]
fn metrics_count_what_was_served() {
    let server = Process::with_admin(&["--shards", "2", "--max-topics", "5"]);
    let admin = server.admin.unwrap();
    let before = metrics(admin);
    let mut framed = Framed::connect(server.tcp);
    for _ in 0..3 {
        framed.ask(Op::Count, "a");
    }
    // A classic datagram, and a command of a Redis client.
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    udp.send_to(b"\x00a", server.udp).unwrap();
    udp.recv(&mut [0; 64]).unwrap();
    let mut redis = TcpStream::connect(server.tcp).unwrap();
    redis.set_read_timeout(Some(PATIENCE)).unwrap();
    redis.write_all(&command(&["INCR", "b"])).unwrap();
    redis.read_exact(&mut [0; 4]).unwrap();

    // Two errors of different kinds, by a shard and by the decoder.
    for topic in ["c", "d", "e", "f"] {
        framed.ask(Op::Count, topic);
    }
    udp.send_to(b"\x00\xff", server.udp).unwrap();
    udp.recv(&mut [0; 64]).unwrap();

    let after = metrics(admin);
    let grown = |name: &str| after[name] - before.get(name).copied().unwrap_or(0.0);
    let requests = |dialect: &str, method: &str| {
        grown(&format!(
            "globalcounter_requests_total{{dialect=\"{dialect}\",method=\"{method}\"}}"
        ))
    };
    assert_eq!(requests("framed", "count"), 7.0);
    assert_eq!(requests("framed", "reset"), 0.0);
    assert_eq!(requests("resp", "incr"), 1.0);
    assert_eq!(requests("classic", "count"), 1.0);
    assert_eq!(grown("globalcounter_connections_accepted_total"), 2.0);
    let connections: f64 = (0..2)
        .map(|worker| after[&format!("globalcounter_connections{{worker=\"{worker}\"}}")])
        .sum();
    assert_eq!(connections, 2.0);
    for (method, error, count) in [
        ("count", "TOO_MANY_TOPICS", 1.0),
        ("unknown", "BAD_TOPIC", 1.0),
        ("get", "BUSY", 0.0),
    ] {
        let name = format!("globalcounter_errors_total{{method=\"{method}\",error=\"{error}\"}}");
        assert_eq!(after[&name], count, "{error}");
    }
    assert_eq!(after["globalcounter_topics"], 5.0);
    assert_eq!(after["globalcounter_topics_limit"], 5.0);
    assert_eq!(after["globalcounter_ready"], 1.0);
    // Nine requests of all dialects, none of them with another in its read.
    assert_eq!(grown("globalcounter_batch_requests_sum"), 9.0);
    assert_eq!(grown("globalcounter_batch_requests_count"), 9.0);
    let by_worker: f64 = (0..2)
        .map(|worker| {
            grown(&format!(
                "globalcounter_worker_requests_total{{worker=\"{worker}\"}}"
            ))
        })
        .sum();
    assert_eq!(by_worker, 9.0);
    // The first read of each worker is measured.
    assert!(grown("globalcounter_request_seconds_count") >= 1.0);
    assert!(grown("globalcounter_request_seconds_sum") > 0.0);
    let received = "globalcounter_received_bytes_total{transport=\"udp\"}";
    assert_eq!(grown(received), 4.0);
    for transport in ["tcp", "udp"] {
        let sent = format!("globalcounter_sent_bytes_total{{transport=\"{transport}\"}}");
        assert!(grown(&sent) > 0.0);
    }
    assert!(after["globalcounter_topics_memory_bytes{shard=\"0\"}"] > 33_000.0);
    assert_eq!(
        after["globalcounter_shard_waiting_batches{shard=\"1\"}"],
        0.0
    );
    assert_eq!(after["globalcounter_store_failed"], 0.0);
    assert!(after["process_resident_memory_bytes"] > 100_000.0);
}

#[test]
fn metrics_count_commits_and_checkpoints() {
    let directory = Directory::new("admin");
    let server = Process::with_admin(&[
        "--data-dir",
        directory.as_str(),
        "--durability",
        "exact",
        "--checkpoint-log",
        "1",
    ]);
    let admin = server.admin.unwrap();
    let mut framed = Framed::connect(server.tcp);
    eventually("a checkpoint is written", || {
        framed.ask(Op::Count, "a");
        metrics(admin)["globalcounter_checkpoints_total"] > 0.0
    });
    let metrics = metrics(admin);
    let commits = metrics["globalcounter_commit_seconds_count"];
    assert!(commits >= 1.0);
    assert_eq!(
        metrics["globalcounter_commit_seconds_bucket{le=\"+Inf\"}"],
        commits
    );
    assert!(metrics["globalcounter_commit_seconds_sum"] > 0.0);
    assert!(metrics["globalcounter_committed_changes_total"] >= commits);
    assert_eq!(metrics["globalcounter_checkpoints_failed_total"], 0.0);
    assert_eq!(metrics["globalcounter_datagrams_dropped_total"], 0.0);
}

#[test]
fn every_path_answers() {
    let server = Process::with_admin(&[]);
    let admin = server.admin.unwrap();
    assert_eq!(get(admin, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get(admin, "/readyz"), (200, "ready\n".to_owned()));
    let (status, version) = get(admin, "/version");
    assert_eq!(status, 200);
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    Framed::connect(server.tcp).ask(Op::Count, "a");
    let (status, stats) = get(admin, "/api/stats");
    assert_eq!(status, 200);
    for part in [
        "\"ready\":true",
        "\"topics\":1",
        "\"durability\":\"memory\"",
    ] {
        assert!(stats.contains(part), "{part} is not in {stats}");
    }
    let (status, paths) = get(admin, "/nothing");
    assert_eq!(status, 404);
    assert!(paths.contains("/metrics"), "{paths}");
    assert_eq!(request(admin, "POST", "/metrics", "").0, 405);
    let (status, head) = request(admin, "HEAD", "/metrics", "");
    assert_eq!(status, 200);
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let accept = "Accept: application/openmetrics-text; version=1.0.0\r\n";
    let (_, text) = request(admin, "GET", "/metrics", accept);
    assert!(text.contains("application/openmetrics-text"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

/// Peers that send nothing use up the admin port at most, never the server.
#[test]
fn idle_and_broken_peers_do_not_touch_the_server() {
    let server = Process::with_admin(&[]);
    let admin = server.admin.unwrap();
    let mut broken = TcpStream::connect(admin).unwrap();
    broken.set_read_timeout(Some(PATIENCE)).unwrap();
    broken.write_all(b"\x10\x00\x01 no HTTP\r\n\r\n").unwrap();
    let mut reply = String::new();
    broken.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
    let mut long = TcpStream::connect(admin).unwrap();
    long.set_read_timeout(Some(PATIENCE)).unwrap();
    // Either it is refused, or the connection ends while it is still being written.
    let sent = write!(long, "GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let mut reply = String::new();
    if sent.is_ok() && long.read_to_string(&mut reply).is_ok() {
        assert!(reply.starts_with("HTTP/1.1 4"), "{reply}");
    }
    drop((broken, long));

    eventually("there is room again", || answers(admin));
    let idle: Vec<TcpStream> = (0..64)
        .map(|_| TcpStream::connect(admin).unwrap())
        .collect();
    eventually("one more is closed", || !answers(admin));
    let reply = Framed::connect(server.tcp).ask(Op::Count, "a");
    assert_eq!(reply, Reply::Count(1));
    drop(idle);
    eventually("there is room again", || answers(admin));
}

#[test]
fn an_address_in_use_is_refused_if_it_was_asked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_globalcounter"))
        .args([
            "serve",
            "--in-memory",
            "--tcp",
            "127.0.0.1:0",
            "--udp",
            "off",
        ])
        .args(["--admin", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains(&address) && error.contains("admin port"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_server_that_stops_is_not_ready() {
    let mut server = Process::with_admin(&[]);
    let admin = server.admin.unwrap();
    // A connection that has not sent its first request yet keeps a stopping server for a while.
    let _waiting = TcpStream::connect(server.tcp).unwrap();
    server.signal(Signal::SIGTERM);
    eventually("it says that it stops, or has ended", || match try_request(
        admin, "GET", "/readyz", "",
    ) {
        Ok((status, reply)) => status == 503 && body(&reply) == "stopping\n",
        Err(_) => true,
    });
    assert!(server.wait().success());
}

#[test]
fn a_monitor_tells_of_a_store_that_failed_and_of_a_stop() {
    let store = ScriptedStore::new(MemoryStore::default(), |_, _, completion| {
        completion.report(Err(StoreError::NoResult));
    });
    let server = Server::bind_to(config(1), Box::new(store)).unwrap();
    let monitor = server.monitor();
    assert_eq!(monitor.state(), State::Ready);
    let (tcp, stop) = (server.tcp_addr().unwrap(), server.stop_handle());
    let thread = std::thread::spawn(|| server.run());
    let mut framed = Framed::connect(tcp);
    assert_eq!(framed.ask(Op::Count, "a"), STORE);
    assert!(matches!(monitor.state(), State::StoreFailed(reason) if !reason.is_empty()));
    assert!(monitor.snapshot().store_failure.is_some());
    stop.stop();
    let _ = thread.join().unwrap();
}

fn json(address: SocketAddr, path: &str) -> serde_json::Value {
    let (status, body) = get(address, path);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// All topics that begin with a prefix, from as many pages as it takes.
fn topics(admin: SocketAddr, prefix: &str, limit: usize) -> HashMap<String, u64> {
    let mut all = HashMap::new();
    let mut cursor = 0;
    loop {
        let path = format!("/api/topics?prefix={prefix}&limit={limit}&cursor={cursor}");
        let page = json(admin, &path);
        let found = page["topics"].as_array().unwrap();
        assert!(found.len() <= limit);
        for topic in found {
            let name = topic["topic"].as_str().unwrap().to_owned();
            let twice = all.insert(name, topic["sum"].as_u64().unwrap());
            assert_eq!(twice, None);
        }
        match page["cursor"].as_u64() {
            Some(next) => cursor = next,
            None => return all,
        }
    }
}

#[test]
fn topics_are_searched_while_they_are_served() {
    let server = Process::with_admin(&["--shards", "3"]);
    let admin = server.admin.unwrap();
    let mut framed = Framed::connect(server.tcp);
    for i in 0..2_000_u64 {
        framed.ask(
            Op::Advance(i + 1),
            &format!("{}/{i}", ["a", "b"][i as usize % 2]),
        );
    }
    for limit in [1_000, 77] {
        let found = topics(admin, "b/", limit);
        let expected = (0..2_000).filter(|i| i % 2 == 1);
        let expected = expected.map(|i| (format!("b/{i}"), i + 1));
        assert_eq!(found, expected.collect(), "{limit}");
    }
    assert_eq!(topics(admin, "", 1_000).len(), 2_000);
    assert_eq!(topics(admin, "c", 10).len(), 0);

    assert_eq!(json(admin, "/api/topics/a%2F10")["sum"], 11);
    // What a terminal could take for a command is escaped.
    framed.ask(Op::Count, "c\u{9b}31m\u{7f}");
    let (_, text) = get(admin, "/api/topics?prefix=c");
    assert!(text.contains("\"c\\u009b31m\\u007f\""), "{text}");
    assert_eq!(get(admin, "/api/topics/none").0, 404);
    let longest = "x".repeat(2_000);
    for path in [
        "/api/topics?cursor=999999999999999999",
        "/api/topics?cursor=x",
        &format!("/api/topics/{longest}"),
        "/api/hot?limit=-1",
    ] {
        let (status, body) = get(admin, path);
        assert_eq!(status, 400, "{path}: {body}");
        assert!(body.contains("\"error\":"), "{body}");
    }
}

#[test]
fn hot_topics_and_the_last_seconds_are_told() {
    let server = Process::with_admin(&["--shards", "2"]);
    let admin = server.admin.unwrap();
    let mut framed = Framed::connect(server.tcp);
    for i in 0..6_000 {
        let topic = if i % 10 < 9 { "hot" } else { "warm" };
        framed.ask(Op::Count, topic);
    }
    let hot = json(admin, "/api/hot?limit=1");
    assert_eq!(hot["topics"].as_array().unwrap().len(), 1);
    assert_eq!(hot["topics"][0]["topic"], "hot");
    let share = hot["topics"][0]["share"].as_f64().unwrap();
    assert!((0.6..=1.0).contains(&share), "{share}");

    // The seconds are not exactly as long as seconds are.
    eventually("all requests are in the history", || {
        let history = json(admin, "/api/history");
        let rates = history.as_array().unwrap().iter();
        let counted: f64 = rates
            .map(|second| second["requests"]["all"].as_f64().unwrap())
            .sum();
        (5_000.0..7_000.0).contains(&counted)
    });
}

/// The first event has the last seconds, and each further one a new second.
#[test]
fn each_second_is_sent_as_it_ends() {
    let server = Process::with_admin(&[]);
    let mut stream = TcpStream::connect(server.admin.unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /api/live HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut seen = String::new();
    while seen.matches("event: second").count() < 2 {
        let mut some = [0; 4_096];
        let len = stream.read(&mut some).unwrap();
        assert_ne!(len, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&some[..len]));
    }
    let first = seen.find("event: history").expect("the history");
    assert!(first < seen.find("event: second").unwrap());
    assert!(seen.contains("text/event-stream"));
    assert!(seen.contains("\"state\":\"ready\""));
}
