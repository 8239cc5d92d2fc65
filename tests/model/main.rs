//! Model checks of how workers reach a shard. loom runs the real files `reach.rs` and `inbox.rs` of
//! `src/server/exchange/sync` through every interleaving (most cases with a bound on preemptions) and
//! every weak-memory outcome of small cases. Stand-ins replace the lock and the channel; they
//! guarantee no more than the real ones do.
//!
//! - `no_batch_is_stranded`: every batch runs exactly once, in its sender's order, and none is left
//!   in the channel
//! - `replies_keep_the_order_of_requests`: a worker writes its replies in the order of its requests
//! - `a_sleeping_owner_is_woken`: no item stays in an inbox while its owner sleeps and is not woken
//! - `…_without_fences`: the same cases fail if the fences are removed, which shows that they can
//!   detect a lost batch or wake-up

#![allow(
    clippy::duplicate_mod,
    clippy::unwrap_used,
    missing_docs,
    dead_code,
    unreachable_pub
)]

mod stand_ins;

/// The files under test, unchanged.
mod real;
/// The same files, in which a fence does nothing.
mod unfenced;

#[test]
fn no_batch_is_stranded() {
    real::cases::no_batch_is_stranded();
}

#[test]
fn no_batch_is_stranded_among_three_workers() {
    real::cases::no_batch_is_stranded_among_three_workers();
}

#[test]
fn replies_keep_the_order_of_requests() {
    real::cases::replies_keep_the_order_of_requests();
}

#[test]
fn a_sleeping_owner_is_woken() {
    real::cases::a_sleeping_owner_is_woken();
}

#[test]
#[should_panic(expected = "a batch was stranded")]
fn a_batch_is_stranded_without_fences() {
    unfenced::cases::no_batch_is_stranded();
}

#[test]
#[should_panic(expected = "the owner sleeps although its inbox is not empty")]
fn a_sleeping_owner_is_not_woken_without_fences() {
    unfenced::cases::a_sleeping_owner_is_woken();
}
