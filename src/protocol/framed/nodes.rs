//! The map of a cluster, as the reply to NODES carries it: its nodes, and the slots of each.

use super::frame::{HEADER_LEN, VERSION};
use crate::topic::SLOTS;

/// The longest encoded map, in bytes. As a frame it fits into one datagram, of at most 65,507 bytes.
const MAX_MAP: usize = 65_507 - HEADER_LEN;

/// The length of what comes before the nodes, in bytes.
const FIXED: usize = 13;

/// The length of a node without its address and its ranges, and that of a range, in bytes.
const NODE_FIXED: usize = 3;
const RANGE: usize = 4;

/// Which nodes a cluster has, and which slots each of them owns, as far as the node knows that tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeMap {
    /// Changes whenever the map does. Each node counts by itself: numbers of two nodes cannot be
    /// compared.
    pub number: u64,
    /// The index in `nodes` of the node that tells this.
    pub own: u16,
    /// The nodes. The one that tells this comes first.
    pub nodes: Vec<MapNode>,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapNode {
    /// Where clients reach it over TCP, `host:port`; at most 255 bytes. Empty if that is not known. A
    /// client that wants to reach the node that told it the map knows its address already.
    pub address: String,
    /// The slots that it owns: the first and the last of each range.
    pub slots: Vec<(u16, u16)>,
}

impl NodeMap {
    /// Returns the map of a server alone, which owns all slots. It does not know under which of its
    /// addresses clients reach it.
    #[must_use]
    pub fn alone() -> Self {
        Self {
            number: 0,
            own: 0,
            nodes: vec![MapNode {
                address: String::new(),
                slots: vec![(0, SLOTS - 1)],
            }],
        }
    }

    /// Returns the body of a reply to NODES. Adjacent ranges become one. If the map does not fit, as with
    /// thousands of nodes, some nodes lack their ranges, and if it still does not fit, the last nodes are
    /// missing. An address that is too long is left empty.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut room = MAX_MAP - FIXED;
        let mut nodes = Vec::new();
        for node in &self.nodes {
            let address = node.short_address();
            match room.checked_sub(NODE_FIXED + address.len()) {
                Some(left) => room = left,
                None => break,
            }
            nodes.push((address, merged(&node.slots)));
        }
        let mut body = vec![VERSION];
        body.extend_from_slice(&self.number.to_be_bytes());
        body.extend_from_slice(&self.own.to_be_bytes());
        // The room for nodes bounds their number, and that of ranges.
        body.extend_from_slice(&(nodes.len() as u16).to_be_bytes());
        for (address, mut ranges) in nodes {
            match room.checked_sub(ranges.len() * RANGE) {
                Some(left) => room = left,
                None => ranges.clear(),
            }
            body.push(address.len() as u8);
            body.extend_from_slice(address.as_bytes());
            body.extend_from_slice(&(ranges.len() as u16).to_be_bytes());
            for (first, last) in ranges {
                body.extend_from_slice(&first.to_be_bytes());
                body.extend_from_slice(&last.to_be_bytes());
            }
        }
        body
    }

    /// Decodes the body of a reply to NODES; `None` if it is not one. Bytes behind it are ignored: a later
    /// version may have added them.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let (&[VERSION..=u8::MAX], mut rest) = body.split_first_chunk()? else {
            return None;
        };
        let number = u64::from_be_bytes(take(&mut rest)?);
        let own = u16::from_be_bytes(take(&mut rest)?);
        let count = u16::from_be_bytes(take(&mut rest)?);
        let nodes = (0..count).map(|_| MapNode::decode(&mut rest));
        Some(Self {
            number,
            own,
            nodes: nodes.collect::<Option<_>>()?,
        })
    }
}

impl MapNode {
    /// Returns the address, if it is short enough to be encoded.
    fn short_address(&self) -> &str {
        match u8::try_from(self.address.len()) {
            Ok(_) => &self.address,
            Err(_) => "",
        }
    }

    /// Decodes the node at the start of `rest`, and removes it from there.
    fn decode(rest: &mut &[u8]) -> Option<Self> {
        let [len] = take(rest)?;
        let address = rest.split_off(..usize::from(len))?;
        let address = str::from_utf8(address).ok()?.to_owned();
        let count = u16::from_be_bytes(take(rest)?);
        let slots = (0..count).map(|_| {
            let [first, last] = [take(rest)?, take(rest)?].map(u16::from_be_bytes);
            (first <= last && last < SLOTS).then_some((first, last))
        });
        let slots = slots.collect::<Option<_>>()?;
        Some(Self { address, slots })
    }
}

