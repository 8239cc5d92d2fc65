//! Stores that answer late, refuse, panic or forget, and the requests that depend on them.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, SendError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use globalcounter::protocol::{Op, Reply};
use globalcounter::server::Config;
use globalcounter::shard::{Change, Durability};
use globalcounter::store::{Changes, Completion, LastEnd, MemoryStore, Store, StoreError};

use crate::support::{
    Embedded, Framed, PATIENCE, STORE, ScriptedStore, add, assert_answered, config, connect,
    datagrams, frame, info, info_field,
};

/// The commits that a server has started and that wait for the test to answer them.
struct HeldCommits {
    store: MemoryStore,
    receiver: Receiver<(Changes, Completion)>,
}

impl HeldCommits {
    fn next(&self) -> (Changes, Completion) {
        self.receiver.recv_timeout(PATIENCE).unwrap()
    }

    /// Answers commits until one changes this topic, and returns that one unanswered.
    fn until(&self, topic: &str) -> (Changes, Completion) {
        loop {
            let (changes, completion) = self.next();
            if changes
                .iter()
                .any(|change| change.topic().as_bytes() == topic.as_bytes())
            {
                return (changes, completion);
            }
            self.succeed((changes, completion));
        }
    }

    /// Returns the stored ceiling of a topic, or 0 if there is none.
    fn ceiling(&self, topic: &str) -> u64 {
        let mut ceiling = 0;
        let load = self.store.load(0..=u16::MAX, &mut |found, stored| {
            if found.as_bytes() == topic.as_bytes() {
                ceiling = stored.sum;
            }
        });
        load.unwrap();
        ceiling
    }

    /// Answers this commit and all that follow, until the server has ended.
    fn answer_all(self, first: (Changes, Completion)) -> JoinHandle<()> {
        std::thread::spawn(move || {
            self.succeed(first);
            while let Ok(commit) = self.receiver.recv() {
                self.succeed(commit);
            }
        })
    }

    fn succeed(&self, (changes, completion): (Changes, Completion)) {
        self.store.apply(&changes);
        completion.report(Ok(()));
    }
}

/// Starts a server whose commits the test answers.
fn start_with_held_commits(shards: usize) -> (Embedded, HeldCommits) {
    let (sender, receiver) = channel();
    let store = MemoryStore::new();
    let held = ScriptedStore::new(store.clone(), move |store, changes, completion| {
        // At the end of a test nobody receives the commits any more, so they succeed here.
        if let Err(SendError((changes, completion))) = sender.send((changes, completion)) {
            store.apply(&changes);
            completion.report(Ok(()));
        }
    });
    let server = Embedded::with_store(config(shards), Box::new(held));
    (server, HeldCommits { store, receiver })
}

#[test]
fn requests_wait_for_the_store_in_order_and_delay_no_other_topic() {
    for shards in [1, 4] {
        let (server, commits) = start_with_held_commits(shards);
        let mut client = Framed::connect(server.tcp);
        client.send(&frame(1, Op::Count, "old"));
        commits.succeed(commits.until("old"));
        assert_eq!(client.reply(), Some((1, Reply::Count(1))));

        // These wait: requests on this connection, and one in a datagram.
        let ops = [Op::Count, add(5), Op::Get, Op::Reset, Op::Count];
        // One write, so that all of them wait before the datagram comes.
        let frames = (2..).zip(ops).map(|(id, op)| frame(id, op, "new"));
        client.send(&frames.collect::<Vec<_>>().concat());
        let waiting = commits.until("new");
        let udp = datagrams(server.udp);
        udp.send(b"\x00new").unwrap();
        // This does not wait: another topic on the same connection.
        client.send(&frame(9, Op::Get, "old"));
        assert_eq!(client.reply(), Some((9, Reply::Get(Some(1)))));

        let _answering = commits.answer_all(waiting);
        let replies: Vec<_> = (0..5).map(|_| client.reply().unwrap()).collect();
        let expected = [
            (2, Reply::Count(1)),
            (3, Reply::Add(6)),
            (4, Reply::Get(Some(6))),
            (5, Reply::Reset),
            (6, Reply::Count(1)),
        ];
        assert_eq!(replies, expected, "{shards} shards");
        let mut sum = [0; 10];
        assert_eq!(udp.recv(&mut sum).unwrap(), 2);
        assert!(sum[..2] == [0x80, 2] || sum[..2] == [0x80, 7], "{sum:?}");
        drop(server);
    }
}

