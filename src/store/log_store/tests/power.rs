//! Power cuts at every operation on the disk, and the proof that they would be noticed if the store
//! were wrong.

use super::*;
use crate::store::disk::Survives;
use crate::store::fault::{Fault, plant};

/// How many steps a world makes before it is over.
const STEPS: usize = 70;

/// Cuts the power at each operation of a world. Returns what is wrong with what survives, if
/// anything is.
fn cut_everywhere(seed: u64) -> Result<u64, String> {
    let mut whole = World::new(seed);
    let ran = whole.run(STEPS);
    ran.map_err(|error| format!("seed {seed}, without a power cut: {error}"))?;
    let operations = whole.disk.operations();
    for cut in 1..=operations {
        let mut world = World::new(seed);
        world.disk.cut_at(cut);
        let _ = world.run(STEPS);
        if !world.disk.is_cut() {
            return Err(format!(
                "seed {seed}, cut {cut}: the store failed before the cut"
            ));
        }
        let some = |n: u64| Survives::Some((seed * 1_000_003 + cut) * 17 + n);
        let disks = [
            ("nothing", world.disk.after_power_cut(Survives::Nothing)),
            (
                "everything",
                world.disk.after_power_cut(Survives::Everything),
            ),
            ("some", world.disk.after_power_cut(some(1))),
            ("some others", world.disk.after_power_cut(some(2))),
            // Only the process ended: what was not synced is seen, but can still be lost.
            ("the page cache", world.disk.copy()),
        ];
        for (survives, disk) in disks {
            let wrong =
                |what: String| format!("seed {seed}, cut {cut}, {survives} survives: {what}");
            let again = survive(&world, disk, seed ^ cut).map_err(wrong)?;
            // And once more, in the first operations after the restart.
            let disk = again.disk.after_power_cut(some(4));
            survive(&again, disk, 0).map_err(|what| wrong(format!("second cut: {what}")))?;
        }
    }
    Ok(operations)
}

/// Starts a store on `disk`, which is left of the one of `world`, compares it with what is known, and
/// goes on until the power fails again.
fn survive(world: &World, disk: SimulatedDisk, seed: u64) -> Result<World, String> {
    let found = open(&disk).and_then(|store| load(&store));
    let found = found.map_err(|error| format!("refused: {error}"))?;
    if let Some(contradiction) = world.contradicts(&found) {
        return Err(contradiction);
    }
    let mut next = World::new(seed);
    // What was in flight becomes durable only when the store begins to commit.
    for name in world.in_flight.keys() {
        let acknowledged = world.acknowledged.get(name).copied();
        next.in_flight.insert(name.clone(), acknowledged);
    }
    next.acknowledged = found;
    next.disk = disk;
    let mut random = Random::new(seed);
    next.disk
        .cut_at(next.disk.operations() + 1 + random.below(30));
    let _ = next.run(20);
    match next.disk.is_cut() {
        true => Ok(next),
        false => Err("the store failed after the restart".to_owned()),
    }
}

/// Returns the first thing that is wrong in some worlds with a planted fault.
fn first_wrong(fault: Fault) -> Option<String> {
    plant(Some(fault));
    let wrong = (1..=12).find_map(|seed| cut_everywhere(seed).err());
    plant(None);
    println!("{fault:?}: {wrong:?}");
    wrong
}

/// `GLOBALCOUNTER_POWER_WORLDS` is the number of worlds.
#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    let worlds = std::env::var("GLOBALCOUNTER_POWER_WORLDS").map_or(4, |n| n.parse().unwrap());
    let mut cuts = 0;
    for seed in 1..=worlds {
        cuts += cut_everywhere(seed).unwrap();
    }
    println!("{worlds} worlds, {cuts} power cuts, 10 starts each");
    assert!(cuts > 150 * worlds, "{cuts}");
}

#[test]
fn a_commit_that_is_acknowledged_before_it_is_synced_is_noticed() {
    assert!(first_wrong(Fault::NoSync).is_some());
}

#[test]
fn a_manifest_that_is_replaced_before_the_files_is_noticed() {
    assert!(first_wrong(Fault::ManifestBeforeFiles).is_some());
}

#[test]
fn a_checkpoint_that_misses_a_deletion_is_noticed() {
    assert!(first_wrong(Fault::DeletionMissed).is_some());
}

#[test]
fn a_replay_that_starts_one_record_late_is_noticed() {
    assert!(first_wrong(Fault::ReplayOneRecordLate).is_some());
}

#[test]
fn a_record_of_a_killed_server_that_is_not_synced_is_noticed() {
    assert!(first_wrong(Fault::NoSyncAtStart).is_some());
}

#[test]
fn a_segment_that_is_reused_too_early_is_noticed() {
    assert!(first_wrong(Fault::SegmentReusedEarly).is_some());
}

/// A full disk ends the store, and after a restart with more room everything acknowledged is there.
#[test]
fn a_full_disk_loses_nothing_acknowledged() {
    for seed in 1..=20 {
        let mut world = World::new(seed);
        world.run(40).unwrap();
        world.disk.set_full(true);
        let mut failed = false;
        for _ in 0..200 {
            if world.store.is_none() && world.start().is_err() {
                break;
            }
            let before = world.acknowledged.clone();
            if world.commit_some().is_err() {
                assert_eq!(world.acknowledged, before);
                failed = true;
                break;
            }
            // A checkpoint cannot be written, but the log goes on.
            if let Some(copying) = &mut world.copying {
                copying.next = world.names.len();
            }
            world.copying = None;
            let parts = vec![0..=u16::MAX];
            assert!(world.store().begin_checkpoint(parts).is_err());
        }
        assert!(failed, "seed {seed}: the log never needed room");
        world.store = None;
        world.disk.set_full(false);
        let served = served(&world.disk.copy()).unwrap();
        assert_eq!(world.contradicts(&served), None);
    }
}
