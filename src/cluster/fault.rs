//! Faults that tests plant in the rules of docs/cluster.md, to show that the simulation would find
//! them. Outside of tests no fault can be planted.

/// A fault that a test can plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(test),
    allow(
        dead_code,
        reason = "some are planted in the simulation's model of a server"
    )
)]
pub(super) enum Fault {
    /// Rule 2: the deadline counts from the arrival of the answer.
    DeadlineFromArrival,
    /// Rule 3: a renewal counts without a look at the leader.
    RenewalByAnyLeader,
    /// Rule 4: the clock is read before a batch is applied.
    ClockBeforeApply,
    /// Rule 4: the deadline is read after a batch was applied.
    DeadlineAfterApply,
    /// Rule 5: a node that gets a range again goes on with its old memory.
    MemoryKept,
    /// Rule 5: a range is served before it is loaded.
    ServedBeforeLoaded,
    /// Rule 6: a commit does not compare the epoch.
    CommitUnguarded,
    /// Rule 7: a range is served again at an epoch with a write of unknown outcome.
    UnknownOutcomeIgnored,
    /// Rule 8: a range is served from its memory after a hand-over failed.
    FrozenRangeThaws,
    /// A request that was forwarded is forwarded again.
    ForwardedTwice,
    /// A request that was held while its range moved is applied twice.
    HeldAppliedTwice,
    /// Nodes do not agree on the owner of a range.
    PlacementDiffers,
}

planting!(Fault);
