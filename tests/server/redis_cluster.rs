//! Commands of Redis Cluster, byte for byte; and its clients, unchanged, with one node and with two: the
//! `redis` crate; and redis-cli, Python's package and ioredis if they are installed.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use globalcounter::access::{Guard, Policy};
use globalcounter::cluster::{NodeName, Owner, RANGES, RangeId, SLOTS};
use globalcounter::server::{Config, Server};
use redis::cluster::ClusterClientBuilder;
use redis::{Commands, ProtocolVersion};

use crate::access::token;
use crate::support::{
    Embedded, assert_answered, command, config, connect, exchange_to_end, has_ioredis,
    has_python_package, info, info_field, run,
};

// The slots of some topics: foo 12182, bar 5061, hello 866.

/// Starts a node that owns every slot.
fn single(shards: usize) -> Embedded {
    let server = Server::bind(config(shards)).unwrap();
    server.join_fixed("a", |_| Owner::ThisNode);
    Embedded::run(server)
}

/// Starts a node that owns the lower half of the slots, and one that owns the upper half.
pub(crate) fn pair(shards: usize) -> [Embedded; 2] {
    let bind = || Server::bind(config(shards)).unwrap();
    let servers = [("a", bind()), ("b", bind())];
    let address = |server: &Server| server.tcp_addr().unwrap().to_string();
    let nodes = servers
        .each_ref()
        .map(|(name, server)| (*name, address(server)));
    for (own, (name, server)) in servers.iter().enumerate() {
        server.join_fixed(name, |range: RangeId| {
            let owner = usize::from(range.number() >= RANGES / 2);
            match &nodes[owner] {
                _ if owner == own => Owner::ThisNode,
                (name, address) => Owner::Other(NodeName::new(name), address.as_str().into()),
            }
        });
    }
    servers.map(|(_, server)| Embedded::run(server))
}

/// Sends lines on a connection of their own and returns the whole reply, with `|` for line ends.
fn ask(tcp: SocketAddr, lines: &str) -> String {
    let reply = exchange_to_end(tcp, format!("{lines}\r\nQUIT\r\n").as_bytes());
    let reply = String::from_utf8(reply).unwrap().replace("\r\n", "|");
    reply
        .strip_suffix("+OK|")
        .expect("the reply to QUIT")
        .to_owned()
}

#[test]
fn a_server_alone_refuses_commands_about_clusters() {
    let server = Embedded::start(1);
    let refused = "-ERR This instance has cluster support disabled|";
    for line in [
        "CLUSTER SLOTS",
        "CLUSTER SHARDS",
        "CLUSTER NODES",
        "CLUSTER INFO",
        "CLUSTER HELP",
        "CLUSTER KEYSLOT a",
        "CLUSTER COUNTKEYSINSLOT 0",
        "CLUSTER GETKEYSINSLOT 0 1",
        "CLUSTER MEET 127.0.0.1 1",
        "READONLY",
        "READWRITE",
        "ASKING",
    ] {
        assert_eq!(ask(server.tcp, line), refused, "{line}");
    }
    assert_eq!(
        ask(server.tcp, "READONLY\r\nMGET foo bar"),
        format!("{refused}*2|$-1|$-1|")
    );
    assert_eq!(
        info_field(&info(server.tcp, "cluster"), "cluster_enabled"),
        "0"
    );
}

#[test]
fn a_node_tells_clients_that_it_is_one() {
    let server = single(1);
    let text = info(server.tcp, "everything");
    assert_eq!(info_field(&text, "cluster_enabled"), "1");
    assert_eq!(info_field(&text, "redis_mode"), "cluster");
    assert!(ask(server.tcp, "HELLO").contains("$4|mode|$7|cluster|"));
    assert!(ask(server.tcp, "CONFIG GET cluster-enabled").ends_with("$3|yes|"));
    assert_eq!(ask(server.tcp, "CLUSTER KEYSLOT x{foo}y"), ":12182|");
    assert_eq!(ask(server.tcp, "CLUSTER LINKS"), "*0|");
    let changes = ask(server.tcp, "CLUSTER ADDSLOTS 1");
    assert!(
        changes.starts_with("-ERR not supported: the nodes place slots"),
        "{changes}"
    );
}

