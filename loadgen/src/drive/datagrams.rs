//! A connected UDP socket. Replies can be lost or late; what is late is told from what is not by
//! ids, and where there are none, by a new socket after each loss.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use globalcounter::server::sys::{DATAGRAMS, Outgoing, Peer, Received};
use mio::event::Event;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};

use super::flight::{Asked, Flight};
use super::lane::{Found, Lane, Shared};
use crate::plan::Plan;
use crate::sockets::prepare_udp;
use crate::target::Matching;

pub(super) struct Datagrams {
    server: SocketAddr,
    gso: bool,
    per_datagram: usize,
    in_order: bool,
    registry: Option<(Registry, Token)>,
    socket: UdpSocket,
    flight: Flight,
    outgoing: Outgoing,
    /// Requests in the datagram that is being made.
    open: usize,
    /// Where replies have no ids: the socket of a request that was given up, in case it is answered.
    given_up: Option<(UdpSocket, Asked)>,
}

impl Datagrams {
    pub(super) fn connect(plan: &Plan) -> Result<Self> {
        let matching = plan.target.matching();
        let socket = open(plan.server, plan.gso)?;
        let mut outgoing = Outgoing::new();
        outgoing.set_segmentation(plan.gso);
        Ok(Self {
            server: plan.server,
            gso: plan.gso,
            per_datagram: plan.per_datagram,
            in_order: matching == Matching::InOrder,
            registry: None,
            socket,
            flight: Flight::new(matching),
            outgoing,
            open: 0,
            given_up: None,
        })
    }

    fn close_datagram(&mut self) {
        if self.open > 0 {
            self.outgoing.close(Peer::connected());
            self.open = 0;
        }
    }

    /// Takes in one datagram.
    fn take(&mut self, mut datagram: &[u8], now: u64, shared: &mut Shared) -> Result<()> {
        if datagram.is_empty() {
            shared.target.decode(datagram)?;
        }
        while !datagram.is_empty() {
            let Some(decoded) = shared.target.decode(datagram)? else {
                bail!("the server sent a datagram that breaks off within a reply");
            };
            datagram = &datagram[decoded.len..];
            if shared.book(&mut self.flight, &decoded, now) == Found::Nothing {
                shared.tally.unasked();
            }
        }
        Ok(())
    }

    /// Reads everything that waits.
    fn receive(&mut self, shared: &mut Shared) -> Result<()> {
        let mut received = shared
            .received
            .take()
            .unwrap_or_else(|| Box::new(Received::new()));
        let ended = loop {
            match received.receive(self.socket.as_fd()) {
                Ok(count) => {
                    let now = shared.schedule.now();
                    let taken = (0..count)
                        .flat_map(|i| received.datagrams(i))
                        .try_for_each(|span| self.take(&received.bytes()[span], now, shared));
                    // Fewer than there was room for: that was all, and what comes later is told.
                    if taken.is_err() || count < DATAGRAMS {
                        break taken;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(refused(error, self.server)),
            }
        };
        shared.received = Some(received);
        ended
    }

    /// Where there are no ids: sees whether the request that was given up is answered after all.
    fn receive_late(&mut self, shared: &mut Shared) -> Result<()> {
        let Some((socket, asked)) = &self.given_up else {
            return Ok(());
        };
        let mut buffer = [0; 512];
        if let Ok(len) = socket.recv(&mut buffer)
            && let Some(decoded) = shared.target.decode(&buffer[..len])?
        {
            shared
                .tally
                .late(asked, &decoded.outcome, shared.schedule.now());
            self.given_up = None;
        }
        Ok(())
    }

    /// Goes on with a new socket, so that replies to what was given up are not taken for others.
    fn renew(&mut self, only: Option<Asked>, shared: &mut Shared) -> Result<()> {
        let fresh = open(self.server, self.gso)?;
        let old = std::mem::replace(&mut self.socket, fresh);
        if let Some((registry, token)) = &self.registry {
            registry.register(&mut self.socket, *token, Interest::READABLE)?;
        }
        let given_up = only.map(|asked| (old, asked));
        if let Some((_, asked)) = std::mem::replace(&mut self.given_up, given_up) {
            shared.tally.unanswered(&asked);
        }
        Ok(())
    }
}

/// A socket that talks to `server` alone.
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

/// Says what the kernel told of a datagram: that nobody is there comes through the next call on the
/// socket.
fn refused(error: io::Error, server: SocketAddr) -> anyhow::Error {
    let what = match error.kind() {
        ErrorKind::ConnectionRefused => format!("nobody receives datagrams at {server}"),
        _ => format!("a datagram to {server} was refused"),
    };
    anyhow::Error::new(error).context(what)
}

impl Lane for Datagrams {
    fn register(&mut self, registry: &Registry, token: Token) -> Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)?;
        self.registry = Some((registry.try_clone()?, token));
        Ok(())
    }

    fn flight(&self) -> &Flight {
        &self.flight
    }

    /// Without ids, more than one would have to be told apart by their order, which UDP does not
    /// keep.
    fn limit(&self) -> usize {
        if self.in_order {
            1
        } else {
            self.flight.limit()
        }
    }

    #[inline]
    fn ask(&mut self, asked: Asked, topic: &[u8], shared: &mut Shared) -> Result<()> {
        let id = self.flight.add(asked);
        shared
            .target
            .encode(id, asked.op, topic, self.outgoing.open());
        self.open += 1;
        if self.open >= self.per_datagram {
            self.close_datagram();
        }
        Ok(())
    }

    fn flush(&mut self, _: &mut Shared) -> Result<()> {
        self.close_datagram();
        if self.outgoing.is_empty() {
            return Ok(());
        }
        match self.outgoing.send(self.socket.as_fd()) {
            Ok(0) => Ok(()),
            // The kernel may also return what came back for an earlier one.
            Ok(_) => {
                let error = self.outgoing.take_refusal();
                let error = error.unwrap_or_else(|| ErrorKind::ConnectionRefused.into());
                Err(refused(error, self.server))
            }
            // Tried again with the next reply or the next look at what is lost, soon enough. To be
            // told of room, the kernel would tell it after each datagram.
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
        if !self.flight.may_expire(before) {
            return Ok(());
        }
        // What waits in the socket is not lost, however long this program did not look.
        self.receive(shared)?;
        let (mut lost, mut last) = (0, None);
        let in_order = self.in_order;
        self.flight.expire(before, |asked| {
            shared.tally.lost(&asked);
            lost += 1;
            // With ids it stays known, in case it is answered late.
            if in_order && let Some(other) = last.replace(asked) {
                shared.tally.unanswered(&other);
            }
        });
        for asked in self.flight.take_forgotten() {
            shared.tally.unanswered(&asked);
        }
        if lost == 0 || !in_order {
            return Ok(());
        }
        if lost > 1
            && let Some(asked) = last.take()
        {
            // Which of them a late reply would be for can't be told.
            shared.tally.unanswered(&asked);
        }
        self.renew(last, shared)
    }
}
