//! The laws of delivery, on sender and receiver alone, whatever the network between them does.
//!
//! - Of one life of the sender, one life of the receiver takes in each number at most once.
//! - Once nothing is lost any more, every number from the first one heard on was either taken in or told as lost, and never
//!   both; told as lost is only what the limits of WIRE 14 put out of reach.

use super::{Answer, Arrival, GAP_MAX, HISTORY_MAX, Receiver, Sender};
use crate::action::Frame;
use crate::ids::{Generation, NodeId, Seq};
use crate::time::Instant;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;
use proptest::prelude::*;

const PEER: NodeId = NodeId(1);
const REPEAT: Duration = Duration::from_millis(250);
const QUIET: Duration = Duration::from_millis(240);

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many messages are sent; every third is a `status`.
    Send(u16),
    /// One of the packets under way arrives; it may stay under way as a duplicate.
    Arrive {
        which: prop::sample::Index,
        twice: bool,
    },
    /// So many of the packets under way are lost, beginning with this one.
    Lose {
        from: prop::sample::Index,
        count: u16,
    },
    /// Time passes, and what is due is asked for.
    Wait(u16),
    RestartSender,
    RestartReceiver,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u16..40).prop_map(Step::Send),
        1 => (200_u16..600).prop_map(Step::Send),
        8 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(which, twice)| Step::Arrive { which, twice }),
        3 => (any::<prop::sample::Index>(), 1_u16..300).prop_map(|(from, count)| Step::Lose { from, count }),
        3 => (0_u16..2000).prop_map(Step::Wait),
        1 => Just(Step::RestartSender),
        1 => Just(Step::RestartReceiver),
    ]
}

/// What became of a number in the present life of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    Lost(&'static str),
}

struct Channel {
    now: Instant,
    generation: u64,
    sender: Sender,
    receiver: Receiver,
    wire: VecDeque<(u64, Seq)>,
    fates: BTreeMap<(u64, Seq), Fate>,
    first: BTreeMap<u64, Seq>,
}

impl Channel {
    fn new() -> Channel {
        let mut receiver = Receiver::new(3);
        receiver.restart(Generation(1));
        Channel {
            now: Instant::from_nanos(1),
            generation: 1,
            sender: Sender::default(),
            receiver,
            wire: VecDeque::new(),
            fates: BTreeMap::new(),
            first: BTreeMap::new(),
        }
    }

    fn send(&mut self) {
        let seq = self.sender.next();
        let frame: Frame = seq.0.to_be_bytes().as_slice().into();
        self.sender.keep(frame, 0);
        self.wire.push_back((self.generation, seq));
    }

    fn settle_fate(&mut self, generation: u64, seq: Seq, fate: Fate) {
        let before = self.fates.insert((generation, seq), fate);
        assert_eq!(before, None, "number {seq} of life {generation} is {fate:?} as well");
    }

    fn lose(&mut self, generation: u64, runs: Vec<(Seq, Seq)>, why: &'static str) {
        for (first, last) in runs {
            for number in first.0..=last.0 {
                self.settle_fate(generation, Seq(number), Fate::Lost(why));
            }
        }
    }

    fn arrive(&mut self, generation: u64, seq: Seq) {
        let known = self.receiver.generation().0;
        if seq.0.is_multiple_of(3) && generation > known {
            let lost = self.receiver.restart(Generation(generation));
            self.lose(known, lost, "restart");
        }
        let newest = self.receiver.newest();
        let arrival = self.receiver.classify(Generation(generation), seq);
        if !arrival.is_accepted() {
            return;
        }
        self.first.entry(generation).or_insert(seq);
        let later = self.now.plus(Duration::from_millis(50));
        let lost = self.receiver.accept(arrival, seq, || later);
        if let (Arrival::StartOver { missing }, Some(newest)) = (arrival, newest) {
            assert!(missing > GAP_MAX);
            self.lose(generation, [(newest.next(), Seq(seq.0 - 1))].into(), "gap");
        }
        for (_, last) in &lost {
            assert!(matches!(arrival, Arrival::StartOver { .. }) || last.0 + HISTORY_MAX as u64 <= seq.0);
        }
        self.lose(generation, lost, "left");
        self.settle_fate(generation, seq, Fate::Taken);
    }

    /// What is due is asked for, and the sender answers; the answers are under way then.
    fn ask(&mut self) {
        let due = self.receiver.due_requests(self.now, REPEAT);
        if self.receiver.generation().0 != self.generation {
            return;
        }
        for seq in due {
            for answer in self.sender.answer(self.now, PEER, seq, seq, QUIET).unwrap_or_default() {
                match answer {
                    Answer::Again(frame) => {
                        let bytes: [u8; 8] = frame[..].try_into().unwrap();
                        self.wire.push_back((self.generation, Seq(u64::from_be_bytes(bytes))));
                    }
                    Answer::Nak(seq, _) => {
                        if self.receiver.give_up(seq) {
                            self.lose(self.generation, [(seq, seq)].into(), "nak");
                        }
                    }
                }
            }
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Send(count) => (0..count).for_each(|_| self.send()),
            Step::Arrive { which, twice } if !self.wire.is_empty() => {
                let at = which.index(self.wire.len());
                let (generation, seq) = if twice { self.wire[at] } else { self.wire.remove(at).unwrap() };
                self.arrive(generation, seq);
            }
            Step::Lose { from, count } if !self.wire.is_empty() => {
                let from = from.index(self.wire.len());
                let to = self.wire.len().min(from + usize::from(count));
                self.wire.drain(from..to);
            }
            Step::Arrive { .. } | Step::Lose { .. } => {}
            Step::Wait(millis) => {
                self.now = self.now.plus(Duration::from_millis(u64::from(millis)));
                self.ask();
            }
            Step::RestartSender => {
                self.generation += 1;
                self.sender = Sender::default();
            }
            Step::RestartReceiver => {
                self.receiver = Receiver::new(7);
                self.fates.clear();
                self.first.clear();
            }
        }
    }

    /// Nothing is lost any more.
    fn calm(&mut self) {
        for _ in 0..3 {
            self.send();
        }
        for _ in 0..200 {
            while let Some((generation, seq)) = self.wire.pop_front() {
                self.arrive(generation, seq);
            }
            self.now = self.now.plus(Duration::from_secs(5));
            self.ask();
        }
    }
}

proptest! {
    #[test]
    fn each_number_is_taken_in_once_or_told_as_lost(steps in prop::collection::vec(step(), 0..80)) {
        let mut channel = Channel::new();
        for step in steps {
            channel.run(step);
        }
        channel.calm();
        prop_assert_eq!(channel.receiver.missing(), 0);
        let generation = channel.receiver.generation().0;
        prop_assert_eq!(generation, channel.generation, "three messages hold a status");
        let newest = channel.receiver.newest().unwrap();
        prop_assert_eq!(newest, channel.sender.newest());
        for number in channel.first[&generation].0..=newest.0 {
            prop_assert!(channel.fates.contains_key(&(generation, Seq(number))), "{} vanished", number);
        }
    }
}
