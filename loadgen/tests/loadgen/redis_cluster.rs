//! `--redis-cluster`: requests go to the owners of their topics, whoever that is just then.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use globalcounter::cluster::{SLOTS, Slot};
use globalcounter::protocol::resp::{Arguments, Progress, Version, Writer, decode_array};
use globalcounter::topic::Topic;

use crate::support::{Absent, Embedded, load, loadgen, row};

/// A cluster of two nodes. What one of them does not own it redirects.
struct Cluster {
    nodes: [SocketAddr; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The node that owns slots below this number is the first one.
    border: u16,
    sums: HashMap<Vec<u8>, u64>,
    commands: u64,
    redirected: u64,
    /// What happens at a command with this number.
    event: Option<(u64, Event)>,
    /// The connections of the second node.
    peers: Vec<TcpStream>,
    is_dead: bool,
}

#[derive(Clone, Copy)]
enum Event {
    /// All slots go to the first node.
    Move,
    /// The second node dies. Nobody owns its slots for so many commands.
    Die { unavailable: u64 },
}

/// What a node does with a command.
enum Verdict {
    Count,
    Moved(u16),
    Down,
    Die,
}

impl Cluster {
    fn start(event: Option<(u64, Event)>) -> Arc<Self> {
        // The second node dies. Nobody else listens at its address, so nobody takes its port.
        let addresses = ["127.0.0.1:0", "127.0.0.78:0"];
        let listeners = addresses.map(|address| TcpListener::bind(address).unwrap());
        let cluster = Arc::new(Self {
            nodes: [&listeners[0], &listeners[1]].map(|node| node.local_addr().unwrap()),
            state: Mutex::new(State {
                border: SLOTS / 2,
                event,
                ..State::default()
            }),
        });
        for (node, listener) in listeners.into_iter().enumerate() {
            let cluster = cluster.clone();
            std::thread::spawn(move || cluster.accept(node, &listener));
        }
        cluster
    }

    fn accept(self: &Arc<Self>, node: usize, listener: &TcpListener) {
        while let Ok((peer, _)) = listener.accept() {
            if node == 1 {
                let mut state = self.state.lock().unwrap();
                if state.is_dead {
                    return;
                }
                state.peers.push(peer.try_clone().unwrap());
            }
            let cluster = self.clone();
            std::thread::spawn(move || cluster.serve(node, peer));
        }
    }

    fn serve(&self, node: usize, mut peer: TcpStream) {
        let (mut input, mut buffer, mut has_map) = (Vec::new(), [0; 4096], false);
        let mut arguments = Arguments::default();
        while let Ok(n @ 1..) = peer.read(&mut buffer) {
            input.extend_from_slice(&buffer[..n]);
            let (mut at, mut out) = (0, Vec::new());
            while let Some(len) =
                decode_array(&input[at..], &mut Progress::default(), &mut arguments).unwrap()
            {
                let command = &input[at..];
                let mut writer = Writer::new(Version::Resp2, &mut out);
                match arguments.at(0, command) {
                    b"CLUSTER" => {
                        has_map = true;
                        self.slots(&mut writer);
                    }
                    name => {
                        assert!(has_map, "without the map, nothing is redirected");
                        let topic = arguments.at(1, command);
                        if !self.answer(node, name == b"INCR", topic, &mut writer) {
                            return;
                        }
                    }
                }
                at += len;
            }
            input.drain(..at);
            if peer.write_all(&out).is_err() {
                return;
            }
        }
    }

    fn slots(&self, writer: &mut Writer<'_>) {
        let border = self.state.lock().unwrap().border;
        let mut runs = vec![(0, border - 1, self.nodes[0])];
        if border < SLOTS {
            runs.push((border, SLOTS - 1, self.nodes[1]));
        }
        writer.array(runs.len());
        for (first, last, owner) in runs {
            writer.array(3);
            writer.integer(first.into());
            writer.integer(last.into());
            writer.array(2);
            writer.bulk(owner.ip().to_string().as_bytes());
            writer.integer(owner.port().into());
        }
    }

