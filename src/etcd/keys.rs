//! The keys of a cluster, as text that `etcdctl` shows.

use std::sync::Arc;

use super::error::Error;
use super::location::Location;
use super::proto::KeyValue;
use super::values::{Ceiling, ceiling, claim, not_understood, session};
use crate::cluster::{Claim, NodeName, RangeId, SessionChange};

/// Builds the keys of a cluster, and reads them with their values.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// Ends with a slash.
    prefix: Arc<str>,
}

/// What a key among sessions and claims says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Session(SessionChange),
    Claim(RangeId, Claim),
    /// `format` or `ranges`, which never change.
    Fixed,
}

impl Keys {
    pub(super) fn new(location: &Location) -> Self {
        Self {
            prefix: format!("{}/", location.prefix()).into(),
        }
    }

    /// Returns the first key of the cluster, and the first one behind all.
    pub(super) fn all(&self) -> (String, String) {
        (self.prefix.to_string(), end_of(&self.prefix))
    }

    pub(super) fn format(&self) -> String {
        format!("{}format", self.prefix)
    }

    pub(super) fn ranges(&self) -> String {
        format!("{}ranges", self.prefix)
    }

    pub(super) fn session(&self, node: &NodeName) -> String {
        format!("{}sessions/{node}", self.prefix)
    }

    pub(super) fn claim(&self, range: RangeId) -> String {
        format!("{}claims/{range}", self.prefix)
    }

    pub(super) fn ceiling(&self, range: RangeId, topic: &str) -> String {
        format!("{}ceilings/{range}/{topic}", self.prefix)
    }

    /// Returns the first key of all sessions and claims, and the first one behind them. `format` and
    /// `ranges` are between them, ceilings are not.
    pub(super) fn sessions_and_claims(&self) -> (String, String) {
        let prefix = &self.prefix;
        (
            format!("{prefix}claims/"),
            end_of(&format!("{prefix}sessions/")),
        )
    }

    /// Returns the first key of a range's ceilings, and the first one behind them.
    pub(super) fn ceilings(&self, range: RangeId) -> (String, String) {
        let first = self.ceiling(range, "");
        let end = end_of(&first);
        (first, end)
    }

    /// Returns the first key of all sessions, and the first one behind them.
    pub(super) fn sessions(&self) -> (String, String) {
        let first = format!("{}sessions/", self.prefix);
        let end = end_of(&first);
        (first, end)
    }

    /// Returns the first key of all claims, and the first one behind them.
    pub(super) fn claims(&self) -> (String, String) {
        let first = format!("{}claims/", self.prefix);
        let end = end_of(&first);
        (first, end)
    }

    /// Returns the first key of all ceilings, and the first one behind them.
    pub(super) fn all_ceilings(&self) -> (String, String) {
        let first = format!("{}ceilings/", self.prefix);
        let end = end_of(&first);
        (first, end)
    }

    /// Reads a key of [`sessions_and_claims`](Self::sessions_and_claims) in a cluster with so many
    /// ranges.
    pub(super) fn entry(&self, pair: &KeyValue, ranges: u16) -> Result<Entry, Error> {
        let name = self.name(pair)?;
        if let Some(node) = name.strip_prefix("sessions/") {
            return Ok(Entry::Session((NodeName::new(node), Some(session(pair)?))));
        }
        if let Some(digits) = name.strip_prefix("claims/") {
            let range = range(digits, ranges).ok_or_else(|| no_such_range(pair, ranges))?;
            return Ok(Entry::Claim(range, claim(pair)?));
        }
        match name {
            "format" | "ranges" => Ok(Entry::Fixed),
            _ => Err(not_understood(pair, "no key has such a name")),
        }
    }

    /// Reads a key of [`sessions_and_claims`](Self::sessions_and_claims) that was deleted: a session's.
    pub(super) fn deleted(&self, pair: &KeyValue) -> Result<Entry, Error> {
        match self.name(pair)?.strip_prefix("sessions/") {
            Some(node) => Ok(Entry::Session((NodeName::new(node), None))),
            None => Err(not_understood(pair, "it was deleted")),
        }
    }

