//! Searching the topics of a running server, for those who watch it: in steps that each shard makes
//! between other batches.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::monitor::Monitor;
use crate::measure::Occurrences;
use crate::server::exchange::{Shard, ShardMessage, Visit, WalkStep, cursor_of, decode_cursor};
use crate::server::net::coarse_seconds;
use crate::shard::Position;
use crate::topic::{ShardId, Topic, TopicError};

/// A search that has taken this long ends with what it found, so that whoever asked is not kept waiting.
const SEARCH_TIME: Duration = Duration::from_millis(25);

/// How long a worker may take until it lets somebody look at its shard.
const VISIT_TIME: Duration = Duration::from_secs(2);

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
    /// No topic can have this name.
    #[error(transparent)]
    BadTopic(TopicError),
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
            let mut step = WalkStep {
                next: Some(from),
                prefix: prefix.as_bytes().into(),
                limit: limit - found.len(),
                found: Vec::new(),
            };
            let step = self
                .visit(shard, |shard| {
                    step.make(shard);
                    step
                })
                .await?;
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
            hitters.add_to(&mut sum, now, worker.requests());
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

    /// Returns the sum of a topic; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`SearchError::BadTopic`], [`SearchError::NoAnswer`].
    pub async fn sum(&self, topic: &str) -> Result<Option<u64>, SearchError> {
        let max_len = self.status.config.max_topic_len;
        let owner = Topic::new(topic.as_bytes(), max_len)
            .map(|topic| self.shared.shards().owner(topic))
            .map_err(SearchError::BadTopic)?;
        let name = topic.to_owned();
        self.visit(owner, move |shard| {
            let topic = Topic::new(name.as_bytes(), max_len).ok()?;
            shard.sum(topic)
        })
        .await
    }

    /// Returns what `look` returns of a shard, after the work that the shard has to do before.
    async fn visit<T: Send + 'static>(
        &self,
        shard: ShardId,
        look: impl FnOnce(&Shard) -> T + Send + 'static,
    ) -> Result<T, SearchError> {
        let (done, seen) = oneshot::channel();
        let visit = Visit::new(shard, |shard| {
            // If nobody waits for it, the search was given up.
            let _ = done.send(look(shard));
        });
        self.shared.deliver(ShardMessage::Visit(visit));
        match tokio::time::timeout(VISIT_TIME, seen).await {
            Ok(Ok(seen)) => Ok(seen),
            _ => Err(SearchError::NoAnswer),
        }
    }
}
