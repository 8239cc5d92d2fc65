//! The replies to CLUSTER and its subcommands, and to READONLY, READWRITE and ASKING.

use super::map;
use super::node::{Node, id_of, shard_id_of};
use crate::cluster::Slot;
use crate::protocol::resp::{Refusal, Verb, help};
use crate::server::cluster::Owners;
use crate::server::resp::clients::NO_ROOM;
use crate::server::resp::invocation::Invocation;
use crate::server::worker::{Link, Ring, Worker};
use crate::topic::Topic;

/// Returns whether a connection has the map of the cluster after this command, so that it gets redirects.
/// READONLY counts: only clients of a cluster send it, on connections to nodes that they learned of.
pub(in crate::server::resp) fn shows_map(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::ClusterNodes | Verb::ClusterShards | Verb::ClusterSlots | Verb::ReadOnly
    )
}

/// Appends the reply to a command about the cluster.
pub(in crate::server::resp) fn answer(
    invocation: &Invocation<'_>,
    worker: &Worker,
    link: &Link,
    ring: &mut Ring,
) {
    let Some(owners) = worker.shared().owners() else {
        return ring.refuse(Refusal::NoCluster);
    };
    match invocation.spec.verb {
        // There is nothing to read from replicas, and no slot is at two nodes.
        Verb::ReadOnly | Verb::ReadWrite | Verb::Asking => {
            ring.push(|writer| writer.simple("OK"));
        }
        Verb::ClusterHelp => ring.push(|writer| help(Verb::Cluster.spec(), writer)),
        Verb::ClusterKeySlot => {
            let max_topic_len = worker.intake.max_topic_len();
            match Topic::new(invocation.argument(2), max_topic_len) {
                Ok(topic) => {
                    ring.push(|writer| writer.integer(Slot::of(topic).number().into()));
                }
                Err(error) => ring.refuse(Refusal::Code(error.into())),
            }
        }
        Verb::ClusterLinks => ring.push(|writer| writer.array(0)),
        Verb::ClusterMyId => {
            let id = id_of(owners.own().name.as_str());
            ring.push(|writer| writer.bulk(id.as_bytes()));
        }
        Verb::ClusterMyShardId => {
            let id = shard_id_of(owners.own().name.as_str());
            ring.push(|writer| writer.bulk(id.as_bytes()));
        }
        _ if !link.worker_has_room() => ring.refuse(NO_ROOM),
        verb => answer_from_map(verb, invocation, owners, ring),
    }
}

/// Appends the reply to a command that needs the whole map. Clients of Redis Cluster expect all slots in
/// it, and some fail if one is missing: so a node that died is shown until others own its slots, as a
/// primary of Redis is.
fn answer_from_map(verb: Verb, invocation: &Invocation<'_>, owners: &Owners, ring: &mut Ring) {
    let epoch = owners.number();
    let nodes = match verb {
        Verb::ClusterInfo => owners.map(),
        _ => owners.map_with_last_owners(),
    };
    let nodes: Vec<Node> = nodes.into_iter().map(Node::of).collect();
    match verb {
        Verb::ClusterSlots => ring.push(|writer| map::slots(&nodes, writer)),
        Verb::ClusterShards => ring.push(|writer| map::shards(&nodes, writer)),
        Verb::ClusterNodes => ring.push(|writer| writer.text(&map::lines(&nodes, epoch))),
        Verb::ClusterInfo => ring.push(|writer| writer.text(&map::info(&nodes, epoch))),
        Verb::ClusterCountFailureReports | Verb::ClusterReplicas | Verb::ClusterSlaves => {
            let id = invocation.argument(2);
            let is_known = nodes.iter().any(|node| node.id.as_bytes() == id);
            match (is_known, verb) {
                (false, _) => ring.refuse(Refusal::UnknownNode(id)),
                (true, Verb::ClusterCountFailureReports) => {
                    ring.push(|writer| writer.integer(0));
                }
                (true, _) => ring.push(|writer| writer.array(0)),
            }
        }
        verb => unreachable!("{verb:?} is answered elsewhere"),
    }
}
