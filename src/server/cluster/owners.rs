//! The map of owners: which node owns each range, as far as this node knows.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tracing::error;

use crate::cluster::{NodeName, Owner, RangeId, Slot};

/// What a range's entry says if this node owns it.
const THIS_NODE: u16 = u16::MAX;

/// What a range's entry says if nobody owns it.
const NOBODY: u16 = u16::MAX - 1;

/// The most nodes that a process remembers: entries from here on have a meaning of their own.
const MAX_PEERS: usize = NOBODY as usize;

/// How long the new owner of a range may take to learn that it is one: it takes the events of a watch.
const LEARNING_TIME: Duration = Duration::from_millis(250);

/// Which node owns each range, as far as this node knows. One thread updates it; all workers read it,
/// and take no lock to learn an owner.
///
/// It may be behind: an owner can refuse a request that was sent to it on this map's word. A reader
/// during an update may see some ranges before it and others after it.
#[derive(Debug)]
pub(crate) struct Owners {
    own: Arc<Peer>,
    /// The index of a peer, [`THIS_NODE`] or [`NOBODY`].
    ranges: Box<[AtomicU16]>,
    /// The last owner of each range, as in `ranges`. It is another one than there while nobody owns the range.
    last: Box<[AtomicU16]>,
    /// When each range went from this node to another one, in nanoseconds from `created` on; 0: never.
    left_at: Box<[AtomicU64]>,
    created: Instant,
    /// Only grows, so that an index that was read stays valid.
    peers: RwLock<Vec<Arc<Peer>>>,
    number: AtomicU64,
    /// Whether a node found no room in `peers`, which is logged once.
    full: AtomicBool,
}

/// A node of the cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: NodeName,
    /// Where clients and other nodes reach it: `host:port`.
    pub(crate) address: Arc<str>,
}

/// Identifies another node for as long as this process runs. A node that comes back at another
/// address is another peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerId(u16);

impl PeerId {
    /// Returns the place of the peer in a list of all peers. The list grows.
    pub(crate) fn index(self) -> usize {
        self.0.into()
    }
}

/// Which node owns a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeOwner {
    /// This node, which may still have to load it.
    ThisNode,
    /// Another node.
    Other(PeerId),
    /// No live node.
    Nobody,
}

/// A node with the slots that it owns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NodeSlots {
    pub(crate) node: Arc<Peer>,
    /// Adjacent slots, in ascending order; between two of these there is a gap.
    pub(crate) slots: Vec<RangeInclusive<u16>>,
}

impl Owners {
    /// Creates the map of a cluster with this many ranges, as its node `name` at `address` knows it at
    /// first: nobody owns anything.
    pub(crate) fn new(ranges: u16, name: NodeName, address: Arc<str>) -> Self {
        Self {
            own: Arc::new(Peer { name, address }),
            ranges: (0..ranges).map(|_| AtomicU16::new(NOBODY)).collect(),
            last: (0..ranges).map(|_| AtomicU16::new(NOBODY)).collect(),
            left_at: (0..ranges).map(|_| AtomicU64::new(0)).collect(),
            created: Instant::now(),
            peers: RwLock::default(),
            number: AtomicU64::new(0),
            full: AtomicBool::new(false),
        }
    }

    /// Returns the owner of a range.
    pub(crate) fn owner(&self, range: RangeId) -> RangeOwner {
        Self::read(&self.ranges[range.index()])
    }

    /// Returns who owns a range, or owned it last: nobody may have claimed it since.
    fn last_owner(&self, range: RangeId) -> RangeOwner {
        Self::read(&self.last[range.index()])
    }

    fn read(entry: &AtomicU16) -> RangeOwner {
        // Together with the release in `update`: the peer of an index that is read here is in the list.
        match entry.load(Ordering::Acquire) {
            THIS_NODE => RangeOwner::ThisNode,
            NOBODY => RangeOwner::Nobody,
            index => RangeOwner::Other(PeerId(index)),
        }
    }

    /// Returns the owner of a slot.
    pub(crate) fn owner_of_slot(&self, slot: Slot) -> RangeOwner {
        self.owner(slot.range(self.ranges()))
    }

    /// Returns whether this node owned the range until a moment ago, so that the new owner may not know yet
    /// that it is one.
    pub(crate) fn has_just_left(&self, range: RangeId, now: Instant) -> bool {
        let left_at = self.left_at[range.index()].load(Ordering::Relaxed);
        left_at > 0 && now < self.created + Duration::from_nanos(left_at) + LEARNING_TIME
    }

    /// Returns a peer.
    pub(crate) fn peer(&self, id: PeerId) -> Arc<Peer> {
        Arc::clone(&self.peers.read()[id.index()])
    }

    /// Returns this node.
    pub(crate) fn own(&self) -> &Peer {
        &self.own
    }

    /// Returns the number of ranges of the cluster.
    pub(crate) fn ranges(&self) -> u16 {
        // `new` made as many entries as a u16 said.
        self.ranges.len() as u16
    }

