//! Merging counts: counts of one topic that wait to be sent at the same time are sent as one ADD,
//! which costs the server and the network no more than one count. Each caller gets a sum of its
//! own, in the order of the calls. No call waits for others to join it, so merging adds no latency.

use std::collections::HashMap;
use std::iter;
use std::num::NonZeroU32;

use tokio::sync::oneshot;

use super::job::Job;
use crate::client::error::Failure;
use crate::client::outcome::{Outcome, Response};
use crate::protocol::framed::{self, Call, RequestId};
use crate::protocol::{ErrorCode, Op, Reply, Request};
use crate::topic::{TOPIC_LEN_LIMIT, Topic};

/// A frame to send, and who waits for its reply.
pub(super) struct OutgoingFrame {
    pub(super) id: RequestId,
    pub(super) frame: Vec<u8>,
    pub(super) waiters: Waiters,
}

/// Who waits for a reply.
pub(super) enum Waiters {
    One(oneshot::Sender<Outcome>),
    /// Several counts of one topic, in order. Their own frames are kept in case they have to be
    /// sent one by one.
    Counts(Vec<Job>),
}

/// Returns the frames to send for `jobs`, in order.
///
/// A count joins the last earlier call for its topic if that call is a count too. It therefore
/// never overtakes another call for its topic.
pub(super) fn merge(jobs: Vec<Job>) -> impl Iterator<Item = OutgoingFrame> {
    // Most groups have one job, so nothing is allocated for others to join it until they do.
    let mut groups: Vec<(Job, Vec<Job>)> = Vec::with_capacity(jobs.len());
    let numbers = group_numbers(&jobs);
    for (job, number) in jobs.into_iter().zip(numbers) {
        match groups.get_mut(number) {
            Some((_, joined)) => joined.push(job),
            None => groups.push((job, Vec::new())),
        }
    }
    groups.into_iter().map(|(first, joined)| match joined[..] {
        [] => OutgoingFrame::single(first),
        _ => OutgoingFrame::merged(first, joined),
    })
}

/// Returns the group number of each job. Groups are numbered in the order of their first jobs.
fn group_numbers(jobs: &[Job]) -> Vec<usize> {
    // For each topic, the group of its last call; `None` if that call is not a count.
    let mut open: HashMap<&[u8], Option<usize>> = HashMap::new();
    let mut groups = 0;
    let mut numbers = Vec::with_capacity(jobs.len());
    for job in jobs {
        let joins = job.topic().and_then(|(topic, is_count)| {
            let last = open.entry(topic).or_default();
            let joins = last.filter(|_| is_count);
            *last = is_count.then_some(joins.unwrap_or(groups));
            joins
        });
        numbers.push(joins.unwrap_or(groups));
        groups += usize::from(joins.is_none());
    }
    numbers
}

impl OutgoingFrame {
    /// Returns the frame of a call that is sent alone.
    pub(super) fn single(job: Job) -> Self {
        Self {
            id: job.id,
            frame: job.frame,
            waiters: Waiters::One(job.reply),
        }
    }

    /// Returns the ADD for several counts of one topic, with the id of the first.
    fn merged(first: Job, joined: Vec<Job>) -> Self {
        let id = first.id;
        let jobs: Vec<Job> = iter::once(first).chain(joined).collect();
        let n = u32::try_from(jobs.len()).ok().and_then(NonZeroU32::new);
        let (topic, _) = jobs[0].topic().expect("a count has a topic");
        let call = Call::Topic(Request {
            op: Op::Add(n.expect("between 1 and QUEUE_LEN jobs")),
            topic: Topic::new(topic, TOPIC_LEN_LIMIT).expect("a job's topic is valid"),
        });
        let mut frame = Vec::new();
        framed::encode_request(id, &call, &mut frame);
        Self {
            id,
            frame,
            waiters: Waiters::Counts(jobs),
        }
    }
}

impl Waiters {
    /// Delivers the response. Returns the jobs that must be sent one by one instead: if the merged
    /// ADD overflows, the first few of its counts may still fit. Calls that were sent meanwhile are
    /// ahead of them.
    #[must_use]
    pub(super) fn complete(self, response: Response) -> Vec<Job> {
        // A failed send means that the caller has given up.
        match (self, response) {
            (Self::One(caller), response) => drop(caller.send(Ok(response))),
            (Self::Counts(jobs), Response::Reply(Reply::Error(ErrorCode::Overflow))) => {
                return jobs;
            }
            (Self::Counts(jobs), Response::Reply(Reply::Add(last)))
                if last >= jobs.len() as u64 =>
            {
                let first = last - jobs.len() as u64 + 1;
                for (job, sum) in jobs.into_iter().zip(first..=last) {
                    drop(job.reply.send(Ok(Response::Reply(Reply::Count(sum)))));
                }
            }
            (Self::Counts(jobs), response) => {
                for job in jobs {
                    drop(job.reply.send(Ok(response.clone())));
                }
            }
        }
        Vec::new()
    }

