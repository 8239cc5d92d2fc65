//! What the senders of datagrams may do: by their addresses, since a datagram carries no token. A source
//! address can be forged, so RESET and DELETE need the right `udp-reset`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::access::{Access, Grant, Guard};
use crate::server::net::coarse_seconds;
use crate::server::net::sys::Peer;

/// How many addresses a worker remembers. At the limit it forgets all of them, and asks the policy again.
const ADDRESSES: usize = 1024;

/// How many datagrams a second a worker answers with DENIED. An answer is no longer than that to any other
/// bad request, and it tells a client at once that it will not get through. But those that a network
/// should not send, forged ones among them, must not double that network's load.
const DENIALS_PER_SECOND: u32 = 1_000;

/// The senders of a worker's datagrams.
#[derive(Debug)]
pub(super) struct Senders {
    guard: Arc<Guard>,
    known: HashMap<IpAddr, Access>,
    /// The second that `denials` counts.
    second: u64,
    denials: u32,
}

impl Senders {
    pub(super) fn new(guard: Arc<Guard>) -> Self {
        Self {
            guard,
            known: HashMap::new(),
            second: 0,
            denials: 0,
        }
    }

    /// Returns what the sender of a message may do.
    pub(super) fn grant(&mut self, peer: &Peer) -> Arc<Grant> {
        let Some(address) = peer.address() else {
            return Arc::default();
        };
        if self.known.len() >= ADDRESSES && !self.known.contains_key(&address) {
            self.known.clear();
        }
        let access = self
            .known
            .entry(address)
            .or_insert_with(|| Access::new(Arc::clone(&self.guard), address));
        access.refresh();
        Arc::clone(access.grant())
    }

    /// Returns whether one more request is answered with DENIED. If not, it gets no answer.
    pub(super) fn may_deny(&mut self) -> bool {
        self.may_deny_at(coarse_seconds())
    }

    fn may_deny_at(&mut self, second: u64) -> bool {
        if second != self.second {
            (self.second, self.denials) = (second, 0);
        }
        self.denials += 1;
        self.denials <= DENIALS_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Policy;

    #[test]
    fn denials_are_limited_for_each_second() {
        let mut senders = Senders::new(Arc::new(Guard::new(Policy::default())));
        for second in [7, 8] {
            let answered = (0..2 * DENIALS_PER_SECOND).filter(|_| senders.may_deny_at(second));
            assert_eq!(answered.count(), DENIALS_PER_SECOND as usize);
        }
    }
}
