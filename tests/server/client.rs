//! The library's clients: against the real server, and against fake servers that fail.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use globalcounter::client::Options;
use globalcounter::protocol::ErrorCode;
use globalcounter::{Client, Error, blocking};

use crate::support::{Embedded, config, is_one_to_n, port_0};

fn url(transport: &str, address: SocketAddr) -> String {
    format!("{transport}://{address}")
}

/// Reads one request frame, header and body. Returns `None` at the end of the stream.
fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 7];
    stream.read_exact(&mut frame).ok()?;
    let len = u16::from_be_bytes([frame[1], frame[2]]);
    frame.resize(7 + usize::from(len), 0);
    stream.read_exact(&mut frame[7..]).unwrap();
    Some(frame)
}

/// Returns the reply frame that answers a framed request with a sum.
fn sum_reply(request: &[u8], sum: u64) -> Vec<u8> {
    [
        &[request[0] | 128, 0, 8],
        &request[3..7],
        &sum.to_be_bytes(),
    ]
    .concat()
}

/// Runs a fake UDP server in a thread of its own.
fn udp_server(serve: impl FnOnce(UdpSocket) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind(port_0().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (address, std::thread::spawn(move || serve(socket)))
}

/// Returns options with which a client does not send again, even on a busy machine.
fn patient() -> Options {
    Options::default().attempt_timeout(Duration::from_secs(20))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_works() {
    for shards in [1, 8] {
        let server = Embedded::start(shards);
        let tcp = url("tcp", server.tcp);
        for (topic, url, options) in [
            ("over TCP", &tcp, patient()),
            ("shard-aware", &tcp, patient().shard_aware(true)),
            ("over UDP", &url("udp", server.udp), patient()),
        ] {
            let client = Client::connect_with(url, options).await.unwrap();
            assert_eq!(client.get(topic).await.unwrap(), 0);
            assert_eq!(client.count(topic).await.unwrap(), 1);
            assert_eq!(client.add(topic, 10).await.unwrap(), 2..=11);
            assert_eq!(client.get(topic).await.unwrap(), 11);
            assert_eq!(client.advance(topic, 100).await.unwrap(), 100);
            assert_eq!(client.advance(topic, 50).await.unwrap(), 100);
            let done = client.timestamp(topic, async { "done" }).await.unwrap();
            assert_eq!(done, (101, "done"));
            client.reset(topic).await.unwrap();
            assert_eq!(client.count(topic).await.unwrap(), 1);
            assert!(client.delete(topic).await.unwrap());
            assert!(!client.delete(topic).await.unwrap());
            client.ping().await.unwrap();
        }
        drop(server);
    }
}

#[test]
fn every_method_of_the_blocking_client_works() {
    let server = Embedded::start(2);
    for url in [url("tcp", server.tcp), url("udp", server.udp)] {
        let client = blocking::Client::connect_with(&url, patient()).unwrap();
        let topic = url.as_str();
        assert_eq!(client.count(topic).unwrap(), 1);
        assert_eq!(client.add(topic, 3).unwrap(), 2..=4);
        assert_eq!(client.get(topic).unwrap(), 4);
        assert_eq!(client.advance(topic, 9).unwrap(), 9);
        assert_eq!(client.timestamp(topic, || 1 + 1).unwrap(), (10, 2));
        client.reset(topic).unwrap();
        assert!(client.delete(topic).unwrap());
        client.ping().unwrap();
    }
}

#[test]
fn threads_can_share_a_blocking_client() {
    let server = Embedded::start(2);
    for url in [url("tcp", server.tcp), url("udp", server.udp)] {
        let client = blocking::Client::connect_with(&url, patient()).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let client = client.clone();
                std::thread::spawn(move || {
                    (0..250)
                        .map(|_| client.count("shared").unwrap())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let sums: Vec<u64> = threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect();
        assert!(is_one_to_n(sums, 1_000));
        client.reset("shared").unwrap();
    }
}

#[tokio::test]
async fn a_refused_request_was_not_applied() {
    let server = Embedded::with(globalcounter::server::Config {
        max_topics: 1,
        ..config(2)
    });
    for url in [url("tcp", server.tcp), url("udp", server.udp)] {
        let client = Client::connect_with(&url, patient()).await.unwrap();
        let refused = |result: Result<u64, Error>, code| {
            let error = result.unwrap_err();
            assert_eq!(error.code(), Some(code), "{error}");
            assert!(!error.may_have_been_applied());
        };
        refused(
            client.count(&"x".repeat(1_025)).await,
            ErrorCode::TopicTooLong,
        );
        client.advance("a", u64::MAX).await.unwrap();
        refused(client.count("a").await, ErrorCode::Overflow);
        refused(client.count("b").await, ErrorCode::TooManyTopics);
    }
    server.stop().await;
}

#[tokio::test]
async fn invalid_arguments_are_reported_as_invalid() {
    for url in ["localhost:1", "tcp://", "http://127.0.0.1:1"] {
        let error = Client::connect(url).await.unwrap_err();
        assert!(error.is_invalid(), "{error}");
    }
    let server = Embedded::start(1);
    for url in [url("tcp", server.tcp), url("udp", server.udp)] {
        let client = Client::connect(&url).await.unwrap();
        assert!(client.add("a", 0).await.unwrap_err().is_invalid());
        assert!(
            client
                .count(&"x".repeat(65_001))
                .await
                .unwrap_err()
                .is_invalid()
        );
    }
    server.stop().await;
}

/// Returns an address where nobody listens.
fn unused_address() -> SocketAddr {
    let socket = TcpListener::bind(port_0().unwrap()).unwrap();
    socket.local_addr().unwrap()
}

#[tokio::test]
async fn a_missing_server_is_reported_as_disconnected() {
    let error = Client::connect(&url("tcp", unused_address()))
        .await
        .unwrap_err();
    assert!(
        error.is_disconnected() && !error.may_have_been_applied(),
        "{error}"
    );

    let options = Options::default().attempt_timeout(Duration::from_millis(10));
    let client = Client::connect_with(&url("udp", unused_address()), options)
        .await
        .unwrap();
    let error = client.count("a").await.unwrap_err();
    assert!(error.is_disconnected(), "{error}");
}

#[tokio::test]
async fn a_server_that_never_replies_is_reported_as_a_timeout() {
    let tcp = TcpListener::bind(port_0().unwrap()).unwrap();
    let udp = UdpSocket::bind(port_0().unwrap()).unwrap();
    let options = Options::default()
        .timeout(Duration::from_millis(50))
        .attempt_timeout(Duration::from_millis(10))
        .attempts(3);
    let urls = [
        url("tcp", tcp.local_addr().unwrap()),
        url("udp", udp.local_addr().unwrap()),
    ];
    for url in urls {
        let client = Client::connect_with(&url, options.clone()).await.unwrap();
        let error = client.count("a").await.unwrap_err();
        assert!(
            error.is_timeout() && error.may_have_been_applied(),
            "{error}"
        );
    }
    // Three attempts are three equal datagrams: they have one id.
    udp.set_nonblocking(true).unwrap();
    let mut buffer = [0; 100];
    let mut sent = Vec::new();
    while let Ok(len) = udp.recv(&mut buffer) {
        sent.push(buffer[..len].to_vec());
    }
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|datagram| *datagram == sent[0]));
}

/// Garbage and a reply with another id arrive before the right reply, and a second reply after it.
#[tokio::test]
async fn udp_replies_are_matched_by_their_ids() {
    let (address, server) = udp_server(|socket| {
        let mut request = [0; 100];
        for call in 0..2 {
            let (_, peer) = socket.recv_from(&mut request).unwrap();
            let mut other = request;
            other[3] ^= 0x80;
            let answers = if call == 0 {
                vec![
                    b"garbage".to_vec(),
                    vec![],
                    sum_reply(&other, 9),
                    sum_reply(&request, 1),
                    sum_reply(&request, 8),
                ]
            } else {
                vec![sum_reply(&request, 2)]
            };
            for answer in answers {
                socket.send_to(&answer, peer).unwrap();
            }
        }
    });
    let client = Client::connect_with(&url("udp", address), patient())
        .await
        .unwrap();
    assert_eq!(client.count("a").await.unwrap(), 1);
    assert_eq!(client.count("a").await.unwrap(), 2);
    server.join().unwrap();
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again() {
    let (address, server) = udp_server(|socket| {
        let mut buffer = [0; 100];
        socket.recv_from(&mut buffer).unwrap(); // this one is lost
        let (_, peer) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&sum_reply(&buffer, 42), peer).unwrap();
    });
    let client = Client::connect(&url("udp", address)).await.unwrap();
    assert_eq!(client.count("a").await.unwrap(), 42);
    server.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_client_reconnects_after_a_server_restart() {
    let server = Embedded::start(2);
    let (tcp, udp) = (server.tcp, server.udp);
    let client = Client::connect(&url("tcp", tcp)).await.unwrap();
    assert_eq!(client.count("a").await.unwrap(), 1);
    server.stop().await;

    let start = Instant::now();
    let error = client.count("a").await.unwrap_err();
    assert!(error.is_disconnected(), "{error}");
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "the loss is reported at once"
    );

    let server = Embedded::at(tcp, udp, 2);
    // The first call after the loss reconnects by itself.
    assert_eq!(client.count("a").await.unwrap(), 1);
    server.stop().await;
}

/// Starts a fake server that reads one request, writes `answer` and closes.
fn fake_server(answer: &'static [u8]) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(port_0().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 100];
        assert!(stream.read(&mut buffer).unwrap() > 0);
        stream.write_all(answer).unwrap();
    });
    (address, thread)
}