#[test]
fn both_nodes_show_the_same_map_and_themselves_first() {
    let nodes = pair(1);
    let ids = nodes.each_ref().map(|node| {
        let reply = ask(node.tcp, "CLUSTER MYID");
        reply
            .strip_prefix("$40|")
            .unwrap()
            .trim_end_matches('|')
            .to_owned()
    });
    let half = SLOTS / 2;
    let slots = [(0, half - 1), (half, SLOTS - 1)];
    let runs = [0, 1].map(|i| {
        let ((first, last), id, port) = (slots[i], &ids[i], nodes[i].tcp.port());
        format!("*3|:{first}|:{last}|*4|$9|127.0.0.1|:{port}|$40|{id}|*0|")
    });
    for (i, node) in nodes.iter().enumerate() {
        assert_eq!(
            ask(node.tcp, "CLUSTER SLOTS"),
            format!("*2|{}", runs.concat())
        );
        let lines = ask(node.tcp, "CLUSTER NODES");
        let own = format!(
            "{} {}@{} myself,master - ",
            ids[i],
            node.tcp,
            node.tcp.port()
        );
        let (_, lines) = lines.split_once('|').unwrap();
        assert!(lines.starts_with(&own), "{lines}");
        let other = format!(" connected {}-{}\n", slots[1 - i].0, slots[1 - i].1);
        assert!(lines.contains(&other), "{lines}");
        assert!(ask(node.tcp, "CLUSTER SHARDS").starts_with("*2|*4|$5|slots|*2|"));
        let text = ask(node.tcp, "CLUSTER INFO");
        assert!(
            text.contains("cluster_state:ok|cluster_slots_assigned:16384|"),
            "{text}"
        );
        let replicas = format!("CLUSTER REPLICAS {}", ids[1 - i]);
        assert_eq!(ask(node.tcp, &replicas), "*0|");
        assert_eq!(ask(node.tcp, "CLUSTER REPLICAS x"), "-ERR Unknown node x|");
    }
}

#[test]
fn a_connection_with_the_map_gets_redirects() {
    let [a, b] = pair(2);
    let cross = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    let moved = format!("-MOVED 12182 {}\r\n", b.tcp);
    let mut stream = connect(a.tcp);
    assert_answered(&mut stream, b"MGET bar hello\r\n", "*2\r\n$-1\r\n$-1\r\n");
    assert_answered(&mut stream, b"READONLY\r\n", "+OK\r\n");
    for (line, reply) in [
        ("INCR bar", ":1\r\n"),
        ("INCR foo", &*moved),
        ("GET foo", &moved),
        ("SET foo 7 NX", &moved),
        ("DEL {foo}1 {foo}2", &moved),
        ("OBJECT ENCODING foo", &moved),
        ("MGET bar hello", cross),
        ("DEL bar hello", cross),
        ("MGET bar {bar}1", "*2\r\n$1\r\n1\r\n$-1\r\n"),
        ("DBSIZE", ":1\r\n"),
        ("KEYS *", "*1\r\n$3\r\nbar\r\n"),
        ("PING", "+PONG\r\n"),
        (
            "INCR bar x",
            "-ERR wrong number of arguments for 'incr' command\r\n",
        ),
    ] {
        assert_answered(&mut stream, format!("{line}\r\n").as_bytes(), reply);
    }
    // In a pipeline, each command is redirected by itself.
    let reply = format!(":2\r\n{moved}:3\r\n{cross}:4\r\n");
    let pipeline = b"INCR bar\r\nINCR foo\r\nINCR bar\r\nEXISTS foo bar\r\nINCR bar\r\n";
    assert_answered(&mut stream, pipeline, &reply);
    assert_answered(&mut stream, b"RESET\r\n", "+RESET\r\n");
    assert_answered(&mut stream, b"EXISTS bar hello\r\n", ":1\r\n");
    assert_eq!(
        ask(b.tcp, "DBSIZE"),
        ":0|",
        "nothing was applied there either"
    );
}

