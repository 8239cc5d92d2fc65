//! The sockets of the server that counts nothing: one loop over epoll.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use globalcounter::protocol::resp::Arguments;
use globalcounter::server::sys::{DATAGRAMS, Outgoing, Received};
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;

use super::answer;
use crate::sockets::{EVENTS, Partial, READ_LEN, prepare_udp};

/// The most bytes of unwritten replies. If a peer reads its replies too slowly, its requests are not
/// read either.
const UNWRITTEN_LIMIT: usize = 1 << 20;

const LISTENER: Token = Token(usize::MAX - 1);
const DATAGRAM_SOCKET: Token = Token(usize::MAX - 2);

pub(super) struct Server {
    poll: Poll,
    listener: Option<TcpListener>,
    /// Whether there may be connections that could not be accepted.
    accept_pending: bool,
    udp: Option<Udp>,
    connections: Slab<Connection>,
    buffer: Box<[u8]>,
}

struct Connection {
    socket: TcpStream,
    /// The beginning of a request that is not complete yet.
    partial: Partial,
    /// Buffer for Redis commands.
    arguments: Arguments,
    /// Replies that could not be written yet.
    unwritten: Vec<u8>,
    /// Whether to close the connection when they are written.
    closing: bool,
}

struct Udp {
    socket: UdpSocket,
    /// Whether it waits for the socket to become writable. Only while replies are unsent: otherwise
    /// the kernel reports an event after each datagram, which costs 5%.
    awaits_writable: bool,
    received: Box<Received>,
    outgoing: Outgoing,
}

impl Server {
    pub(super) fn bind(
        tcp: Option<SocketAddr>,
        udp: Option<SocketAddr>,
        gso: bool,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        let mut listener = match tcp {
            None => None,
            Some(address) => {
                let bound = TcpListener::bind(address);
                Some(bound.with_context(|| format!("listening on tcp://{address}"))?)
            }
        };
        let mut udp = match udp {
            None => None,
            Some(address) => {
                let bound = Udp::bind(address, gso);
                Some(bound.with_context(|| format!("receiving at udp://{address}"))?)
            }
        };
        if let Some(listener) = &mut listener {
            poll.registry()
                .register(listener, LISTENER, Interest::READABLE)?;
        }
        if let Some(udp) = &mut udp {
            poll.registry()
                .register(&mut udp.socket, DATAGRAM_SOCKET, Interest::READABLE)?;
        }
        Ok(Self {
            poll,
            listener,
            accept_pending: false,
            udp,
            connections: Slab::new(),
            buffer: vec![0; READ_LEN].into(),
        })
    }

    /// Returns the addresses that it listens on, with their transports.
    pub(super) fn addresses(&self) -> Result<Vec<(&'static str, SocketAddr)>> {
        let mut addresses = Vec::new();
        if let Some(listener) = &self.listener {
            addresses.push(("tcp", listener.local_addr()?));
        }
        if let Some(udp) = &self.udp {
            addresses.push(("udp", udp.socket.local_addr()?));
        }
        Ok(addresses)
    }

    /// Answers requests until an error.
    pub(super) fn run(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    DATAGRAM_SOCKET => {
                        if let Some(udp) = &mut self.udp {
                            udp.answer();
                            udp.watch(self.poll.registry())?;
                        }
                    }
                    Token(number) => self.serve(number)?,
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        let Some(listener) = &self.listener else {
            return Ok(());
        };
        loop {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accept_pending = false;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                // Mostly out of descriptors. It tries again when a connection ends.
                Err(error) => {
                    if !self.accept_pending {
                        eprintln!("loadgen: accepting a connection: {error}");
                    }
                    self.accept_pending = true;
                    return Ok(());
                }
            };
            let _ = socket.set_nodelay(true);
            let place = self.connections.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut socket, Token(place.key()), interest)?;
            place.insert(Connection {
                socket,
                partial: Partial::default(),
                arguments: Arguments::default(),
                unwritten: Vec::new(),
                closing: false,
            });
        }
    }

    fn serve(&mut self, number: usize) -> Result<()> {
        if let Some(connection) = self.connections.get_mut(number)
            && !connection.serve(&mut self.buffer)
        {
            self.connections.remove(number);
            if self.accept_pending {
                self.accept()?;
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Reads, answers and writes. Returns false when the connection has ended.
    fn serve(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            match self.write() {
                Ok(()) if self.closing => return false,
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.closing || self.unwritten.len() > UNWRITTEN_LIMIT {
                        return true; // An event will say when the socket is writable.
                    }
                }
                Err(_) => return false,
            }
            match self.socket.read(buffer) {
                Ok(0) => return false,
                Ok(n) => {
                    if !self.answer(&buffer[..n]) {
                        return false;
                    }
                    let drained = n < buffer.len() && !self.closing;
                    if drained {
                        // Unwritten replies are written when the socket becomes writable.
                        return self.write().is_ok() || !self.unwritten.is_empty();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// Answers the requests in `partial` followed by `read`. Returns false if they cannot be read.
    fn answer(&mut self, read: &[u8]) -> bool {
        if let [0 | 1, ..] = read
            && self.partial.is_empty()
        {
            answer::message(read, &mut self.unwritten);
            self.closing = true;
            return true;
        }
        let Self {
            arguments,
            unwritten,
            ..
        } = self;
        self.partial
            .feed(read, |input| answer::stream(input, arguments, unwritten))
            .is_ok()
    }

    fn write(&mut self) -> io::Result<()> {
        let mut written = 0;
        let ended = loop {
            if written == self.unwritten.len() {
                break Ok(());
            }
            match self.socket.write(&self.unwritten[written..]) {
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if written == self.unwritten.len() {
            self.unwritten.clear();
        } else {
            self.unwritten.drain(..written);
        }
        ended
    }
}

impl Udp {
    fn bind(address: SocketAddr, gso: bool) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        prepare_udp(socket.as_fd(), gso)?;
        let mut outgoing = Outgoing::new();
        outgoing.set_segmentation(gso);
        Ok(Self {
            socket: UdpSocket::from_std(socket),
            awaits_writable: false,
            received: Box::new(Received::new()),
            outgoing,
        })
    }

    /// Answers all available datagrams. Replies that the socket does not take are kept, and nothing
    /// more is read until they are sent.
    fn answer(&mut self) {
        while self.send() {
            match self.received.receive(self.socket.as_fd()) {
                Ok(count) => {
                    for i in 0..count {
                        self.answer_message(i);
                    }
                    if count < DATAGRAMS {
                        self.send();
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // For example, an error for an earlier reply whose peer is gone.
                Err(_) => {}
            }
        }
    }

    /// Registers for the events that it waits for.
    fn watch(&mut self, registry: &Registry) -> io::Result<()> {
        let has_unsent = !self.outgoing.is_empty();
        if has_unsent == self.awaits_writable {
            return Ok(());
        }
        self.awaits_writable = has_unsent;
        let interest = if has_unsent {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        registry.reregister(&mut self.socket, DATAGRAM_SOCKET, interest)
    }

    /// Answers the datagrams of one message.
    fn answer_message(&mut self, i: usize) {
        let peer = self.received.peer(i);
        for span in self.received.datagrams(i) {
            answer::datagram(&self.received.bytes()[span], self.outgoing.open());
            if self.outgoing.open_len() > 0 {
                self.outgoing.close(&peer);
            }
        }
    }

    /// Sends the replies. Returns whether all are sent.
    fn send(&mut self) -> bool {
        self.outgoing.is_empty() || self.outgoing.send(self.socket.as_fd()).is_ok()
    }
}