#[tokio::test]
async fn a_connection_closed_before_the_reply_is_reported_as_disconnected() {
    let (address, server) = fake_server(b"");
    let client = Client::connect(&url("tcp", address)).await.unwrap();
    let error = client.count("a").await.unwrap_err();
    assert!(
        error.is_disconnected() && error.may_have_been_applied(),
        "{error}"
    );
    server.join().unwrap();
}

#[tokio::test]
async fn garbage_replies_are_reported() {
    let garbage: [&[u8]; 3] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x90\x00\x01\x00\x00\x00\x01x",
        b"\x91\x00\x00\x00\x00\x00\x01",
    ];
    for answer in garbage {
        let (address, server) = fake_server(answer);
        let client = Client::connect(&url("tcp", address)).await.unwrap();
        let error = client.count("a").await.unwrap_err();
        assert!(error.may_have_been_applied(), "{error}");
        assert!(
            error.to_string().contains("not a globalcounter server"),
            "{error}"
        );
        server.join().unwrap();
    }
}

/// Starts `n` counts of a topic at once, in order, and returns their results in the same order.
async fn count_at_once(client: &Client, topic: &'static str, n: usize) -> Vec<Result<u64, Error>> {
    let start = |_| {
        let client = client.clone();
        tokio::spawn(async move { client.count(topic).await })
    };
    let calls: Vec<_> = (0..n).map(start).collect();
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.unwrap());
    }
    results
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let server = Embedded::start(2);
    let url = url("tcp", server.tcp);
    let options = [
        patient(),
        patient().coalesce(false),
        patient().shard_aware(true),
    ];
    for (options, last) in options.into_iter().zip(1..) {
        let client = Client::connect_with(&url, options).await.unwrap();
        let sums = count_at_once(&client, "many", 5_000).await.into_iter();
        // They come in the order of the calls, since the runtime has one thread.
        assert!(
            sums.map(Result::unwrap)
                .eq((last - 1) * 5_000 + 1..=last * 5_000)
        );
    }
    server.stop().await;
}

