//! Each named fault by itself.

use nix::sys::signal::Signal;

use crate::checker::Skips;
use crate::cluster::{Cluster, NODE_AHEAD, with_cluster};
use crate::network::{Link, SIZE};
use crate::relay::Relay;
use crate::round::{count_on, wait_until_nothing_counts};

/// In seconds.
const LEASE: u64 = 2;

/// A node that comes back after others had its ranges skips what is in its reserve, and so do the others
/// when they take over.
const TWICE: Skips = Skips::Reserves(2);

/// Waits until the other nodes own all ranges of a node.
pub(crate) fn others_take_over(cluster: &Cluster, node: usize) {
    cluster.wait_for("the others take over", |status| status.others_own_all(node));
}

/// Says so where links cannot be cut.
fn has_links(cluster: &Cluster) -> bool {
    let has = cluster.network.has_links();
    if !has {
        println!("left out: it needs network namespaces");
    }
    has
}

#[test]
#[ignore = "they take minutes together"]
fn a_node_is_killed_and_started_again() {
    with_cluster("killed", LEASE, |cluster| {
        for node in 0..2 {
            cluster.round("killed", TWICE, |cluster, _| {
                cluster.nodes[node].kill();
                others_take_over(cluster, node);
                Vec::new()
            });
        }
    });
}

/// Its ranges move first: what it does not answer was lost with its connections.
#[test]
fn a_node_that_leaves_skips_nothing_and_refuses_nothing() {
    with_cluster("leaves", LEASE, |cluster| {
        for node in 0..SIZE {
            let round = cluster.round("left", Skips::None, |cluster, _| {
                cluster.nodes[node].terminate();
                others_take_over(cluster, node);
                Vec::new()
            });
            round.assert_nothing_failed();
        }
    });
}

/// It was stopped in the middle of its batches, and continues with memory of ranges that others own.
#[test]
#[ignore = "they take minutes together"]
fn an_owner_is_stopped_for_longer_than_its_lease_and_continues() {
    with_cluster("stopped", LEASE, |cluster| {
        for node in 1..SIZE {
            cluster.round("stopped", TWICE, |cluster, _| {
                cluster.nodes[node].stop();
                others_take_over(cluster, node);
                cluster.nodes[node].resume();
                Vec::new()
            });
        }
    });
}

/// Five published systems continued with their old numbers here.
#[test]
#[ignore = "they take minutes together"]
fn a_node_regains_ranges_that_others_counted_meanwhile() {
    with_cluster("regains", LEASE, |cluster| {
        cluster.round("regained", Skips::Reserves(4), |cluster, load| {
            for _ in 0..2 {
                cluster.nodes[0].stop();
                others_take_over(cluster, 0);
                count_on(load);
                cluster.nodes[0].resume();
                cluster.wait_until_whole();
            }
            Vec::new()
        });
    });
}

/// A node that is stopped while a range moves away and back sees one change, if any: its session lives.
#[test]
#[ignore = "they take minutes together"]
fn two_changes_of_owner_are_seen_as_one() {
    with_cluster("twice", 15, |cluster| {
        // What the stopped node had sent to etcd has timed out when it continues: it loads those ranges again.
        cluster.round("moved twice", Skips::Reserves(1), |cluster, _| {
            cluster.nodes[1].stop();
            cluster.nodes[0].terminate();
            others_take_over(cluster, 0);
            cluster.start_nodes();
            // Those that the third node had meanwhile. The stopped one hands nothing over.
            let mut lives = false;
            cluster.wait_for("the node has ranges again", |status| {
                lives = status.owned(1) > Some(0);
                status.owned(0) > Some(100)
            });
            assert!(lives, "the session of the stopped node has ended");
            cluster.nodes[1].resume();
            Vec::new()
        });
    });
}

#[test]
#[ignore = "they take minutes together"]
fn etcds_leader_is_lost_in_the_middle_of_a_hand_over() {
    with_cluster("leader", LEASE, |cluster| {
        cluster.round("leader lost", Skips::Reserves(3), |cluster, _| {
            let leader = cluster.members.leader();
            cluster.nodes[0].begin_to_terminate();
            cluster.members.kill(leader);
            cluster.nodes[0].wait_until_ended();
            Vec::new()
        });
    });
}

