//! `loadgen tune`: real servers, for as short as possible. The figures mean nothing.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{loadgen, until};

/// Returns this project's server. The tests of the workspace build it; those of this package alone do
/// not.
fn server() -> Option<PathBuf> {
    let server = Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("globalcounter");
    if server.is_file() {
        return Some(server);
    }
    eprintln!("skipped: no globalcounter beside loadgen; build it with cargo build --workspace");
    None
}

/// A new path for the files of a test.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tune-test-{name}-{}", std::process::id()))
}

/// Runs `loadgen tune` with the shortest measurements, and returns its table and its JSON.
fn tune(name: &str, flags: &str) -> (String, Value) {
    let json = path(name);
    let ended = loadgen(&format!(
        "tune --topics 50 --duration 0.2 --json {} {flags}",
        json.display()
    ));
    let table = ended.measured().to_owned();
    let report = std::fs::read(&json).unwrap();
    std::fs::remove_file(&json).unwrap();
    (table, serde_json::from_slice(&report).unwrap())
}

/// Asserts that a server starts by this command line and says that it serves.
fn assert_starts(server: &Path, command: &str) {
    let flags = command.strip_prefix("globalcounter ").unwrap();
    let mut child = Command::new(server)
        .args(flags.split(' '))
        .args(["--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"])
        .args(["--admin", "off"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("serving tcp://"), "{command}: {line:?}");
}

#[test]
fn a_setting_is_recommended_for_each_goal() {
    let Some(server) = server() else { return };
    let html = path("page.html");
    let flags = format!("--rounds 2 --shards-list 2,1 --html {}", html.display());
    let (table, report) = tune("goals", &flags);

    let settings = report["settings"].as_array().unwrap();
    let flags_of = |setting: &Value| (setting["shards"].as_u64(), setting["pin"].as_bool());
    let expected = [(1, false), (1, true), (2, false), (2, true)];
    let expected = expected.map(|(shards, pin)| (Some(shards), Some(pin)));
    assert!(settings.iter().map(flags_of).eq(expected), "{table}");
    for setting in settings {
        assert!(setting["failed"].is_null(), "{setting}");
        assert_eq!(setting["steering"], "auto");
        for samples in ["closed", "open"] {
            let samples = setting[samples].as_array().unwrap();
            assert_eq!(samples.len(), 2, "{setting}");
            for figure in ["rate", "nanos_per_request", "cores", "p50", "p99"] {
                assert!(
                    samples[0][figure].as_f64().unwrap() > 0.0,
                    "{figure}: {setting}"
                );
            }
        }
        assert!(setting["medians"]["throughput"].as_f64().unwrap() > 0.0);
    }
    assert!(report["rate"].as_f64().unwrap() >= 1.0);
    assert_eq!(report["rate_given"], false);
    assert!(report["other_cores"].as_f64().unwrap() >= 0.0);

    let recommendations = report["recommendations"].as_array().unwrap();
    let goals = recommendations
        .iter()
        .map(|found| found["goal"].as_str().unwrap());
    assert!(goals.eq(["throughput", "p99", "cpu_time"]), "{table}");
    for found in recommendations {
        // Two rounds are too few for anything but the simplest setting. On a busy machine it may be the
        // simplest of those that sustained the rate.
        let sustains = |setting: &Value| setting["sustained"] == true;
        let simplest = match found["goal"].as_str().unwrap() {
            "throughput" => 0,
            _ => settings.iter().position(sustains).unwrap_or(0),
        };
        assert_eq!(found["setting"], simplest, "{table}");
        let certainty = found["certainty"].as_str().unwrap();
        assert!(
            ["too_few_rounds", "only_one"].contains(&certainty),
            "{found}"
        );
        assert!(found["comparison"]["ratio"]["interval"].is_null());
        let command = found["command"].as_str().unwrap();
        assert_eq!(found["command"], settings[simplest]["command"]);
        assert!(table.contains(command), "{table}");
        assert!(table.contains(found["answer"].as_str().unwrap()), "{table}");
    }
    for setting in settings {
        assert_starts(&server, setting["command"].as_str().unwrap());
    }

    let page = std::fs::read_to_string(&html).unwrap();
    std::fs::remove_file(&html).unwrap();
    assert!(page.starts_with("<!doctype html>"));
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(page.contains("globalcounter serve --shards 1 --in-memory"));
    assert!(!page.contains("{{") && !page.contains("NaN"), "{page}");
}

#[test]
fn steering_is_tried_over_udp_and_the_rate_is_kept() {
    if server().is_none() {
        return;
    }
    let flags = "--target classic-udp --shards-list 2 --rate 500 --rounds 1 --durability monotonic";
    let (table, report) = tune("steering", flags);
    let settings = report["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 4, "{table}");
    assert_eq!(settings[0]["steering"], "auto");
    assert_ne!(settings[1]["steering"], "auto");
    assert_eq!(report["rate"], 500.0);
    assert_eq!(report["rate_given"], true);
    assert_eq!(report["storage"], "--durability monotonic");
    assert!(table.contains("p99 at 500/s"), "{table}");
}

#[test]
fn a_setting_that_fails_is_not_recommended() {
    if server().is_none() {
        return;
    }
    // A connection for each shard is needed, so two shards fail.
    let flags = "--shards-list 1,2 --shard-aware --connections 1 --rounds 1";
    let (table, report) = tune("failing", flags);
    let failed = |setting: usize| report["settings"][setting]["failed"].as_str();
    assert_eq!(failed(0), None, "{table}");
    assert!(failed(2).unwrap().contains("shards"), "{table}");
    for found in report["recommendations"].as_array().unwrap() {
        assert!(found["setting"].as_u64().unwrap() < 2, "{found}");
    }
}

#[test]
fn a_server_that_does_not_start_is_reported() {
    let ended = loadgen("tune --rounds 1 --duration 0.1 --server-bin /bin/true");
    assert_eq!(ended.code, 1, "{ended:?}");
    let because = "no setting could be measured: 1 shard: it did not start";
    assert!(ended.err.contains(because), "{ended:?}");
}

/// A tuning that runs until it is interrupted; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns how many processes have `words` in their command line.
fn processes_with(words: &str) -> usize {
    let processes = procfs::process::all_processes().unwrap().flatten();
    let has_words = |process: &procfs::process::Process| {
        let line = process.cmdline().unwrap_or_default();
        line.iter().any(|argument| argument.contains(words))
    };
    processes.filter(has_words).count()
}

#[test]
fn an_interrupt_stops_the_server_and_removes_its_files() {
    if server().is_none() {
        return;
    }
    let folder = path("interrupted");
    std::fs::create_dir(&folder).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["tune", "--durability", "monotonic", "--duration", "60"])
        .env("TMPDIR", &folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    // The server's data directory is in it.
    let words = folder.to_str().unwrap();
    until(|| processes_with(words) > 0);
    kill(Pid::from_raw(running.0.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(130));
    until(|| processes_with(words) == 0);
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::remove_dir(&folder).unwrap();
}
