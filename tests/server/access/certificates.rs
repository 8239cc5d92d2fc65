//! Client certificates stand for tokens: a connection has the rights of the token that names its
//! certificate, and shows nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use globalcounter::access::{Guard, Policy, parse_tokens};
use globalcounter::protocol::{ErrorCode, Op, Reply};
use globalcounter::server::{Config, TlsFiles};
use redis::{AsyncCommands, ClientTlsConfig, TlsCertificates};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::{DENIED, INSIDE, OUTSIDE, new_token, ranges, try_hello};
use crate::support::{Authority, Embedded, Framed, TlsClient, TlsDirectory, Validity};

const ORDERS: &str =
    r#"orders = { rights = ["count"], prefixes = ["in/"], certificate = "orders.example" }"#;
const AUDIT: &str = r#"audit = { rights = ["read", "admin"], certificate = "audit" }"#;

/// A server that requires client certificates, and their authority.
struct Certified {
    files: TlsDirectory,
    authority: Authority,
    guard: Arc<Guard>,
    address: SocketAddr,
    _server: Embedded,
}

fn policy(lines: &[&str]) -> Policy {
    let tokens = parse_tokens(&lines.join("\n")).unwrap();
    Policy::new(tokens, ranges(&["127.0.0.1=read:open/"]))
}

impl Certified {
    fn start(name: &str, lines: &[&str]) -> Self {
        let files = TlsDirectory::new(name);
        let authority = Authority::new("clients");
        files.write("clients.pem", &authority.certificate);
        let guard = Arc::new(Guard::new(policy(lines)));
        let used = TlsFiles {
            clients: Some(files.path("clients.pem")),
            ..files.files()
        };
        let server = Embedded::with(Config {
            access: Some(Arc::clone(&guard)),
            ..files.config(4, used)
        });
        Self {
            address: server.tls.as_ref().unwrap().0,
            files,
            authority,
            guard,
            _server: server,
        }
    }

    /// Returns clients with a certificate of this name, one for each version of TLS.
    fn clients(&self, name: &str) -> [TlsClient; 2] {
        let issued = self.authority.client(name, Validity::Now);
        [&TLS12, &TLS13]
            .map(|version| TlsClient::new(&self.files.authority, &[version], Some(&issued)))
    }
}

#[test]
fn a_certificate_gives_the_rights_of_its_token_in_each_dialect() {
    let server = Certified::start("certified", &[ORDERS, AUDIT]);
    let mut sum = 0;
    for client in server.clients("orders.example") {
        let mut framed = client.framed(server.address);
        // The rights move with the connection.
        for shard in 0..4 {
            assert_eq!(framed.hello(Some(shard)).shard.number(), shard);
            sum += 1;
            assert_eq!(framed.ask(Op::Count, INSIDE), Reply::Count(sum));
            assert_eq!(framed.ask(Op::Count, OUTSIDE), DENIED);
            assert_eq!(framed.ask(Op::Get, INSIDE), DENIED);
        }
        // Those of the address are added.
        assert!(matches!(framed.ask(Op::Get, "open/a"), Reply::Get(_)));

        // A resumed session shows no certificate again, and is known all the same.
        let mut resumed = client.framed(server.address);
        sum += 1;
        assert_eq!(resumed.ask(Op::Count, INSIDE), Reply::Count(sum));
        let kind = resumed.stream.conn.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Resumed));

        sum += 1;
        let commands = b"INCR in/a\r\nINCR out\r\nCLIENT INFO\r\nQUIT\r\n";
        let replies = client.exchange_to_end(server.address, commands).unwrap();
        let replies = String::from_utf8(replies).unwrap();
        assert!(
            replies.starts_with(&format!(":{sum}\r\n-NOPERM ")),
            "{replies}"
        );
        assert!(replies.contains(" user=orders "), "{replies}");

        sum += 1;
        let reply = client.exchange_to_end(server.address, b"\0in/a").unwrap();
        assert_eq!(reply[0], 128, "{reply:?}");
        let reply = client.exchange_to_end(server.address, b"\0out").unwrap();
        assert_eq!(reply, b"\xff\x09denied");
    }
}

#[test]
fn a_certificate_that_stands_for_no_token_has_no_rights() {
    let (token, line) = new_token(&["--name", "one", "--rights", "count"]);
    let server = Certified::start("uncertified", &[ORDERS, &line]);
    // The name of a token is not the name of its certificate.
    for name in ["orders", "ORDERS.EXAMPLE", "one", "another"] {
        for client in server.clients(name) {
            let mut framed = client.framed(server.address);
            assert_eq!(framed.ask(Op::Count, INSIDE), DENIED, "{name}");
            let reply = client.exchange_to_end(server.address, b"INCR in/a\r\nQUIT\r\n");
            let reply = String::from_utf8(reply.unwrap()).unwrap();
            assert!(
                reply.starts_with("-NOPERM ") || reply.starts_with("-NOAUTH "),
                "{reply}"
            );
            // A token gives its rights to any of them.
            assert_eq!(try_hello(&mut framed, None, &token), Ok(()));
            assert!(matches!(framed.ask(Op::Count, "a"), Reply::Count(1..)));
        }
    }
    // The name of a certificate is no password.
    let [client, _] = server.clients("orders");
    let mut framed = client.framed(server.address);
    let wrong = try_hello(&mut framed, None, "orders:orders.example");
    assert_eq!(wrong, Err(ErrorCode::Denied));
}