    /// Returns the number of the map. It grows with each update that changes something.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Asks `owner_of` for the owner of each range, and returns whether one has changed. Only one thread
    /// may call this.
    pub(crate) fn update(&self, owner_of: impl Fn(RangeId) -> Owner) -> bool {
        let mut changed = false;
        for (range, entry) in RangeId::all(self.ranges()).zip(&self.ranges) {
            let before = entry.load(Ordering::Relaxed);
            let now = match owner_of(range) {
                Owner::ThisNode => THIS_NODE,
                Owner::Nobody => NOBODY,
                Owner::Other(name, address) => self.index_of(before, Peer { name, address }),
            };
            if now != before {
                if before == THIS_NODE && now != NOBODY {
                    let left_at = self.created.elapsed().as_nanos() as u64; // enough for centuries
                    self.left_at[range.index()].store(left_at, Ordering::Relaxed);
                }
                if now != NOBODY {
                    self.last[range.index()].store(now, Ordering::Release);
                }
                entry.store(now, Ordering::Release);
                changed = true;
            }
        }
        if changed {
            // Last, so that whoever sees the new number sees all of the new map.
            self.number.fetch_add(1, Ordering::Release);
        }
        changed
    }

    /// Returns the nodes that own slots, and which these are. This node comes first, even if it owns
    /// none. Whoever tells [`number`](Self::number) together with the map reads the number first: then
    /// the map is not older than its number says.
    pub(crate) fn map(&self) -> Vec<NodeSlots> {
        self.map_of(Self::owner)
    }

    /// As [`map`](Self::map), but slots that nobody owns at the moment are shown at the node that owned them
    /// last.
    pub(crate) fn map_with_last_owners(&self) -> Vec<NodeSlots> {
        self.map_of(Self::last_owner)
    }

    fn map_of(&self, owner: impl Fn(&Self, RangeId) -> RangeOwner) -> Vec<NodeSlots> {
        let own = NodeSlots {
            node: Arc::clone(&self.own),
            slots: Vec::new(),
        };
        let mut nodes = vec![own];
        let mut place_of = vec![None; self.peers.read().len()];
        for range in RangeId::all(self.ranges()) {
            let place = match owner(self, range) {
                RangeOwner::ThisNode => 0,
                RangeOwner::Nobody => continue,
                RangeOwner::Other(id) => {
                    // The list may have grown since.
                    place_of.resize(place_of.len().max(id.index() + 1), None);
                    *place_of[id.index()].get_or_insert_with(|| {
                        nodes.push(NodeSlots {
                            node: self.peer(id),
                            slots: Vec::new(),
                        });
                        nodes.len() - 1
                    })
                }
            };
            nodes[place].add(range.slots(self.ranges()));
        }
        nodes
    }

    /// Returns the index of a peer. `likely` is the index that it probably has.
    fn index_of(&self, likely: u16, peer: Peer) -> u16 {
        {
            let peers = self.peers.read();
            let has_it = |known: &Arc<Peer>| **known == peer;
            if peers.get(usize::from(likely)).is_some_and(has_it) {
                return likely;
            }
            if let Some(index) = peers.iter().position(has_it) {
                // No longer than `MAX_PEERS`.
                return index as u16;
            }
        }
        let mut peers = self.peers.write();
        if peers.len() == MAX_PEERS {
            if !self.full.swap(true, Ordering::Relaxed) {
                error!(
                    known = MAX_PEERS,
                    "cannot remember another node: requests for its ranges fail until this node is \
                     restarted"
                );
            }
            return NOBODY;
        }
        peers.push(Arc::new(peer));
        (peers.len() - 1) as u16
    }
}

