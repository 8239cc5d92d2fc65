//! The peer of a datagram.

use std::mem::size_of;
use std::net::IpAddr;

/// The size of a socket address in bytes: that of `sockaddr_in6`, the larger of the two families.
pub(super) const NAME_LEN: usize = size_of::<libc::sockaddr_in6>();

/// The sender of a datagram, and the local address that it was sent to. The sender's address is kept as
/// the kernel returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub(super) name: [u8; NAME_LEN],
    pub(super) name_len: u8,
    pub(super) local: Local,
}

/// The local address that a datagram was sent to. Known only for sockets that are bound to a wildcard
/// address and asked for it; for others it is [`Local::Bound`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Local {
    Bound,
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Peer {
    /// Returns the peer that a connected socket sends to. On an unconnected socket it is no valid peer.
    #[must_use]
    pub fn connected() -> Self {
        Self {
            name: [0; NAME_LEN],
            name_len: 0,
            local: Local::Bound,
        }
    }

    /// Returns the address of the sender; `None` if the kernel returned none.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        // The layouts of sockaddr_in and sockaddr_in6.
        let family = u16::from_ne_bytes([self.name[0], self.name[1]]);
        match i32::from(family) {
            libc::AF_INET => {
                let address: [u8; 4] = self.name[4..8].try_into().ok()?;
                Some(address.into())
            }
            libc::AF_INET6 => {
                let address: [u8; 16] = self.name[8..24].try_into().ok()?;
                Some(IpAddr::from(address).to_canonical())
            }
            _ => None,
        }
    }
}
