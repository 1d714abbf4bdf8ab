//! Luck: numbers drawn from a seed and a name, and what they become.
//!
//! Nothing is drawn from a running stream: the luck of a packet depends on its link and its number there, so that a
//! change elsewhere leaves it alone (STYLE 3). Floating point uses the `libm` crate, whose results are the same on
//! every machine and build profile; those of the platform are not.

use crate::plan::net::Delay;
use hb_core::digest::digest_of;
use std::hash::Hash;
use std::time::Duration;

/// No packet is longer under way: a heavy tail has no end of its own.
const LONGEST: Duration = Duration::from_mins(10);

/// Numbers that follow from a name.
#[derive(Clone, Debug)]
pub(crate) struct Luck(u64);

impl Luck {
    /// The luck of whatever has that name.
    pub(crate) fn of(name: &impl Hash) -> Luck {
        Luck(digest_of(name))
    }

    /// The next number (SplitMix64; Steele, Lea, Flood 2014).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64).unwrap_or(0)
    }

    /// A span up to and including `most`.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.below(nanos(most).saturating_add(1)))
    }

    /// A number strictly between 0 and 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exactly what fits")]
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// How long a packet is under way.
    pub(crate) fn delay(&mut self, delay: &Delay) -> Duration {
        let span = match delay {
            Delay::Constant(time) => *time,
            Delay::Uniform(least, most) => *least + self.up_to(most.saturating_sub(*least)),
            Delay::Exponential(mean) => scaled(*mean, -libm::log(self.unit())),
            Delay::LogNormal(median, sigma) => scaled(*median, libm::exp(f64::from(*sigma) / 1000.0 * self.normal())),
            Delay::Pareto(least, exponent) => scaled(*least, libm::pow(self.unit(), -1000.0 / f64::from(*exponent))),
            Delay::Recorded(times) => {
                let at = usize::try_from(self.below(times.len() as u64)).unwrap_or(0);
                times.get(at).copied().unwrap_or_default()
            }
        };
        span.min(LONGEST)
    }

    /// A standard normal number (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a cast from floating point saturates, and the factor is never negative"
)]
fn scaled(span: Duration, factor: f64) -> Duration {
    Duration::from_nanos((nanos(span) as f64 * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(delay: &Delay) -> Vec<f64> {
        let mut luck = Luck::of(&7);
        let mut all: Vec<f64> = (0..20_000).map(|_| luck.delay(delay).as_secs_f64() * 1000.0).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn mean(all: &[f64]) -> f64 {
        all.iter().sum::<f64>() / f64::from(u32::try_from(all.len()).unwrap())
    }

    #[test]
    fn each_distribution_has_its_known_mean_or_median() {
        const MS: Duration = Duration::from_millis(1);
        let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 0.03, "{got} instead of {want}");
        close(mean(&sample(&Delay::Constant(MS))), 1.0);
        close(mean(&sample(&Delay::Uniform(MS, 3 * MS))), 2.0);
        close(mean(&sample(&Delay::Exponential(2 * MS))), 2.0);
        close(sample(&Delay::LogNormal(2 * MS, 500))[10_000], 2.0);
        close(mean(&sample(&Delay::LogNormal(2 * MS, 500))), 2.0 * (0.5_f64 * 0.5 / 2.0).exp());
        // Mean of Pareto: exponent / (exponent - 1).
        close(mean(&sample(&Delay::Pareto(MS, 3000))), 1.5);
        close(mean(&sample(&Delay::Recorded(vec![MS, 2 * MS, 6 * MS]))), 3.0);
    }

    #[test]
    fn known_luck_is_known() {
        // A change here changes every run of every seed.
        let mut luck = Luck::of(&(1_u64, 2_usize));
        let drawn = [luck.next(), luck.below(1000), luck.below(0)];
        let mut again = Luck::of(&(1_u64, 2_usize));
        assert_eq!(drawn, [again.next(), again.below(1000), 0]);
        assert!(drawn[1] < 1000);
    }
}
