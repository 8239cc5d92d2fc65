//! Which server owns a topic, as the nodes of a Redis Cluster say it (`--redis-cluster`).

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use globalcounter::cluster::{SLOTS, Slot};
use globalcounter::topic::{TOPIC_LEN_LIMIT, Topic};
use parking_lot::Mutex;

use crate::target::{Moved, OwnedSlots};

/// The owner of a slot that has none, or one that is not among the servers.
const NOBODY: u16 = u16::MAX;

/// The owner of each slot. All threads share it.
#[derive(Debug)]
pub(super) struct Routes {
    /// The number of each slot's server.
    owners: Box<[AtomicU16]>,
    servers: Vec<SocketAddr>,
    /// The numbers of servers by the host and port under which the nodes know them.
    known: Mutex<HashMap<String, u16>>,
}

impl Routes {
    /// Returns a map in which nobody owns anything.
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        Self {
            owners: (0..SLOTS).map(|_| AtomicU16::new(NOBODY)).collect(),
            servers: servers.to_vec(),
            known: Mutex::default(),
        }
    }

    /// Takes over the map of the node at `asked`.
    ///
    /// # Errors
    ///
    /// The host name of a node is not known.
    pub(super) fn update(&self, map: &[OwnedSlots], asked: SocketAddr) -> io::Result<()> {
        for owned in map {
            let server = self.number_of(owned, asked)?;
            for slot in owned.slots.clone().filter(|&slot| slot < SLOTS) {
                self.owners[usize::from(slot)].store(server, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn number_of(&self, owned: &OwnedSlots, asked: SocketAddr) -> io::Result<u16> {
        let host = owned.host.clone();
        let name = format!(
            "{}:{}",
            host.unwrap_or_else(|| asked.ip().to_string()),
            owned.port
        );
        if let Some(&number) = self.known.lock().get(&name) {
            return Ok(number);
        }
        let number = match address_of(owned, asked)? {
            Some(address) => self.servers.iter().position(|&server| server == address),
            None => None,
        };
        let number = number.map_or(NOBODY, |number| number as u16);
        self.known.lock().insert(name, number);
        Ok(number)
    }

    /// Changes the owner of a slot. Returns whether it is a different one, among the servers.
    pub(super) fn redirect(&self, moved: Moved<'_>) -> bool {
        let (Some(owner), Some(&server)) = (
            self.owners.get(usize::from(moved.slot)),
            self.known.lock().get(moved.owner),
        ) else {
            return false;
        };
        owner.swap(server, Ordering::Relaxed) != server && server != NOBODY
    }

    fn owner_of(&self, topic: &[u8]) -> Option<usize> {
        let topic = Topic::new(topic, TOPIC_LEN_LIMIT).ok()?;
        let slot = Slot::of(topic).number();
        let owner = self.owners[usize::from(slot)].load(Ordering::Relaxed);
        (owner != NOBODY).then_some(owner.into())
    }
}

/// Returns the address of the owner of slots, which the node at `asked` knows. `None` if its host has
/// none.
///
/// # Errors
///
/// The host name is not known.
pub(super) fn address_of(owned: &OwnedSlots, asked: SocketAddr) -> io::Result<Option<SocketAddr>> {
    match &owned.host {
        None => Ok(Some(SocketAddr::new(asked.ip(), owned.port))),
        Some(host) => Ok((host.as_str(), owned.port).to_socket_addrs()?.next()),
    }
}

/// Finds the connections of one thread to the owner of a topic.
#[derive(Debug)]
pub(super) struct Router {
    routes: Arc<Routes>,
    /// The thread's connections to each server.
    by_server: Vec<Vec<usize>>,
}

impl Router {
    /// Returns a router for a thread whose connections are to these servers, by their numbers.
    pub(super) fn new(routes: Arc<Routes>, servers: &[u16]) -> Self {
        let mut by_server = vec![Vec::new(); routes.servers.len()];
        for (connection, &server) in servers.iter().enumerate() {
            by_server[usize::from(server)].push(connection);
        }
        Self { routes, by_server }
    }

    /// Returns the connections for a topic. None means all of them: if nobody owns the topic or its owner
    /// is away, any node can say who owns it now.
    pub(super) fn connections(&self, topic: &[u8], is_open: impl Fn(usize) -> bool) -> &[usize] {
        let Some(owner) = self.routes.owner_of(topic) else {
            return &[];
        };
        let to_owner = &self.by_server[owner];
        match to_owner.iter().any(|&connection| is_open(connection)) {
            true => to_owner,
            false => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_go_to_the_owners_of_their_slots() {
        let servers = ["10.0.0.1:9999", "10.0.0.2:9998"].map(|server| server.parse().unwrap());
        let routes = Routes::new(&servers);
        let owner = |topic: &str| routes.owner_of(topic.as_bytes());
        assert_eq!(owner("foo"), None);
        let owned = |slots, host: Option<&str>, port| OwnedSlots {
            slots,
            host: host.map(str::to_owned),
            port,
        };
        // Redis: CLUSTER KEYSLOT foo is 12182, bar 5061, hello 866.
        let map = [
            owned(0..=5_000, None, 9999),
            owned(5_001..=12_000, Some("10.0.0.2"), 9998),
            owned(12_001..=16_383, Some("10.0.0.3"), 9999),
        ];
        routes.update(&map, servers[0]).unwrap();
        assert_eq!(owner("hello"), Some(0));
        assert_eq!(owner("bar"), Some(1));
        assert_eq!(owner("foo"), None, "its owner is not among the servers");
        let moved = |slot, owner| routes.redirect(Moved { slot, owner });
        assert!(moved(12_182, "10.0.0.2:9998"));
        assert!(!moved(12_182, "10.0.0.2:9998"), "it was known");
        assert_eq!(owner("{foo}.x"), Some(1));
        assert!(!moved(5_061, "10.0.0.3:9999") && !moved(5_061, "10.0.0.4:9999"));
        assert!(!moved(u16::MAX, "10.0.0.1:9999"));
    }
}
