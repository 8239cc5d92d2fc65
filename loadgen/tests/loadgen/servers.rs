//! Several servers with one order: a cluster's nodes, which fail and come back.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::liar::{Liar, Lie, Refusals};
use crate::support::{Absent, Embedded, loadgen, row, tcp_server};

/// Every target of this server, with flags under which it is verified.
const TARGETS: [&str; 6] = [
    "framed --mix count=8,add,get --threads 2",
    "framed --rate 3000",
    "udp --frames-per-datagram 8",
    "classic-udp",
    "classic-tcp",
    "resp --threads 2",
];

#[test]
fn one_server_with_two_addresses_has_one_order() {
    let server = Embedded::at_every_address(2);
    for target in TARGETS {
        let port = server.at(target).port();
        let flags = "--verify --requests 3000 --topics 20 --connections 6";
        let ended = loadgen(&format!(
            "--server 127.0.0.1:{port},127.0.0.2:{port} --target {target} {flags}"
        ));
        let table = ended.measured();
        assert_eq!(
            row(table, "verified"),
            "3,040 replies of 20 topics in one order, no gaps",
            "{target}"
        );
        let mut answered = 0;
        for host in ["127.0.0.1", "127.0.0.2"] {
            let text = row(table, &format!("{host}:{port}"));
            let (rate, rest) = text.split_once("/s, ").unwrap();
            let rate: u64 = rate.replace(',', "").parse().unwrap();
            let part: u64 = number(rest.strip_suffix(" answered").unwrap());
            assert!(rate > 0 && part >= 500, "{target}: {table}");
            answered += part;
        }
        assert_eq!(answered, 3000, "{target}: {table}");
    }
}

#[test]
fn two_servers_that_count_apart_have_no_order() {
    for target in TARGETS {
        let servers = [Embedded::start(1), Embedded::start(1)];
        let [one, other] = [servers[0].at(target), servers[1].at(target)];
        let flags = "--verify --requests 300 --topics 1 --connections 6 --prepare";
        let ended = loadgen(&format!(
            "--server {one} --server {other} --target {target} {flags}"
        ));
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
        assert!(ended.err.contains("the order is broken"), "{ended:?}");
        assert!(
            ended.err.contains("topic \"topic-0000000000\""),
            "{ended:?}"
        );
        let pair: Vec<&str> = ended.err.lines().skip(1).collect();
        assert_eq!(pair.len(), 2, "{ended:?}");
        for line in pair {
            let number = line.trim().split([' ', ',']).nth(1).unwrap();
            assert!(number.parse::<u64>().is_ok(), "{line}");
            let by = |server: SocketAddr| line.ends_with(&format!(" by {server}"));
            assert!(by(one) || by(other), "{line}");
        }
    }
}

/// Returns the number that a text begins with.
#[track_caller]
fn number(text: &str) -> u64 {
    let digits: String = text
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',')
        .collect();
    digits.replace(',', "").parse().unwrap()
}

/// A node of a cluster, which shares its sums with the others. It dies after some reads: it counts the
/// requests of the last one, does not answer them, and closes its connections.
struct Node {
    address: SocketAddr,
    left: AtomicUsize,
    peers: Mutex<Vec<TcpStream>>,
    cluster: Arc<Mutex<Liar>>,
}

impl Node {
    /// Starts a node that never dies.
    fn immortal(cluster: &Arc<Mutex<Liar>>, at: &str) -> SocketAddr {
        Self::start(cluster, at, usize::MAX, |_| {}).0
    }

