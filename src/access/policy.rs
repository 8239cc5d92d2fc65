//! The tokens and the address ranges of a server.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::allowance::{Allowance, TokenLimits};
use super::digest::Digest;
use super::grant::Grant;
use super::range::AddressRange;

/// A name, how its holder proves to be the one that it names, and what the holder may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The name, which is not secret.
    pub name: String,
    /// The digest of the random token or of the password; `None` if only a certificate will do.
    pub digest: Option<Digest>,
    /// The common name of the client certificates that stand for the token; `None` if none does.
    pub certificate: Option<String>,
    /// What the holder may do.
    pub grant: Arc<Grant>,
    /// How much all holders may use together.
    pub limits: TokenLimits,
}

impl Token {
    /// Returns whether this is its secret. A password takes tens of milliseconds.
    pub(super) fn has_secret(&self, secret: &[u8]) -> bool {
        let mut digest = self.digest.iter();
        digest.any(|digest| digest.is_of(secret))
    }

    /// Returns whether its secret is a password.
    pub(super) fn has_password(&self) -> bool {
        matches!(self.digest, Some(Digest::Password(_)))
    }
}

/// The tokens and the address ranges of a server. The default has none, so nobody may do anything.
#[derive(Clone, Default)]
pub struct Policy {
    by_name: HashMap<String, Arc<Token>>,
    /// Random tokens by the first bytes of their digests, so that finding one takes no comparison with
    /// all, and finding none tells nothing about a secret.
    by_digest: HashMap<[u8; 8], Arc<Token>>,
    by_certificate: HashMap<String, Arc<Token>>,
    /// What the holders of each token have used of its limits, by the token's name.
    allowances: HashMap<String, Arc<Allowance>>,
    ranges: Vec<AddressRange>,
}

/// Leaves out `by_digest`: its keys are parts of digests.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("by_name", &self.by_name)
            .field("allowances", &self.allowances)
            .field("ranges", &self.ranges)
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// Creates a policy. Of two tokens with the same name, the same secret or the same certificate, the
    /// later counts.
    #[must_use]
    pub fn new(tokens: Vec<Token>, ranges: Vec<AddressRange>) -> Self {
        let mut policy = Self {
            ranges,
            ..Self::default()
        };
        for token in tokens {
            let token = Arc::new(token);
            if let Some(Digest::Token(digest)) = &token.digest {
                policy
                    .by_digest
                    .insert(start_of(digest), Arc::clone(&token));
            }
            if let Some(certificate) = &token.certificate {
                let certificate = certificate.clone();
                policy
                    .by_certificate
                    .insert(certificate, Arc::clone(&token));
            }
            let allowance = policy.allowances.entry(token.name.clone()).or_default();
            allowance.set_limits(token.limits);
            policy.by_name.insert(token.name.clone(), token);
        }
        policy
    }

    /// Takes over what the holders of tokens have used under an earlier policy. Tokens with the same
    /// name are the same for this, also with another secret.
    pub(super) fn continue_from(&mut self, earlier: &Self) {
        for (name, allowance) in &mut self.allowances {
            let Some(token) = self.by_name.get(name) else {
                continue;
            };
            if let Some(used) = earlier.allowances.get(name) {
                used.set_limits(token.limits);
                *allowance = Arc::clone(used);
            }
        }
    }

    /// Returns what the holders of the token with this name may use; `None` if it is not limited.
    pub(super) fn allowance(&self, name: &str) -> Option<&Arc<Allowance>> {
        let allowance = self.allowances.get(name)?;
        allowance.is_limited().then_some(allowance)
    }

    /// Returns whether there is a token.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        !self.by_name.is_empty()
    }

    /// Returns the token with this name.
    pub(super) fn named(&self, name: &[u8]) -> Option<&Arc<Token>> {
        self.by_name.get(std::str::from_utf8(name).ok()?)
    }

    /// Returns the random token `secret`.
    pub(super) fn with_secret(&self, secret: &[u8]) -> Option<&Arc<Token>> {
        let Digest::Token(digest) = Digest::of_token(secret) else {
            return None;
        };
        let found = self.by_digest.get(&start_of(&digest))?;
        found.has_secret(secret).then_some(found)
    }

    /// Returns the token that a client certificate with this common name stands for.
    pub(super) fn with_certificate(&self, name: &str) -> Option<&Arc<Token>> {
        self.by_certificate.get(name)
    }

    /// Returns whether a certificate stands for any token.
    pub(super) fn has_certificates(&self) -> bool {
        !self.by_certificate.is_empty()
    }

    /// Returns what peers with this address may do without a token.
    pub(super) fn grant_of(&self, address: IpAddr) -> Grant {
        let ranges = self.ranges.iter().filter(|range| range.contains(address));
        Grant::new(ranges.map(|range| range.rule.clone()))
    }
}

/// Returns the bytes of a digest by which a token is found.
fn start_of(digest: &[u8; 32]) -> [u8; 8] {
    let mut start = [0; 8];
    start.copy_from_slice(&digest[..8]);
    start
}
