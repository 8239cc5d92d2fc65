//! A TCP connection for each request, as the classic protocol has it: connect, send, read until the
//! server closes.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::flight::{Asked, Flight};
use super::lane::{CONNECT_TIMEOUT, Lane, Shared};
use crate::plan::Plan;

/// The longest reply, and more.
const REPLY_LIMIT: usize = 64;

pub(super) struct OneShot {
    server: SocketAddr,
    registry: Option<(Registry, Token)>,
    socket: Option<TcpStream>,
    flight: Flight,
    output: Vec<u8>,
    sent: bool,
    input: Vec<u8>,
}

impl OneShot {
    /// Connection `number` of all.
    pub(super) fn new(plan: &Plan, number: usize) -> Result<Self> {
        if number == 0 {
            // So that a server that is not there is told before the run.
            std::net::TcpStream::connect_timeout(&plan.server, CONNECT_TIMEOUT)
                .with_context(|| format!("connecting to {}", plan.server))?;
        }
        Ok(Self {
            server: plan.server,
            registry: None,
            socket: None,
            flight: Flight::new(plan.target.matching()),
            output: Vec::new(),
            sent: false,
            input: Vec::new(),
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
            // A message is one packet: the socket's buffer is empty, so it goes whole or not.
            Ok(n) if n == self.output.len() => self.sent = true,
            Ok(n) => bail!("only {n} of {} bytes were sent", self.output.len()),
            Err(error) if is_not_yet(error.kind()) => {}
            Err(error) => return Err(error).context("the server closed the connection"),
        }
        Ok(())
    }

    /// Reads what there is; whether the server is done.
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

/// Whether a socket says that it is not connected or has nothing yet.
fn is_not_yet(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

impl Lane for OneShot {
    fn register(&mut self, registry: &Registry, token: Token) -> Result<()> {
        self.registry = Some((registry.try_clone()?, token));
        Ok(())
    }

    fn flight(&self) -> &Flight {
        &self.flight
    }

    fn limit(&self) -> usize {
        1
    }

    fn ask(&mut self, asked: Asked, topic: &[u8], shared: &mut Shared) -> Result<()> {
        let id = self.flight.add(asked);
        self.output.clear();
        self.input.clear();
        self.sent = false;
        shared.target.encode(id, asked.op, topic, &mut self.output);
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
        Ok(()) // Once it is connected.
    }

    fn ready(&mut self, _: &Event, shared: &mut Shared) -> Result<()> {
        self.send()?;
        if !self.receive()? {
            return Ok(());
        }
        let now = shared.schedule.now();
        self.socket = None;
        if self.input.is_empty() {
            bail!("the server closed the connection without a reply");
        }
        let Some(decoded) = shared.target.decode(&self.input)? else {
            bail!("the server closed the connection within a reply");
        };
        ensure!(
            decoded.len == self.input.len(),
            "the server sent {} bytes after its reply",
            self.input.len() - decoded.len
        );
        shared.book(&mut self.flight, &decoded, now);
        Ok(())
    }
}
