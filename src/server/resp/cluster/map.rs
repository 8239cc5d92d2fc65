//! The forms in which Redis Cluster clients read the map. Source: the commands' pages under
//! <https://redis.io/docs/latest/commands/>.

use std::fmt::Write;

use super::node::Node;
use crate::cluster::SLOTS;
use crate::protocol::resp::Writer;

/// Appends the reply of CLUSTER SLOTS: for each run of adjacent slots the first, the last, and the node.
pub(super) fn slots(nodes: &[Node], writer: &mut Writer<'_>) {
    let runs = nodes
        .iter()
        .flat_map(|node| node.slots.iter().map(move |run| (run, node)));
    let mut runs: Vec<_> = runs.collect();
    runs.sort_unstable_by_key(|(run, _)| *run.start());
    writer.array(runs.len());
    for (run, node) in runs {
        writer.array(3);
        writer.integer((*run.start()).into());
        writer.integer((*run.end()).into());
        writer.array(4);
        writer.bulk(node.host.as_bytes());
        writer.integer(node.port.into());
        writer.bulk(node.id.as_bytes());
        writer.map(0); // no other names of the node
    }
}

/// Appends the reply of CLUSTER SHARDS: each node is a shard of Redis with one master.
pub(super) fn shards(nodes: &[Node], writer: &mut Writer<'_>) {
    writer.array(nodes.len());
    for node in nodes {
        writer.map(2);
        writer.bulk(b"slots");
        writer.array(2 * node.slots.len());
        for run in &node.slots {
            writer.integer((*run.start()).into());
            writer.integer((*run.end()).into());
        }
        writer.bulk(b"nodes");
        writer.array(1);
        shard_node(node, writer);
    }
}

fn shard_node(node: &Node, writer: &mut Writer<'_>) {
    let has_name = node.has_host_name();
    writer.map(7 + usize::from(has_name));
    writer.entry("id", &node.id);
    writer.bulk(b"port");
    writer.integer(node.port.into());
    writer.entry("ip", &node.host);
    writer.entry("endpoint", &node.host);
    if has_name {
        writer.entry("hostname", &node.host);
    }
    writer.entry("role", "master");
    writer.bulk(b"replication-offset");
    writer.integer(0);
    writer.entry("health", "online");
}

/// Returns the reply of CLUSTER NODES, a line for each node; the first of `nodes` is this one. `epoch` is
/// the number of the map.
pub(super) fn lines(nodes: &[Node], epoch: u64) -> String {
    let mut text = String::new();
    for (place, node) in nodes.iter().enumerate() {
        let Node { id, host, port, .. } = node;
        // The nodes talk to each other on the port for clients. Writing to a string cannot fail.
        let _ = write!(text, "{id} {host}:{port}@{port}");
        if node.has_host_name() {
            let _ = write!(text, ",{host}");
        }
        let flags = if place == 0 {
            "myself,master"
        } else {
            "master"
        };
        let _ = write!(text, " {flags} - 0 0 {epoch} connected");
        for run in &node.slots {
            let _ = match run.len() {
                1 => write!(text, " {}", run.start()),
                _ => write!(text, " {}-{}", run.start(), run.end()),
            };
        }
        text.push('\n');
    }
    text
}

