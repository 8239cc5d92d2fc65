//! The client commands: each asks a server for every topic it is given, and prints the numbers
//! alone.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use globalcounter::blocking::Client;
use globalcounter::client::Options;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add one to each topic and print its new sum
    #[command(after_help = "Examples:\n  \
        globalcounter count visits\n  \
        globalcounter count --server udp://127.0.0.1:9999 orders \"paid orders\"")]
    Count {
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Add N to each topic and print its new sum; the last N numbers are yours
    #[command(after_help = "Example:\n  \
        globalcounter add 100 tickets    prints 250: 151 to 250 are yours")]
    Add {
        /// How many numbers to take
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        n: u32,
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Print each topic's sum, without counting
    Get {
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Set each topic's sum to 0; prints nothing
    Reset {
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Forget each topic; prints 1 where there was one, else 0
    Delete {
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Raise each topic's sum to at least FLOOR, never lower it, and print it
    #[command(after_help = "Example:\n  \
        globalcounter advance 5000 orders    the next count is 5001 or more")]
    Advance {
        /// The sum to reach
        floor: u64,
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Ask the server for a sign of life; prints the round trip in milliseconds
    Ping {
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Debug, Args)]
pub(super) struct Topics {
    /// What to count: any text; one number is printed for each
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
}

/// Which server, and how long to wait for it.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// The server: tcp://HOST:PORT or udp://HOST:PORT
    #[arg(
        long,
        value_name = "URL",
        env = "GLOBALCOUNTER_SERVER",
        default_value = "tcp://127.0.0.1:9999"
    )]
    server: String,
    /// TCP: give up after this many milliseconds
    #[arg(
        long,
        value_name = "MS",
        env = "GLOBALCOUNTER_TIMEOUT",
        default_value_t = 5000
    )]
    timeout: u64,
    /// UDP: send at most this many datagrams for one request, 0.1 s apart
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_ATTEMPTS",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    attempts: u32,
}

impl Server {
    fn connect(&self) -> Result<Client> {
        let options = Options::default()
            .timeout(Duration::from_millis(self.timeout))
            .attempts(self.attempts);
        Ok(Client::connect_with(&self.server, options)?)
    }
}

/// Asks, and prints what comes back.
///
/// # Errors
///
/// The first request that failed; those before it were printed.
pub(super) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Count { topics, server } => for_each(topics, server, |client, topic| {
            client.count(topic).map(Some)
        }),
        Command::Add { n, topics, server } => for_each(topics, server, |client, topic| {
            client.add(topic, *n).map(|range| Some(*range.end()))
        }),
        Command::Get { topics, server } => {
            for_each(topics, server, |client, topic| client.get(topic).map(Some))
        }
        Command::Reset { topics, server } => for_each(topics, server, |client, topic| {
            client.reset(topic).map(|()| None)
        }),
        Command::Delete { topics, server } => for_each(topics, server, |client, topic| {
            client.delete(topic).map(|existed| Some(existed.into()))
        }),
        Command::Advance {
            floor,
            topics,
            server,
        } => for_each(topics, server, |client, topic| {
            client.advance(topic, *floor).map(Some)
        }),
        Command::Ping { server } => {
            let client = server.connect()?;
            let start = Instant::now();
            client.ping()?;
            print(format_args!("{:.3}", start.elapsed().as_secs_f64() * 1e3))
        }
    }
}

fn for_each(
    topics: &Topics,
    server: &Server,
    ask: impl Fn(&Client, &str) -> Result<Option<u64>, globalcounter::Error>,
) -> Result<()> {
    let client = server.connect()?;
    for topic in &topics.topics {
        if let Some(number) = ask(&client, topic)? {
            print(format_args!("{number}"))?;
        }
    }
    Ok(())
}

fn print(line: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("writing to standard output")
}