    /// Reads a key of [`ceilings`](Self::ceilings): the topic and its ceiling.
    pub(super) fn topic(
        &self,
        range: RangeId,
        pair: &KeyValue,
    ) -> Result<(String, Ceiling), Error> {
        let first = format!("ceilings/{range}/");
        let topic = self.name(pair)?.strip_prefix(&first).ok_or(Error::Answer)?;
        Ok((topic.to_owned(), ceiling(pair)?))
    }

    /// Reads a key of [`all_ceilings`](Self::all_ceilings) in a cluster with so many ranges: the range, the
    /// topic and its ceiling.
    pub(super) fn topic_of_any_range(
        &self,
        pair: &KeyValue,
        ranges: u16,
    ) -> Result<(RangeId, String, Ceiling), Error> {
        let name = self.name(pair)?.strip_prefix("ceilings/");
        let (digits, topic) = name
            .and_then(|name| name.split_once('/'))
            .ok_or_else(|| not_understood(pair, "it names no topic"))?;
        let range = range(digits, ranges).ok_or_else(|| no_such_range(pair, ranges))?;
        Ok((range, topic.to_owned(), ceiling(pair)?))
    }

    /// Returns a key without the prefix.
    fn name<'a>(&self, pair: &'a KeyValue) -> Result<&'a str, Error> {
        let key =
            std::str::from_utf8(&pair.key).map_err(|_| not_understood(pair, "it is not UTF-8"))?;
        key.strip_prefix(&*self.prefix).ok_or(Error::Answer)
    }
}

/// Reads a range as keys write it, in a cluster with so many.
fn range(digits: &str, ranges: u16) -> Option<RangeId> {
    let range = RangeId::new(digits.parse().ok()?, ranges)?;
    (range.to_string() == digits).then_some(range)
}

fn no_such_range(pair: &KeyValue, ranges: u16) -> Error {
    not_understood(
        pair,
        format!("the cluster has {ranges} ranges, and none of that name"),
    )
}

/// Returns the first key behind all keys that begin with `prefix`, which ends with a slash.
fn end_of(prefix: &str) -> String {
    let mut end = prefix.strip_suffix('/').unwrap_or(prefix).to_owned();
    end.push('0'); // follows the slash in ASCII
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::RANGES;

    fn keys() -> Keys {
        Keys::new(&"etcd://a:1/p".parse().unwrap())
    }

    fn entry(key: &str, value: &str) -> Result<Entry, Error> {
        let pair = KeyValue {
            key: key.into(),
            value: value.into(),
            ..KeyValue::default()
        };
        keys().entry(&pair, RANGES)
    }

    #[test]
    fn each_key_is_in_its_range() {
        let keys = keys();
        let range = RangeId::new(7, RANGES).unwrap();
        let within = |key: &str, (first, end): (String, String)| *key >= *first && *key < *end;
        let session = keys.session(&NodeName::new("\u{10ffff}"));
        let ceiling = keys.ceiling(range, "\u{10ffff}");
        assert_eq!(keys.claim(range), "/p/claims/0007");
        for key in [&session, &keys.claim(range), &keys.format(), &keys.ranges()] {
            assert!(within(key, keys.sessions_and_claims()), "{key}");
            assert!(within(key, keys.all()), "{key}");
        }
        assert!(within(&ceiling, keys.ceilings(range)));
        assert!(within(&keys.ceiling(range, ""), keys.ceilings(range)));
        assert!(within(&ceiling, keys.all()));
        assert!(!within(&ceiling, keys.sessions_and_claims()));
        let other = RangeId::new(8, RANGES).unwrap();
        assert!(!within(&keys.ceiling(other, ""), keys.ceilings(range)));
    }

    #[test]
    fn a_key_that_is_not_understood_is_named() {
        let claim = r#"{"node":"a","session":3}"#;
        assert!(entry("/p/claims/1023", claim).is_ok());
        for key in [
            "claims/1024",
            "claims/7",
            "claims/00007",
            "claims/+007",
            "claims/x",
            "leader",
        ] {
            let key = format!("/p/{key}");
            let error = entry(&key, claim).unwrap_err();
            let named = matches!(&error, Error::NotUnderstood { key: named, .. } if *named == key);
            assert!(named, "{error}");
        }
    }
}
