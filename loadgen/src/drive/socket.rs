//! The socket of a stream: plain TCP, or TLS over it. It blocks while a connection opens, and not
//! while requests are made.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ClientConnection;

use super::connection::CONNECT_TIMEOUT;
use crate::plan::Plan;

pub(super) struct Socket<S> {
    tcp: S,
    tls: Option<Box<ClientConnection>>,
}

impl Socket<net::TcpStream> {
    /// Connects, and completes the handshake of TLS if the plan wants it. Reads fail after
    /// [`CONNECT_TIMEOUT`].
    pub(super) fn connect(plan: &Plan, server: SocketAddr) -> Result<Self> {
        let mut tcp = net::TcpStream::connect_timeout(&server, CONNECT_TIMEOUT)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        let mut tls = None;
        if let Some(config) = &plan.tls {
            let name = server.ip().into();
            let mut session = Box::new(ClientConnection::new(Arc::clone(config), name)?);
            while session.is_handshaking() {
                session.complete_io(&mut tcp).context("TLS handshake")?;
            }
            tls = Some(session);
        }
        Ok(Self { tcp, tls })
    }

    /// Makes reads and writes fail instead of block.
    pub(super) fn nonblocking(self) -> io::Result<Socket<TcpStream>> {
        self.tcp.set_nonblocking(true)?;
        Ok(Socket {
            tcp: TcpStream::from_std(self.tcp),
            tls: self.tls,
        })
    }
}

impl Socket<TcpStream> {
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.tcp.register(registry, token, interest)
    }
}

impl<S> Socket<S> {
    /// Returns whether a read that does not fill its buffer has taken all that has arrived.
    pub(super) fn reads_all(&self) -> bool {
        self.tls.is_none()
    }
}

impl<S: Read> Read for Socket<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.tcp.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            if tls.read_tls(&mut self.tcp)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }
}

/// TLS takes bytes before the socket does; [`flush`](Write::flush) writes what it holds.
impl<S: Write> Write for Socket<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            return self.tcp.write(bytes);
        }
        self.flush()?;
        let written = match &mut self.tls {
            Some(tls) => tls.writer().write(bytes)?,
            None => 0,
        };
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(written),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.tcp)?;
            }
        }
        Ok(())
    }
}
