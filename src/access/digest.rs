//! Digests of tokens and passwords. Only digests are stored.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// The longest secret that is hashed, in bytes, so that a peer cannot make the server hash megabytes.
pub(super) const MAX_SECRET: usize = 1024;

/// The most memory of an argon2id digest, in KiB, and the most passes. One digest is computed at a time.
const MAX_MEMORY: u32 = 64 * 1024;
const MAX_PASSES: u32 = 10;

/// The prefix of a digest of a random token in a file.
const SHA_256: &str = "sha-256:";

/// The digest of a secret. It is no secret, but whoever knows the digest of a password can try
/// passwords, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256 of a random token. A fast hash is enough for a secret of 128 bits or more.
    Token([u8; 32]),
    /// argon2id of a password, with its parameters and its salt.
    Password(Box<PasswordHash>),
}

/// The text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DigestError {
    /// It is of no known kind.
    #[error(
        "expected sha-256: and 64 hexadecimal digits, or a digest that begins with $argon2id$; \
         globalcounter token new makes them"
    )]
    Unknown,
    /// Checking it would take too much memory or time.
    #[error(
        "the argon2id digest needs more than {MAX_MEMORY} KiB or more than {MAX_PASSES} passes; make \
         it with smaller parameters"
    )]
    TooExpensive,
}

impl Digest {
    /// Returns the digest of a random token.
    #[must_use]
    pub fn of_token(token: &[u8]) -> Self {
        Self::Token(Sha256::digest(token).into())
    }

    /// Returns the digest of a password; `salt` should be 16 random bytes.
    ///
    /// # Errors
    ///
    /// The salt has an unusable length.
    pub fn of_password(password: &[u8], salt: &[u8]) -> Result<Self, DigestError> {
        let hash = Argon2::default().hash_password_with_salt(password, salt);
        let hash: PasswordHash = hash.map_err(|_| DigestError::Unknown)?;
        Ok(Self::Password(Box::new(hash)))
    }

    /// Returns whether this is the digest of `secret`, in a time that does not depend on where they
    /// differ. A password takes tens of milliseconds.
    pub(super) fn is_of(&self, secret: &[u8]) -> bool {
        match self {
            Self::Token(digest) => digest[..].ct_eq(&Sha256::digest(secret)[..]).into(),
            Self::Password(hash) => Argon2::default().verify_password(secret, &**hash).is_ok(),
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        if let Some(digits) = text.strip_prefix(SHA_256) {
            return decode_hex(digits)
                .map(Self::Token)
                .ok_or(DigestError::Unknown);
        }
        let hash = PasswordHash::new(text).map_err(|_| DigestError::Unknown)?;
        if hash.algorithm.as_str() != "argon2id" || hash.salt.is_none() || hash.hash.is_none() {
            return Err(DigestError::Unknown);
        }
        let params = Params::try_from(&hash).map_err(|_| DigestError::Unknown)?;
        if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_PASSES {
            return Err(DigestError::TooExpensive);
        }
        Ok(Self::Password(Box::new(hash)))
    }
}

fn decode_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(digest) => {
                f.write_str(SHA_256)?;
                digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Password(hash) => hash.fmt(f),
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_of_their_secrets_and_round_trip() {
        let password = Digest::of_password(b"sesame", &[7; 16]).unwrap();
        for digest in [Digest::of_token(b"sesame"), password] {
            let read: Digest = digest.to_string().parse().unwrap();
            assert!(read == digest && read.is_of(b"sesame") && !read.is_of(b"sesam"));
            assert!(!format!("{digest:?}").contains(&digest.to_string()));
        }
    }

    /// The test vector "abc" of FIPS 180.
    #[test]
    fn a_token_has_the_digest_of_sha_256() {
        let abc = "sha-256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of_token(b"abc").to_string(), abc);
    }

    #[test]
    fn other_digests_are_refused() {
        let salted = "c29tZXNhbHQ$PmUVgQ9HjFMKbyGPpwTYQ4yNBgUtRMpVgHoDLmNPd0M";
        let of = |kind: &str| format!("${kind}$v=19$m=19456,t=2,p=1${salted}").parse::<Digest>();
        assert!(of("argon2id").is_ok());
        assert_eq!(of("argon2i"), Err(DigestError::Unknown));
        for text in [
            "",
            "sha-256:",
            "sha-256:zz",
            "sesame",
            "$argon2id$v=19$m=19456,t=2,p=1",
        ] {
            assert_eq!(text.parse::<Digest>(), Err(DigestError::Unknown), "{text}");
        }
        let cost = |cost: &str| format!("$argon2id$v=19${cost}${salted}").parse::<Digest>();
        for expensive in ["m=1000000,t=2,p=1", "m=19456,t=100,p=1"] {
            assert_eq!(cost(expensive), Err(DigestError::TooExpensive));
        }
    }
}
