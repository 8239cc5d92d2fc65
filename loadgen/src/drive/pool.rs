//! The connections of one thread, and which of them a request uses.

use anyhow::Result;
use mio::{Registry, Token};

use super::connection::{Connection, Shared};
use super::in_flight::Pending;
use super::routes::Router;
use super::schedule::Schedule;
use crate::plan::Plan;

/// The connections of one thread. They are numbered from 0.
pub(super) struct Pool<'a, C> {
    plan: &'a Plan,
    connections: Vec<C>,
    /// The number of the server of each connection.
    servers: Vec<u16>,
    /// Finds the owner of each topic, if requests are sent to it.
    router: Option<Router>,
    pub(super) shared: Shared,
    /// Buffer for a topic's name.
    name: Box<[u8]>,
    /// The search for a connection with room begins here. It moves on after each flush, so that the
    /// requests made in one pass of the loop go to one connection while it has room.
    turn: usize,
    /// For each connection, whether it has queued requests to flush.
    unsent: Vec<bool>,
}

impl<'a, C: Connection> Pool<'a, C> {
    /// Registers the connections of thread `number` for events, with their numbers as tokens.
    pub(super) fn new(
        plan: &'a Plan,
        number: usize,
        mut connections: Vec<C>,
        shared: Shared,
        registry: &Registry,
    ) -> Result<Self> {
        for (number, connection) in connections.iter_mut().enumerate() {
            connection.register(registry, Token(number))?;
        }
        let numbers = (number..plan.connections).step_by(plan.threads);
        let servers: Vec<u16> = numbers.map(|number| plan.server_of(number)).collect();
        let routes = shared.routes.clone();
        Ok(Self {
            plan,
            router: routes.map(|routes| Router::new(routes, &servers)),
            servers,
            shared,
            name: plan.workload.names.buffer(),
            turn: 0,
            unsent: vec![false; connections.len()],
            connections,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn schedule(&self) -> Schedule {
        self.shared.schedule
    }

    /// Returns whether each request goes to the owner of its topic, whichever connection makes it.
    pub(super) fn is_routed(&self) -> bool {
        self.router.is_some()
    }

    pub(super) fn is_open(&self, number: usize) -> bool {
        self.connections[number].is_open()
    }

    /// Returns how many connections are open.
    pub(super) fn open_count(&self) -> usize {
        self.connections.iter().filter(|c| c.is_open()).count()
    }

    /// Returns how many requests are in flight on a connection.
    #[inline]
    pub(super) fn in_flight(&self, number: usize) -> usize {
        self.connections[number].in_flight().len()
    }

    /// Returns how many requests are in flight or wait to be sent again.
    pub(super) fn outstanding(&self) -> usize {
        let connections = self.connections.iter();
        let in_flight: usize = connections.map(|c| c.in_flight().len()).sum();
        in_flight + self.shared.resends.len()
    }

    /// Calls `operation` with a connection. With several servers, an error says which one it is of.
    #[inline]
    pub(super) fn using<T>(
        &mut self,
        number: usize,
        operation: impl FnOnce(&mut C, &mut Shared) -> Result<T>,
    ) -> Result<T> {
        let server = self.servers[number];
        self.shared.select(number, server);
        let done = operation(&mut self.connections[number], &mut self.shared);
        match done {
            Err(error) if self.plan.has_several_servers() => {
                let server = self.plan.servers[usize::from(server)];
                Err(error.context(server.to_string()))
            }
            done => done,
        }
    }

    /// Returns a connection with room for a request, one of `allowed` if there are any.
    pub(super) fn place(&mut self, topic: u32, allowed: &[usize]) -> Option<usize> {
        let Some(router) = &self.router else {
            return with_room(&self.connections, allowed, self.turn);
        };
        let name = self.plan.workload.names.write(topic, &mut self.name);
        let connections = &self.connections;
        let owners = router.connections(name, |number| connections[number].is_open());
        with_room(&self.connections, owners, self.turn)
    }

    /// Makes a request on a connection; it is sent with the next flush.
    #[inline]
    pub(super) fn queue(&mut self, number: usize, pending: Pending) -> Result<()> {
        self.shared.select(number, self.servers[number]);
        let names = &self.plan.workload.names;
        let name = names.write(pending.topic, &mut self.name);
        self.unsent[number] = true;
        self.connections[number].queue(pending, name, &mut self.shared)
    }

    /// Sends what a connection has to send.
    pub(super) fn flush(&mut self, number: usize) -> Result<()> {
        self.unsent[number] = false;
        self.using(number, C::flush)
    }

    /// Sends all requests that were made since the last flush.
    pub(super) fn flush_all(&mut self) -> Result<()> {
        for number in 0..self.connections.len() {
            if self.unsent[number] {
                self.flush(number)?;
                self.turn = self.turn.wrapping_add(1);
            }
        }
        Ok(())
    }

    /// Sends requests again that were refused before `now`, as far as there is room.
    pub(super) fn send_again(&mut self, now: u64) -> Result<()> {
        while let Some((own, topic)) = self.shared.resends.next(now) {
            let mut number = None;
            if !self.is_routed() {
                number = with_room(&self.connections, &[own], 0);
            }
            let Some(number) = number.or_else(|| self.place(topic, &[])) else {
                break;
            };
            let Some(refused) = self.shared.resends.take() else {
                break;
            };
            let pending = Pending {
                sent: now,
                ..refused
            };
            self.queue(number, pending)?;
        }
        self.flush_all()
    }

    /// Records the requests that are still in flight as unanswered, and returns what is shared.
    pub(super) fn finish(mut self) -> Shared {
        for (connection, &server) in self.connections.iter().zip(&self.servers) {
            self.shared.tally.select(server);
            for pending in connection.in_flight().unanswered() {
                self.shared.tally.unanswered(pending);
            }
        }
        self.shared
    }
}

/// Returns the first connection with room, searching from `turn` on. If `allowed` is not empty, only
/// those connections are searched.
fn with_room<C: Connection>(connections: &[C], allowed: &[usize], turn: usize) -> Option<usize> {
    let has_room = |&connection: &usize| {
        connections[connection].in_flight().len() < connections[connection].limit()
    };
    match allowed.len() {
        0 => (0..connections.len())
            .map(|i| (turn + i) % connections.len())
            .find(has_room),
        len => (0..len).map(|i| allowed[(turn + i) % len]).find(has_room),
    }
}
