//! The world's only source of chance: numbers that follow from a seed and a count, so that a saved world rolls on
//! exactly where it stopped and a seed reproduces a bad day. Draw nothing from anywhere else.

use serde::{Deserialize, Serialize};

/// A seed and how often it was drawn from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dice {
    seed: u64,
    drawn: u64,
}

impl Dice {
    /// Dice that have not been thrown.
    pub fn new(seed: u64) -> Dice {
        Dice { seed, drawn: 0 }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Other dice for one purpose, so that drawing there doesn't move the draws here.
    pub(crate) fn apart(&self, purpose: &str) -> Dice {
        let mixed = purpose.bytes().fold(self.seed, |sum, byte| mix(sum ^ u64::from(byte)));
        Dice::new(mixed)
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        mix(self.seed.wrapping_add(self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// A number from zero up to but not including `bound`; zero when `bound` is zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let high = (u128::from(self.number()) * u128::from(bound)) >> 64;
        u64::try_from(high).unwrap_or(0)
    }

    /// The same for a place in a list.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True in `percent` of a hundred throws. Zero draws nothing, so that a switch that is off doesn't move the dice.
    pub(crate) fn percent(&mut self, percent: u8) -> bool {
        percent > 0 && self.below(100) < u64::from(percent)
    }

    /// One item of a list that is not empty.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }
}

/// The finishing step of the SplitMix64 generator: every bit of the answer depends on every bit of the question.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_numbers_and_survives_saving() {
        let mut dice = Dice::new(3);
        let first = (dice.number(), dice.below(6), dice.percent(50));
        let text = serde_json::to_string(&dice).unwrap();
        let next = dice.number();
        let mut again = Dice::new(3);
        assert_eq!((again.number(), again.below(6), again.percent(50)), first);
        let mut saved: Dice = serde_json::from_str(&text).unwrap();
        assert_eq!(saved.number(), next);
    }

    #[test]
    fn bounds_hold() {
        let mut dice = Dice::new(1);
        assert_eq!(dice.below(0), 0);
        assert!((0..1_000).all(|_| dice.below(10) < 10));
        assert!((0..100).all(|_| !dice.percent(0)));
        assert!((0..100).all(|_| dice.percent(100)));
    }
}
