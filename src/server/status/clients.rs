//! The connections that speak the Redis protocol, for CLIENT LIST and CLIENT KILL. A connection is
//! registered with its first command, and removed when it ends. While it serves commands, it touches
//! only its own entry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::protocol::resp::{COMMANDS, Kill, Verb, Version};
use crate::server::net::coarse_seconds;

/// The value of `Client::verb` before the first command.
const NO_VERB: u8 = u8::MAX;

/// All clients, by id.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    last_id: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Client>>>,
    /// How many clients were killed.
    kills: AtomicU64,
}

/// A client. The worker of its connection writes it; any worker may read it, or kill the client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    connected_at: u64,
    /// When it last sent something.
    active_at: AtomicU64,
    /// Its last command.
    verb: AtomicU8,
    version: AtomicU8,
    killed: AtomicBool,
    pub(crate) labels: Mutex<Labels>,
    /// The name of the token that it has shown; `None` if it has none.
    user: Mutex<Option<String>>,
}

/// The name of clients that have shown no token, as in Redis.
pub(crate) const DEFAULT_USER: &str = "default";

/// What a client says about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels {
    pub(crate) name: String,
    pub(crate) library: String,
    pub(crate) library_version: String,
}

/// A registered client; it is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    clients: Arc<Clients>,
    pub(crate) client: Arc<Client>,
}

/// What CLIENT KILL did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Killed {
    /// How many other clients were killed.
    pub(crate) others: u64,
    /// Whether the client that sent the command has to end, too.
    pub(crate) own: bool,
}

impl Registration {
    /// Registers a client with these addresses, as far as they are known.
    pub(crate) fn new(
        clients: &Arc<Clients>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> Self {
        let now = coarse_seconds();
        let client = Arc::new(Client {
            id: clients.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            peer,
            local,
            connected_at: now,
            active_at: AtomicU64::new(now),
            verb: AtomicU8::new(NO_VERB),
            version: AtomicU8::new(Version::Resp2.number()),
            killed: AtomicBool::new(false),
            labels: Mutex::default(),
            user: Mutex::default(),
        });
        clients.all.lock().insert(client.id, Arc::clone(&client));
        Self {
            clients: Arc::clone(clients),
            client,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clients.all.lock().remove(&self.client.id);
    }
}

impl Clients {
    /// Returns all clients, in the order in which they connected.
    pub(crate) fn list(&self) -> Vec<Arc<Client>> {
        self.all.lock().values().cloned().collect()
    }

    /// Returns the clients with these ids.
    pub(crate) fn some(&self, ids: &BTreeSet<u64>) -> Vec<Arc<Client>> {
        let all = self.all.lock();
        ids.iter().filter_map(|id| all.get(id).cloned()).collect()
    }

    /// Returns the number of clients.
    pub(crate) fn count(&self) -> usize {
        self.all.lock().len()
    }

    /// Kills the clients that match `kill` and have this user, if one is given; `own` sent it. If there are others than `own`, the
    /// caller has to wake all workers: each wakes its connections when [`kills`](Self::kills) has
    /// changed.
    pub(crate) fn kill(&self, kill: &Kill, user: Option<&str>, own: &Client) -> Killed {
        let now = coarse_seconds();
        let mut killed = Killed {
            others: 0,
            own: false,
        };
        let all = self.all.lock();
        let matches = |client: &&Arc<Client>| {
            client.matches(kill, now) && user.is_none_or(|user| client.has_user(user))
        };
        for client in all.values().filter(matches) {
            if client.id != own.id {
                let before = client.killed.swap(true, Ordering::Relaxed);
                killed.others += u64::from(!before);
            } else if !kill.skip_self {
                killed.own = true;
            }
        }
        // Release: a worker that reads the new number in `kills` also sees the `killed` flags.
        self.kills.fetch_add(killed.others, Ordering::Release);
        killed
    }

    /// Returns how many clients were killed so far.
    pub(crate) fn kills(&self) -> u64 {
        self.kills.load(Ordering::Acquire)
    }
}

impl Client {
    /// Notes its current command.
    pub(crate) fn set_verb(&self, verb: Verb) {
        self.verb.store(verb as u8, Ordering::Relaxed);
    }

    /// Notes that it sent something just now.
    pub(crate) fn set_active(&self) {
        self.active_at.store(coarse_seconds(), Ordering::Relaxed);
    }

    /// Notes the version of the protocol that it speaks from now on.
    pub(crate) fn set_version(&self, version: Version) {
        self.version.store(version.number(), Ordering::Relaxed);
    }

    /// Notes the name of the token whose rights it has.
    pub(crate) fn set_user(&self, user: Option<&str>) {
        *self.user.lock() = user.map(str::to_owned);
    }

    fn has_user(&self, user: &str) -> bool {
        self.user.lock().as_deref().unwrap_or(DEFAULT_USER) == user
    }

    /// Returns whether another client killed it: its connection has to end, without a reply.
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    fn matches(&self, kill: &Kill, now: u64) -> bool {
        let age = now.saturating_sub(self.connected_at);
        !kill.nobody
            && kill.id.is_none_or(|id| id == self.id)
            && (kill.peer.is_none() || kill.peer == self.peer)
            && (kill.local.is_none() || kill.local == self.local)
            && kill.min_age.is_none_or(|least| age >= least)
    }
}

/// Formats a line of CLIENT LIST, with those of Redis's fields that have a meaning here.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |address: Option<SocketAddr>| {
            address.map_or_else(|| "?:0".to_owned(), |address| address.to_string())
        };
        let now = coarse_seconds();
        let verb = usize::from(self.verb.load(Ordering::Relaxed));
        let labels = self.labels.lock();
        let user = self.user.lock();
        write!(
            f,
            "id={} addr={} laddr={} name={} age={} idle={} flags=N db=0 cmd={} user={} \
             lib-name={} lib-ver={} resp={}",
            self.id,
            address(self.peer),
            address(self.local),
            labels.name,
            now.saturating_sub(self.connected_at),
            now.saturating_sub(self.active_at.load(Ordering::Relaxed)),
            COMMANDS.get(verb).map_or("NULL", |spec| spec.name),
            user.as_deref().unwrap_or(DEFAULT_USER),
            labels.library,
            labels.library_version,
            self.version.load(Ordering::Relaxed),
        )
    }
}
