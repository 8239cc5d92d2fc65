//! The byte stream of a connection: plain TCP, or TLS over it. Those who read and write replies see no
//! difference.

use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::server::net::TlsSession;

/// See the [module](self).
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// TLS over TCP.
#[derive(Debug)]
pub(super) struct TlsStream {
    tcp: TcpStream,
    pub(super) session: TlsSession,
}

/// A stream that belongs to no worker's runtime.
#[derive(Debug)]
pub(super) struct Detached {
    tcp: std::net::TcpStream,
    session: Option<TlsSession>,
}

impl Stream {
    /// Returns the stream of a TLS connection whose handshake begins.
    pub(super) fn tls(tcp: TcpStream, session: TlsSession) -> Self {
        Self::Tls(Box::new(TlsStream { tcp, session }))
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Returns the name in the certificate of a TLS client; `None` if it has shown none.
    pub(super) fn client_name(&self) -> Option<String> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.session.client_name(),
        }
    }

    /// Returns the address of the peer, and that which it has connected to.
    pub(super) fn addresses(&self) -> [io::Result<SocketAddr>; 2] {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => &stream.tcp,
        };
        [tcp.peer_addr(), tcp.local_addr()]
    }

    /// Returns how many bytes of an incomplete record of TLS are held.
    pub(super) fn incomplete_record(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.session.incomplete_record(),
        }
    }

    /// Makes the kernel discard what is not sent, and reset the connection, when the stream is dropped.
    pub(super) fn reset_when_closed(&self) -> io::Result<()> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => &stream.tcp,
        };
        SockRef::from(tcp).set_linger(Some(Duration::ZERO))
    }

    /// Reads into `buffer`, as `AsyncRead` does. TLS needs `ciphertext` for the time of the call,
    /// and room for `PLAINTEXT_LEN` bytes in `buffer`.
    #[inline]
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        ciphertext: &mut [u8],
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(stream) => stream.poll_read(cx, buffer, ciphertext),
        }
    }

    /// Writes bytes, as `AsyncWrite` does. After `Pending`, the next write must begin with the same
    /// bytes, because TLS has encrypted some of them.
    #[inline]
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(stream) => stream.poll(cx, |session, socket| session.write(bytes, socket)),
        }
    }

    /// Writes what the socket accepts now, or fails with `WouldBlock`, which means the same as
    /// `Pending` of [`poll_write`](Self::poll_write).
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Tls(stream) => stream.session.write(bytes, &mut Socket(&stream.tcp)),
        }
    }

    /// Tells a TLS peer that nothing follows. Plain TCP has no such message.
    pub(super) fn poll_close_notify(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => {
                stream.session.close();
                stream.poll_flush(cx)
            }
        }
    }

    /// Shuts down our side of the connection.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_close_notify(cx))?;
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut stream.tcp).poll_shutdown(cx),
        }
    }

    /// Releases the stream from the runtime, with its TLS session.
    ///
    /// # Errors
    ///
    /// The runtime could not release the socket.
    pub(super) fn detach(self) -> io::Result<Detached> {
        let (tcp, session) = match self {
            Self::Plain(tcp) => (tcp, None),
            Self::Tls(stream) => (stream.tcp, Some(stream.session)),
        };
        let tcp = tcp.into_std()?;
        Ok(Detached { tcp, session })
    }
}

impl Detached {
    /// Returns whether a TLS handshake must be completed first.
    pub(super) fn is_handshaking(&self) -> bool {
        self.session
            .as_ref()
            .is_some_and(TlsSession::is_handshaking)
    }

    /// Registers the stream with the runtime of this thread.
    ///
    /// # Errors
    ///
    /// The runtime could not register the socket.
    pub(super) fn attach(self) -> io::Result<Stream> {
        let tcp = TcpStream::from_std(self.tcp)?;
        Ok(match self.session {
            None => Stream::Plain(tcp),
            Some(session) => Stream::tls(tcp, session),
        })
    }
}

impl TlsStream {
    /// Reads and decrypts until there is plaintext. Reads 0 bytes if the peer has closed the
    /// connection, also without close_notify: a request that it cut off is refused all the same.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        ciphertext: &mut [u8],
    ) -> Poll<io::Result<()>> {
        while !self.session.peer_has_closed() {
            let plaintext = buffer.initialize_unfilled();
            let len = ready!(self.poll_receive(cx, plaintext, ciphertext))?;
            if len > 0 {
                buffer.advance(len);
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from the socket once, and returns the length of the plaintext in it, which may be 0.
    ///
    /// # Errors
    ///
    /// Those of the socket, or a [`rustls::Error`] in an [`io::Error`].
    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        plaintext: &mut [u8],
        ciphertext: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(ciphertext);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buffer))?;
        let received = self.session.receive(buffer.filled(), plaintext);
        // An alert, or the answer to a key update; if the socket does not accept it now, the next
        // write sends it.
        let _ = self.session.flush(&mut Socket(&self.tcp));
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        Poll::Ready(received.map_err(invalid))
    }

    /// Writes all records that wait.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |session, socket| session.flush(socket))
    }

    /// Shuts down the socket alone, after a failed handshake.
    pub(super) fn poll_shutdown_socket(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    /// Discards what has arrived, and returns its length; 0 if the peer has closed the connection.
    pub(super) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Calls `write` until it does not fail with `WouldBlock`.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&mut TlsSession, &mut Socket<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match write(&mut self.session, &mut Socket(&self.tcp)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.tcp.poll_write_ready(cx))?;
                }
                result => return Poll::Ready(result),
            }
        }
    }
}

/// A socket that accepts what it can at once.
struct Socket<'a>(&'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(records)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
