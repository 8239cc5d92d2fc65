use std::num::NonZeroU32;

use globalcounter::protocol::Op;

use super::*;

const GET: Op = Op::Get;
const COUNT: Op = Op::Count;

fn add(n: u32) -> Op {
    Op::Add(NonZeroU32::new(n).unwrap())
}

/// Checks replies to one topic: (op, sum, sent, replied).
fn verdict(replies: &[(Op, u64, u64, u64)], unanswered: u32) -> Result<u64, String> {
    let mut history = History::new(1);
    for &(op, sum, sent, replied) in replies {
        history.reply(0, op, sum, sent, replied);
    }
    for _ in 0..unanswered {
        history.unanswered(0, COUNT);
    }
    let names = Names::new(1, 1).unwrap();
    match check(history, &names) {
        Ok(verdict) => Ok(verdict.gaps),
        Err(violation) => Err(violation.to_string()),
    }
}

fn refused(replies: &[(Op, u64, u64, u64)], because: &str) {
    let error = verdict(replies, 0).unwrap_err();
    assert!(error.contains(because), "{error}");
}

#[test]
fn replies_in_one_order_pass() {
    let counts = [
        (GET, 6, 0, 1),
        (COUNT, 7, 2, 9),
        (COUNT, 8, 3, 4),
        (GET, 8, 10, 11),
    ];
    assert_eq!(verdict(&counts, 0), Ok(0));
    let with_ranges = [(add(10), 10, 0, 5), (COUNT, 11, 1, 9), (add(5), 16, 2, 8)];
    assert_eq!(verdict(&with_ranges, 0), Ok(0));
    assert_eq!(
        verdict(&[(COUNT, 42, 0, 1)], 0),
        Ok(0),
        "it may have been counted before"
    );
    assert_eq!(verdict(&[], 0), Ok(0));
}

#[test]
fn a_duplicate_number_is_found() {
    refused(
        &[(COUNT, 1, 0, 5), (COUNT, 2, 1, 6), (COUNT, 2, 2, 7)],
        "same number",
    );
    refused(&[(add(10), 10, 0, 5), (COUNT, 4, 1, 6)], "same number");
    refused(&[(add(10), 10, 0, 5), (add(10), 15, 1, 6)], "same number");
}

#[test]
fn going_back_is_found() {
    refused(&[(COUNT, 2, 0, 1), (COUNT, 1, 2, 3)], "went back");
    // Another request overlaps both.
    refused(
        &[(COUNT, 3, 0, 1), (COUNT, 2, 0, 9), (COUNT, 1, 2, 3)],
        "went back",
    );
    assert_eq!(
        verdict(&[(COUNT, 2, 0, 2), (COUNT, 1, 2, 3)], 0),
        Ok(0),
        "they overlap"
    );
}

#[test]
fn a_get_that_saw_too_little_or_too_much_is_found() {
    refused(&[(COUNT, 1, 0, 1), (GET, 0, 2, 3)], "went back");
    refused(&[(GET, 1, 0, 1), (COUNT, 1, 2, 3)], "went back");
    refused(
        &[
            (GET, 2, 0, 1),
            (GET, 1, 2, 3),
            (COUNT, 2, 0, 9),
            (COUNT, 1, 0, 9),
        ],
        "went back",
    );
    assert_eq!(
        verdict(&[(GET, 1, 0, 1), (GET, 1, 2, 3), (COUNT, 1, 0, 9)], 0),
        Ok(0)
    );
    // Inside a range that one request took.
    refused(&[(add(10), 10, 0, 9), (GET, 5, 0, 9)], "within a range");
}

#[test]
fn a_gap_is_found_and_a_loss_explains_it() {
    let gap = [(COUNT, 1, 0, 1), (COUNT, 3, 2, 3)];
    refused(&gap, "skipped 1 numbers, and only 0");
    assert_eq!(verdict(&gap, 1), Ok(1));
    refused(
        &[(GET, 0, 0, 1), (COUNT, 1, 2, 3), (GET, 2, 4, 5)],
        "skipped 1",
    );
    refused(&[(GET, 3, 0, 1), (COUNT, 5, 2, 3)], "skipped 1");
}

#[test]
fn a_range_below_zero_is_found() {
    refused(&[(add(10), 9, 0, 1)], "lower than");
    refused(&[(COUNT, 0, 0, 1)], "lower than");
}

#[test]
fn an_appended_run_is_later_than_all_before() {
    let mut history = History::new(1);
    history.reply(0, COUNT, 2, 50, 90);
    let mut later = History::new(1);
    later.reply(0, COUNT, 1, 10, 20);
    history.append(later);
    let names = Names::new(1, 1).unwrap();
    let error = check(history, &names).unwrap_err();
    assert!(matches!(error.fault, Fault::Backwards(..)), "{error}");
}
