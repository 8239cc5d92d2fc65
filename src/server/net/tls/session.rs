//! The TLS session of one connection, as bytes in and bytes out.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use super::counts::{Counts, OpenTls};
use super::records::Records;
use super::slots::HandshakeSlot;
use super::subject::common_name;

/// The most plaintext that is encrypted ahead of the socket, in bytes: two records. So a peer that
/// does not read costs at most that in addition to its unsent replies.
const ENCRYPTED_AHEAD: usize = 32 * 1024;

/// The longest record, in bytes (RFC 5246, section 6.2.3): a header, and a ciphertext that may be
/// 2,048 bytes longer than its plaintext.
const MAX_RECORD: usize = 5 + 16 * 1024 + 2048;

/// The buffer that [`TlsSession::receive`] needs, in bytes.
pub(crate) const PLAINTEXT_LEN: usize = 64 * 1024;

/// The most ciphertext that is decrypted at a time. Its plaintext fits into [`PLAINTEXT_LEN`], also with
/// that of an incomplete record from before.
pub(crate) const CIPHERTEXT_LEN: usize = PLAINTEXT_LEN - MAX_RECORD;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct TlsSession {
    tls: ServerConnection,
    received: Records,
    /// How many bytes of the last [`write`](Self::write) are encrypted but not reported as written,
    /// because the socket has not accepted all of their records.
    encrypted: usize,
    closing: bool,
    peer_has_closed: bool,
    /// Held until the handshake ends.
    slot: Option<HandshakeSlot>,
    counts: Arc<Counts>,
    /// Counts the connection from the end of its handshake.
    open: Option<OpenTls>,
}

impl TlsSession {
    pub(super) fn new(
        config: Arc<ServerConfig>,
        slot: Option<HandshakeSlot>,
        counts: Arc<Counts>,
    ) -> Result<Self, rustls::Error> {
        let mut tls = ServerConnection::new(config)?;
        tls.set_buffer_limit(Some(ENCRYPTED_AHEAD));
        Ok(Self {
            tls,
            received: Records::default(),
            encrypted: 0,
            closing: false,
            peer_has_closed: false,
            slot,
            counts,
            open: None,
        })
    }

    /// Returns whether the handshake is still in progress.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Returns the common name of the certificate that the client has shown, also of an earlier session
    /// that was resumed; `None` if there is no such name.
    pub(crate) fn client_name(&self) -> Option<String> {
        common_name(self.tls.peer_certificates()?.first()?)
    }

    /// Ends the handshake: counts it, and lets another one begin.
    pub(crate) fn complete(&mut self) {
        self.slot = None;
        self.open = Some(self.counts.complete(self.tls.handshake_kind()));
    }

    /// Decrypts at most [`CIPHERTEXT_LEN`] bytes that the peer sent; none if it has closed the
    /// connection. Returns the length of the plaintext, which is written to `plaintext`, at least
    /// [`PLAINTEXT_LEN`] bytes. An incomplete record is kept.
    ///
    /// # Errors
    ///
    /// What the peer sent is not acceptable. [`flush`](Self::flush) then sends an alert.
    pub(crate) fn receive(
        &mut self,
        mut ciphertext: &[u8],
        plaintext: &mut [u8],
    ) -> Result<usize, rustls::Error> {
        let mut filled = 0;
        self.peer_has_closed |= ciphertext.is_empty();
        self.received.receive(ciphertext);
        // What follows close_notify is ignored.
        while !ciphertext.is_empty() && !self.peer_has_closed {
            self.tls
                .read_tls(&mut ciphertext)
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            self.peer_has_closed = self.tls.process_new_packets()?.peer_has_closed();
            match self.tls.reader().read(&mut plaintext[filled..]) {
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(rustls::Error::General(error.to_string())),
            }
        }
        Ok(filled)
    }

    /// Returns how many bytes of an incomplete record are held.
    pub(crate) fn incomplete_record(&self) -> usize {
        self.received.incomplete()
    }

    /// Returns whether the peer has closed the connection, with close_notify or without.
    pub(crate) fn peer_has_closed(&self) -> bool {
        self.peer_has_closed
    }

    /// Encrypts bytes and passes the records to `socket`. Returns how many bytes are written: those
    /// whose records the socket has accepted. If it fails with `WouldBlock`, some bytes may be
    /// encrypted already, so the next call must begin with the same bytes.
    ///
    /// # Errors
    ///
    /// Those of `socket`.
    pub(crate) fn write(&mut self, bytes: &[u8], socket: &mut dyn Write) -> io::Result<usize> {
        self.flush(socket)?;
        if self.encrypted == 0 {
            self.encrypted = self.tls.writer().write(bytes)?;
            if self.encrypted == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.flush(socket)?;
        }
        debug_assert!(self.encrypted <= bytes.len(), "a write is repeated");
        Ok(std::mem::take(&mut self.encrypted))
    }

    /// Passes all waiting records to `socket`.
    ///
    /// # Errors
    ///
    /// Those of `socket`.
    pub(crate) fn flush(&mut self, socket: &mut dyn Write) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Queues close_notify, once. Nothing is written after it.
    pub(crate) fn close(&mut self) {
        if !self.closing {
            self.closing = true;
            self.tls.send_close_notify();
        }
    }
}
