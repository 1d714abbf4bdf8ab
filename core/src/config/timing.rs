//! The five intervals that decide about life and death of nodes, and the syntax of times. Read CLUSTER a.3 and a.4.

use core::time::Duration;

use crate::time::Millis;

/// Intervals that fit together (CLUSTER a.4): `deadtime` and `deadping` exceed two `keepalive`, `initdead` is not below
/// `deadtime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    keepalive: Duration,
    deadtime: Duration,
    warntime: Duration,
    initdead: Duration,
    deadping: Duration,
}

/// What a configuration says about time; what it leaves out follows from the rest (CLUSTER a.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Intervals {
    /// Between two heartbeats.
    pub keepalive: Duration,
    /// Silence after which a node is dead.
    pub deadtime: Duration,
    /// Silence worth a warning; half of `deadtime` if absent.
    pub warntime: Option<Duration>,
    /// The dead time until communication is up; if absent `deadtime` over 10 s, 12 s for a `deadtime` under 6 s, else twice
    /// `deadtime`.
    pub initdead: Option<Duration>,
    /// Silence after which a ping node is dead; `deadtime` if absent.
    pub deadping: Option<Duration>,
}

/// Intervals that contradict each other; the texts are the original's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TimingError {
    /// Two lost heartbeats would be a death.
    #[error("Dead time [{}] is too small compared to keeplive [{}]", Millis(*deadtime), Millis(*keepalive))]
    DeadtimeTooShort {
        /// The dead time.
        deadtime: Duration,
        /// The interval between heartbeats.
        keepalive: Duration,
    },
    /// Two lost echoes would be a death.
    #[error("Ping dead time [{}] is too small compared to keeplive [{}]", Millis(*deadping), Millis(*keepalive))]
    DeadpingTooShort {
        /// The dead time of ping nodes.
        deadping: Duration,
        /// The interval between heartbeats.
        keepalive: Duration,
    },
    /// A starting cluster would be judged more strictly than a running one.
    #[error("Initial dead time [{}] is smaller than deadtime [{}]", Millis(*initdead), Millis(*deadtime))]
    InitdeadBelowDeadtime {
        /// The initial dead time.
        initdead: Duration,
        /// The dead time.
        deadtime: Duration,
    },
}

impl Intervals {
    /// `keepalive` and `deadtime` with everything else derived from them.
    pub fn new(keepalive: Duration, deadtime: Duration) -> Intervals {
        Intervals { keepalive, deadtime, warntime: None, initdead: None, deadping: None }
    }

    /// Everything that contradicts, not only the first thing.
    pub fn problems(&self) -> impl Iterator<Item = TimingError> {
        let Intervals { keepalive, deadtime, initdead, deadping, .. } = *self;
        let floor = keepalive.saturating_mul(2);
        let dead = (deadtime <= floor).then_some(TimingError::DeadtimeTooShort { deadtime, keepalive });
        let ping =
            deadping.filter(|at| *at <= floor).map(|deadping| TimingError::DeadpingTooShort { deadping, keepalive });
        let initial = initdead
            .filter(|at| *at < deadtime)
            .map(|initdead| TimingError::InitdeadBelowDeadtime { initdead, deadtime });
        dead.into_iter().chain(ping).chain(initial)
    }
}

impl Timing {
    /// Intervals that fit together, or the first reason why they do not.
    pub fn new(intervals: Intervals) -> Result<Timing, TimingError> {
        if let Some(problem) = intervals.problems().next() {
            return Err(problem);
        }
        let Intervals { keepalive, deadtime, warntime, initdead, deadping } = intervals;
        Ok(Timing {
            keepalive,
            deadtime,
            warntime: warntime.unwrap_or_else(|| deadtime.checked_div(2).unwrap_or(deadtime)),
            initdead: initdead.unwrap_or_else(|| initdead_for(deadtime)),
            deadping: deadping.unwrap_or(deadtime),
        })
    }

    /// Between two heartbeats.
    pub fn keepalive(&self) -> Duration {
        self.keepalive
    }

    /// Silence after which peers declare this node dead; sent in every status as `dt`.
    pub fn deadtime(&self) -> Duration {
        self.deadtime
    }

    /// Silence of a peer worth a warning.
    pub fn warntime(&self) -> Duration {
        self.warntime
    }

    /// The dead time of everybody until communication is up.
    pub fn initdead(&self) -> Duration {
        self.initdead
    }

    /// Silence after which a ping node is dead.
    pub fn deadping(&self) -> Duration {
        self.deadping
    }
}

fn initdead_for(deadtime: Duration) -> Duration {
    if deadtime > Duration::from_secs(10) {
        deadtime
    } else if deadtime < Duration::from_secs(6) {
        Duration::from_secs(12)
    } else {
        deadtime.saturating_mul(2)
    }
}

