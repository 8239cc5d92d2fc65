//! What is told of a cluster.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use futures_util::future::join_all;
use globalcounter::etcd::{Error, EtcdMember, Location, Operator, Overview, Settings};
use serde::Serialize;

use crate::cli::figures::whole;

/// A cluster, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) cluster: String,
    pub(super) state: State,
    /// The state in plain words.
    pub(super) message: String,
    /// The number of ranges; `None` if there is no cluster.
    pub(super) ranges: Option<u16>,
    /// Ranges without a live owner. Some were never owned, the sessions of the others have ended.
    pub(super) ranges_without_owner: usize,
    /// Ranges that are on their way to the node that they are assigned to.
    pub(super) ranges_moving: usize,
    /// The revision of etcd at which sessions and claims were read.
    pub(super) revision: Option<u64>,
    pub(super) nodes: Vec<NodeReport>,
    pub(super) etcd: Vec<MemberReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Absent,
    Down,
    Incomplete,
    Moving,
    Whole,
}

#[derive(Debug, Serialize)]
pub(super) struct NodeReport {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) version: String,
    /// In seconds since 1970.
    pub(super) started: u64,
    /// Since then, by the clock of this machine.
    pub(super) up_seconds: u64,
    pub(super) draining: bool,
    pub(super) lease_seconds_left: Option<u64>,
    pub(super) ranges_owned: usize,
    pub(super) ranges_assigned: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct MemberReport {
    pub(super) endpoint: String,
    #[serde(flatten)]
    pub(super) answer: MemberAnswer,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum MemberAnswer {
    Status {
        version: String,
        /// `None`: it knows no leader.
        leads: Option<bool>,
        database_bytes: u64,
        database_bytes_in_use: u64,
        alarms: Vec<String>,
    },
    Failed {
        error: String,
    },
}

impl Report {
    /// Reads the state of a cluster.
    ///
    /// # Errors
    ///
    /// etcd cannot be reached or refuses, or a key is not understood.
    pub(super) async fn read(location: &Location, settings: &Settings) -> Result<Self> {
        let overview = async {
            let Some(operator) = Operator::open(settings.clone()).await? else {
                return Ok::<_, Error>(None);
            };
            let overview = operator.overview().await?;
            let left = overview.nodes.iter().map(|node| operator.time_left(node));
            // An election while they are asked is no reason to tell nothing.
            let left = join_all(left).await.into_iter();
            let left: Vec<_> = left.map(|left| left.ok().flatten()).collect();
            Ok(Some((overview, left)))
        };
        let (overview, members) = tokio::join!(overview, Operator::members(settings));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let overview = overview?;
        let overview = overview
            .as_ref()
            .map(|(overview, left)| (overview, &left[..]));
        Ok(Self::new(location, overview, members, now))
    }

    fn new(
        location: &Location,
        overview: Option<(&Overview, &[Option<Duration>])>,
        members: Vec<(String, Result<EtcdMember, Error>)>,
        now: u64,
    ) -> Self {
        let left = overview.map_or(&[][..], |(_, left)| left);
        let overview = overview.map(|(overview, _)| overview);
        let without_owner = overview.map_or(0, |overview| overview.without_owner().count());
        let moving = overview.map_or(0, |overview| overview.misplaced().count());
        let (state, message) = state(overview, without_owner, moving);
        Self {
            cluster: location.to_string(),
            state,
            message,
            ranges: overview.map(|overview| overview.assigned.len() as u16),
            ranges_without_owner: without_owner,
            ranges_moving: moving,
            revision: overview.map(|overview| overview.revision.0),
            nodes: overview.map_or_else(Vec::new, |overview| nodes(overview, left, now)),
            etcd: members.into_iter().map(MemberReport::new).collect(),
        }
    }
}

/// Returns the state, and says it in plain words.
fn state(overview: Option<&Overview>, without_owner: usize, moving: usize) -> (State, String) {
    let Some(overview) = overview else {
        let text = "there is no cluster yet: no key has this prefix. The first node creates it";
        return (State::Absent, text.to_owned());
    };
    let all = whole(overview.assigned.len() as u64);
    if overview.nodes.is_empty() {
        let text = "no node is live: nothing is served. Start the nodes".to_owned();
        return (State::Down, text);
    }
    if without_owner > 0 {
        let (have, their) = match without_owner {
            1 => ("range has", "its"),
            _ => ("ranges have", "their"),
        };
        let text = format!(
            "{} of {all} {have} no live owner: {their} topics are not served. Nodes take them within \
             seconds; if they do not, look at the nodes' logs",
            whole(without_owner as u64)
        );
        return (State::Incomplete, text);
    }
    let mut text = match moving {
        0 => format!("each of {all} ranges is owned by the node that it is assigned to"),
        1 => format!("each of {all} ranges is owned, and 1 is moving to another node"),
        _ => format!(
            "each of {all} ranges is owned, and {} are moving to other nodes",
            whole(moving as u64)
        ),
    };
    if overview.nodes.iter().all(|node| node.session.draining) {
        text += "; all nodes are draining, so none of them is left out";
    }
    match moving {
        0 => (State::Whole, text),
        _ => (State::Moving, text),
    }
}

fn nodes(overview: &Overview, left: &[Option<Duration>], now: u64) -> Vec<NodeReport> {
    let nodes = overview
        .nodes
        .iter()
        .zip(left)
        .map(|(node, left)| NodeReport {
            name: node.name.as_str().to_owned(),
            address: node.session.address.to_string(),
            version: node.version.clone(),
            started: node.started,
            up_seconds: now.saturating_sub(node.started),
            draining: node.session.draining,
            lease_seconds_left: left.map(|left| left.as_secs()),
            ranges_owned: overview.owned_by(node.session.id),
            ranges_assigned: overview.assigned_to(&node.name),
        });
    nodes.collect()
}

impl MemberReport {
    fn new((endpoint, answer): (String, Result<EtcdMember, Error>)) -> Self {
        let answer = match answer {
            Ok(member) => MemberAnswer::Status {
                version: member.version,
                leads: member.leads,
                database_bytes: member.database,
                database_bytes_in_use: member.in_use,
                alarms: member.alarms,
            },
            Err(error) => MemberAnswer::Failed {
                error: error.to_string(),
            },
        };
        Self { endpoint, answer }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use globalcounter::cluster::{
        Claim, Epoch, LeaseId, NodeName, RangeId, Revision, Session, SessionId, assignments,
    };
    use globalcounter::etcd::NodeState;

    use super::*;

    const RANGES: u16 = 8;

    fn node(name: &str, id: u64, draining: bool) -> NodeState {
        NodeState {
            name: NodeName::new(name),
            session: Session {
                id: SessionId(Revision(id)),
                address: format!("{name}:9999").into(),
                draining,
            },
            version: "1".to_owned(),
            started: 100,
            lease: LeaseId(1),
        }
    }

    /// An overview in which each range has the owner that `owner` says, with the id of its session.
    fn overview<'a>(
        nodes: Vec<NodeState>,
        owner: impl Fn(RangeId, Option<&NodeName>) -> Option<(&'a str, u64)>,
    ) -> Overview {
        let sessions: BTreeMap<_, _> = nodes
            .iter()
            .map(|node| (node.name.clone(), node.session.clone()))
            .collect();
        let assigned = assignments(&sessions, RANGES);
        let claims = RangeId::all(RANGES).filter_map(|range| {
            let (node, session) = owner(range, assigned[range.index()].as_ref())?;
            let claim = Claim {
                node: NodeName::new(node),
                session: SessionId(Revision(session)),
                epoch: Epoch(Revision(50)),
            };
            Some((range, claim))
        });
        Overview {
            revision: Revision(60),
            claims: claims.collect(),
            assigned,
            nodes,
        }
    }

    fn report(overview: Option<&Overview>) -> Report {
        let location = "etcd://127.0.0.1:1/test".parse().unwrap();
        let left = [Some(Duration::from_secs(3)); 2];
        let overview = overview.map(|overview| (overview, &left[..]));
        Report::new(&location, overview, Vec::new(), 160)
    }

    /// The owner that the placement says, with the session of [`nodes`].
    fn as_assigned(_: RangeId, assigned: Option<&NodeName>) -> Option<(&'static str, u64)> {
        Some(match assigned?.as_str() {
            "a" => ("a", 1),
            _ => ("b", 2),
        })
    }

    fn two(draining: bool) -> Vec<NodeState> {
        vec![node("a", 1, draining), node("b", 2, false)]
    }

    #[test]
    fn each_state_is_told() {
        let absent = report(None);
        assert_eq!((absent.state, absent.ranges), (State::Absent, None));

        let down = report(Some(&overview(Vec::new(), |_, _| Some(("a", 1)))));
        assert_eq!(down.state, State::Down);
        assert_eq!(down.ranges_without_owner, usize::from(RANGES));

        let whole = report(Some(&overview(two(false), as_assigned)));
        assert_eq!(whole.state, State::Whole);
        assert_eq!(
            whole.message,
            "each of 8 ranges is owned by the node that it is assigned to"
        );
        let owned: Vec<_> = whole
            .nodes
            .iter()
            .map(|node| (node.ranges_owned, node.ranges_assigned, node.up_seconds))
            .collect();
        assert_eq!(owned[0].0 + owned[1].0, usize::from(RANGES));
        assert!(owned.iter().all(|node| node.0 == node.1 && node.2 == 60));
    }

    #[test]
    fn ranges_of_a_draining_node_are_moving() {
        let all_at_a = |_: RangeId, _: Option<&NodeName>| Some(("a", 1));
        let moving = report(Some(&overview(two(true), all_at_a)));
        assert_eq!(moving.state, State::Moving);
        assert_eq!(moving.ranges_moving, usize::from(RANGES));
        assert_eq!(
            (
                moving.nodes[0].ranges_owned,
                moving.nodes[0].ranges_assigned
            ),
            (8, 0)
        );
        let alone = vec![node("a", 1, true)];
        let whole = report(Some(&overview(alone, all_at_a)));
        assert_eq!(whole.state, State::Whole);
        assert!(whole.message.contains("all nodes are draining"));
    }

    #[test]
    fn ranges_of_ended_sessions_and_new_ones_have_no_owner() {
        let one_dead_one_new = |range: RangeId, assigned: Option<&NodeName>| match range.number() {
            0 => Some(("a", 9)),
            1 => Some(("c", 3)),
            2 => None,
            _ => as_assigned(range, assigned),
        };
        let report = report(Some(&overview(two(false), one_dead_one_new)));
        assert_eq!(report.state, State::Incomplete);
        assert_eq!(report.ranges_without_owner, 3);
        assert!(
            report
                .message
                .starts_with("3 of 8 ranges have no live owner"),
            "{}",
            report.message
        );
    }
}
