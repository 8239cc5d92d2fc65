//! What is refused, and how: each cell of the table in docs/security.md, by the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Receiver;

use globalcounter::protocol::{ErrorCode, Op, Reply, framed};
use nix::sys::signal::Signal;
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};

use super::{new_token, try_hello};
use crate::support::{
    Authority, Framed, Issued, PATIENCE, Process, TlsClient, TlsDirectory, TlsStream, Validity,
    command, connect_from, frame,
};

const DOCUMENT: &str = include_str!("../../../docs/security.md");

const DIALECTS: [&str; 4] = ["framed", "classic", "RESP", "admin port"];

/// What a client shows.
struct Shows<'a> {
    /// Over TLS: its certificate, if it has one. `None`: it comes over TCP.
    tls: Option<Option<&'a Issued>>,
    token: Option<&'a str>,
}

/// A server that wants certificates over TLS and tokens, and its files.
struct Guarded {
    files: TlsDirectory,
    process: Process,
    log: Receiver<String>,
    /// Each attempt comes from an address of its own, because failures are limited by address.
    last_source: AtomicU8,
}

trait Stream: Read + Write {}
impl Stream for TcpStream {}
impl Stream for TlsStream {}

impl Guarded {
    fn start(tokens: &str, clients: &Authority) -> Self {
        let files = TlsDirectory::new("refusals");
        files.write("tokens.toml", tokens);
        files.write("clients.pem", &clients.certificate);
        let mut flags = files.flags();
        let (clients, tokens) = (files.text("clients.pem"), files.text("tokens.toml"));
        let more = ["--tls-ca", &clients, "--tokens", &tokens, "--admin-tls"];
        flags.extend(more.map(str::to_owned));
        flags.extend(["--admin", "127.0.0.1:0"].map(str::to_owned));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (process, log) = Process::with_log(&flags);
        Self {
            files,
            process,
            log,
            last_source: AtomicU8::new(1),
        }
    }

    /// Writes a file, and waits until the server has read it.
    fn reload(&self, name: &str, text: &str, until: &str) {
        self.files.write(name, text);
        self.process.signal(Signal::SIGHUP);
        while !self
            .log
            .recv_timeout(PATIENCE)
            .expect(until)
            .contains(until)
        {}
    }

    /// Opens a connection; fails with the error that the client gets.
    fn open(&self, address: SocketAddr, shows: &Shows<'_>) -> io::Result<Box<dyn Stream>> {
        let source = self.last_source.fetch_add(1, Ordering::Relaxed) + 1;
        let socket = connect_from(Ipv4Addr::new(127, 0, 1, source), address);
        let Some(certificate) = shows.tls else {
            return Ok(Box::new(socket));
        };
        // Both versions in turns.
        let version = if source.is_multiple_of(2) {
            &TLS12
        } else {
            &TLS13
        };
        let client = TlsClient::new(&self.files.authority, &[version], certificate);
        Ok(Box::new(client.try_over(socket)?))
    }

    /// Counts in a dialect, or asks the admin port; returns the word for what happened. `None` if the
    /// dialect cannot show what is to be shown.
    fn attempt(&self, dialect: &str, shows: &Shows<'_>) -> Option<String> {
        let process = &self.process;
        let address = match dialect {
            "admin port" => process.admin.unwrap(),
            _ if shows.tls.is_some() => process.tls.unwrap(),
            _ => process.tcp,
        };
        let possible = match dialect {
            "classic" => shows.token.is_none(),
            "admin port" => shows.tls.is_some(),
            _ => true,
        };
        let result = || {
            let mut stream = self.open(address, shows)?;
            match dialect {
                "framed" => count_framed(&mut *stream, shows.token),
                "classic" => count_classic(&mut *stream),
                "RESP" => count_resp(&mut *stream, shows.token),
                _ => ask_admin(&mut *stream, shows.token),
            }
        };
        possible.then(|| result().unwrap_or_else(|error| alert(&error)))
    }
}

