//! Where a cluster is: the members of etcd, and the prefix of its keys.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The prefix if the URL has none.
const DEFAULT_PREFIX: &str = "/globalcounter";

/// The members of etcd and the prefix of a cluster's keys: `etcd://host:2379,host:2379/prefix`. The
/// prefix may have several parts; without one it is `/globalcounter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// `host:port`, at least one.
    endpoints: Vec<String>,
    /// Begins with a slash and does not end with one.
    prefix: String,
}

/// Why some text is not a [`Location`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{url:?} {problem}: write it as in etcd://10.0.0.1:2379,10.0.0.2:2379/globalcounter")]
pub struct LocationError {
    url: String,
    problem: &'static str,
}

impl Location {
    /// Returns the members: `host:port` of each.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Returns what all keys begin with, before a further slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the same prefix at one of the members.
    pub(super) fn of_one(&self, endpoint: &str) -> Self {
        Self {
            endpoints: vec![endpoint.to_owned()],
            prefix: self.prefix.clone(),
        }
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(url: &str) -> Result<Self, LocationError> {
        let wrong = |problem| LocationError {
            url: url.to_owned(),
            problem,
        };
        let rest = url
            .strip_prefix("etcd://")
            .ok_or(wrong("does not begin with etcd://"))?;
        let (hosts, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let endpoints: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        let has_port = |endpoint: &String| {
            endpoint
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !endpoints.iter().all(has_port) {
            return Err(wrong("has a member without host or port"));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.contains("//") || prefix.contains(char::is_control) {
            return Err(wrong(
                "has an empty part or a control character in its prefix",
            ));
        }
        let prefix = match prefix {
            "" => DEFAULT_PREFIX,
            given => given,
        };
        Ok(Self {
            endpoints,
            prefix: prefix.to_owned(),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd://{}{}", self.endpoints.join(","), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_prefix_are_told_apart() {
        let url = "etcd://a:2379,[::1]:2380/counters/eu";
        let location: Location = url.parse().unwrap();
        assert_eq!(location.endpoints(), ["a:2379", "[::1]:2380"]);
        assert_eq!(location.prefix(), "/counters/eu");
        assert_eq!(location.to_string(), url);
    }

    #[test]
    fn the_prefix_has_a_default() {
        for url in ["etcd://a:2379", "etcd://a:2379/"] {
            let location: Location = url.parse().unwrap();
            assert_eq!(location.prefix(), "/globalcounter");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let mistakes = [
            ("http://a:2379", "does not begin"),
            ("etcd://", "without host or port"),
            ("etcd://a", "without host or port"),
            ("etcd://a:2379,b/x", "without host or port"),
            ("etcd://a:2379//x", "empty part"),
        ];
        for (url, problem) in mistakes {
            let error = url.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
