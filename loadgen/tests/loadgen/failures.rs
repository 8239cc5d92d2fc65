//! Failures: one clear line, an exit code, and no hang.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use globalcounter::protocol::Reply;
use globalcounter::protocol::framed;

use crate::support::{answering_server, load, loadgen, tcp_server, udp_server};

#[test]
fn bad_usage_is_one_line_and_exit_code_2() {
    for (flags, because) in [
        ("--target http", "must be one of framed, udp, classic-udp"),
        ("--server nowhere", "a host and a port"),
        ("--server 127.0.0.1:1,nowhere", "a host and a port"),
        (
            "--server 127.0.0.1:1,127.0.0.1:2,127.0.0.1:3 --connections 2",
            "--connections 2 is fewer than the 3 servers",
        ),
        (
            "--server 127.0.0.1:1 --server 127.0.0.1:2 --shard-aware",
            "--shard-aware is for one server",
        ),
        ("--redis-cluster", "is for the target resp, not framed"),
        ("--connections 0", "1 to 1000000"),
        ("--rate 0", "requests per second"),
        ("--rate 5 --pipeline 2", "cannot be used with"),
        ("--ramp 5..2", "the higher one"),
        ("--ramp 5", "two rates"),
        ("--reconnect=0", "above 0"),
        ("--reconnect --ramp 1..5", "cannot be used with"),
        (
            "--verify=mostly",
            "possible values: exact, failover, monotonic",
        ),
        ("--slo 5", "required"),
        ("--duration 0", "above 0"),
        ("--duration x", "a number of seconds"),
        ("--duration 1 --requests 5", "cannot be used with"),
        (
            "--topics 100000 --topic-len 3",
            "names of 5 bytes at least, not 3",
        ),
        ("--distribution normal", "uniform, zipf"),
        ("--mix incr", "there is no method"),
        ("--mix count,count", "twice"),
        (
            "--target classic-udp --mix get",
            "classic-udp has no method get",
        ),
        (
            "--target memcached --mix advance",
            "memcached has no method advance",
        ),
        ("--verify --mix reset", "--verify checks count, add and get"),
        (
            "--verify --target classic-udp --pipeline 2",
            "needs --pipeline 1",
        ),
        ("--target classic-tcp --pipeline 2", "at most 1"),
        ("--target memcached-udp --pipeline 257", "at most 256"),
        ("--frames-per-datagram 2", "for the target udp"),
        ("--gso", "for targets over UDP"),
        (
            "--target udp --frames-per-datagram 65 --pipeline 64",
            "more than --pipeline 64",
        ),
        (
            "--target udp --frames-per-datagram 64 --topic-len 1024",
            "at most 65507 bytes, and these would have 65984",
        ),
        (
            "--target memcached --topic-len 251",
            "at most 250 bytes, not 251",
        ),
        ("--arrivals fixed", "needs --rate or --ramp"),
        ("--json /tmp/a --html /tmp/a", "one file"),
        ("--pin 99999", "a CPU of this machine"),
        ("compare --server-cpu 99999", "a CPU of this machine"),
        ("--server host.invalid:1", "this host is not known"),
        ("--target resp --shard-aware", "for the target framed"),
        ("--threads 17", "more than --connections 16"),
        ("--nonsense", "unexpected argument"),
        ("compare --row nonsense", "no such row"),
        ("tune --target memcached", "does not speak memcached"),
        ("tune --shards-list 1,0", "a number from 1 to"),
        ("tune --in-memory --durability exact", "cannot be used with"),
        ("tune --server-cpus 99999", "a CPU of this machine"),
        ("tune --target resp --pipeline 9999999", "1 to 1000000"),
        ("tune --json /tmp/a --html /tmp/a", "one file"),
        ("null --tcp here", "an address and a port"),
    ] {
        loadgen(flags).refused(2, because);
    }
}

#[test]
fn absent_servers_are_reported() {
    let tcp = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for target in [
        "framed",
        "classic-tcp",
        "resp",
        "memcached",
        "framed --shard-aware",
    ] {
        load(tcp, &format!("--target {target}")).refused(1, "Connection refused");
    }
    for target in ["udp", "classic-udp", "memcached-udp"] {
        load(udp, &format!("--target {target}")).refused(1, "nobody receives datagrams at");
    }
    loadgen("--pid 2147483647").refused(1, "there is no process 2147483647");
    loadgen("null --tcp 192.0.2.1:1 --udp off").refused(1, "listening on tcp://192.0.2.1:1");
    for flag in [
        "compare --server-bin",
        "compare --against",
        "tune --server-bin",
    ] {
        loadgen(&format!("{flag} /nonexistent")).refused(1, "there is no server at /nonexistent");
    }
}

#[test]
fn files_that_cannot_be_written_fail_before_the_run() {
    for flag in ["--json", "--html"] {
        loadgen(&format!("{flag} /nonexistent/file")).refused(1, "writing /nonexistent/file");
    }
    for command in ["compare", "tune"] {
        loadgen(&format!("{command} --json /nonexistent/file"))
            .refused(1, "writing /nonexistent/file");
    }
}

#[test]
fn a_full_standard_output_is_reported() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["compare", "--list"])
        .stdout(full)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("writing to standard output"), "{error}");
}

