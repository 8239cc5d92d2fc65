//! What a shard promises to keep, and the clock that its reserves follow.

use std::fmt;

/// What a topic keeps over a crash, and over a clean shutdown (nothing or everything).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is kept.
    Memory,
    /// A topic goes on above every sum that it ever returned; a crash may skip up to its reserve.
    Monotonic,
    /// A reply waits until its sum is durable: a crash skips no more than was under way.
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

/// Tells the time, in seconds from any beginning on: reserves follow it.
pub type Ticks = fn() -> u32;

/// How a shard keeps to its topics' ceilings.
#[derive(Debug, Clone, Copy)]
pub struct Ceilings {
    /// What is promised.
    pub durability: Durability,
    /// By which clock.
    pub ticks: Ticks,
}

impl Ceilings {
    /// There are none: nothing is kept.
    pub const NONE: Self = Self {
        durability: Durability::Memory,
        ticks: || 0,
    };
}
