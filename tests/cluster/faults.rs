//! What can go wrong.

use std::thread;
use std::time::Duration;

use crate::checker::Skips;
use crate::cluster::Cluster;
use crate::network::{Link, SIZE};
use crate::support::Random;

/// A fault. [`Cluster::heal`] undoes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL of a node.
    Kill(usize),
    /// SIGTERM of a node; the fault is over when it has left.
    Terminate(usize),
    /// SIGTERM of a node, which may leave while other things fail.
    BeginToTerminate(usize),
    /// SIGSTOP of a node.
    Stop(usize),
    /// SIGKILL of etcd's leader.
    KillLeader,
    /// etcd's leader is cut off.
    CutLeader,
    /// SIGKILL of two of three members of etcd.
    KillMajority,
    /// A node is cut off from etcd, from other nodes, from clients, or from all.
    CutFromEtcd(usize),
    CutFromPeers(usize),
    CutFromClients(usize),
    CutFromAll(usize),
}

/// All kinds.
const KINDS: [fn(usize) -> Fault; 10] = [
    Fault::Kill,
    Fault::Terminate,
    Fault::Stop,
    |_| Fault::KillLeader,
    |_| Fault::CutLeader,
    |_| Fault::KillMajority,
    Fault::CutFromEtcd,
    Fault::CutFromPeers,
    Fault::CutFromClients,
    Fault::CutFromAll,
];

impl Fault {
    /// Chooses a fault, one that this cluster can have.
    pub(crate) fn choose(cluster: &Cluster, random: &mut Random) -> Self {
        loop {
            let kind = KINDS[random.below(KINDS.len() as u64) as usize];
            let fault = kind(random.below(SIZE as u64) as usize);
            if cluster.network.has_links() || !fault.needs_links() {
                return fault;
            }
        }
    }

    /// Returns the fault as it happens together with others, which may make leaving impossible until they
    /// are over.
    pub(crate) fn together(self) -> Self {
        match self {
            Self::Terminate(node) => Self::BeginToTerminate(node),
            fault => fault,
        }
    }

    fn needs_links(self) -> bool {
        matches!(
            self,
            Self::CutLeader
                | Self::CutFromEtcd(_)
                | Self::CutFromPeers(_)
                | Self::CutFromClients(_)
                | Self::CutFromAll(_)
        )
    }

    /// Returns which numbers may be skipped. A node that is lost, or that loses ranges or the outcome of a
    /// commit, skips what it had in reserve; after that its ranges may move twice more.
    pub(crate) fn skips(self) -> Skips {
        match self {
            // Requests between two nodes, or to one, may be lost: these have no answer.
            Self::Terminate(_) | Self::CutFromPeers(_) | Self::CutFromClients(_) => Skips::None,
            _ => Skips::Reserves(3),
        }
    }

    /// Lets it happen.
    pub(crate) fn inject(self, cluster: &mut Cluster) {
        match self {
            Self::Kill(node) => cluster.nodes[node].kill(),
            Self::Terminate(node) => cluster.nodes[node].terminate(),
            Self::BeginToTerminate(node) => cluster.nodes[node].begin_to_terminate(),
            Self::Stop(node) => cluster.nodes[node].stop(),
            Self::KillLeader => {
                let leader = cluster.members.leader();
                cluster.members.kill(leader);
            }
            Self::CutLeader => {
                let leader = cluster.members.leader();
                cluster.cut(Link::Member(leader));
            }
            Self::KillMajority => {
                let leader = cluster.members.leader();
                cluster.members.kill(leader);
                cluster.members.kill((leader + 1) % SIZE);
            }
            Self::CutFromEtcd(node) => cluster.cut(Link::Etcd(node)),
            Self::CutFromPeers(node) => cluster.cut(Link::Peers(node)),
            Self::CutFromClients(node) => cluster.cut(Link::Clients(node)),
            Self::CutFromAll(node) => {
                cluster.cut(Link::Etcd(node));
                cluster.cut(Link::Peers(node));
                cluster.cut(Link::Clients(node));
            }
        }
    }

    /// Lets it last: from a part of the lease to longer than it.
    pub(crate) fn last(cluster: &Cluster, random: &mut Random) {
        let lease = cluster.lease * 1_000;
        thread::sleep(Duration::from_millis(lease / 4 + random.below(lease * 2)));
    }
}

/// Returns the greater of two allowances.
pub(crate) fn more(one: Skips, other: Skips) -> Skips {
    match (one, other) {
        (Skips::Reserves(one), Skips::Reserves(other)) => Skips::Reserves(one + other),
        (Skips::None, skips) | (skips, Skips::None) => skips,
    }
}
