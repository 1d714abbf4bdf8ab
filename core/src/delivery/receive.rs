//! What arrived from one peer: gaps, duplicates, restarts (WIRE 9.2 to 9.4).

use super::{GAP_MAX, MISSING_MAX};
use crate::ids::{Generation, Seq};
use crate::mark::AckTrigger;
use crate::time::Instant;
use alloc::collections::BTreeMap;
use core::cmp::Ordering::{Equal, Greater, Less};
use core::time::Duration;

/// What a message means for the sequence of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Of an earlier life of the sender: drop. State unchanged.
    Replay,
    /// Of a later life than we know, and not a `status`: drop until a `status` says so. State unchanged.
    ///
    /// *Ours*: the original takes it in and mixes the numbers of two lives (WIRE 9.2 (2)).
    AheadOfStatus,
    /// The newest once more; the link it came by lives.
    Duplicate,
    /// Old, and not missing: drop.
    Stale,
    /// The next, or the first of all.
    InOrder,
    /// One that was missing.
    Recovered,
    /// Later than the next: the numbers between are missing.
    Gap {
        /// How many.
        missing: u64,
    },
    /// So much later that the past is forgotten and nothing is asked for.
    StartOver {
        /// How many numbers are given up.
        missing: u64,
    },
}

impl Arrival {
    /// Whether the message is to be processed.
    pub(crate) fn is_accepted(self) -> bool {
        matches!(self, Arrival::InOrder | Arrival::Recovered | Arrival::Gap { .. } | Arrival::StartOver { .. })
    }

    /// Whether the link it came by is shown to live (CLUSTER a.2: duplicates included).
    pub(crate) fn shows_link(self) -> bool {
        self.is_accepted() || self == Arrival::Duplicate
    }
}

/// The receiving side of one peer's sequence.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Receiver {
    generation: Generation,
    newest: Option<Seq>,
    /// Each missing number and when it is to be asked for next.
    missing: BTreeMap<Seq, Instant>,
    /// Which numbers are acknowledged.
    ack_trigger: AckTrigger,
    /// The sequence number of the newest `status`, which tells a late copy from a return (WIRE 9.2 (2)).
    newest_status: Seq,
}

