//! A connected UDP socket. Replies can be lost or late. Ids tell late replies from others; a target
//! without ids gets a new socket after each loss instead.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use globalcounter::server::sys::{DATAGRAMS, Outgoing, Peer, Received};
use mio::event::Event;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};

use super::connection::{Connection, Shared};
use super::in_flight::{InFlight, Pending};
use crate::plan::Plan;
use crate::sockets::prepare_udp;
use crate::target::Matching;

pub(super) struct Datagrams {
    server: SocketAddr,
    gso: bool,
    per_datagram: usize,
    in_order: bool,
    /// Whether datagrams that nobody receives are lost, instead of the end of the run.
    tolerant: bool,
    /// Whether other servers take over the requests while this one is away.
    yields: bool,
    /// When the server was found to be away: a datagram was refused, or a request timed out. Requests are
    /// made again when nothing is in flight any more, to see whether it is back.
    away_since: Option<u64>,
    registry: Option<(Registry, Token)>,
    socket: UdpSocket,
    in_flight: InFlight,
    outgoing: Outgoing,
    /// Requests in the datagram that is still open.
    open: usize,
    /// The socket of a request that timed out, in case its reply arrives. Only without ids.
    timed_out: Option<(UdpSocket, Pending)>,
}

impl Datagrams {
    pub(super) fn connect(plan: &Plan, server: SocketAddr) -> Result<Self> {
        let matching = plan.target.matching();
        let socket = open(server, plan.gso)?;
        let mut outgoing = Outgoing::new();
        outgoing.set_segmentation(plan.gso);
        Ok(Self {
            server,
            gso: plan.gso,
            per_datagram: plan.per_datagram,
            in_order: matching == Matching::InOrder,
            tolerant: plan.reconnect.is_some(),
            yields: plan.reconnect.is_some() && plan.has_several_servers(),
            away_since: None,
            registry: None,
            socket,
            in_flight: InFlight::new(matching),
            outgoing,
            open: 0,
            timed_out: None,
        })
    }

    fn close_datagram(&mut self) {
        if self.open > 0 {
            self.outgoing.close(&Peer::connected());
            self.open = 0;
        }
    }

    /// Records the replies of one datagram.
    fn record(&mut self, mut datagram: &[u8], now: u64, shared: &mut Shared) -> Result<()> {
        if datagram.is_empty() {
            shared.target.decode(datagram)?;
        }
        while !datagram.is_empty() {
            let Some(decoded) = shared.target.decode(datagram)? else {
                bail!("the server sent a datagram that ends within a reply");
            };
            datagram = &datagram[decoded.len..];
            if !shared.record_reply(&mut self.in_flight, &decoded, now) {
                shared.tally.unmatched();
            }
        }
        Ok(())
    }

