//! The cases, compiled once for each `reach` and `inbox` beside them.

use loom::sync::Arc;
use loom::thread;

use super::inbox::{Inbox, Owner};
use super::reach::{Backlog, Reach};

/// Who asked, and for the how manieth time.
type Batch = (usize, usize);

/// A shard that notes what it ran, in order.
type Log = Vec<Batch>;

fn note(log: &mut Log, batch: Batch) {
    log.push(batch);
}

/// One worker asks `times` times.
fn ask(reach: &Reach<Log, Batch>, who: usize, times: usize) {
    for time in 0..times {
        let own = (who, time);
        let mut backlog = match reach.try_run(note, |log| note(log, own)) {
            Some(((), backlog)) => backlog,
            None => reach.hand_over(own, note),
        };
        while backlog == Backlog::Left {
            backlog = reach.visit(note);
        }
    }
}

fn check_log(reach: &Reach<Log, Batch>, asked: &[usize]) {
    // Nobody is at it any more: what a last visit would still find was stranded.
    let mut stranded = 0;
    let count = |_: &mut Log, _: Batch| stranded += 1;
    let (log, _) = reach
        .try_run(count, |log| log.clone())
        .expect("the lock is free");
    assert_eq!(stranded, 0, "a batch was stranded");
    for (who, &times) in asked.iter().enumerate() {
        let ran: Vec<usize> = log.iter().filter(|b| b.0 == who).map(|b| b.1).collect();
        assert_eq!(ran, (0..times).collect::<Vec<_>>(), "worker {who}");
    }
    assert_eq!(log.len(), asked.iter().sum::<usize>());
}

fn workers_ask(asked: &'static [usize], preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let reach = Arc::new(Reach::new(Log::new(), 8));
        let others: Vec<_> = (1..asked.len())
            .map(|who| {
                let reach = Arc::clone(&reach);
                thread::spawn(move || ask(&reach, who, asked[who]))
            })
            .collect();
        ask(&reach, 0, asked[0]);
        for other in others {
            other.join().unwrap();
        }
        check_log(&reach, asked);
    });
}

pub(crate) fn strands_no_batch() {
    workers_ask(&[1, 1], 5);
    workers_ask(&[2, 2], 3);
}

pub(crate) fn strands_no_batch_among_three() {
    // It holds with 3 as well, which takes ten times as long.
    workers_ask(&[1, 1, 1], 2);
}

/// A worker's replies as it would write them: what came back first, then its own.
fn ask_and_collect(
    reach: &Reach<u64, usize>,
    inboxes: &[Inbox<u64>; 2],
    who: usize,
    times: usize,
) -> Vec<u64> {
    let count = |sum: &mut u64| {
        *sum += 1;
        *sum
    };
    let run = |sum: &mut u64, from: usize| {
        let reply = count(sum);
        let _ = inboxes[from].put(reply);
    };
    let mut written = Vec::new();
    for _ in 0..times {
        match reach.try_run(run, count) {
            Some((own, _)) => {
                while let Some(reply) = inboxes[who].take() {
                    written.push(reply);
                }
                written.push(own);
            }
            None => {
                let _ = reach.hand_over(who, run);
            }
        }
    }
    written
}

pub(crate) fn keeps_the_order_of_replies() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared = Arc::new((Reach::new(0, 8), [Inbox::new(), Inbox::new()]));
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || ask_and_collect(&shared.0, &shared.1, 1, 2))
        };
        let mut written = [
            ask_and_collect(&shared.0, &shared.1, 0, 2),
            other.join().unwrap(),
        ];
        for (who, written) in written.iter_mut().enumerate() {
            while let Some(reply) = shared.1[who].take() {
                written.push(reply);
            }
            assert!(written.is_sorted(), "worker {who} wrote {written:?}");
        }
        let mut all = written.concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4]);
    });
}

pub(crate) fn wakes_the_sleeper() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let sender = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                let first = inbox.put(1);
                let second = inbox.put(2);
                first == Owner::Asleep || second == Owner::Asleep
            })
        };
        let mut taken = 0;
        while inbox.take().is_some() {
            taken += 1;
        }
        let asleep = inbox.try_sleep();
        let woken = sender.join().unwrap();
        let full = taken < 2;
        assert!(!asleep || !full || woken, "asleep over a full inbox");
    });
}
