//! `--verify`: records every reply of a run and checks their order afterwards. Knows no sockets.

mod check;
mod failures;
mod history;
mod silence;
mod violation;

pub(crate) use check::{Rules, Verdict, check};
pub(crate) use history::{History, MAX_RECORDS, RECORD_LEN, Sent};
