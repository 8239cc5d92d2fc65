//! Existing Redis clients, unchanged, against one shard and eight: the `redis` crate; and
//! redis-cli, redis-benchmark and Python's package if they are installed.

use std::net::SocketAddr;

use redis::{AsyncCommands, Client, Commands, ConnectionLike, ErrorKind, ServerErrorKind};

use crate::support::{Embedded, has_python_package, is_one_to_n, run};

const SHARDS: [usize; 2] = [1, 8];

/// Both versions of the protocol, as URL suffixes.
const PROTOCOLS: [&str; 2] = ["", "?protocol=resp3"];

fn client(address: SocketAddr, protocol: &str) -> Client {
    Client::open(format!("redis://{address}/{protocol}")).unwrap()
}

#[test]
fn the_redis_crate_counts_blocking() {
    for (shards, protocol) in SHARDS.into_iter().flat_map(|n| PROTOCOLS.map(|p| (n, p))) {
        let server = Embedded::start(shards);
        let mut connection = client(server.tcp, protocol).get_connection().unwrap();
        let c = &mut connection;
        assert!(c.check_connection());
        assert_eq!(c.incr::<_, _, u64>("a", 1).unwrap(), 1);
        assert_eq!(c.incr::<_, _, u64>("a", 10).unwrap(), 11);
        assert_eq!(c.get::<_, Option<u64>>("a").unwrap(), Some(11));
        assert_eq!(c.get::<_, Option<u64>>("b").unwrap(), None);
        c.set::<_, _, ()>("a", 20).unwrap();
        let sums: Vec<Option<u64>> = c.mget(&["a", "b", "a"]).unwrap();
        assert_eq!(sums, [Some(20), None, Some(20)]);
        assert!(c.exists::<_, bool>("a").unwrap());
        assert_eq!(c.del::<_, u64>(&["a", "b"]).unwrap(), 1);
        assert_eq!(redis::cmd("DBSIZE").query::<u64>(c).unwrap(), 0);

        let error = c.set::<_, _, ()>("a", -1).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ResponseError)
        );
        assert_eq!(error.detail(), Some("counters only go up"));
        assert!(c.lpush::<_, _, u64>("a", 1).is_err());
        assert_eq!(
            c.incr::<_, _, u64>("a", 1).unwrap(),
            1,
            "the connection stays open"
        );
    }
}

/// How programs use Redis for counters, beside INCR.
#[test]
fn the_crate_sets_once_and_takes() {
    for (shards, protocol) in SHARDS.into_iter().flat_map(|n| PROTOCOLS.map(|p| (n, p))) {
        let server = Embedded::start(shards);
        let mut connection = client(server.tcp, protocol).get_connection().unwrap();
        let c = &mut connection;
        assert!(c.set_nx::<_, _, bool>("a", 100).unwrap());
        assert!(!c.set_nx::<_, _, bool>("a", 200).unwrap());
        assert_eq!(c.incr::<_, _, u64>("a", 1).unwrap(), 101);
        let options = redis::SetOptions::default();
        let options = options.conditional_set(redis::ExistenceCheck::NX).get(true);
        let before: Option<u64> = c.set_options("b", 1, options.clone()).unwrap();
        assert_eq!(before, None);
        let before: Option<u64> = c.set_options("b", 2, options).unwrap();
        assert_eq!(before, Some(1));
        assert_eq!(c.getset::<_, _, u64>("a", 0).unwrap(), 101);
        assert_eq!(c.get_del::<_, Option<u64>>("b").unwrap(), Some(1));
        assert_eq!(c.get_del::<_, Option<u64>>("b").unwrap(), None);
        assert_eq!(c.ttl::<_, i64>("a").unwrap(), -1);
        assert_eq!(c.keys::<_, Vec<String>>("*").unwrap(), ["a"]);
        let expires = c.set_ex::<_, _, ()>("a", 1, 10).unwrap_err();
        assert_eq!(expires.detail(), Some("topics do not expire"));
    }
}

#[test]
fn the_redis_crate_pipelines() {
    for (shards, protocol) in SHARDS.into_iter().flat_map(|n| PROTOCOLS.map(|p| (n, p))) {
        let server = Embedded::start(shards);
        let mut connection = client(server.tcp, protocol).get_connection().unwrap();
        let mut pipeline = redis::pipe();
        for i in 0..10_000 {
            pipeline.incr(format!("key {}", i % 100), 1);
        }
        let sums: Vec<u64> = pipeline.query(&mut connection).unwrap();
        assert!(sums.into_iter().eq((0..10_000).map(|i| i / 100 + 1)));
    }
}

