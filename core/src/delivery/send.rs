//! What we sent: numbers, history, answers to requests, acknowledgements (WIRE 9.1, 9.5).

use super::history::History;
use super::{ANSWERS_MAX, ANSWERS_PER, REXMIT_PER_REQUEST, UNACKNOWLEDGED_MAX};
use crate::action::Frame;
use crate::ids::{NodeId, Seq};
use crate::mark::Aside;
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// The answer to one number of a retransmission request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Send these bytes again, on all media.
    Again(Frame),
    /// Say that the number is gone: `NS_nak_rexmit` with this info.
    Nak(Seq, &'static str),
}

/// The sending side of our own sequence.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Sender {
    history: History,
    peers: BTreeMap<NodeId, Listener>,
}

/// What is known of a peer that listens.
#[derive(Clone, Copy, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Listener {
    /// The highest number it has acknowledged; zero before the first.
    acked: Seq,
    /// Our newest number when it was first heard.
    met: Seq,
    /// How many answers it got, and since when they are counted.
    answers: Aside<(Instant, u32)>,
}

impl Sender {
    /// The number of the next message, which [`keep`](Self::keep) must get.
    pub(crate) fn next(&self) -> Seq {
        self.history.newest().next()
    }

    /// The number of the last message.
    pub(crate) fn newest(&self) -> Seq {
        self.history.newest()
    }

    /// How many messages are kept for retransmission.
    pub(crate) fn kept(&self) -> usize {
        self.history.len()
    }

    /// Whether these are the bytes of the last message sent.
    pub(crate) fn is_newest_frame(&self, bytes: &[u8]) -> bool {
        self.history.is_newest_frame(bytes)
    }

    /// Counts a message as sent and keeps it for retransmission; `meaning` is the digest of what it says.
    pub(crate) fn keep(&mut self, frame: Frame, meaning: u64) {
        self.history.keep(frame, meaning);
    }

    /// What was sent, to sign it anew.
    pub(crate) fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// What was sent.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// `peer` has everything up to `seq`; `false` if that cannot be, since we never sent it.
    pub(crate) fn acknowledge(&mut self, peer: NodeId, seq: Seq) -> bool {
        if seq > self.newest() {
            return false;
        }
        let listener = self.peers.entry(peer).or_default();
        listener.acked = seq.max(listener.acked);
        true
    }

    /// How many of our messages the slowest of these nodes has not acknowledged; one that never did in its life does not
    /// count, since it may be one that cannot.
    pub(crate) fn unacknowledged(&self, live: impl Iterator<Item = NodeId>) -> u64 {
        let newest = self.newest();
        let acked =
            live.filter_map(|node| self.peers.get(&node)).map(|peer| peer.acked).filter(|acked| *acked > Seq(0));
        acked.map(|acked| newest.since(acked)).max().unwrap_or(0)
    }

