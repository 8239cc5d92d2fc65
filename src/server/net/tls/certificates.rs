//! The certificates that new connections get, and how they are replaced while the server runs.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::{ServerConfig, ServerConnection};

use super::counts::{Counts, HandshakeFailure, TlsSnapshot};
use super::files;
use super::session::TlsSession;
use super::slots::{HandshakeSlot, Slots};
use super::subject::common_name;
use crate::server::config::TlsError;
use crate::server::config::{ConnectionLimits, TlsFiles};

/// Replaces the certificates of a server that serves TLS. Clones change the same server.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    /// Read once for each connection that is accepted.
    current: RwLock<Arc<ServerConfig>>,
    files: RwLock<TlsFiles>,
    slots: Slots,
    counts: Arc<Counts>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files())
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files, for a listener beside those of a [`Server`](crate::server::Server), which reads its
    /// own.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file and the reason.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        Self::load_for(files, ConnectionLimits::default().handshakes)
    }

    /// Reads the files. At most `handshakes` may be in progress at a time.
    pub(in crate::server) fn load_for(
        files: TlsFiles,
        handshakes: usize,
    ) -> Result<Self, TlsError> {
        let config = files::load(&files)?;
        Ok(Self {
            shared: Arc::new(Shared {
                current: RwLock::new(Arc::new(config)),
                files: RwLock::new(files),
                slots: Slots::new(handshakes),
                counts: Arc::default(),
            }),
        })
    }

    /// Returns the files that are used.
    #[must_use]
    pub fn files(&self) -> TlsFiles {
        self.shared.files.read().clone()
    }

    /// Reads other files. Connections that are accepted from now on use them, and sessions of earlier
    /// ones cannot be resumed any more. Open connections go on.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file and the reason. Nothing changes then.
    pub fn replace(&self, files: TlsFiles) -> Result<(), TlsError> {
        let config = files::load(&files)?;
        *self.shared.files.write() = files;
        *self.shared.current.write() = Arc::new(config);
        Ok(())
    }

    /// Reads the same files again, as [`replace`](Self::replace) does.
    ///
    /// # Errors
    ///
    /// The same as there.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.replace(self.files())
    }

    /// Returns the settings of connections that are accepted from now on.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.shared.current.read())
    }

    /// Returns the common name of the certificate that a client has shown; `None` if there is no such
    /// name, or more than one.
    #[must_use]
    pub fn client_name(connection: &ServerConnection) -> Option<String> {
        common_name(connection.peer_certificates()?.first()?)
    }

    /// Waits until another handshake may begin.
    pub(crate) async fn slot(&self) -> HandshakeSlot {
        self.shared.slots.next().await
    }

    /// Returns the session of a new connection, which holds `slot` until its handshake ends.
    ///
    /// # Errors
    ///
    /// The error of rustls, if the settings are wrong; none are known.
    pub(crate) fn session(&self, slot: Option<HandshakeSlot>) -> Result<TlsSession, rustls::Error> {
        let config = self.server_config();
        TlsSession::new(config, slot, Arc::clone(&self.shared.counts))
    }

    /// Counts a failed handshake.
    pub(crate) fn fail(&self, failure: HandshakeFailure) {
        self.shared.counts.fail(failure);
    }

    pub(in crate::server) fn counts(&self) -> TlsSnapshot {
        self.shared.counts.read(self.shared.slots.taken())
    }
}
