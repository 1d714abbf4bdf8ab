//! What we sent: numbers, history, answers to requests, acknowledgements (WIRE 9.1, 9.5).

use super::REXMIT_PER_REQUEST;
use super::history::History;
use crate::action::Frame;
use crate::ids::{NodeId, Seq};
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
    /// The highest number each peer has acknowledged.
    acked: BTreeMap<NodeId, Seq>,
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
    #[cfg(feature = "trace")]
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
        let acked = self.acked.entry(peer).or_default();
        *acked = seq.max(*acked);
        true
    }

    /// How many of our messages the slowest of these nodes has not acknowledged; one that never did in its life does not
    /// count, since it may be one that cannot.
    pub(crate) fn unacknowledged(&self, live: impl Iterator<Item = NodeId>) -> u64 {
        let newest = self.newest();
        live.filter_map(|node| self.acked.get(&node)).map(|acked| newest.since(*acked)).max().unwrap_or(0)
    }

    /// `peer` died or restarted: what it had acknowledged means nothing now.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        self.acked.remove(&peer);
    }

    /// The answers to `peer`'s request for `first..=last`, ascending, at most [`REXMIT_PER_REQUEST`] of them.
    /// A number sent again less than `quiet` ago is passed over: it is on its way, perhaps for somebody else.
    pub(crate) fn answer(&mut self, now: Instant, peer: NodeId, first: Seq, last: Seq, quiet: Duration) -> Vec<Answer> {
        let acked = self.acked.get(&peer).copied().unwrap_or_default();
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
        answers
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
        let answers = sender(600).answer(at(0), PEER, Seq(300), Seq(302), QUIET);
        assert_eq!(answers, [300, 301, 302].map(|number| Answer::Again(frame(number))));
    }

    #[test]
    fn what_left_the_history_is_refused_and_what_was_never_sent_is_ignored() {
        let mut sender = sender(600);
        assert_eq!(sender.answer(at(0), PEER, Seq(100), Seq(100), QUIET), [Answer::Nak(Seq(100), "seqno too low")]);
        assert_eq!(sender.answer(at(0), PEER, Seq(101), Seq(101), QUIET), [Answer::Again(frame(101))]);
        assert_eq!(sender.answer(at(0), PEER, Seq(601), Seq(u64::MAX), QUIET), []);
    }

    #[test]
    fn a_repeated_request_within_240_ms_is_ignored() {
        let mut sender = sender(10);
        let mut ask = |millis| sender.answer(at(millis), PEER, Seq(5), Seq(5), QUIET).len();
        assert_eq!([ask(0), ask(239), ask(240)], [1, 0, 1]);
    }

    #[test]
    fn what_the_asker_acknowledged_is_not_sent_again() {
        let mut sender = sender(10);
        assert!(sender.acknowledge(PEER, Seq(6)));
        assert!(!sender.acknowledge(PEER, Seq(11)), "never sent");
        assert_eq!(sender.answer(at(0), PEER, Seq(5), Seq(7), QUIET), [Answer::Again(frame(7))]);
    }

    #[test]
    fn one_request_brings_at_most_50_messages() {
        assert_eq!(sender(400).answer(at(0), PEER, Seq(1), Seq(400), QUIET).len(), REXMIT_PER_REQUEST);
        assert_eq!(sender(900).answer(at(0), PEER, Seq(1), Seq(900), QUIET).len(), REXMIT_PER_REQUEST);
    }
}