#[test]
fn the_redis_crate_scans_all_topics() {
    for shards in SHARDS {
        let server = Embedded::start(shards);
        let mut connection = client(server.tcp, "").get_connection().unwrap();
        let mut pipeline = redis::pipe();
        for i in 0..5_000 {
            pipeline.incr(format!("key {i}"), 1).ignore();
        }
        pipeline.query::<()>(&mut connection).unwrap();
        let topics = connection.scan::<String>().unwrap();
        let mut topics: Vec<String> = topics.map(Result::unwrap).collect();
        topics.sort_unstable();
        topics.dedup();
        assert_eq!(topics.len(), 5_000);
        let some = connection.scan_match::<_, String>("key 49*").unwrap();
        assert_eq!(some.count(), 111);
    }
}

#[tokio::test]
async fn the_redis_crate_counts_asynchronously() {
    for (shards, protocol) in SHARDS.into_iter().flat_map(|n| PROTOCOLS.map(|p| (n, p))) {
        let server = Embedded::start(shards);
        let client = client(server.tcp, protocol);
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let mut connection = connection.clone();
            tasks.spawn(async move {
                let mut sums = Vec::new();
                for _ in 0..20 {
                    sums.push(connection.incr::<_, _, u64>("topic", 1).await.unwrap());
                }
                sums
            });
        }
        let sums = tasks.join_all().await.concat();
        assert!(is_one_to_n(sums, 2_000), "{shards} shards");
        server.stop().await;
    }
}

/// A transaction fails as a whole, and the client gets an error.
#[test]
fn transactions_of_the_redis_crate_fail_and_count_nothing() {
    for protocol in PROTOCOLS {
        let server = Embedded::start(8);
        let mut connection = client(server.tcp, protocol).get_connection().unwrap();
        let mut transaction = redis::pipe();
        transaction.atomic().incr("a", 1).incr("b", 1);
        let failed = transaction.query::<(u64, u64)>(&mut connection);
        assert!(failed.is_err(), "{failed:?}");
        assert_eq!(connection.incr::<_, _, u64>("a", 1).unwrap(), 1);
    }
}

#[test]
fn redis_cli_counts() {
    for shards in SHARDS {
        let server = Embedded::start(shards);
        let port = server.tcp.port().to_string();
        for (version, sum) in [("-2", 1), ("-3", 12)] {
            let input = "INCR a\nincrby a 10\nGET a\nMGET a b\nDBSIZE\nTYPE a\nDECR a\n";
            let Some(output) = run("redis-cli", &["-p", &port, version], input) else {
                return;
            };
            let printed = String::from_utf8(output.stdout).unwrap();
            let (first, second) = (sum, sum + 10);
            let sums = [first, second, second, second];
            let sums: String = sums.iter().map(|sum| format!("{sum}\n")).collect();
            let expected = format!("{sums}\n1\nstring\nERR counters only go up\n");
            assert_eq!(printed.trim_end(), expected.trim_end());
        }
        let raw = run("redis-cli", &["-p", &port, "--scan"], "").unwrap();
        assert_eq!(raw.stdout, b"a\n");
        let pipe = "*2\r\n$4\r\nINCR\r\n$1\r\np\r\n".repeat(1_000);
        let piped = run("redis-cli", &["-p", &port, "--pipe"], &pipe).unwrap();
        let printed = String::from_utf8(piped.stdout).unwrap();
        assert!(printed.contains("errors: 0, replies: 1000"), "{printed}");
    }
}

#[test]
fn redis_benchmark_runs() {
    for shards in SHARDS {
        let server = Embedded::start(shards);
        let port = server.tcp.port().to_string();
        let tests = "ping,incr,get";
        let arguments = ["-p", &port, "-t", tests, "-n", "2000", "-P", "16", "-q"];
        let Some(output) = run("redis-benchmark", &arguments, "") else {
            return;
        };
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}{errors}");
        for test in ["PING_INLINE", "PING_MBULK", "INCR", "GET"] {
            assert!(printed.contains(&format!("{test}: ")), "{printed}");
        }
        assert!(!errors.contains("WARNING"), "{errors}");
    }
}

