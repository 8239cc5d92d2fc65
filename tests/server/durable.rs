//! Durable topics of the real binary: across restarts and kills, and from one data directory to
//! another.

use std::path::Path;
use std::process::Command;

use assert_cmd::Command as AssertCommand;
use globalcounter::protocol::{Op, Reply};
use nix::sys::signal::Signal;

use crate::command::one_line;
use crate::support::{
    Directory, Framed, Process, add, assert_answered, connect, datagrams, exchange, info,
    info_field,
};

impl Directory {
    pub(crate) fn serve(&self, shards: &str) -> Process {
        Process::with(&["--data-dir", self.as_str(), "--shards", shards])
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> AssertCommand {
        let mut command = AssertCommand::new(env!("CARGO_BIN_EXE_globalcounter"));
        command.env("GLOBALCOUNTER_ADMIN", "off");
        command.args(arguments).arg("--data-dir").arg(&self.0);
        command
    }

    /// Returns the lines of `globalcounter topics`, sorted.
    pub(crate) fn topics(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.command(&[&["topics"], arguments].concat()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

/// Returns a command that serves from a data directory.
fn serve_from(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_globalcounter"));
    command.env("GLOBALCOUNTER_ADMIN", "off");
    command.args(["serve", "--tcp", "127.0.0.1:0", "--udp", "off"]);
    command.arg("--data-dir").arg(path);
    command
}

#[test]
fn a_clean_restart_with_any_shard_count_loses_and_skips_nothing() {
    let directory = Directory::new("restart");
    let long = "a name that is longer than a row of the table can hold".repeat(9);
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
        let info = info(server.tcp, "persistence");
        assert_eq!(info_field(&info, "durability"), "monotonic");
        assert_eq!(info_field(&info, "store_status"), "ok");
        assert_eq!(info_field(&info, "skipped_topics"), "0");
        assert_eq!(
            info_field(&info, "loaded_topics"),
            if round > 0 { "7" } else { "0" }
        );
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0));
    }
    assert_eq!(directory.topics(&["--prefix", "ho"]), ["400\thot"]);
    assert_eq!(directory.topics(&["--prefix", "reset"]), ["1\treset"]);
    assert_eq!(directory.topics(&[]).len(), 7);
}

/// RESET, DELETE and ADVANCE are durable before they are answered, over each transport.
#[test]
fn answered_requests_survive_a_kill() {
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
        panic!("a reply to COUNT expected")
    };
    assert!((5_001..7_000).contains(&sum), "{sum}");
}

/// SET with conditions and GETDEL, which only Redis clients have, are durable like the others.
#[test]
fn conditional_sets_are_there_after_a_kill_and_after_a_clean_end() {
    const BELOW: &str = "-ERR counters only go up: the sum is above that\r\n";
    let directory = Directory::new("setnx");
    let mut server = directory.serve("2");
    let mut redis = connect(server.tcp);
    for (line, reply) in [
        ("SETNX created 1000", ":1\r\n"),
        ("SETNX created 5000", ":0\r\n"),
        ("SET zero 0 NX GET", "$-1\r\n"),
        ("SET absent 5 XX", "$-1\r\n"),
        ("INCRBY taken 300", ":300\r\n"),
        ("GETDEL taken", "$3\r\n300\r\n"),
        ("INCRBY reset 400", ":400\r\n"),
        ("GETSET reset 0", "$3\r\n400\r\n"),
        ("SETNX again 7", ":1\r\n"),
        ("GETDEL again", "$1\r\n7\r\n"),
        ("SETNX again 3", ":1\r\n"),
    ] {
        assert_answered(&mut redis, format!("{line}\r\n").as_bytes(), reply);
    }
    for end in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
        server.signal(end);
        server.wait();
        server = directory.serve("3");
        let mut redis = connect(server.tcp);
        for (line, reply) in [
            ("EXISTS created zero reset again", ":4\r\n"),
            ("EXISTS absent taken", ":0\r\n"),
            ("MGET zero reset", "*2\r\n$1\r\n0\r\n$1\r\n0\r\n"),
            ("SETNX created 1", ":0\r\n"),
            ("SET created 999 XX", BELOW),
            ("SET taken 1 XX GET", "$-1\r\n"),
            ("GETDEL taken", "$-1\r\n"),
        ] {
            assert_answered(&mut redis, format!("{line}\r\n").as_bytes(), reply);
        }
        let mut framed = Framed::connect(server.tcp);
        for (topic, floor) in [("created", 1_000), ("again", 3)] {
            let Reply::Get(Some(sum)) = framed.ask(Op::Get, topic) else {
                panic!("{topic} does not exist")
            };
            // A crash may skip what was reserved.
            assert!((floor..floor + 10).contains(&sum), "{topic}: {sum}");
        }
    }
}