impl Receiver {
    pub(crate) fn new(ack_trigger: u64) -> Receiver {
        Receiver { ack_trigger: AckTrigger(ack_trigger), ..Receiver::default() }
    }

    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) fn newest(&self) -> Option<Seq> {
        self.newest
    }

    pub(crate) fn newest_status(&self) -> Seq {
        self.newest_status
    }

    pub(crate) fn note_status(&mut self, seq: Seq) {
        self.newest_status = self.newest_status.max(seq);
    }

    /// A `status` of a later life: everything known of the sequence is void.
    pub(crate) fn restart(&mut self, generation: Generation) {
        *self = Receiver { generation, ..Receiver::new(self.ack_trigger.0) };
    }

    /// The node died: nothing is asked for any more (WIRE 10.3); generation and newest numbers stay.
    pub(crate) fn forget_missing(&mut self) {
        self.missing.clear();
    }

    /// What a message numbered `seq` of life `generation` is; changes nothing. A `status` of a later life must have
    /// been given to [`restart`](Self::restart) before.
    pub(crate) fn classify(&self, generation: Generation, seq: Seq) -> Arrival {
        match generation.cmp(&self.generation) {
            Less => return Arrival::Replay,
            Greater => return Arrival::AheadOfStatus,
            Equal => {}
        }
        let Some(newest) = self.newest else { return Arrival::InOrder };
        match seq.cmp(&newest) {
            Equal => Arrival::Duplicate,
            Less if self.missing.contains_key(&seq) => Arrival::Recovered,
            Less => Arrival::Stale,
            Greater => match seq.since(newest).saturating_sub(1) {
                0 => Arrival::InOrder,
                missing if missing > GAP_MAX => Arrival::StartOver { missing },
                missing => Arrival::Gap { missing },
            },
        }
    }

    /// Takes an accepted message into the sequence. `ask_at` gives the time of the first request for a missing number.
    pub(crate) fn accept(&mut self, arrival: Arrival, seq: Seq, mut ask_at: impl FnMut() -> Instant) {
        match arrival {
            Arrival::Recovered => {
                self.missing.remove(&seq);
                return;
            }
            Arrival::Gap { .. } => {
                let from = self.newest.map_or(seq, Seq::next);
                for number in from.0..seq.0 {
                    if self.missing.len() >= MISSING_MAX {
                        self.missing.pop_first();
                    }
                    self.missing.insert(Seq(number), ask_at());
                }
            }
            Arrival::StartOver { .. } => self.missing.clear(),
            _ => {}
        }
        self.newest = Some(seq);
    }

    /// Whether an accepted message is to be acknowledged (WIRE 9.4): in sequence, on the trigger, nothing missing.
    pub(crate) fn acknowledges(&self, arrival: Arrival, seq: Seq) -> bool {
        arrival == Arrival::InOrder && self.ack_trigger.hits(seq) && self.missing.is_empty()
    }

    /// The sender says that it no longer has this number; whether we were waiting for it.
    pub(crate) fn give_up(&mut self, seq: Seq) -> bool {
        self.missing.remove(&seq).is_some()
    }

    /// When to ask next.
    pub(crate) fn next_request(&self) -> Option<Instant> {
        self.missing.values().min().copied()
    }

    /// The numbers to ask for at `now`, each asked again after `repeat`.
    pub(crate) fn due_requests(&mut self, now: Instant, repeat: Duration) -> alloc::vec::Vec<Seq> {
        let due = self.missing.iter_mut().filter(|(_, at)| **at <= now);
        due.map(|(seq, at)| {
            *at = now.plus(repeat);
            *seq
        })
        .collect()
    }

    /// The lowest number that may still be accepted: the first missing one, or the next.
    pub(crate) fn lowest_open(&self) -> Seq {
        let next = self.newest.map_or(Seq(0), Seq::next);
        self.missing.first_key_value().map_or(next, |(first, _)| *first)
    }

    /// How many numbers are missing.
    pub(crate) fn missing(&self) -> usize {
        self.missing.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::after_origin(Duration::from_millis(millis))
    }

    /// Generation 5, newest 10, missing 8.
    fn receiver() -> Receiver {
        let mut receiver = Receiver::new(0);
        receiver.restart(Generation(5));
        receiver.accept(Arrival::InOrder, Seq(7), || at(0));
        receiver.accept(Arrival::Gap { missing: 1 }, Seq(9), || at(100));
        receiver.accept(Arrival::InOrder, Seq(10), || at(0));
        receiver
    }

    #[test]
    fn every_cell_of_generation_and_number() {
        let receiver = receiver();
        let table = [
            (4, 11, Arrival::Replay),
            (6, 11, Arrival::AheadOfStatus),
            (5, 7, Arrival::Stale),
            (5, 8, Arrival::Recovered),
            (5, 10, Arrival::Duplicate),
            (5, 11, Arrival::InOrder),
            (5, 13, Arrival::Gap { missing: 2 }),
            (5, 261, Arrival::Gap { missing: 250 }),
            (5, 262, Arrival::StartOver { missing: 251 }),
        ];
        for (generation, seq, expected) in table {
            assert_eq!(receiver.classify(Generation(generation), Seq(seq)), expected, "({generation}, {seq})");
        }
    }

    #[test]
    fn a_missing_number_is_asked_for_until_it_comes_and_then_never() {
        let mut receiver = receiver();
        let repeat = Duration::from_millis(250);
        assert_eq!(receiver.next_request(), Some(at(100)));
        assert_eq!(receiver.due_requests(at(99), repeat), []);
        assert_eq!(receiver.due_requests(at(100), repeat), [Seq(8)]);
        assert_eq!(receiver.next_request(), Some(at(350)));
        receiver.accept(Arrival::Recovered, Seq(8), || at(0));
        assert_eq!((receiver.next_request(), receiver.missing()), (None, 0));
        assert_eq!(receiver.classify(Generation(5), Seq(8)), Arrival::Stale);
    }

    #[test]
    fn gap_of_251_forgets_everything() {
        let mut receiver = receiver();
        let arrival = receiver.classify(Generation(5), Seq(262));
        receiver.accept(arrival, Seq(262), || at(0));
        assert_eq!((receiver.missing(), receiver.newest()), (0, Some(Seq(262))));
    }

    #[test]
    fn at_most_500_numbers_are_missing() {
        let mut receiver = Receiver::new(0);
        receiver.accept(Arrival::InOrder, Seq(1), || at(0));
        for step in 1..=4 {
            let seq = Seq(1 + step * 201);
            let arrival = receiver.classify(Generation(0), seq);
            receiver.accept(arrival, seq, || at(0));
        }
        assert_eq!(receiver.missing(), MISSING_MAX);
    }

    #[test]
    fn only_a_complete_sequence_is_acknowledged_and_only_on_the_trigger() {
        let mut receiver = receiver();
        assert!(!receiver.acknowledges(Arrival::InOrder, Seq(20)), "8 is missing");
        receiver.give_up(Seq(8));
        assert!(receiver.acknowledges(Arrival::InOrder, Seq(20)));
        assert!(!receiver.acknowledges(Arrival::InOrder, Seq(21)));
        assert!(!receiver.acknowledges(Arrival::Recovered, Seq(20)));
    }

    proptest::proptest! {
        /// Whatever order and however often: a number is accepted at most once, and what is not missing any more is never
        /// asked for.
        #[test]
        fn every_number_is_accepted_at_most_once(numbers in proptest::collection::vec(1_u64..700, 0..400)) {
            let mut receiver = Receiver::new(0);
            let mut accepted = alloc::collections::BTreeSet::new();
            for number in numbers {
                let arrival = receiver.classify(Generation(0), Seq(number));
                if arrival.is_accepted() {
                    proptest::prop_assert!(accepted.insert(number), "{} twice", number);
                    receiver.accept(arrival, Seq(number), || at(0));
                }
                let asked = receiver.due_requests(at(0), Duration::ZERO);
                proptest::prop_assert!(asked.iter().all(|seq| !accepted.contains(&seq.0)));
                proptest::prop_assert!(asked.len() <= MISSING_MAX && asked.iter().all(|seq| Some(*seq) < receiver.newest()));
            }
        }
    }
}
