//! The admin port over TLS: those who ask it, client certificates, and the replacement of certificates.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Output;

use nix::sys::signal::Signal;

use crate::command::{command, one_line};
use crate::support::{
    Authority, Process, TlsDirectory, Validity, connect, eventually, exchange_to_end, shown,
};

/// Starts a server whose admin port alone speaks TLS, with more arguments.
fn start(files: &TlsDirectory, more: &[&str]) -> (Process, SocketAddr) {
    let (certificate, key) = (files.text("cert.pem"), files.text("key.pem"));
    let tls = ["--admin-tls", "--tls-cert", &certificate, "--tls-key", &key];
    let server = Process::with_admin(&[&tls, more].concat());
    let admin = server.admin.unwrap();
    (server, admin)
}

/// Runs `stats` with these flags.
fn stats(admin: &str, flags: &[&str]) -> Output {
    let mut stats = command();
    stats
        .args(["stats", "--json", "--admin", admin])
        .args(flags);
    stats.output().unwrap()
}

/// Runs `stats`, which must fail, and returns its error.
fn refused(admin: &str, flags: &[&str]) -> String {
    let output = stats(admin, flags);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    one_line(&output.stderr)
}

#[test]
fn the_admin_port_speaks_tls_alone() {
    let files = TlsDirectory::new("admin");
    let (_server, admin) = start(&files, &[]);
    let request = b"GET /readyz HTTP/1.0\r\n\r\n";
    let reply = files.client().exchange_to_end(admin, request).unwrap();
    assert!(reply.ends_with(b"ready\n"), "{reply:?}");
    // HTTP without TLS gets an alert.
    let reply = exchange_to_end(admin, request);
    assert_eq!(reply.first(), Some(&0x15), "{reply:?}");

    let ca = files.text("ca.pem");
    let url = format!("https://{admin}");
    let output = stats(&url, &["--tls-ca", &ca]);
    assert!(output.status.success(), "{output:?}");
    assert!(refused(&url, &[]).contains("--tls-ca"));
    files.write("other.pem", &Authority::new("another").certificate);
    let line = refused(&url, &["--tls-ca", &files.text("other.pem")]);
    assert!(line.contains("UnknownIssuer"), "{line}");
    let line = refused(&url, &["--tls-ca", &ca, "--tls-name", "another.example"]);
    assert!(line.contains("not valid for name"), "{line}");
    let line = refused(&admin.to_string(), &["--tls-ca", &ca]);
    assert!(line.contains("https://"), "{line}");
}

#[test]
fn a_certificate_shows_who_reads_the_admin_port() {
    let files = TlsDirectory::new("admin-clients");
    let authority = Authority::new("clients");
    files.write("clients.pem", &authority.certificate);
    files.write(
        "tokens.toml",
        "watcher = { rights = [\"read\"], certificate = \"watcher\" }\n\
         orders = { rights = [\"count\"], certificate = \"orders\" }\n",
    );
    let (clients, tokens) = (files.text("clients.pem"), files.text("tokens.toml"));
    let (_server, admin) = start(&files, &["--tls-ca", &clients, "--tokens", &tokens]);
    let url = format!("https://{admin}");
    let ca = files.text("ca.pem");
    let by = |name: &str, validity| {
        let issued = authority.client(name, validity);
        files.write("client.pem", &issued.certificate);
        files.write("client-key.pem", &issued.key);
        let (certificate, key) = (files.text("client.pem"), files.text("client-key.pem"));
        let flags = [
            "--tls-ca",
            &ca,
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
        ];
        stats(&url, &flags)
    };
    let output = by("watcher", Validity::Now);
    assert!(output.status.success(), "{output:?}");
    for name in ["orders", "another"] {
        let line = one_line(&by(name, Validity::Now).stderr);
        assert!(line.contains("needs a token"), "{line}");
    }
    let line = one_line(&by("watcher", Validity::Expired).stderr);
    assert!(line.contains("CertificateExpired"), "{line}");
    let line = refused(&url, &["--tls-ca", &ca]);
    assert!(line.contains("CertificateRequired"), "{line}");
}

#[test]
fn the_certificates_of_both_ports_are_replaced_together() {
    let files = TlsDirectory::new("admin-replaced");
    let mut flags = files.flags();
    flags.push("--admin-tls".to_owned());
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Process::with_admin(&flags);
    let addresses = [server.tls.unwrap(), server.admin.unwrap()];
    let client = files.client();
    // A stream that is open goes on.
    let mut live = client.connect(addresses[1]);
    live.write_all(b"GET /api/live HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert!(live.read(&mut [0; 12]).unwrap() > 0);
    let certificates = || addresses.map(|address| shown(&client.connect(address)));
    let [first, first_of_admin] = certificates();
    assert_eq!(first, first_of_admin);
    files.write_server(&files.authority.server("second", Validity::Now));
    server.signal(Signal::SIGHUP);
    eventually("both ports have the new certificate", || {
        let now = certificates();
        now[0] == now[1] && now[0] != first
    });
    assert!(live.read(&mut [0; 100]).unwrap() > 0);
    drop(connect(addresses[1]));
}

#[test]
fn tls_of_the_admin_port_needs_its_files() {
    let serve = |flags: &[&str]| {
        let mut serve = command();
        serve.args(["serve", "--in-memory", "--check"]).args(flags);
        serve.output().unwrap()
    };
    let line = one_line(&serve(&["--admin-tls"]).stderr);
    assert!(
        line.contains("--admin-tls needs a certificate and its key"),
        "{line}"
    );
    let files = ["--tls-cert=a.pem", "--tls-key=b.pem"];
    let output = serve(&[&files[..], &["--admin-tls"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\ntls_cert = \"a.pem\""), "{text}");
    let exposed = ["--admin-tls", "--admin=0.0.0.0:9998"];
    let line = one_line(&serve(&[&files[..], &exposed].concat()).stderr);
    assert!(line.contains("https://0.0.0.0:9998"), "{line}");
}
