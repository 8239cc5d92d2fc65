//! A server's life: binding, serving, stopping, signals.

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use globalcounter::protocol::framed::{self, Call, Hello, RequestId};
use globalcounter::protocol::{Op, Reply};
use globalcounter::server::{BindError, Config, Server};
use globalcounter::topic::ShardId;
use nix::sys::signal::Signal;

use crate::support::{
    Embedded, Framed, Process, config, connect, datagrams, eventually, exchange, frame, port_0,
    write_until_blocked,
};

#[test]
fn a_server_can_use_udp_alone_or_tcp_alone() {
    let alone = |tcp, udp| {
        let server = Server::bind(Config {
            tcp,
            udp,
            ..config(2)
        })
        .unwrap();
        (
            server.tcp_addr(),
            server.udp_addr(),
            server.stop_handle(),
            server,
        )
    };
    let (tcp, udp, stop, server) = alone(None, port_0());
    assert_eq!(tcp, None);
    let thread = std::thread::spawn(|| server.run());
    let udp = udp.unwrap();
    assert_eq!(exchange(&datagrams(udp), b"\x00a"), b"\x80\x01");
    assert!(TcpStream::connect(udp).is_err());
    stop.stop();
    thread.join().unwrap().unwrap();

    let (tcp, udp, stop, server) = alone(port_0(), None);
    assert_eq!(udp, None);
    let thread = std::thread::spawn(|| server.run());
    assert_eq!(
        Framed::connect(tcp.unwrap()).ask(Op::Count, "a"),
        Reply::Count(1)
    );
    stop.stop();
    thread.join().unwrap().unwrap();

    let nothing = Server::bind(Config {
        tcp: None,
        udp: None,
        ..config(1)
    });
    assert!(matches!(nothing, Err(BindError::NoTransport)));
    let too_long = Server::bind(Config {
        max_topic_len: 65_001,
        ..config(1)
    });
    assert!(matches!(
        too_long,
        Err(BindError::Setting { value: 65_001, .. })
    ));
}

#[tokio::test]
async fn an_asynchronous_program_can_embed_a_server() {
    let server = Server::bind(config(2)).unwrap();
    let tcp = server.tcp_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async {
        stopped.await.unwrap();
    }));
    let asking = tokio::task::spawn_blocking(move || Framed::connect(tcp).ask(Op::Count, "a"));
    assert_eq!(asking.await.unwrap(), Reply::Count(1));
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(tcp).is_err());
}

#[tokio::test]
async fn dropping_the_future_stops_the_server() {
    let server = Server::bind(config(2)).unwrap();
    let tcp = server.tcp_addr().unwrap();
    let serving = tokio::spawn(server.serve(std::future::pending()));
    tokio::task::spawn_blocking(move || Framed::connect(tcp).ask(Op::Count, "a"))
        .await
        .unwrap();
    serving.abort();
    let gone = move || eventually("the server is gone", || TcpStream::connect(tcp).is_err());
    tokio::task::spawn_blocking(gone).await.unwrap();
}

/// Two servers on one address would hand out the same numbers.
#[test]
fn a_second_server_on_an_address_is_refused() {
    let first = Embedded::start(2);
    for shards in [1, 2] {
        for (tcp, udp, expected) in [
            (Some(first.tcp), None, "tcp"),
            (None, Some(first.udp), "udp"),
        ] {
            let second = Server::bind(Config {
                tcp,
                udp,
                ..config(shards)
            });
            let Err(BindError::Listen { transport, .. }) = second else {
                panic!("{second:?}")
            };
            assert_eq!(transport, expected);
        }
    }
    assert!(TcpListener::bind(first.tcp).is_err());
    assert!(UdpSocket::bind(first.udp).is_err());
}

/// The kernel keeps old connections for a minute; a new server must not wait for them.
#[test]
fn an_address_can_be_used_again_at_once() {
    let server = Embedded::start(2);
    let (tcp, udp) = (server.tcp, server.udp);
    let mut open = Framed::connect(tcp);
    open.ask(Op::Count, "a");
    drop(server);
    let again = Embedded::at(tcp, udp, 2);
    assert_eq!(
        Framed::connect(again.tcp).ask(Op::Count, "a"),
        Reply::Count(1)
    );
    assert_eq!(open.reply(), None, "the old server closed its connections");
}

