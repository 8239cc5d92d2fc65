//! A client of the admin port: one HTTP request per connection, with a limit on every wait and size.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use axum::body::{Body, BodyDataStream, Bytes, to_bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use clap::Args;
use futures_util::StreamExt;
use globalcounter::client::TlsOptions;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::de::{DeserializeOwned, IgnoredAny};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::events::{Event, EventReader};
use crate::cli::credentials::{TlsArguments, TokenArguments};

/// How long a connection may take to open.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// How long the server may take to begin its reply. A search of topics takes 2 s at most.
const REPLY_TIME: Duration = Duration::from_secs(5);

/// How long the whole body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);

/// The longest body. Ten minutes of a server with 1,024 shards are about 60 MiB.
const MAX_BODY: usize = 128 * 1024 * 1024;

/// The flags that name the admin port, and what to show it.
#[derive(Debug, Args)]
pub(super) struct AdminArguments {
    /// Address of the server's admin port; https://ADDR if it speaks TLS
    #[arg(
        long,
        value_name = "ADDR",
        env = "GLOBALCOUNTER_ADMIN",
        default_value = "127.0.0.1:9998"
    )]
    admin: Address,
    #[command(flatten)]
    token: TokenArguments,
    #[command(flatten)]
    tls: TlsArguments,
}

/// HOST:PORT, and how it is spoken to.
#[derive(Debug, Clone)]
struct Address {
    host: String,
    https: bool,
}

/// The admin port of a server.
#[derive(Debug, Clone)]
pub(super) struct AdminPort {
    address: Address,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// What each request is authorized by.
    bearer: Option<HeaderValue>,
}

/// The admin port does not answer.
#[derive(Debug, Error)]
#[error(
    "cannot reach the admin port at {address}: {cause:#}; is the server running, and is --admin on?"
)]
pub(super) struct Unreachable {
    address: String,
    pub(super) cause: anyhow::Error,
}

/// The admin port wants another token. Asking again with the same would be another failed attempt.
#[derive(Debug, Error)]
#[error("the admin port at {address} {why}")]
pub(super) struct Refused {
    address: String,
    why: &'static str,
}

impl AdminArguments {
    /// Returns the admin port.
    ///
    /// # Errors
    ///
    /// The token or a certificate cannot be read, or nothing says whom to trust over TLS.
    pub(super) fn port(&self) -> Result<AdminPort> {
        let bearer = |token: String| {
            let mut value = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes())
                .context("the token has a character that no token has")?;
            value.set_sensitive(true);
            Ok::<_, anyhow::Error>(value)
        };
        let tls = match (self.admin.https, self.tls.options()?) {
            (false, _) => None,
            (true, Some(options)) => Some(options.settings_for(&self.admin.host)?),
            (true, None) => bail!("https:// needs the authorities to trust: --tls-ca"),
        };
        Ok(AdminPort {
            address: self.admin.clone(),
            tls,
            bearer: self.token.read()?.map(bearer).transpose()?,
        })
    }
}

impl FromStr for Address {
    type Err = String;

    /// Accepts HOST:PORT, and the URL that `serve` prints.
    fn from_str(text: &str) -> Result<Self, String> {
        let (https, address) = match text.strip_prefix("https://") {
            Some(address) => (true, address),
            None => (false, text.strip_prefix("http://").unwrap_or(text)),
        };
        let address = address.trim_end_matches('/');
        let is_address = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !is_address || address.contains(['/', ' ']) || address.contains(char::is_control) {
            return Err("expected an address and a port, as in 127.0.0.1:9998".into());
        }
        Ok(Self {
            host: address.to_owned(),
            https,
        })
    }
}

impl AdminPort {
    /// Returns the admin port at HOST:PORT, for requests without a token.
    #[cfg(test)]
    pub(super) fn at(address: &str) -> Result<Self, String> {
        Ok(Self {
            address: address.parse()?,
            tls: None,
            bearer: None,
        })
    }

    /// Returns HOST:PORT.
    pub(super) fn address(&self) -> &str {
        &self.address.host
    }

