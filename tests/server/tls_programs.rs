//! Other programs and libraries over TLS, where they are installed.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use globalcounter::access::{Guard, Policy, parse_tokens};
use globalcounter::server::Config;

use crate::support::{self, Embedded, TlsDirectory, has_python_package};

/// Counts with a client certificate, which the server knows by its name; without one, the server refuses
/// the connection.
const PYTHON: &str = r#"
import sys
import redis
port, ca, certificate, key = sys.argv[1:]
def client(**identity):
    return redis.Redis(host="localhost", port=int(port), ssl=True, ssl_ca_certs=ca, **identity)
allowed = client(ssl_certfile=certificate, ssl_keyfile=key)
assert [allowed.incr("python") for _ in range(3)] == [1, 2, 3]
with allowed.pipeline(transaction=False) as pipeline:
    assert pipeline.incr("python").incrby("python", 10).execute() == [4, 14]
assert allowed.client_info()["user"] == "python", allowed.client_info()
try:
    allowed.delete("python")
except redis.exceptions.NoPermissionError:
    pass
else:
    raise AssertionError("deleted without the right")
try:
    client().incr("python")
except redis.ConnectionError as error:
    assert "certificate" in str(error).lower(), error
else:
    raise AssertionError("counted without a certificate")
print("ok")
"#;

#[test]
fn the_python_package_counts_with_a_certificate() {
    if !has_python_package() {
        return;
    }
    let files = TlsDirectory::new("python");
    let tokens = "python = { rights = [\"count\"], certificate = \"a client\" }";
    let policy = Policy::new(parse_tokens(tokens).unwrap(), Vec::new());
    let server = Embedded::with(Config {
        access: Some(Arc::new(Guard::new(policy))),
        ..files.config_for_clients(2)
    });
    let port = server.tls.as_ref().unwrap().0.port().to_string();
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client-key.pem"].map(|n| files.text(n));
    let arguments = ["-c", PYTHON, &port, &ca, &certificate, &key];
    assert_eq!(run("python3", &arguments, "").unwrap(), "ok\n");
}

/// Runs a program if it is installed, and returns what it prints.
fn run(program: &str, arguments: &[&str], input: &str) -> Option<String> {
    let output = support::run(program, arguments, input)?;
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn redis_cli_and_openssl_count() {
    let files = TlsDirectory::new("programs");
    let server = files.start(2);
    let address = server.tls.as_ref().unwrap().0;
    let (ca, port) = (files.text("ca.pem"), address.port().to_string());
    let arguments = ["--tls", "--cacert", &ca, "-h", "127.0.0.1", "-p", &port];
    if let Some(output) = run("redis-cli", &arguments, "INCR a\nINCRBY a 10\nGET a\n") {
        assert_eq!(output, "1\n11\n11\n");
    }
    let peer = address.to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [
            "s_client",
            "-connect",
            &peer,
            "-CAfile",
            &ca,
            "-verify_return_error",
            "-brief",
            "-ign_eof",
            version,
        ];
        if let Some(output) = run("openssl", &arguments, "GET openssl\r\nQUIT\r\n") {
            assert!(
                output.contains("Verification: OK") && output.contains("+OK"),
                "{output}"
            );
        }
    }
}

/// The checks of testssl.sh that openssl can make. Some builds of it lack what is weak; `tls_offer` tries
/// it all the same.
#[test]
fn openssl_finds_nothing_weak() {
    let files = TlsDirectory::new("weak");
    let server = files.start(2);
    let address = server.tls.as_ref().unwrap().0;
    let ask = |flags: &[&str]| {
        let peer = address.to_string();
        let arguments = [&["s_client", "-connect", &peer, "-brief"][..], flags].concat();
        run("openssl", &arguments, "PING\r\nQUIT\r\n")
    };
    let Some(strong) = ask(&["-ign_eof"]) else {
        return;
    };
    assert!(strong.contains("+PONG"), "{strong}");
    let suites = [
        "RC4",
        "3DES",
        "DES",
        "IDEA",
        "SEED",
        "CAMELLIA",
        "ARIA",
        "AESCCM",
        "EXPORT",
        "LOW",
        "MEDIUM",
        "MD5",
        "eNULL",
        "aNULL",
        "kRSA",
        "kDHE",
        "PSK",
        "SRP",
        "SHA1",
        "SHA256:!AESGCM",
        "SHA384:!AESGCM",
    ];
    let suites = suites.map(|suites| format!("{suites}:@SECLEVEL=0"));
    let mut weak: Vec<Vec<&str>> = vec![
        vec!["-ssl3"],
        vec!["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
        vec!["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        vec!["-tls1_2", "-groups", "secp224r1"],
        vec![
            "-tls1_2",
            "-sigalgs",
            "ECDSA+SHA1",
            "-cipher",
            "ALL:@SECLEVEL=0",
        ],
    ];
    weak.extend(
        suites
            .iter()
            .map(|suites| vec!["-tls1_2", "-cipher", suites]),
    );
    for flags in weak {
        let output = ask(&[&flags[..], &["-ign_eof"]].concat()).unwrap();
        assert!(!output.contains("+PONG"), "{flags:?}: {output}");
    }
    refuses_renegotiation(&address.to_string());
}

/// A client that asks for a new handshake on an open connection is refused.
fn refuses_renegotiation(peer: &str) {
    let started = Command::new("openssl")
        .args(["s_client", "-connect", peer, "-brief", "-tls1_2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"PING\r\n").unwrap();
    let mut pong = [0; 7];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut pong)
        .unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
    // A line of its own with R is the command of openssl to renegotiate.
    input.write_all(b"R\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no renegotiation"), "{text}");
}
