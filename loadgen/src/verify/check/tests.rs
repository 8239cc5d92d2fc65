use std::num::NonZeroU32;

use globalcounter::protocol::Op;

use super::super::history::{MAX_RECORDS, Sent};
use super::*;

const GET: Op = Op::Get;
const COUNT: Op = Op::Count;

fn add(n: u32) -> Op {
    Op::Add(NonZeroU32::new(n).unwrap())
}

const PROMISES: [Promise; 3] = [Promise::Exact, Promise::Failover, Promise::Monotonic];

/// A request of one topic.
fn sent(topic: u32, op: Op, at: u64) -> Sent {
    Sent {
        topic,
        op,
        at,
        server: 0,
    }
}

fn judged(history: History, promise: Promise) -> Result<Verdict, Violation> {
    let names = Names::new(1, 1).unwrap();
    check(
        history,
        &Rules {
            promise,
            names: &names,
            servers: &[],
            run: 0..1_000,
        },
    )
}

/// Checks replies to one topic: (op, sum, sent, replied). The counts without a reply were sent at 0.
fn verdict(replies: &[(Op, u64, u64, u64)], unanswered: usize) -> Result<u64, String> {
    with_unanswered(replies, &vec![(COUNT, 0); unanswered], Promise::Exact)
}

/// Checks replies to one topic, (op, sum, sent, replied), and its requests without a reply, (op, sent).
fn with_unanswered(
    replies: &[(Op, u64, u64, u64)],
    unanswered: &[(Op, u64)],
    promise: Promise,
) -> Result<u64, String> {
    let mut history = History::new(1);
    for &(op, sum, at, replied) in replies {
        history.reply(sent(0, op, at), sum, replied);
    }
    for &(op, at) in unanswered {
        history.unanswered(sent(0, op, at));
        history.unanswered(sent(1, op, at)); // of another topic, so it explains nothing
    }
    match judged(history, promise) {
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
fn a_request_without_a_reply_explains_only_what_it_can_have_taken() {
    let exact =
        |replies: &[_], unanswered: &[_]| with_unanswered(replies, unanswered, Promise::Exact);
    let refused = |replies: &[_], unanswered: &[_], because: &str| {
        let error = exact(replies, unanswered).unwrap_err();
        assert!(error.contains(because), "{error}");
    };
    let gap = [(COUNT, 1, 0, 1), (COUNT, 3, 2, 9)];
    assert_eq!(
        exact(&gap, &[(COUNT, 9)]),
        Ok(1),
        "sent before 3 was answered"
    );
    refused(&gap, &[(COUNT, 10)], "skipped 1 numbers, and only 0");
    refused(&gap, &[(GET, 2)], "skipped 1 numbers, and only 0");
    // It may be applied long after it was sent, or never.
    let late = [(COUNT, 1, 0, 1), (COUNT, 2, 50, 51), (COUNT, 4, 90, 91)];
    assert_eq!(exact(&late, &[(COUNT, 2)]), Ok(1));
    assert_eq!(exact(&late[..2], &[(COUNT, 2)]), Ok(0));
    // It is applied at most once.
    let two = [(COUNT, 1, 0, 1), (COUNT, 3, 2, 9), (COUNT, 5, 10, 11)];
    refused(&two, &[(COUNT, 2)], "skipped 2 numbers, and only 1");
    assert_eq!(exact(&two, &[(COUNT, 2), (COUNT, 11)]), Ok(2));
    // Both were sent too late for the lower gap: there are enough of them, but only for the upper one.
    let lower = [(COUNT, 1, 0, 1), (COUNT, 3, 2, 9), (COUNT, 4, 10, 20)];
    refused(
        &lower,
        &[(COUNT, 15), (COUNT, 15)],
        "skipped 1 numbers, and only 0",
    );
    // A greater sum that was answered early bounds every gap below it.
    let early = [(COUNT, 1, 0, 1), (COUNT, 3, 2, 90), (COUNT, 4, 2, 5)];
    refused(&early, &[(COUNT, 6)], "skipped 1 numbers, and only 0");
    assert_eq!(exact(&early, &[(COUNT, 5)]), Ok(1));
    // A GET shows that the number was taken before it was answered.
    let seen = [(COUNT, 1, 0, 1), (GET, 2, 2, 5), (COUNT, 3, 6, 7)];
    refused(&seen, &[(COUNT, 6)], "skipped 1 numbers, and only 0");
    assert_eq!(exact(&seen, &[(COUNT, 4)]), Ok(1));
    // A range explains as many numbers as it has.
    let range = [(COUNT, 1, 0, 1), (COUNT, 7, 2, 9)];
    assert_eq!(exact(&range, &[(add(5), 2)]), Ok(5));
    refused(&range, &[(add(4), 2)], "skipped 5 numbers, and only 4");
}

#[test]
fn requests_without_a_reply_hide_no_other_fault() {
    let unanswered = [(COUNT, 0), (COUNT, 0), (add(10), 0)];
    for (replies, because) in [
        (
            [(COUNT, 2, 0, 5), (COUNT, 4, 1, 6), (COUNT, 4, 2, 7)],
            "same number",
        ),
        (
            [(add(10), 10, 0, 5), (COUNT, 4, 1, 6), (COUNT, 20, 2, 7)],
            "same number",
        ),
        (
            [(COUNT, 3, 0, 1), (COUNT, 1, 2, 3), (COUNT, 7, 4, 5)],
            "went back",
        ),
        (
            [(COUNT, 5, 0, 1), (GET, 4, 2, 3), (COUNT, 6, 4, 5)],
            "went back",
        ),
        (
            [(add(10), 12, 0, 9), (GET, 5, 0, 9), (COUNT, 14, 0, 9)],
            "within a range",
        ),
    ] {
        for promise in PROMISES {
            let error = with_unanswered(&replies, &unanswered, promise).unwrap_err();
            assert!(error.contains(because), "{error}");
        }
    }
}

#[test]
fn numbers_may_be_skipped_if_the_order_is_only_monotonic() {
    let gap = [(COUNT, 1, 0, 1), (COUNT, 1_000, 2, 3)];
    refused(&gap, "skipped 998 numbers");
    assert_eq!(with_unanswered(&gap, &[], Promise::Monotonic), Ok(998));
}

#[test]
fn a_range_below_zero_is_found() {
    refused(&[(add(10), 9, 0, 1)], "lower than");
    refused(&[(COUNT, 0, 0, 1)], "lower than");
}

#[test]
fn an_appended_run_is_later_than_all_before() {
    let mut history = History::new(1);
    history.reply(sent(0, COUNT, 50), 2, 90);
    let mut later = History::new(1);
    later.reply(sent(0, COUNT, 10), 1, 20);
    history.append(later);
    let error = judged(history, Promise::Exact).unwrap_err();
    assert!(matches!(error.fault, Fault::Backwards(..)), "{error}");
}

/// A request without a reply may be sent after the last reply. The next run, whose clock starts again,
/// may still see it.
#[test]
fn an_appended_run_sees_what_had_no_reply() {
    let mut history = History::new(1);
    history.reply(sent(0, COUNT, 0), 1, 10);
    history.unanswered(sent(0, COUNT, 500));
    let mut later = History::new(1);
    later.reply(sent(0, GET, 3), 2, 4);
    history.append(later);
    let verdict = judged(history, Promise::Exact).unwrap();
    assert_eq!((verdict.replies, verdict.gaps), (2, 1));
}

#[test]
fn requests_without_a_reply_count_towards_the_limit() {
    let mut history = History::new(MAX_RECORDS / 2);
    history.reply(sent(0, COUNT, 0), 1, 10);
    assert!(!history.is_full());
    history.unanswered(sent(0, COUNT, 20));
    assert!(history.is_full());
}
