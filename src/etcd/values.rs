//! The values of a cluster's keys: JSON. Fields that a later version adds are ignored.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::proto::KeyValue;
use crate::cluster::{Claim, Epoch, NodeName, Revision, Session, SessionId};

/// What a node's session says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The node's name.
    pub name: NodeName,
    /// Where clients and other nodes reach it: `host:port`.
    pub address: Arc<str>,
    /// When its process was started, in seconds since 1970.
    pub started: u64,
}

/// A topic's ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceiling {
    /// No larger number was given out.
    pub ceiling: u64,
    /// Whether it is the exact sum.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct SessionValue {
    address: String,
    version: String,
    started: u64,
    #[serde(default)]
    draining: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct ClaimValue {
    node: String,
    session: u64,
}

pub(super) fn session_value(description: &Description, draining: bool) -> String {
    json(&SessionValue {
        address: description.address.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: description.started,
        draining,
    })
}

pub(super) fn claim_value(node: &NodeName, session: SessionId) -> String {
    json(&ClaimValue {
        node: node.as_str().to_owned(),
        session: session.0.0,
    })
}

pub(super) fn ceiling_value(ceiling: Ceiling) -> String {
    json(&ceiling)
}

/// What a session's key says beside what nodes need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionDetails {
    pub(super) session: Session,
    pub(super) version: String,
    pub(super) started: u64,
}

pub(super) fn session_details(pair: &KeyValue) -> Result<SessionDetails, Error> {
    let SessionValue {
        version, started, ..
    } = value(pair)?;
    Ok(SessionDetails {
        session: session(pair)?,
        version,
        started,
    })
}

/// Returns the value of a session's key with another mark; `None` if it has this one. Fields of a later
/// version stay as they are.
pub(super) fn remarked_session(pair: &KeyValue, draining: bool) -> Result<Option<String>, Error> {
    if session(pair)?.draining == draining {
        return Ok(None);
    }
    let mut fields: serde_json::Map<String, serde_json::Value> = value(pair)?;
    fields.insert("draining".to_owned(), draining.into());
    Ok(Some(json(&fields)))
}

pub(super) fn session(pair: &KeyValue) -> Result<Session, Error> {
    let value: SessionValue = value(pair)?;
    Ok(Session {
        id: SessionId(Revision(pair.create_revision as u64)),
        address: value.address.into(),
        draining: value.draining,
    })
}

pub(super) fn claim(pair: &KeyValue) -> Result<Claim, Error> {
    let ClaimValue { node, session } = value(pair)?;
    Ok(Claim {
        node: NodeName::new(&node),
        session: SessionId(Revision(session)),
        epoch: Epoch(Revision(pair.mod_revision as u64)),
    })
}

pub(super) fn ceiling(pair: &KeyValue) -> Result<Ceiling, Error> {
    value(pair)
}

pub(super) fn not_understood(pair: &KeyValue, problem: impl Into<String>) -> Error {
    Error::NotUnderstood {
        key: String::from_utf8_lossy(&pair.key).into_owned(),
        problem: problem.into(),
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and numbers can be JSON")
}

fn value<T: DeserializeOwned>(pair: &KeyValue) -> Result<T, Error> {
    serde_json::from_slice(&pair.value)
        .map_err(|error| not_understood(pair, format!("its value cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(value: &str) -> KeyValue {
        KeyValue {
            key: b"/test/key".to_vec(),
            create_revision: 7,
            mod_revision: 9,
            value: value.into(),
            ..KeyValue::default()
        }
    }

    #[test]
    fn values_are_read_as_they_were_written() {
        let description = Description {
            name: NodeName::new("a"),
            address: "10.0.0.1:9999".into(),
            started: 1_800_000_000,
        };
        for draining in [false, true] {
            let read = session(&pair(&session_value(&description, draining))).unwrap();
            assert_eq!(read.id, SessionId(Revision(7)));
            assert_eq!(read.address, description.address);
            assert_eq!(read.draining, draining);
        }
        let read = claim(&pair(&claim_value(
            &description.name,
            SessionId(Revision(5)),
        )))
        .unwrap();
        assert_eq!(read.node, description.name);
        assert_eq!(
            (read.session, read.epoch),
            (SessionId(Revision(5)), Epoch(Revision(9)))
        );
        for exact in [false, true] {
            let ceiling_written = Ceiling {
                ceiling: u64::MAX,
                exact,
            };
            let read = ceiling(&pair(&ceiling_value(ceiling_written))).unwrap();
            assert_eq!(read, ceiling_written);
        }
    }

    #[test]
    fn a_mark_changes_nothing_else() {
        let later = r#"{"address":"a:1","draining":false,"started":3,"version":"9","zone":"eu"}"#;
        let marked = remarked_session(&pair(later), true).unwrap().unwrap();
        assert_eq!(
            marked,
            later.replace(r#""draining":false"#, r#""draining":true"#)
        );
        assert_eq!(remarked_session(&pair(&marked), true).unwrap(), None);
        let unmarked = remarked_session(&pair(&marked), false).unwrap();
        assert_eq!(unmarked.unwrap(), later);
    }

    #[test]
    fn ceilings_are_short() {
        let estimate = Ceiling {
            ceiling: 12,
            exact: false,
        };
        assert_eq!(ceiling_value(estimate), r#"{"ceiling":12}"#);
        let exact = Ceiling {
            exact: true,
            ..estimate
        };
        assert_eq!(ceiling_value(exact), r#"{"ceiling":12,"exact":true}"#);
    }

    #[test]
    fn fields_of_a_later_version_are_ignored_and_others_name_the_key() {
        let later = pair(r#"{"node":"a","session":3,"zone":"eu"}"#);
        assert_eq!(claim(&later).unwrap().node, NodeName::new("a"));
        for value in ["", "7", r#"{"node":"a"}"#, r#"{"node":"a","session":-1}"#] {
            let error = claim(&pair(value)).unwrap_err();
            assert!(error.to_string().contains(r#""/test/key""#), "{error}");
        }
    }
}
