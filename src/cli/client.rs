//! The client commands: each sends one request per topic to a server and prints only the numbers.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use globalcounter::blocking::Client;
use globalcounter::client::Options;

use super::credentials::{TlsArguments, TokenArguments};

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
    /// Add N to each topic and print its new sum; you own the last N numbers
    #[command(after_help = "Example:\n  \
        globalcounter add 100 tickets    prints 250: you own 151 to 250")]
    Add {
        /// How many numbers to take
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        n: u32,
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Print each topic's sum without counting
    Get {
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Set each topic's sum to 0; print nothing
    Reset {
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Delete each topic; print 1 if it existed, else 0
    Delete {
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Raise each topic's sum to at least FLOOR and print it; never lower it
    #[command(after_help = "Example:\n  \
        globalcounter advance 5000 orders    the next count is 5001 or more")]
    Advance {
        /// The lowest sum that each topic may have afterwards
        floor: u64,
        #[command(flatten)]
        topics: Topics,
        #[command(flatten)]
        server: Server,
    },
    /// Check that the server answers; print the round-trip time in milliseconds
    Ping {
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Debug, Args)]
pub(super) struct Topics {
    /// One or more topics: any text
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
}

/// Which server to use, and how long to wait for it.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// URL of the server: tcp://HOST:PORT, tls://HOST:PORT or udp://HOST:PORT. Several HOST:PORT, separated by
    /// commas, are nodes of a cluster (tcp, tls)
    #[arg(
        long,
        value_name = "URL",
        env = "GLOBALCOUNTER_SERVER",
        default_value = "tcp://127.0.0.1:9999"
    )]
    server: String,
    /// TCP: give up on a request after this many milliseconds
    #[arg(
        long,
        value_name = "MS",
        env = "GLOBALCOUNTER_TIMEOUT",
        default_value_t = 5000
    )]
    timeout: u64,
    /// UDP: send a request at most N times, 0.1 s apart
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_ATTEMPTS",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    attempts: u32,
    #[command(flatten)]
    tls: TlsArguments,
    #[command(flatten)]
    token: TokenArguments,
}

impl Server {
    fn connect(&self) -> Result<Client> {
        let mut options = Options::default()
            .timeout(Duration::from_millis(self.timeout))
            .attempts(self.attempts);
        options.tls = self.tls.options()?;
        if let Some(token) = self.token.read()? {
            options = options.token(&token);
        }
        Ok(Client::connect_with(&self.server, options)?)
    }
}

/// Sends the requests and prints the numbers of their replies.
///
/// # Errors
///
/// The error of the first request that failed. The results before it were printed.
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
    request: impl Fn(&Client, &str) -> Result<Option<u64>, globalcounter::Error>,
) -> Result<()> {
    let client = server.connect()?;
    for topic in &topics.topics {
        if let Some(number) = request(&client, topic)? {
            print(format_args!("{number}"))?;
        }
    }
    Ok(())
}

fn print(line: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to standard output")
}
