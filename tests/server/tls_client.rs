//! The library's clients and the command over TLS.

use globalcounter::client::{Options, TlsOptions};
use globalcounter::{Client, Error, blocking};

use crate::command::{command, one_line};
use crate::support::{Authority, Embedded, TlsDirectory};

/// A server that requires client certificates, its URL, and the files of a client.
fn start(name: &str) -> (TlsDirectory, Embedded, String) {
    let files = TlsDirectory::new(name);
    let server = files.start_for_clients(2);
    let port = server.tls.as_ref().unwrap().0.port();
    (files, server, format!("tls://localhost:{port}"))
}

fn options(files: &TlsDirectory) -> Result<TlsOptions, Error> {
    let read = |name| std::fs::read(files.path(name)).unwrap();
    TlsOptions::trusting(&read("ca.pem"))?.identity(&read("client.pem"), &read("client-key.pem"))
}

#[tokio::test]
async fn a_client_counts_over_tls() {
    let (files, server, url) = start("client");
    for shard_aware in [false, true] {
        let options = Options::default()
            .tls(options(&files).unwrap())
            .shard_aware(shard_aware);
        let client = Client::connect_with(&url, options).await.unwrap();
        client.reset("a").await.unwrap();
        // Together, so that much is in flight.
        let calls: Vec<_> = (0..1_000)
            .map(|n| {
                let client = client.clone();
                let topic = if n % 2 == 0 { "a" } else { "b" };
                tokio::spawn(async move { client.count(topic).await.unwrap() })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(client.get("a").await.unwrap(), 500);
    }
    server.stop().await;
}

/// A connection that the server has closed is opened again, and its session resumed.
#[tokio::test]
async fn a_client_connects_again() {
    let files = TlsDirectory::new("again");
    let server = files.start(2);
    let (address, _) = *server.tls.as_ref().unwrap();
    let ca = std::fs::read(files.path("ca.pem")).unwrap();
    let tls = TlsOptions::trusting(&ca).unwrap().server_name("localhost");
    let url = format!("tls://{address}");
    let client = Client::connect_with(&url, Options::default().tls(tls))
        .await
        .unwrap();
    assert_eq!(client.count("a").await.unwrap(), 1);
    server.stop().await;
    assert!(client.count("a").await.unwrap_err().is_disconnected());
    let mut config = files.config(2, files.files());
    config.tls.as_mut().unwrap().address = address;
    let server = Embedded::with(config);
    assert_eq!(client.count("a").await.unwrap(), 1);
    server.stop().await;
}

#[test]
fn mistakes_are_named() {
    let (files, _server, url) = start("client-mistakes");
    let connect = |url: &str, tls: Option<TlsOptions>| {
        let mut options = Options::default();
        options.tls = tls;
        let client = blocking::Client::connect_with(url, options)?;
        client.count("a")
    };
    assert_eq!(connect(&url, Some(options(&files).unwrap())).unwrap(), 1);

    let error = connect(&url, None).unwrap_err();
    assert!(
        error.is_invalid() && error.to_string().contains("--tls-ca"),
        "{error}"
    );
    let error = TlsOptions::trusting(b"").unwrap_err();
    assert!(error.to_string().contains("no certificate"), "{error}");
    let tls = options(&files).unwrap();
    let certificate = std::fs::read(files.path("client.pem")).unwrap();
    let error = tls.identity(&certificate, &certificate).unwrap_err();
    assert!(error.to_string().contains("no private key"), "{error}");

    // A server that is not trusted, one with another name, and one that wants a certificate.
    let foreign = Authority::new("foreign").certificate;
    let error = connect(
        &url,
        Some(TlsOptions::trusting(foreign.as_bytes()).unwrap()),
    )
    .unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert!(
        error.to_string().contains("not signed by an authority"),
        "{error}"
    );
    let named = options(&files).unwrap().server_name("another.example");
    let error = connect(&url, Some(named)).unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    let ca = std::fs::read(files.path("ca.pem")).unwrap();
    let error = connect(&url, Some(TlsOptions::trusting(&ca).unwrap())).unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}

#[test]
fn the_command_counts_over_tls() {
    let (files, _server, url) = start("command");
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client-key.pem"].map(|n| files.text(n));
    let all = [
        "--tls-ca",
        &ca,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let count = |flags: &[&str]| {
        let mut command = command();
        command
            .args(["count", "--server", &url])
            .args(flags)
            .arg("a");
        command.output().unwrap()
    };
    for sum in ["1\n", "2\n"] {
        let output = count(&all);
        assert_eq!(output.stdout, sum.as_bytes(), "{output:?}");
    }
    for (flags, code, reason) in [
        (&all[..2], 1, "CertificateRequired"),
        (&all[..4], 2, "--tls-key"),
        (&[], 2, "--tls-ca"),
        (&["--tls-ca", "none.pem"], 1, "cannot read none.pem"),
        (&["--tls-ca", &key], 2, "client-key.pem"),
    ] {
        let output = count(flags);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let line = one_line(&output.stderr);
        assert!(line.contains(reason), "{line}");
    }
}