#[test]
fn a_slow_store_keeps_the_order_of_redis_replies() {
    let (server, commits) = start_with_held_commits(4);
    let mut client = connect(server.tcp);
    client
        .write_all(b"INCR a\r\nPING\r\nINCR b\r\nDBSIZE\r\nDEL a b c\r\nPING\r\n")
        .unwrap();
    let expected = b":1\r\n+PONG\r\n:1\r\n:2\r\n:2\r\n+PONG\r\n";
    let mut got = vec![0; expected.len()];
    let first = commits.next();
    let _answering = commits.answer_all(first);
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, expected);
}

/// A SET that waits for the store is decided when its turn comes, and not again when it is stored.
#[test]
fn conditional_sets_wait_for_the_store_in_order() {
    for shards in [1, 4] {
        let (server, commits) = start_with_held_commits(shards);
        let (mut one, mut other) = (connect(server.tcp), connect(server.tcp));
        one.write_all(b"SETNX a 5\r\nSET a 9 NX GET\r\nGETDEL a\r\nSET a 7 XX\r\nSETNX a 2\r\n")
            .unwrap();
        let first = commits.until("a");
        other
            .write_all(b"SETNX a 8\r\nPING\r\nSETNX b 0\r\n")
            .unwrap();
        let answering = commits.answer_all(first);
        assert_answered(&mut one, b"", ":1\r\n$1\r\n5\r\n$1\r\n5\r\n$-1\r\n");
        // Either of the two came first after the GETDEL; the other found the topic.
        let mut replies = [[0; 4]; 2];
        one.read_exact(&mut replies[0]).unwrap();
        other.read_exact(&mut replies[1]).unwrap();
        let created = replies.iter().filter(|reply| *reply == b":1\r\n").count();
        assert_eq!(created, 1, "{replies:?}");
        assert_answered(&mut other, b"", "+PONG\r\n:1\r\n");
        drop(server);
        answering.join().unwrap();
    }
}

#[test]
fn conditional_sets_are_refused_if_the_store_fails_unless_they_need_none() {
    let (server, commits) = start_with_held_commits(2);
    let mut client = connect(server.tcp);
    client.write_all(b"SETNX old 5\r\n").unwrap();
    commits.succeed(commits.until("old"));
    assert_answered(&mut client, b"", ":1\r\n");
    client.write_all(b"SETNX new 5\r\nGET new\r\n").unwrap();
    let (_, completion) = commits.until("new");
    completion.report(Err(StoreError::Failed));
    let failed = "-MISCONF the durable store failed\r\n";
    assert_answered(&mut client, b"", &format!("{failed}$-1\r\n"));
    for (line, reply) in [
        ("SETNX new 5", failed),
        ("SET new 5 XX", "$-1\r\n"),
        ("GETDEL new", "$-1\r\n"),
        ("SETNX old 9", ":0\r\n"),
        ("SET old 9 NX GET", "$1\r\n5\r\n"),
        ("SET old 5 GET", "$1\r\n5\r\n"),
        ("SET old 1000000 GET", failed),
        ("GETSET old 0", failed),
        ("GETDEL old", failed),
        ("GET old", "$1\r\n5\r\n"),
    ] {
        assert_answered(&mut client, format!("{line}\r\n").as_bytes(), reply);
    }
    server.stop_with_store_error();
}

