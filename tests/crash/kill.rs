//! The real binary, killed.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::load::{self, DIALECTS};
use crate::rounds;
use crate::support::{Directory, Process, Random, SetOnDrop, info, info_field};
use crate::topics::{Skips, Topics};

const TOPICS: usize = 64;

/// Rounds of load on one directory, each with a server that is ended; `durability` and what it may
/// skip in a crash.
fn crash(name: &str, durability: &str, skips: Skips, mut random: Random, rounds: u64) {
    let directory = Directory::new(name);
    let topics = Topics::new(TOPICS);
    let (mut was_killed, mut skipped_in_all) = (false, 0);
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
        for (number, sum) in load::sums(server.tcp, &topics).into_iter().enumerate() {
            let allowed = if was_killed { skips } else { Skips::None };
            skipped += topics.restarted(number, sum, allowed);
        }
        let info = info(server.tcp, "persistence");
        let told: u64 = info_field(&info, "skipped_numbers").parse().unwrap();
        assert!(told >= skipped, "{skipped} skipped, {told} told");
        assert!(was_killed || told == 0, "{told} skipped after a clean end");
        skipped_in_all += skipped;

        let stop = AtomicBool::new(false);
        let ended = thread::scope(|scope| {
            let _stop = SetOnDrop(&stop);
            for client in 0..6 {
                let seed = random.fork();
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
            server.signal(signal);
            server.wait()
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
