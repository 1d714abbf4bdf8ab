//! What is known of a node, and the place of its messages in its sequence (WIRE 9.2 to 9.4).

use hb_core::ids::{Generation, NodeUuid, Seq};
use hb_core::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// More missing numbers than this are not asked for (WIRE 9.2, 5).
const GAP_MAX: u64 = 250;
/// An acknowledgement is due every so many messages (WIRE 9.4).
const ACK_EVERY: u64 = 10;

/// The state of a node as it is believed (CLUSTER a.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Word {
    Init,
    Up,
    Active,
    Dead,
    /// A word that is none of these; it is stored, and disables requests (WIRE 10.1).
    Other,
}

/// A node of the cluster; the local one, too, since it hears itself.
#[derive(Clone, Debug, Hash)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) uuid: NodeUuid,
    pub(super) word: Word,
    /// Zero until the first status.
    pub(super) generation: Generation,
    /// The last status; forgotten with its generation.
    pub(super) heard_at: Option<Instant>,
    pub(super) heard_since_death: bool,
    pub(super) status_seq: Seq,
    /// After how long a silence it wants to be declared dead.
    pub(super) deadtime: Option<Duration>,
    pub(super) track: Track,
    /// Numbers with this last decimal digit are acknowledged.
    pub(super) ack_trigger: u64,
    /// What it has of our messages.
    pub(super) acknowledged: Seq,
    /// When something came by each medium; `None` while the link is dead.
    pub(super) links: Vec<Option<Instant>>,
}

impl Peer {
    pub(super) fn new(name: &str, uuid: NodeUuid, media: usize, ack_trigger: u64) -> Peer {
        Peer {
            name: name.to_owned(),
            uuid,
            word: Word::Init,
            generation: Generation(0),
            heard_at: None,
            heard_since_death: false,
            status_seq: Seq(0),
            deadtime: None,
            track: Track::default(),
            ack_trigger: ack_trigger % ACK_EVERY,
            acknowledged: Seq(0),
            links: vec![None; media],
        }
    }

    pub(super) fn is_heard(&self) -> bool {
        self.generation > Generation(0)
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.word, Word::Up | Word::Active)
    }

    /// The process behind the name is another one now: everything about the old one is void.
    pub(super) fn restart(&mut self, generation: Generation) {
        self.generation = generation;
        self.heard_at = None;
        self.acknowledged = Seq(0);
        self.track = Track { is_lenient: true, ..Track::default() };
    }

    /// The number to acknowledge now that `seq` was taken, if any.
    pub(super) fn acknowledges(&mut self, place: Place, seq: Seq) -> Option<Seq> {
        let due = |seq: u64| seq % ACK_EVERY == self.ack_trigger;
        let found = match (place, self.track.missing.keys().next()) {
            (Place::Next, None) if due(seq.0) => Some(seq.0),
            // The lowest hole is filled, and there is another: what lies between may be acknowledged.
            (Place::Filled, Some(hole)) if seq < *hole => (seq.0..hole.0).rev().find(|seq| due(*seq)),
            _ => None,
        };
        let found = found.map(Seq).filter(|seq| *seq > self.track.acked)?;
        self.track.acked = found;
        Some(found)
    }
}

/// A sender's sequence as seen by a receiver.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Track {
    last: Option<Seq>,
    /// Missing numbers and when each is asked for next; `None` if never again.
    pub(super) missing: BTreeMap<Seq, Option<Instant>>,
    /// After a restart or a healed partition an old number begins the sequence anew instead of being dropped.
    is_lenient: bool,
    acked: Seq,
}

/// The place of a message in its sender's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The next one, or the first.
    Next,
    /// Numbers before it are missing; it counts at once.
    Ahead,
    /// One of the missing.
    Filled,
    /// It was there before, as usual with several media.
    Again,
    /// Too old to mean anything.
    Stale,
}

impl Track {
    /// After a healed partition nothing that was lost meanwhile is asked for.
    pub(super) fn begin_anew(&mut self) {
        *self = Track { is_lenient: true, acked: self.acked, ..Track::default() };
    }

    /// Finds the place of a message and keeps it; `ask_at` says when a missing one is asked for first.
    pub(super) fn place(&mut self, seq: Seq, mut ask_at: impl FnMut() -> Instant) -> Place {
        let Some(last) = self.last else {
            self.last = Some(seq);
            return Place::Next;
        };
        if seq == last.next() {
            self.last = Some(seq);
            self.is_lenient = false;
            return Place::Next;
        }
        if seq == last {
            return Place::Again;
        }
        if seq > last {
            self.last = Some(seq);
            if seq.since(last) - 1 > GAP_MAX {
                self.missing.clear();
                return Place::Next;
            }
            self.missing.extend((last.0 + 1..seq.0).map(|seq| (Seq(seq), Some(ask_at()))));
            return Place::Ahead;
        }
        if self.missing.remove(&seq).is_some() {
            return Place::Filled;
        }
        if self.is_lenient {
            self.last = Some(seq);
            return Place::Next;
        }
        Place::Stale
    }

    /// The earliest time at which something is asked for.
    pub(super) fn next_request(&self) -> Option<Instant> {
        self.missing.values().flatten().min().copied()
    }
}