#[test]
fn a_stopping_server_answers_requests_that_wait_for_the_store() {
    let (server, commits) = start_with_held_commits(2);
    let mut client = Framed::connect(server.tcp);
    let udp = datagrams(server.udp);
    client.send(&frame(1, Op::Count, "tcp"));
    let first = commits.until("tcp");
    udp.send(b"\x00udp").unwrap();
    let second = commits.until("udp"); // now the datagram was read
    let store = commits.store.clone();
    let stopping = std::thread::spawn(move || drop(server));
    commits.succeed(first);
    commits.succeed(second);
    drop(commits);
    assert_eq!(client.reply(), Some((1, Reply::Count(1))));
    let mut reply = [0; 9];
    assert_eq!(udp.recv(&mut reply).unwrap(), 2);
    assert_eq!(&reply[..2], b"\x80\x01");
    stopping.join().unwrap();
    assert_eq!(store.last_end(), LastEnd::Clean);
}

#[test]
fn after_a_refusal_only_requests_that_need_the_store_fail() {
    let (server, commits) = start_with_held_commits(2);
    let mut client = Framed::connect(server.tcp);
    // Count until the topic has a reserve. How many counts that takes depends on the clock.
    let mut n = 0;
    while commits.ceiling("hot") < u64::from(n) + 10 {
        client.send(&frame(n, Op::Count, "hot"));
        std::thread::scope(|scope| {
            let reply = scope.spawn(|| client.reply());
            while !reply.is_finished() {
                if let Ok(commit) = commits.receiver.recv_timeout(Duration::from_millis(1)) {
                    commits.succeed(commit);
                }
            }
            assert_eq!(
                reply.join().unwrap(),
                Some((n, Reply::Count(u64::from(n) + 1)))
            );
        });
        n += 1;
    }
    client.send(&frame(1, Op::Count, "new"));
    client.send(&frame(2, Op::Reset, "new"));
    client.send(&frame(3, Op::Get, "new"));
    let (_, completion) = commits.until("new");
    completion.report(Err(StoreError::Fenced));
    let replies: Vec<_> = (0..3).map(|_| client.reply().unwrap()).collect();
    assert_eq!(replies, [(1, STORE), (2, STORE), (3, Reply::Get(Some(0)))]);
    // Numbers up to the ceiling are still handed out, and none above it.
    let mut sum = n.into();
    loop {
        match client.ask(Op::Count, "hot") {
            Reply::Count(next) => {
                sum += 1;
                assert_eq!(next, sum);
            }
            reply => {
                assert_eq!(reply, STORE);
                break;
            }
        }
    }
    assert_eq!(sum, commits.ceiling("hot"));
    assert_eq!(client.ask(Op::Get, "hot"), Reply::Get(Some(sum)));
    for op in [Op::Reset, Op::Delete, Op::Advance(sum + 1), add(1)] {
        assert_eq!(client.ask(op, "hot"), STORE, "{op:?}");
    }
    assert_eq!(client.ask(Op::Advance(3), "hot"), Reply::Advance(sum));
    assert_eq!(
        client.ask(Op::Delete, "new"),
        Reply::Delete { existed: false }
    );
    let info = info(server.tcp, "persistence");
    assert_eq!(info_field(&info, "store_status"), "failed");
    assert!(info_field(&info, "store_failure").contains("another server"));
    assert_eq!(info_field(&info, "aof_last_write_status"), "err");
    let mut redis = connect(server.tcp);
    redis.write_all(b"INCR hot\r\n").unwrap();
    let mut reply = [0; 8];
    redis.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"-MISCONF");
    server.stop_with_store_error();
}

