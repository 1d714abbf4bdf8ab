//! What happened, a line each: the prose that snapshots keep and people read.

use crate::recording::{Recording, What};
use hb_core::time::Instant;
use std::fmt::{self, Write as _};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// When, relative to the scenario's zero; negative before it, in microseconds.
    pub at_us: i64,
    /// Who: a node's name, or `world`, `ground`, `check`.
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

/// Microseconds from `zero` to `at`.
pub(crate) fn micros(zero: Instant, at: Instant) -> i64 {
    let micros = |span: std::time::Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    micros(at.since(zero)) - micros(zero.since(at))
}

impl Recording {
    /// The timeline.
    pub fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        self.entries.iter().filter_map(|entry| {
            let name = |host: &usize| self.hosts[*host].clone();
            let (who, what) = match &entry.what {
                What::Happened(text, _) | What::Device(_, text) => ("world".to_owned(), text.clone()),
                What::Runs(host, resource, true) => ("ground".to_owned(), format!("{resource} runs on {}", name(host))),
                What::Runs(host, resource, false) => {
                    ("ground".to_owned(), format!("{resource} has stopped on {}", name(host)))
                }
                What::Said(host, _, text) => (name(host), text.clone()),
                What::Answered(host, text) => (name(host), format!("answer: {text}")),
                What::Violated(text) => ("check".to_owned(), text.clone()),
                What::Machine(..) | What::Scheduled(..) | What::Life(..) | What::Share(..) => return None,
            };
            Some(Line { at_us: micros(self.zero, entry.at), who, what })
        })
    }

    /// The timeline as text.
    pub fn timeline(&self) -> String {
        let mut text = String::new();
        for line in self.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Whether a host's node has said something that contains `phrase`, or a client was so answered there.
    pub fn has_said(&self, host: usize, phrase: &str) -> bool {
        self.entries.iter().any(|entry| match &entry.what {
            What::Said(speaker, _, text) => *speaker == host && text.contains(phrase),
            What::Answered(speaker, text) => *speaker == host && format!("answer: {text}").contains(phrase),
            _ => false,
        })
    }
}
