//! The clocks of a machine: a monotonic one that drifts, and stands still while the machine is frozen; a wall clock.

use hb_core::time::{Instant, UnixTime};
use std::time::Duration;

/// The wall clock of a right machine at the origin of virtual time.
pub(crate) const EPOCH: u64 = 1_700_000_000;
const MILLION: i128 = 1_000_000;

/// Two clocks, piecewise linear in the world's time.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// From this time of the world on ...
    anchor: Instant,
    /// ... the monotonic clock read this ...
    reading: Instant,
    /// ... and ran at a million plus this in parts of a million.
    drift_ppm: i32,
    stands: bool,
    /// How far the wall clock is ahead of right, in milliseconds.
    wall_offset_ms: i64,
}

impl Clock {
    /// Clocks of a machine that was switched on when its monotonic clock read `reading`.
    pub(crate) fn new(now: Instant, reading: Instant, drift_ppm: i32, wall_offset: i64) -> Clock {
        let wall_offset_ms = wall_offset.saturating_mul(1000);
        Clock { anchor: now, reading, drift_ppm, stands: false, wall_offset_ms }
    }

    /// What the monotonic clock reads.
    pub(crate) fn monotonic(&self, now: Instant) -> Instant {
        if self.stands {
            return self.reading;
        }
        let elapsed = i128::from(now.as_nanos().saturating_sub(self.anchor.as_nanos()));
        let shown = elapsed * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        Instant::from_nanos(self.reading.as_nanos().saturating_add(u64::try_from(shown).unwrap_or(u64::MAX)))
    }

    /// When, in the world's time, the monotonic clock reads at least `reading`, if it runs on.
    pub(crate) fn when(&self, reading: Instant) -> Instant {
        if reading == Instant::FAR_FUTURE {
            return reading;
        }
        let ahead = i128::from(reading.as_nanos().saturating_sub(self.reading.as_nanos()));
        let rate = MILLION + i128::from(self.drift_ppm);
        // Rounded up, so that the clock has got there.
        let elapsed = (ahead * MILLION + rate - 1) / rate;
        Instant::from_nanos(self.anchor.as_nanos().saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX)))
    }

    /// What the wall clock reads, in whole seconds.
    pub(crate) fn wall(&self, now: Instant) -> UnixTime {
        let right = i128::from(EPOCH) * 1000 + i128::from(now.as_nanos() / 1_000_000);
        let shown = (right + i128::from(self.wall_offset_ms)) / 1000;
        UnixTime(u64::try_from(shown.max(1)).unwrap_or(u64::MAX))
    }

    /// The wall clock jumps.
    pub(crate) fn step(&mut self, millis: i64) {
        self.wall_offset_ms = self.wall_offset_ms.saturating_add(millis);
    }

    /// The clocks stand still from now on.
    pub(crate) fn freeze(&mut self, now: Instant) {
        (self.reading, self.anchor) = (self.monotonic(now), now);
        self.stands = true;
    }

    /// The machine was switched off: the monotonic clock begins at `reading`, and the wall clock goes on, being a battery's.
    pub(crate) fn restart(&mut self, now: Instant, reading: Instant) {
        self.thaw(now);
        (self.anchor, self.reading) = (now, reading);
    }

    /// They run on from where they stood.
    pub(crate) fn thaw(&mut self, now: Instant) {
        if self.stands {
            self.wall_offset_ms -= i64::try_from(now.since(self.anchor).as_millis()).unwrap_or(i64::MAX);
            self.anchor = now;
            self.stands = false;
        }
    }
}

/// What the monotonic clock of host number `number` reads at the beginning of the world: never equal on two hosts, so
/// that nothing works only because clocks agree.
pub(crate) fn first_reading(number: usize) -> Instant {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    Instant::after_origin(
        Duration::from_secs(1000)
            + Duration::from_micros(777_777)
                .saturating_mul(u32::try_from(number.saturating_mul(1000)).unwrap_or(u32::MAX)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::after_origin(Duration::from_millis(millis))
    }

    #[test]
    fn a_fast_clock_reaches_its_readings_early() {
        let clock = Clock::new(at(0), at(500), 100_000, 0);
        assert_eq!(clock.monotonic(at(1000)), at(1600));
        assert_eq!(clock.when(at(1600)), at(1000));
    }

    #[test]
    fn a_frozen_clock_stands_and_runs_on() {
        let mut clock = Clock::new(at(0), at(0), 0, 0);
        let right = clock.wall(at(9000));
        clock.freeze(at(2000));
        assert_eq!(clock.monotonic(at(5000)), at(2000));
        clock.thaw(at(6000));
        assert_eq!(clock.monotonic(at(7000)), at(3000));
        assert_eq!(clock.when(at(3000)), at(7000));
        assert_eq!(right.0 - clock.wall(at(9000)).0, 4);
        clock.step(4000);
        assert_eq!(clock.wall(at(9000)), right);
    }

    proptest::proptest! {
        #[test]
        fn when_a_reading_comes_the_clock_has_got_there(drift in -100_000_i32..100_000, ahead in 0_u64..1_000_000_000_000) {
            let clock = Clock::new(at(5), at(77), drift, 0);
            let reading = at(77).plus(Duration::from_nanos(ahead));
            let when = clock.when(reading);
            proptest::prop_assert!(clock.monotonic(when) >= reading);
            proptest::prop_assert!(when == at(5) || clock.monotonic(when.minus(Duration::from_nanos(1))) < reading);
        }
    }
}
