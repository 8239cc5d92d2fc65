//! The processes of a cluster together.

use std::panic::resume_unwind;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use globalcounter::cluster::Slot;
use globalcounter::protocol::framed::{self, Answer, Call, NodeMap, RequestId};
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::topic::Topic;
use serde_json::Value;

use crate::checker::Checker;
use crate::members::Members;
use crate::network::{Link, Network, SIZE};
use crate::node::{self, Node};
use crate::relay::Relay;
use crate::support::{Directory, Framed, etcd_is_installed, frame};

/// How long anything may take until the cluster is whole again, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a state is looked at. Each look starts a process.
const LOOK: Duration = Duration::from_millis(100);

/// How many topics are counted.
pub(crate) const TOPICS: usize = 200;

/// How far the clock of one node is ahead, in seconds: no clock that measures a deadline has to agree with
/// another one.
const AHEAD: u64 = 86_400;

/// The node whose clock that is.
pub(crate) const NODE_AHEAD: usize = 2;

/// What a node logs when it loses ranges, or loads them again, because etcd did not answer in time.
const LATE: [&str; 3] = [
    "its ranges are loaded again",
    "the lease of this node is over",
    "cannot write the exact sums",
];

/// One cluster at a time: each has six processes.
static ONE: Mutex<()> = Mutex::new(());

/// A running cluster.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) members: Members,
    pub(crate) network: Network,
    pub(crate) topics: Vec<String>,
    pub(crate) checker: Checker,
    /// In seconds.
    pub(crate) lease: u64,
    /// The clock of all records.
    pub(crate) clock: Instant,
    cut: Vec<Link>,
    directory: Directory,
}

/// What `globalcounter cluster status` says.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) state: String,
    pub(crate) without_owner: u64,
    /// How many ranges each live node owns, by name.
    owned: Vec<(String, u64)>,
}

impl Status {
    /// Returns how many ranges a node owns; `None` if it has no session.
    pub(crate) fn owned(&self, number: usize) -> Option<u64> {
        let name = node::name(number);
        let mut owned = self.owned.iter();
        owned
            .find(|(node, _)| *node == name)
            .map(|&(_, owned)| owned)
    }

    /// Returns whether every range has an owner and none is this node.
    pub(crate) fn others_own_all(&self, number: usize) -> bool {
        self.without_owner == 0 && self.owned(number).unwrap_or(0) == 0
    }
}