    /// Starts a node on a thread that runs `then` after its death.
    fn start(
        cluster: &Arc<Mutex<Liar>>,
        at: &str,
        reads: usize,
        then: impl FnOnce(SocketAddr) + Send + 'static,
    ) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let node = Arc::new(Self {
            address,
            left: AtomicUsize::new(reads),
            peers: Mutex::default(),
            cluster: cluster.clone(),
        });
        let thread = std::thread::spawn(move || {
            for peer in listener.incoming() {
                let peer = peer.unwrap();
                node.peers.lock().unwrap().push(peer.try_clone().unwrap());
                if node.is_dead() {
                    break;
                }
                let node = node.clone();
                std::thread::spawn(move || node.serve(peer));
            }
            drop(listener);
            for peer in node.peers.lock().unwrap().iter() {
                let _ = peer.shutdown(Shutdown::Both);
            }
            then(address);
        });
        (address, thread)
    }

    fn is_dead(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    fn serve(&self, mut peer: TcpStream) {
        let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = peer.read(&mut buffer) {
            let lives = |left: usize| left.checked_sub(1);
            let left = self
                .left
                .try_update(Ordering::Relaxed, Ordering::Relaxed, lives);
            if left.is_err() {
                return;
            }
            input.extend_from_slice(&buffer[..n]);
            let (taken, replies) = self.cluster.lock().unwrap().answer(&input);
            input.drain(..taken);
            if self.is_dead() {
                // The listener waits for a connection.
                drop(TcpStream::connect(self.address));
                return;
            }
            if peer.write_all(&replies).is_err() {
                return;
            }
        }
    }
}

/// An address of this machine with a free port.
const ANY: &str = "127.0.0.1:0";

/// The same for a node that dies: nobody else listens at this address or connects from it, so nobody
/// takes the node's port after its death.
const MORTAL: &str = "127.0.0.77:0";

fn cluster() -> Arc<Mutex<Liar>> {
    Arc::new(Mutex::new(Liar::honest()))
}

#[test]
fn a_run_goes_on_when_a_node_dies_for_good() {
    for pace in ["--pipeline 4", "--pipeline 4 --threads 2", "--rate 4000"] {
        let cluster = cluster();
        let (dying, death) = Node::start(&cluster, MORTAL, 60, |_| {});
        let living = Node::immortal(&cluster, ANY);
        let flags = "--verify --reconnect --requests 3000 --topics 3 --connections 6";
        let ended = loadgen(&format!("--server {dying},{living} {flags} {pace}"));
        death.join().unwrap();
        let table = ended.measured();
        let of_dead = row(table, &dying.to_string());
        assert!(of_dead.contains(" lost"), "{table}");
        assert!(!of_dead.contains("opened again"), "{table}");
        let verdict = row(table, "verified");
        assert!(number(verdict) > 2_900, "{table}");
        assert!(verdict.contains(" of 3 topics in one order, "), "{table}");
        let silences = table.lines().filter(|line| line.contains(" from 127.0.0."));
        assert_eq!(silences.count(), 2, "{table}");
    }
}

#[test]
fn connections_to_a_node_that_comes_back_are_opened_again() {
    let cluster = cluster();
    let successor = cluster.clone();
    let (dying, death) = Node::start(&cluster, MORTAL, 40, move |address| {
        Node::immortal(&successor, &address.to_string());
    });
    let living = Node::immortal(&cluster, ANY);
    let flags = "--verify --reconnect --rate 2000 --requests 2000 --topics 3 --connections 4";
    let ended = loadgen(&format!("--server {dying} --server {living} {flags}"));
    death.join().unwrap();
    let table = ended.measured();
    let text = row(table, &dying.to_string());
    assert!(text.ends_with(" 2 connections opened again"), "{table}");
}

#[test]
fn a_node_may_be_away_from_the_start() {
    let away = [Absent::new(), Absent::new()];
    let [absent, other] = [away[0].address, away[1].address];
    let server = Embedded::start(1);
    for target in ["framed", "classic-tcp", "resp"] {
        let servers = format!("--server {absent},{} --target {target}", server.tcp);
        let flags = "--requests 500 --topics 3 --connections 4";
        loadgen(&format!("{servers} {flags}")).refused(1, "Connection refused");
        let ended = loadgen(&format!("{servers} {flags} --verify --reconnect"));
        let table = ended.measured();
        assert_eq!(
            row(table, "verified"),
            "506 replies of 3 topics in one order, no gaps",
            "{target}"
        );
        assert!(row(table, &absent.to_string()).starts_with("0/s, 0 answered"));
    }
    let flags = "--reconnect=0.2 --timeout 0.2 --connections 4";
    loadgen(&format!("--server {absent},{other} {flags}"))
        .refused(1, "no server has answered for 200ms");
}

