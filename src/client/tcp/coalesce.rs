//! Counts of one topic that wait to be sent at the same time go as one ADD, which costs the server
//! and the wire what one count does; each caller gets a sum of its own, in the order of the calls.
//! Nothing waits for others to join it, so it costs no latency.

use std::collections::HashMap;
use std::iter;
use std::num::NonZeroU32;

use tokio::sync::oneshot;

use super::job::Job;
use crate::client::error::Failure;
use crate::client::outcome::{Answered, Outcome};
use crate::protocol::framed::{self, Call, RequestId};
use crate::protocol::{ErrorCode, Op, Reply, Request};
use crate::topic::{TOPIC_LEN_LIMIT, Topic};

/// A frame to be sent, and who waits for its reply.
pub(super) struct Departure {
    pub(super) id: RequestId,
    pub(super) frame: Vec<u8>,
    pub(super) callers: Callers,
}

/// Who waits for a reply.
pub(super) enum Callers {
    One(oneshot::Sender<Outcome>),
    /// Several counts of one topic, in order; their own frames are kept in case they have to be sent
    /// one by one.
    Counts(Vec<Job>),
}

/// What becomes of calls that wait to be sent, in order.
///
/// A count joins the last call for its topic before it where that is a count, too: so it passes no
/// other call for its topic.
pub(super) fn departures(jobs: Vec<Job>) -> impl Iterator<Item = Departure> {
    // Most groups have one call: no room is taken for more.
    let mut groups: Vec<(Job, Vec<Job>)> = Vec::with_capacity(jobs.len());
    let numbers = group_numbers(&jobs);
    for (job, number) in jobs.into_iter().zip(numbers) {
        match groups.get_mut(number) {
            Some((_, joined)) => joined.push(job),
            None => groups.push((job, Vec::new())),
        }
    }
    groups.into_iter().map(|(first, joined)| match joined[..] {
        [] => Departure::of_one(first),
        _ => Departure::of_counts(first, joined),
    })
}

/// For each call the number of the group that it goes in, counted by their first calls.
fn group_numbers(jobs: &[Job]) -> Vec<usize> {
    // By topic, the group of the counts that its last call goes with; `None`: that is no count.
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

impl Departure {
    /// A call that goes alone.
    pub(super) fn of_one(job: Job) -> Self {
        Self {
            id: job.id,
            frame: job.frame,
            callers: Callers::One(job.reply),
        }
    }

    /// Counts of one topic, the first and those that joined it.
    fn of_counts(first: Job, joined: Vec<Job>) -> Self {
        let id = first.id;
        let jobs: Vec<Job> = iter::once(first).chain(joined).collect();
        let n = u32::try_from(jobs.len()).ok().and_then(NonZeroU32::new);
        let (topic, _) = jobs[0].topic().expect("a count has a topic");
        let call = Call::Topic(Request {
            op: Op::Add(n.expect("a queue's worth")),
            topic: Topic::new(topic, TOPIC_LEN_LIMIT).expect("it was one before"),
        });
        let mut frame = Vec::new();
        framed::encode_request(id, &call, &mut frame);
        Self {
            id,
            frame,
            callers: Callers::Counts(jobs),
        }
    }
}

impl Callers {
    /// Tells them. Returns the calls that have to be made one by one instead: where all together
    /// would have gone beyond the last number, the first few may not. What was sent meanwhile is
    /// ahead of them then.
    #[must_use]
    pub(super) fn answer(self, answered: Answered) -> Vec<Job> {
        // In each case, whoever gave up meanwhile is not told.
        match (self, answered) {
            (Self::One(caller), answered) => drop(caller.send(Ok(answered))),
            (Self::Counts(jobs), Answered::Reply(Reply::Error(ErrorCode::Overflow))) => {
                return jobs;
            }
            (Self::Counts(jobs), Answered::Reply(Reply::Add(last)))
                if last >= jobs.len() as u64 =>
            {
                let first = last - jobs.len() as u64 + 1;
                for (job, sum) in jobs.into_iter().zip(first..=last) {
                    drop(job.reply.send(Ok(Answered::Reply(Reply::Count(sum)))));
                }
            }
            (Self::Counts(jobs), answered) => {
                for job in jobs {
                    drop(job.reply.send(Ok(answered)));
                }
            }
        }
        Vec::new()
    }

    /// Tells them that there is no reply.
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

    /// What the calls become, as they are told: `+3 a` counts `a` three times.
    fn sent(calls: &[(Op, &str)]) -> Vec<String> {
        let jobs = calls.iter().zip(1..).map(|(&(op, topic), id)| {
            let topic = Topic::new(topic.as_bytes(), 10).unwrap();
            let call = Call::Topic(Request { op, topic });
            Job::new(RequestId(id), &call, oneshot::channel().0)
        });
        let tell = |departure: Departure| {
            let frame = framed::decode_request(&departure.frame, 10);
            let frame = frame.unwrap().unwrap();
            assert_eq!(frame.id, departure.id);
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
        departures(jobs.collect()).map(tell).collect()
    }

    #[test]
    fn counts_of_one_topic_go_together() {
        let count = |topic| (Op::Count, topic);
        assert_eq!(sent(&[count("a")]), [r#"1: "a""#]);
        assert_eq!(
            sent(&["a", "b", "a", "c", "a", "b"].map(count)),
            [r#"1: +3 "a""#, r#"2: +2 "b""#, r#"4: "c""#]
        );
    }

    #[test]
    fn a_count_passes_no_other_call_for_its_topic() {
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

    fn group(n: usize) -> (Callers, Vec<oneshot::Receiver<Outcome>>) {
        let call = Call::Topic(Request {
            op: Op::Count,
            topic: Topic::new(b"a", 10).unwrap(),
        });
        let (callers, outcomes): (Vec<_>, _) = (0..n).map(|_| oneshot::channel()).unzip();
        let jobs = callers.into_iter().zip(1..);
        let jobs = jobs.map(|(caller, id)| Job::new(RequestId(id), &call, caller));
        (Callers::Counts(jobs.collect()), outcomes)
    }

    #[test]
    fn each_caller_gets_its_own_sum_in_order() {
        let (callers, outcomes) = group(3);
        assert!(callers.answer(Answered::Reply(Reply::Add(12))).is_empty());
        let sums = outcomes.into_iter().map(|outcome| {
            let Ok(Answered::Reply(Reply::Count(sum))) = outcome.blocking_recv().unwrap() else {
                panic!("no sum")
            };
            sum
        });
        assert!(sums.eq(10..=12));
    }

    #[test]
    fn an_overflow_of_all_is_no_overflow_of_each() {
        let (callers, _outcomes) = group(3);
        let again = callers.answer(Answered::Reply(Reply::Error(ErrorCode::Overflow)));
        assert_eq!(again.len(), 3);
    }

    #[test]
    fn other_errors_are_everybodys() {
        let (callers, outcomes) = group(2);
        let refused = Answered::Reply(Reply::Error(ErrorCode::TooManyTopics));
        assert!(callers.answer(refused).is_empty());
        for outcome in outcomes {
            assert!(matches!(
                outcome.blocking_recv().unwrap(),
                Ok(Answered::Reply(Reply::Error(ErrorCode::TooManyTopics)))
            ));
        }
    }
}
