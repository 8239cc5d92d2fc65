//! Tokens, passwords, their digests and keys are in no output of a server: log, settings, INFO, metrics.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use globalcounter::access::{Credentials, Digest, Grant, Guard, Policy, Token, TokenLimits};
use globalcounter::client::Options;
use globalcounter::protocol::framed::{self, Call, Hello, RequestId};
use globalcounter::protocol::resp::Auth;
use nix::sys::signal::Signal;

use crate::command::command as program;
use crate::support::{PATIENCE, Process, TlsDirectory, command, connect};

const TOKEN: &str = "R1ght-t0ken-of-32-characters-....";
const PASSWORD: &str = "R1ght-passw0rd";
const WRONG: &str = "Wr0ng-secret";

/// Sends bytes on a new connection and returns all replies.
fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut replies = Vec::new();
    stream.read_to_end(&mut replies).unwrap();
    String::from_utf8_lossy(&replies).into_owned()
}

fn hello(token: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let hello = Hello {
        shard: None,
        node: false,
        token: token.as_bytes(),
    };
    framed::encode_request(RequestId(1), &Call::Hello(hello), &mut out);
    out
}

fn get(admin: SocketAddr, path: &str, bearer: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let authorization = format!("Authorization: Bearer {bearer}");
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: test\r\n{authorization}\r\n\r\n"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn no_output_of_a_server_has_a_secret() {
    let files = TlsDirectory::new("secrets");
    let Digest::Token(digest) = Digest::of_token(TOKEN.as_bytes()) else {
        panic!("a random token")
    };
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    files.write("password", PASSWORD);
    let made = program()
        .args([
            "token",
            "new",
            "--name",
            "user",
            "--rights",
            "read,count,admin",
        ])
        .args(["--password-file", &files.text("password")])
        .output()
        .unwrap();
    let line = String::from_utf8(made.stdout).unwrap();
    let argon = line.split('"').find(|part| part.starts_with("$argon2id$"));
    let argon = argon.unwrap().rsplit('$').next().unwrap().to_owned();
    let entry = format!("tool = {{ rights = [\"read\"], digest = \"sha-256:{digits}\" }}\n");
    let tokens = format!("{entry}{line}");
    files.write("tokens.toml", &tokens);
    let key = fs::read_to_string(files.path("key.pem")).unwrap();
    let secrets = [
        TOKEN,
        PASSWORD,
        WRONG,
        &digits,
        &argon,
        key.lines().nth(1).unwrap(),
    ];
    let mut flags = files.flags();
    flags.extend(["--tokens".to_owned(), files.text("tokens.toml")]);
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();

    let checked = program()
        .args(["serve", "--in-memory", "--check"])
        .args(&flags)
        .output()
        .unwrap();
    assert!(checked.status.success());
    let mut shown = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    assert!(shown.contains("tokens.toml"), "{shown}");

    flags.extend(["--admin", "127.0.0.1:0", "--log-level", "trace"]);
    let (server, log) = Process::with_log(&flags);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let mut core = limits
        .lines()
        .filter(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.next().unwrap().split_whitespace().skip(4).collect();
    assert_eq!(
        core,
        ["0", "0", "bytes"],
        "a core file would have all secrets"
    );
    let user = format!("user:{PASSWORD}");
    for token in [TOKEN, WRONG, &user, "user:Wr0ng-secret"] {
        shown += &exchange(server.tcp, &hello(token));
    }
    let commands: [&[&str]; 11] = [
        &["AUTH", WRONG],
        &["AUTH", "user", WRONG],
        &["HELLO", "3", "AUTH", "user", WRONG],
        &["AUTH", TOKEN],
        &["AUTH", "user", PASSWORD],
        &["INFO"],
        &["CLIENT", "LIST"],
        &["CLIENT", "INFO"],
        &["CONFIG", "GET", "*"],
        &["COMMAND"],
        &["INFO", "everything"],
    ];
    let commands: Vec<u8> = commands.iter().flat_map(|words| command(words)).collect();
    let replies = exchange(server.tcp, &commands);
    assert!(replies.contains("maxclients"), "{replies}");
    shown += &replies;
    for path in ["/metrics", "/api/stats", "/version", "/"] {
        for bearer in [TOKEN, WRONG] {
            shown += &get(server.admin.unwrap(), path, bearer);
        }
    }
    // A file with mistakes beside the secrets, then one that is right.
    for text in [
        tokens
            .replace("sha-256:", "sha256:")
            .replace("argon2id", "argon2i"),
        tokens.replace("rights", "rihgts"),
        tokens.clone(),
    ] {
        files.write("tokens.toml", &text);
        server.signal(Signal::SIGHUP);
        for line in &log {
            let done =
                line.contains("cannot reload") || line.contains("reloaded the configuration");
            shown += &(line + "\n");
            if done {
                break;
            }
        }
    }
    drop(server);
    shown.extend(log.iter().map(|line| line + "\n"));
    for part in [
        "cannot reload",
        "refused wrong tokens or passwords",
        "globalcounter_ready",
    ] {
        assert!(shown.contains(part), "{part}");
    }
    for secret in secrets {
        let at = shown.find(secret);
        let line = at.and_then(|at| shown[..at].lines().last());
        assert_eq!(line, None, "{secret}");
    }
}

/// A panic prints what its values show of themselves.
#[test]
fn values_with_secrets_do_not_show_them() {
    let secret = TOKEN.as_bytes();
    let token = Token {
        name: "tool".to_owned(),
        digest: Some(Digest::of_token(secret)),
        certificate: None,
        grant: Arc::new(Grant::default()),
        limits: TokenLimits::default(),
    };
    let policy = Policy::new(vec![token.clone()], Vec::new());
    let hello = Hello {
        shard: None,
        node: false,
        token: secret,
    };
    let auth = Auth {
        user: Some(secret),
        password: secret,
    };
    let shown = [
        format!("{:?}", Credentials::Secret(secret)),
        format!(
            "{:?}",
            Credentials::Named {
                name: secret,
                secret
            }
        ),
        format!("{hello:?} {:?}", Call::Hello(hello)),
        format!("{auth:?}"),
        format!("{token:?} {policy:?} {:?}", Guard::new(policy.clone())),
        format!("{:?}", Options::default().token(TOKEN)),
    ]
    .concat();
    let Some(Digest::Token(digest)) = token.digest else {
        panic!("a random token")
    };
    let bytes = |bytes: &[u8]| format!("{:?}", &bytes[..4]).replace(['[', ']'], "");
    for secret in [TOKEN.to_owned(), bytes(secret), bytes(&digest)] {
        assert!(!shown.contains(&secret), "{secret}: {shown}");
    }
}