/// The node accepts connections and reads requests, as one that is stopped by a signal seems to.
#[test]
fn a_node_that_falls_silent_is_given_up() {
    let silent = tcp_server(|mut peer| while let Ok(1..) = peer.read(&mut [0; 4096]) {});
    let cluster = cluster();
    let living = Node::immortal(&cluster, ANY);
    let servers = format!("--server {silent},{living} --timeout 0.2 --connections 4 --topics 3");
    let ended = loadgen(&format!("{servers} --duration 1 --verify --reconnect"));
    let table = ended.measured();
    let of_silent = row(table, &silent.to_string());
    assert!(of_silent.starts_with("0/s, 0 answered, "), "{table}");
    assert!(of_silent.contains(" connections opened again"), "{table}");
    assert!(number(row(table, &living.to_string())) > 0, "{table}");
    loadgen(&format!("{servers} --duration 1"))
        .refused(1, &format!("{silent}: a server does not answer"));
}

/// Starts a node that receives datagrams, and stops after some.
fn datagram_node(cluster: &Arc<Mutex<Liar>>, at: &str, datagrams: usize) -> SocketAddr {
    let socket = UdpSocket::bind(at).unwrap();
    let address = socket.local_addr().unwrap();
    let cluster = cluster.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        for _ in 0..datagrams {
            let (len, peer) = socket.recv_from(&mut buffer).unwrap();
            let (_, replies) = cluster.lock().unwrap().answer(&buffer[..len]);
            socket.send_to(&replies, peer).unwrap();
        }
    });
    address
}

#[test]
fn a_run_over_udp_goes_on_when_a_node_dies_for_good() {
    let cluster = cluster();
    let dying = datagram_node(&cluster, MORTAL, 100);
    let living = datagram_node(&cluster, ANY, usize::MAX);
    let flags = "--target udp --verify --reconnect --timeout 0.1 --topics 30 --connections 4";
    let pace = "--pipeline 2 --duration 0.5 --warmup 0";
    let ended = loadgen(&format!("--server {dying},{living} {flags} {pace}"));
    let table = ended.measured();
    assert!(row(table, &dying.to_string()).contains(" lost"), "{table}");
    assert!(number(row(table, &living.to_string())) > 0, "{table}");
    assert!(
        row(table, "verified").contains(" of 30 topics in one order, "),
        "{table}"
    );
}

/// One request at a time is lost to the dead node, and the living one makes the others: else each topic
/// of the dead node would take a timeout.
#[test]
fn others_take_over_the_datagrams_of_a_dead_node() {
    let cluster = cluster();
    let dying = datagram_node(&cluster, MORTAL, 150);
    let living = datagram_node(&cluster, ANY, usize::MAX);
    let flags = "--target udp --verify --reconnect --timeout 0.5 --topics 200 --connections 2";
    for pace in [
        "--rate 500 --duration 1 --warmup 0",
        "--pipeline 1 --requests 400",
    ] {
        let began = Instant::now();
        let ended = loadgen(&format!("--server {dying},{living} {flags} {pace}"));
        let table = ended.measured();
        assert!(began.elapsed() < Duration::from_secs(30), "{table}");
        assert!(row(table, "verified").contains(" of 200 topics in one order, "));
    }
}

/// The next owner of a range continues above the ceiling: all topics skip numbers.
#[test]
fn a_failover_may_skip_numbers() {
    let run = |promise: &str| {
        let cluster = cluster();
        let successor = cluster.clone();
        let (dying, death) = Node::start(&cluster, MORTAL, 60, move |_| {
            successor.lock().unwrap().skip(5_000);
        });
        let living = Node::immortal(&cluster, ANY);
        let flags = "--reconnect --requests 4000 --topics 3 --connections 4 --pipeline 4";
        let ended = loadgen(&format!(
            "--server {dying},{living} --verify={promise} {flags}"
        ));
        death.join().unwrap();
        ended
    };
    let ended = run("failover");
    let table = ended.measured();
    assert!(number(row(table, "largest gap")) >= 5_000, "{table}");
    let ended = run("exact");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("numbers, and only "), "{ended:?}");
}

