//! `--verify`: records every reply of a run and checks their order afterwards. Knows no sockets.

mod check;
mod history;

pub(crate) use check::{Verdict, check};
pub(crate) use history::{History, MAX_RECORDS, RECORD_LEN};
