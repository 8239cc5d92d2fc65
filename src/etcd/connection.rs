//! The connection to one member of etcd at a time, and the change to the next member when it fails.

use std::time::Duration;

use parking_lot::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::error::Error;
use super::location::Location;
use super::proto::AuthenticateRequest;
use super::proto::auth_client::AuthClient;
use super::proto::kv_client::KvClient;
use super::proto::lease_client::LeaseClient;
use super::proto::maintenance_client::MaintenanceClient;
use super::proto::watch_client::WatchClient;

/// How long a request may take, with connecting. Longer than etcd takes to elect a leader is of no use: a
/// node that waits for one request does not send the next.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// The largest answer that is accepted: a page of the longest topics fits.
const MAX_ANSWER: usize = 128 * 1024 * 1024;

/// How to reach etcd.
#[derive(Clone)]
pub struct Settings {
    location: Location,
    tls: Option<Tls>,
    login: Option<(String, String)>,
    request_timeout: Duration,
}

/// Settings of TLS. Certificates and keys are PEM text.
#[derive(Clone)]
pub struct Tls {
    authorities: Vec<u8>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl Settings {
    /// Connects without TLS and without a user.
    #[must_use]
    pub fn new(location: Location) -> Self {
        Self {
            location,
            tls: None,
            login: None,
            request_timeout: REQUEST_TIMEOUT,
        }
    }

    /// Connects with TLS.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        Self {
            tls: Some(tls),
            ..self
        }
    }

    /// Authenticates as a user of etcd.
    #[must_use]
    pub fn login(self, user: &str, password: &str) -> Self {
        Self {
            login: Some((user.to_owned(), password.to_owned())),
            ..self
        }
    }

    /// Sets how long a request may take, with connecting, instead of [`REQUEST_TIMEOUT`].
    #[must_use]
    pub fn request_timeout(self, request_timeout: Duration) -> Self {
        Self {
            request_timeout,
            ..self
        }
    }

    /// Returns where etcd is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns the same settings for each member alone.
    pub(super) fn for_each_member(&self) -> impl Iterator<Item = (&str, Self)> {
        self.location.endpoints().iter().map(|endpoint| {
            let settings = Self {
                location: self.location.of_one(endpoint),
                ..self.clone()
            };
            (endpoint.as_str(), settings)
        })
    }
}

/// Passwords are secrets.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("location", &self.location)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Trusts members with a certificate of one of these authorities, and no others.
    #[must_use]
    pub fn trusting(authorities: &[u8]) -> Self {
        Self {
            authorities: authorities.to_vec(),
            identity: None,
            server_name: None,
        }
    }

    /// Shows etcd this certificate.
    #[must_use]
    pub fn identity(self, certificate: &[u8], key: &[u8]) -> Self {
        Self {
            identity: Some((certificate.to_vec(), key.to_vec())),
            ..self
        }
    }

    /// Sets the name that the members' certificates must have. By default it is the host in the URL.
    #[must_use]
    pub fn server_name(self, name: &str) -> Self {
        Self {
            server_name: Some(name.to_owned()),
            ..self
        }
    }

    fn config(&self) -> ClientTlsConfig {
        let authorities = Certificate::from_pem(&self.authorities);
        let mut config = ClientTlsConfig::new().ca_certificate(authorities);
        if let Some((certificate, key)) = &self.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        match &self.server_name {
            Some(name) => config.domain_name(name),
            None => config,
        }
    }
}

/// Keys are secrets.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

pub(super) type Service = InterceptedService<Channel, Token>;

/// A connection to one member.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// Counts the connections, so that a late failure of an old one does not end its successor.
    number: u64,
    service: Service,
}

impl Connection {
    pub(super) fn kv(&self) -> KvClient<Service> {
        KvClient::new(self.service.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(super) fn lease(&self) -> LeaseClient<Service> {
        LeaseClient::new(self.service.clone())
    }

    pub(super) fn maintenance(&self) -> MaintenanceClient<Service> {
        MaintenanceClient::new(self.service.clone())
    }

    pub(super) fn watch(&self) -> WatchClient<Service> {
        WatchClient::new(self.service.clone()).max_decoding_message_size(MAX_ANSWER)
    }
}

/// What etcd gave for user and password. It comes with each request, as etcd's own client sends it.
#[derive(Debug, Clone)]
pub(super) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

/// Connects to a member when a connection is needed.
#[derive(Debug)]
pub(super) struct Connector {
    settings: Settings,
    state: Mutex<State>,
    /// One task connects, the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Connection>,
    /// The number of connections that were made.
    made: u64,
    /// The member to try next.
    next: usize,
}

impl Connector {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn location(&self) -> &Location {
        &self.settings.location
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.settings.request_timeout
    }

    pub(super) fn has_login(&self) -> bool {
        self.settings.login.is_some()
    }

    /// Returns the connection, or connects: to each member in turn until one accepts. The caller limits the
    /// time.
    pub(super) async fn connection(&self) -> Result<Connection, Error> {
        let _connecting = self.connecting.lock().await;
        if let Some(connection) = self.state.lock().current.clone() {
            return Ok(connection);
        }
        let endpoints = self.settings.location.endpoints();
        let mut failure = None;
        for _ in endpoints {
            // It is counted on first: if this task is given up, the next one tries another member.
            let endpoint = {
                let mut state = self.state.lock();
                let endpoint = &endpoints[state.next % endpoints.len()];
                state.next += 1;
                endpoint
            };
            match self.connect(endpoint).await {
                Ok(service) => {
                    let mut state = self.state.lock();
                    state.made += 1;
                    let connection = Connection {
                        number: state.made,
                        service,
                    };
                    state.current = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("a location has at least one endpoint"))
    }

    /// Notes that a connection failed: the next request uses another member.
    pub(super) fn failed(&self, connection: &Connection) {
        let mut state = self.state.lock();
        if state
            .current
            .as_ref()
            .is_some_and(|current| current.number == connection.number)
        {
            state.current = None;
        }
    }

    async fn connect(&self, address: &str) -> Result<Service, Error> {
        let failed = |why: String| Error::Connect {
            endpoint: address.to_owned(),
            why,
        };
        let scheme = if self.settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|error| failed(with_causes(&error)))?;
        if let Some(tls) = &self.settings.tls {
            let config = tls.config();
            endpoint = endpoint
                .tls_config(config)
                .map_err(|error| Error::Tls(with_causes(&error)))?;
        }
        // So short that a request reaches the second member if the first one's machine is gone.
        let limit = self.settings.request_timeout * 2 / 5;
        let timed_out = |_| failed(format!("no answer within {} ms", limit.as_millis()));
        let connected = tokio::time::timeout(limit, endpoint.connect()).await;
        let channel = connected
            .map_err(timed_out)?
            .map_err(|error| failed(with_causes(&error)))?;
        let token = self.authenticate(&channel).await?;
        Ok(InterceptedService::new(channel, Token(token)))
    }

    async fn authenticate(&self, channel: &Channel) -> Result<Option<MetadataValue<Ascii>>, Error> {
        let Some((name, password)) = self.settings.login.clone() else {
            return Ok(None);
        };
        let mut client = AuthClient::new(channel.clone());
        let request = AuthenticateRequest { name, password };
        let answer = client.authenticate(request).await.map_err(Error::of_call)?;
        let token = answer
            .into_inner()
            .token
            .parse()
            .map_err(|_| Error::Answer)?;
        Ok(Some(token))
    }
}

/// The message of an error with those of its causes, which say what happened.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}
