//! The time axis: where a time is, and round ticks around the scenario's zero.

use crate::timeline::micros;
use hb_core::time::Instant;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Distances of ticks that people like, in microseconds; beyond them, ten times as far again and again.
const STEPS: &[i64] = &[
    10,
    20,
    50,
    100,
    200,
    500,
    1000,
    2000,
    5000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    5 * DAY,
    10 * DAY,
    20 * DAY,
    50 * DAY,
    100 * DAY,
];
/// The most ticks, and the shortest axis in microseconds.
const TICKS: i64 = 14;
const SHORTEST: i64 = 100;

/// Tenths of a pixel: enough for every screen, and the same text on every machine.
pub(super) type Tenths = i32;

/// From time to place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    zero: Instant,
    /// Microseconds after zero.
    from: i64,
    to: i64,
    left: Tenths,
    width: Tenths,
}

impl Axis {
    /// An axis for the time from `begin` to `end`. What lies before zero gets at most as much room as what follows: it
    /// is how the cluster came to be where the scenario begins.
    pub(super) fn new(zero: Instant, begin: Instant, end: Instant, left: Tenths, width: Tenths) -> Axis {
        let (from, to) = (micros(zero, begin), micros(zero, end));
        let from = if to > 0 { from.max(-to) } else { from };
        Axis { zero, from, to: to.max(from + SHORTEST), left, width }
    }

    /// Where a time is; at an end of the axis if it lies beyond.
    pub(super) fn x(&self, at: Instant) -> Tenths {
        self.place(micros(self.zero, at))
    }

    fn place(&self, at: i64) -> Tenths {
        let at = i128::from(at.clamp(self.from, self.to) - self.from);
        let offset = at * i128::from(self.width) / i128::from(self.to - self.from);
        self.left + i32::try_from(offset).unwrap_or(self.width)
    }

    /// Whether it is on the axis.
    pub(super) fn has(&self, at: Instant) -> bool {
        (self.from..=self.to).contains(&micros(self.zero, at))
    }

    /// Place and text of each tick.
    pub(super) fn ticks(&self) -> Vec<(Tenths, String)> {
        let length = self.to - self.from;
        let mut fitting = STEPS.iter().copied().filter(|step| length / step <= TICKS);
        let step = fitting.next().unwrap_or_else(|| (length / TICKS / DAY + 1) * DAY);
        let first = self.from.div_euclid(step) + i64::from(self.from.rem_euclid(step) != 0);
        let last = self.to.div_euclid(step);
        (first..=last).map(|number| (self.place(number * step), tick(number * step, step))).collect()
    }
}

/// The text at a tick, in the unit that fits the distance of ticks.
fn tick(at: i64, step: i64) -> String {
    let (unit, name) = match step {
        step if step < 1000 => (1, "us"),
        step if step < 100_000 => (1000, "ms"),
        step if step < MINUTE => (SECOND, "s"),
        step if step < HOUR => (MINUTE, "min"),
        step if step < DAY => (HOUR, "h"),
        _ => (DAY, "d"),
    };
    let (whole, part) = (at.abs() / unit, at.abs() % unit * 10 / unit);
    let sign = if at < 0 { "\u{2212}" } else { "" };
    let decimal = if step < SECOND && unit == SECOND { format!(".{part}") } else { String::new() };
    format!("{sign}{whole}{decimal} {name}")
}

/// Microseconds after zero as people write them: `3.026 s`.
pub(super) fn precise(zero: Instant, at: Instant) -> String {
    let at = micros(zero, at);
    let sign = if at < 0 { "\u{2212}" } else { "" };
    let (whole, part) = (at.unsigned_abs() / 1_000_000, at.unsigned_abs() % 1_000_000);
    let part = format!("{part:06}");
    match part.trim_end_matches('0') {
        "" => format!("{sign}{whole} s"),
        part => format!("{sign}{whole}.{part} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ticks(before: Duration, after: Duration) -> Vec<String> {
        let zero = Instant::after_origin(Duration::from_secs(1_000_000));
        let axis = Axis::new(zero, zero.minus(before), zero.plus(after), 0, 10_000);
        axis.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_and_few_from_microseconds_to_weeks() {
        let second = Duration::from_secs(1);
        assert_eq!(
            ticks(Duration::ZERO, Duration::from_micros(100)).join(" "),
            "0 us 10 us 20 us 30 us 40 us 50 us 60 us 70 us 80 us 90 us 100 us"
        );
        assert_eq!(ticks(second / 2, second * 3).join(" "), "\u{2212}0.5 s 0.0 s 0.5 s 1.0 s 1.5 s 2.0 s 2.5 s 3.0 s");
        assert_eq!(
            ticks(second, second * 600).join(" "),
            "0 min 1 min 2 min 3 min 4 min 5 min 6 min 7 min 8 min 9 min 10 min"
        );
        assert_eq!(
            ticks(second * 6, second * 10).join(" "),
            "\u{2212}6 s \u{2212}4 s \u{2212}2 s 0 s 2 s 4 s 6 s 8 s 10 s"
        );
        for exponent in 0..44 {
            let ticks = ticks(Duration::ZERO, Duration::from_micros(1 << exponent));
            assert!((3..=15).contains(&ticks.len()), "2^{exponent} us: {ticks:?}");
        }
    }

    #[test]
    fn what_lies_before_zero_gets_no_more_room_than_the_rest() {
        let zero = Instant::after_origin(Duration::from_mins(10));
        let second = Duration::from_secs(1);
        let axis = Axis::new(zero, zero.minus(second * 60), zero.plus(second * 3), 0, 1000);
        assert_eq!((axis.x(zero), axis.x(zero.minus(second * 30))), (500, 0));
        assert!(!axis.has(zero.minus(second * 30)) && axis.has(zero.minus(second)));
    }
}
