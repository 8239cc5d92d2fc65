//! What is known of the server: its last minutes, its hot topics, and whether it answers.

use std::collections::VecDeque;

use serde::Deserialize;

use crate::admin::Sample;

/// How many seconds are kept, as many as the server keeps.
pub(super) const SECONDS: usize = 600;

/// What is known of a server.
#[derive(Debug)]
pub(super) struct Model {
    /// The address of its admin port.
    pub(super) address: String,
    pub(super) version: Option<String>,
    pub(super) link: Link,
    /// The last seconds, the newest last. They stay when the server goes away.
    pub(super) seconds: VecDeque<Sample>,
    pub(super) hot: Vec<HotTopic>,
}

/// Whether the server answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// It was not reached yet.
    Connecting,
    /// It answers. Without seconds, it is loading its topics or has just begun.
    Open,
    /// It does not answer, for this reason.
    Gone(String),
}

/// A topic that many requests are for, as `/api/hot` has it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct HotTopic {
    pub(super) topic: String,
    pub(super) requests_per_second: f64,
    /// 0 to 1.
    pub(super) share: f64,
}

/// A change of what is known.
#[derive(Debug)]
pub(super) enum Change {
    /// The server was reached: its version and its last minutes.
    Reached(String, Vec<Sample>),
    Second(Box<Sample>),
    Hot(Vec<HotTopic>),
    Gone(String),
}

impl Model {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            version: None,
            link: Link::Connecting,
            seconds: VecDeque::new(),
            hot: Vec::new(),
        }
    }

    /// Applies a change. Returns whether it must be shown at once, because the server has come or gone.
    pub(super) fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Reached(version, seconds) => {
                self.version = Some(version);
                self.seconds = seconds.into();
                self.link = Link::Open;
                return true;
            }
            Change::Second(second) => {
                self.seconds.push_back(*second);
                let first = self.seconds.len() == 1;
                self.seconds
                    .drain(..self.seconds.len().saturating_sub(SECONDS));
                return first;
            }
            Change::Hot(hot) => self.hot = hot,
            Change::Gone(reason) => {
                let gone = Link::Gone(reason);
                return std::mem::replace(&mut self.link, gone) == Link::Open;
            }
        }
        false
    }

    /// Returns the last second.
    pub(super) fn now(&self) -> Option<&Sample> {
        self.seconds.back()
    }
}
