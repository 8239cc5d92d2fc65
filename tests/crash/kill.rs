//! The real binary, ended by a signal at a random moment.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::checker::{Checker, Skips};
use crate::load::{self, DIALECTS};
use crate::rounds;
use crate::support::{Directory, Process, Random, SetOnDrop, info, info_field};

const TOPICS: usize = 64;

/// Runs rounds of load on one data directory; each round ends its server. After a kill, topics may
/// skip what `skips` allows.
fn restart_rounds(durability: &str, skips: Skips, mut random: Random, rounds: u64) {
    let directory = Directory::new(durability);
    let checker = Checker::new(TOPICS);
    let (mut was_killed, mut total_skipped) = (false, 0);
    for round in 0..rounds {
        let shards = 1 + random.below(8);
        let mut server = Process::quiet(&[
            "--data-dir",
            directory.as_str(),
            "--durability",
            durability,
            "--shards",
            &shards.to_string(),
        ]);
        let mut skipped = 0;
        for (index, sum) in load::sums(server.tcp, &checker).into_iter().enumerate() {
            let allowed = if was_killed { skips } else { Skips::None };
            skipped += checker.restarted(index, sum, allowed);
        }
        let info = info(server.tcp, "persistence");
        let reported: u64 = info_field(&info, "skipped_numbers").parse().unwrap();
        assert!(
            reported >= skipped,
            "{skipped} skipped, {reported} reported"
        );
        assert!(
            was_killed || reported == 0,
            "{reported} reported as skipped after a clean shutdown"
        );
        total_skipped += skipped;

        let stop = AtomicBool::new(false);
        let status = thread::scope(|scope| {
            let _stop = SetOnDrop(&stop);
            for client in 0..6 {
                let random = random.fork();
                let (addresses, dialect) = ((server.tcp, server.udp), DIALECTS[client % 3]);
                let (checker, stop) = (&checker, &stop);
                scope.spawn(move || load::run(dialect, addresses, checker, stop, random));
            }
            // The random moment of the end; nothing waits for it.
            thread::sleep(Duration::from_micros(random.below(200_000)));
            was_killed = random.below(5) > 0;
            let signal = if was_killed {
                Signal::SIGKILL
            } else {
                Signal::SIGTERM
            };
            server.signal(signal);
            server.wait()
        });
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
