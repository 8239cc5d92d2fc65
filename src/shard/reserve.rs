//! How far ahead of a topic's sum its ceiling is asked for.

/// The largest reserve is 2 to that. With the half of the one before, a ceiling is less than 2^20
/// above its sum: a topic skips no more numbers in a crash.
const MAX_EXPONENT: u8 = 19;

/// Ticks are known modulo that, so that they take 4 bits.
const TICK_MODULUS: u8 = 16;

/// A power of two, about what a topic counts in a second. When no more than half of it is left, the
/// ceiling is raised by all of it: so asks are as far apart as it lasts, and nobody waits for one
/// that comes back within half of that. It doubles where a topic asks twice within a tick, which is a
/// second; where it lasted for longer, it becomes that part of it that would have lasted a second.
///
/// A topic that was idle for some multiple of 16 ticks is taken to have been for none, and its
/// reserve may double once; the numbers that a crash would skip are bounded all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reserve {
    exponent: u8,
    /// When a ceiling was asked for last.
    tick: u8,
}

impl Reserve {
    /// The smallest, of a topic that asks for its first ceiling.
    pub(super) fn first(tick: u32) -> Self {
        Self::from_parts(0, (tick % u32::from(TICK_MODULUS)) as u8)
    }

    pub(super) fn from_parts(exponent: u8, tick: u8) -> Self {
        debug_assert!(exponent <= MAX_EXPONENT && tick < TICK_MODULUS);
        Self { exponent, tick }
    }

    pub(super) fn exponent(self) -> u8 {
        self.exponent
    }

    pub(super) fn tick(self) -> u8 {
        self.tick
    }

    /// How many numbers beyond those that are needed a ceiling is asked for. None at first: a topic
    /// that is counted once skips nothing and is written once.
    pub(super) fn ahead(self) -> u64 {
        match self.exponent {
            0 => 0,
            exponent => 1 << exponent,
        }
    }

    /// When no more than that is left, the next ceiling is asked for.
    pub(super) fn half(self) -> u64 {
        self.ahead() / 2
    }

    /// What it is when a ceiling is asked for at `tick`.
    pub(super) fn for_raise_at(self, tick: u32) -> Self {
        let tick = (tick % u32::from(TICK_MODULUS)) as u8;
        let exponent = match (tick + TICK_MODULUS - self.tick) % TICK_MODULUS {
            0 => (self.exponent + 1).min(MAX_EXPONENT),
            elapsed => self.exponent.saturating_sub(elapsed.ilog2() as u8),
        };
        Self { exponent, tick }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_while_it_is_used_up_fast() {
        let mut reserve = Reserve::first(100);
        assert_eq!((reserve.ahead(), reserve.half()), (0, 0));
        for expected in [2, 4, 8, 16] {
            reserve = reserve.for_raise_at(100);
            assert_eq!(reserve.ahead(), expected);
        }
        for _ in 0..100 {
            reserve = reserve.for_raise_at(100);
        }
        assert_eq!((reserve.ahead(), reserve.half()), (1 << 19, 1 << 18));
    }

    /// All of a reserve is used between two asks.
    #[test]
    fn it_settles_at_about_a_second() {
        for rate in [10, 1_000, 100_000] {
            let mut reserve = Reserve::first(0);
            let (mut at, mut largest) = (0.0, 0);
            for step in 0..200 {
                at += reserve.ahead().max(1) as f64 / f64::from(rate);
                reserve = reserve.for_raise_at(at as u32);
                if step > 100 {
                    largest = largest.max(reserve.ahead());
                }
            }
            let seconds = largest as f64 / f64::from(rate);
            assert!((0.5..=2.1).contains(&seconds), "{rate}/s: {seconds} s");
        }
    }

    #[test]
    fn it_shrinks_when_the_topic_was_idle() {
        let full = Reserve::from_parts(19, 3);
        for (elapsed, expected) in [
            (1, 19),
            (2, 18),
            (3, 18),
            (4, 17),
            (7, 17),
            (8, 16),
            (15, 16),
        ] {
            assert_eq!(
                full.for_raise_at(3 + elapsed).exponent(),
                expected,
                "{elapsed}"
            );
        }
        assert_eq!(Reserve::from_parts(2, 15).for_raise_at(9).exponent(), 0);
    }
}
