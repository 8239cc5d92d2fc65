//! One line of an export: a topic and its sum, as a JSON object.

use std::borrow::Cow;
use std::io;

use anyhow::{Context, Result, ensure};
use globalcounter::topic::TOPIC_LEN_LIMIT;
use serde::{Deserialize, Serialize};

/// One line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) sum: u64,
}

impl Line<'_> {
    /// Parses line `number` of standard input; `None` if the line is empty.
    pub(super) fn parse(line: io::Result<String>, number: usize) -> Result<Option<(String, u64)>> {
        let line = line.context("cannot read standard input")?;
        if line.trim().is_empty() {
            return Ok(None);
        }
        let Line { topic, sum } =
            serde_json::from_str(&line).with_context(|| format!("line {number} is not a topic"))?;
        ensure!(
            topic.len() <= TOPIC_LEN_LIMIT,
            "the topic in line {number} is {} bytes long, at most {TOPIC_LEN_LIMIT} are allowed",
            topic.len()
        );
        Ok(Some((topic.into_owned(), sum)))
    }
}