/// Starts a fake server of one topic that reports how many numbers each request asked for.
fn server_that_reports_requests() -> (SocketAddr, mpsc::Receiver<u32>) {
    let listener = TcpListener::bind(port_0().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (report, reported) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sum = 0u64;
        while let Some(frame) = read_frame(&mut stream) {
            let n = match frame[0] {
                18 => u32::from_be_bytes(frame[7..11].try_into().unwrap()),
                _ => 1,
            };
            sum += u64::from(n);
            report.send(n).unwrap();
            stream.write_all(&sum_reply(&frame, sum)).unwrap();
        }
    });
    (address, reported)
}

#[tokio::test]
async fn waiting_counts_are_sent_as_one_request() {
    let (address, reported) = server_that_reports_requests();
    let client = Client::connect(&url("tcp", address)).await.unwrap();
    assert_eq!(client.count("a").await.unwrap(), 1);
    let sums = count_at_once(&client, "a", 1_000).await.into_iter();
    assert!(sums.map(Result::unwrap).eq(2..=1_001));
    let requests: Vec<u32> = reported.try_iter().collect();
    assert_eq!(requests.iter().sum::<u32>(), 1_001);
    assert_eq!(requests[0], 1, "a single count is sent as it is");
    assert!(requests.len() < 20, "{requests:?}");
}