#[test]
#[ignore = "they take minutes together"]
fn etcds_majority_is_lost_for_longer_than_a_lease() {
    with_cluster("majority", LEASE, |cluster| {
        cluster.round("majority lost", Skips::Reserves(3), |cluster, load| {
            let leader = cluster.members.leader();
            cluster.members.kill(leader);
            cluster.members.kill((leader + 1) % SIZE);
            // After the deadline nobody gets a number.
            wait_until_nothing_counts(load);
            Vec::new()
        });
    });
}

/// A member that is stopped keeps its connections open. It does not lead: a leader that is stopped and
/// continued may end sessions that its successor renewed (docs/cluster.md, "Which etcd").
#[test]
#[ignore = "they take minutes together"]
fn a_member_of_etcd_is_stopped_and_continues() {
    with_cluster("member", LEASE, |cluster| {
        cluster.round("member stopped", Skips::Reserves(3), |cluster, load| {
            let member = (cluster.members.leader() + 1) % SIZE;
            cluster.members.signal(member, Signal::SIGSTOP);
            count_on(load);
            cluster.members.signal(member, Signal::SIGCONT);
            Vec::new()
        });
    });
}

#[test]
#[ignore = "they take minutes together"]
fn a_node_is_cut_off_from_etcd_but_not_from_clients() {
    with_cluster("cut-etcd", LEASE, |cluster| {
        if has_links(cluster) {
            cluster.round("cut off from etcd", TWICE, |cluster, load| {
                cluster.cut(Link::Etcd(0));
                others_take_over(cluster, 0);
                count_on(load);
                Vec::new()
            });
        }
    });
}

/// The others forward to it. No range moves, so nothing is skipped.
#[test]
#[ignore = "they take minutes together"]
fn a_node_is_cut_off_from_clients_but_not_from_etcd() {
    with_cluster("cut-clients", LEASE, |cluster| {
        if has_links(cluster) {
            cluster.round("cut off from clients", Skips::None, |cluster, load| {
                cluster.cut(Link::Clients(0));
                count_on(load);
                let owned = cluster.status().and_then(|status| status.owned(0));
                assert!(owned > Some(0), "it owns its ranges: {owned:?}");
                Vec::new()
            });
        }
    });
}

#[test]
#[ignore = "they take minutes together"]
fn a_node_is_cut_off_from_other_nodes() {
    with_cluster("cut-peers", LEASE, |cluster| {
        if has_links(cluster) {
            cluster.round("cut off from nodes", Skips::None, |cluster, load| {
                cluster.cut(Link::Peers(0));
                count_on(load);
                Vec::new()
            });
        }
    });
}

/// What a former owner sent to etcd before it lost its ranges arrives after others took them over and
/// counted.
#[test]
#[ignore = "they take minutes together"]
fn a_commit_of_a_former_owner_arrives_late() {
    with_cluster("late", LEASE, |cluster| {
        let relays = cluster.relay_etcd(0);
        cluster.round("started behind relays", Skips::None, |cluster, _| {
            cluster.nodes[0].terminate();
            cluster.start_nodes();
            Vec::new()
        });
        cluster.round("commit held back", TWICE, |cluster, load| {
            relays.iter().for_each(Relay::hold);
            others_take_over(cluster, 0);
            count_on(load);
            let held: usize = relays.iter().map(Relay::held).sum();
            assert!(held > 0, "something is held back");
            println!("{held} pieces to etcd arrive late");
            relays.iter().for_each(Relay::release);
            Vec::new()
        });
    });
}

/// The clock that measures deadlines is a day ahead at one node. Nobody compares it with another one.
#[test]
#[ignore = "they take minutes together"]
fn a_node_has_another_clock() {
    with_cluster("clock", LEASE, |cluster| {
        let process = cluster.nodes[NODE_AHEAD].process();
        let offsets = std::fs::read_to_string(format!("/proc/{process}/timens_offsets"));
        if !offsets.is_ok_and(|text| text.contains("86400")) {
            println!("left out: it needs time namespaces");
            return;
        }
        cluster.round("stopped", TWICE, |cluster, _| {
            cluster.nodes[NODE_AHEAD].stop();
            others_take_over(cluster, NODE_AHEAD);
            Vec::new()
        });
    });
}
