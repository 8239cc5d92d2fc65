//! A TCP connection for each request, as in the classic protocol: connect, send, read until the
//! server closes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::connection::{CONNECT_TIMEOUT, Connection, Shared};
use super::in_flight::{InFlight, Pending};
use super::stream::silence;
use crate::plan::Plan;

/// The most bytes of a reply; the longest real one is shorter.
const REPLY_LIMIT: usize = 64;

pub(super) struct OneShot {
    server: SocketAddr,
    registry: Option<(Registry, Token)>,
    socket: Option<TcpStream>,
    in_flight: InFlight,
    output: Vec<u8>,
    sent: bool,
    input: Vec<u8>,
    /// When the request was made.
    made: u64,
}

impl OneShot {
    /// Prepares connection `number`, which connects with its first request.
    pub(super) fn new(plan: &Plan, number: usize) -> Result<Self> {
        let server = plan.address_of(number);
        if number == 0 || plan.has_several_servers() || plan.reconnect.is_some() {
            // Fail before the run, or try again, if the server is not there.
            std::net::TcpStream::connect_timeout(&server, CONNECT_TIMEOUT)
                .with_context(|| format!("connecting to {server}"))?;
        }
        Ok(Self {
            server,
            registry: None,
            socket: None,
            in_flight: InFlight::new(plan.target.matching()),
            output: Vec::new(),
            sent: false,
            input: Vec::new(),
            made: 0,
        })
    }

    fn send(&mut self) -> Result<()> {
        let Some(socket) = self.socket.as_mut().filter(|_| !self.sent) else {
            return Ok(());
        };
        if let Some(error) = socket.take_error()? {
            return Err(error).with_context(|| format!("connecting to {}", self.server));
        }
        match socket.write(&self.output) {
            // A message fits into one packet and the socket's buffer is empty: all or nothing.
            Ok(n) if n == self.output.len() => self.sent = true,
            Ok(n) => bail!("only {n} of {} bytes were sent", self.output.len()),
            Err(error) if is_not_yet(error.kind()) => {}
            Err(error) => return Err(error).context("the server closed the connection"),
        }
        Ok(())
    }

    /// Reads the available bytes; returns whether the server has closed the connection.
    fn receive(&mut self) -> Result<bool> {
        let Some(socket) = self.socket.as_mut().filter(|_| self.sent) else {
            return Ok(false);
        };
        let mut buffer = [0; REPLY_LIMIT];
        loop {
            match socket.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_not_yet(error.kind()) => return Ok(false),
                Err(error) => return Err(error).context("the server closed the connection"),
            }
            if self.input.len() > REPLY_LIMIT {
                bail!("the server answered with more than {REPLY_LIMIT} bytes");
            }
        }
    }
}

/// Returns whether the socket is not connected yet, or has nothing to read yet.
fn is_not_yet(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

impl Connection for OneShot {
    fn register(&mut self, registry: &Registry, token: Token) -> Result<()> {
        self.registry = Some((registry.try_clone()?, token));
        Ok(())
    }

    fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    fn limit(&self) -> usize {
        1
    }

    fn queue(&mut self, pending: Pending, topic: &[u8], shared: &mut Shared) -> Result<()> {
        let id = self.in_flight.add(pending);
        self.made = pending.sent;
        self.output.clear();
        self.input.clear();
        self.sent = false;
        shared
            .target
            .encode(id, pending.op, topic, &mut self.output);
        let mut socket = TcpStream::connect(self.server)
            .with_context(|| format!("connecting to {}", self.server))?;
        if let Some((registry, token)) = &self.registry {
            let interest = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut socket, *token, interest)?;
        }
        self.socket = Some(socket);
        Ok(())
    }

    fn flush(&mut self, _: &mut Shared) -> Result<()> {
        Ok(()) // `ready` sends as soon as the socket is connected.
    }

    fn ready(&mut self, _: &Event, shared: &mut Shared) -> Result<()> {
        self.send()?;
        if !self.receive()? {
            return Ok(());
        }
        let now = shared.schedule.now();
        self.socket = None;
        if self.input.is_empty() {
            return Err(io::Error::from(ErrorKind::UnexpectedEof))
                .context("the server closed the connection without a reply");
        }
        let Some(decoded) = shared.target.decode(&self.input)? else {
            return Err(io::Error::from(ErrorKind::UnexpectedEof))
                .context("the server closed the connection within a reply");
        };
        ensure!(
            decoded.len == self.input.len(),
            "the server sent {} bytes after its reply",
            self.input.len() - decoded.len
        );
        shared.record_reply(&mut self.in_flight, &decoded, now);
        Ok(())
    }

    fn expire(&mut self, before: u64, _: &mut Shared) -> Result<()> {
        silence(self.made, before, self.in_flight.len())
    }
}
