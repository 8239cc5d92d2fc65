//! At start the server warns of what will fail or be slow later: one line per limit.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Returns the lines that the real binary logs with these arguments until it is ready and then
/// stops, in memory, with the log filter `filter` in its environment.
fn log(arguments: &[&str], filter: Option<&str>) -> Vec<String> {
    let mut server = Command::new(env!("CARGO_BIN_EXE_globalcounter"))
        .args(["serve", "--in-memory", "--tcp", "127.0.0.1:0"])
        .args(["--udp", "127.0.0.1:0"])
        .args(arguments)
        .env("GLOBALCOUNTER_ADMIN", "off")
        .env_remove("RUST_LOG")
        .envs(filter.map(|filter| ("RUST_LOG", filter)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(server.stderr.take().unwrap());
    let log = thread::spawn(move || log.lines().map(Result::unwrap).collect::<Vec<_>>());
    let mut ready = String::new();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    output.read_line(&mut ready).unwrap();
    assert!(ready.starts_with("serving tcp://"), "{ready}");
    kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM).unwrap();
    assert!(server.wait().unwrap().success());
    log.join().unwrap()
}

/// Returns the warnings that the real binary logs with these arguments.
fn warnings(arguments: &[&str]) -> Vec<String> {
    log(arguments, Some("warn"))
}

#[test]
fn log_lines_can_be_objects_and_their_level_be_chosen() {
    let objects = log(&["--log", "json"], None);
    assert!(!objects.is_empty());
    for line in &objects {
        let object: serde_json::Value = serde_json::from_str(line).expect("an object");
        assert!(
            object["message"].is_string() && object["level"].is_string(),
            "{line}"
        );
    }
    assert!(objects.last().unwrap().contains("shut down"));
    let text = log(&["--log", "text"], None);
    assert!(text.last().unwrap().contains("INFO") && text.last().unwrap().contains("shut down"));
    assert_eq!(log(&["--log-level", "error"], None), [""; 0]);
}

fn count(warnings: &[String], text: &str) -> usize {
    warnings.iter().filter(|line| line.contains(text)).count()
}

/// Returns the largest receive buffer that the kernel grants, in bytes.
fn largest_receive_buffer() -> usize {
    let limit = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
    limit.trim().parse().unwrap()
}

#[test]
fn limits_below_the_settings_are_warned_of_once() {
    // More connections than any kernel lets a process have files open.
    let warnings = warnings(&["--max-connections", "4000000000", "--shards", "64"]);
    assert_eq!(count(&warnings, "limit on open files"), 1, "{warnings:?}");
    let processors = thread::available_parallelism().unwrap().get();
    let crowded = usize::from(processors < 64);
    assert_eq!(
        count(&warnings, "more workers (--shards) than processors"),
        crowded,
        "{warnings:?}"
    );
    let cut = usize::from(largest_receive_buffer() < 4 * 1024 * 1024);
    assert_eq!(
        count(
            &warnings,
            "the UDP receive buffer is smaller than requested"
        ),
        cut,
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 1 + crowded + cut, "{warnings:?}");
}

#[test]
fn sufficient_limits_are_not_warned_of() {
    let warnings = warnings(&["--max-connections", "10", "--shards", "1"]);
    assert_eq!(count(&warnings, "open files"), 0, "{warnings:?}");
    assert_eq!(count(&warnings, "--shards"), 0, "{warnings:?}");
}
