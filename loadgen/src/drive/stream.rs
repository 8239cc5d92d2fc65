//! A TCP connection with many requests in flight.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Registry, Token};

use super::connection::{Connection, Shared};
use super::hello;
use super::in_flight::{InFlight, Pending};
use super::routes::Routes;
use super::socket::Socket;
use crate::plan::Plan;
use crate::sockets::Partial;
use crate::target::Login;

pub(super) struct Stream {
    socket: Socket<TcpStream>,
    in_flight: InFlight,
    output: Vec<u8>,
    /// How many bytes of `output` are written.
    written: usize,
    /// The beginning of a reply that is not complete yet.
    partial: Partial,
    /// When bytes arrived last, or the first request in flight was made.
    heard: u64,
}

impl Stream {
    /// Connects to `server`; with `shard`, to that shard's worker; with `routes`, as a client of a Redis
    /// Cluster, whose map they take over.
    pub(super) fn connect(
        plan: &Plan,
        server: SocketAddr,
        shard: Option<u16>,
        routes: Option<&Routes>,
    ) -> Result<Self> {
        let connecting = || -> Result<_> {
            let mut socket = Socket::connect(plan, server)?;
            match (shard, &plan.token, plan.target.login()) {
                (None, Some(token), Login::Auth) => hello::authenticate(&mut socket, token)?,
                (None, None, _) => {}
                (_, token, _) => {
                    hello::exchange(&mut socket, shard, token.as_ref())?;
                }
            }
            if let Some(routes) = routes {
                routes.update(&hello::slots(&mut socket)?, server)?;
            }
            Ok(socket.nonblocking()?)
        };
        let socket = connecting().with_context(|| format!("connecting to {server}"))?;
        Ok(Self {
            socket,
            in_flight: InFlight::new(plan.target.matching()),
            output: Vec::new(),
            written: 0,
            partial: Partial::default(),
            heard: 0,
        })
    }

    /// Reads all available replies and records them; with `to_end`, also looks for the end of the
    /// stream, of which the kernel reports no second event.
    ///
    /// # Errors
    ///
    /// Bytes that are no reply; an [`io::Error`] if the connection ended.
    fn read(&mut self, to_end: bool, shared: &mut Shared) -> Result<()> {
        let mut buffer = std::mem::take(&mut shared.buffer);
        let result = loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => break Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(n) => {
                    let now = shared.schedule.now();
                    self.heard = now;
                    let in_flight = &mut self.in_flight;
                    let consume = |input: &[u8]| record_replies(in_flight, input, now, shared);
                    if let Err(error) = self.partial.feed(&buffer[..n], consume) {
                        break Err(error);
                    }
                    // The buffer was not filled, so nothing is left: more bytes cause another event.
                    if n < buffer.len() && !to_end && self.socket.reads_all() {
                        break Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error.into()),
            }
        };
        shared.buffer = buffer;
        result
    }
}

/// Records every complete reply in `input`; returns how many bytes they take.
fn record_replies(
    in_flight: &mut InFlight,
    input: &[u8],
    now: u64,
    shared: &mut Shared,
) -> Result<usize> {
    let mut at = 0;
    while let Some(decoded) = shared.target.decode(&input[at..])? {
        at += decoded.len;
        if !shared.record_reply(in_flight, &decoded, now) {
            bail!(
                "the server sent a reply that matches no request (id {})",
                decoded.id
            );
        }
    }
    Ok(at)
}

impl Connection for Stream {
    fn register(&mut self, registry: &Registry, token: Token) -> Result<()> {
        Ok(self.socket.register(registry, token)?)
    }

    fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    #[inline]
    fn queue(&mut self, pending: Pending, topic: &[u8], shared: &mut Shared) -> Result<()> {
        if self.in_flight.len() == 0 {
            self.heard = pending.sent;
        }
        let id = self.in_flight.add(pending);
        shared
            .target
            .encode(id, pending.op, topic, &mut self.output);
        Ok(())
    }

    fn flush(&mut self, shared: &mut Shared) -> Result<()> {
        while self.written < self.output.len() {
            match self.socket.write(&self.output[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // The server's last replies before it closed the connection say more.
                    let read = self
                        .read(true, shared)
                        .map_err(anyhow::Error::downcast::<io::Error>);
                    return Err(match read {
                        Err(Err(no_reply)) => no_reply,
                        Ok(()) | Err(Ok(_)) => closed(error, shared),
                    });
                }
            }
        }
        self.output.clear();
        self.written = 0;
        match self.socket.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(closed(error, shared)),
            _ => Ok(()),
        }
    }

    fn ready(&mut self, event: &Event, shared: &mut Shared) -> Result<()> {
        if !(event.is_readable() || event.is_error()) {
            return Ok(());
        }
        self.read(event.is_read_closed(), shared).map_err(|error| {
            match error.downcast::<io::Error>() {
                Ok(error) => closed(error, shared),
                Err(no_reply) => no_reply,
            }
        })
    }

    fn expire(&mut self, before: u64, _: &mut Shared) -> Result<()> {
        silence(self.heard, before, self.in_flight.len())
    }
}

/// Returns an error if nothing arrived between `heard` and `before`, with requests in flight.
pub(super) fn silence(heard: u64, before: u64, in_flight: usize) -> Result<()> {
    if heard >= before || in_flight == 0 {
        return Ok(());
    }
    Err(io::Error::from(ErrorKind::TimedOut))
        .with_context(|| format!("a server does not answer, with {in_flight} requests in flight"))
}

/// Returns the error for a connection that ended while it was needed, with the server's first
/// refusal before that.
fn closed(error: io::Error, shared: &Shared) -> anyhow::Error {
    let context = match shared.tally.first_refusal() {
        Some(message) => format!("the server closed the connection after it replied {message:?}"),
        None => "the server closed the connection".to_owned(),
    };
    anyhow::Error::new(error).context(context)
}
