//! Steering: the kernel runs [`program`](super::program) on each classic datagram and delivers it
//! to the socket of the worker that owns its topic, so that the request crosses no cores. The
//! program is tried on sockets of its own before peers' datagrams depend on it.
//!
//! Steering is only a hint: a request that arrives at another worker is taken to its owner. Framed
//! datagrams are not steered, because one may hold requests for many topics. If the kernel
//! coalesced a run of datagrams (GRO), the first datagram decides for the whole run.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::Socket;
use thiserror::Error;
use tracing::debug;

use super::program::{leave_to_kernel, program};
use crate::protocol::classic;
use crate::server::net::{sys, udp_group};
use crate::topic::{OWNER_WORDS, ShardId, Shards, Topic};

/// How many datagrams a server sends to itself before it trusts the program: two topics of each
/// length up to beyond the last word that is hashed.
const PROBES: usize = 2 * (4 * OWNER_WORDS + 10);

/// How long to wait for a probe. On loopback it has arrived once it is sent; the limit is for a
/// kernel that loses it.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

/// Why datagrams cannot be steered.
#[derive(Debug, Error)]
pub(crate) enum SteeringError {
    #[error("the kernel rejects the steering program")]
    Refused(#[source] io::Error),
    #[error("cannot test the steering program")]
    Probe(#[source] io::Error),
    #[error("a test datagram for shard {} did not arrive at its socket", .0.number())]
    Astray(ShardId),
}

/// Steers the datagrams of a group of sockets, in the order in which they were bound: socket `i`
/// gets the datagrams of shard `i`. If an inherited group comes in another order, requests arrive at
/// other workers, which forward them. Tests the program on other sockets first, so that no peer's
/// datagram is at risk.
///
/// # Errors
///
/// Returns [`SteeringError`]; the kernel then goes on to distribute datagrams by the peer's address.
pub(crate) fn steer(group: &[Socket], shards: Shards) -> Result<(), SteeringError> {
    let Some(first) = group.first() else {
        return Ok(());
    };
    let probing = Probing::new(shards)?;
    for i in 0..PROBES {
        // A number's digits, repeated up to the length: two topics of each length.
        let number = format!("{i}");
        let name: String = number.chars().cycle().take(i / 2).collect();
        probing.probe(name.as_bytes())?;
    }
    sys::attach_reuseport_filter(first.as_fd(), &program(shards))
        .map_err(SteeringError::Refused)?;
    debug!("steering classic datagrams to their owners");
    Ok(())
}

/// Leaves the choice of the socket to the kernel for an inherited group. An earlier server may have
/// steered it, for another number of shards.
pub(crate) fn do_not_steer(group: &[Socket]) {
    if let Some(first) = group.first()
        && let Err(error) = sys::attach_reuseport_filter(first.as_fd(), &leave_to_kernel())
    {
        debug!(%error, "cannot remove the steering program of an earlier server");
    }
}

/// A steered group of sockets for the test, and a peer that sends to it.
struct Probing {
    group: Vec<UdpSocket>,
    peer: UdpSocket,
    shards: Shards,
}

impl Probing {
    fn new(shards: Shards) -> Result<Self, SteeringError> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let group = udp_group(anywhere, usize::from(shards.count()));
        let group: Vec<UdpSocket> = group
            .map_err(SteeringError::Probe)?
            .into_iter()
            .map(UdpSocket::from)
            .collect();
        let filter = program(shards);
        let connect = || -> io::Result<UdpSocket> {
            let peer = UdpSocket::bind(anywhere)?;
            peer.connect(group[0].local_addr()?)?;
            for socket in &group {
                socket.set_nonblocking(false)?;
                socket.set_read_timeout(Some(PROBE_TIMEOUT))?;
            }
            Ok(peer)
        };
        let peer = connect().map_err(SteeringError::Probe)?;
        sys::attach_reuseport_filter(group[0].as_fd(), &filter).map_err(SteeringError::Refused)?;
        Ok(Self {
            group,
            peer,
            shards,
        })
    }

    /// Counts a topic by datagram and checks that it arrives at the owner's socket.
    fn probe(&self, name: &[u8]) -> Result<(), SteeringError> {
        let owner = self.shards.owner(Topic::checked_before(name));
        let message = [&[classic::COUNT], name].concat();
        self.peer.send(&message).map_err(SteeringError::Probe)?;
        let mut buffer = [0; 256];
        let arrived = self.group[owner.index()].recv(&mut buffer);
        match arrived {
            Ok(len) if buffer[..len] == message[..len] => Ok(()),
            _ => Err(SteeringError::Astray(owner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_chooses_the_owner_of_any_topic() {
        let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for count in [2, 3, 4, 5, 8, 16, 33, 64] {
            let shards = Shards::new(count).unwrap();
            let probing = match Probing::new(shards) {
                Ok(probing) => probing,
                Err(error) => {
                    println!("skipped: {error}: {:?}", std::error::Error::source(&error));
                    return;
                }
            };
            for i in 0..100_000 / 8 {
                let len = if i < 200 { i / 2 } else { next() as usize % 90 };
                let name: String = (0..len)
                    .map(|_| char::from(b' ' + (next() % 95) as u8))
                    .collect();
                if let Err(error) = probing.probe(name.as_bytes()) {
                    panic!("{name:?}, {count} shards: {error}");
                }
            }
        }
    }
}
