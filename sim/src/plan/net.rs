//! How links behave: delay, loss, duplication, reordering, corruption, bandwidth. Data, in whole numbers.
//!
//! Probabilities are parts per million and spans are nanoseconds, so that a plan compares and prints exactly; floating
//! point appears only where luck becomes a delay, in [`crate::network`].

use std::time::Duration;

/// What changes for which links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetRule {
    /// For which links.
    pub way: Way,
    /// What.
    pub change: Change,
}

/// Some links: all that fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Way {
    /// From which host; all if none.
    pub from: Option<usize>,
    /// To which host; all if none.
    pub to: Option<usize>,
    /// Over which interface; all if none.
    pub interface: Option<String>,
}

impl Way {
    /// Whether a link is one of them.
    pub fn fits(&self, from: usize, to: usize, interface: &str) -> bool {
        self.from.is_none_or(|one| one == from)
            && self.to.is_none_or(|one| one == to)
            && self.interface.as_ref().is_none_or(|one| one == interface)
    }
}

/// One property of links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// How long a packet is under way.
    Delay(Delay),
    /// Which packets are lost.
    Loss(Loss),
    /// How many arrive twice.
    Duplicate(Ppm),
    /// How many may be overtaken by later ones.
    Reorder(Ppm),
    /// How many arrive with a wrong byte.
    Corrupt(Ppm),
    /// How many bytes arrive with a wrong bit: noise on a serial line.
    Noise(Ppm),
    /// How fast the line is; `None` is as fast as needed.
    Rate(Option<Rate>),
    /// How many packets wait for a line of limited rate; more are lost.
    Queue(u32),
}

/// Parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppm(pub u32);

impl Ppm {
    /// Certainty.
    pub const ONE: Ppm = Ppm(1_000_000);

    /// Reads a probability such as `0.05`, to the millionth.
    pub(crate) fn parse(text: &str) -> Option<Ppm> {
        thousandths(text, 6).and_then(|ppm| u32::try_from(ppm).ok()).map(Ppm).filter(|ppm| *ppm <= Ppm::ONE)
    }

    /// Whether this luck falls into it.
    pub(crate) fn hits(self, luck: u64) -> bool {
        luck % 1_000_000 < u64::from(self.0)
    }
}

/// A decimal number as an integer with `digits` decimals.
pub(crate) fn thousandths(text: &str, digits: usize) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > digits || !is_number(whole) || !is_number(part) {
        return None;
    }
    format!("{whole}{part:0<digits$}").parse().ok()
}

/// How long a packet is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Delay {
    /// Always the same.
    Constant(Duration),
    /// Anything between the two.
    Uniform(Duration, Duration),
    /// Exponential with this mean.
    Exponential(Duration),
    /// Lognormal with this median, and this standard deviation of the logarithm in thousandths.
    LogNormal(Duration, u32),
    /// Pareto with this least value, and this exponent in thousandths: the heavy tail of busy networks.
    Pareto(Duration, u32),
    /// One of these, each as likely as the others: what somebody measured.
    Recorded(Vec<Duration>),
}

impl Delay {
    /// A switched network at rest.
    pub(crate) const USUAL: Delay = Delay::Uniform(Duration::from_micros(150), Duration::from_micros(250));
}

/// Which packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Each with this probability (Bernoulli).
    Independent(Ppm),
    /// In bursts: Gilbert-Elliott, a chain of two states that moves before each packet.
    Bursts {
        /// From good to bad.
        begin: Ppm,
        /// From bad to good.
        end: Ppm,
        /// Lost in the good state.
        good: Ppm,
        /// Lost in the bad state.
        bad: Ppm,
    },
}

/// How fast a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Bits a second.
    pub bits: u64,
    /// Bits on the line for each byte: 8, or 10 on a serial line.
    pub per_byte: u8,
}

impl Rate {
    /// How long `bytes` occupy the line.
    pub(crate) fn time(self, bytes: usize) -> Duration {
        let bits = (bytes as u128) * u128::from(self.per_byte);
        Duration::from_nanos(u64::try_from(bits * 1_000_000_000 / u128::from(self.bits.max(1))).unwrap_or(u64::MAX))
    }
}
