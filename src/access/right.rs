//! The rights, and the one that each operation on a topic needs.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::protocol::Op;

/// A right. docs/security.md says which methods each of them allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Right {
    /// COUNT and ADD. Their replies contain the sum.
    Count,
    /// GET, and searching topics.
    Read,
    /// RESET, DELETE, and setting a sum to 0.
    Reset,
    /// ADVANCE, and setting a sum to more than 0.
    Advance,
    /// Settings and other clients.
    Admin,
    /// [`Reset`](Self::Reset) in datagrams, whose source addresses can be forged. Only address ranges
    /// have it.
    UdpReset,
    /// Connections of another node of the cluster, which has checked what it forwards.
    Node,
}

impl Right {
    /// All rights.
    pub const ALL: [Self; 7] = [
        Self::Count,
        Self::Read,
        Self::Reset,
        Self::Advance,
        Self::Admin,
        Self::UdpReset,
        Self::Node,
    ];

    /// Returns the name in files and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Read => "read",
            Self::Reset => "reset",
            Self::Advance => "advance",
            Self::Admin => "admin",
            Self::UdpReset => "udp-reset",
            Self::Node => "node",
        }
    }

    /// Returns the right that an operation on a topic needs.
    #[inline]
    #[must_use]
    pub const fn for_op(op: Op) -> Self {
        match op {
            Op::Count | Op::Add(_) | Op::Incr(_) => Self::Count,
            Op::Get => Self::Read,
            Op::Reset | Op::Delete | Op::GetDelete | Op::Set { to: 0, .. } => Self::Reset,
            Op::Advance(_) | Op::Set { .. } => Self::Advance,
        }
    }
}

impl FromStr for Right {
    type Err = UnknownRight;

    fn from_str(name: &str) -> Result<Self, UnknownRight> {
        let found = Self::ALL.into_iter().find(|right| right.name() == name);
        found.ok_or_else(|| UnknownRight(name.to_owned()))
    }
}

/// No right has this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "unknown right \"{}\"; the rights are count, read, reset, advance, admin and node, and for \
     addresses also udp-reset",
    .0.escape_debug()
)]
pub struct UnknownRight(String);

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);

    /// Returns whether `right` is in the set.
    #[inline]
    #[must_use]
    pub const fn contains(self, right: Right) -> bool {
        self.0 & 1 << right as u8 != 0
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the rights that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        let bits = rights.into_iter().map(|right| 1 << right as u8);
        Self(bits.fold(0, |all, bit| all | bit))
    }
}

impl FromStr for Rights {
    type Err = UnknownRight;

    /// Parses names separated by commas.
    fn from_str(names: &str) -> Result<Self, UnknownRight> {
        names.split(',').map(str::parse::<Right>).collect()
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Right::ALL.into_iter().filter(|&right| self.contains(right));
        let names: Vec<_> = names.map(Right::name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Condition;

    #[test]
    fn rights_are_parsed_and_printed_by_their_names() {
        let rights: Rights = "read,count".parse().unwrap();
        assert_eq!(rights.to_string(), "count,read");
        assert!(!rights.contains(Right::Reset) && !rights.is_empty());
        let all = Right::ALL.into_iter().collect::<Rights>().to_string();
        assert_eq!(all.parse::<Rights>().unwrap().to_string(), all);
        for wrong in ["", "count,", "count read", "Count", "all"] {
            assert!(wrong.parse::<Rights>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn setting_a_sum_to_0_is_a_reset() {
        let set = |to| Op::Set {
            to,
            when: Condition::IfAbsent,
        };
        assert_eq!(Right::for_op(set(0)), Right::Reset);
        assert_eq!(Right::for_op(set(1)), Right::Advance);
        assert_eq!(Right::for_op(Op::GetDelete), Right::Reset);
    }
}
