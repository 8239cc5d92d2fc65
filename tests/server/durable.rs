//! Topics that are kept: over restarts, beside a store that is slow, refuses, or fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use assert_cmd::Command as AssertCommand;
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::server::Config;
use globalcounter::shard::{Change, Durability};
use globalcounter::store::{Answer, Changes, LastEnd, MemoryStore, Store, StoreError, Stored};
use globalcounter::topic::{Shards, Topic};
use nix::sys::signal::Signal;

use crate::support::{
    Embedded, Framed, PATIENCE, Process, config, connect, datagrams, exchange, frame, info_field,
};

const STORE: Reply = Reply::Error(ErrorCode::Store);

/// A data directory's place, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn as_str(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn serve(&self, shards: &str) -> Process {
        Process::with(&["--data-dir", self.as_str(), "--shards", shards])
    }

    fn command(&self, arguments: &[&str]) -> AssertCommand {
        let mut command = AssertCommand::new(env!("CARGO_BIN_EXE_globalcounter"));
        command.args(arguments).arg("--data-dir").arg(&self.0);
        command
    }

    /// What `globalcounter topics` lists.
    fn topics(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.command(&[&["topics"], arguments].concat()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn add(n: u32) -> Op {
    Op::Add(n.try_into().unwrap())
}

fn persistence(tcp: std::net::SocketAddr) -> String {
    let mut stream = connect(tcp);
    stream.write_all(b"INFO persistence\r\nQUIT\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_clean_restart_loses_and_skips_nothing_whatever_the_shards() {
    let directory = Directory::new("restart");
    let long = "a name that is longer than what a row of the table keeps".repeat(9);
    for (round, shards) in (0..).zip(["2", "1", "7", "3"]) {
        let mut server = directory.serve(shards);
        let mut client = Framed::connect(server.tcp);
        for _ in 0..100 {
            client.ask(Op::Count, "hot");
        }
        let sum = 100 * (round + 1);
        assert_eq!(client.ask(Op::Get, "hot"), Reply::Get(Some(sum)));
        assert_eq!(client.ask(Op::Count, &long), Reply::Count(round + 1));
        assert_eq!(client.ask(add(9), ""), Reply::Add(9 * (round + 1)));
        assert_eq!(client.ask(Op::Reset, "reset"), Reply::Reset);
        assert_eq!(client.ask(Op::Count, "reset"), Reply::Count(1));
        let existed = Reply::Delete { existed: round > 0 };
        assert_eq!(client.ask(Op::Delete, "deleted"), existed);
        assert_eq!(client.ask(Op::Count, "deleted"), Reply::Count(1));
        let floor = 1 << (40 + round);
        assert_eq!(
            client.ask(Op::Advance(floor), "time"),
            Reply::Advance(floor)
        );
        assert_eq!(client.ask(Op::Count, "time"), Reply::Count(floor + 1));
        let most = Reply::Advance(u64::MAX - 1);
        assert_eq!(client.ask(Op::Advance(u64::MAX - 1), "most"), most);
        let info = persistence(server.tcp);
        assert_eq!(info_field(&info, "durability"), "monotonic");
        assert_eq!(info_field(&info, "store_status"), "ok");
        assert_eq!(info_field(&info, "skipped_topics"), "0");
        assert_eq!(
            info_field(&info, "loaded_topics"),
            if round > 0 { "7" } else { "0" }
        );
        server.signal(Signal::SIGTERM);
        assert_eq!(server.ended().code(), Some(0));
    }
    assert_eq!(directory.topics(&["--prefix", "ho"]), ["400\thot"]);
    assert_eq!(directory.topics(&["--prefix", "reset"]), ["1\treset"]);
    assert_eq!(directory.topics(&[]).len(), 7);
}

/// RESET, DELETE and ADVANCE are durable before they are answered, over each transport.
#[test]
fn what_was_answered_is_there_after_a_kill() {
    let directory = Directory::new("kill");
    let server = directory.serve("2");
    let mut client = Framed::connect(server.tcp);
    for topic in ["tcp", "udp", "deleted", "kept"] {
        client.ask(add(1_000), topic);
    }
    assert_eq!(client.ask(Op::Reset, "tcp"), Reply::Reset);
    assert_eq!(exchange(&datagrams(server.udp), b"\x01udp"), b"\x81");
    client.ask(Op::Delete, "deleted");
    client.ask(Op::Advance(5_000), "kept");
    drop(server); // SIGKILL

    let server = directory.serve("3");
    let mut client = Framed::connect(server.tcp);
    assert_eq!(client.ask(Op::Get, "tcp"), Reply::Get(Some(0)));
    assert_eq!(client.ask(Op::Count, "udp"), Reply::Count(1));
    assert_eq!(
        client.ask(Op::Delete, "deleted"),
        Reply::Delete { existed: false }
    );
    let Reply::Count(sum) = client.ask(Op::Count, "kept") else {
        panic!("a sum expected")
    };
    assert!((5_001..7_000).contains(&sum), "{sum}");
}

#[test]
fn a_second_server_is_refused_and_told_of_the_first() {
    let directory = Directory::new("second");
    let server = directory.serve("1");
    for arguments in [&["serve", "--tcp", "127.0.0.1:0"][..], &["topics"]] {
        let output = directory.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.lines().count(), 1, "{error}");
        let first = format!("process {}, serving tcp://", server.child.id());
        assert!(
            error.contains(&first) && error.contains("--data-dir"),
            "{error}"
        );
    }
}

#[test]
fn a_directory_that_is_none_is_refused_in_one_line() {
    let directory = Directory::new("none");
    std::fs::write(&directory.0, "a file").unwrap();
    let refused = |path: &str, said: &str| {
        let output = AssertCommand::new(env!("CARGO_BIN_EXE_globalcounter"))
            .args([
                "serve",
                "--tcp",
                "127.0.0.1:0",
                "--udp",
                "off",
                "--data-dir",
                path,
            ])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(path) && error.contains(said), "{error}");
    };
    refused(directory.as_str(), "can't make it");
    refused("/proc/no-such-place", "can't make it");
    std::fs::remove_file(&directory.0).unwrap();
    drop(directory.serve("1"));
    std::fs::write(directory.0.join("format"), "something").unwrap();
    refused(directory.as_str(), "nothing that globalcounter wrote");
    let missing = Directory::new("missing");
    let output = missing.command(&["topics"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("is this a data directory?"), "{error}");
}

/// Permissions mean nothing to root: a server of somebody else's, then.
#[test]
fn a_directory_that_can_not_be_read_is_refused_in_one_line() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;

    let directory =
        Directory(std::env::temp_dir().join(format!("unreadable-{}", std::process::id())));
    drop(directory.serve("1"));
    let is_root = std::fs::metadata(&directory.0).unwrap().uid() == 0;
    let serve = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_globalcounter"));
        command.args([
            "serve",
            "--tcp",
            "127.0.0.1:0",
            "--udp",
            "off",
            "--data-dir",
        ]);
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.arg(&directory.0).output()
    };
    let refused = |path: &Path, mode: u32| {
        let before = std::fs::metadata(path).unwrap().permissions();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let output = match serve() {
            Ok(output) => output,
            Err(error) => return println!("not tried: {error}"), // nobody may not run it
        };
        std::fs::set_permissions(path, before).unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(directory.as_str()), "{error}");
        assert!(error.contains("Permission denied"), "{error}");
    };
    if is_root {
        for entry in [".", "lock", "format", "fjall"] {
            chown(directory.0.join(entry), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    refused(&directory.0, 0o000);
    refused(&directory.0.join("format"), 0o000);
    refused(&directory.0.join("fjall"), 0o000);
}

#[test]
fn topics_move_between_directories_and_are_never_lowered() {
    let [one, other] = ["export", "import"].map(Directory::new);
    let server = one.serve("2");
    let mut client = Framed::connect(server.tcp);
    for (n, topic) in (1..).zip(["a", "b", "tab\tand \"quotes\"", "π"]) {
        client.ask(add(n * 10), topic);
    }
    drop(server); // a crash: what is exported is what a server would go on above
    let exported = one.command(&["export"]).output().unwrap();
    let text = String::from_utf8(exported.stdout).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines[0], r#"{"topic":"a","sum":10}"#);
    assert!(
        lines[2].starts_with(r#"{"topic":"tab\tand \"quotes\"","sum":"#),
        "{lines:?}"
    );

    let import = |text: &str| {
        let output = other
            .command(&["import"])
            .write_stdin(text)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = import("{\"topic\":\"a\",\"sum\":7}\n\n{\"topic\":\"b\",\"sum\":500}\n");
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "2 topics new or raised, 3 lines read\n")
    );
    let (code, said) = import(&text);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "3 topics new or raised, 4 lines read\n")
    );
    let (code, said) =
        import("{\"topic\":\"a\",\"sum\":11}\nnonsense\n{\"topic\":\"a\",\"sum\":99}\n");
    assert_eq!(code, Some(1));
    assert!(said.contains("line 2 is no topic"), "{said}");
    let topics = other.topics(&["--json"]);
    assert_eq!(topics[0], r#"{"topic":"a","sum":11}"#);
    assert_eq!(topics[1], r#"{"topic":"b","sum":500}"#);
    assert_eq!(
        other.topics(&["--prefix", "tab"]),
        ["30\ttab\\tand \\\"quotes\\\""]
    );
    assert_eq!(topics.len(), 4);

    let server = other.serve("5");
    assert_eq!(info_field(&persistence(server.tcp), "skipped_topics"), "0");
    assert_eq!(
        Framed::connect(server.tcp).ask(Op::Count, "π"),
        Reply::Count(41)
    );
}

/// A store that answers when it is told to.
struct Held {
    store: MemoryStore,
    commits: Sender<(Changes, Answer)>,
}

impl Store for Held {
    fn last_end(&self) -> LastEnd {
        self.store.last_end()
    }

    fn load(
        &self,
        points: RangeInclusive<u16>,
        found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError> {
        self.store.load(points, found)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.store.begin()
    }

    fn commit(&mut self, changes: Changes, answer: Answer) {
        // Nobody is there to answer at the end of a test that has seen enough.
        let Err(unheard) = self.commits.send((changes, answer)) else {
            return;
        };
        let (changes, answer) = unheard.0;
        self.store.apply(&changes);
        answer.give(Ok(()));
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.store.finish()
    }
}

/// The commits of a server, which wait to be answered.
struct Commits {
    store: MemoryStore,
    commits: Receiver<(Changes, Answer)>,
}

impl Commits {
    fn next(&self) -> (Changes, Answer) {
        self.commits.recv_timeout(PATIENCE).unwrap()
    }

    /// Answers commits until one of them is of this topic, and returns that.
    fn until(&self, topic: &str) -> (Changes, Answer) {
        loop {
            let (changes, answer) = self.next();
            if changes
                .iter()
                .any(|change| change.topic().as_bytes() == topic.as_bytes())
            {
                return (changes, answer);
            }
            self.succeed((changes, answer));
        }
    }

    /// What the store knows of a topic.
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

    /// Answers this one and all that follow, until the server has ended.
    fn answer_all(self, first: (Changes, Answer)) -> JoinHandle<()> {
        std::thread::spawn(move || {
            self.succeed(first);
            while let Ok(commit) = self.commits.recv() {
                self.succeed(commit);
            }
        })
    }

    fn succeed(&self, (changes, answer): (Changes, Answer)) {
        self.store.apply(&changes);
        answer.give(Ok(()));
    }
}

fn held(shards: usize) -> (Embedded, Commits) {
    let (sender, commits) = channel();
    let store = MemoryStore::new();
    let held = Held {
        store: store.clone(),
        commits: sender,
    };
    let server = Embedded::on(config(shards), Box::new(held));
    (server, Commits { store, commits })
}

#[test]
fn requests_wait_for_the_store_in_order_and_hold_up_nobody() {
    for shards in [1, 4] {
        let (server, commits) = held(shards);
        let mut client = Framed::connect(server.tcp);
        client.send(&frame(1, Op::Count, "old"));
        commits.succeed(commits.until("old"));
        assert_eq!(client.reply(), Some((1, Reply::Count(1))));

        // What waits: on this connection, on another, in a datagram.
        let ops = [Op::Count, add(5), Op::Get, Op::Reset, Op::Count];
        for (id, op) in (2..).zip(ops) {
            client.send(&frame(id, op, "new"));
        }
        let waiting = commits.until("new");
        let udp = datagrams(server.udp);
        udp.send(b"\x00new").unwrap();
        // What does not: the same connection, another topic.
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
fn redis_clients_get_their_replies_in_order_beside_a_slow_store() {
    let (server, commits) = held(4);
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

#[test]
fn a_server_that_stops_answers_what_waits_for_the_store() {
    let (server, commits) = held(2);
    let mut client = Framed::connect(server.tcp);
    let udp = datagrams(server.udp);
    client.send(&frame(1, Op::Count, "tcp"));
    let first = commits.until("tcp");
    udp.send(b"\x00udp").unwrap();
    let second = commits.until("udp"); // so it was read
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
fn a_store_that_refuses_ends_what_needs_it_and_nothing_else() {
    let (server, commits) = held(2);
    let mut client = Framed::connect(server.tcp);
    // Until there is a reserve: how fast that is depends on the clock.
    let mut n = 0;
    while commits.ceiling("hot") < u64::from(n) + 10 {
        client.send(&frame(n, Op::Count, "hot"));
        std::thread::scope(|scope| {
            let reply = scope.spawn(|| client.reply());
            while !reply.is_finished() {
                if let Ok(commit) = commits.commits.recv_timeout(Duration::from_millis(1)) {
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
    let (_, answer) = commits.until("new");
    answer.give(Err(StoreError::Fenced));
    let replies: Vec<_> = (0..3).map(|_| client.reply().unwrap()).collect();
    assert_eq!(replies, [(1, STORE), (2, STORE), (3, Reply::Get(Some(0)))]);
    // Below the ceiling, and not a number more.
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
    let info = persistence(server.tcp);
    assert_eq!(info_field(&info, "store_status"), "failed");
    assert!(info_field(&info, "store_failure").contains("another server"));
    assert_eq!(info_field(&info, "aof_last_write_status"), "err");
    let mut redis = connect(server.tcp);
    redis.write_all(b"INCR hot\r\n").unwrap();
    let mut reply = [0; 8];
    redis.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"-MISCONF");
    server.fails_to_end_cleanly();
}

/// Regression: replies that waited for the store passed those that had not, where the connection was at
/// another worker than the topic.
#[test]
fn replies_to_a_topic_keep_their_order_beside_a_store() {
    const REQUESTS: u32 = 600;
    let server = Embedded::on(config(2), Box::new(MemoryStore::new()));
    std::thread::scope(|scope| {
        for worker in [0, 1] {
            let address = server.tcp;
            scope.spawn(move || {
                let mut client = Framed::connect(address);
                client.hello(Some(worker));
                for round in 0..300 {
                    let mut read = Vec::new();
                    for id in 0..REQUESTS {
                        // New ones each round, which wait at first and soon have a reserve.
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

/// A store that does what it is told to with each commit.
struct Faulty(MemoryStore, fn(&MemoryStore, Changes, Answer));

impl Store for Faulty {
    fn last_end(&self) -> LastEnd {
        self.0.last_end()
    }

    fn load(
        &self,
        points: RangeInclusive<u16>,
        found: &mut dyn FnMut(Topic<'_>, Stored),
    ) -> Result<(), StoreError> {
        self.0.load(points, found)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.0.begin()
    }

    fn commit(&mut self, changes: Changes, answer: Answer) {
        self.1(&self.0, changes, answer);
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.0.finish()
    }
}

#[test]
fn a_store_that_panics_or_forgets_leaves_nobody_waiting() {
    let panics: fn(&MemoryStore, Changes, Answer) = |_, _, _| panic!("as it is told to");
    for faulty in [panics, |_, _, _| {}] {
        let server = Embedded::on(config(2), Box::new(Faulty(MemoryStore::new(), faulty)));
        let mut client = Framed::connect(server.tcp);
        for topic in ["a", "b", "c", "a"] {
            assert_eq!(client.ask(Op::Count, topic), STORE);
        }
        let info = persistence(server.tcp);
        assert_eq!(info_field(&info, "store_status"), "failed");
        assert!(info_field(&info, "store_failure").contains("no answer"));
        server.fails_to_end_cleanly();
    }
}

/// It may be durable: a number that is handed out then could be handed out again after a restart.
#[test]
fn nothing_is_counted_behind_a_delete_that_failed() {
    for op in [Op::Delete, Op::Reset] {
        let does_and_denies = |store: &MemoryStore, changes: Changes, answer: Answer| {
            store.apply(&changes);
            let lowers = |change: &Change| {
                change
                    .before()
                    .is_some_and(|before| change.after().is_none_or(|after| after.ceiling < before))
            };
            answer.give(match changes.iter().any(lowers) {
                true => Err(StoreError::Failed),
                false => Ok(()),
            });
        };
        let store = MemoryStore::new();
        let faulty = Faulty(store.clone(), does_and_denies);
        let server = Embedded::on(config(1), Box::new(faulty));
        let mut client = Framed::connect(server.tcp);
        for sum in 1..=100 {
            assert_eq!(client.ask(Op::Count, "a"), Reply::Count(sum));
        }
        assert_eq!(client.ask(op, "a"), STORE);
        assert_eq!(client.ask(Op::Count, "a"), STORE);
        server.fails_to_end_cleanly();
        let server = Embedded::on(config(1), Box::new(store));
        assert_eq!(
            Framed::connect(server.tcp).ask(Op::Count, "a"),
            Reply::Count(1)
        );
    }
}

/// In exact mode nothing is handed out ahead: each sum that is returned is durable itself.
#[test]
fn exact_sums_are_durable_one_by_one() {
    let store = MemoryStore::new();
    let config = Config {
        durability: Durability::Exact,
        shards: Shards::new(2).unwrap(),
        ..config(2)
    };
    let server = Embedded::on(config, Box::new(store.clone()));
    let mut client = Framed::connect(server.tcp);
    for sum in 1..=50 {
        assert_eq!(client.ask(Op::Count, "a"), Reply::Count(sum));
        let mut kept = 0;
        let load = store.load(0..=u16::MAX, &mut |_, stored| kept = stored.sum);
        load.unwrap();
        assert_eq!(kept, sum);
    }
}

/// A file system of its own that only some processes see, where the kernel lets us have one.
struct Mounted {
    shell: Child,
    commands: ChildStdin,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
    _directory: Directory,
}

impl Mounted {
    fn new(name: &str, options: &str) -> Option<Self> {
        let directory = Directory::new(name);
        std::fs::create_dir_all(&directory.0).unwrap();
        let script = r#"
            mount -t tmpfs -o "$OPTIONS" tmpfs "$DIRECTORY" || exit 1
            echo mounted
            while read -r what options; do
                case $what in
                serve) "$SERVER" serve --tcp 127.0.0.1:0 --udp off --shards 2 \
                    --data-dir "$DIRECTORY/data" $options 2>"$DIRECTORY.log" & ;;
                stop) kill -TERM $!; wait $!; echo "ended $?" ;;
                kill) kill -KILL $! 2>/dev/null; wait $!; echo "ended $?" ;;
                refused) "$SERVER" serve --tcp 127.0.0.1:0 --udp off \
                    --data-dir "$DIRECTORY/data" $options 2>"$DIRECTORY.log"; echo "ended $?" ;;
                remount) mount -o "remount,$options" "$DIRECTORY"; echo "remounted $?" ;;
                esac
            done"#;
        let mut shell = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .env("DIRECTORY", &directory.0)
            .env("OPTIONS", options)
            .env("SERVER", env!("CARGO_BIN_EXE_globalcounter"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let commands = shell.stdin.take().unwrap();
        let mut said = BufReader::new(shell.stdout.take().unwrap()).lines();
        let mounted = said.next().is_some_and(|line| line.unwrap() == "mounted");
        let mounted = mounted.then_some(Self {
            shell,
            commands,
            said,
            _directory: directory,
        });
        if mounted.is_none() {
            println!("not tried: no file system can be mounted here");
        }
        mounted
    }

    fn tell(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        self.said.next().unwrap().unwrap()
    }

    fn serve(&mut self) -> Framed {
        let line = self.tell("serve");
        let address = line.strip_prefix("serving tcp://").unwrap();
        Framed::connect(address.split(' ').next().unwrap().parse().unwrap())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(format!("{}.log", self._directory.as_str())).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Or the server would outlive the shell.
        if self.commands.write_all(b"kill\n").is_ok() {
            let _ = self.said.next();
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        let _ = std::fs::remove_file(format!("{}.log", self._directory.as_str()));
    }
}

/// Counts new topics until the store fails; how many there are then.
fn count_until_it_fails(client: &mut Framed) -> u32 {
    let mut topics = 0;
    loop {
        let name = format!("{topics} {}", "long ".repeat(190));
        match client.ask(Op::Count, &name) {
            Reply::Count(1) => topics += 1,
            reply => {
                assert_eq!(reply, STORE);
                return topics;
            }
        }
        assert!(topics < 100_000, "the disk is never full");
    }
}

#[test]
fn a_full_disk_ends_durable_service_and_more_room_begins_it_again() {
    let Some(mut mounted) = Mounted::new("full", "size=400k") else {
        return;
    };
    let mut client = mounted.serve();
    client.ask(add(100), "kept");
    let topics = count_until_it_fails(&mut client);
    assert!(topics > 10, "{topics}");
    assert_eq!(client.ask(Op::Get, "kept"), Reply::Get(Some(100)));
    let address = client.stream.peer_addr().unwrap();
    let info = persistence(address);
    assert_eq!(info_field(&info, "store_status"), "failed");
    let log = mounted.log();
    assert!(
        log.contains("the store failed") && log.contains("No space left"),
        "{log}"
    );
    assert_eq!(mounted.tell("stop"), "ended 1");
    let log = mounted.log();
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("without a clean end") && last.contains("the store failed"),
        "{last}"
    );

    assert_eq!(mounted.tell("remount size=64m"), "remounted 0");
    let mut client = mounted.serve();
    let Reply::Count(sum) = client.ask(Op::Count, "kept") else {
        panic!("a sum expected")
    };
    assert!((101..400).contains(&sum), "{sum}");
    for n in 0..topics {
        let name = format!("{n} {}", "long ".repeat(190));
        assert_eq!(client.ask(Op::Count, &name), Reply::Count(2), "{name}");
    }
    assert_eq!(mounted.tell("stop"), "ended 0");
}

#[test]
fn a_disk_that_takes_no_more_writes_does_the_same() {
    let Some(mut mounted) = Mounted::new("read-only", "size=64m") else {
        return;
    };
    let mut client = mounted.serve();
    for n in 1..=100 {
        assert_eq!(client.ask(Op::Count, "hot"), Reply::Count(n));
    }
    assert_eq!(mounted.tell("stop"), "ended 0");
    // As long as a file is open for writing, it can't be made read-only: so before the start.
    assert_eq!(mounted.tell("remount ro"), "remounted 0");
    assert_eq!(mounted.tell("refused"), "ended 1");
    let log = mounted.log();
    assert!(
        log.lines().count() == 1 && log.contains("Read-only"),
        "{log}"
    );
    assert_eq!(mounted.tell("remount rw"), "remounted 0");
    let mut client = mounted.serve();
    assert_eq!(client.ask(Op::Count, "hot"), Reply::Count(101));
}