/// Uses Python's package, in both versions of the protocol.
const PYTHON: &str = r#"
import asyncio, sys, redis, redis.asyncio

port = int(sys.argv[1])
for protocol in (2, 3):
    r = redis.Redis(port=port, protocol=protocol, decode_responses=True, client_name="test")
    assert r.ping()
    r.delete("a", "b")
    assert r.incr("a") == 1 and r.incrby("a", 10) == 11
    assert r.get("a") == "11" and r.get("b") is None and r.mget("a", "b") == ["11", None]
    assert r.set("a", 20) and r.exists("a", "b") == 1 and r.type("a") == "string"
    assert sorted(r.scan_iter(match="a*")) == ["a"]
    assert r.client_getname() == "test" and r.client_id() > 0
    assert any(client["name"] == "test" for client in r.client_list())
    assert r.info("keyspace")["db0"]["keys"] == r.dbsize()
    assert r.config_get("maxclients")["maxclients"] == "65536"
    assert r.command_count() == len(r.command())
    r.delete("once")
    assert r.setnx("once", 5) and not r.setnx("once", 6)
    assert r.set("once", 6, nx=True) is None and r.set("once", 7, xx=True, get=True) == "5"
    assert r.getdel("once") == "7" and r.ttl("once") == -2 and r.ttl("a") == -1
    assert r.keys("a*") == ["a"] and r.object("encoding", "a") == "int" and r.role()[0] == "master"
    assert r.info("replication")["role"] == "master" and r.strlen("a") == 2
    assert r.slowlog_get() == [] and r.wait(0, 0) == 0 and len(r.time()) == 2
    other = redis.Redis(port=port, protocol=protocol, single_connection_client=True)
    assert r.client_kill_filter(_id=other.client_id()) == 1
    try:
        r.pipeline().incr("b").execute()
        raise SystemExit("a transaction should fail")
    except redis.RedisError:
        assert r.get("b") is None
    pipeline = r.pipeline(transaction=False)
    for i in range(1000):
        pipeline.incr("b")
    assert pipeline.execute() == list(range(1, 1001))
    try:
        r.decr("a")
        raise SystemExit("decr should fail")
    except redis.ResponseError as error:
        assert str(error) == "counters only go up"

    async def count():
        async with redis.asyncio.Redis(port=port, protocol=protocol) as r:
            return await asyncio.gather(*(r.incr("c%d" % protocol) for _ in range(50)))
    assert sorted(asyncio.run(count())) == list(range(1, 51))
print("ok")
"#;

/// The script in docs/redis.md copies all counters of one server to another.
#[test]
fn the_migration_script_of_the_docs_copies_all_counters() {
    let docs = include_str!("../../docs/redis.md");
    let (_, section) = docs.split_once("## Moving over from Redis").unwrap();
    let (_, script) = section.split_once("```python\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    if !has_python_package() {
        return;
    }
    let (from, to) = (Embedded::start(2), Embedded::start(8));
    let mut source = client(from.tcp, "").get_connection().unwrap();
    let mut pipeline = redis::pipe();
    for i in 0..1_200 {
        pipeline.set(format!("key {i}"), i).ignore();
    }
    pipeline.query::<()>(&mut source).unwrap();
    let mut target = client(to.tcp, "").get_connection().unwrap();
    target.incr::<_, _, ()>("key 7", 100).unwrap();
    let urls = [from.tcp, to.tcp].map(|address| format!("redis://{address}/0"));
    for _ in 0..2 {
        let output = run("python3", &["-c", script, &urls[0], &urls[1]], "").unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let expected = "copied: 1198\nabove: 1\nzero: 1\nnegative: 0\nno integer: 0\nrefused: 0\n";
        assert_eq!(printed, expected, "{error}");
    }
    assert_eq!(target.get::<_, u64>("key 1199").unwrap(), 1_199);
    assert_eq!(target.get::<_, u64>("key 7").unwrap(), 100);
}

#[test]
fn the_python_package_counts() {
    if !has_python_package() {
        return;
    }
    for shards in SHARDS {
        let server = Embedded::start(shards);
        let port = server.tcp.port().to_string();
        let output = run("python3", &["-c", PYTHON, &port], "").unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{error}");
    }
}
