//! The real binary, ended by a signal at a random moment: while it serves, writes checkpoints and
//! changes segments of its log; while it starts; while it stops; while it imports.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::checker::{Checker, Skips};
use crate::load;
use crate::rounds;
use crate::support::{Directory, Process, Random, info, info_field};

const TOPICS: usize = 64;

/// So little log between two checkpoints that each round has some, and changes segments.
const CHECKPOINT_LOG: &str = "65536";

/// Runs rounds of load on one data directory; each round ends its server. After a kill, topics may
/// skip what `skips` allows.
fn restart_rounds(durability: &str, skips: Skips, mut random: Random, rounds: u64) {
    let directory = Directory::new(durability);
    let checker = Checker::new(TOPICS);
    let (mut was_killed, mut total_skipped) = (false, 0);
    // Whether another process has begun on the directory since the last round, so that it has
    // reported the skipped numbers.
    let mut started_between = false;
    for round in 0..rounds {
        let shards = 1 + random.below(8);
        let mut server = Process::quiet(&[
            "--data-dir",
            directory.as_str(),
            "--durability",
            durability,
            "--shards",
            &shards.to_string(),
            "--checkpoint-log",
            CHECKPOINT_LOG,
        ]);
        let allowed = if was_killed { skips } else { Skips::None };
        let skipped = load::check_restarted(server.tcp, &checker, allowed);
        let info = info(server.tcp, "persistence");
        let reported: u64 = info_field(&info, "skipped_numbers").parse().unwrap();
        assert!(
            reported >= skipped || started_between,
            "{skipped} skipped, {reported} reported"
        );
        assert!(
            was_killed || reported == 0,
            "{reported} reported as skipped after a clean shutdown"
        );
        total_skipped += skipped;

        let addresses = (server.tcp, server.udp);
        let status = load::with_clients(addresses, &checker, &mut random, |random| {
            // The random moment of the end; nothing waits for it.
            thread::sleep(Duration::from_micros(random.below(200_000)));
            was_killed = random.below(5) > 0;
            if !was_killed || random.below(3) == 0 {
                server.signal(Signal::SIGTERM);
            }
            if was_killed {
                // Sometimes while it stops.
                thread::sleep(Duration::from_micros(random.below(3) * random.below(5_000)));
                server.signal(Signal::SIGKILL);
            }
            server.wait()
        });
        was_killed &= status.code() != Some(0);
        let (starts, imports) = (random.below(4) == 0, random.below(4) == 0);
        started_between = starts || imports;
        if starts {
            kill_while_it_starts(&directory, &mut random);
        }
        if imports {
            kill_while_it_imports(&directory, round, &mut random);
        }
        let expected = match was_killed {
            true => status.signal() == Some(Signal::SIGKILL as i32),
            false => status.code() == Some(0),
        };
        assert!(expected, "round {round}: {status}");
        let violations = checker.violations();
        assert!(
            violations.is_empty(),
            "round {round}, {shards} shards: {violations:#?}"
        );
    }
    let replies = checker.replies();
    println!("{durability}: {rounds} rounds, {replies} replies, {total_skipped} numbers skipped");
    assert!(replies > 10 * rounds, "too little load: {replies} replies");
}

/// Starts a server and kills it, mostly before it is ready.
fn kill_while_it_starts(directory: &Directory, random: &mut Random) {
    let mut server = globalcounter()
        .args([
            "serve",
            "--tcp",
            "127.0.0.1:0",
            "--udp",
            "off",
            "--data-dir",
        ])
        .arg(&directory.0)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_micros(random.below(30_000)));
    server.kill().unwrap();
    server.wait().unwrap();
}

/// Imports topics that no client uses, and kills the import.
fn kill_while_it_imports(directory: &Directory, round: u64, random: &mut Random) {
    let mut import = globalcounter()
        .arg("import")
        .arg("--data-dir")
        .arg(&directory.0)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = import.stdin.take().unwrap();
    let lines =
        (0..20_000).map(move |n| format!("{{\"topic\":\"imported {n}\",\"sum\":{}}}\n", round + 1));
    // It ends with an error once the process is killed.
    let writing = thread::spawn(move || {
        let _ = lines
            .into_iter()
            .try_for_each(|line| input.write_all(line.as_bytes()));
    });
    thread::sleep(Duration::from_micros(random.below(100_000)));
    import.kill().unwrap();
    import.wait().unwrap();
    writing.join().unwrap();
}

fn globalcounter() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_globalcounter"));
    command.env("GLOBALCOUNTER_ADMIN", "off");
    command.env("RUST_LOG", "error");
    command
}

#[test]
fn after_a_kill_sums_continue_above_all_returned_sums() {
    let random = Random::seeded(20_261_125);
    restart_rounds("monotonic", Skips::Reserve, random, rounds(15));
}

#[test]
fn after_a_kill_an_exact_server_skips_only_requests_in_flight() {
    let random = Random::seeded(20_261_126);
    restart_rounds("exact", Skips::None, random, rounds(15));
}