fn count_framed(stream: &mut dyn Stream, token: Option<&str>) -> io::Result<String> {
    // With TLS 1.3, a refusal of the client's certificate arrives with the first read.
    stream.write_all(&frame(1, Op::Get, "a"))?;
    let mut reply = Vec::new();
    while framed::decode_reply(&reply).unwrap().is_none() {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        reply.extend(byte);
    }
    let mut framed = Framed::over(stream);
    if let Some(token) = token
        && let Err(code) = try_hello(&mut framed, None, token)
    {
        return Ok(code.name().to_owned());
    }
    Ok(match framed.ask(Op::Count, "a") {
        Reply::Count(_) => "COUNT".to_owned(),
        Reply::Error(code) => code.name().to_owned(),
        other => panic!("{other:?}"),
    })
}

fn count_classic(stream: &mut dyn Stream) -> io::Result<String> {
    stream.write_all(b"\0a")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(match reply[..] {
        [128, ..] => "COUNT".to_owned(),
        [255, code, ..] if code == ErrorCode::Denied.code() => "DENIED".to_owned(),
        _ => panic!("{reply:?}"),
    })
}

fn count_resp(stream: &mut dyn Stream, token: Option<&str>) -> io::Result<String> {
    let auth = token.map(|token| command(&["AUTH", token]));
    let requests = [
        auth.unwrap_or_default(),
        command(&["INCR", "a"]),
        command(&["QUIT"]),
    ];
    stream.write_all(&requests.concat())?;
    let mut replies = String::new();
    stream.read_to_string(&mut replies)?;
    let first = replies.lines().find(|line| *line != "+OK").unwrap();
    Ok(match first.split(' ').next().unwrap() {
        sum if sum.starts_with(':') => "INCR".to_owned(),
        error => error.trim_start_matches('-').to_owned(),
    })
}

fn ask_admin(stream: &mut dyn Stream, token: Option<&str>) -> io::Result<String> {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let bearer = bearer.unwrap_or_default();
    write!(
        stream,
        "GET /api/stats HTTP/1.0\r\nHost: test\r\n{bearer}\r\n"
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply.split(' ').nth(1).unwrap().to_owned())
}

/// Asks the admin port on a connection that stays open, and returns the status.
fn ask_open(stream: &mut dyn Stream, token: &str) -> String {
    let request =
        format!("GET /version HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    let mut is_whole = |byte: u8| {
        reply.push(byte.into());
        let (head, body) = reply.split_once("\r\n\r\n")?;
        let len = head.split_once("content-length: ").unwrap().1;
        let len: usize = len.lines().next().unwrap().parse().unwrap();
        let status = head.split(' ').nth(1).unwrap();
        (body.len() == len).then(|| status.to_owned())
    };
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        if let Some(status) = is_whole(byte[0]) {
            return status;
        }
    }
}

/// Returns the name of an alert in RFC 8446, section 6.
fn alert(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let name = match inner {
        Some(rustls::Error::AlertReceived(alert)) => match *alert {
            AlertDescription::CertificateRequired => "certificate_required",
            AlertDescription::CertificateExpired => "certificate_expired",
            AlertDescription::UnknownCA => "unknown_ca",
            AlertDescription::UnsupportedCertificate => "unsupported_certificate",
            other => panic!("{other:?}"),
        },
        _ => panic!("{error}"),
    };
    name.to_owned()
}

/// The table of the document: of each fault, the word for each dialect, if it can show that fault.
fn table() -> BTreeMap<&'static str, [Option<&'static str>; 4]> {
    let (_, table) = DOCUMENT.split_once("| fault | framed |").unwrap();
    let lines = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let words = [2, 3, 4, 5].map(|at| match cells[at] {
                "–" => None,
                word => Some(word.trim_matches('`')),
            });
            (cells[1], words)
        })
        .collect()
}