    /// Delivers a failure.
    pub(super) fn fail(self, failure: Failure) {
        match self {
            Self::One(caller) => drop(caller.send(Err(failure))),
            Self::Counts(jobs) => {
                for job in jobs {
                    drop(job.reply.send(Err(failure.clone())));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Describes each frame sent for `calls`: `+3 "a"` counts `a` three times.
    fn sent(calls: &[(Op, &str)]) -> Vec<String> {
        let jobs = calls.iter().zip(1..).map(|(&(op, topic), id)| {
            let topic = Topic::new(topic.as_bytes(), 10).unwrap();
            let call = Call::Topic(Request { op, topic });
            Job::new(RequestId(id), &call, oneshot::channel().0)
        });
        let describe = |outgoing: OutgoingFrame| {
            let frame = framed::decode_request(&outgoing.frame, 10);
            let frame = frame.unwrap().unwrap();
            assert_eq!(frame.id, outgoing.id);
            let Ok(Call::Topic(Request { op, topic })) = frame.call else {
                panic!("{frame:?}")
            };
            let id = frame.id.0;
            match op {
                Op::Count => format!("{id}: {topic:?}"),
                Op::Add(n) => format!("{id}: +{n} {topic:?}"),
                other => format!("{id}: {other:?} {topic:?}"),
            }
        };
        merge(jobs.collect()).map(describe).collect()
    }

    #[test]
    fn counts_of_one_topic_are_merged() {
        let count = |topic| (Op::Count, topic);
        assert_eq!(sent(&[count("a")]), [r#"1: "a""#]);
        assert_eq!(
            sent(&["a", "b", "a", "c", "a", "b"].map(count)),
            [r#"1: +3 "a""#, r#"2: +2 "b""#, r#"4: "c""#]
        );
    }

    #[test]
    fn a_count_never_overtakes_another_call_for_its_topic() {
        let calls = [
            (Op::Count, "a"),
            (Op::Count, "a"),
            (Op::Reset, "a"),
            (Op::Count, "b"),
            (Op::Count, "a"),
            (Op::Count, "a"),
            (Op::Count, "b"),
        ];
        assert_eq!(
            sent(&calls),
            [
                r#"1: +2 "a""#,
                r#"3: Reset "a""#,
                r#"4: +2 "b""#,
                r#"5: +2 "a""#
            ]
        );
    }

    fn group(n: usize) -> (Waiters, Vec<oneshot::Receiver<Outcome>>) {
        let call = Call::Topic(Request {
            op: Op::Count,
            topic: Topic::new(b"a", 10).unwrap(),
        });
        let (callers, outcomes): (Vec<_>, _) = (0..n).map(|_| oneshot::channel()).unzip();
        let jobs = callers.into_iter().zip(1..);
        let jobs = jobs.map(|(caller, id)| Job::new(RequestId(id), &call, caller));
        (Waiters::Counts(jobs.collect()), outcomes)
    }

    #[test]
    fn each_caller_gets_its_own_sum_in_order() {
        let (waiters, outcomes) = group(3);
        assert!(waiters.complete(Response::Reply(Reply::Add(12))).is_empty());
        let sums = outcomes.into_iter().map(|outcome| {
            let Ok(Response::Reply(Reply::Count(sum))) = outcome.blocking_recv().unwrap() else {
                panic!("no sum")
            };
            sum
        });
        assert!(sums.eq(10..=12));
    }

    #[test]
    fn after_an_overflow_the_counts_are_retried_one_by_one() {
        let (waiters, _outcomes) = group(3);
        let retries = waiters.complete(Response::Reply(Reply::Error(ErrorCode::Overflow)));
        assert_eq!(retries.len(), 3);
    }

    #[test]
    fn other_errors_go_to_every_caller() {
        let (waiters, outcomes) = group(2);
        let refused = Response::Reply(Reply::Error(ErrorCode::TooManyTopics));
        assert!(waiters.complete(refused).is_empty());
        for outcome in outcomes {
            assert!(matches!(
                outcome.blocking_recv().unwrap(),
                Ok(Response::Reply(Reply::Error(ErrorCode::TooManyTopics)))
            ));
        }
    }
}