#[test]
fn a_signal_stops_the_server_after_it_answered_received_requests() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Process::start(2);
        let mut connection = Framed::connect(server.tcp);
        let mut requests = Vec::new();
        for id in 0..4_000 {
            requests.extend(frame(id, Op::Count, if id % 2 == 0 { "a" } else { "b" }));
        }
        connection.send(&requests);
        // The first reply shows that some requests were read; how many depends on the kernel.
        let first = connection.reply().expect("a reply");
        server.signal(signal);
        let rest = std::iter::from_fn(|| connection.reply());
        let mut sums = [0u32; 2]; // of "a" and "b"
        for (id, reply) in std::iter::once(first).chain(rest) {
            // Each topic's requests are answered in order, and none is left out.
            let topic = id % 2;
            let sum = &mut sums[topic as usize];
            assert_eq!(id, 2 * *sum + topic, "{signal}");
            *sum += 1;
            assert_eq!(reply, Reply::Count((*sum).into()), "{signal}");
        }
        let [a, b] = sums;
        assert!(a == b || a == b + 1, "{signal}: {a} and {b} replies");
        assert!(server.wait().success(), "{signal}");
        println!("{signal}: {} replies", a + b);
        assert!(TcpStream::connect(server.tcp).is_err());
    }
}

/// Regression: a connection that was moving to a worker which had already stopped lost its replies.
#[test]
fn a_connection_that_moves_during_shutdown_gets_its_replies() {
    const COUNTS: u32 = 10_000;
    for round in 0..5 {
        let server = Embedded::start(4);
        let mut connection = Framed::connect(server.tcp);
        let mut other = Framed::connect(server.tcp);
        let mut requests = Vec::new();
        for id in 0..COUNTS {
            requests.extend(frame(id, Op::Count, "moving"));
        }
        for n in 0..2_000u32 {
            let hello = Hello {
                shard: Some(ShardId::new((n % 4) as u16)),
                node: false,
                token: b"",
            };
            framed::encode_request(RequestId(COUNTS + n), &Call::Hello(hello), &mut requests);
        }
        connection.send(&requests);
        eventually("all requests are counted", || {
            other.ask(Op::Get, "moving") == Reply::Get(Some(COUNTS.into()))
        });
        drop(other);
        drop(server);
        let mut answered = 0;
        while let Some((id, ())) = connection.receive(|_| ()) {
            answered += u32::from(id < COUNTS);
        }
        assert_eq!(answered, COUNTS, "round {round}");
    }
}

/// A peer that reads no replies cannot keep the server from stopping.
#[test]
fn a_peer_that_never_reads_does_not_block_shutdown() {
    let mut server = Process::start(1);
    let stalled = connect(server.tcp);
    write_until_blocked(&stalled, &frame(1, Op::Count, "stalled"));
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
}

#[test]
fn an_idle_server_uses_no_cpu() {
    let server = Process::start(4);
    let mut connections: Vec<Framed> = (0..20).map(|_| Framed::connect(server.tcp)).collect();
    let socket = datagrams(server.udp);
    for connection in &mut connections {
        connection.ask(Op::Count, "busy");
    }
    exchange(&socket, b"\x00busy");
    // Half a request must not make the server poll.
    connections[0].send(&frame(1, Op::Count, "half")[..3]);
    connections[1]
        .stream
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    let mut end = [0; 1];
    assert_eq!(connections[1].stream.read(&mut end).unwrap(), 0);

    let before = server.processor_ticks();
    std::thread::sleep(Duration::from_millis(1_500)); // the measured interval
    let used = server.processor_ticks() - before;
    assert!(used <= 1, "{used} ticks of 10 ms in 1.5 s");
}

#[test]
fn workers_can_be_pinned() {
    let server = Process::with(&["--shards", "3", "--pin"]);
    let tasks = format!("/proc/{}/task", server.child.id());
    let mut pinned = 0;
    for task in std::fs::read_dir(tasks).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        if field("Name:").starts_with("worker-") {
            assert!(
                field("Cpus_allowed_list:").parse::<u32>().is_ok(),
                "a pinned worker has one CPU"
            );
            pinned += 1;
        }
    }
    assert_eq!(pinned, 3);
    assert_eq!(
        Framed::connect(server.tcp).ask(Op::Count, "a"),
        Reply::Count(1)
    );
}
