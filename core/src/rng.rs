//! Seeded randomness in lanes: one stream per purpose, so that a new draw in one cannot shift another (STYLE 3).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// What a draw is for; the number is the ChaCha stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    /// Delay before a retransmission request (WIRE 9.3).
    RexmitDelay = 0,
    /// Acknowledgement trigger per peer (WIRE 9.4).
    AckTrigger = 1,
}

/// How many lanes there are.
const LANES: usize = 2;

/// All randomness of a node. It keeps the seed and how much of each lane is spent, which is what a digest must see.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Lanes {
    seed: [u8; 32],
    spent: [u64; LANES],
}

impl Lanes {
    pub(crate) fn new(seed: [u8; 32]) -> Lanes {
        Lanes { seed, spent: [0; LANES] }
    }

    /// A number from `0..bound`, without bias; 0 when `bound` is 0.
    ///
    /// Own arithmetic, since the sampling of range crates may change between versions and with it every recorded run.
    pub(crate) fn below(&mut self, lane: Lane, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Values below `threshold` would make small results more likely (Lemire 2019, section 4).
        let threshold = bound.wrapping_neg().checked_rem(bound).unwrap_or(0);
        loop {
            let product = u128::from(self.draw(lane)).wrapping_mul(u128::from(bound));
            let (high, low) = (product >> 64, product & u128::from(u64::MAX));
            if low >= u128::from(threshold) {
                return u64::try_from(high).unwrap_or(0);
            }
        }
    }

    fn draw(&mut self, lane: Lane) -> u64 {
        let mut chacha = ChaCha8Rng::from_seed(self.seed);
        chacha.set_stream(lane as u64);
        let Some(spent) = self.spent.get_mut(lane as usize) else { return 0 };
        chacha.set_word_pos(u128::from(*spent));
        *spent = spent.saturating_add(2);
        chacha.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_do_not_disturb_each_other() {
        let mut alone = Lanes::new([7; 32]);
        let mut mixed = alone.clone();
        let expected: [u64; 4] = core::array::from_fn(|_| alone.below(Lane::RexmitDelay, 1000));
        let drawn: [u64; 4] = core::array::from_fn(|_| {
            mixed.below(Lane::AckTrigger, 10);
            mixed.below(Lane::RexmitDelay, 1000)
        });
        assert_eq!(drawn, expected);
    }

    #[test]
    fn every_value_below_the_bound_comes_and_none_above() {
        let mut lanes = Lanes::new([1; 32]);
        let mut seen = [0; 10];
        for _ in 0..1000 {
            seen[usize::try_from(lanes.below(Lane::AckTrigger, 10)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
        assert_eq!(lanes.below(Lane::AckTrigger, 0), 0);
    }
}
