//! When something was, on the wall clock.

use hb_core::Input;
use hb_core::time::{Instant, UnixTime};
use hb_core::trace::State;
use std::fmt;
use std::time::Duration;

const SECOND: i128 = 1_000_000_000;
/// Readings this far apart mean that the clock was set.
const STEP: i128 = 2 * SECOND;

/// Reckons wall time from the readings in a recording, which are whole seconds: each says that it is not earlier, so the
/// latest of what they say is the best guess.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calendar {
    /// Wall time minus monotonic time, in nanoseconds.
    offset: Option<i128>,
}

impl Calendar {
    /// Takes the last reading of a node.
    pub fn start(&mut self, state: &State) {
        let (read, time) = state.wall_clock();
        self.read(read, time);
    }

    /// Takes a reading, if `input` is one.
    pub fn hear(&mut self, now: Instant, input: &Input<'_>) {
        if let Input::WallClock(time) = input {
            self.read(now, *time);
        }
    }

    fn read(&mut self, now: Instant, time: UnixTime) {
        let offset = i128::from(time.0) * SECOND - i128::from(now.as_nanos());
        self.offset = Some(match self.offset {
            Some(known) if (known - offset).abs() < STEP => known.max(offset),
            _ => offset,
        });
    }

    /// `at` on the wall clock, in UTC.
    pub fn date(&self, at: Instant) -> Date {
        let nanos = i128::from(at.as_nanos()) + self.offset.unwrap_or(0);
        Date { millis: u64::try_from(nanos / 1_000_000).unwrap_or(0) }
    }
}

/// Counts the time of a recording from its first moment on.
///
/// A restart of the machine sets the clock of its nodes back; the wall clock tells how long it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ruler {
    calendar: Calendar,
    /// The last moment, on the node's clock.
    last: Option<Instant>,
    /// What to add to the node's clock, in nanoseconds.
    shift: i128,
}

impl Ruler {
    /// A segment begins.
    pub fn start(&mut self, state: &State, continues: bool) {
        let (now, before) = (state.now(), *self);
        if !continues {
            self.calendar = Calendar::default();
        }
        self.calendar.start(state);
        let by_clock = |last: Instant| i128::from(now.as_nanos()) - i128::from(last.as_nanos());
        self.shift = match before.last {
            None => -i128::from(now.as_nanos()),
            Some(_) if continues => self.shift,
            Some(last) => {
                let passed = i128::from(self.date(now).millis) - i128::from(before.date(last).millis);
                let (passed, counted) = ((passed * 1_000_000).max(0), by_clock(last));
                // Whole seconds are all that the wall clock is good for, while the node's goes on.
                let is_one_clock = counted >= 0 && (passed - counted).abs() < STEP;
                self.shift + if is_one_clock { 0 } else { passed - counted }
            }
        };
        self.last = Some(now);
    }

    /// An input arrives.
    pub fn hear(&mut self, now: Instant, input: &Input<'_>) {
        self.calendar.hear(now, input);
        self.last = Some(now);
    }

    /// The last moment, on the node's clock.
    pub fn last(&self) -> Instant {
        self.last.unwrap_or_default()
    }

    /// How long after the first moment this is, on the node's clock.
    pub fn elapsed(&self, at: Instant) -> Duration {
        Duration::from_nanos(u64::try_from(i128::from(at.as_nanos()) + self.shift).unwrap_or(0))
    }

    /// `at` on the wall clock, in UTC.
    pub fn date(&self, at: Instant) -> Date {
        self.calendar.date(at)
    }
}

/// A time in UTC; prints as `2026-10-12 11:12:13.456 UTC`, with `{:#}` without the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Milliseconds since 1970.
    millis: u64,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.millis / 1000, self.millis % 1000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let clock = format!("{:02}:{:02}:{:02}.{millis:03}", second / 3600, second / 60 % 60, second % 60);
        if f.alternate() {
            return f.write_str(&clock);
        }
        let (year, month, day) = civil(days);
        write!(f, "{year}-{month:02}-{day:02} {clock} UTC")
    }
}

/// Year, month and day of a number of days since 1970-01-01 (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is the last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, year_of_era) } else { (month - 9, year_of_era + 1) };
    (year + era * 400, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (millis, text) in [
            (0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00.000 UTC"),
            (1_700_000_000_123, "2023-11-14 22:13:20.123 UTC"),
            (4_107_542_399_999, "2100-02-28 23:59:59.999 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000 UTC"),
        ] {
            assert_eq!(Date { millis }.to_string(), text);
        }
    }

    #[test]
    fn whole_seconds_sharpen_to_a_guess_and_a_set_clock_is_believed() {
        let mut calendar = Calendar::default();
        // The true offset is 0.7 s; readings are cut to seconds.
        for (mono, wall) in [(0.0, 0), (1.0, 1), (2.35, 3), (3.4, 4)] {
            let now = Instant::after_origin(std::time::Duration::from_secs_f64(mono));
            calendar.hear(now, &Input::WallClock(UnixTime(wall)));
        }
        let at = Instant::after_origin(std::time::Duration::from_secs(10));
        assert_eq!(format!("{:#}", calendar.date(at)), "00:00:10.650");
        calendar.hear(at, &Input::WallClock(UnixTime(3600)));
        assert_eq!(format!("{:#}", calendar.date(at)), "01:00:00.000");
    }
}