/// Runs a test with a cluster of its own, in a thread whose network is the cluster's. Says so and does
/// nothing where etcd is not installed.
pub(crate) fn with_cluster(name: &str, lease: u64, test: impl FnOnce(&mut Cluster) + Send) {
    if !etcd_is_installed() {
        return;
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = thread::scope(|scope| {
        let run = || test(&mut Cluster::start(name, lease));
        scope.spawn(run).join()
    });
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

impl Cluster {
    fn start(name: &str, lease: u64) -> Self {
        let directory = Directory::new(&format!("cluster-{name}"));
        std::fs::create_dir_all(&directory.0).unwrap();
        let network = Network::new();
        let members = Members::start(&directory.0, &network);
        let ahead = if has_time_namespaces() { AHEAD } else { 0 };
        let nodes = (0..SIZE).map(|number| {
            let settings = node::Settings {
                number,
                cluster: url(number, |member| members.client_address(member).to_string()),
                lease,
                clock_ahead: if number == NODE_AHEAD { ahead } else { 0 },
                log: directory.0.join(node::name(number)),
            };
            Node::new(settings, &network)
        });
        let mut cluster = Self {
            nodes: nodes.collect(),
            members,
            network,
            topics: (0..TOPICS).map(|topic| format!("topic-{topic}")).collect(),
            checker: Checker::new(TOPICS),
            lease,
            clock: Instant::now(),
            cut: Vec::new(),
            directory,
        };
        cluster.start_nodes();
        cluster.wait_until_whole();
        cluster
    }

    /// Sends what a node sends to etcd through relays from its next start on: one for each member.
    pub(crate) fn relay_etcd(&mut self, number: usize) -> Vec<Relay> {
        let ip = self.network.beside_etcd();
        let start = |member| Relay::start(ip, self.members.client_address(member));
        let relays: Vec<Relay> = (0..SIZE).map(start).collect();
        self.nodes[number].set_cluster(url(number, |member| relays[member].address.to_string()));
        relays
    }

    /// Starts the nodes that do not run.
    pub(crate) fn start_nodes(&mut self) {
        for node in &mut self.nodes {
            if !node.is_running() {
                node.start(&self.network);
            }
        }
    }

    pub(crate) fn cut(&mut self, link: Link) {
        self.network.cut(link);
        self.cut.push(link);
    }

    /// Undoes all that is wrong: links, members of etcd, nodes.
    pub(crate) fn heal(&mut self) {
        for link in self.cut.drain(..) {
            self.network.heal(link);
        }
        self.members.start_missing(&self.network);
        for node in &mut self.nodes {
            node.resume();
            node.assert_alive();
            node.wait_until_ended();
        }
        self.start_nodes();
    }

    /// Returns what `globalcounter cluster status` says; `None` if etcd does not answer.
    pub(crate) fn status(&self) -> Option<Status> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_globalcounter"));
        let url = url(0, |member| self.members.client_address(member).to_string());
        command.args(["cluster", "status", "--json", "--cluster", &url]);
        let output = command.env_remove("RUST_LOG").output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).ok()?;
        let nodes = found["nodes"].as_array()?.iter();
        let owned = nodes.map(|node| {
            let name = node["name"].as_str()?.to_owned();
            Some((name, node["ranges_owned"].as_u64()?))
        });
        Some(Status {
            state: found["state"].as_str()?.to_owned(),
            without_owner: found["ranges_without_owner"].as_u64()?,
            owned: owned.collect::<Option<_>>()?,
        })
    }

    /// Waits for a state of the cluster.
    pub(crate) fn wait_for(&self, what: &str, mut holds: impl FnMut(&Status) -> bool) {
        let start = Instant::now();
        loop {
            let status = self.status();
            if status.as_ref().is_some_and(&mut holds) {
                return;
            }
            assert!(start.elapsed() < LIMIT, "never: {what}; {status:?}");
            thread::sleep(LOOK);
        }
    }

    /// Waits until all ranges have the owners that they are assigned to and no node is missing, and until
    /// each node answers for every topic.
    pub(crate) fn wait_until_whole(&self) {
        self.wait_for("the cluster is whole", |status| {
            status.state == "whole" && (0..SIZE).all(|one| status.owned(one) > Some(0))
        });
        let start = Instant::now();
        for node in &self.nodes {
            while self.read(node).is_none() {
                let name = node.name();
                assert!(start.elapsed() < LIMIT, "{name} never answers for all");
                thread::sleep(LOOK);
            }
        }
    }

    /// Returns the sum of each topic.
    pub(crate) fn sums(&self) -> Vec<u64> {
        self.read(&self.nodes[0])
            .expect("a whole cluster answers for every topic")
    }

    /// Returns for each topic whether another node than this one owns it.
    pub(crate) fn topics_of_others(&self, number: usize) -> Vec<bool> {
        let node = &self.nodes[number];
        let mut connection = Framed::connect(node.address());
        let mut request = Vec::new();
        framed::encode_request(RequestId(1), &Call::Nodes(&[]), &mut request);
        connection.send(&request);
        let map = connection.receive(|answer| match answer {
            Answer::Nodes(body) => NodeMap::decode(body).unwrap(),
            other => panic!("the map expected, not {other:?}"),
        });
        let (_, map) = map.expect("a reply");
        let own = &map.nodes[usize::from(map.own)].slots;
        let topics = self.topics.iter().map(|topic| {
            let slot = Slot::of(Topic::new(topic.as_bytes(), usize::MAX).unwrap()).number();
            !own.iter()
                .any(|&(first, last)| (first..=last).contains(&slot))
        });
        topics.collect()
    }

    /// Reads each topic at a node; `None` if it does not answer for one.
    fn read(&self, node: &Node) -> Option<Vec<u64>> {
        let mut connection = Framed::connect(node.address());
        let frames = (0..).zip(&self.topics);
        let frames = frames.flat_map(|(id, topic)| frame(id, Op::Get, topic));
        connection.send(&frames.collect::<Vec<u8>>());
        let mut sums = vec![None; TOPICS];
        for _ in 0..TOPICS {
            match connection.reply()? {
                (id, Reply::Get(sum)) => sums[id as usize] = Some(sum.unwrap_or(0)),
                (_, Reply::Error(ErrorCode::Unavailable | ErrorCode::Unknown)) => {}
                other => panic!("{}: {other:?}", node.name()),
            }
        }
        sums.into_iter().collect()
    }

    /// Returns how often nodes have logged that etcd did not answer in time for a commit, or to renew a
    /// lease. On a busy machine that happens without any fault.
    pub(crate) fn late_answers(&self) -> usize {
        self.count_logged(&LATE)
    }

    /// Returns how often nodes have served a range although requests for it were still outside of their
    /// shards.
    pub(crate) fn served_too_early(&self) -> usize {
        self.count_logged(&[
            "serving a range although requests for it may still be at another node",
        ])
    }

    /// Returns how many lines of the logs of all nodes have one of these texts.
    fn count_logged(&self, texts: &[&str]) -> usize {
        let logs = (0..SIZE).map(|number| self.directory.0.join(node::name(number)));
        let lines = logs.map(|log| {
            let log = std::fs::read(log).unwrap();
            let log = String::from_utf8_lossy(&log);
            let has = |line: &&str| texts.iter().any(|text| line.contains(text));
            log.lines().filter(has).count()
        });
        lines.sum()
    }

    /// Returns where the logs of all processes are.
    pub(crate) fn logs(&self) -> &str {
        self.directory.as_str()
    }
}

/// Returns the URL of the cluster for a node. Not all ask the same member first.
fn url(number: usize, address: impl Fn(usize) -> String) -> String {
    let members = (0..SIZE).map(|member| address((number + member) % SIZE));
    format!("etcd://{}/chaos", members.collect::<Vec<_>>().join(","))
}

/// Returns whether a process can be started with a clock of its own.
fn has_time_namespaces() -> bool {
    let uptime = |command: &mut Command| -> Option<f64> {
        let output = command.args(["cat", "/proc/uptime"]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    let ahead = AHEAD.to_string();
    let mut ahead_command = Command::new("unshare");
    let there = uptime(ahead_command.args(["--time", "--boottime", &ahead]));
    let has = match (uptime(&mut Command::new("env")), there) {
        (Some(here), Some(there)) => there - here > AHEAD as f64 / 2.0,
        _ => false,
    };
    if !has {
        println!("no time namespaces: all nodes have the clock of this machine");
    }
    has
}