/// Regression: if the topic's owner was not the connection's worker, replies that had not waited
/// for the store were overtaken by replies that had.
#[test]
fn replies_to_a_topic_keep_their_order_with_a_store() {
    const REQUESTS: u32 = 600;
    let server = Embedded::with_store(config(2), Box::new(MemoryStore::new()));
    std::thread::scope(|scope| {
        for worker in [0, 1] {
            let address = server.tcp;
            scope.spawn(move || {
                let mut client = Framed::connect(address);
                client.hello(Some(worker));
                for round in 0..300 {
                    let mut read = Vec::new();
                    for id in 0..REQUESTS {
                        // New topics every ten rounds: they wait at first and soon have a reserve.
                        let topic = format!("{worker} {} {}", round / 10, id % 6);
                        read.extend(frame(id, Op::Count, &topic));
                    }
                    client.send(&read);
                    let mut last = [None; 6];
                    for _ in 0..REQUESTS {
                        let (id, reply) = client.reply().unwrap();
                        assert!(matches!(reply, Reply::Count(_)), "{reply:?}");
                        let last = &mut last[id as usize % 6];
                        assert!(*last < Some(id), "round {round}: {id} came after {last:?}");
                        *last = Some(id);
                    }
                }
            });
        }
    });
}

#[test]
fn a_store_that_panics_or_forgets_leaves_nobody_waiting() {
    let panics: fn(&MemoryStore, Changes, Completion) = |_, _, _| panic!("on purpose");
    for faulty in [panics, |_, _, _| {}] {
        let server = Embedded::with_store(
            config(2),
            Box::new(ScriptedStore::new(MemoryStore::new(), faulty)),
        );
        let mut client = Framed::connect(server.tcp);
        for topic in ["a", "b", "c", "a"] {
            assert_eq!(client.ask(Op::Count, topic), STORE);
        }
        let info = info(server.tcp, "persistence");
        assert_eq!(info_field(&info, "store_status"), "failed");
        assert!(info_field(&info, "store_failure").contains("no result"));
        server.stop_with_store_error();
    }
}

/// A failed DELETE may be durable all the same. A number handed out after it could be handed out
/// again after a restart.
#[test]
fn nothing_is_counted_after_a_failed_delete_or_reset() {
    for op in [Op::Delete, Op::Reset] {
        let applies_but_fails = |store: &MemoryStore, changes: Changes, completion: Completion| {
            store.apply(&changes);
            let lowers = |change: &Change| {
                change
                    .before()
                    .is_some_and(|before| change.after().is_none_or(|after| after.ceiling < before))
            };
            completion.report(match changes.iter().any(lowers) {
                true => Err(StoreError::Failed),
                false => Ok(()),
            });
        };
        let store = MemoryStore::new();
        let faulty = ScriptedStore::new(store.clone(), applies_but_fails);
        let server = Embedded::with_store(config(1), Box::new(faulty));
        let mut client = Framed::connect(server.tcp);
        for sum in 1..=100 {
            assert_eq!(client.ask(Op::Count, "a"), Reply::Count(sum));
        }
        assert_eq!(client.ask(op, "a"), STORE);
        assert_eq!(client.ask(Op::Count, "a"), STORE);
        server.stop_with_store_error();
        let server = Embedded::with_store(config(1), Box::new(store));
        assert_eq!(
            Framed::connect(server.tcp).ask(Op::Count, "a"),
            Reply::Count(1)
        );
    }
}

/// In exact mode there is no reserve: each returned sum is durable itself.
#[test]
fn exact_sums_are_durable_one_by_one() {
    let store = MemoryStore::new();
    let config = Config {
        durability: Durability::Exact,
        ..config(2)
    };
    let server = Embedded::with_store(config, Box::new(store.clone()));
    let mut client = Framed::connect(server.tcp);
    for sum in 1..=50 {
        assert_eq!(client.ask(Op::Count, "a"), Reply::Count(sum));
        let mut stored_sum = 0;
        let load = store.load(0..=u16::MAX, &mut |_, stored| stored_sum = stored.sum);
        load.unwrap();
        assert_eq!(stored_sum, sum);
    }
}