    /// Returns what the JSON at `path` says; `None` while the server has nothing to tell because it is
    /// loading its data directory.
    ///
    /// # Errors
    ///
    /// The port cannot be reached, does not answer in time, wants another token, or is no admin port of
    /// globalcounter.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let body = self.body(path).await?;
        body.map(|body| self.parse(&body, path)).transpose()
    }

    /// Returns the JSON at `path` as it is. Otherwise the same as [`get`](Self::get).
    pub(super) async fn get_json(&self, path: &str) -> Result<Option<String>> {
        let Some(body) = self.body(path).await? else {
            return Ok(None);
        };
        let IgnoredAny = self.parse(&body, path)?;
        let text = String::from_utf8(body.into()).with_context(|| self.not_ours(path))?;
        Ok(Some(text))
    }

    /// Returns the server-sent events at `path`.
    ///
    /// # Errors
    ///
    /// The same as those of [`get`](Self::get).
    pub(super) async fn events(&self, path: &str) -> Result<Events> {
        let response = self.request(path).await?;
        self.expect_ok(response.status(), path)?;
        Ok(Events {
            body: response.into_body().into_data_stream(),
            reader: EventReader::new(MAX_BODY),
        })
    }

    async fn body(&self, path: &str) -> Result<Option<Bytes>> {
        let response = self.request(path).await?;
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            return Ok(None);
        }
        self.expect_ok(response.status(), path)?;
        let body = to_bytes(response.into_body(), MAX_BODY);
        let body = match timeout(BODY_TIME, body).await {
            Ok(body) => body.map_err(anyhow::Error::from),
            Err(_) => Err(anyhow!("the reply did not arrive in time")),
        };
        Ok(Some(body.map_err(|error| self.unreachable(error))?))
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8], path: &str) -> Result<T> {
        serde_json::from_slice(body).with_context(|| self.not_ours(path))
    }

    async fn request(&self, path: &str) -> Result<Response<Body>> {
        let response = self.send(path).await;
        response.map_err(|error| self.unreachable(error))
    }

    async fn send(&self, path: &str) -> Result<Response<Body>> {
        let stream = match timeout(CONNECT_TIME, TcpStream::connect(self.address())).await {
            Ok(stream) => stream?,
            Err(_) => bail!("no connection within {} s", CONNECT_TIME.as_secs()),
        };
        let mut sender = match &self.tls {
            None => start(stream).await?,
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                match timeout(CONNECT_TIME, connector.connect(name.clone(), stream)).await {
                    Ok(stream) => start(stream.map_err(TlsOptions::explain)?).await?,
                    Err(_) => bail!("no TLS handshake within {} s", CONNECT_TIME.as_secs()),
                }
            }
        };
        let mut request = Request::get(path)
            .header(header::HOST, self.address())
            .header(header::CONNECTION, "close")
            .body(Body::empty())?;
        if let Some(bearer) = &self.bearer {
            let headers = request.headers_mut();
            headers.insert(header::AUTHORIZATION, bearer.clone());
        }
        match timeout(REPLY_TIME, sender.send_request(request)).await {
            Ok(Err(error)) if error.is_parse() && self.tls.is_none() => {
                Err(error).context("the reply is not HTTP; a port that speaks TLS needs https://")
            }
            Ok(response) => Ok(response?.map(Body::new)),
            Err(_) => bail!("no reply within {} s", REPLY_TIME.as_secs()),
        }
    }

    fn expect_ok(&self, status: StatusCode, path: &str) -> Result<()> {
        let why = match (status, &self.bearer) {
            (StatusCode::OK, _) => return Ok(()),
            (StatusCode::UNAUTHORIZED, None) => {
                "needs a token: give one with the right read by --token-file FILE or GLOBALCOUNTER_TOKEN"
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => "does not know this token",
            (StatusCode::FORBIDDEN, _) => {
                "refuses this token: it needs the right read for all topics, or admin"
            }
            (StatusCode::TOO_MANY_REQUESTS, _) => {
                "does not check tokens of this address now: too many were wrong; try again in a second"
            }
            _ => return Err(anyhow!("HTTP status {status}")).context(self.not_ours(path)),
        };
        let address = self.address().to_owned();
        Err(Refused { address, why }.into())
    }

    fn unreachable(&self, cause: anyhow::Error) -> anyhow::Error {
        let address = self.address().to_owned();
        Unreachable { address, cause }.into()
    }

    fn not_ours(&self, path: &str) -> String {
        format!(
            "no admin port of globalcounter, or one of another version, answers at {}://{}{path}",
            if self.address.https { "https" } else { "http" },
            self.address()
        )
    }
}

/// Starts to speak HTTP on a connection.
async fn start(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Body>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the response is dropped. Its error is also that of the response.
    tokio::spawn(connection);
    Ok(sender)
}

/// Server-sent events as they arrive.
pub(super) struct Events {
    body: BodyDataStream,
    reader: EventReader,
}

impl Events {
    /// Returns the next event; `None` if the server has ended the stream.
    ///
    /// # Errors
    ///
    /// The connection failed, or an event is too long.
    pub(super) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.reader.next()? {
                return Ok(Some(event));
            }
            match self.body.next().await {
                Some(bytes) => self.reader.push(&bytes?),
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_what_serve_prints() {
        for (text, address) in [
            ("127.0.0.1:9998", "127.0.0.1:9998"),
            ("http://127.0.0.1:9998", "127.0.0.1:9998"),
            ("http://localhost:9998/", "localhost:9998"),
            ("[::1]:9998", "[::1]:9998"),
            ("https://a.example:9998/", "a.example:9998"),
        ] {
            assert_eq!(AdminPort::at(text).unwrap().address(), address);
        }
        for text in [
            "",
            "off",
            "127.0.0.1",
            ":9998",
            "a:70000",
            "a b:1",
            "a/b:1",
            "\u{1b}:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