    /// Reads all available datagrams.
    fn receive(&mut self, shared: &mut Shared) -> Result<()> {
        let mut received = shared
            .received
            .take()
            .unwrap_or_else(|| Box::new(Received::new()));
        let ended = loop {
            match received.receive(self.socket.as_fd()) {
                Ok(count) => {
                    self.away_since = None;
                    let now = shared.schedule.now();
                    let taken = (0..count)
                        .flat_map(|i| received.datagrams(i))
                        .try_for_each(|span| self.record(&received.bytes()[span], now, shared));
                    // Fewer than there is room for, so none is left: more of them cause another event.
                    if taken.is_err() || count < DATAGRAMS {
                        break taken;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if self.tolerates(&error) => self.refused(1, shared),
                Err(error) => break Err(refused(error, self.server)),
            }
        };
        shared.received = Some(received);
        ended
    }

    /// Records datagrams that nobody received.
    fn refused(&mut self, datagrams: u64, shared: &mut Shared) {
        shared.tally.refused_connections(datagrams);
        self.note_away(shared);
    }

    fn note_away(&mut self, shared: &Shared) {
        if self.yields && self.away_since.is_none() {
            self.away_since = Some(shared.schedule.now());
        }
    }

    /// Returns whether the run goes on after an error of the socket. The kernel reports each refused
    /// datagram once.
    fn tolerates(&self, error: &io::Error) -> bool {
        self.tolerant && is_unreachable(error.kind())
    }

    /// Reads a late reply to the request that timed out. Only without ids.
    fn receive_late(&mut self, shared: &mut Shared) -> Result<()> {
        let Some((socket, pending)) = &self.timed_out else {
            return Ok(());
        };
        let mut buffer = [0; 512];
        if let Ok(len) = socket.recv(&mut buffer)
            && let Some(decoded) = shared.target.decode(&buffer[..len])?
        {
            let now = shared.schedule.now();
            shared.record_late(pending, &decoded.outcome, now);
            self.timed_out = None;
        }
        Ok(())
    }

    /// Opens a new socket, so that late replies are not taken for replies to later requests. `only`
    /// is the request that timed out, if it was a single one.
    fn replace_socket(&mut self, only: Option<Pending>, shared: &mut Shared) -> Result<()> {
        let fresh = open(self.server, self.gso)?;
        let old = std::mem::replace(&mut self.socket, fresh);
        if let Some((registry, token)) = &self.registry {
            registry.register(&mut self.socket, *token, Interest::READABLE)?;
        }
        let timed_out = only.map(|pending| (old, pending));
        if let Some((_, pending)) = std::mem::replace(&mut self.timed_out, timed_out) {
            shared.tally.unanswered(&pending);
        }
        Ok(())
    }
}

/// Returns whether an error says that the server, or the way to it, is not there.
fn is_unreachable(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}

/// Opens a socket that is connected to `server`.
fn open(server: SocketAddr, gso: bool) -> Result<UdpSocket> {
    let opening = || -> io::Result<_> {
        let socket = Socket::new(Domain::for_address(server), Type::DGRAM, None)?;
        prepare_udp(socket.as_fd(), gso)?;
        socket.set_nonblocking(true)?;
        socket.connect(&server.into())?;
        Ok(socket)
    };
    let socket = opening().with_context(|| format!("opening a UDP socket to {server}"))?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// Returns the error for a datagram that the kernel reported as refused. The kernel reports it in
/// the next call on the socket.
fn refused(error: io::Error, server: SocketAddr) -> anyhow::Error {
    let context = match error.kind() {
        ErrorKind::ConnectionRefused => format!("nobody receives datagrams at {server}"),
        _ => format!("a datagram to {server} was refused"),
    };
    anyhow::Error::new(error).context(context)
}

impl Connection for Datagrams {
    fn register(&mut self, registry: &Registry, token: Token) -> Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)?;
        self.registry = Some((registry.try_clone()?, token));
        Ok(())
    }

    fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// One without ids: several replies could only be matched by their order, which UDP does not
    /// keep.
    fn limit(&self) -> usize {
        if !self.is_open() {
            0
        } else if self.in_order {
            1
        } else {
            self.in_flight.limit()
        }
    }

    fn is_open(&self) -> bool {
        self.away_since.is_none()
    }

    fn reopen(&mut self, shared: &mut Shared) -> Result<bool> {
        if let Some(since) = self.away_since {
            shared.tally.failure(since);
        }
        if self.in_flight.len() > 0 {
            return Ok(false);
        }
        self.away_since = None;
        Ok(true)
    }

    #[inline]
    fn queue(&mut self, pending: Pending, topic: &[u8], shared: &mut Shared) -> Result<()> {
        let id = self.in_flight.add(pending);
        shared
            .target
            .encode(id, pending.op, topic, self.outgoing.open());
        self.open += 1;
        if self.open >= self.per_datagram {
            self.close_datagram();
        }
        Ok(())
    }

    fn flush(&mut self, shared: &mut Shared) -> Result<()> {
        self.close_datagram();
        if self.outgoing.is_empty() {
            return Ok(());
        }
        match self.outgoing.send(self.socket.as_fd()) {
            Ok(0) => Ok(()),
            // The kernel may also report an error for an earlier datagram.
            Ok(dropped) => {
                let error = self.outgoing.take_refusal();
                let error = error.unwrap_or_else(|| ErrorKind::ConnectionRefused.into());
                if self.tolerates(&error) {
                    self.refused(dropped as u64, shared);
                    return Ok(());
                }
                Err(refused(error, self.server))
            }
            // The next reply or the next check of timeouts tries again, which is soon enough. With
            // interest in being writable, the kernel would report an event after each datagram.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).with_context(|| format!("sending to {}", self.server)),
        }
    }

    fn ready(&mut self, event: &Event, shared: &mut Shared) -> Result<()> {
        if event.is_readable() || event.is_error() {
            self.receive_late(shared)?;
            self.receive(shared)?;
        }
        Ok(())
    }

    fn expire(&mut self, before: u64, shared: &mut Shared) -> Result<()> {
        if !self.in_flight.may_expire(before) {
            return Ok(());
        }
        // Replies that wait in the socket are not lost, however late this program reads them.
        self.receive(shared)?;
        let (mut lost, mut last) = (0, None);
        let in_order = self.in_order;
        self.in_flight.expire(before, |pending| {
            shared.tally.lost(&pending);
            lost += 1;
            // With ids, the request stays known in case its reply arrives late.
            if in_order && let Some(other) = last.replace(pending) {
                shared.tally.unanswered(&other);
            }
        });
        for pending in self.in_flight.take_forgotten() {
            shared.tally.unanswered(&pending);
        }
        if lost > 0 {
            self.note_away(shared);
        }
        if lost == 0 || !in_order {
            return Ok(());
        }
        if lost > 1
            && let Some(pending) = last.take()
        {
            // It would be unknown which of them a late reply belongs to.
            shared.tally.unanswered(&pending);
        }
        self.replace_socket(last, shared)
    }
}
