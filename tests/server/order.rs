//! The server's main promise: sums without gaps or repetition, in real-time order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use globalcounter::Client;
use globalcounter::client::Options;
use tokio::task::JoinSet;

use crate::support::{Embedded, is_one_to_n};

/// One count, as its client saw it.
#[derive(Debug, Clone, PartialEq)]
struct Counted {
    sum: u64,
    /// The time just before the request was sent.
    start: Instant,
    /// The time just after the reply arrived.
    end: Instant,
}

/// Finds two counts of one topic that break real-time order: the second started after the first had
/// ended, but its sum is not greater.
fn violation(history: &[Counted]) -> Option<(Counted, Counted)> {
    let mut by_end: Vec<&Counted> = history.iter().collect();
    by_end.sort_by_key(|counted| counted.end);
    let mut by_start: Vec<&Counted> = history.iter().collect();
    by_start.sort_by_key(|counted| counted.start);

    let mut ended = by_end.into_iter().peekable();
    let mut greatest: Option<&Counted> = None;
    for counted in by_start {
        while let Some(before) = ended.next_if(|before| before.end < counted.start) {
            if greatest.is_none_or(|greatest| before.sum > greatest.sum) {
                greatest = Some(before);
            }
        }
        if let Some(before) = greatest
            && before.sum >= counted.sum
        {
            return Some((before.clone(), counted.clone()));
        }
    }
    None
}

/// Whether the sums are 1 to n, each once.
fn is_gapless(history: &[Counted]) -> bool {
    let sums = history.iter().map(|counted| counted.sum).collect();
    is_one_to_n(sums, history.len() as u64)
}

#[test]
fn the_checker_finds_violations_of_the_order() {
    let zero = Instant::now();
    let counted = |sum, start, end| Counted {
        sum,
        start: zero + Duration::from_millis(start),
        end: zero + Duration::from_millis(end),
    };
    // Overlapping counts may get their sums in either order.
    let good = [counted(2, 0, 10), counted(1, 5, 15), counted(3, 16, 20)];
    assert_eq!(violation(&good), None);
    assert!(is_gapless(&good));
    // Counts that share one instant overlap.
    assert_eq!(violation(&[counted(2, 0, 10), counted(1, 10, 20)]), None);

    let late = [counted(2, 0, 10), counted(1, 11, 20), counted(3, 21, 30)];
    assert_eq!(violation(&late), Some((late[0].clone(), late[1].clone())));
    assert!(
        is_gapless(&late),
        "the sums alone do not show this violation"
    );
    // The greatest earlier sum need not belong to the count that ended last.
    let hidden = [counted(9, 0, 1), counted(1, 0, 8), counted(5, 9, 10)];
    assert_eq!(
        violation(&hidden),
        Some((hidden[0].clone(), hidden[2].clone()))
    );
    let twice = [counted(1, 0, 1), counted(1, 2, 3)];
    assert!(violation(&twice).is_some() && !is_gapless(&twice));
    assert!(!is_gapless(&[counted(1, 0, 1), counted(3, 2, 3)]), "a gap");
}

const TOPICS: usize = 50;
const CLIENTS: usize = 64;
const COUNTS: usize = 200_000;
/// How many calls of one client are in flight at a time.
const CONCURRENT: usize = 4;

async fn count_topics(client: Client, first: usize) -> Vec<Vec<Counted>> {
    let mut histories = vec![Vec::new(); TOPICS];
    for i in 0..COUNTS.div_ceil(CLIENTS * CONCURRENT) {
        let topic = (first + i * 7) % TOPICS;
        let start = Instant::now();
        let sum = client.count(&format!("topic {topic}")).await.unwrap();
        let end = Instant::now();
        histories[topic].push(Counted { sum, start, end });
    }
    histories
}

async fn connect(number: usize, tcp: SocketAddr, udp: SocketAddr) -> Client {
    let url = if number.is_multiple_of(2) {
        format!("tcp://{tcp}")
    } else {
        format!("udp://{udp}")
    };
    // A datagram that is sent again would count again and leave a gap, so no client sends again
    // here.
    let options = Options::default()
        .timeout(Duration::from_secs(60))
        .attempt_timeout(Duration::from_secs(60))
        .attempts(1);
    Client::connect_with(&url, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_see_one_order() {
    let server = Embedded::start(8);
    let mut tasks = JoinSet::new();
    for number in 0..CLIENTS {
        let client = connect(number, server.tcp, server.udp).await;
        for concurrent in 0..CONCURRENT {
            tasks.spawn(count_topics(client.clone(), number * 31 + concurrent * 17));
        }
    }
    let mut histories = vec![Vec::new(); TOPICS];
    while let Some(seen) = tasks.join_next().await {
        for (history, seen) in histories.iter_mut().zip(seen.unwrap()) {
            history.extend(seen);
        }
    }
    let counts: usize = histories.iter().map(Vec::len).sum();
    assert!(counts >= COUNTS, "{counts} counts");
    for (topic, history) in histories.iter().enumerate() {
        assert!(is_gapless(history), "topic {topic}");
        assert_eq!(violation(history), None, "topic {topic}");
    }
    server.stop().await;
}
