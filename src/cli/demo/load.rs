//! The demo's load: a few clients of a shop, whose rate goes up and down.

use std::f64::consts::TAU;
use std::time::Duration;

use globalcounter::client::{Client, Options};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::debug;

/// Requests per second, on average.
const RATE: f64 = 3_000.0;

/// The rate rises and falls by this fraction of the average.
const SWING: f64 = 0.5;

/// How long the rate takes to rise, fall and come back.
const PERIOD: Duration = Duration::from_secs(40);

/// How many clients each transport has.
const TCP_CLIENTS: u32 = 6;
const UDP_CLIENTS: u32 = 2;

/// A client sends what is due after each of these times, one request after the other.
const TICK: Duration = Duration::from_millis(50);

/// How long a client waits after a failed request.
const RETRY: Duration = Duration::from_secs(1);

/// The topics of the shop, each with its share of the requests. The rest of them goes to the products.
const TOPICS: [(&str, f64); 10] = [
    ("visits", 0.30),
    ("orders", 0.14),
    ("carts", 0.10),
    ("searches", 0.09),
    ("tickets", 0.06),
    ("payments", 0.05),
    ("emails", 0.04),
    ("returns", 0.02),
    ("reviews", 0.015),
    ("invoices", 0.01),
];

/// Each product has a topic of its own.
const PRODUCTS: u64 = 500;

/// The share of requests that only read a sum, and of those that take several numbers at once.
const READS: f64 = 0.1;
const RANGES: f64 = 0.05;

/// A running load. Dropping it stops it.
pub(in crate::cli) struct Load(JoinSet<()>);

impl Load {
    /// Starts clients of the server at these URLs. It must be called inside a tokio runtime.
    pub(in crate::cli) fn start(urls: Vec<String>) -> Self {
        let mut clients = JoinSet::new();
        let numbers = |url: &str| match url.starts_with("udp") {
            true => UDP_CLIENTS,
            false => TCP_CLIENTS,
        };
        let all = urls.iter().map(|url| numbers(url)).sum::<u32>().max(1);
        for url in urls {
            for _ in 0..numbers(&url) {
                let random = Random(clients.len() as u64);
                clients.spawn(send(url.clone(), RATE / f64::from(all), random));
            }
        }
        Self(clients)
    }

    /// Stops the load and closes its connections.
    pub(in crate::cli) async fn stop(&mut self) {
        self.0.shutdown().await;
    }
}

/// Sends requests for ever, `rate` per second on average.
async fn send(url: String, rate: f64, mut random: Random) {
    let start = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Each request is to be seen as one.
        let options = Options::default().coalesce(false);
        let error = match Client::connect_with(&url, options).await {
            Ok(client) => loop {
                ticks.tick().await;
                let turns = start.elapsed().as_secs_f64() / PERIOD.as_secs_f64();
                let now = rate * (1.0 + SWING * (turns * TAU).sin());
                let due = now * TICK.as_secs_f64() + random.fraction();
                let sent = send_some(&client, due as u32, &mut random);
                if let Err(error) = sent.await {
                    break error;
                }
            },
            Err(error) => error,
        };
        debug!(%error, "a client of the demo tries again");
        sleep(RETRY).await;
    }
}

async fn send_some(
    client: &Client,
    requests: u32,
    random: &mut Random,
) -> Result<(), globalcounter::Error> {
    for _ in 0..requests {
        let topic = topic(random);
        let kind = random.fraction();
        if kind < READS {
            client.get(&topic).await?;
        } else if kind < READS + RANGES {
            client.add(&topic, random.below(4) as u32 + 2).await?;
        } else {
            client.count(&topic).await?;
        }
    }
    Ok(())
}

/// Returns a topic, each as often as its share says.
fn topic(random: &mut Random) -> String {
    let mut place = random.fraction();
    for (topic, share) in TOPICS {
        if place < share {
            return topic.to_owned();
        }
        place -= share;
    }
    // Small numbers are more frequent.
    let popularity = random.fraction().powi(3);
    format!("product:{}", (popularity * PRODUCTS as f64) as u64 + 1)
}

/// Random numbers, good enough for a demo: SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to `end - 1`.
    fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// Returns a number from 0 to less than 1.
    fn fraction(&mut self) -> f64 {
        // As many bits as an f64 has.
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_come_as_often_as_their_shares() {
        let mut random = Random(1);
        let topics: Vec<String> = (0..10_000).map(|_| topic(&mut random)).collect();
        for (name, share) in TOPICS {
            let found = topics.iter().filter(|topic| *topic == name).count() as f64 / 10_000.0;
            assert!((found - share).abs() < 0.02, "{name}: {found}");
        }
        let product = |topic: &&String| topic.starts_with("product:");
        let products = topics.iter().filter(product);
        let number = |topic: &String| topic["product:".len()..].parse::<u64>().unwrap();
        let numbers: Vec<u64> = products.map(number).collect();
        assert!((1_000..3_000).contains(&numbers.len()), "{}", numbers.len());
        assert!(numbers.iter().all(|number| (1..=PRODUCTS).contains(number)));
    }
}
