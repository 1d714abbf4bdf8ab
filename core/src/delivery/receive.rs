//! What arrived from one peer: gaps, duplicates, restarts (WIRE 9.2 to 9.4).

use super::{ACK_EVERY, GAP_MAX, HISTORY_MAX, PATIENCE, REXMIT_PER_REQUEST};
use crate::ids::{Generation, Seq};
use crate::mark::AckTrigger;
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
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

/// A number that is missing.
#[derive(Clone, Copy, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Missing {
    /// When it is to be asked for next.
    ask_at: Instant,
    /// How often it was asked for.
    asked: u32,
}

/// A run of numbers, first and last.
pub(crate) type Run = (Seq, Seq);

/// The receiving side of one peer's sequence.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Receiver {
    generation: Generation,
    newest: Option<Seq>,
    missing: BTreeMap<Seq, Missing>,
    /// Which numbers are acknowledged.
    ack_trigger: AckTrigger,
    /// The highest number we acknowledged.
    acked: Seq,
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

    /// A `status` of a later life: everything known of the sequence is void. Returns what was missing.
    pub(crate) fn restart(&mut self, generation: Generation) -> Vec<Run> {
        let lost = self.forget_missing();
        *self = Receiver { generation, ..Receiver::new(self.ack_trigger.0) };
        lost
    }

    /// The node died: nothing is asked for any more (WIRE 10.3); generation and newest numbers stay. Returns what was
    /// missing.
    pub(crate) fn forget_missing(&mut self) -> Vec<Run> {
        let lost = core::mem::take(&mut self.missing);
        runs(lost.into_keys())
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
    /// Returns what can no longer come: it has left the history of its sender, or the gap is too wide.
    pub(crate) fn accept(&mut self, arrival: Arrival, seq: Seq, mut ask_at: impl FnMut() -> Instant) -> Vec<Run> {
        match arrival {
            Arrival::Recovered => {
                self.missing.remove(&seq);
                return Vec::new();
            }
            Arrival::Gap { .. } => {
                let from = self.newest.map_or(seq, Seq::next);
                for number in from.0..seq.0 {
                    self.missing.insert(Seq(number), Missing { ask_at: ask_at(), asked: 0 });
                }
            }
            Arrival::StartOver { .. } => {
                let lost = self.forget_missing();
                self.newest = Some(seq);
                return lost;
            }
            _ => {}
        }
        self.newest = Some(seq);
        let kept = self.missing.split_off(&Seq(seq.0.saturating_sub(HISTORY_MAX as u64).saturating_add(1)));
        runs(core::mem::replace(&mut self.missing, kept).into_keys())
    }

    /// The number to acknowledge after an accepted message, if any (WIRE 9.4): its own if it is the next one, on the
    /// trigger, and nothing is missing; if it closed the lowest of several holes, the last trigger number before the next.
    pub(crate) fn acknowledge(&mut self, arrival: Arrival, seq: Seq) -> Option<Seq> {
        let first_missing = self.missing.first_key_value().map(|(first, _)| *first);
        let covered = match (arrival, first_missing) {
            (Arrival::InOrder, None) if self.ack_trigger.hits(seq) => seq,
            (Arrival::Recovered, Some(hole)) if seq < hole => {
                let back = (1..=ACK_EVERY).map(|back| Seq(hole.0.saturating_sub(back)));
                back.into_iter().find(|number| self.ack_trigger.hits(*number))?
            }
            _ => return None,
        };
        (covered > self.acked).then(|| {
            self.acked = covered;
            covered
        })
    }

    /// The sender says that it no longer has this number; whether we were waiting for it.
    pub(crate) fn give_up(&mut self, seq: Seq) -> bool {
        self.missing.remove(&seq).is_some()
    }

    /// When to ask next.
    pub(crate) fn next_request(&self) -> Option<Instant> {
        self.missing.values().map(|missing| missing.ask_at).min()
    }

    /// The numbers to ask for at `now`, the lowest [`REXMIT_PER_REQUEST`] of those that are due. Each is asked for again
    /// after `repeat`, and less often when it was asked for in vain [`PATIENCE`] times; the others are due at once after that.
    pub(crate) fn due_requests(&mut self, now: Instant, repeat: Duration) -> Vec<Seq> {
        let due = self.missing.iter_mut().filter(|(_, missing)| missing.ask_at <= now);
        let mut asked = Vec::new();
        for (index, (seq, missing)) in due.enumerate() {
            if index >= REXMIT_PER_REQUEST {
                missing.ask_at = now.plus(repeat);
                continue;
            }
            let times = 1_u32 << missing.asked.saturating_sub(PATIENCE).min(4);
            missing.ask_at = now.plus(repeat.saturating_mul(times));
            missing.asked = missing.asked.saturating_add(1);
            asked.push(*seq);
        }
        asked
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

/// Neighbours among ascending numbers, joined.
fn runs(numbers: impl Iterator<Item = Seq>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.next() == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
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
    fn what_left_the_history_of_its_sender_is_given_up() {
        let mut receiver = Receiver::new(0);
        let mut lost = Vec::new();
        for seq in [1, 202, 403, 604].map(Seq) {
            let arrival = receiver.classify(Generation(0), seq);
            lost.extend(receiver.accept(arrival, seq, || at(0)));
        }
        assert_eq!(lost, [(Seq(2), Seq(104))]);
        assert_eq!(receiver.missing(), HISTORY_MAX - 3, "105 to 604 are kept, and three of them have come");
    }

    #[test]
    fn what_nobody_answers_is_asked_for_less_and_less() {
        let mut receiver = receiver();
        let repeat = Duration::from_millis(250);
        let mut asked = Vec::new();
        for millis in (0..30_000).step_by(250) {
            if !receiver.due_requests(at(millis), repeat).is_empty() {
                asked.push(millis / 250);
            }
        }
        assert_eq!(asked, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 24, 40, 56, 72, 88, 104]);
    }

    #[test]
    fn at_most_50_numbers_are_asked_for_at_once_and_the_others_next() {
        let mut receiver = Receiver::new(0);
        receiver.accept(Arrival::InOrder, Seq(1), || at(0));
        receiver.accept(Arrival::Gap { missing: 120 }, Seq(122), || at(0));
        let repeat = Duration::from_millis(250);
        let mut ask = |millis| receiver.due_requests(at(millis), repeat).len();
        assert_eq!([ask(0), ask(249)], [50, 0]);
    }

    #[test]
    fn a_closed_hole_is_acknowledged_up_to_the_next() {
        let mut receiver = Receiver::new(0);
        let mut take = |arrival, seq| {
            receiver.accept(arrival, Seq(seq), || at(0));
            receiver.acknowledge(arrival, Seq(seq)).map(|seq| seq.0)
        };
        assert_eq!(take(Arrival::InOrder, 10), Some(10));
        assert_eq!(take(Arrival::Gap { missing: 1 }, 12), None);
        for seq in 13..=35 {
            take(Arrival::InOrder, seq);
        }
        assert_eq!(take(Arrival::Gap { missing: 2 }, 38), None);
        assert_eq!(take(Arrival::Recovered, 37), None, "11 is missing");
        assert_eq!(take(Arrival::Recovered, 11), Some(30));
        assert_eq!(take(Arrival::Recovered, 36), None, "the last hole: the next trigger number will do");
    }

    #[test]
    fn only_a_complete_sequence_is_acknowledged_and_only_on_the_trigger() {
        let mut receiver = receiver();
        assert_eq!(receiver.acknowledge(Arrival::InOrder, Seq(20)), None, "8 is missing");
        receiver.give_up(Seq(8));
        assert_eq!(receiver.acknowledge(Arrival::InOrder, Seq(20)), Some(Seq(20)));
        assert_eq!(receiver.acknowledge(Arrival::InOrder, Seq(21)), None);
        assert_eq!(receiver.acknowledge(Arrival::Recovered, Seq(19)), None);
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
                proptest::prop_assert!(asked.len() <= REXMIT_PER_REQUEST && receiver.missing() < HISTORY_MAX && asked.iter().all(|seq| Some(*seq) < receiver.newest()));
            }
        }
    }
}
