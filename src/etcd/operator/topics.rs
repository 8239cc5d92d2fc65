//! All topics of a cluster, page by page.

use super::Operator;
use crate::cluster::{RangeId, Revision};
use crate::etcd::error::Error;
use crate::etcd::pages::Pages;
use crate::etcd::values::Ceiling;

/// A topic as etcd stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTopic {
    /// Its range.
    pub range: RangeId,
    /// Its name.
    pub topic: String,
    /// Its ceiling.
    pub ceiling: Ceiling,
    /// When it was last written.
    pub written: Revision,
}

/// Reads topics at one revision, by range and then by name.
#[derive(Debug)]
pub struct Topics {
    operator: Operator,
    prefix: String,
    pages: Pages,
    /// The ranges that follow the one that is read, if it is one.
    following: std::ops::Range<u16>,
}

impl Operator {
    /// Reads the topics that begin with `prefix`: all of them if it is empty.
    #[must_use]
    pub fn topics(&self, prefix: &str) -> Topics {
        let (pages, following) = match RangeId::all(self.ranges).next() {
            // The topics of a prefix are in any range.
            Some(first) if !prefix.is_empty() => {
                (Pages::of(self.begin_with(first, prefix)), 1..self.ranges)
            }
            _ => (Pages::of(self.keys.all_ceilings()), 0..0),
        };
        Topics {
            operator: self.clone(),
            prefix: prefix.to_owned(),
            pages,
            following,
        }
    }

    /// Returns the first key of the topics of a range that begin with `prefix`, and the first one behind
    /// them.
    fn begin_with(&self, range: RangeId, prefix: &str) -> (Vec<u8>, Vec<u8>) {
        let first = self.keys.ceiling(range, prefix).into_bytes();
        let mut end = first.clone();
        if let Some(last) = end.last_mut() {
            *last += 1; // UTF-8 has no byte 255
        }
        (first, end)
    }
}

impl Topics {
    /// Reads the next page: at least one topic, or `None` behind the last one.
    ///
    /// # Errors
    ///
    /// etcd did not answer or refused, as it does if it discarded the revision meanwhile; or a key is not
    /// understood.
    pub async fn next(&mut self) -> Result<Option<Vec<StoredTopic>>, Error> {
        loop {
            match self.pages.next(&self.operator.client).await? {
                Some(page) if page.is_empty() => {}
                Some(page) => {
                    let topics = page.iter().map(|pair| {
                        let Operator { keys, ranges, .. } = &self.operator;
                        let (range, topic, ceiling) = keys.topic_of_any_range(pair, *ranges)?;
                        Ok(StoredTopic {
                            range,
                            topic,
                            ceiling,
                            written: Revision(pair.mod_revision as u64),
                        })
                    });
                    return topics.collect::<Result<_, _>>().map(Some);
                }
                None => {
                    let next = self.following.next();
                    let next = next.and_then(|next| RangeId::new(next, self.operator.ranges));
                    let Some(range) = next else {
                        return Ok(None);
                    };
                    let keys = self.operator.begin_with(range, &self.prefix);
                    self.pages = Pages::at(self.pages.revision(), keys);
                }
            }
        }
    }
}
