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
    /// Whether the sum is a ceiling: numbers up to it may not have been handed out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ceiling: bool,
}

impl Line<'_> {
    /// Parses line `number` of `input`; `None` if the line is empty.
    pub(super) fn parse(
        line: io::Result<String>,
        number: usize,
        input: &str,
    ) -> Result<Option<Line<'static>>> {
        let line = line.with_context(|| format!("cannot read {input}"))?;
        if line.trim().is_empty() {
            return Ok(None);
        }
        let line: Line<'static> =
            serde_json::from_str(&line).with_context(|| format!("line {number} is not a topic"))?;
        ensure!(
            line.topic.len() <= TOPIC_LEN_LIMIT,
            "the topic in line {number} is {} bytes long, at most {TOPIC_LEN_LIMIT} are allowed",
            line.topic.len()
        );
        Ok(Some(line))
    }
}
