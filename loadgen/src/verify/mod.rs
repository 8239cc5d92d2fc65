//! Proof that the order holds: keeps what every reply said, and checks it afterwards.

mod check;
mod history;

pub(crate) use check::{Verdict, check};
pub(crate) use history::{History, RECORD_LEN, RECORDS};