#[test]
fn a_gap_without_a_failure_is_found() {
    let cluster = Arc::new(Mutex::new(Liar::new(Lie::Skip)));
    let nodes = [(); 2].map(|()| Node::immortal(&cluster, ANY));
    let flags = "--verify=failover --reconnect --requests 3000 --topics 1 --connections 4";
    let ended = loadgen(&format!("--server {},{} {flags}", nodes[0], nodes[1]));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("skipped "), "{ended:?}");
    assert!(
        ended.err.contains("no server was seen to fail then"),
        "{ended:?}"
    );
}

#[test]
fn requests_that_were_not_applied_are_sent_again() {
    let refusals = Refusals {
        unavailable: 7,
        busy: 11,
        unknown: 13,
    };
    for pace in ["--pipeline 4", "--rate 4000"] {
        let cluster = Arc::new(Mutex::new(Liar::honest().refusing(refusals)));
        let nodes = [(); 2].map(|()| Node::immortal(&cluster, ANY));
        let servers = format!("--server {},{}", nodes[0], nodes[1]);
        let flags = format!("--requests 2000 --topics 3 --connections 4 {pace}");
        let ended = loadgen(&format!("{servers} {flags} --verify --reconnect"));
        let table = ended.measured();
        assert!(row(table, "requests").starts_with("2,000 in"), "{table}");
        let [busy, unavailable] = ["BUSY", "UNAVAILABLE"].map(|code| {
            let ends = |line: &&str| line.starts_with("sent again") && line.ends_with(code);
            let line = table.lines().find(ends).unwrap();
            number(line.strip_prefix("sent again").unwrap().trim())
        });
        // A seventh of all requests; an eleventh of the others.
        assert!((280..400).contains(&unavailable), "{table}");
        assert!((150..250).contains(&busy), "{table}");
        let unknown = number(row(table, "errors"));
        assert!(row(table, "errors").ends_with(" UNKNOWN"), "{table}");
        let verdict = row(table, "verified");
        // Each left a gap, but for those after the last sums.
        let gaps = number(verdict.rsplit(", ").next().unwrap());
        assert!(gaps > 100 && gaps <= unknown + 1, "{table}");
        let of_nodes = nodes.map(|node| {
            let text = row(table, &node.to_string());
            number(
                text.split(", ")
                    .find(|part| part.ends_with(" unavailable"))
                    .unwrap(),
            )
        });
        assert_eq!(of_nodes[0] + of_nodes[1], unavailable, "{table}");
        // Without --reconnect they are errors.
        let ended = loadgen(&format!("{servers} {flags}"));
        let table = ended.measured();
        assert!(!table.contains("sent again"), "{table}");
        let errors = table.lines().filter(|line| line.starts_with("errors"));
        assert_eq!(errors.count(), 3, "{table}");
    }
}

#[test]
fn a_report_has_every_server() {
    let cluster = cluster();
    let nodes = [(); 3].map(|()| Node::immortal(&cluster, ANY));
    let [a, b, c] = nodes;
    let file = format!(
        "{}/servers-{}.json",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    let flags = "--requests 300 --connections 3 --threads 3 --topics 3 --verify";
    loadgen(&format!("--server {a},{b},{c} {flags} --json {file}")).measured();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["load"]["server"], format!("{a}, {b}, {c}"));
    let by_server = report["result"]["by_server"].as_array().unwrap();
    for (counts, node) in by_server.iter().zip(nodes) {
        assert_eq!(counts["server"], node.to_string(), "{text}");
        assert_eq!(counts["replies"], 100, "{text}");
        assert_eq!(counts["lost"], 0, "{text}");
    }
    let silences = report["verified"]["silence"]["by_server"].as_array();
    assert_eq!((by_server.len(), silences.unwrap().len()), (3, 3));
}
