//! A server with TLS, and clients of it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use globalcounter::server::{Config, TlsConfig, TlsFiles};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::{Authority, Directory, Embedded, Framed, Issued, Validity, config, connect, port_0};

/// A connection of a TLS client.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Files of certificates, in a directory that is removed at the end.
pub(crate) struct TlsDirectory {
    directory: Directory,
    /// The authority of the server's certificate.
    pub(crate) authority: Authority,
}

impl TlsDirectory {
    /// Makes a directory with the certificate of a server and its key.
    pub(crate) fn new(name: &str) -> Self {
        let made = Self {
            directory: Directory::new(&format!("tls-{name}")),
            authority: Authority::new("the server's authority"),
        };
        fs::create_dir_all(&made.directory.0).unwrap();
        made.write("ca.pem", &made.authority.certificate);
        made.write_server(&made.authority.server("first", Validity::Now));
        made
    }

    /// Starts a server that requires client certificates: see
    /// [`config_for_clients`](Self::config_for_clients).
    pub(crate) fn start_for_clients(&self, shards: usize) -> Embedded {
        Embedded::with(self.config_for_clients(shards))
    }

    /// Returns the settings of a server that requires client certificates. One with the common name "a
    /// client" is in `client.pem` and `client-key.pem`.
    pub(crate) fn config_for_clients(&self, shards: usize) -> Config {
        let clients = Authority::new("clients");
        let client = clients.client("a client", Validity::Now);
        self.write("clients.pem", &clients.certificate);
        self.write("client.pem", &client.certificate);
        self.write("client-key.pem", &client.key);
        let used = TlsFiles {
            clients: Some(self.path("clients.pem")),
            ..self.files()
        };
        self.config(shards, used)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.0.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the certificate of the server, then its key.
    pub(crate) fn write_server(&self, issued: &Issued) {
        self.write("cert.pem", &issued.certificate);
        self.write("key.pem", &issued.key);
    }

    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path("cert.pem"),
            key: self.path("key.pem"),
            clients: None,
        }
    }

    /// Returns the flags of a server with these files and a port that the system chooses.
    pub(crate) fn flags(&self) -> Vec<String> {
        let (certificate, key) = (self.text("cert.pem"), self.text("key.pem"));
        let flags = [
            "--tls",
            "127.0.0.1:0",
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
        ];
        flags.map(str::to_owned).to_vec()
    }

    /// Returns the settings of a server with these files.
    pub(crate) fn config(&self, shards: usize, files: TlsFiles) -> Config {
        Config {
            tls: Some(TlsConfig {
                address: port_0().unwrap(),
                files,
            }),
            ..config(shards)
        }
    }

    /// Starts a server that asks for no client certificates.
    pub(crate) fn start(&self, shards: usize) -> Embedded {
        Embedded::with(self.config(shards, self.files()))
    }

    /// Returns a client that trusts the authority.
    pub(crate) fn client(&self) -> TlsClient {
        TlsClient::new(
            &self.authority,
            &[&rustls::version::TLS13, &rustls::version::TLS12],
            None,
        )
    }
}

/// The settings of a client, with its sessions to resume.
#[derive(Clone)]
pub(crate) struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    pub(crate) fn new(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Issued>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.certificate.as_bytes());
        roots.add(root.unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Self(Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = CertificateDer::from_pem_slice(issued.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes());
                builder
                    .with_client_auth_cert(vec![chain.unwrap()], key.unwrap())
                    .unwrap()
            }
        }))
    }

    /// Returns the state of a new connection.
    pub(crate) fn session(&self) -> ClientConnection {
        let name = ServerName::try_from("localhost").unwrap();
        ClientConnection::new(Arc::clone(&self.0), name).unwrap()
    }

    /// Opens a connection and completes the handshake as far as the client can tell.
    pub(crate) fn try_connect(&self, address: SocketAddr) -> io::Result<TlsStream> {
        self.try_over(connect(address))
    }

    /// Does the same as [`try_connect`](Self::try_connect) over a connection that is open.
    pub(crate) fn try_over(&self, socket: TcpStream) -> io::Result<TlsStream> {
        let mut stream = StreamOwned::new(self.session(), socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    pub(crate) fn connect(&self, address: SocketAddr) -> TlsStream {
        self.try_connect(address).unwrap()
    }

    pub(crate) fn framed(&self, address: SocketAddr) -> Framed<TlsStream> {
        Framed::over(self.connect(address))
    }

    /// Writes `request` on a new connection, and returns what the server sends until it closes it.
    pub(crate) fn exchange_to_end(
        &self,
        address: SocketAddr,
        request: &[u8],
    ) -> io::Result<Vec<u8>> {
        let mut stream = self.try_connect(address)?;
        stream.write_all(request)?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        Ok(reply)
    }
}

/// Returns the certificate that the server has shown.
pub(crate) fn shown(stream: &TlsStream) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}
