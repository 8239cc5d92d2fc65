//! `globalcounter stats` and `globalcounter top`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use globalcounter::protocol::Op;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{command, one_line};
use crate::support::{Directory, Framed, Process, eventually, get};

/// Runs `stats` and returns what it prints.
fn stats(admin: SocketAddr, arguments: &[&str]) -> String {
    let mut stats = command();
    stats.args(["stats", "--admin", &admin.to_string()]);
    let output = stats.args(arguments).assert().success().stderr("");
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

#[test]
fn stats_are_the_figures_of_the_server() {
    let server = Process::with_admin(&["--shards", "2", "--max-topics", "2"]);
    let admin = server.admin.unwrap();
    let mut framed = Framed::connect(server.tcp);
    for topic in ["a", "a", "b", "one too many"] {
        framed.ask(Op::Count, topic);
    }
    let line = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.map(|line| line[name.len()..].trim_start().to_owned())
    };
    // The first second has to pass.
    eventually("there are figures", || {
        stats(admin, &[]).contains("latency")
    });
    let text = stats(admin, &[]);
    let expect = |name: &str, begin: &str| {
        let line = line(&text, name).unwrap_or_else(|| panic!("no {name} in {text}"));
        assert!(line.starts_with(begin), "{name} is {line}");
    };
    let version = env!("CARGO_PKG_VERSION");
    expect("server", &format!("{admin}: ready, version {version}, up "));
    expect("connections", "1 of 65,536 (0.0 %)");
    expect("topics", "2 of 2 (100 %)");
    expect("durability", "none: topics are only in memory");
    expect("shard 1", "");
    expect("trouble", "since the start: 1 requests refused");
    assert_eq!(line(&text, "shard 2"), None);
    assert!(
        line(&text, "requests")
            .unwrap()
            .ends_with("; 4 since the start")
    );
}

#[test]
fn stats_tell_of_durability() {
    let directory = Directory::new("stats");
    let server = Process::with_admin(&["--data-dir", directory.as_str()]);
    let admin = server.admin.unwrap();
    Framed::connect(server.tcp).ask(Op::Count, "a");
    eventually("a commit is told of", || {
        let text = stats(admin, &[]);
        text.contains("monotonic; last commit ") && text.contains(" ago; ")
    });
}

#[test]
fn stats_as_json_are_those_of_the_admin_port() {
    let server = Process::with_admin(&[]);
    let admin = server.admin.unwrap();
    Framed::connect(server.tcp).ask(Op::Count, "a");
    let printed = stats(admin, &["--json"]);
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let (_, served) = get(admin, "/api/stats");
    let served: serde_json::Value = serde_json::from_str(&served).unwrap();
    assert_eq!(printed["submitted"], 1);
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&printed), keys(&served));
}

#[test]
fn stats_without_an_admin_port_are_refused_in_one_line() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    for arguments in [&["stats"][..], &["stats", "--json"]] {
        let mut stats = command();
        stats.args(arguments).args(["--admin", &address]);
        let output = stats.assert().code(1).stdout("");
        let line = one_line(&output.get_output().stderr);
        let expected = format!("cannot reach the admin port at {address}: Connection refused");
        assert!(line.contains(&expected), "{line}");
        assert!(line.contains("is the server running"), "{line}");
    }
    // The port of the server itself speaks no HTTP.
    let server = Process::with(&[]);
    let mut stats = command();
    stats.args(["stats", "--admin", &server.tcp.to_string()]);
    let output = stats.assert().code(1).stdout("");
    one_line(&output.get_output().stderr);
    // The environment turns the admin port of servers off.
    let output = command().arg("stats").assert().code(2).stdout("");
    one_line(&output.get_output().stderr);
}

#[test]
fn top_needs_a_terminal() {
    let mut top = command();
    let output = top
        .args(["top", "--admin", "127.0.0.1:1"])
        .assert()
        .code(1)
        .stdout("");
    let line = one_line(&output.get_output().stderr);
    assert!(line.contains("not a terminal"), "{line}");
    assert!(line.contains("`globalcounter stats`"), "{line}");
}

/// How `top` is ended.
enum End {
    Keys(&'static [u8]),
    Signal(Signal),
}

/// Returns the process that runs `top` for this admin port, not the shell that started it.
fn top_process(admin: &str) -> Pid {
    let expected = ["top", "--admin", admin];
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = arguments.trim_end_matches('\0').split('\0').skip(1);
        arguments.eq(expected).then_some(Pid::from_raw(pid))
    });
    processes.last().expect("top runs")
}

/// Runs `top` in a terminal of its own, ends it once it shows figures, and checks that it succeeds and
/// that the terminal is as before.
fn top_ends_by(end: &End) {
    let server = Process::with_admin(&[]);
    let admin = server.admin.unwrap().to_string();
    let top = format!(
        "stty rows 24 cols 80; '{}' top --admin {admin}; echo exit $?; stty -a",
        env!("CARGO_BIN_EXE_globalcounter"),
    );
    let script = std::process::Command::new("script")
        .args(["--quiet", "--command", &top, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut script) = script else {
        println!("skipped: script (util-linux) is not installed");
        return;
    };
    let shown = Arc::new(Mutex::new(Vec::new()));
    let mut output = script.stdout.take().unwrap();
    let reading = std::thread::spawn({
        let shown = Arc::clone(&shown);
        move || {
            let mut bytes = [0; 4096];
            while let Ok(size @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().extend_from_slice(&bytes[..size]);
            }
        }
    });
    let text = || String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
    eventually("figures are shown", || text().contains("Hot topics"));
    match end {
        End::Keys(keys) => script.stdin.as_mut().unwrap().write_all(keys).unwrap(),
        End::Signal(signal) => kill(top_process(&admin), *signal).unwrap(),
    }
    eventually("it ends", || text().contains("exit "));
    eventually("the terminal's settings are printed", || {
        script.try_wait().unwrap().is_some()
    });
    reading.join().unwrap();
    let text = text();
    let (screen, after) = text.split_once("exit ").unwrap();
    // The alternate screen is left, and the cursor is shown again.
    let last = |sequence: &str| {
        screen
            .rfind(sequence)
            .unwrap_or_else(|| panic!("{screen:?}"))
    };
    assert!(last("\u{1b}[?1049l") > last("\u{1b}[?1049h"));
    assert!(last("\u{1b}[?25h") > last("\u{1b}[?25l"));
    assert!(after.starts_with('0'), "{after}");
    let settings: Vec<&str> = after.split_whitespace().collect();
    for setting in ["icanon", "echo", "isig", "icrnl", "opost"] {
        assert!(settings.contains(&setting), "no {setting} in {after}");
    }
}

#[test]
fn top_ends_with_q_and_restores_the_terminal() {
    top_ends_by(&End::Keys(b"q"));
}

#[test]
fn top_ends_with_control_c_and_restores_the_terminal() {
    top_ends_by(&End::Keys(b"\x03"));
}

#[test]
fn a_signal_ends_top_and_the_terminal_is_restored() {
    top_ends_by(&End::Signal(Signal::SIGTERM));
}