/// Sent as one, the counts would exceed the greatest number. Still the first two must succeed.
#[tokio::test]
async fn counts_sent_as_one_reach_the_greatest_number() {
    let server = Embedded::start(2);
    let client = Client::connect(&url("tcp", server.tcp)).await.unwrap();
    client.advance("a", u64::MAX - 2).await.unwrap();
    let results = count_at_once(&client, "a", 5).await;
    let codes = results.iter().map(|result| match result {
        Ok(sum) => Ok(*sum),
        Err(error) => Err(error.code().unwrap()),
    });
    let expected = [
        Ok(u64::MAX - 1),
        Ok(u64::MAX),
        Err(ErrorCode::Overflow),
        Err(ErrorCode::Overflow),
        Err(ErrorCode::Overflow),
    ];
    assert!(codes.eq(expected), "{results:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_aware_client_follows_a_change_of_the_shard_count() {
    let mut server = Embedded::start(4);
    let (tcp, udp) = (server.tcp, server.udp);
    let options = patient().shard_aware(true);
    let client = Client::connect_with(&url("tcp", tcp), options)
        .await
        .unwrap();
    for shards in [4, 2, 8, 1] {
        if shards != 4 {
            server.stop().await;
            server = Embedded::at(tcp, udp, shards);
        }
        for n in 0..50 {
            let topic = format!("topic {n}");
            // The first call on each connection may report that the connection was lost.
            let sum = match client.count(&topic).await {
                Err(error) if error.is_disconnected() => client.count(&topic).await,
                other => other,
            };
            assert_eq!(sum.unwrap(), 1, "{topic} with {shards} shards");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_shard_aware_client_rejects_another_kind_of_server() {
    let (address, server) = fake_server(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let options = Options::default().shard_aware(true);
    let connected = Client::connect_with(&url("tcp", address), options).await;
    let error = connected.unwrap_err();
    assert!(
        error.to_string().contains("not a globalcounter server"),
        "{error}"
    );
    assert!(!error.may_have_been_applied(), "{error}");
    server.join().unwrap();
}

/// A call that is cancelled while it waits does not affect other calls.
#[tokio::test]
async fn cancelled_calls_do_not_affect_others() {
    let server = Embedded::start(2);
    for url in [url("tcp", server.tcp), url("udp", server.udp)] {
        let client = Client::connect_with(&url, patient()).await.unwrap();
        for _ in 0..100 {
            let call = client.count("cancelled");
            let _ = tokio::time::timeout(Duration::ZERO, call).await;
            client.ping().await.unwrap();
        }
        assert!(client.count("cancelled").await.unwrap() >= 1);
    }
    server.stop().await;
}

/// Starts a fake server that ignores its first connection, and answers PING and COUNT on later
/// ones.
fn server_that_ignores_the_first_connection() -> SocketAddr {
    let listener = TcpListener::bind(port_0().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let ignored = listener.accept().unwrap();
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut sum = 0;
                while let Some(frame) = read_frame(&mut stream) {
                    sum += 1;
                    let reply = match frame[0] {
                        23 => [&[151, 0, 0], &frame[3..7]].concat(),
                        _ => sum_reply(&frame, sum),
                    };
                    stream.write_all(&reply).unwrap();
                }
            });
        }
        drop(ignored);
    });
    address
}

#[tokio::test]
async fn a_dead_connection_is_replaced_even_if_its_write_buffer_is_full() {
    let options = Options::default()
        .timeout(Duration::from_millis(300))
        .coalesce(false);
    let url = url("tcp", server_that_ignores_the_first_connection());
    let client = Client::connect_with(&url, options).await.unwrap();
    let topic = "x".repeat(60_000);
    let calls: Vec<_> = (0..300)
        .map(|_| {
            let (client, topic) = (client.clone(), topic.clone());
            tokio::spawn(async move { client.count(&topic).await })
        })
        .collect();
    let mut timed_out = 0;
    for call in calls {
        timed_out += usize::from(call.await.unwrap().is_err_and(|error| error.is_timeout()));
    }
    assert!(timed_out > 0, "no call timed out on the ignored connection");
    client.ping().await.unwrap();
}

#[test]
fn after_a_timeout_the_next_call_reconnects() {
    let options = Options::default().timeout(Duration::from_millis(100));
    let url = url("tcp", server_that_ignores_the_first_connection());
    let client = blocking::Client::connect_with(&url, options).unwrap();
    let error = client.count("a").unwrap_err();
    assert!(
        error.is_timeout() && error.may_have_been_applied(),
        "{error}"
    );
    assert_eq!(client.count("a").unwrap(), 1);
}

/// Its runtime runs only during calls, so it does not know yet that the old server is gone.
#[test]
fn a_blocking_client_reconnects_after_a_server_restart() {
    let server = Embedded::start(2);
    let (tcp, udp) = (server.tcp, server.udp);
    let client = blocking::Client::connect(&url("tcp", tcp)).unwrap();
    assert_eq!(client.count("a").unwrap(), 1);
    drop(server);
    let _server = Embedded::at(tcp, udp, 2);
    assert_eq!(client.count("a").unwrap(), 1);
}

#[tokio::test]
async fn the_longest_timeout_works() {
    let server = Embedded::start(1);
    let options = Options::default()
        .timeout(Duration::MAX)
        .attempt_timeout(Duration::MAX);
    for url in [url("tcp", server.tcp), url("udp", server.udp)] {
        let client = Client::connect_with(&url, options.clone()).await.unwrap();
        assert!(client.count("a").await.is_ok());
    }
    server.stop().await;
}

/// The refused datagram was not applied, but an earlier one of the same call may have been.
#[tokio::test]
async fn a_request_refused_after_a_resend_may_have_been_applied() {
    let (address, server) = udp_server(|socket| {
        let mut buffer = [0; 100];
        for datagrams in [2, 1] {
            let mut peer = None;
            for _ in 0..datagrams {
                peer = Some(socket.recv_from(&mut buffer).unwrap().1);
            }
            let reply = [&[255, 0, 1][..], &buffer[3..7], &[5]].concat();
            socket.send_to(&reply, peer.unwrap()).unwrap();
        }
    });
    let client = Client::connect(&url("udp", address)).await.unwrap();
    let error = client.count("a").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Overflow));
    assert!(error.may_have_been_applied(), "{error}");
    let patient = Client::connect_with(&url("udp", address), patient())
        .await
        .unwrap();
    let error = patient.count("a").await.unwrap_err();
    assert!(!error.may_have_been_applied(), "{error}");
    server.join().unwrap();
}
