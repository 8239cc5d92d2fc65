//! Reading many keys page by page.

use tonic::Code;

use super::client::{Client, revision};
use super::error::Error;
use super::proto::{KeyValue, RangeRequest};
use crate::cluster::Revision;

/// The most keys that are read at a time. With the longest topics, that is 65 MB.
pub(super) const PAGE: i64 = 1_000;

/// The keys of a range, page by page, all at the revision of the first page.
#[derive(Debug)]
pub(super) struct Pages {
    /// The first key of the next page; `None` behind the last one.
    next: Option<Vec<u8>>,
    end: Vec<u8>,
    revision: Revision,
}

impl Pages {
    /// Begins with a first key and the first one behind the range.
    pub(super) fn of((first, end): (impl Into<Vec<u8>>, impl Into<Vec<u8>>)) -> Self {
        Self::at(Revision::default(), (first, end))
    }

    /// Reads at this revision.
    pub(super) fn at(
        revision: Revision,
        (first, end): (impl Into<Vec<u8>>, impl Into<Vec<u8>>),
    ) -> Self {
        Self {
            next: Some(first.into()),
            end: end.into(),
            revision,
        }
    }

    /// Returns the revision of all pages, once the first one was read.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Reads the next page; `None` behind the last one. The only page may be empty.
    pub(super) async fn next(&mut self, client: &Client) -> Result<Option<Vec<KeyValue>>, Error> {
        let Some(next) = self.next.take() else {
            return Ok(None);
        };
        let page = RangeRequest {
            key: next,
            range_end: self.end.clone(),
            limit: PAGE,
            revision: self.revision.0 as i64,
            ..RangeRequest::default()
        };
        let page = client.range(page).await.map_err(|error| match error {
            Error::Refused(status) if status.code() == Code::OutOfRange => Error::Compacted {
                revision: self.revision.0,
            },
            error => error,
        })?;
        if self.revision == Revision::default() {
            self.revision = revision(&page.header.ok_or(Error::Answer)?);
        }
        if page.more {
            self.next = page.kvs.last().map(|pair| following(pair.key.clone()));
        }
        Ok(Some(page.kvs))
    }
}

/// Returns the first key after this one.
pub(super) fn following(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
