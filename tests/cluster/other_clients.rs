//! Clients that others wrote, each counting across a failover: redis-py, redis-rs, ioredis and redis-cli, as
//! clients of a cluster and as plain ones, and the classic protocol as Python programs speak it. Those that
//! are not installed are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cluster::with_cluster;
use crate::network::SIZE;
use crate::scenarios::others_take_over;
use crate::support::{PATIENCE, has_ioredis, has_python_package, run};

/// In seconds.
const LEASE: u64 = 2;

/// How many topics all clients count. They are in many ranges.
const TOPICS: usize = 30;

/// The node that dies. Plain clients use another one.
const VICTIM: usize = 0;

/// How long a client pauses between two requests.
const PAUSE: Duration = Duration::from_millis(5);

/// Arguments: the kind of client, the topics, the nodes. Prints each topic with its number.
const PYTHON: &str = r#"
import socket, sys, time

kind, topics = sys.argv[1], sys.argv[2].split(",")
nodes = [(host, int(port)) for host, port in (node.rsplit(":", 1) for node in sys.argv[3:])]
failures = (OSError,)

def classic_tcp(topic):
    with socket.create_connection(nodes[0], 1) as s:
        s.settimeout(8)
        s.sendall(b"\0" + topic.encode())
        return s.recv(64)

def classic_udp(topic):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.1)
        for _ in range(5):
            s.sendto(b"\0" + topic.encode(), nodes[0])
            try:
                return s.recv(64)
            except TimeoutError:
                pass
        raise OSError("no reply")

def classic(exchange):
    def count(topic):
        reply = exchange(topic)
        if reply[:1] != b"\x80":
            raise OSError(reply)
        return int.from_bytes(reply[1:], "big")
    return count

if kind == "classic TCP":
    count = classic(classic_tcp)
elif kind == "classic UDP":
    count = classic(classic_udp)
else:
    import redis
    from redis.cluster import ClusterNode, RedisCluster
    failures = (OSError, redis.RedisError)
    if kind == "cluster":
        count = RedisCluster(startup_nodes=[ClusterNode(*node) for node in nodes]).incr
    else:
        count = redis.Redis(*nodes[0]).incr

while True:
    for topic in topics:
        try:
            print(topic, count(topic), flush=True)
        except failures as error:
            print(f"{kind}: {topic}: {error!r}", file=sys.stderr)
        time.sleep(0.005)
"#;