impl NodeSlots {
    /// Adds slots that are behind all that it has.
    fn add(&mut self, slots: RangeInclusive<u16>) {
        match self.slots.last_mut() {
            Some(last) if *last.end() + 1 == *slots.start() => *last = *last.start()..=*slots.end(),
            _ => self.slots.push(slots),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{RANGES, SLOTS};
    use crate::topic::Topic;

    fn name(name: &str) -> NodeName {
        NodeName::new(name)
    }

    fn owners(ranges: u16) -> Owners {
        Owners::new(ranges, name("a"), "10.0.0.1:9999".into())
    }

    fn other(node: &str, address: &str) -> Owner {
        Owner::Other(name(node), address.into())
    }

    /// Returns the addresses of the nodes of a map, with their slots.
    fn shown(nodes: Vec<NodeSlots>) -> Vec<(String, Vec<RangeInclusive<u16>>)> {
        let nodes = nodes.into_iter();
        nodes
            .map(|node| (node.node.address.to_string(), node.slots))
            .collect()
    }

    #[test]
    fn at_first_nobody_owns_anything() {
        let owners = owners(RANGES);
        assert_eq!(owners.ranges(), RANGES);
        assert_eq!(owners.number(), 0);
        for range in RangeId::all(RANGES) {
            assert_eq!(owners.owner(range), RangeOwner::Nobody);
        }
        assert_eq!(shown(owners.map()), [("10.0.0.1:9999".into(), vec![])]);
    }

    #[test]
    fn each_range_has_the_owner_of_the_last_update() {
        let owners = owners(4);
        let update = |range: RangeId| match range.number() {
            0 => Owner::ThisNode,
            1 | 2 => other("b", "10.0.0.2:9999"),
            _ => Owner::Nobody,
        };
        assert!(owners.update(update));
        assert_eq!(owners.number(), 1);
        let owner = |number| owners.owner(RangeId::new(number, 4).expect("a range"));
        assert_eq!(owner(0), RangeOwner::ThisNode);
        assert_eq!(owner(1), owner(2));
        assert_eq!(owner(3), RangeOwner::Nobody);
        let RangeOwner::Other(peer) = owner(1) else {
            panic!("{:?}", owner(1));
        };
        assert_eq!(owners.peer(peer).name.as_str(), "b");
        assert_eq!(&*owners.peer(peer).address, "10.0.0.2:9999");

        assert!(!owners.update(update), "nothing has changed");
        assert_eq!(owners.number(), 1);
        assert!(owners.update(|_| Owner::ThisNode));
        assert_eq!(owners.number(), 2);
        assert_eq!(owner(3), RangeOwner::ThisNode);
    }

    #[test]
    fn a_range_has_just_left_after_it_went_to_another_node() {
        let owners = owners(1);
        let only = RangeId::new(0, 1).expect("a range");
        let has_just_left = |owner: &dyn Fn() -> Owner| {
            owners.update(|_| owner());
            owners.has_just_left(only, Instant::now())
        };
        assert!(!has_just_left(&|| other("b", "b:1")), "it was never here");
        assert!(!has_just_left(&|| Owner::ThisNode));
        assert!(!has_just_left(&|| Owner::Nobody));
        assert!(!has_just_left(&|| Owner::ThisNode));
        assert!(has_just_left(&|| other("b", "b:1")));
        assert!(!owners.has_just_left(only, Instant::now() + LEARNING_TIME));
    }

    #[test]
    fn a_topic_belongs_to_the_owner_of_its_slot() {
        let owners = owners(RANGES);
        // The slots of foo and bar are 12182 and 5061.
        owners.update(|range| match range.slots(RANGES).contains(&12_182) {
            true => Owner::ThisNode,
            false => Owner::Nobody,
        });
        let owner_of = |topic: &str| {
            let topic = Topic::new(topic.as_bytes(), 9).unwrap();
            owners.owner_of_slot(Slot::of(topic))
        };
        assert_eq!(owner_of("foo"), RangeOwner::ThisNode);
        assert_eq!(owner_of("x{foo}"), RangeOwner::ThisNode);
        assert_eq!(owner_of("bar"), RangeOwner::Nobody);
    }

    #[test]
    fn a_node_keeps_its_identity_while_its_name_and_address_stay() {
        let owners = owners(1);
        let only = RangeId::new(0, 1).expect("a range");
        let mut seen = Vec::new();
        for address in ["1.1.1.1:1", "1.1.1.1:2", "1.1.1.1:1"] {
            owners.update(|_| other("b", address));
            let RangeOwner::Other(peer) = owners.owner(only) else {
                panic!("{address}");
            };
            assert_eq!(&*owners.peer(peer).address, address);
            seen.push(peer);
            owners.update(|_| Owner::Nobody);
        }
        assert_eq!(seen[0], seen[2]);
        assert_ne!(seen[0], seen[1]);
    }

    #[test]
    fn the_map_merges_adjacent_ranges_and_begins_with_this_node() {
        let owners = owners(8);
        owners.update(|range| match range.number() {
            0 | 1 | 7 => other("b", "b:1"),
            2 | 4 | 5 => Owner::ThisNode,
            3 => Owner::Nobody,
            _ => other("c", "c:1"),
        });
        let each = SLOTS / 8;
        let slots = |first: u16, last: u16| first * each..=last * each + (each - 1);
        let expected = [
            ("10.0.0.1:9999".into(), vec![slots(2, 2), slots(4, 5)]),
            ("b:1".into(), vec![slots(0, 1), slots(7, 7)]),
            ("c:1".into(), vec![slots(6, 6)]),
        ];
        assert_eq!(shown(owners.map()), expected);
        // Range 3 never had an owner.
        assert_eq!(shown(owners.map_with_last_owners()), expected);
        owners.update(|range| match range.number() {
            5 => Owner::ThisNode,
            _ => Owner::Nobody,
        });
        let own = [("10.0.0.1:9999".into(), vec![slots(5, 5)])];
        assert_eq!(shown(owners.map()), own);
        assert_eq!(shown(owners.map_with_last_owners()), expected);
        owners.update(|_| Owner::ThisNode);
        assert_eq!(
            shown(owners.map()),
            [("10.0.0.1:9999".into(), vec![0..=SLOTS - 1])]
        );
    }
}
