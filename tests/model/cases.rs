//! The cases, compiled once against the real `reach` and `inbox` and once against the unfenced
//! ones.

use loom::sync::Arc;
use loom::thread;

use super::inbox::{Inbox, Owner};
use super::reach::{Backlog, Reach};

/// A batch: its sender, and how many batches that sender sent before it.
type Batch = (usize, usize);

/// A shard that records the batches it ran, in order.
type Log = Vec<Batch>;

fn record(log: &mut Log, batch: Batch) {
    log.push(batch);
}

/// Sends `count` batches as one worker does.
fn send_batches(reach: &Reach<Log, Batch>, worker: usize, count: usize) {
    for n in 0..count {
        let own = (worker, n);
        let mut backlog = match reach.try_run(record, |log| record(log, own)) {
            Some(((), backlog)) => backlog,
            None => reach.hand_over(own, record),
        };
        while backlog == Backlog::Left {
            backlog = reach.visit(record);
        }
    }
}

/// Checks that all batches ran, in order; `counts` says how many each worker sent.
fn check_log(reach: &Reach<Log, Batch>, counts: &[usize]) {
    // All workers are done: a batch that is still in the channel now was stranded.
    let mut stranded = 0;
    let count = |_: &mut Log, _: Batch| stranded += 1;
    let (log, _) = reach
        .try_run(count, |log| log.clone())
        .expect("the lock is free");
    assert_eq!(stranded, 0, "a batch was stranded");
    for (worker, &count) in counts.iter().enumerate() {
        let ran: Vec<usize> = log.iter().filter(|b| b.0 == worker).map(|b| b.1).collect();
        assert_eq!(ran, (0..count).collect::<Vec<_>>(), "worker {worker}");
    }
    assert_eq!(log.len(), counts.iter().sum::<usize>());
}

/// Models one worker for each entry of `counts`, which sends that many batches.
fn check_workers(counts: &'static [usize], preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let reach = Arc::new(Reach::new(Log::new(), 8));
        let others: Vec<_> = (1..counts.len())
            .map(|worker| {
                let reach = Arc::clone(&reach);
                thread::spawn(move || send_batches(&reach, worker, counts[worker]))
            })
            .collect();
        send_batches(&reach, 0, counts[0]);
        for other in others {
            other.join().unwrap();
        }
        check_log(&reach, counts);
    });
}

pub(crate) fn no_batch_is_stranded() {
    check_workers(&[1, 1], 5);
    check_workers(&[2, 2], 3);
}

pub(crate) fn no_batch_is_stranded_among_three_workers() {
    // It also passes with 3 preemptions, which takes ten times as long.
    check_workers(&[1, 1, 1], 2);
}

/// Sends `times` requests as one worker does, and returns the replies in the order in which it
/// writes them: first those from its inbox, then the one it got by running the shard itself.
fn send_and_write(
    reach: &Reach<u64, usize>,
    inboxes: &[Inbox<u64>; 2],
    worker: usize,
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
                while let Some(reply) = inboxes[worker].take() {
                    written.push(reply);
                }
                written.push(own);
            }
            None => {
                let _ = reach.hand_over(worker, run);
            }
        }
    }
    written
}

pub(crate) fn replies_keep_the_order_of_requests() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared = Arc::new((Reach::new(0, 8), [Inbox::new(), Inbox::new()]));
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || send_and_write(&shared.0, &shared.1, 1, 2))
        };
        let mut written = [
            send_and_write(&shared.0, &shared.1, 0, 2),
            other.join().unwrap(),
        ];
        for (worker, written) in written.iter_mut().enumerate() {
            while let Some(reply) = shared.1[worker].take() {
                written.push(reply);
            }
            assert!(written.is_sorted(), "worker {worker} wrote {written:?}");
        }
        let mut all = written.concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4]);
    });
}

pub(crate) fn a_sleeping_owner_is_woken() {
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
        let has_items = taken < 2;
        assert!(
            !asleep || !has_items || woken,
            "the owner sleeps although its inbox is not empty"
        );
    });
}