/// As [`PYTHON`].
const IOREDIS: &str = r#"
const Redis = require("ioredis");
const [kind, topics, ...addresses] = process.argv.slice(1);
const nodes = addresses.map((address) => {
  const [host, port] = address.split(":");
  return { host, port: Number(port) };
});
const client = kind === "cluster" ? new Redis.Cluster(nodes) : new Redis(nodes[0]);
client.on("error", () => {});
(async () => {
  for (;;) {
    for (const topic of topics.split(",")) {
      try {
        console.log(topic, await client.incr(topic));
      } catch (error) {
        console.error(`${kind}: ${topic}: ${error}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
})();
"#;

/// The numbers that a client got, with their topics, in order.
type Numbers = Arc<Mutex<Vec<(String, u64)>>>;

/// A client that counts until it is stopped.
struct Client {
    name: String,
    numbers: Numbers,
    stop: Arc<AtomicBool>,
    program: Option<Child>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts a client as a program that prints each topic with its number.
    fn program(name: &str, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut client = Self::new(name);
        client.program = Some(child);
        client.run(move |count| {
            for line in lines.map_while(Result::ok) {
                let (topic, number) = line.split_once(' ').expect("a topic and its number");
                count(topic, number.parse().ok());
            }
        })
    }

    /// Starts a client that asks `number` for the next number of a topic, if it can be had.
    fn function(
        name: &str,
        topics: &[String],
        mut number: impl FnMut(&str) -> Option<u64> + Send + 'static,
    ) -> Self {
        let (client, topics) = (Self::new(name), topics.to_vec());
        let stop = Arc::clone(&client.stop);
        client.run(move |count| {
            for topic in topics.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                count(topic, number(topic));
                thread::sleep(PAUSE);
            }
        })
    }

    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            numbers: Numbers::default(),
            stop: Arc::default(),
            program: None,
            thread: None,
        }
    }

    fn run(mut self, counts: impl FnOnce(&dyn Fn(&str, Option<u64>)) + Send + 'static) -> Self {
        let numbers = Arc::clone(&self.numbers);
        self.thread = Some(thread::spawn(move || {
            counts(&|topic, number| {
                let number = number.map(|number| (topic.to_owned(), number));
                numbers.lock().unwrap().extend(number);
            });
        }));
        self
    }

    fn counted(&self) -> usize {
        self.numbers.lock().unwrap().len()
    }

    /// Returns how many topics it has counted after its first `skipped` numbers.
    fn topics_since(&self, skipped: usize) -> usize {
        let numbers = self.numbers.lock().unwrap();
        let topics = numbers[skipped..].iter().map(|(topic, _)| topic);
        topics.collect::<BTreeSet<_>>().len()
    }

    /// Stops it, and returns its numbers.
    fn stop(mut self) -> Vec<(String, u64)> {
        self.end();
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut self.numbers.lock().unwrap())
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(mut program) = self.program.take() {
            // It may have ended by itself.
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts all clients that are installed. `nodes[0]` is the one that plain clients use.
fn start(nodes: &[SocketAddr], topics: &[String]) -> Vec<Client> {
    let mut clients = Vec::new();
    let arguments = |script, kind: &str| {
        let mut arguments = vec![script, kind.to_owned(), topics.join(",")];
        arguments.extend(nodes.iter().map(SocketAddr::to_string));
        arguments
    };
    let mut start = |program: &str, flag: &str, script: &str, kind: &str| {
        let mut command = Command::new(program);
        command.arg(flag).args(arguments(script.to_owned(), kind));
        clients.push(Client::program(&format!("{program}, {kind}"), &mut command));
    };
    let has_python = run("python3", &["--version"], "").is_some();
    for kind in ["classic TCP", "classic UDP"] {
        if has_python {
            start("python3", "-c", PYTHON, kind);
        }
    }
    for kind in ["cluster", "plain"] {
        if has_python && has_python_package() {
            start("python3", "-c", PYTHON, kind);
        }
        if has_ioredis() {
            start("node", "-e", IOREDIS, kind);
        }
    }
    clients.extend(redis_rs(nodes, topics));
    if run("redis-cli", &["--version"], "").is_some() {
        clients.push(redis_cli(nodes[0], topics));
    }
    clients
}

fn redis_rs(nodes: &[SocketAddr], topics: &[String]) -> [Client; 2] {
    let urls: Vec<_> = nodes.iter().map(|node| format!("redis://{node}")).collect();
    let client = redis::Client::open(&*urls[0]).unwrap();
    let mut plain = client.get_connection().unwrap();
    let client = redis::cluster::ClusterClient::new(urls).unwrap();
    let mut cluster = None;
    let incr = |topic: &str| {
        let mut incr = redis::cmd("INCR");
        incr.arg(topic);
        incr
    };
    [
        // Its blocking connection asks for a new map only after MOVED: with one node gone, also in a cluster
        // of Redis, its users have to make another connection.
        Client::function("redis-rs, cluster", topics, move |topic| {
            let mut connection = cluster.take().or_else(|| client.get_connection().ok())?;
            let number = incr(topic).query(&mut connection).ok()?;
            cluster = Some(connection);
            Some(number)
        }),
        Client::function("redis-rs, plain", topics, move |topic| {
            incr(topic).query(&mut plain).ok()
        }),
    ]
}

/// Starts redis-cli for each number, as its users do. READONLY makes it follow redirects.
fn redis_cli(node: SocketAddr, topics: &[String]) -> Client {
    let (host, port) = (node.ip().to_string(), node.port().to_string());
    Client::function("redis-cli -c", topics, move |topic| {
        let arguments = ["-c", "-h", &host, "-p", &port];
        let output = run(
            "redis-cli",
            &arguments,
            &format!("READONLY\nINCR {topic}\n"),
        )?;
        let printed = String::from_utf8(output.stdout).unwrap();
        printed.lines().last()?.parse().ok()
    })
}

/// Waits until each client has counted each topic after its first numbers, of which there are so many.
fn wait_for_all(clients: &[Client], skipped: &[usize]) {
    let start = Instant::now();
    loop {
        let clients = clients.iter().zip(skipped);
        let counted =
            clients.map(|(client, &skipped)| (&client.name, client.topics_since(skipped)));
        let late: Vec<_> = counted.filter(|(_, topics)| *topics < TOPICS).collect();
        if late.is_empty() {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "some count not all topics: {late:?}"
        );
        thread::sleep(PAUSE);
    }
}

#[test]
#[ignore = "takes a quarter of a minute"]
fn other_clients_count_across_a_failover() {
    with_cluster("other-clients", LEASE, |cluster| {
        let topics: Vec<_> = (0..TOPICS).map(|topic| format!("other-{topic}")).collect();
        // Plain clients use the first one.
        let nodes = (1..=SIZE).map(|number| cluster.nodes[(VICTIM + number) % SIZE].address());
        let clients = start(&nodes.collect::<Vec<_>>(), &topics);
        wait_for_all(&clients, &vec![0; clients.len()]);
        cluster.nodes[VICTIM].kill();
        others_take_over(cluster, VICTIM);
        let skipped: Vec<_> = clients.iter().map(Client::counted).collect();
        wait_for_all(&clients, &skipped);

        let mut all = BTreeSet::new();
        for client in clients {
            let name = client.name.clone();
            let mut last = BTreeMap::new();
            let numbers = client.stop();
            println!("{name}: {} numbers", numbers.len());
            for (topic, number) in numbers {
                let before = last.insert(topic.clone(), number);
                assert!(
                    before.is_none_or(|before| before < number),
                    "{name}: {topic}: {number}"
                );
                assert!(
                    all.insert((topic.clone(), number)),
                    "{name}: {topic}: {number} twice"
                );
            }
        }
    });
}
