//! The settings that limit requests, datagrams, and what the holders of a token use.

use clap::Args;
use globalcounter::access::TokenLimits;
use globalcounter::server::{Config, Limits};

use super::number::parse_number;

#[derive(Debug, Args)]
pub(super) struct RateArguments {
    /// Maximum number of requests a second of a TCP connection; 0: no limit. As many may come at once.
    /// Further ones are refused with BUSY
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_RATE_PER_CONNECTION",
        value_parser = parse_rate,
        default_value_t = 0
    )]
    max_rate_per_connection: u32,
    /// Maximum number of requests a second of all connections with the same token, unless the tokens
    /// file says otherwise; 0: no limit. Further ones are refused with BUSY
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_RATE_PER_TOKEN",
        value_parser = parse_rate,
        default_value_t = 0
    )]
    max_rate_per_token: u32,
    /// Maximum number of topics that the holders of a token create while the server runs, unless the
    /// tokens file says otherwise; 0: no limit. Further ones are refused
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_TOPICS_PER_TOKEN",
        value_parser = parse_number::<u64>,
        default_value_t = 0
    )]
    max_topics_per_token: u64,
    /// Maximum number of datagrams that a worker receives before it serves its connections again
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_DATAGRAMS_PER_TURN",
        value_parser = parse_positive,
        default_value_t = Config::DEFAULT_MAX_DATAGRAMS_PER_TURN
    )]
    max_datagrams_per_turn: usize,
    /// Maximum number of errors a second that a worker sends to one source of datagrams; further ones
    /// are not sent
    #[arg(
        long,
        value_name = "N",
        env = "GLOBALCOUNTER_MAX_ERRORS_PER_SOURCE",
        value_parser = parse_rate,
        default_value_t = Config::DEFAULT_MAX_ERRORS_PER_SOURCE
    )]
    max_errors_per_source: u32,
}

fn parse_rate(text: &str) -> Result<u32, String> {
    let rate = text.parse();
    rate.map_err(|_| format!("expected a whole number up to {}", u32::MAX))
}

fn parse_positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a whole number from 1".into())
}

impl RateArguments {
    /// Puts the server's limits into its configuration.
    pub(super) fn complete(&self, config: &mut Config) {
        config.max_rate_per_connection = self.max_rate_per_connection;
        config.max_datagrams_per_turn = self.max_datagrams_per_turn;
        config.max_errors_per_source = self.max_errors_per_source;
    }

    /// Returns the limits of tokens that have none of their own.
    pub(super) fn token_limits(&self) -> TokenLimits {
        TokenLimits {
            rate: Some(self.max_rate_per_token),
            max_topics: Some(self.max_topics_per_token),
        }
    }
}

/// Applies the server's limits while it runs. Those of tokens belong to the policy.
pub(super) fn apply(limits: &Limits, config: &Config) {
    limits.set_max_rate_per_connection(config.max_rate_per_connection);
    limits.set_max_datagrams_per_turn(config.max_datagrams_per_turn);
    limits.set_max_errors_per_source(config.max_errors_per_source);
}
