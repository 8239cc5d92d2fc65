//! Socket activation: the sockets belong to another process, here to the test, and outlive each server.
//! A restart refuses no connection and loses no datagram.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use globalcounter::protocol::Reply;
use globalcounter::protocol::framed::{self, Answer};
use nix::sys::signal::Signal;

use crate::order::{Counted, violation};
use crate::support::{
    Directory, PATIENCE, SetOnDrop, Supervisor, add, connect, datagrams, eventually, exchange,
    frame, info, info_field,
};

/// The topics that all clients count.
const TOPICS: usize = 5;
/// Clients of each transport.
const CLIENTS: usize = 4;
/// Datagrams of one client that wait for their replies at a time.
const BURST: u32 = 8;
/// How many replies each client gets between two restarts.
const REPLIES: u64 = 50;

/// Counts of one client, by topic.
type Histories = Vec<Vec<Counted>>;

fn topic(number: usize) -> String {
    format!("topic {number}")
}

/// Returns the ids and sums of the replies in `bytes`, which has whole frames.
fn sums(mut bytes: &[u8]) -> Vec<(u32, u64)> {
    let mut sums = Vec::new();
    while let Some(reply) = framed::decode_reply(bytes).unwrap() {
        match reply.answer {
            Answer::Reply(Reply::Add(sum)) => sums.push((reply.id.0, sum)),
            other => panic!("a sum expected, not {other:?}"),
        }
        bytes = &bytes[reply.len..];
    }
    assert!(bytes.is_empty());
    sums
}

/// Counts over TCP until `stop`. When the server closes a connection, makes another one, which must not
/// be refused. Returns the counts, and how many requests were left without a reply.
fn count_by_tcp(address: SocketAddr, stop: &AtomicBool, replies: &AtomicU64) -> (Histories, u64) {
    let mut histories = vec![Vec::new(); TOPICS];
    let mut lost = 0;
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let connected = TcpStream::connect(address);
        let mut connection = connected.expect("no connection is refused");
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        while !stop.load(Ordering::Relaxed) {
            next += 1;
            let start = Instant::now();
            let request = frame(1, add(1), &topic(next % TOPICS));
            let sent = connection.write_all(&request);
            let mut reply = [0; 15];
            if sent
                .and_then(|()| connection.read_exact(&mut reply))
                .is_err()
            {
                lost += 1; // the server stopped; it may have counted or not
                break;
            }
            let (sum, end) = (sums(&reply)[0].1, Instant::now());
            histories[next % TOPICS].push(Counted { sum, start, end });
            replies.fetch_add(1, Ordering::Relaxed);
        }
    }
    (histories, lost)
}

/// Counts over UDP until `stop`. Each datagram must be answered, and is sent once.
fn count_by_udp(address: SocketAddr, stop: &AtomicBool, replies: &AtomicU64) -> Histories {
    let socket = datagrams(address);
    let mut histories = vec![Vec::new(); TOPICS];
    let mut buffer = [0; 2048];
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut started = Vec::new();
        for id in 0..BURST {
            next += 1;
            started.push((next % TOPICS, Instant::now()));
            let request = frame(id, add(1), &topic(next % TOPICS));
            socket.send(&request).unwrap();
        }
        let mut answered = 0;
        while answered < started.len() {
            let len = socket.recv(&mut buffer).expect("no datagram is lost");
            for (id, sum) in sums(&buffer[..len]) {
                let ((topic, start), end) = (started[id as usize], Instant::now());
                histories[topic].push(Counted { sum, start, end });
                answered += 1;
            }
        }
        replies.fetch_add(answered as u64, Ordering::Relaxed);
    }
    histories
}

/// Restarts a durable server under load.
fn restart_under_load(name: &str, sockets: usize, shards: &str, restarts: usize) {
    let directory = Directory::new(name);
    let arguments = ["--shards", shards, "--data-dir", directory.as_str()];
    let mut supervisor = Supervisor::new();
    let (tcp, udp) = (supervisor.tcp(sockets), supervisor.udp(sockets));
    let mut service = supervisor.start_ready(&arguments);

    let stop = AtomicBool::new(false);
    let replies: Vec<AtomicU64> = (0..2 * CLIENTS).map(|_| AtomicU64::new(0)).collect();
    let (histories, lost) = thread::scope(|scope| {
        let stopping = SetOnDrop(&stop);
        let (by_tcp, by_udp) = replies.split_at(CLIENTS);
        let by_tcp = by_tcp.iter().map(|replies| {
            let stop = &stop;
            scope.spawn(move || count_by_tcp(tcp, stop, replies))
        });
        let by_tcp: Vec<_> = by_tcp.collect();
        let by_udp = by_udp.iter().map(|replies| {
            let stop = &stop;
            scope.spawn(move || count_by_udp(udp, stop, replies))
        });
        let by_udp: Vec<_> = by_udp.collect();
        for restart in 0..=restarts {
            let seen = replies.iter().map(|count| count.load(Ordering::Relaxed));
            let seen: Vec<u64> = seen.collect();
            eventually("each client gets replies", || {
                let mut counts = replies.iter().zip(&seen);
                counts.all(|(count, seen)| count.load(Ordering::Relaxed) >= seen + REPLIES)
            });
            if restart < restarts {
                service.signal(Signal::SIGTERM);
                assert!(service.wait().success());
                service = supervisor.start_ready(&arguments);
            }
        }
        drop(stopping);
        let mut histories = vec![Vec::new(); TOPICS];
        let mut all_lost = 0;
        let mut merge = |seen: Histories| {
            for (history, seen) in histories.iter_mut().zip(seen) {
                // Each client's own sums rise from restart to restart: `violation` sees that, too.
                history.extend(seen);
            }
        };
        for client in by_tcp {
            let (seen, lost) = client.join().unwrap();
            merge(seen);
            all_lost += lost;
        }
        for client in by_udp {
            merge(client.join().unwrap());
        }
        (histories, all_lost)
    });
    service.stop();

    let mut missing = 0;
    for (topic, history) in histories.iter().enumerate() {
        assert_eq!(violation(history), None, "topic {topic}");
        let mut sums: Vec<u64> = history.iter().map(|counted| counted.sum).collect();
        sums.sort_unstable();
        let twice = sums.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None, "topic {topic}");
        missing += sums.last().unwrap() - sums.len() as u64;
    }
    let counts: usize = histories.iter().map(Vec::len).sum();
    println!("{counts} counts, {lost} requests without a reply, {missing} of them counted");
    assert!(
        missing <= lost,
        "{missing} numbers missing, {lost} requests without a reply"
    );
}

#[test]
fn restarts_under_load_refuse_and_lose_nothing() {
    restart_under_load("activation", 2, "2", 5);
}

#[test]
fn restarts_with_fewer_sockets_than_workers_refuse_and_lose_nothing() {
    restart_under_load("activation-shared", 1, "3", 5);
}

#[test]
#[ignore = "takes longer; run with --ignored"]
fn twenty_restarts_under_load_refuse_and_lose_nothing() {
    restart_under_load("activation-twenty", 2, "2", 20);
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