/// Clients that know of no cluster may talk to any node.
#[test]
fn connections_without_the_map_never_see_a_redirect() {
    for shards in [1, 4] {
        let [a, b] = pair(shards);
        for (n, node) in (1..).zip([&a, &b, &a, &b]) {
            let lines = "INCR foo\r\nINCR bar\r\nMGET foo hello bar\r\nEXISTS foo bar hello";
            let len = n.to_string().len();
            let sums = format!("*3|${len}|{n}|$-1|${len}|{n}|");
            assert_eq!(ask(node.tcp, lines), format!(":{n}|:{n}|{sums}:2|"));
        }
        let set = "SET foo 100 NX GET\r\nSET foo 1\r\nGETDEL foo\r\nDEL foo bar";
        let lower = "-ERR counters only go up: the sum is above that|";
        assert_eq!(ask(a.tcp, set), format!("$1|4|{lower}$1|4|:1|"));
        // A pipeline keeps its order although its topics are at two nodes.
        let mut connections = [&a, &b].map(|node| {
            let client = redis::Client::open(format!("redis://{}", node.tcp)).unwrap();
            client.get_connection().unwrap()
        });
        for round in 0..4 {
            let mut pipeline = redis::pipe();
            for i in 0..1_000 {
                pipeline.incr(format!("key {}", i % 100), 1);
            }
            let sums: Vec<u64> = pipeline.query(&mut connections[round % 2]).unwrap();
            let expected = (0..1_000).map(|i| 10 * round as u64 + i / 100 + 1);
            assert!(sums.iter().copied().eq(expected), "{sums:?}");
        }
        assert_shared(&[a, b], 100);
    }
}

#[test]
fn only_commands_that_show_the_map_begin_redirects() {
    let [a, _b] = pair(1);
    for (line, redirects) in [
        ("CLUSTER SLOTS", true),
        ("CLUSTER SHARDS", true),
        ("CLUSTER NODES", true),
        ("READONLY", true),
        ("READWRITE", false),
        ("ASKING", false),
        ("CLUSTER INFO", false),
        ("CLUSTER MYID", false),
        ("CLUSTER KEYSLOT foo", false),
        ("CLUSTER SLOTS x", false),
    ] {
        let reply = ask(a.tcp, &format!("{line}\r\nMGET bar hello"));
        assert_eq!(reply.contains("-CROSSSLOT "), redirects, "{line}: {reply}");
        assert_eq!(
            reply.ends_with("*2|$-1|$-1|"),
            !redirects,
            "{line}: {reply}"
        );
    }
}

#[test]
fn slots_without_an_owner_are_down() {
    let server = Server::bind(config(1)).unwrap();
    server.join_fixed("a", |range| match range.number() {
        0 => Owner::ThisNode,
        _ => Owner::Nobody,
    });
    let server = Embedded::run(server);
    let reply = ask(server.tcp, "READONLY\r\nINCR foo\r\nDBSIZE\r\nCLUSTER INFO");
    let down = "+OK|-CLUSTERDOWN Hash slot not served|:0|";
    assert!(reply.starts_with(down), "{reply}");
    assert!(
        reply.contains("cluster_state:fail|cluster_slots_assigned:16|"),
        "{reply}"
    );
}