#[test]
fn a_second_server_is_refused_and_names_the_first() {
    let directory = Directory::new("second");
    let server = directory.serve("1");
    for arguments in [&["serve", "--tcp", "127.0.0.1:0"][..], &["topics"]] {
        let output = directory.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = one_line(&output.stderr);
        let first = format!("process {}, serving tcp://", server.child.id());
        assert!(
            error.contains(&first) && error.contains("--data-dir"),
            "{error}"
        );
    }
}

#[test]
fn an_unusable_data_directory_is_refused_in_one_line() {
    let directory = Directory::new("none");
    std::fs::write(&directory.0, "a file").unwrap();
    let refused = |path: &str, cause: &str| {
        let output = serve_from(Path::new(path)).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = one_line(&output.stderr);
        assert!(error.contains(path) && error.contains(cause), "{error}");
    };
    refused(directory.as_str(), "cannot create");
    refused("/proc/no-such-place", "cannot create");
    std::fs::remove_file(&directory.0).unwrap();
    drop(directory.serve("1"));
    std::fs::write(directory.0.join("format"), "something").unwrap();
    refused(directory.as_str(), "was not written by globalcounter");
    let missing = Directory::new("missing");
    let output = missing.command(&["topics"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("there is no data directory"), "{error}");
}

/// Root may read everything, so the server then runs as another user.
#[test]
fn an_unreadable_data_directory_is_refused_in_one_line() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;

    let directory =
        Directory(std::env::temp_dir().join(format!("unreadable-{}", std::process::id())));
    drop(directory.serve("1"));
    let is_root = std::fs::metadata(&directory.0).unwrap().uid() == 0;
    let serve = || {
        let mut command = serve_from(&directory.0);
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output()
    };
    let refused = |path: &Path, mode: u32| {
        let before = std::fs::metadata(path).unwrap().permissions();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let output = match serve() {
            Ok(output) => output,
            Err(error) => return println!("skipped: {error}"), // the other user may not run the binary
        };
        std::fs::set_permissions(path, before).unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let error = one_line(&output.stderr);
        assert!(error.contains(directory.as_str()), "{error}");
        assert!(error.contains("Permission denied"), "{error}");
    };
    if is_root {
        for entry in [".", "lock", "format", "manifest", "log", "checkpoint"] {
            chown(directory.0.join(entry), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    refused(&directory.0, 0o000);
    refused(&directory.0.join("format"), 0o000);
    refused(&directory.0.join("log"), 0o000);
}

#[test]
fn export_and_import_move_topics_and_never_lower_them() {
    let [one, other] = ["export", "import"].map(Directory::new);
    let server = one.serve("2");
    let mut client = Framed::connect(server.tcp);
    for (n, topic) in (1..).zip(["a", "b", "tab\tand \"quotes\"", "π"]) {
        client.ask(add(n * 10), topic);
    }
    drop(server); // SIGKILL: export gives the sums that a server would continue above
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
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), stderr)
    };
    let (code, stderr) = import("{\"topic\":\"a\",\"sum\":7}\n\n{\"topic\":\"b\",\"sum\":500}\n");
    assert_eq!(
        (code, stderr.as_str()),
        (Some(0), "2 topics added or raised, 3 lines read\n")
    );
    let (code, stderr) = import(&text);
    assert_eq!(
        (code, stderr.as_str()),
        (Some(0), "3 topics added or raised, 4 lines read\n")
    );
    let (code, stderr) =
        import("{\"topic\":\"a\",\"sum\":11}\nnonsense\n{\"topic\":\"a\",\"sum\":99}\n");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("line 2 is not a topic"), "{stderr}");
    let topics = other.topics(&["--json"]);
    assert_eq!(topics[0], r#"{"topic":"a","sum":11}"#);
    assert_eq!(topics[1], r#"{"topic":"b","sum":500}"#);
    assert_eq!(
        other.topics(&["--prefix", "tab"]),
        ["30\ttab\\tand \\\"quotes\\\""]
    );
    assert_eq!(topics.len(), 4);

    let server = other.serve("5");
    assert_eq!(
        info_field(&info(server.tcp, "persistence"), "skipped_topics"),
        "0"
    );
    assert_eq!(
        Framed::connect(server.tcp).ask(Op::Count, "π"),
        Reply::Count(41)
    );
}
