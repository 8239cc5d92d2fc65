//! The model of reaching a shard: loom runs `src/server/reach.rs` and `inbox.rs`, the very files,
//! through every interleaving and every weak-memory outcome of small cases, over stand-ins for the
//! lock and the channel that promise no more than the real ones do.
//!
//! - `strands_no_batch`: every batch is run once, in its sender's order, and none is left behind
//! - `keeps_the_order_of_replies`: what a worker says of a topic is in the order it asked
//! - `wakes_the_sleeper`: nothing lies in an inbox while its owner sleeps unwoken
//! - `…_without_fences`: the same cases find the loss when the fences are taken out, so they can

#![allow(
    clippy::duplicate_mod,
    clippy::unwrap_used,
    missing_docs,
    dead_code,
    unreachable_pub
)]

mod stand_ins;

/// The files under test, as they are.
mod real;
/// The same files without their fences.
mod unfenced;

#[test]
fn strands_no_batch() {
    real::cases::strands_no_batch();
}

#[test]
fn strands_no_batch_among_three() {
    real::cases::strands_no_batch_among_three();
}

#[test]
fn keeps_the_order_of_replies() {
    real::cases::keeps_the_order_of_replies();
}

#[test]
fn wakes_the_sleeper() {
    real::cases::wakes_the_sleeper();
}

#[test]
#[should_panic(expected = "a batch was stranded")]
fn strands_a_batch_without_fences() {
    unfenced::cases::strands_no_batch();
}

#[test]
#[should_panic(expected = "asleep over a full inbox")]
fn sleeps_on_without_fences() {
    unfenced::cases::wakes_the_sleeper();
}
