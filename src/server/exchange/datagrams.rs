//! The datagrams that requests came in.

use super::buffers::empty;
use super::origin::{Datagram, ReplyFormat};
use crate::server::net::sys::Peer;

/// Datagrams in the order in which they came. Those of one message share their peer: the kernel may
/// coalesce 64 datagrams of a peer into a message.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    peers: Vec<Peer>,
    entries: Vec<Entry>,
}

/// A datagram in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Index of the peer that sent it; see [`Datagrams::peer`].
    pub(crate) peer: u32,
    pub(crate) format: ReplyFormat,
}

// One is written and read for each classic request.
const _: () = assert!(size_of::<Entry>() == 8);

impl Datagrams {
    /// Begins a message of `peer`: it sent the datagrams that are pushed from now on.
    pub(crate) fn begin_message(&mut self, peer: Peer) {
        self.peers.push(peer);
    }

    /// Appends a datagram of the message that was begun last. Returns its index.
    #[inline]
    pub(crate) fn push(&mut self, format: ReplyFormat) -> u32 {
        let index = self.entries.len() as u32;
        let peer = (self.peers.len() - 1) as u32;
        self.entries.push(Entry { peer, format });
        index
    }

    /// Appends a datagram of another list.
    pub(super) fn push_copy(&mut self, datagram: Datagram) {
        if self.peers.last() != Some(&datagram.peer) {
            self.begin_message(datagram.peer);
        }
        self.push(datagram.format);
    }

    /// Returns the datagram with this index.
    #[inline]
    pub(crate) fn entry(&self, index: u32) -> Entry {
        self.entries[index as usize]
    }

    /// Returns the peer with this index.
    pub(crate) fn peer(&self, index: u32) -> &Peer {
        &self.peers[index as usize]
    }

    /// Returns the datagram with this index, and its peer.
    pub(super) fn at(&self, index: u32) -> Datagram {
        let Entry { peer, format } = self.entry(index);
        Datagram {
            peer: *self.peer(peer),
            format,
        }
    }

    /// Returns the number of datagrams.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no datagrams.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Removes all datagrams. Frees the memory of a list with room for more than `keep`.
    pub(crate) fn empty(&mut self, keep: usize) {
        empty(&mut self.peers, keep);
        empty(&mut self.entries, keep);
    }
}
