//! The longest times in which nothing was answered: how long a failure was felt.

use std::ops::Range;

use serde::Serialize;

use super::history::Record;

/// The resolution for all topics together, in nanoseconds.
const RESOLUTION: u64 = 1_000_000;

/// The longest times without an answer, in microseconds. A refusal is no answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Silence {
    /// No server answered.
    pub(crate) all: f64,
    /// Each server, in the order of their numbers.
    pub(crate) by_server: Vec<f64>,
    /// Requests for one topic: the median over the topics that were answered at all.
    pub(crate) topic_p50: f64,
    /// The topic with the longest time.
    pub(crate) topic_max: f64,
}

impl Silence {
    /// Measures the time between the answers of a run.
    pub(super) fn of(
        records: &[Record],
        servers: usize,
        run: &Range<u64>,
        mut topics: Vec<u64>,
    ) -> Self {
        topics.sort_unstable();
        let by_server = (0..servers).map(|server| {
            let of_server = |record: &&Record| usize::from(record.server) == server;
            micros(longest_of_all(records.iter().filter(of_server), run))
        });
        Self {
            all: micros(longest_of_all(records.iter(), run)),
            by_server: by_server.collect(),
            topic_p50: micros(topics.get(topics.len() / 2).copied().unwrap_or(0)),
            topic_max: micros(topics.last().copied().unwrap_or(0)),
        }
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// Returns the longest time within `run` in which none of one topic's records was answered. Sorts them
/// by that time. `None` if none was answered within it.
pub(super) fn longest(records: &mut [Record], run: &Range<u64>) -> Option<u64> {
    records.sort_unstable_by_key(|record| record.replied);
    let (mut last, mut longest) = (run.start, None);
    for record in records
        .iter()
        .filter(|record| run.contains(&record.replied))
    {
        longest = longest.max(Some(record.replied - last));
        last = record.replied;
    }
    longest.max(longest.map(|_| run.end - last))
}

/// Returns the longest time within `run` in which none of the records was answered. They have any order:
/// a bit for each millisecond is less than a second list to sort.
fn longest_of_all<'a>(records: impl Iterator<Item = &'a Record>, run: &Range<u64>) -> u64 {
    let steps = (run.end - run.start).div_ceil(RESOLUTION);
    let mut answered = vec![0u64; steps.div_ceil(u64::BITS.into()) as usize];
    for record in records.filter(|record| run.contains(&record.replied)) {
        let step = (record.replied - run.start) / RESOLUTION;
        answered[(step / 64) as usize] |= 1 << (step % 64);
    }
    let (mut longest, mut current) = (0, 0);
    for step in 0..steps {
        let is_answered = answered[(step / 64) as usize] >> (step % 64) & 1 == 1;
        current = if is_answered { 0 } else { current + 1 };
        longest = longest.max(current);
    }
    longest * RESOLUTION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(at: &[(u64, u16)]) -> Vec<Record> {
        let record = |&(millis, server)| Record {
            sum: 1,
            sent: 0,
            replied: millis * RESOLUTION,
            topic: 0,
            taken: 1,
            server,
        };
        at.iter().map(record).collect()
    }

    #[test]
    fn the_longest_time_without_an_answer_is_found() {
        let mut records = answers(&[(5, 0), (100, 1), (500, 0), (110, 0), (12, 1), (900, 1)]);
        // What was answered before and after the run does not count.
        let run = 10 * RESOLUTION..800 * RESOLUTION;
        let topics = vec![7, 9, 3];
        let silence = Silence::of(&records, 3, &run, topics);
        assert_eq!(silence.all, 389e3);
        assert_eq!(silence.by_server, [389e3, 699e3, 790e3]);
        assert_eq!((silence.topic_p50, silence.topic_max), (0.007, 0.009));
        assert_eq!(longest(&mut records, &run), Some(390 * RESOLUTION));
        let later = 501 * RESOLUTION..800 * RESOLUTION;
        assert_eq!(longest(&mut records, &later), None);
        // The end of the run counts, too.
        let longer = 10 * RESOLUTION..1_500 * RESOLUTION;
        assert_eq!(longest(&mut records, &longer), Some(600 * RESOLUTION));
    }
}