#[test]
fn a_server_that_vanishes_is_reported() {
    let answered = AtomicUsize::new(0);
    let server = answering_server(move |input| {
        let (mut at, mut replies) = (0, Vec::new());
        while let Ok(Some(frame)) = framed::decode_request(&input[at..], 1024) {
            at += frame.len;
            framed::encode_reply(frame.id, Reply::Count(1), &mut replies);
        }
        let before = answered.fetch_add(1, Ordering::Relaxed);
        (before < 100).then_some((at, replies))
    });
    load(server, "--duration 30").refused(1, "the server closed the connection");

    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let mut buffer = [0; 100];
        for _ in 0..100 {
            let (len, peer) = gone.recv_from(&mut buffer).unwrap();
            let frame = framed::decode_request(&buffer[..len], 1024)
                .unwrap()
                .unwrap();
            let mut reply = Vec::new();
            framed::encode_reply(frame.id, Reply::Count(1), &mut reply);
            gone.send_to(&reply, peer).unwrap();
        }
    });
    load(address, "--target udp --duration 30").refused(1, "nobody receives datagrams at");
    serving.join().unwrap();
}

/// The last replies and the end of the stream arrive together, and no request is left to be sent.
#[test]
fn a_server_that_closes_with_its_last_reply_is_reported() {
    let server = tcp_server(|mut peer| {
        let (mut input, mut buffer, mut replies) = (Vec::new(), [0; 4096], Vec::new());
        for _ in 0..8 {
            let frame = loop {
                if let Ok(Some(frame)) = framed::decode_request(&input, 1024) {
                    break frame;
                }
                let Ok(n @ 1..) = peer.read(&mut buffer) else {
                    return;
                };
                input.extend_from_slice(&buffer[..n]);
            };
            framed::encode_reply(frame.id, Reply::Count(1), &mut replies);
            let len = frame.len;
            input.drain(..len);
        }
        let all_but_one = replies.len() - replies.len() / 8;
        let _ = std::io::Write::write_all(&mut peer, &replies[..all_but_one]);
    });
    let flags = "--connections 1 --pipeline 8 --requests 8 --timeout 50";
    load(server, flags).refused(1, "the server closed the connection");
}

/// The other threads stop as well, though their connections are fine, even before measuring begins.
#[test]
fn a_run_fails_as_soon_as_one_connection_does() {
    let accepted = AtomicUsize::new(0);
    let server = tcp_server(move |mut peer| {
        let mut buffer = [0; 4096];
        let first = accepted.fetch_add(1, Ordering::Relaxed) == 0;
        while let Ok(1..) = peer.read(&mut buffer)
            && !first
        {}
    });
    let start = Instant::now();
    let flags = "--connections 2 --threads 2 --warmup 40 --timeout 50";
    load(server, flags).refused(1, "the server closed the connection");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_server_that_sends_invalid_bytes_is_reported() {
    for (target, bytes) in [
        ("framed", &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]),
        ("framed --shard-aware", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (
            "framed",
            b"\x90\x00\x08\x00\x00\x00\x63\x00\x00\x00\x00\x00\x00\x00\x01",
        ),
        ("framed", b"\x90\x00\x02\x00\x00\x00\x00\x00\x00"),
        ("classic-tcp", b"hello"),
        ("classic-tcp", b""),
        ("resp", b"hello\r\n"),
        ("resp", b":many\r\n"),
        ("memcached", b"hello\r\n"),
    ] {
        let server = tcp_server(move |mut peer| {
            let mut buffer = [0; 4096];
            let _ = peer.read(&mut buffer);
            let _ = std::io::Write::write_all(&mut peer, bytes);
            // Keep the connection open until the run has failed.
            if !bytes.is_empty() && !target.starts_with("classic") {
                let _ = peer.read_to_end(&mut Vec::new());
            }
        });
        let ended = load(server, &format!("--target {target}"));
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (1, ""),
            "{target}: {ended:?}"
        );
        let messages = [
            "no reply",
            "matches no request",
            "without a reply",
            "closed the connection",
        ];
        assert!(
            messages.iter().any(|words| ended.err.contains(words)),
            "{target}: {ended:?}"
        );
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    }
    for target in ["udp", "classic-udp", "memcached-udp"] {
        let server = udp_server(|_, _| vec![b"hello".to_vec()]);
        load(server, &format!("--target {target}")).refused(1, "no reply: \"hello\"");
    }
}

#[test]
fn a_silent_server_ends_the_run() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = silent.local_addr().unwrap();
    load(server, "--timeout 0.2").refused(1, "the server has not answered for");
    load(server, "--timeout 0.2 --rate 100").refused(1, "the server has not answered for");
    load(server, "--timeout 0.2 --target classic-tcp").refused(1, "has not answered for");
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let flags = "--target udp --timeout 0.1 --duration 0.5";
    let ended = load(silent.local_addr().unwrap(), flags);
    ended.refused(1, "no request was answered while it was measured");
}

/// The server's message before it closed the connection is reported.
#[test]
fn the_servers_own_words_are_reported() {
    let server = answering_server(|input| {
        let reply = b"-ERR max number of clients reached\r\n".to_vec();
        Some((input.len(), reply))
    });
    let flags = "--target resp --connections 1 --pipeline 1 --requests 10";
    let because = "refused every request: ERR (the first: ERR max number of clients reached)";
    load(server, flags).refused(1, because);
    // The connection is closed right after the message.
    let server = tcp_server(|mut peer| {
        let _ = peer.read(&mut [0; 100]);
        let _ = std::io::Write::write_all(&mut peer, b"-ERR go away\r\n");
    });
    load(server, flags).refused(1, "closed the connection");
}

/// The server ends without any output.
#[test]
fn a_server_that_does_not_start_is_reported() {
    let ended =
        loadgen("compare --row framed-16x64 --rounds 1 --duration 0.1 --server-bin /bin/true");
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return ended.refused(1, "need a CPU each");
    }
    assert!(ended.out.contains("ended without a message"), "{ended:?}");
}
