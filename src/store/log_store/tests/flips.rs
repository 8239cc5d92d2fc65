//! Damaged files: each is refused, or makes no difference.

use super::*;
use crate::store::fault::{Fault, plant};

/// Creates a disk with some history: a checkpoint, and a log of several segments behind it.
fn some_history(clean: bool) -> (SimulatedDisk, Ceilings) {
    let mut world = World::new(7);
    world.start().unwrap();
    for _ in 0..60 {
        world.commit_some().unwrap();
    }
    world.begin_checkpoint().unwrap();
    while world.copying.is_some() {
        world.commit_some().unwrap();
        world.copy_some().unwrap();
    }
    for _ in 0..15 {
        world.commit_some().unwrap();
    }
    match clean {
        true => world.end_cleanly().unwrap(),
        false => world.store().idle(),
    }
    (world.disk.copy(), world.acknowledged)
}

/// Flips bits of each file. Returns how many were refused and how many made no difference, or the
/// first one that changed what is served. `GLOBALCOUNTER_FLIPS` is the number of bits per file.
fn flip_everywhere(clean: bool) -> Result<(usize, usize), String> {
    let flips = std::env::var("GLOBALCOUNTER_FLIPS").map_or(400, |flips| flips.parse().unwrap());
    let (disk, known) = some_history(clean);
    let (mut refused, mut harmless) = (0, 0);
    for file in disk.files() {
        let bits = 8 * disk.copy_of(&file).len();
        let step = (bits / flips).max(1) | 1;
        for bit in (0..bits).step_by(step) {
            let damaged = disk.copy();
            damaged.change(&file, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            // Start twice: what was refused once must be refused again.
            for _ in 0..2 {
                match served(&damaged.copy()) {
                    Ok(served) if served == known => harmless += 1,
                    Ok(_) => return Err(format!("bit {bit} of {}", file.display())),
                    Err(error) => {
                        assert!(error.to_string().contains("/data"), "{error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    println!("clean: {clean}: {refused} refused, {harmless} harmless");
    Ok((refused, harmless))
}

#[test]
fn a_flipped_bit_is_never_served() {
    for clean in [true, false] {
        let (refused, harmless) = flip_everywhere(clean).unwrap();
        assert!(refused > 1_000, "{refused} refused, {harmless} harmless");
    }
}

#[test]
fn damage_that_is_taken_for_a_torn_commit_is_noticed() {
    plant(Some(Fault::DamageTakenForTear));
    let flipped = flip_everywhere(false);
    plant(None);
    assert!(flipped.is_err());
}

/// Removing or truncating a file is noticed, unless nothing needs the file.
#[test]
fn a_missing_or_short_file_is_never_served() {
    for clean in [true, false] {
        let (disk, known) = some_history(clean);
        let mut refused = 0;
        for file in disk.files() {
            for keep in [0, 1, 511, 600, 1_024] {
                let damaged = disk.copy();
                damaged.change(&file, |bytes| bytes.truncate(keep));
                match served(&damaged) {
                    Ok(served) => assert_eq!(served, known, "{} cut at {keep}", file.display()),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused >= 10, "{refused}");
    }
}

/// Two directories go on from the same copy. A segment of one is not accepted in the other, although
/// its records have the expected numbers and valid checksums.
fn mix_histories() -> Result<Ceilings, StoreError> {
    let set = |world: &mut World, names: std::ops::Range<usize>, ceiling: u64| {
        for name in names {
            let name = world.names[name].clone();
            world.commit([(name, Some(ceiling))].into()).unwrap();
        }
    };
    let mut world = World::new(3);
    world.start().unwrap();
    set(&mut world, 0..3, 10);
    let mut other = World::new(4);
    other.disk = world.disk.copy();
    other.acknowledged = world.acknowledged.clone();
    world.store = None;
    world.start().unwrap();
    other.start().unwrap();
    // Records of the same number, up to the second segment.
    set(&mut world, 0..8, 100);
    set(&mut other, 0..8, 200);
    let second = in_directory("log/1");
    assert!(other.disk.files().contains(&second));
    let bytes = other.disk.copy_of(&second);
    let mixed = world.disk.copy();
    mixed.change(&second, |segment| *segment = bytes);
    served(&mixed)
}

#[test]
fn a_segment_of_another_history_is_refused() {
    let refused = mix_histories().unwrap_err().to_string();
    assert!(refused.contains("damaged or missing"), "{refused}");
}

#[test]
fn a_chain_that_is_not_checked_is_noticed() {
    plant(Some(Fault::ChainNotChecked));
    let mixed = mix_histories();
    plant(None);
    assert!(mixed.is_ok_and(|served| served.values().any(|&ceiling| ceiling == 200)));
}