    /// Answers INCR or GET. Returns whether the node lives.
    fn answer(&self, node: usize, counts: bool, topic: &[u8], writer: &mut Writer<'_>) -> bool {
        let slot = Slot::of(Topic::new(topic, 100).unwrap()).number();
        let mut state = self.state.lock().unwrap();
        match state.judge(node, slot) {
            Verdict::Die => {
                for peer in &state.peers {
                    let _ = peer.shutdown(Shutdown::Both);
                }
                drop(state);
                // Its listener waits for a connection.
                drop(TcpStream::connect(self.nodes[1]));
                return false;
            }
            Verdict::Down => writer.error("CLUSTERDOWN Hash slot not served"),
            Verdict::Moved(owner) => {
                state.redirected += 1;
                let owner = self.nodes[usize::from(owner)];
                writer.error(format_args!("MOVED {slot} {owner}"));
            }
            Verdict::Count => {
                let sum = state.sums.entry(topic.to_owned()).or_default();
                *sum += u64::from(counts);
                match counts {
                    true => writer.integer(*sum),
                    false => writer.number(*sum),
                }
            }
        }
        true
    }
}

impl State {
    fn judge(&mut self, node: usize, slot: u16) -> Verdict {
        self.commands += 1;
        match self.event {
            Some((at, Event::Move)) if self.commands >= at => self.border = SLOTS,
            Some((at, Event::Die { .. })) if self.commands >= at && !self.is_dead && node == 1 => {
                self.is_dead = true;
                self.commands = at;
                return Verdict::Die;
            }
            Some((at, Event::Die { unavailable })) if self.is_dead => {
                if self.commands < at + unavailable {
                    return match slot < self.border {
                        true => Verdict::Count,
                        false => Verdict::Down,
                    };
                }
                self.border = SLOTS;
            }
            _ => {}
        }
        let owner = u16::from(slot >= self.border);
        match usize::from(owner) == node {
            true => Verdict::Count,
            false => Verdict::Moved(owner),
        }
    }
}

const FLAGS: &str = "--target resp --redis-cluster --verify --requests 2000 --topics 40";

#[test]
fn requests_go_to_the_owners_of_their_topics() {
    for pace in ["--pipeline 8", "--pipeline 8 --threads 2", "--rate 5000"] {
        let cluster = Cluster::start(None);
        // One node tells of the other.
        let ended = load(cluster.nodes[0], &format!("{FLAGS} --connections 6 {pace}"));
        let table = ended.measured();
        assert_eq!(
            row(table, "verified"),
            "2,080 replies of 40 topics in one order, no gaps"
        );
        for node in cluster.nodes {
            let answered = row(table, &node.to_string());
            assert!(!answered.starts_with("0/s"), "{table}");
        }
        assert_eq!(cluster.state.lock().unwrap().redirected, 0, "{table}");
    }
}

#[test]
fn a_redirect_is_followed() {
    for pace in ["--pipeline 8", "--rate 5000"] {
        let cluster = Cluster::start(Some((700, Event::Move)));
        let ended = load(cluster.nodes[1], &format!("{FLAGS} --connections 4 {pace}"));
        let table = ended.measured();
        let redirected = cluster.state.lock().unwrap().redirected;
        // Each slot is learnt by itself; what was in flight meanwhile is redirected as well.
        assert!((1..=100).contains(&redirected), "{redirected}: {table}");
        assert_eq!(
            row(table, "sent again"),
            format!("{redirected} MOVED"),
            "{table}"
        );
        assert_eq!(
            row(table, "verified"),
            "2,080 replies of 40 topics in one order, no gaps"
        );
    }
}

#[test]
fn other_nodes_are_asked_while_an_owner_is_away() {
    for pace in ["--pipeline 8", "--rate 5000"] {
        let death = Event::Die { unavailable: 300 };
        let cluster = Cluster::start(Some((700, death)));
        let flags = format!("{FLAGS} --connections 4 --reconnect {pace}");
        let ended = load(cluster.nodes[0], &flags);
        let table = ended.measured();
        let again: Vec<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix("sent again"))
            .collect();
        assert!(again[0].ends_with(" CLUSTERDOWN"), "{table}");
        let dead = row(table, &cluster.nodes[1].to_string());
        assert!(dead.contains(" lost"), "{table}");
        let verdict = row(table, "verified");
        assert!(
            verdict.contains(" replies of 40 topics in one order, "),
            "{table}"
        );
    }
}

#[test]
fn a_server_without_a_cluster_is_reported() {
    let server = Embedded::start(1);
    let flags = "--target resp --redis-cluster";
    load(server.tcp, flags).refused(1, "answered CLUSTER SLOTS with \"-");
    let cluster = Cluster::start(None);
    load(cluster.nodes[0], &format!("{flags} --connections 1"))
        .refused(1, "a connection to each of 2 nodes on each thread");
    let absent = Absent::new();
    let address = absent.address;
    load(address, flags).refused(1, &format!("asking {address} for its cluster"));
    let servers = format!("--server {address},{}", cluster.nodes[0]);
    loadgen(&format!("{servers} {FLAGS} --connections 6 --reconnect")).measured();
}