/// Returns the reply of CLUSTER INFO. `epoch` is the number of the map.
pub(super) fn info(nodes: &[Node], epoch: u64) -> String {
    let assigned: usize = nodes.iter().map(Node::slot_count).sum();
    let owners = nodes.iter().filter(|node| !node.slots.is_empty()).count();
    let state = match assigned == usize::from(SLOTS) {
        true => "ok",
        false => "fail",
    };
    let fields: [(&str, &dyn std::fmt::Display); 12] = [
        ("cluster_state", &state),
        ("cluster_slots_assigned", &assigned),
        ("cluster_slots_ok", &assigned),
        ("cluster_slots_pfail", &0),
        ("cluster_slots_fail", &0),
        ("cluster_known_nodes", &nodes.len()),
        ("cluster_size", &owners),
        ("cluster_current_epoch", &epoch),
        ("cluster_my_epoch", &epoch),
        ("cluster_stats_messages_sent", &0),
        ("cluster_stats_messages_received", &0),
        ("total_cluster_links_buffer_limit_exceeded", &0),
    ];
    let mut text = String::new();
    for (name, value) in fields {
        let _ = write!(text, "{name}:{value}\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::resp::Version;

    fn nodes() -> [Node; 3] {
        let node = |id: &str, host: &str, slots: &[(u16, u16)]| Node {
            id: id.to_owned(),
            host: host.to_owned(),
            port: 9999,
            slots: slots.iter().map(|&(first, last)| first..=last).collect(),
        };
        [
            node("aa", "10.0.0.1", &[(16, 31), (40, 40)]),
            node("bb", "::1", &[(0, 15)]),
            node("cc", "c.example", &[]),
        ]
    }

    /// Returns a reply, with `|` for line ends.
    fn encoded(version: Version, encode: impl FnOnce(&[Node], &mut Writer<'_>)) -> String {
        let mut out = Vec::new();
        encode(&nodes(), &mut Writer::new(version, &mut out));
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn slots_are_sorted_and_have_one_node_each() {
        let b = "*4|$3|::1|:9999|$2|bb|";
        let a = "*4|$8|10.0.0.1|:9999|$2|aa|";
        let reply =
            |map: &str| format!("*3|*3|:0|:15|{b}{map}|*3|:16|:31|{a}{map}|*3|:40|:40|{a}{map}|");
        assert_eq!(encoded(Version::Resp2, slots), reply("*0"));
        assert_eq!(encoded(Version::Resp3, slots), reply("%0"));
    }

    #[test]
    fn shards_are_maps_of_slots_and_nodes() {
        let fields = |id: &str, host: &str, name: &str| {
            let host = format!("${}|{host}|", host.len());
            format!(
                "$2|id|$2|{id}|$4|port|:9999|$2|ip|{host}$8|endpoint|{host}{name}$4|role|$6|master|\
                 $18|replication-offset|:0|$6|health|$6|online|"
            )
        };
        let reply = |[two, seven, eight]: [&str; 3]| {
            let a = fields("aa", "10.0.0.1", "");
            let b = fields("bb", "::1", "");
            let c = fields("cc", "c.example", "$8|hostname|$9|c.example|");
            format!(
                "*3|{two}|$5|slots|*4|:16|:31|:40|:40|$5|nodes|*1|{seven}|{a}\
                 {two}|$5|slots|*2|:0|:15|$5|nodes|*1|{seven}|{b}\
                 {two}|$5|slots|*0|$5|nodes|*1|{eight}|{c}"
            )
        };
        assert_eq!(encoded(Version::Resp2, shards), reply(["*4", "*14", "*16"]));
        assert_eq!(encoded(Version::Resp3, shards), reply(["%2", "%7", "%8"]));
    }

    #[test]
    fn a_line_describes_each_node_and_the_first_is_this_one() {
        assert_eq!(
            lines(&nodes(), 7),
            "aa 10.0.0.1:9999@9999 myself,master - 0 0 7 connected 16-31 40\n\
             bb ::1:9999@9999 master - 0 0 7 connected 0-15\n\
             cc c.example:9999@9999,c.example master - 0 0 7 connected\n"
        );
    }

    #[test]
    fn the_state_is_ok_if_every_slot_has_an_owner() {
        let text = info(&nodes(), 7);
        for line in [
            "cluster_state:fail",
            "cluster_slots_assigned:33",
            "cluster_known_nodes:3",
            "cluster_size:2",
            "cluster_current_epoch:7",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{text}");
        }
        let mut nodes = nodes();
        nodes[0].slots = vec![16..=SLOTS - 1];
        let text = info(&nodes, 7);
        assert!(
            text.starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"),
            "{text}"
        );
    }
}
