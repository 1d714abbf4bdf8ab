//! What happened, a line each: the prose that snapshots keep and people read.

use hb_core::time::Instant;
use std::fmt::{self, Write as _};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// When, relative to the scenario's zero; negative before it, in microseconds.
    pub at_us: i64,
    /// Who: a node's name, or `world`, `ground`.
    pub who: String,
    /// What.
    pub what: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.at_us < 0 { "-" } else { "" };
        let micros = self.at_us.unsigned_abs();
        let at = format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        write!(f, "{at:>11}  {:<7} {}", self.who, self.what)
    }
}

/// All lines, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timeline {
    lines: Vec<(Instant, String, String)>,
    zero: Instant,
}

impl Timeline {
    pub(crate) fn add(&mut self, at: Instant, who: &str, what: impl fmt::Display) {
        self.lines.push((at, who.to_owned(), what.to_string()));
    }

    /// From here on times count from `zero`.
    pub(crate) fn set_zero(&mut self, zero: Instant) {
        self.zero = zero;
    }

    /// The lines.
    pub fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        self.lines.iter().map(|(at, who, what)| {
            let micros = |span: std::time::Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
            let at_us = micros(at.since(self.zero)) - micros(self.zero.since(*at));
            Line { at_us, who: who.clone(), what: what.clone() }
        })
    }

    /// Whether `who` has said something that contains `phrase`.
    pub fn has(&self, who: &str, phrase: &str) -> bool {
        self.lines.iter().any(|(_, speaker, what)| speaker == who && what.contains(phrase))
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for line in self.lines() {
            writeln!(text, "{line}")?;
        }
        f.write_str(&text)
    }
}