    /// `peer` died or restarted: what it had acknowledged means nothing now.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
    }

    /// `peer` is heard, for the first time in its life or again.
    pub(crate) fn meet(&mut self, peer: NodeId) {
        let met = self.newest();
        self.peers.entry(peer).or_default().met = met;
    }

    /// Whether one of these peers has left so much unacknowledged that clients have to wait (WIRE 9.5): what is sent now
    /// could push out of the history what it lacks.
    pub(crate) fn is_clogged(&self, mut live: impl Iterator<Item = NodeId>) -> bool {
        live.any(|peer| {
            let heard = self.peers.get(&peer).map(|listener| listener.acked.max(listener.met)).unwrap_or_default();
            self.newest().since(heard) > UNACKNOWLEDGED_MAX
        })
    }

    /// The answers to `peer`'s request for `first..=last`, ascending, at most [`REXMIT_PER_REQUEST`] of them.
    /// A number sent again less than `quiet` ago is passed over: it is on its way, perhaps for somebody else.
    ///
    /// `None` to a peer that has had more than [`ANSWERS_MAX`] in [`ANSWERS_PER`].
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        peer: NodeId,
        first: Seq,
        last: Seq,
        quiet: Duration,
    ) -> Option<Vec<Answer>> {
        let listener = self.peers.entry(peer).or_default();
        if now.since(listener.answers.0.0) >= ANSWERS_PER {
            listener.answers = Aside((now, 0));
        }
        if listener.answers.0.1 >= ANSWERS_MAX {
            return None;
        }
        let acked = listener.acked;
        let evicted = self.history.evicted();
        let from = first.max(acked.next());
        let to = last.min(self.newest());
        let mut answers = Vec::new();
        let mut number = from;
        while number <= to && answers.len() < REXMIT_PER_REQUEST {
            if number <= evicted {
                answers.push(Answer::Nak(number, "seqno too low"));
            } else if let Some(frame) = self.history.resend(now, number, quiet) {
                answers.push(Answer::Again(frame));
            }
            number = number.next();
        }
        if let Some(listener) = self.peers.get_mut(&peer) {
            let count = u32::try_from(answers.len()).unwrap_or(u32::MAX);
            listener.answers.0.1 = listener.answers.0.1.saturating_add(count);
        }
        Some(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(1);
    const QUIET: Duration = Duration::from_millis(240);

    fn frame(number: u64) -> Frame {
        number.to_be_bytes().into()
    }

    fn sender(sent: u64) -> Sender {
        let mut sender = Sender::default();
        for number in 1..=sent {
            assert_eq!(sender.next(), Seq(number));
            sender.keep(frame(number), 0);
        }
        sender
    }

    fn at(millis: u64) -> Instant {
        Instant::after_origin(Duration::from_millis(millis))
    }

    #[test]
    fn a_range_is_answered_in_order_and_byte_for_byte() {
        let answers = sender(600).answer(at(0), PEER, Seq(300), Seq(302), QUIET).unwrap();
        assert_eq!(answers, [300, 301, 302].map(|number| Answer::Again(frame(number))));
    }

    #[test]
    fn what_left_the_history_is_refused_and_what_was_never_sent_is_ignored() {
        let mut sender = sender(600);
        assert_eq!(
            sender.answer(at(0), PEER, Seq(100), Seq(100), QUIET).unwrap(),
            [Answer::Nak(Seq(100), "seqno too low")]
        );
        assert_eq!(sender.answer(at(0), PEER, Seq(101), Seq(101), QUIET).unwrap(), [Answer::Again(frame(101))]);
        assert_eq!(sender.answer(at(0), PEER, Seq(601), Seq(u64::MAX), QUIET).unwrap(), []);
    }

    #[test]
    fn a_repeated_request_within_240_ms_is_ignored() {
        let mut sender = sender(10);
        let mut ask = |millis| sender.answer(at(millis), PEER, Seq(5), Seq(5), QUIET).unwrap().len();
        assert_eq!([ask(0), ask(239), ask(240)], [1, 0, 1]);
    }

    #[test]
    fn what_the_asker_acknowledged_is_not_sent_again() {
        let mut sender = sender(10);
        assert!(sender.acknowledge(PEER, Seq(6)));
        assert!(!sender.acknowledge(PEER, Seq(11)), "never sent");
        assert_eq!(sender.answer(at(0), PEER, Seq(5), Seq(7), QUIET).unwrap(), [Answer::Again(frame(7))]);
    }

    #[test]
    fn one_request_brings_at_most_50_messages() {
        assert_eq!(sender(400).answer(at(0), PEER, Seq(1), Seq(400), QUIET).unwrap().len(), REXMIT_PER_REQUEST);
        assert_eq!(sender(900).answer(at(0), PEER, Seq(1), Seq(900), QUIET).unwrap().len(), REXMIT_PER_REQUEST);
    }

    #[test]
    fn a_peer_that_asks_for_everything_for_ever_gets_a_bounded_answer() {
        let mut sender = sender(600);
        let mut answers = 0;
        for millis in 0..1000 {
            let answer = sender.answer(at(1000 + millis), PEER, Seq(1), Seq(600), QUIET);
            answers += answer.map_or(0, |answers| answers.len());
        }
        assert_eq!(answers, 4 * ANSWERS_MAX as usize);
        assert!(sender.answer(at(2000), NodeId(2), Seq(500), Seq(500), QUIET).is_some(), "others are not concerned");
    }

    #[test]
    fn clients_wait_while_a_live_peer_lacks_acknowledgement() {
        let mut sender = sender(300);
        sender.meet(PEER);
        for number in 301..=550 {
            sender.keep(frame(number), 0);
        }
        assert!(!sender.is_clogged([PEER].into_iter()));
        sender.keep(frame(551), 0);
        assert!(sender.is_clogged([PEER].into_iter()));
        assert!(sender.acknowledge(PEER, Seq(400)));
        assert!(!sender.is_clogged([PEER].into_iter()));
    }
}
