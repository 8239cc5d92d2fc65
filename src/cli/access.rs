//! The settings that say who may do what: tokens, address ranges, or everybody.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;
use globalcounter::access::{AddressRange, Guard, Policy, Token, TokenLimits, parse_tokens};
use tracing::{info, warn};

use super::settings::{Mistakes, read_text};

/// The longest tokens file that is read: a wrong path, such as a device, must not fill the memory.
const MAX_FILE: u64 = 16 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct AccessArguments {
    /// File with the tokens that clients need, made with "globalcounter token new"
    #[arg(long, value_name = "FILE", env = "GLOBALCOUNTER_TOKENS")]
    pub(super) tokens: Option<PathBuf>,
    /// Give rights to a range of addresses, as in 10.0.0.0/8=count,read:orders/ (repeatable). The
    /// rights are count, read, reset, advance, admin, node, and udp-reset: RESET in datagrams
    #[arg(
        long,
        value_name = "CIDR=RIGHTS[:PREFIX]",
        env = "GLOBALCOUNTER_ALLOW",
        value_delimiter = ' '
    )]
    allow: Vec<AddressRange>,
    /// Let everybody do everything, although the server listens beyond loopback
    #[arg(long, env = "GLOBALCOUNTER_INSECURE", value_parser = BoolishValueParser::new())]
    insecure: bool,
}

impl AccessArguments {
    /// Returns who may do what; `None` if everybody may do everything. Tokens have the limits of
    /// `defaults` if they have none of their own. Mistakes in the tokens file are added to `mistakes`.
    pub(super) fn policy(&self, defaults: TokenLimits, mistakes: &mut Mistakes) -> Option<Policy> {
        let mut tokens = match &self.tokens {
            Some(path) => read_tokens(path, mistakes),
            None if self.allow.is_empty() => return None,
            None => Vec::new(),
        };
        for token in &mut tokens {
            token.limits = token.limits.or(defaults);
        }
        Some(Policy::new(tokens, self.allow.clone()))
    }

    /// Checks that the server does not listen beyond loopback for everybody, unless it is told to.
    pub(super) fn check_exposure(&self, listeners: &[(&str, SocketAddr)], mistakes: &mut Mistakes) {
        if self.tokens.is_some() || !self.allow.is_empty() || self.insecure {
            return;
        }
        let mut exposed = listeners.iter().filter_map(|&(scheme, address)| {
            let loopback = address.ip().to_canonical().is_loopback();
            (!loopback).then(|| format!("{scheme}://{address}"))
        });
        if let Some(exposed) = exposed.next() {
            mistakes.add(format!(
                "refusing to serve everybody on {exposed}, which is not a loopback address: say who \
                 may do what with --tokens FILE or --allow CIDR=RIGHTS, or that everybody may do \
                 everything with --insecure"
            ));
        }
    }
}

/// Replaces the policy of a running server. Whether there is one at all is decided at the start.
pub(super) fn replace_policy(guard: Option<&Guard>, policy: Option<Policy>) {
    match (guard, policy) {
        (Some(guard), Some(policy)) => {
            guard.set_policy(policy);
            info!("reloaded the tokens and the address ranges");
        }
        (None, None) => {}
        (Some(_), None) => warn!(
            "tokens and address ranges were removed from the configuration; until the server is \
             restarted, the old ones decide"
        ),
        (None, Some(_)) => warn!(
            "tokens or address ranges were added to the configuration; until the server is restarted, \
             everybody may do everything"
        ),
    }
}

fn read_tokens(path: &Path, mistakes: &mut Mistakes) -> Vec<Token> {
    let file = path.display();
    let text = match read_text(path, MAX_FILE) {
        Ok(text) => text,
        Err(error) => {
            mistakes.add(format!("cannot read the tokens file {file}: {error}"));
            return Vec::new();
        }
    };
    parse_tokens(&text).unwrap_or_else(|found| {
        for mistake in found {
            mistakes.add(format!("{file}:{}: {}", mistake.line, mistake.text));
        }
        Vec::new()
    })
}
