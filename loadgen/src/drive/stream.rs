//! A TCP connection with many requests in flight.

use std::io::{self, ErrorKind, Read, Write};
use std::net;

use anyhow::{Context, Result, bail};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::flight::{Asked, Flight};
use super::hello;
use super::lane::{CONNECT_TIMEOUT, Found, Lane, Shared};
use crate::plan::Plan;
use crate::sockets::Partial;

pub(super) struct Stream {
    socket: TcpStream,
    flight: Flight,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    /// The beginning of a reply whose end has not come yet.
    partial: Partial,
}

impl Stream {
    /// Connects; with `shard`, to that shard's worker.
    pub(super) fn connect(plan: &Plan, shard: Option<u16>) -> Result<Self> {
        let connecting = || -> Result<_> {
            let mut socket = net::TcpStream::connect_timeout(&plan.server, CONNECT_TIMEOUT)?;
            socket.set_nodelay(true)?;
            if let Some(shard) = shard {
                hello::exchange(&mut socket, Some(shard))?;
            }
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = connecting().with_context(|| format!("connecting to {}", plan.server))?;
        Ok(Self {
            socket: TcpStream::from_std(socket),
            flight: Flight::new(plan.target.matching()),
            output: Vec::new(),
            written: 0,
            partial: Partial::default(),
        })
    }

    /// Reads everything that waits and books it.
    ///
    /// # Errors
    ///
    /// What is no reply; an [`io::Error`] where the connection ended.
    fn read(&mut self, shared: &mut Shared) -> Result<()> {
        let mut buffer = std::mem::take(&mut shared.buffer);
        let ended = loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => break Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(n) => {
                    let now = shared.schedule.now();
                    let flight = &mut self.flight;
                    let take = |input: &[u8]| take_replies(flight, input, now, shared);
                    if let Err(error) = self.partial.take_in(&buffer[..n], take) {
                        break Err(error);
                    }
                    // Less than there was room for: that was all, and what comes later is told.
                    if n < buffer.len() {
                        break Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error.into()),
            }
        };
        shared.buffer = buffer;
        ended
    }
}

/// Books every whole reply in `input`; returns how many bytes they take.
fn take_replies(flight: &mut Flight, input: &[u8], now: u64, shared: &mut Shared) -> Result<usize> {
    let mut at = 0;
    while let Some(decoded) = shared.target.decode(&input[at..])? {
        at += decoded.len;
        if shared.book(flight, &decoded, now) == Found::Nothing {
            bail!(
                "the server sent a reply to nothing that was asked (id {})",
                decoded.id
            );
        }
    }
    Ok(at)
}

impl Lane for Stream {
    fn register(&mut self, registry: &Registry, token: Token) -> Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        Ok(registry.register(&mut self.socket, token, interest)?)
    }

    fn flight(&self) -> &Flight {
        &self.flight
    }

    #[inline]
    fn ask(&mut self, asked: Asked, topic: &[u8], shared: &mut Shared) -> Result<()> {
        let id = self.flight.add(asked);
        shared.target.encode(id, asked.op, topic, &mut self.output);
        Ok(())
    }

    fn flush(&mut self, shared: &mut Shared) -> Result<()> {
        while self.written < self.output.len() {
            match self.socket.write(&self.output[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // What the server said before it closed the connection tells more.
                    let read = self
                        .read(shared)
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
        Ok(())
    }

    fn ready(&mut self, event: &Event, shared: &mut Shared) -> Result<()> {
        if !(event.is_readable() || event.is_error()) {
            return Ok(());
        }
        self.read(shared)
            .map_err(|error| match error.downcast::<io::Error>() {
                Ok(error) => closed(error, shared),
                Err(no_reply) => no_reply,
            })
    }
}

/// Says that a connection ended while it was needed, and what the server had refused before.
fn closed(error: io::Error, shared: &Shared) -> anyhow::Error {
    let what = match shared.tally.first_refusal() {
        Some(said) => format!("the server closed the connection after it had said {said:?}"),
        None => "the server closed the connection".to_owned(),
    };
    anyhow::Error::new(error).context(what)
}