#[test]
fn the_topics_of_a_slot_are_counted_and_listed() {
    const TOPICS: usize = 9_000; // several parts of the search
    for shards in [1, 8] {
        let server = single(shards);
        let mut stream = connect(server.tcp);
        let mut pipeline = Vec::new();
        for i in 0..TOPICS {
            // A third of them has the slot of foo.
            let topic = match i % 3 {
                0 => format!("{{foo}}{i}"),
                _ => format!("other {i}"),
            };
            pipeline.extend_from_slice(&command(&["SET", &topic, "5"]));
        }
        let input = stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || (&input).write_all(&pipeline).unwrap());
        assert_answered(&mut stream, b"", &"+OK\r\n".repeat(TOPICS));
        writer.join().unwrap();
        let all = TOPICS / 3;
        assert_eq!(
            ask(server.tcp, "CLUSTER COUNTKEYSINSLOT 12182"),
            format!(":{all}|")
        );
        assert_eq!(
            ask(server.tcp, "CLUSTER COUNTKEYSINSLOT 12183\r\nPING"),
            ":0|+PONG|"
        );
        for (max, returned) in [(0, 0), (10, 10), (all, all), (2 * all, all)] {
            let line = format!("CLUSTER GETKEYSINSLOT 12182 {max}\r\nPING");
            let reply = ask(server.tcp, &line);
            let mut parts = reply.split('|');
            assert_eq!(parts.next(), Some(&*format!("*{returned}")));
            let mut names: Vec<&str> = parts.filter(|part| part.starts_with("{foo}")).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), returned);
            assert!(reply.ends_with("|+PONG|"));
        }
    }
}

/// docs/security.md has the rights of each command.
#[test]
fn tokens_see_only_the_topics_of_a_slot_that_they_may_read() {
    let tokens = vec![
        token("writer", "secret of a writer", "count", &[]),
        token("reader", "secret of a reader", "read", &["in/"]),
    ];
    let server = Server::bind(Config {
        access: Some(Arc::new(Guard::new(Policy::new(tokens, Vec::new())))),
        ..config(2)
    })
    .unwrap();
    server.join_fixed("a", |_| Owner::ThisNode);
    let server = Embedded::run(server);
    let count = "AUTH \"secret of a writer\"\r\nINCR in/{foo}\r\nINCR out/{foo}";
    assert_eq!(ask(server.tcp, count), "+OK|:1|:1|");
    let login = "AUTH \"secret of a reader\"\r\nCLUSTER";
    let reply = ask(server.tcp, &format!("{login} COUNTKEYSINSLOT 12182"));
    assert_eq!(reply, "+OK|:1|");
    let reply = ask(server.tcp, &format!("{login} GETKEYSINSLOT 12182 10"));
    assert_eq!(reply, "+OK|*1|$8|in/{foo}|");
    // The keys of a command are checked before its slots: who may not count learns no address.
    let reply = ask(server.tcp, &format!("{login} SLOTS\r\nINCR in/{{foo}}"));
    assert!(reply.starts_with("+OK|*1|*3|:0|:16383|"), "{reply}");
    assert!(reply.contains("|-NOPERM "), "{reply}");
    assert_eq!(
        ask(server.tcp, "CLUSTER SLOTS"),
        "-NOAUTH Authentication required.|"
    );
}

/// The crate learns the map, sends each request to its owner and counts there.
#[test]
fn the_redis_crate_counts_in_a_cluster() {
    for (shards, protocol) in [(1, ProtocolVersion::RESP2), (4, ProtocolVersion::RESP3)] {
        let nodes = pair(shards);
        for start in &nodes {
            let url = format!("redis://{}", start.tcp);
            let builder = ClusterClientBuilder::new([url]).use_protocol(protocol);
            let mut connection = builder.build().unwrap().get_connection().unwrap();
            for i in 0..200 {
                let sum: u64 = connection.incr(format!("key {i}"), 1).unwrap();
                assert_eq!(sum, if start.tcp == nodes[0].tcp { 1 } else { 2 });
            }
            let mut pipeline = redis::cluster::cluster_pipe();
            pipeline.get("key 1").get("key 2").get("key 3");
            let sums: Vec<u64> = pipeline.query(&mut connection).unwrap();
            assert_eq!(sums.len(), 3);
        }
        assert_shared(&nodes, 200);
    }
}

/// Checks that both nodes have topics, and this many together.
fn assert_shared(nodes: &[Embedded; 2], topics: usize) {
    let sizes = nodes.each_ref().map(|node| {
        let size = ask(node.tcp, "DBSIZE");
        size.trim_matches([':', '|']).parse::<usize>().unwrap()
    });
    assert!(sizes[0] > 0 && sizes[1] > 0, "{sizes:?}");
    assert_eq!(
        sizes[0] + sizes[1],
        topics,
        "each topic is at its owner only"
    );
}

