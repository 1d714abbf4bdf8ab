//! Tells a hasher what a number in a node's state means: a point in time, a message number, a life.
//!
//! State types derive [`Hash`] and nothing is listed by hand, so a field that somebody adds enters every digest by
//! default. Two digests are taken of a node: [`Node::digest`](crate::Node::digest) of the state as it stands, and
//! [`Node::situation`](crate::Node::situation) of what it means relative to now. For the second, the few types whose
//! values count from an arbitrary origin announce themselves.
//!
//! The channel is [`Hasher::write_i128`]: nothing else in a node's state hashes an `i128`. To any other hasher a mark is
//! sixteen bytes like all others.
//!
//! | mark | value | in a situation |
//! |---|---|---|
//! | `Instant` | nanoseconds since the clock's origin | distance to now |
//! | `Number` | a message's sequence number | distance to the newest of the same sender |
//! | `Residue` | a residue of message numbers | distance from the newest of the same sender, modulo [`ACK_EVERY`] |
//! | `Life` | a generation | whether there is one, and whether it is the present one of the same sender |
//! | `Operation` | an operation's name | distance to the newest |
//! | `Voice` | the node whose numbers follow, until `VoiceEnd` | enters, and is the "same sender" |
//! | `Aside` | until `AsideEnd`: what decides nothing | does not enter |

use crate::delivery::ACK_EVERY;
use crate::ids::{Generation, NodeId, OpId, Seq};
use crate::time::Instant;
use core::hash::{Hash, Hasher};
use core::ops::{Deref, DerefMut};

/// What the value beside it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Instant,
    Number,
    Residue,
    Life,
    Operation,
    Voice,
    VoiceEnd,
    Aside,
    AsideEnd,
}

const ALL: [Mark; 9] = [
    Mark::Instant,
    Mark::Number,
    Mark::Residue,
    Mark::Life,
    Mark::Operation,
    Mark::Voice,
    Mark::VoiceEnd,
    Mark::Aside,
    Mark::AsideEnd,
];

/// Hashes `value` as a `mark`.
pub(crate) fn put(state: &mut impl Hasher, mark: Mark, value: u64) {
    state.write_i128((mark as i128) << 64 | i128::from(value));
}

/// The mark and its value, out of what [`put`] wrote.
pub(crate) fn take(word: i128) -> Option<(Mark, u64)> {
    let mark = usize::try_from(word >> 64).ok().and_then(|at| ALL.get(at).copied())?;
    u64::try_from(word & i128::from(u64::MAX)).ok().map(|value| (mark, value))
}

impl Hash for Instant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        put(state, Mark::Instant, self.as_nanos());
    }
}

impl Hash for Seq {
    fn hash<H: Hasher>(&self, state: &mut H) {
        put(state, Mark::Number, self.0);
    }
}

impl Hash for Generation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        put(state, Mark::Life, self.0);
    }
}

impl Hash for OpId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        put(state, Mark::Operation, self.0);
    }
}

/// Message numbers that are this modulo [`ACK_EVERY`] are acknowledged (WIRE 9.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct AckTrigger(pub(crate) u64);

impl AckTrigger {
    /// Whether it is the turn of this number.
    pub(crate) fn hits(self, seq: Seq) -> bool {
        seq.0.checked_rem(ACK_EVERY) == Some(self.0)
    }
}

impl Hash for AckTrigger {
    fn hash<H: Hasher>(&self, state: &mut H) {
        put(state, Mark::Residue, self.0);
    }
}

/// A value whose message numbers are those of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Of<T> {
    /// Whose.
    pub(crate) node: NodeId,
    /// What.
    pub(crate) value: T,
}

impl<T: Hash> Hash for Of<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        put(state, Mark::Voice, u64::from(self.node.0));
        self.value.hash(state);
        put(state, Mark::VoiceEnd, 0);
    }
}

impl<T> Deref for Of<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Of<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// State that is told, counted or drawn from, and by which nothing is decided: it enters digests and no situation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Aside<T>(pub(crate) T);

impl<T: Hash> Hash for Aside<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        put(state, Mark::Aside, 0);
        self.0.hash(state);
        put(state, Mark::AsideEnd, 0);
    }
}

impl<T> Deref for Aside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Aside<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        struct Words(alloc::vec::Vec<i128>);
        impl Hasher for Words {
            fn write(&mut self, _: &[u8]) {}
            fn write_i128(&mut self, word: i128) {
                self.0.push(word);
            }
            fn finish(&self) -> u64 {
                0
            }
        }
        let mut words = Words(alloc::vec::Vec::new());
        for mark in ALL {
            put(&mut words, mark, u64::MAX);
        }
        assert_eq!(
            words.0.iter().map(|word| take(*word)).collect::<alloc::vec::Vec<_>>(),
            ALL.map(|mark| Some((mark, u64::MAX)))
        );
        assert_eq!(take(-1), None);
    }
}
