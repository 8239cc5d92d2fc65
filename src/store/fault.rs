//! Faults that tests plant in the store, to show that they would find them. Outside of tests no
//! fault can be planted.

/// A fault that a test can plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A commit is reported before it is synced.
    NoSync,
    /// A record need not name the checksum of the one before.
    ChainNotChecked,
    /// A whole record behind a damaged one is not looked for.
    DamageTakenForTear,
    /// The manifest is replaced before the files of its checkpoint are synced.
    ManifestBeforeFiles,
    /// A topic that was deleted after it was copied to a checkpoint comes back.
    DeletionMissed,
    /// The first record behind a checkpoint is not applied.
    ReplayOneRecordLate,
    /// A server does not sync the record that a killed one wrote, before it writes another.
    NoSyncAtStart,
    /// Segments are used again although the checkpoint that replaces them is not valid yet.
    SegmentReusedEarly,
}

planting!(Fault);
