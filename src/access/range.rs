//! Address ranges with rights: the values of `--allow`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use super::grant::Rule;
use super::right::UnknownRight;

/// A range of addresses, and what peers from there may do: `CIDR=RIGHTS[:PREFIX]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRange {
    network: IpAddr,
    /// How many leading bits of an address have to be those of the network.
    bits: u32,
    pub(super) rule: Rule,
}

/// The text is not an address range with rights.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RangeError {
    /// A part is missing.
    #[error("expected a range of addresses and its rights, as in 10.0.0.0/8=count,read:orders/")]
    Form,
    /// The range is not a network.
    #[error("expected a range of addresses, as in 10.0.0.0/8 or 2001:db8::/32")]
    Network,
    /// Bits of the address are set that the range does not compare.
    #[error("the address has bits outside of the range; did you mean {0}?")]
    HostBits(String),
    /// A right does not exist.
    #[error(transparent)]
    Right(#[from] UnknownRight),
}

impl AddressRange {
    /// Returns whether `address`, which is no mapped IPv4 address, is in the range.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                masked(address, self.bits) == self.network
            }
            _ => false,
        }
    }
}

/// Returns the network of an address: its leading `bits` bits.
pub(super) fn masked(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (range, rights) = text.split_once('=').ok_or(RangeError::Form)?;
        let (rights, prefixes) = match rights.split_once(':') {
            Some((_, "")) => return Err(RangeError::Form),
            Some((rights, prefix)) => (rights, vec![prefix.to_owned()]),
            None => (rights, Vec::new()),
        };
        let (address, bits) = match range.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (range, None),
        };
        let address: IpAddr = address.parse().map_err(|_| RangeError::Network)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| RangeError::Network)?,
            None => most,
        };
        if bits > most {
            return Err(RangeError::Network);
        }
        let network = masked(address, bits);
        if network != address {
            return Err(RangeError::HostBits(format!("{network}/{bits}")));
        }
        let rights = rights.parse()?;
        Ok(Self {
            network,
            bits,
            rule: Rule { rights, prefixes },
        })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { rights, prefixes } = &self.rule;
        write!(f, "{}/{}={rights}", self.network, self.bits)?;
        prefixes
            .iter()
            .try_for_each(|prefix| write!(f, ":{prefix}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_the_addresses_of_its_network() {
        for (range, inside, outside) in [
            ("10.0.0.0/8=count", "10.255.0.1", "11.0.0.1"),
            ("127.0.0.1=read", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0=count", "255.0.0.1", "::1"),
            ("2001:db8::/32=count:a/", "2001:db8:1::", "2001:db9::"),
            ("::/0=count", "::1", "10.0.0.1"),
        ] {
            let range: AddressRange = range.parse().unwrap();
            assert!(range.contains(inside.parse().unwrap()), "{range}");
            assert!(!range.contains(outside.parse().unwrap()), "{range}");
        }
    }

    #[test]
    fn a_range_has_rights_and_perhaps_a_prefix() {
        let range: AddressRange = "10.0.0.0/8=read,count:orders/a:b".parse().unwrap();
        assert_eq!(range.rule.prefixes, ["orders/a:b"]);
        assert_eq!(range.to_string(), "10.0.0.0/8=count,read:orders/a:b");
    }

    #[test]
    fn mistakes_are_told() {
        for (text, error) in [
            ("10.0.0.0/8", RangeError::Form),
            ("10.0.0.0/8=count:", RangeError::Form),
            ("localhost=count", RangeError::Network),
            ("10.0.0.0/33=count", RangeError::Network),
            ("10.0.0.0/x=count", RangeError::Network),
            (
                "10.1.2.3/8=count",
                RangeError::HostBits("10.0.0.0/8".into()),
            ),
        ] {
            assert_eq!(text.parse::<AddressRange>(), Err(error), "{text}");
        }
        assert!(matches!(
            "10.0.0.0/8=all".parse::<AddressRange>(),
            Err(RangeError::Right(_))
        ));
    }
}
