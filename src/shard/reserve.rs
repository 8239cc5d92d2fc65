//! How far ahead of a topic's sum its ceiling is asked for.

/// The largest reserve is 2 to that: a topic skips no more numbers in a crash.
const MAX_EXPONENT: u8 = 20;

/// Ticks are known modulo that, so that they take 4 bits.
const TICKS: u8 = 16;

/// A power of two, about what a topic counts in a second. Ceilings are asked for when half of it is
/// used, and a tick is half a second: so it doubles where two are asked for within a tick, and is
/// halved for each tick beyond one between them.
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
        Self::from_parts(0, (tick % u32::from(TICKS)) as u8)
    }

    pub(super) fn from_parts(exponent: u8, tick: u8) -> Self {
        debug_assert!(exponent <= MAX_EXPONENT && tick < TICKS);
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
    pub(super) fn asked_at(self, tick: u32) -> Self {
        let tick = (tick % u32::from(TICKS)) as u8;
        let exponent = match (tick + TICKS - self.tick) % TICKS {
            0 => (self.exponent + 1).min(MAX_EXPONENT),
            elapsed => self.exponent.saturating_sub(elapsed - 1),
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
            reserve = reserve.asked_at(100);
            assert_eq!(reserve.ahead(), expected);
        }
        for _ in 0..100 {
            reserve = reserve.asked_at(100);
        }
        assert_eq!((reserve.ahead(), reserve.half()), (1 << 20, 1 << 19));
    }

    /// A thousand a second: half of a reserve between two asks, so a reserve lasts a second.
    #[test]
    fn it_settles_at_about_a_second() {
        for rate in [10, 1_000, 100_000] {
            let mut reserve = Reserve::first(0);
            let (mut at, mut largest) = (0.0, 0);
            for step in 0..200 {
                // In ticks of half a second.
                at += reserve.half().max(1) as f64 * 2.0 / f64::from(rate);
                reserve = reserve.asked_at(at as u32);
                if step > 100 {
                    largest = largest.max(reserve.ahead());
                }
            }
            let seconds = largest as f64 / f64::from(rate);
            assert!((0.5..=4.1).contains(&seconds), "{rate}/s: {seconds} s");
        }
    }

    #[test]
    fn it_shrinks_when_the_topic_was_idle() {
        let full = Reserve::from_parts(20, 3);
        assert_eq!(full.asked_at(4).exponent(), 20);
        assert_eq!(full.asked_at(5).exponent(), 19);
        assert_eq!(full.asked_at(16 + 2).exponent(), 6);
        assert_eq!(Reserve::from_parts(2, 15).asked_at(9).exponent(), 0);
    }
}