#[test]
fn a_token_that_is_shown_counts_instead_of_the_certificate() {
    let (token, line) = new_token(&["--name", "reader", "--rights", "read"]);
    let server = Certified::start("shown", &[ORDERS, &line]);
    let [_, client] = server.clients("orders.example");
    let commands = format!(
        "INCR in/a\r\nAUTH wrong\r\nINCR in/a\r\nAUTH {token}\r\nINCR in/a\r\nGET in/a\r\nRESET\r\n\
         INCR in/a\r\nQUIT\r\n"
    );
    let replies = client.exchange_to_end(server.address, commands.as_bytes());
    let replies = String::from_utf8(replies.unwrap()).unwrap();
    let lines: Vec<&str> = replies
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let expected = [
        ":1",
        "-WRONGPASS",
        ":2",
        "+OK",
        "-NOPERM",
        "$1",
        "2",
        "+RESET",
        ":3",
        "+OK",
    ];
    assert_eq!(lines, expected, "{replies}");
}

#[test]
fn a_reload_changes_the_rights_of_certificates_at_once() {
    let server = Certified::start("certified-reload", &[ORDERS]);
    let [old, new] = server.clients("orders.example");
    let [mut audit, _] = server
        .clients("audit")
        .map(|client| client.framed(server.address));
    let mut open: [Framed<_>; 2] = [old, new].map(|client| client.framed(server.address));
    let mut ask = |op| open.each_mut().map(|framed| framed.ask(op, INSIDE));
    assert_eq!(ask(Op::Count), [Reply::Count(1), Reply::Count(2)]);
    assert_eq!(audit.ask(Op::Get, INSIDE), DENIED);
    server.guard.set_policy(policy(&[AUDIT]));
    assert_eq!(ask(Op::Count), [DENIED; 2]);
    assert_eq!(audit.ask(Op::Get, INSIDE), Reply::Get(Some(2)));
    server
        .guard
        .set_policy(policy(&[&ORDERS.replace("\"count\"", "\"advance\"")]));
    assert_eq!(ask(Op::Count), [DENIED; 2]);
    assert_eq!(ask(Op::Advance(9)), [Reply::Advance(9); 2]);
    assert_eq!(audit.ask(Op::Get, INSIDE), DENIED);
}

/// The redis crate shows a certificate and nothing else, blocking and asynchronously.
#[tokio::test]
async fn the_redis_crate_is_known_by_its_certificate() {
    let server = Certified::start("certified-redis", &[ORDERS]);
    let open = |name: &str, protocol: &str| {
        let issued = server.authority.client(name, Validity::Now);
        let url = format!("rediss://localhost:{}/{protocol}", server.address.port());
        let identity = ClientTlsConfig {
            client_cert: issued.certificate.into_bytes(),
            client_key: issued.key.into_bytes(),
        };
        let certificates = TlsCertificates {
            client_tls: Some(identity),
            root_cert: Some(server.files.authority.certificate.clone().into_bytes()),
        };
        redis::Client::build_with_tls(url, certificates).unwrap()
    };
    for protocol in ["", "?protocol=resp3"] {
        let client = open("orders.example", protocol);
        let mut connection = client.get_connection().unwrap();
        let before: u64 = redis::Commands::incr(&mut connection, INSIDE, 1).unwrap();
        let mut pipeline = redis::pipe();
        for _ in 0..1_000 {
            pipeline.incr(INSIDE, 1);
        }
        let sums: Vec<u64> = pipeline.query(&mut connection).unwrap();
        assert!(sums.into_iter().eq(before + 1..=before + 1_000));
        let denied = redis::Commands::incr::<_, _, u64>(&mut connection, OUTSIDE, 1);
        assert_eq!(denied.unwrap_err().code(), Some("NOPERM"));

        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let sum: u64 = connection.incr(INSIDE, 1).await.unwrap();
        assert_eq!(sum, before + 1_001);

        let mut unnamed = open("another", protocol).get_connection().unwrap();
        let denied = redis::Commands::incr::<_, _, u64>(&mut unnamed, INSIDE, 1);
        let code = denied.unwrap_err().code().map(str::to_owned);
        assert!(
            matches!(code.as_deref(), Some("NOAUTH" | "NOPERM")),
            "{code:?}"
        );
    }
}
