//! The real binary, killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::{self, DIALECTS};
use crate::topics::{Skips, Topics};
use crate::{Random, rounds};

const TOPICS: usize = 64;

/// A data directory, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

struct Server {
    child: Child,
    tcp: SocketAddr,
    udp: SocketAddr,
}

impl Server {
    fn start(directory: &Path, durability: &str, shards: u64) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_globalcounter"))
            .args(["serve", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0"])
            .args(["--durability", durability, "--shards", &shards.to_string()])
            .arg("--data-dir")
            .arg(directory)
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |transport: &str| -> SocketAddr {
            let line = lines.next().expect("it starts").unwrap();
            let rest = line.strip_prefix(&format!("serving {transport}://"));
            rest.unwrap().split(' ').next().unwrap().parse().unwrap()
        };
        Self {
            tcp: address("tcp"),
            udp: address("udp"),
            child,
        }
    }

    fn end(mut self, signal: Signal) -> ExitStatus {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.child.wait().unwrap()
    }
}

/// Rounds of load on one directory, each with a server that is ended; `durability` and what it may
/// skip in a crash.
fn crash(name: &str, durability: &str, skips: Skips, mut random: Random, rounds: u64) {
    let directory = Directory::new(name);
    let topics = Topics::new(TOPICS);
    let (mut was_killed, mut skipped_in_all) = (false, 0);
    for round in 0..rounds {
        let shards = 1 + random.below(8);
        let server = Server::start(&directory.0, durability, shards);
        let mut skipped = 0;
        for (number, sum) in load::sums(server.tcp, &topics).into_iter().enumerate() {
            let allowed = if was_killed { skips } else { Skips::None };
            skipped += topics.restarted(number, sum, allowed);
        }
        let told: u64 = load::info(server.tcp, "skipped_numbers").parse().unwrap();
        assert!(told >= skipped, "{skipped} skipped, {told} told");
        assert!(was_killed || told == 0, "{told} skipped after a clean end");
        skipped_in_all += skipped;

        let stop = AtomicBool::new(false);
        let ended = thread::scope(|scope| {
            for client in 0..6 {
                let seed = Random(random.next());
                let (addresses, dialect) = ((server.tcp, server.udp), DIALECTS[client % 3]);
                let (topics, stop) = (&topics, &stop);
                scope.spawn(move || load::run(dialect, addresses, topics, stop, seed));
            }
            thread::sleep(Duration::from_micros(random.below(200_000)));
            was_killed = random.below(5) > 0;
            let signal = if was_killed {
                Signal::SIGKILL
            } else {
                Signal::SIGTERM
            };
            let ended = server.end(signal);
            stop.store(true, Ordering::Relaxed);
            ended
        });
        let expected = match was_killed {
            true => ended.signal() == Some(Signal::SIGKILL as i32),
            false => ended.code() == Some(0),
        };
        assert!(expected, "round {round}: {ended}");
        let broken = topics.broken();
        assert!(
            broken.is_empty(),
            "round {round}, {shards} shards: {broken:#?}"
        );
    }
    let replies = topics.replies();
    println!("{durability}: {rounds} rounds, {replies} replies, {skipped_in_all} numbers skipped");
    assert!(replies > 10 * rounds, "hardly any load");
}

#[test]
fn a_killed_server_goes_on_above_all_that_it_returned() {
    let random = Random::seeded(20_261_125);
    crash("monotonic", "monotonic", Skips::Reserve, random, rounds(15));
}

#[test]
fn an_exact_server_skips_only_what_was_under_way() {
    let random = Random::seeded(20_261_126);
    crash("exact", "exact", Skips::None, random, rounds(15));
}