/// Returns ranges of slots with adjacent ones merged.
fn merged(slots: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for &(first, last) in slots {
        match merged.last_mut() {
            Some(before) if before.1.checked_add(1) == Some(first) => before.1 = last,
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// Takes the first bytes of `rest`.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(address: &str, slots: &[(u16, u16)]) -> MapNode {
        MapNode {
            address: address.to_owned(),
            slots: slots.to_vec(),
        }
    }

    fn map(nodes: Vec<MapNode>) -> NodeMap {
        NodeMap {
            number: 1 << 40,
            own: 0,
            nodes,
        }
    }

    #[test]
    fn a_map_is_laid_out_as_documented() {
        let nodes = vec![node("a:1", &[(0, 15), (16, 31), (64, 64)]), node("", &[])];
        let bytes = map(nodes).encode();
        let expected = b"\x01\0\0\x01\0\0\0\0\0\0\0\0\x02\
            \x03a:1\0\x02\0\0\0\x1f\0\x40\0\x40\0\0\0";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let every_other: Vec<_> = (0..SLOTS / 2).map(|n| (2 * n, 2 * n)).collect();
        let others: Vec<_> = every_other.iter().map(|&(n, _)| (n + 1, n + 1)).collect();
        let all = map(vec![
            node("a:1", &every_other),
            node("b:1", &others),
            node("c:1", &[(5, 5)]),
        ]);
        let shown = NodeMap::decode(&all.encode()).unwrap();
        assert_eq!(shown.nodes[0], all.nodes[0]);
        assert_eq!(shown.nodes[1], node("b:1", &[]));
        assert_eq!(shown.nodes[2], all.nodes[2]);

        let long = "x".repeat(255);
        let many = map(vec![node(&long, &[(1, 1)]); 1_000]);
        let encoded = many.encode();
        assert!((MAX_MAP - 300..=MAX_MAP).contains(&encoded.len()));
        let shown = NodeMap::decode(&encoded).unwrap();
        assert!(shown.nodes.len() < 1_000);
        assert_eq!(shown.nodes[0].address, long);

        let too_long = map(vec![node(&"x".repeat(256), &[(1, 1)])]);
        let shown = NodeMap::decode(&too_long.encode()).unwrap();
        assert_eq!(shown.nodes, [node("", &[(1, 1)])]);
    }

    #[test]
    fn bytes_that_are_not_a_map_are_refused() {
        let good = map(vec![node("a:1", &[(1, 2)])]).encode();
        for cut in 0..good.len() {
            assert_eq!(NodeMap::decode(&good[..cut]), None, "{cut} bytes");
        }
        let with = |at: usize, byte| {
            let mut bad = good.clone();
            bad[at] = byte;
            NodeMap::decode(&bad)
        };
        assert_eq!(with(0, 0), None, "version 0");
        assert_eq!(with(FIXED + 1, 0xff), None, "not UTF-8");
        assert_eq!(with(good.len() - 1, 0), None, "it ends before it begins");
        assert_eq!(with(good.len() - 2, 0x40), None, "there is no such slot");
        assert!(with(0, 2).is_some(), "a later version");
    }

    proptest! {
        #[test]
        fn maps_round_trip_and_bytes_behind_them_are_ignored(
            number: u64, own: u16, more: Vec<u8>,
            nodes in prop::collection::vec((".{0,20}", prop::collection::vec(0..SLOTS / 2, 0..9)), 0..9)
        ) {
            // Apart from one another, so that they stay as they are.
            let slots = |of: Vec<u16>| of.into_iter().map(|n| (n * 2, n * 2)).collect();
            let nodes = nodes.into_iter().map(|(address, of)| MapNode { address, slots: slots(of) });
            let map = NodeMap { number, own, nodes: nodes.collect() };
            let mut bytes = map.encode();
            bytes.extend(more);
            prop_assert_eq!(NodeMap::decode(&bytes), Some(map));
        }

        #[test]
        fn any_bytes_are_a_map_or_none(bytes: Vec<u8>) {
            if let Some(map) = NodeMap::decode(&bytes) {
                prop_assert_eq!(NodeMap::decode(&map.encode()).map(|map| map.number), Some(map.number));
            }
        }
    }
}