#[test]
fn redis_cli_follows_redirects() {
    let [a, b] = pair(2);
    let port = a.tcp.port().to_string();
    // Without a map it would be forwarded. It asks for none by itself.
    let input = "READONLY\nINCR bar\nINCR foo\nINCR foo\nINCR bar\n";
    let Some(output) = run("redis-cli", &["-c", "-p", &port], input) else {
        return;
    };
    let printed = String::from_utf8(output.stdout).unwrap();
    let redirected = format!("-> Redirected to slot [12182] located at {}", b.tcp);
    // From then on it talks to the other node, without a map.
    let expected = format!("OK\n1\n{redirected}\n1\n2\n2");
    assert_eq!(printed.trim_end(), expected);
    assert_eq!(ask(b.tcp, "GET foo"), "$1|2|");
    let arguments = ["--cluster", "check", &a.tcp.to_string()];
    let checked = run("redis-cli", &arguments, "").unwrap();
    let printed = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{printed}");
    assert!(
        printed.contains("[OK] All 16384 slots covered."),
        "{printed}"
    );
    assert!(
        printed.contains("[OK] All nodes agree about slots configuration."),
        "{printed}"
    );
}

/// Uses Python's package, in both versions of the protocol.
const PYTHON: &str = r#"
import sys
from redis.cluster import RedisCluster

port = int(sys.argv[1])
for protocol in (2, 3):
    for replicas in (False, True):
        r = RedisCluster("127.0.0.1", port, protocol=protocol, decode_responses=True,
                         require_full_coverage=True, read_from_replicas=replicas)
        r.delete(*("key {%d}" % i for i in range(200)))
        for n in (1, 2):
            for i in range(200):
                assert r.incr("key {%d}" % i) == n
        assert r.mget_nonatomic(["key {1}", "key {2}"]) == ["2", "2"]
        pipeline = r.pipeline()
        for i in range(200):
            pipeline.incr("key {%d}" % i)
        assert pipeline.execute() == [3] * 200
        assert len(r.get_primaries()) == 2 and len(r.cluster_nodes()) == 2
        assert r.cluster_info()["cluster_state"] == "ok"
        assert r.cluster_keyslot("foo") == 12182 == r.keyslot("foo")
        assert len(r.cluster_shards()) == 2
        assert r.dbsize(target_nodes=RedisCluster.PRIMARIES) == 200
        assert sorted(r.scan_iter()) == sorted("key {%d}" % i for i in range(200))
        slot = r.keyslot("key {7}")
        assert r.cluster_countkeysinslot(slot) == 1
        assert r.cluster_get_keys_in_slot(slot, 10) == ["key {7}"]
        r.close()
print("ok")
"#;

#[test]
fn the_python_package_counts_in_a_cluster() {
    if !has_python_package() {
        return;
    }
    let nodes = pair(2);
    let port = nodes[0].tcp.port().to_string();
    let output = run("python3", &["-c", PYTHON, &port], "").unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{error}");
    assert_shared(&nodes, 200);
}

/// Uses ioredis.
const IOREDIS: &str = r#"
const Redis = require("ioredis");
(async () => {
  const r = new Redis.Cluster([{ host: "127.0.0.1", port: Number(process.argv[1]) }]);
  for (let n = 1; n <= 2; n++) {
    for (let i = 0; i < 200; i++) {
      const sum = await r.incr(`key ${i}`);
      if (sum !== n) throw new Error(`key ${i}: ${sum}`);
    }
  }
  if (r.nodes("master").length !== 2) throw new Error("nodes");
  if (r.slots.length !== 16384 || r.slots.includes(undefined)) throw new Error("slots");
  await r.quit();
  console.log("ok");
})().catch((error) => { console.error(error); process.exit(1); });
"#;

#[test]
fn ioredis_counts_in_a_cluster() {
    if !has_ioredis() {
        return;
    }
    let nodes = pair(2);
    let port = nodes[1].tcp.port().to_string();
    let output = run("node", &["-e", IOREDIS, &port], "").unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{error}");
    assert_shared(&nodes, 200);
}
