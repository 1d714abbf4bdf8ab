//! The messages kept for retransmission.
//!
//! Two digests are made of them, and neither reads them again: a chain over everything that was done to the history,
//! which equal histories of equal nodes share, and of each message what it says, whatever its number, time and
//! signature.

use super::HISTORY_MAX;
use crate::action::Frame;
use crate::digest::digest_of;
use crate::ids::Seq;
use crate::mark::Aside;
use crate::time::Instant;
use alloc::collections::VecDeque;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;

/// A message kept for retransmission.
#[derive(Clone)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Kept {
    #[cfg_attr(feature = "trace", serde(serialize_with = "crate::trace::serialize_bytes"))]
    frame: Frame,
    /// The digest of what it says.
    meaning: u64,
    resent: Option<Instant>,
}

impl fmt::Debug for Kept {
    /// On one line: hundreds are kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.frame.len())?;
        self.resent.map_or(Ok(()), |at| write!(f, ", sent again at {} ns", at.as_nanos()))
    }
}

/// The messages `newest - len + 1 ..= newest`, at most [`HISTORY_MAX`] of them.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct History {
    newest: Seq,
    kept: VecDeque<Kept>,
    /// Stands for `kept` in digests: the digest of everything that was ever kept and sent again.
    chain: u64,
}

impl Hash for History {
    /// A situation has of the messages themselves only those that [`hash_from`](Self::hash_from) adds.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.newest.hash(state);
        Aside(self.chain).hash(state);
    }
}

impl History {
    /// The number of the newest message.
    pub(crate) fn newest(&self) -> Seq {
        self.newest
    }

    /// How many messages are kept.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// All numbers up to this one have left the history.
    pub(crate) fn evicted(&self) -> Seq {
        Seq(self.newest.0.saturating_sub(self.kept.len() as u64))
    }

    /// Whether these are the bytes of the newest message.
    pub(crate) fn is_newest_frame(&self, bytes: &[u8]) -> bool {
        self.kept.back().is_some_and(|kept| *kept.frame == *bytes)
    }

    /// The messages, oldest first, to sign them anew; the chain stays as it is.
    pub(crate) fn frames_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Frame> {
        self.kept.iter_mut().map(|kept| &mut kept.frame)
    }

    /// The newest message, if it is kept.
    #[cfg(feature = "trace")]
    pub(crate) fn newest_frame(&self) -> Option<&Frame> {
        self.kept.back().map(|kept| &kept.frame)
    }

    /// Keeps the next message; `meaning` is the digest of what it says.
    pub(crate) fn keep(&mut self, frame: Frame, meaning: u64) {
        if self.kept.len() >= HISTORY_MAX {
            self.kept.pop_front();
        }
        self.chain = digest_of(&(self.chain, &*frame));
        self.kept.push_back(Kept { frame, meaning, resent: None });
        self.newest = self.newest.next();
    }

    /// Takes message `number` to be sent again at `now`, unless it is not here or was sent again less than `quiet` ago.
    pub(crate) fn resend(&mut self, now: Instant, number: Seq, quiet: Duration) -> Option<Frame> {
        let at = usize::try_from(number.since(self.evicted()).checked_sub(1)?).ok()?;
        let kept = self.kept.get_mut(at)?;
        if kept.resent.is_some_and(|at| now.since(at) < quiet) {
            return None;
        }
        kept.resent = Some(now);
        self.chain = digest_of(&(self.chain, number, now));
        Some(kept.frame.clone())
    }

    /// Hashes what the messages from `first` on say and when they were sent again, and how many of them are gone.
    pub(crate) fn hash_from(&self, first: Seq, state: &mut impl Hasher) {
        let gone = self.evicted().next().since(first);
        gone.hash(state);
        for kept in self.from(first) {
            (kept.meaning, kept.resent).hash(state);
        }
    }

    /// Hashes the messages `first..below` as they stand, with the numbers that they name.
    pub(crate) fn hash_frames(&self, first: Seq, below: Seq, state: &mut impl Hasher) {
        let count = usize::try_from(below.since(first.max(self.evicted().next()))).unwrap_or(usize::MAX);
        for kept in self.from(first).take(count) {
            kept.frame.hash(state);
        }
    }

    fn from(&self, first: Seq) -> impl Iterator<Item = &Kept> {
        let skip = usize::try_from(first.since(self.evicted()).saturating_sub(1)).unwrap_or(usize::MAX);
        self.kept.iter().skip(skip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(messages: &[u8]) -> History {
        let mut history = History::default();
        for message in messages {
            history.keep([*message].as_slice().into(), u64::from(message % 2));
        }
        history
    }

    fn from(history: &History, first: u64) -> u64 {
        struct From<'a>(&'a History, Seq);
        impl Hash for From<'_> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash_from(self.1, state);
            }
        }
        digest_of(&From(history, Seq(first)))
    }

    #[test]
    fn the_chain_tells_histories_apart() {
        assert_eq!(digest_of(&history(&[1, 2])), digest_of(&history(&[1, 2])));
        assert_ne!(digest_of(&history(&[1, 2])), digest_of(&history(&[2, 1])));
        let mut resent = history(&[1, 2]);
        resent.resend(Instant::from_nanos(5), Seq(1), Duration::ZERO).unwrap();
        assert_ne!(digest_of(&resent), digest_of(&history(&[1, 2])));
    }

    #[test]
    fn only_what_may_be_asked_for_counts_and_only_what_it_says() {
        assert_eq!(from(&history(&[1, 2]), 2), from(&history(&[2, 4]), 2), "different bytes, the same meaning");
        assert_ne!(from(&history(&[1, 2]), 1), from(&history(&[2, 4]), 1));
        assert_eq!(from(&history(&[1, 2]), 3), from(&history(&[2, 2, 1]), 4), "nothing");
        let long = history(&[0; HISTORY_MAX + 2]);
        assert_eq!(from(&long, HISTORY_MAX as u64 + 2), from(&history(&[2]), 1));
        assert_ne!(from(&long, 2), from(&long, 3), "one of them is gone");
    }
}