#[test]
fn each_fault_is_refused_by_name() {
    let (authority, foreign) = (Authority::new("clients"), Authority::new("foreign"));
    let issue = |name: &str| authority.client(name, Validity::Now);
    let (nobody, orders) = (issue("nobody"), issue("orders"));
    let expired = authority.client("orders", Validity::Expired);
    let of_another = foreign.client("orders", Validity::Now);
    let for_servers = authority.server("orders", Validity::Now);
    let new = |name| new_token(&["--name", name, "--rights", "count,read"]);
    let (right, right_line) = new("right");
    let (removed, removed_line) = new("removed");
    let (elsewhere, _) = new("right");
    let wrong = "0".repeat(64);
    let certified = "orders = { rights = [\"count\", \"read\"], certificate = \"orders\" }\n";
    let server = Guarded::start(
        &[&right_line, &removed_line, certified].concat(),
        &authority,
    );

    let mut table = table();
    let mut expect = |fault: &str, shows: &[Shows<'_>]| {
        let expected = table
            .remove(fault)
            .unwrap_or_else(|| panic!("no row {fault}"));
        for (dialect, expected) in DIALECTS.into_iter().zip(expected) {
            let found = shows
                .iter()
                .filter_map(|shows| server.attempt(dialect, shows));
            let found: Vec<String> = found.collect();
            assert_eq!(found.is_empty(), expected.is_none(), "{fault}, {dialect}");
            let as_expected = |word: &String| Some(word.as_str()) == expected;
            assert!(
                found.iter().all(as_expected),
                "{fault}, {dialect}: {found:?}"
            );
        }
    };
    // A token by TCP, and by TLS with a certificate that has no rights.
    let with_token = |token| {
        let tls = [None, Some(Some(&nobody))];
        tls.map(|tls| Shows { tls, token })
    };
    let with = |certificate| {
        let tls = Some(certificate);
        [Shows { tls, token: None }]
    };
    expect("none: the right token", &with_token(Some(&right)));
    expect("no token", &with_token(None));
    expect("a wrong token", &with_token(Some(&wrong)));
    expect("a token of another server", &with_token(Some(&elsewhere)));
    expect("none: the right certificate", &with(Some(&orders)));
    expect("a certificate that no token names", &with(Some(&nobody)));
    expect("no certificate", &with(None));
    expect("an expired certificate", &with(Some(&expired)));
    expect(
        "a certificate of another authority",
        &with(Some(&of_another)),
    );
    expect("a certificate for servers", &with(Some(&for_servers)));

    // Connections that are open when their token is removed.
    let open = with_token(Some(&removed)).map(|shows| {
        let address = if shows.tls.is_some() {
            server.process.tls
        } else {
            Some(server.process.tcp)
        };
        let mut framed = Framed::over(server.open(address.unwrap(), &shows).unwrap());
        assert_eq!(try_hello(&mut framed, None, &removed), Ok(()));
        let mut resp = server.open(address.unwrap(), &shows).unwrap();
        assert_eq!(exchange_line(&mut *resp, &["AUTH", &removed]), "+OK");
        (framed, resp)
    });
    let [_, over_tls] = with_token(Some(&removed));
    let mut http = server
        .open(server.process.admin.unwrap(), &over_tls)
        .unwrap();
    assert_eq!(ask_open(&mut *http, &removed), "200");
    server.reload("tokens.toml", &right_line, "reloaded the tokens");
    expect("a token that a reload removed", &with_token(Some(&removed)));
    expect(
        "a certificate whose token a reload removed",
        &with(Some(&orders)),
    );
    let fault = "a token that a reload removed, on an open connection";
    let words = table.remove(fault).unwrap();
    let [framed_word, classic, resp_word, status] = words.map(Option::unwrap_or_default);
    // A connection of the classic dialect has one request.
    assert_eq!((classic, status), ("", &*ask_open(&mut *http, &removed)));
    for (mut framed, mut resp) in open {
        assert_eq!(framed.ask(Op::Count, "a"), Reply::Error(ErrorCode::Denied));
        assert_eq!(framed_word, ErrorCode::Denied.name());
        let line = exchange_line(&mut *resp, &["INCR", "a"]);
        assert!(line.starts_with(&format!("-{resp_word} ")), "{line}");
    }

    let mut expect_after = |fault: &str, shows: Shows<'_>| {
        let expected = table.remove(fault).unwrap();
        for (dialect, expected) in DIALECTS.into_iter().zip(expected) {
            assert_eq!(
                server.attempt(dialect, &shows).as_deref(),
                expected,
                "{fault}, {dialect}"
            );
        }
    };
    server.reload(
        "clients.pem",
        &foreign.certificate,
        "loaded the TLS files again",
    );
    let [shows] = with(Some(&orders));
    expect_after("a certificate whose authority a reload replaced", shows);
    assert!(table.is_empty(), "not tried: {table:?}");
    let tokens = fs::read_to_string(server.files.path("tokens.toml")).unwrap();
    assert!(!tokens.contains(&right));
}

/// Sends a command, and returns the first line of its reply.
fn exchange_line(stream: &mut dyn Stream, words: &[&str]) -> String {
    stream.write_all(&command(words)).unwrap();
    stream.flush().unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}