/// The longest time a configuration can name: 24 days. `dt` travels as milliseconds that 3.0.6 keeps in 32 signed bits.
pub const TIME_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// Why a text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TimeSyntax {
    /// It does not begin with digits that form one decimal number.
    #[error("no decimal number")]
    Number,
    /// What follows the number is neither `ms` nor `us`.
    #[error("units are ms and us; a number alone is seconds")]
    Unit,
    /// It is longer than [`TIME_MAX`].
    #[error("longer than 24 days")]
    TooLong,
}

/// Reads a time (CLUSTER a.3): a decimal number of seconds, or with `ms` or `us`; rounded to the nearest millisecond.
///
/// Blanks may stand before, between and after; units are prefixes in any case (`msec`, `USEC`).
pub fn parse_time(text: &str) -> Result<Duration, TimeSyntax> {
    let text = text.trim_matches([' ', '\t']);
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start_matches([' ', '\t']).as_bytes();
    let is = |name: &[u8]| unit.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let microseconds: u64 = match unit {
        [] => 1_000_000,
        _ if is(b"ms") => 1_000,
        _ if is(b"us") => 1,
        _ if number.is_empty() => return Err(TimeSyntax::Number),
        _ => return Err(TimeSyntax::Unit),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(TimeSyntax::Number);
    }
    // Nanoseconds hold every digit that can move the rounding of a value in range.
    let scale = microseconds.saturating_mul(1_000);
    let mut nanos = decimal(whole).and_then(|whole| whole.checked_mul(scale)).ok_or(TimeSyntax::TooLong)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place = place.checked_div(10).unwrap_or(0);
        nanos = nanos.saturating_add(place.saturating_mul(u64::from(digit.saturating_sub(b'0'))));
    }
    let millis = nanos.saturating_add(500_000).checked_div(1_000_000).unwrap_or(u64::MAX);
    let time = Duration::from_millis(millis);
    if time > TIME_MAX { Err(TimeSyntax::TooLong) } else { Ok(time) }
}

fn decimal(digits: &str) -> Option<u64> {
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn times_read_as_in_the_original() {
        for (text, time) in [
            ("2", Ok(ms(2000))),
            ("1.7", Ok(ms(1700))),
            (".5", Ok(ms(500))),
            ("5.", Ok(ms(5000))),
            ("2000ms", Ok(ms(2000))),
            ("10000ms", Ok(ms(10_000))),
            ("500000us", Ok(ms(500))),
            ("2001ms", Ok(ms(2001))),
            (" 250 \t ms ", Ok(ms(250))),
            ("250MSEC", Ok(ms(250))),
            ("1499us", Ok(ms(1))),
            ("1500us", Ok(ms(2))),
            ("0.0004", Ok(ms(0))),
            ("0.0005", Ok(ms(1))),
            ("0.00049999999999999999999", Ok(ms(0))),
            ("0", Ok(ms(0))),
            ("2147483.647", Ok(TIME_MAX)),
            ("2147483.648", Err(TimeSyntax::TooLong)),
            ("99999999999999999999999", Err(TimeSyntax::TooLong)),
            ("10s", Err(TimeSyntax::Unit)),
            ("10m", Err(TimeSyntax::Unit)),
            ("10 min", Err(TimeSyntax::Unit)),
            ("1 2", Err(TimeSyntax::Unit)),
            ("-5", Err(TimeSyntax::Number)),
            ("abc", Err(TimeSyntax::Number)),
            ("ms", Err(TimeSyntax::Number)),
            ("", Err(TimeSyntax::Number)),
            (".", Err(TimeSyntax::Number)),
            ("1.2.3", Err(TimeSyntax::Number)),
        ] {
            assert_eq!(parse_time(text), time, "{text:?}");
        }
    }

    #[test]
    fn what_is_left_out_follows_from_the_dead_time() {
        for (deadtime, initdead) in
            [(30_000, 30_000), (10_001, 10_001), (10_000, 20_000), (6000, 12_000), (5999, 12_000)]
        {
            let timing = Timing::new(Intervals::new(ms(1000), ms(deadtime))).unwrap();
            assert_eq!(timing.initdead(), ms(initdead), "deadtime {deadtime}");
            assert_eq!(timing.warntime() * 2, timing.deadtime());
            assert_eq!(timing.deadping(), timing.deadtime());
        }
    }

    #[test]
    fn contradictions_are_all_found_and_worded_as_in_the_original() {
        assert!(Timing::new(Intervals::new(ms(1000), ms(2001))).is_ok());
        let wrong =
            Intervals { initdead: Some(ms(1999)), deadping: Some(ms(100)), ..Intervals::new(ms(1000), ms(2000)) };
        let texts: alloc::vec::Vec<_> = wrong.problems().map(|problem| problem.to_string()).collect();
        assert_eq!(
            texts,
            [
                "Dead time [2000] is too small compared to keeplive [1000]",
                "Ping dead time [100] is too small compared to keeplive [1000]",
                "Initial dead time [1999] is smaller than deadtime [2000]",
            ]
        );
        assert_eq!(Timing::new(wrong).unwrap_err().to_string(), texts[0]);
    }
}
