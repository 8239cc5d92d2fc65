//! The options of SET.

use std::num::NonZeroU64;

use super::number::is_negative;
use super::{Arguments, Form, MAX_SUM, Refusal, number};
use crate::protocol::{Condition, Op};

/// Interprets SET: the operation, and the form of its reply. Without NX, XX and GET it is RESET or
/// ADVANCE, as in the other dialects.
pub(super) fn read_set<'a>(
    arguments: &Arguments,
    bytes: &'a [u8],
) -> Result<(Op, Form), Refusal<'a>> {
    let mut when = Condition::Always;
    let mut get = false;
    for i in 3..arguments.len() {
        match arguments.at(i, bytes).to_ascii_uppercase().as_slice() {
            b"NX" if when != Condition::IfPresent => when = Condition::IfAbsent,
            b"XX" if when != Condition::IfAbsent => when = Condition::IfPresent,
            b"GET" => get = true,
            b"KEEPTTL" => {} // topics do not expire, before and after
            b"EX" | b"PX" | b"EXAT" | b"PXAT" => return Err(Refusal::NoExpiry),
            _ => return Err(Refusal::Syntax),
        }
    }
    let to = sum(arguments.at(2, bytes))?;
    Ok(match (when, get, to) {
        (_, true, to) => (Op::Set { to, when }, Form::Before),
        (Condition::Always, false, 0) => (Op::Reset, Form::Reset),
        (Condition::Always, false, floor) => (Op::Advance(floor), Form::Raise(floor)),
        (_, false, to) => (Op::Set { to, when }, Form::Set),
    })
}

/// Parses the sum of SET.
pub(super) fn sum(text: &[u8]) -> Result<u64, Refusal<'static>> {
    match number(text) {
        Some(sum) => Ok(sum),
        None if is_negative(text) => Err(Refusal::OnlyUp),
        None => Err(Refusal::NotAnInteger),
    }
}

/// Parses the increment of INCRBY.
pub(super) fn increment(text: &[u8]) -> Result<NonZeroU64, Refusal<'static>> {
    match sum(text)? {
        n if n > MAX_SUM => Err(Refusal::NotAnInteger),
        n => NonZeroU64::new(n).ok_or(Refusal::OnlyUp),
    }
}
