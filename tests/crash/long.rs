//! Many minutes of mixed load on one data directory, with kills and checkpoints: everything stays in
//! order, and memory, descriptors and disk use stay flat.

use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::checker::{Checker, Skips};
use crate::load;
use crate::support::{Directory, Process, Random};

const TOPICS: usize = 64;
const KILLS: u32 = 20;

/// What a server used at the end of an interval.
#[derive(Debug, Clone, Copy)]
struct Usage {
    resident: usize,
    descriptors: usize,
    disk: u64,
}

/// Returns the room that the files of a directory take, in bytes.
fn disk_use(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_use(&entry.path()),
            Ok(metadata) => metadata.len(),
            // A file that was just removed.
            Err(_) => 0,
        })
        .sum()
}

/// `GLOBALCOUNTER_LONG_MINUTES` is the length: 10 minutes by default.
#[test]
#[ignore = "takes 10 minutes"]
fn memory_descriptors_and_disk_use_stay_flat() {
    let minutes = std::env::var("GLOBALCOUNTER_LONG_MINUTES");
    let minutes: u64 = minutes.map_or(10, |minutes| minutes.parse().unwrap());
    let interval = Duration::from_secs(60 * minutes) / KILLS;
    for durability in ["monotonic", "exact"] {
        let usages = run(durability, interval / 2);
        let (first, second) = usages.split_at(usages.len() / 2);
        let most = |usages: &[Usage], of: fn(&Usage) -> u64| usages.iter().map(of).max().unwrap();
        for (name, of, slack) in [
            (
                "resident memory",
                (|u| u.resident as u64) as fn(&Usage) -> u64,
                8 << 20,
            ),
            ("descriptors", |u| u.descriptors as u64, 8),
            ("disk use", |u| u.disk, 2 << 20),
        ] {
            let (before, after) = (most(first, of), most(second, of));
            println!("{durability}: {name}: at most {before}, then {after}");
            assert!(
                after <= before + before / 8 + slack,
                "{durability}: {name}: {usages:?}"
            );
        }
    }
}

/// Serves and kills. Returns what the servers used just before each kill.
fn run(durability: &str, interval: Duration) -> Vec<Usage> {
    let directory = Directory::new(&format!("long-{durability}"));
    let checker = Checker::new(TOPICS);
    let mut random = Random::seeded(20_261_201);
    let skips = match durability {
        "exact" => Skips::None,
        _ => Skips::Reserve,
    };
    let mut usages = Vec::new();
    for _ in 0..KILLS {
        let mut server = Process::quiet(&[
            "--data-dir",
            directory.as_str(),
            "--durability",
            durability,
            "--shards",
            "2",
            "--checkpoint-log",
            "1048576",
        ]);
        load::check_restarted(server.tcp, &checker, skips);
        let addresses = (server.tcp, server.udp);
        load::with_clients(addresses, &checker, &mut random, |_| {
            thread::sleep(interval);
            usages.push(Usage {
                resident: server.resident(),
                descriptors: server.descriptors(),
                disk: disk_use(&directory.0),
            });
            server.signal(Signal::SIGKILL);
            server.wait();
        });
        assert_eq!(checker.violations(), [""; 0]);
    }
    println!("{durability}: {} replies", checker.replies());
    usages
}
