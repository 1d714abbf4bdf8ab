//! What local clients were refused: each counted, said in the log from time to time. The network has the same in the core.

use hb_core::time::Instant;
use std::time::Duration;

/// At most one line in so long, whoever knocks how often.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The refusals at one door.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    count: u64,
    /// How many the log does not know of, and the last of them.
    unsaid: u64,
    last: String,
    said: Option<Instant>,
}

impl Refusals {
    /// Counts one. `why` names who, and the rule.
    pub(crate) fn note(&mut self, why: String) {
        self.count = self.count.saturating_add(1);
        self.unsaid = self.unsaid.saturating_add(1);
        self.last = why;
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The line for the log, if one is due.
    pub(crate) fn complaint(&mut self, now: Instant) -> Option<String> {
        if self.unsaid == 0 || self.said.is_some_and(|said| now.since(said) < SAY_EVERY) {
            return None;
        }
        self.said = Some(now);
        let last = std::mem::take(&mut self.last);
        Some(match std::mem::take(&mut self.unsaid) {
            1 => last,
            more => format!("{last} ({} more since the last such line)", more - 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_few_are_said() {
        let at = |secs: u64| Instant::ORIGIN.plus(Duration::from_secs(secs));
        let mut refusals = Refusals::default();
        assert_eq!(refusals.complaint(at(0)), None);
        refusals.note("one".into());
        assert_eq!(refusals.complaint(at(1)).as_deref(), Some("one"));
        refusals.note("two".into());
        refusals.note("three".into());
        assert_eq!(refusals.complaint(at(10)), None);
        assert_eq!(refusals.complaint(at(11)).as_deref(), Some("three (1 more since the last such line)"));
        assert_eq!((refusals.complaint(at(30)), refusals.count()), (None, 3));
    }
}
