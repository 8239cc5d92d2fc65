//! Who is connected and speaks the Redis protocol: what CLIENT LIST tells. A connection is entered
//! with its first command and leaves with its end; nothing here is touched while it counts but its
//! own entry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::protocol::resp::{COMMANDS, Verb, Version};
use crate::server::net::coarse_seconds;

/// No command was asked for yet.
const NO_VERB: u8 = u8::MAX;

/// All clients, by their number.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    last: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Client>>>,
}

/// A client. Its connection's worker writes, whoever lists clients reads.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    since: u64,
    /// When it last sent something, and what it asked for.
    active: AtomicU64,
    verb: AtomicU8,
    version: AtomicU8,
    pub(crate) words: Mutex<Words>,
}

/// What a client says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    pub(crate) name: String,
    pub(crate) library: String,
    pub(crate) library_version: String,
}

/// A client that is entered; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    clients: Arc<Clients>,
    pub(crate) client: Arc<Client>,
}

impl Entered {
    /// Enters a client with these addresses, where they are known.
    pub(crate) fn new(
        clients: &Arc<Clients>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> Self {
        let now = coarse_seconds();
        let client = Arc::new(Client {
            id: clients.last.fetch_add(1, Ordering::Relaxed) + 1,
            peer,
            local,
            since: now,
            active: AtomicU64::new(now),
            verb: AtomicU8::new(NO_VERB),
            version: AtomicU8::new(Version::Resp2.number()),
            words: Mutex::default(),
        });
        clients.all.lock().insert(client.id, Arc::clone(&client));
        Self {
            clients: Arc::clone(clients),
            client,
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.clients.all.lock().remove(&self.client.id);
    }
}

impl Clients {
    /// All of them, in the order in which they came.
    pub(crate) fn list(&self) -> Vec<Arc<Client>> {
        self.all.lock().values().cloned().collect()
    }

    /// Those with these numbers.
    pub(crate) fn some(&self, ids: &BTreeSet<u64>) -> Vec<Arc<Client>> {
        let all = self.all.lock();
        ids.iter().filter_map(|id| all.get(id).cloned()).collect()
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.all.lock().len()
    }
}

impl Client {
    /// It asks for that.
    pub(crate) fn asks(&self, verb: Verb) {
        self.verb.store(verb as u8, Ordering::Relaxed);
    }

    /// It sent something just now.
    pub(crate) fn is_active(&self) {
        self.active.store(coarse_seconds(), Ordering::Relaxed);
    }

    /// It speaks that version from now on.
    pub(crate) fn speaks(&self, version: Version) {
        self.version.store(version.number(), Ordering::Relaxed);
    }
}

/// A line of CLIENT LIST, with those of Redis's fields that mean something here.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |address: Option<SocketAddr>| {
            address.map_or_else(|| "?:0".to_owned(), |address| address.to_string())
        };
        let now = coarse_seconds();
        let verb = usize::from(self.verb.load(Ordering::Relaxed));
        let words = self.words.lock();
        write!(
            f,
            "id={} addr={} laddr={} name={} age={} idle={} flags=N db=0 cmd={} user=default \
             lib-name={} lib-ver={} resp={}",
            self.id,
            address(self.peer),
            address(self.local),
            words.name,
            now.saturating_sub(self.since),
            now.saturating_sub(self.active.load(Ordering::Relaxed)),
            COMMANDS.get(verb).map_or("NULL", |spec| spec.name),
            words.library,
            words.library_version,
            self.version.load(Ordering::Relaxed),
        )
    }
}
