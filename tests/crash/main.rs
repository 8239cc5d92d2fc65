//! Durable order, seen from outside: servers under load end at random moments, and every reply that
//! any client ever received is checked against the replies after it.
//!
//! - `kill`: the real binary ends by SIGKILL or SIGTERM, round after round on one data directory
//! - `power`: a server in this process whose store loses changes that were not synced
//! - `checker`: what clients know of each topic, and whether a reply contradicts it
//! - `long`: minutes of load with kills; run with `-- --ignored`
//! - `load`: clients over TCP and UDP, in the framed and the classic dialect
//!
//! `GLOBALCOUNTER_CRASH_ROUNDS` sets the number of rounds (a few by default),
//! `GLOBALCOUNTER_TEST_SEED` the seed. The checker itself is tested with stores that are faulty on
//! purpose.

#![allow(clippy::unwrap_used, missing_docs)]

mod checker;
mod kill;
mod load;
mod long;
mod power;

#[path = "../support/mod.rs"]
mod support;

/// Returns the number of rounds that a test runs.
fn rounds(default: u64) -> u64 {
    match std::env::var("GLOBALCOUNTER_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().unwrap(),
        Err(_) => default,
    }
}
