//! Durable order, from outside: servers under load are ended at random moments, and every reply that
//! any client ever got is held against what comes after.
//!
//! - `kill`: the real binary, SIGKILL or SIGTERM, a data directory that goes from round to round
//! - `power`: a server in this process whose store forgets what was not synced
//! - `topics`: what clients know of each topic; the checker
//! - `load`: clients over TCP and UDP, in each dialect
//!
//! `GLOBALCOUNTER_CRASH_ROUNDS` says how many rounds (a few by default), `GLOBALCOUNTER_TEST_SEED`
//! which ones. That the checker finds what it is there for is tested with stores that lie.

#![allow(clippy::unwrap_used, missing_docs)]

mod kill;
mod load;
mod power;
mod topics;

#[path = "../support/mod.rs"]
mod support;

/// How many rounds a test makes.
fn rounds(default: u64) -> u64 {
    match std::env::var("GLOBALCOUNTER_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().unwrap(),
        Err(_) => default,
    }
}
