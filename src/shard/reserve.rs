//! How far a topic's ceiling is raised above its sum.

/// The largest reserve is 2^19. Together with half of the previous reserve, a ceiling is less than
/// 2^20 above its sum, so a crash skips fewer than 2^20 numbers of a topic.
const MAX_EXPONENT: u8 = 19;

/// Ticks are stored modulo 16, in 4 bits.
const TICK_MODULUS: u8 = 16;

/// A power of two: about the numbers that a topic hands out in a second. When at most half of the
/// reserve is left, the ceiling is raised by the whole reserve. So the time between two raises is
/// the time in which the topic uses up its reserve, and no request waits for a raise that becomes
/// durable within half of that time.
///
/// The reserve doubles if a topic requests two raises within a tick, which is a second. If it
/// lasted for longer, it shrinks to the part that would have lasted a second.
///
/// A topic that was idle for a multiple of 16 ticks looks as if it was not idle, so its reserve may
/// double once. The numbers that a crash may skip stay bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reserve {
    exponent: u8,
    /// When the last raise was requested, modulo 16.
    tick: u8,
}

impl Reserve {
    /// Returns the smallest reserve, for a topic that requests its first ceiling.
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

    /// Returns how many numbers a ceiling is raised beyond those that are needed now. This is 0 at
    /// first, so that a topic that is counted once skips nothing and is written once.
    pub(super) fn ahead(self) -> u64 {
        match self.exponent {
            0 => 0,
            exponent => 1 << exponent,
        }
    }

    /// Returns half of the reserve. When no more numbers are left, the next raise is requested.
    pub(super) fn half(self) -> u64 {
        self.ahead() / 2
    }

    /// Returns the new reserve for a raise that is requested at `tick`.
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
    fn a_reserve_doubles_while_it_is_used_up_within_a_tick() {
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

    /// The topic uses up its whole reserve between two raises.
    #[test]
    fn a_reserve_settles_at_about_a_second_of_counting() {
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
    fn a_reserve_shrinks_after_the_topic_was_idle() {
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
