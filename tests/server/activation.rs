//! Socket activation: the sockets belong to another process, here to the test, and outlive each server.
//! A restart refuses no connection and loses no datagram.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use globalcounter::protocol::{Op, Reply};
use nix::sys::signal::Signal;

use crate::support::{
    Directory, Supervisor, TlsDirectory, connect, datagrams, eventually, exchange, exchange_to_end,
    info, info_field,
};

/// Returns the load generator. The tests of the workspace build it; those of this package alone do not.
fn loadgen() -> Option<PathBuf> {
    let loadgen = Path::new(env!("CARGO_BIN_EXE_globalcounter")).with_file_name("loadgen");
    if loadgen.is_file() {
        return Some(loadgen);
    }
    eprintln!("skipped: no loadgen beside globalcounter; build it with cargo build --workspace");
    None
}

/// A load that checks every reply; killed when dropped.
struct Load {
    child: Option<Child>,
    /// One of its topics.
    topic: &'static str,
}

impl Load {
    /// Starts it. The length of `topic` decides about the names of all its topics.
    fn start(
        loadgen: &Path,
        server: SocketAddr,
        target: &str,
        topic: &'static str,
        seconds: u32,
    ) -> Self {
        let topic_len = topic.len();
        let flags = format!(
            "--server {server} --target {target} --topic-len {topic_len} --duration {seconds} \
             --warmup 0 --connections 4 --pipeline 8 --topics 5 --timeout 5 --verify --reconnect"
        );
        let command = Command::new(loadgen)
            .args(flags.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self {
            child: Some(command.unwrap()),
            topic,
        }
    }

    fn runs(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Returns its report. It must have found one order.
    fn report(mut self) -> String {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (report, errors) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{errors}");
        assert!(report.contains(" of 5 topics in one order, "), "{report}");
        report
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Returns the sum of a topic.
fn sum(server: SocketAddr, topic: &str) -> u64 {
    let request = format!("GET {topic}\r\nQUIT\r\n");
    let reply = exchange_to_end(server, request.as_bytes());
    let reply = String::from_utf8(reply).unwrap();
    let value = reply.lines().nth(1).and_then(|line| line.parse().ok());
    value.unwrap_or(0) // it does not exist yet
}

/// Restarts a durable server as long as a load over TCP and one over UDP run: `restarts` times at
/// least.
fn restart_under_load(name: &str, sockets: usize, shards: &str, seconds: u32, restarts: usize) {
    /// How often a topic of each load is counted between two restarts.
    const COUNTS: u64 = 50;
    let Some(loadgen) = loadgen() else { return };
    let directory = Directory::new(name);
    let arguments = ["--shards", shards, "--data-dir", directory.as_str()];
    let mut supervisor = Supervisor::new();
    let (tcp, udp) = (supervisor.tcp(sockets), supervisor.udp(sockets));
    let mut service = supervisor.start_ready(&arguments);
    let mut loads = [
        Load::start(&loadgen, tcp, "framed", "topic-0000", seconds),
        Load::start(&loadgen, udp, "udp", "topic-00000", seconds),
    ];
    let mut restarted = 0;
    while loads.iter_mut().any(Load::runs) {
        for load in &mut loads {
            let before = sum(tcp, load.topic);
            eventually("the load is served, or it ends", || {
                sum(tcp, load.topic) >= before + COUNTS || !load.runs()
            });
        }
        service.signal(Signal::SIGTERM);
        assert!(service.wait().success());
        service = supervisor.start_ready(&arguments);
        restarted += 1;
    }
    service.stop();
    assert!(restarted >= restarts, "{restarted} restarts");

    let [by_tcp, by_udp] = loads.map(Load::report);
    println!("{restarted} restarts\n{by_tcp}\n{by_udp}");
    assert!(by_tcp.contains("; 0 attempts refused\n"), "{by_tcp}");
    assert!(!by_tcp.contains(" 0 lost, "), "{by_tcp}");
    assert!(by_udp.contains(" 0 lost, 0 late\n"), "{by_udp}");
    assert!(!by_udp.contains("refused"), "{by_udp}");
    assert!(by_udp.contains("no gaps\n"), "{by_udp}");
}

#[test]
fn restarts_under_load_refuse_and_lose_nothing() {
    restart_under_load("activation", 2, "2", 2, 2);
}

#[test]
fn restarts_with_fewer_sockets_than_workers_refuse_and_lose_nothing() {
    restart_under_load("activation-shared", 1, "3", 2, 2);
}

#[test]
#[ignore = "takes half a minute; run with --ignored"]
fn twenty_restarts_under_load_refuse_and_lose_nothing() {
    restart_under_load("activation-twenty", 2, "2", 30, 20);
}

/// Sends a request by each of `count` new connections and by each of `count` new UDP sockets.
fn send_all(tcp: SocketAddr, udp: SocketAddr, count: usize) -> (Vec<TcpStream>, Vec<UdpSocket>) {
    let by_tcp = (0..count).map(|_| {
        let mut connection = connect(tcp);
        connection.write_all(b"\x00a").unwrap();
        connection
    });
    let by_udp = (0..count).map(|_| {
        let socket = datagrams(udp);
        socket.send(b"\x00a").unwrap();
        socket
    });
    (by_tcp.collect(), by_udp.collect())
}

/// Checks that each request is answered. Returns the sums.
fn answers((by_tcp, by_udp): (Vec<TcpStream>, Vec<UdpSocket>)) -> Vec<u8> {
    let by_tcp = by_tcp.into_iter().map(|mut connection| {
        let mut reply = [0; 2];
        connection.read_exact(&mut reply).unwrap();
        reply
    });
    let by_udp = by_udp.into_iter().map(|socket| {
        let mut reply = [0; 2];
        assert_eq!(socket.recv(&mut reply).unwrap(), 2);
        reply
    });
    let replies = by_tcp.chain(by_udp).map(|[op, sum]| {
        assert_eq!(op, 0x80);
        sum
    });
    replies.collect()
}

#[test]
fn what_arrives_while_no_server_runs_waits_for_the_next() {
    let mut supervisor = Supervisor::new();
    let (tcp, udp) = (supervisor.tcp(2), supervisor.udp(2));
    for _ in 0..3 {
        let waiting = send_all(tcp, udp, 20);
        let service = supervisor.start_ready(&["--in-memory", "--shards", "2"]);
        let mut sums = answers(waiting);
        sums.sort_unstable();
        assert_eq!(sums, (1..=40).collect::<Vec<u8>>());
        service.stop();
    }
}

/// The server is told to stop while connections and datagrams wait at its sockets. Whatever it does
/// not take, the next server answers.
#[test]
fn a_stopping_server_leaves_what_it_does_not_serve() {
    let directory = Directory::new("activation-stop");
    let arguments = ["--shards", "2", "--data-dir", directory.as_str()];
    let mut supervisor = Supervisor::new();
    let (tcp, udp) = (supervisor.tcp(2), supervisor.udp(2));
    let mut service = supervisor.start_ready(&arguments);
    let mut all = Vec::new();
    for _ in 0..3 {
        service.signal(Signal::SIGSTOP);
        let waiting = send_all(tcp, udp, 20);
        service.signal(Signal::SIGTERM);
        service.signal(Signal::SIGCONT);
        assert!(service.wait().success());
        service = supervisor.start_ready(&arguments);
        all.extend(answers(waiting));
    }
    service.stop();
    all.sort_unstable();
    assert_eq!(all, (1..=120).collect::<Vec<u8>>());
}

#[test]
fn an_inherited_group_is_steered() {
    let mut supervisor = Supervisor::new();
    let (tcp, udp) = (supervisor.tcp(1), supervisor.udp(4));
    let at_owner = || {
        let socket = datagrams(udp);
        for i in 0..64 {
            let message = format!("\0topic {i}");
            assert_eq!(exchange(&socket, message.as_bytes())[0], 0x80);
        }
        let info = info(tcp, "stats");
        info_field(&info, "udp_requests_at_owner")
            .parse::<u32>()
            .unwrap()
    };
    let steered = ["--in-memory", "--shards", "4", "--steering", "on"];
    let service = supervisor.start_ready(&steered);
    if at_owner() < 64 {
        println!("this kernel does not steer: skipped");
        return;
    }
    service.stop();
    // All datagrams of a peer go to one worker again: the program of the last server is gone.
    let service = supervisor.start_ready(&["--in-memory", "--shards", "4", "--steering", "off"]);
    let without = at_owner();
    assert!(without < 48, "{without} of 64");
    service.stop();
    let service = supervisor.start_ready(&steered);
    assert_eq!(at_owner(), 64);
    service.stop();
}

#[test]
fn the_admin_port_may_be_passed_by_name() {
    let mut supervisor = Supervisor::new();
    let admin = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = admin.local_addr().unwrap();
    let tcp = supervisor.tcp(1);
    supervisor.pass("admin", admin);
    let arguments = ["--in-memory", "--shards", "1", "--udp", "off"];
    let service = supervisor.start_ready(&arguments);
    let mut connection = connect(address);
    let request = b"GET /readyz HTTP/1.0\r\n\r\n";
    connection.write_all(request).unwrap();
    let mut reply = String::new();
    connection.read_to_string(&mut reply).unwrap();
    assert!(reply.ends_with("ready\n"), "{reply}");
    assert_eq!(
        info_field(&info(tcp, "server"), "tcp_port"),
        tcp.port().to_string()
    );
    service.stop();
}

/// TLS clients that connect while no server runs are served by the next, also when one stops.
#[test]
fn tls_may_be_passed_by_name() {
    let files = TlsDirectory::new("activation");
    let mut supervisor = Supervisor::new();
    supervisor.tcp(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    supervisor.pass("tls", listener);
    let (certificate, key) = (files.text("cert.pem"), files.text("key.pem"));
    // The address of the settings is not used: no server could listen on it.
    let tls = [
        "--tls",
        "192.0.2.1:1",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let common = [
        "--in-memory",
        "--shards",
        "2",
        "--udp",
        "off",
        "--allow",
        "127.0.0.1=count",
    ];
    let arguments = [&tls[..], &common].concat();
    for restarts in 0..3 {
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let client = files.client();
                thread::spawn(move || client.framed(address).ask(Op::Count, "a"))
            })
            .collect();
        let service = supervisor.start_ready(&arguments);
        let mut sums: Vec<Reply> = waiting
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect();
        sums.sort_by_key(|reply| match reply {
            Reply::Count(sum) => *sum,
            other => panic!("{other:?}"),
        });
        let expected: Vec<Reply> = (1..=20).map(Reply::Count).collect();
        assert_eq!(sums, expected, "after {restarts} restarts");
        service.stop();
    }

    let mut supervisor = Supervisor::new();
    supervisor.pass("tls", TcpListener::bind("127.0.0.1:0").unwrap());
    let error = refusal(supervisor, &["--tcp", "127.0.0.1:0", "--udp", "off"]);
    assert!(
        error.contains("tls") && error.contains("the transport is off"),
        "{error}"
    );
}

/// Whether a server is exposed is decided by the addresses of the sockets, not of the settings.
#[test]
fn sockets_beyond_loopback_need_access_control() {
    for (name, scheme) in [("any", "tcp"), ("tls", "tls"), ("admin", "http")] {
        let files = TlsDirectory::new(&format!("activation-{name}"));
        let (certificate, key) = (files.text("cert.pem"), files.text("key.pem"));
        let exposed = |more: &[&str]| {
            let mut supervisor = Supervisor::new();
            let listener = TcpListener::bind("0.0.0.0:0").unwrap();
            let address = listener.local_addr().unwrap();
            supervisor.pass(name, listener);
            let tls = [
                "--tls-cert",
                &certificate,
                "--tls-key",
                &key,
                "--tls",
                "127.0.0.1:0",
            ];
            let common = [
                "--in-memory",
                "--shards",
                "2",
                "--tcp",
                "127.0.0.1:0",
                "--udp",
                "off",
            ];
            let arguments = [&tls[..], &common, more].concat();
            (
                supervisor.start(&arguments, Stdio::piped()),
                supervisor,
                address,
            )
        };
        let (service, _supervisor, address) = exposed(&[]);
        let error = service.refusal();
        let expected = format!("refusing to serve everybody on {scheme}://{address}");
        assert!(error.contains(&expected), "{error}");
        let (service, mut supervisor, _) = exposed(&["--allow", "127.0.0.1=count"]);
        supervisor.await_notification("READY=1");
        service.stop();
    }
    // The address of the settings is not used, so it is no mistake.
    let mut supervisor = Supervisor::new();
    supervisor.tcp(1);
    let arguments = ["--in-memory", "--tcp", "0.0.0.0:9999", "--udp", "off"];
    supervisor.start_ready(&arguments).stop();
}

/// Starts a server that must refuse the sockets, and returns its error.
fn refusal(mut supervisor: Supervisor, arguments: &[&str]) -> String {
    let arguments = [&["--in-memory", "--shards", "2"], arguments].concat();
    supervisor.start(&arguments, Stdio::piped()).refusal()
}

#[test]
fn sockets_that_nobody_would_serve_are_refused() {
    let mut supervisor = Supervisor::new();
    supervisor.tcp(3);
    let error = refusal(supervisor, &["--udp", "off"]);
    assert!(error.contains("3 sockets for 2 workers"), "{error}");

    let mut supervisor = Supervisor::new();
    supervisor.udp(1);
    let error = refusal(supervisor, &["--tcp", "127.0.0.1:0", "--udp", "off"]);
    assert!(error.contains("the transport is off"), "{error}");

    let mut supervisor = Supervisor::new();
    supervisor.tcp(1);
    supervisor.tcp(1);
    let error = refusal(supervisor, &["--udp", "off"]);
    assert!(error.contains("different addresses"), "{error}");

    let mut supervisor = Supervisor::new();
    supervisor.pass("unix", UnixDatagram::unbound().unwrap());
    let error = refusal(supervisor, &["--udp", "off"]);
    assert!(error.contains("named \"unix\""), "{error}");
}
