//! Certificates in files: mistakes in them, and their replacement in a running server.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::Receiver;

use globalcounter::protocol::{Op, Reply};
use globalcounter::server::{Config, Server, TlsFiles};
use nix::sys::signal::Signal;
use rustls::HandshakeKind;

use crate::command::{command, one_line};
use crate::support::{
    PATIENCE, Process, TlsDirectory, Validity, connect, eventually, exchange_to_end, shown,
};

/// Returns why a server with these files does not start: the errors with their causes.
fn refusal(config: Config) -> String {
    let error = Server::bind(config).unwrap_err();
    format!("{:#}", anyhow::Error::from(error))
}

#[test]
fn a_mistake_is_named_with_its_file() {
    let files = TlsDirectory::new("mistakes");
    let other = files.authority.server("other", Validity::Now);
    files.write("other-key.pem", &other.key);
    files.write("empty.pem", "");
    files.write(
        "text.pem",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    );
    files.write(
        "der.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let key = fs::read_to_string(files.path("key.pem")).unwrap();
    files.write(
        "encrypted.pem",
        &key.replace("PRIVATE", "ENCRYPTED PRIVATE"),
    );
    let with = |certificate: &str, key: &str, clients: Option<&str>| {
        let files_used = TlsFiles {
            certificate: files.path(certificate),
            key: files.path(key),
            clients: clients.map(|name| files.path(name)),
        };
        refusal(files.config(1, files_used))
    };
    for (error, file, reason) in [
        (
            with("none.pem", "key.pem", None),
            "none.pem",
            "No such file",
        ),
        (
            with("cert.pem", "none.pem", None),
            "none.pem",
            "No such file",
        ),
        (
            with("empty.pem", "key.pem", None),
            "empty.pem",
            "has no certificate",
        ),
        (
            with("key.pem", "key.pem", None),
            "key.pem",
            "has no certificate",
        ),
        (with("text.pem", "key.pem", None), "text.pem", "cannot use"),
        (with("der.pem", "key.pem", None), "der.pem", "cannot use"),
        (
            with("cert.pem", "empty.pem", None),
            "empty.pem",
            "has no private key",
        ),
        (
            with("cert.pem", "cert.pem", None),
            "cert.pem",
            "has no private key",
        ),
        (
            with("cert.pem", "encrypted.pem", None),
            "encrypted.pem",
            "not encrypted",
        ),
        (
            with("cert.pem", "other-key.pem", None),
            "other-key.pem",
            "does not belong",
        ),
        (
            with("cert.pem", "key.pem", Some("none.pem")),
            "none.pem",
            "No such file",
        ),
        (
            with("cert.pem", "key.pem", Some("key.pem")),
            "key.pem",
            "has no certificate",
        ),
    ] {
        assert!(
            error.contains(file) && error.contains(reason),
            "{file} {reason}: {error}"
        );
    }
}

#[test]
fn the_command_refuses_to_start_with_one_line() {
    let files = TlsDirectory::new("refused");
    let mut flags = files.flags();
    flags[5] = files.text("none.pem");
    let run = |flags: &[String]| {
        let mut command = command();
        command.args([
            "serve",
            "--in-memory",
            "--tcp",
            "127.0.0.1:0",
            "--udp",
            "off",
            "--admin",
            "off",
        ]);
        command.args(flags);
        command.output().unwrap()
    };
    let output = run(&flags);
    assert_eq!(output.status.code(), Some(1));
    let line = one_line(&output.stderr);
    assert!(line.contains("none.pem: No such file"), "{line}");
    let output = run(&flags[..2]);
    assert_eq!(output.status.code(), Some(2));
    let line = one_line(&output.stderr);
    assert!(line.contains("--tls-cert and --tls-key"), "{line}");
}

/// Returns the next line of a log that contains `text`.
fn line_with(log: &Receiver<String>, text: &str) -> String {
    loop {
        let line = log.recv_timeout(PATIENCE).expect(text);
        if line.contains(text) {
            return line;
        }
    }
}

fn start(files: &TlsDirectory) -> (Process, Receiver<String>) {
    let mut flags = files.flags();
    flags.extend(["--admin", "127.0.0.1:0"].map(str::to_owned));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Process::with_log(&flags)
}

#[test]
fn an_expired_certificate_and_a_readable_key_are_warned_of() {
    let files = TlsDirectory::new("warnings");
    files.write_server(&files.authority.server("old", Validity::Expired));
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(files.path("key.pem"), mode).unwrap();
    let (_process, log) = start(&files);
    let line = line_with(&log, "has expired");
    assert!(line.contains("WARN") && line.contains("cert.pem"), "{line}");
    let line = line_with(&log, "the TLS key");
    assert!(line.contains("WARN") && line.contains("key.pem"), "{line}");
    assert!(
        line.contains("every user of this machine has access"),
        "{line}"
    );
}

#[test]
fn certificates_are_replaced_without_dropping_connections() {
    let files = TlsDirectory::new("replaced");
    let (process, log) = start(&files);
    let (address, client) = (process.tls.unwrap(), files.client());
    let mut first = client.framed(address);
    assert_eq!(first.ask(Op::Count, "a"), Reply::Count(1));

    // By SIGHUP, also without a configuration file.
    files.write_server(&files.authority.server("second", Validity::Now));
    process.signal(Signal::SIGHUP);
    line_with(&log, "loaded the TLS files again");
    let mut second = client.framed(address);
    assert_eq!(second.ask(Op::Count, "a"), Reply::Count(2));
    assert_ne!(shown(&first.stream), shown(&second.stream));
    // The session of the first certificate is not resumed.
    let kind = second.stream.conn.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::Full));

    // Because the files have changed. The key is written last.
    let third = files.authority.server("third", Validity::Now);
    files.write("cert.pem", &third.certificate);
    files.write("key.pem", &third.key);
    eventually("new connections get the new certificate", || {
        shown(&client.connect(address)) != shown(&second.stream)
    });

    // Failures are not counted as handshakes.
    connect(address).write_all(b"GET").unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut metrics = String::new();
    eventually("the failure is counted", || {
        let reply = exchange_to_end(process.admin.unwrap(), request);
        metrics = String::from_utf8(reply).unwrap();
        metrics.contains("globalcounter_tls_handshakes_failed_total{reason=\"not_tls\"} 1\n")
    });
    assert!(
        metrics.contains("globalcounter_tls_connections 2\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("globalcounter_tls_handshakes_total{kind=\"full\"} "),
        "{metrics}"
    );

    // A mistake changes nothing.
    files.write("cert.pem", "no certificate");
    process.signal(Signal::SIGHUP);
    let line = line_with(&log, "cannot load the TLS files again");
    assert!(
        line.contains("ERROR") && line.contains("cert.pem has no certificate"),
        "{line}"
    );
    let mut fourth = client.framed(address);
    for (connection, sum) in [&mut first, &mut second, &mut fourth].into_iter().zip(3..) {
        assert_eq!(connection.ask(Op::Count, "a"), Reply::Count(sum));
    }
}
