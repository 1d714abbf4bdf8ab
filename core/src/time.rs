//! Time as the core sees it: an [`Instant`] handed in with every input, and wall time that only decorates.
//!
//! Invariants:
//! - no decision compares wall time with anything (STYLE 2); it fills `ts=` and log lines,
//! - spans are [`core::time::Duration`]; arithmetic saturates, so that no input can overflow it.

use core::fmt;
use core::time::Duration;

/// A point on the monotonic clock of this node, in nanoseconds since an origin chosen by the shell.
/// It hashes as a mark, see `mark.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The origin of the clock.
    pub const ORIGIN: Instant = Instant(0);
    /// The end of time; a deadline there never comes.
    pub const FAR_FUTURE: Instant = Instant(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// The instant `span` after the origin.
    pub fn after_origin(span: Duration) -> Instant {
        Instant::ORIGIN.plus(span)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant plus `span`, or the end of time.
    #[must_use]
    pub fn plus(self, span: Duration) -> Instant {
        Instant(self.0.saturating_add(nanos(span)))
    }

    /// This instant minus `span`, or the origin.
    #[must_use]
    pub fn minus(self, span: Duration) -> Instant {
        Instant(self.0.saturating_sub(nanos(span)))
    }

    /// The span from `earlier` to this instant; zero if `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Wall-clock time in whole seconds since 1970; the unit of `ts=` and of generations (WIRE 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct UnixTime(pub u64);

/// A duration printed in milliseconds, the unit of the original's log lines.
#[derive(Clone, Copy)]
pub(crate) struct Millis(pub(crate) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::ORIGIN.minus(Duration::from_secs(1)), Instant::ORIGIN);
        assert_eq!(Instant::FAR_FUTURE.plus(Duration::MAX), Instant::FAR_FUTURE);
        assert_eq!(Instant::ORIGIN.since(Instant::FAR_FUTURE), Duration::ZERO);
    }
}
