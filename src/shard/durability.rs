//! How durable a shard's sums are, and the clock for its reserves.

use std::fmt;

/// What a topic keeps after a crash. After a clean shutdown it keeps nothing with
/// [`Memory`](Self::Memory), everything otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is kept.
    Memory,
    /// A topic continues above every sum that it ever returned; a crash may skip up to its reserve.
    Monotonic,
    /// A reply waits until its sum is durable: a crash skips at most the requests in flight.
    Exact,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Monotonic => "monotonic",
            Self::Exact => "exact",
        })
    }
}

/// Returns the time in seconds since an arbitrary moment. The size of a reserve depends on it.
pub type Ticks = fn() -> u32;

/// How a shard maintains the ceilings of its topics.
#[derive(Debug, Clone, Copy)]
pub struct Ceilings {
    /// How durable sums are.
    pub durability: Durability,
    /// The clock for reserves.
    pub ticks: Ticks,
}

impl Ceilings {
    /// No ceilings: nothing is kept.
    pub const NONE: Self = Self {
        durability: Durability::Memory,
        ticks: || 0,
    };
}
