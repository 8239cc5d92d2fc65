//! Searching the topics of a running server, for those who watch it: in steps that each shard makes
//! between other batches.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::counters::TOPIC_ONE_IN;
use super::monitor::Monitor;
use crate::measure::Occurrences;
use crate::server::exchange::{SentWalkStep, ShardMessage, WalkStep, cursor_of, decode_cursor};
use crate::server::net::coarse_seconds;
use crate::shard::Position;

/// A search that has taken this long ends with what it found, so that whoever asked is not kept waiting.
const SEARCH_TIME: Duration = Duration::from_millis(25);

/// How long a worker may take until it has made a step.
const STEP_TIME: Duration = Duration::from_secs(2);

/// Topics that were found, and where the search continues.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TopicPage {
    /// The topics, unordered.
    pub topics: Vec<TopicSum>,
    /// Where the search continues; `None` if all topics were searched.
    pub cursor: Option<u64>,
}

/// A topic and its sum.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TopicSum {
    /// The topic.
    pub topic: String,
    /// Its sum.
    pub sum: u64,
}

/// A topic that many requests are for.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HotTopic {
    /// The topic.
    pub topic: String,
    /// About how many requests it had a second.
    pub requests_per_second: f64,
    /// About which share of all requests, 0 to 1, were for it.
    pub share: f64,
}

/// Why topics cannot be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The cursor is none that a search returned.
    #[error("the cursor is not one that a search returned")]
    BadCursor,
    /// A worker did not answer in time: the server has stopped, or it is overloaded.
    #[error("a worker did not answer within 2 seconds")]
    NoAnswer,
}

impl Monitor {
    /// Returns topics that begin with `prefix`, at most `limit`, from `cursor` on (0: all). It may
    /// return fewer, even none, and a cursor to continue with: a search ends after 25 ms, however
    /// many topics there are. A topic that exists during all searches of such a row is found once.
    ///
    /// # Errors
    ///
    /// See [`SearchError`].
    pub async fn topics(
        &self,
        prefix: &str,
        cursor: u64,
        limit: usize,
    ) -> Result<TopicPage, SearchError> {
        let end = Instant::now() + SEARCH_TIME;
        let shards = self.shared.shards();
        let mut place = Some(decode_cursor(cursor, shards).ok_or(SearchError::BadCursor)?);
        let mut found = Vec::new();
        while let Some((shard, from)) = place
            && found.len() < limit
            && Instant::now() < end
        {
            let step = WalkStep {
                shard,
                next: Some(from),
                prefix: prefix.as_bytes().into(),
                limit: limit - found.len(),
                found: Vec::new(),
            };
            let step = self.step(step).await?;
            found.extend(step.found);
            place = match step.next {
                Some(next) => Some((shard, next)),
                None => Some(shard.number() + 1)
                    .and_then(|next| shards.shard(next))
                    .map(|next| (next, Position::START)),
            };
        }
        let topic = |(name, sum): (Vec<u8>, u64)| TopicSum {
            // Topics are UTF-8.
            topic: String::from_utf8_lossy(&name).into_owned(),
            sum,
        };
        Ok(TopicPage {
            topics: found.into_iter().map(topic).collect(),
            cursor: Some(cursor_of(place)).filter(|&cursor| cursor != 0),
        })
    }

    /// Returns the topics that most requests of the last 10 to 20 seconds were for, at most `limit`, the
    /// most requested first. An estimate from one request of 256.
    #[must_use]
    pub fn hot_topics(&self, limit: usize) -> Vec<HotTopic> {
        let now = coarse_seconds();
        let mut sum = Occurrences::default();
        for worker in self.status.workers() {
            let mut hitters = worker.hot_topics.lock();
            hitters.add_to(&mut sum, now, TOPIC_ONE_IN as f64);
        }
        let all = sum.all();
        let topics = sum.most_frequent(limit).into_iter();
        topics
            .map(|(name, rate)| HotTopic {
                topic: String::from_utf8_lossy(&name).into_owned(),
                requests_per_second: rate,
                share: rate / all,
            })
            .collect()
    }

    /// Has a shard make a step.
    async fn step(&self, step: WalkStep) -> Result<WalkStep, SearchError> {
        let (done, made) = oneshot::channel();
        self.shared
            .deliver(ShardMessage::Walk(SentWalkStep { step, done }));
        match tokio::time::timeout(STEP_TIME, made).await {
            Ok(Ok(step)) => Ok(step),
            _ => Err(SearchError::NoAnswer),
        }
    }
}
