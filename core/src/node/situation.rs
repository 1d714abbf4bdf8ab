//! What a node's state means, relative to now: two nodes in the same situation behave alike from here on.
//!
//! An explorer meets the same situation by many ways, at different times and after different numbers of messages. The
//! situation digest hashes the whole node by its derived [`Hash`] through a hasher that understands marks (`mark.rs`):
//!
//! - times become distances to now. What lies further back than any rule looks ([`Node::memory`]) is "long ago",
//! - message numbers become distances to the newest number of the same sender. Numbers that nothing can name any more
//!   keep only their order among each other, since that is all they are compared for,
//! - of the history enters what the messages say that may still be asked for,
//! - generations enter as "unknown", "known" or "the present one of its node", operations as distances to the newest,
//! - [`Aside`](crate::mark::Aside) stays out: counters, evidence, times shown in status, what only decorates frames, and
//!   luck. Luck is no part of a situation: with the same situation and other luck a node chooses other delays for its
//!   requests and may have other numbers acknowledged, and any of these could happen in either.
//!
//! What stays out, stays out by an explicit wrapper: a new field enters by default, and at worst makes situations differ
//! that need not.
//!
//! A message to one node may name the numbers of another where there are three. There the rules above are not enough, since
//! whose number it is and who compares it are different nodes; so what is compared across nodes enters once more, as it
//! stands or as a distance: see `Node::hash_thirds`.
//!
//! What two nodes know of each other, the numbers of frames between them and lives relative to each other, lies outside
//! a node; whoever compares situations of a cluster adds it from [`Node::heard_of`] and [`Node::newest_number`].

use super::Node;
use crate::delivery::ACK_EVERY;
use crate::digest::StableHasher;
use crate::ids::{Generation, NodeId, OpId, Seq};
use crate::mark::{self, Mark};
use crate::membership::START_GRACE_LASTS;
use crate::resource::native::Epoch;
use crate::time::Instant;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::time::Duration;

/// How far a node has heard another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// In which life.
    pub generation: Generation,
    /// Up to which number.
    pub newest: Option<Seq>,
    /// The lowest number that would still be accepted: the first missing one, or the next.
    pub lowest_open: Seq,
}

impl Node {
    /// The digest of this node's situation at `now`, which is not before its last step.
    ///
    /// `asked_from` is the lowest number of ours that another node may still ask for: what was sent before that does not
    /// enter. Too low a number only makes situations differ that need not.
    pub fn situation(&self, now: Instant, asked_from: Seq) -> u64 {
        let mut hasher = Relative {
            inner: StableHasher::default(),
            node: self,
            now,
            memory: self.memory(),
            last_op: self.executor.last_op(),
            asked_from,
            voices: Vec::new(),
            asides: 0,
            old: Vec::new(),
        };
        self.hash(&mut hasher);
        self.sender.history().hash_from(asked_from, &mut hasher);
        let alone = hasher.finish();
        if self.nodes.others().nth(1).is_none() {
            return alone;
        }
        let mut hasher = StableHasher::default();
        alone.hash(&mut hasher);
        self.hash_thirds(now, &mut hasher);
        hasher.finish()
    }

    /// What nodes tell of third ones, and what that is compared with. Rather too much than too little.
    fn hash_thirds(&self, now: Instant, hasher: &mut StableHasher) {
        let memory = self.memory();
        let counts = |at: Instant| now.since(at) <= memory;
        // Which heartbeat of ours an echo means, unless that is so old that no rule looks at it.
        let newest = self.sender.newest();
        for (seq, _) in self.sent.iter().filter(|(_, at)| counts(*at)) {
            newest.since(seq).hash(hasher);
        }
        for (_, peer) in self.nodes.others() {
            let newest = peer.receiver.newest().unwrap_or_default();
            // What we tell of it, and what others are compared with who tell of it.
            newest.0.wrapping_sub(peer.receiver.newest_status().0).hash(hasher);
            for (seq, _) in peer.contact.shown().iter().filter(|(_, sent)| counts(*sent)) {
                newest.0.wrapping_sub(seq.0).hash(hasher);
            }
            let told = peer.contact.told.iter().flat_map(|told| &told.heard_of_others);
            for of in told {
                let (life, seq) = of.value;
                self.hash_told(of.node, life, seq, counts, hasher);
            }
        }
        self.hash_claims(hasher);
    }

    /// Up to which number another node has heard `third`.
    fn hash_told(
        &self,
        third: NodeId,
        life: Generation,
        seq: Seq,
        counts: impl Fn(Instant) -> bool,
        hasher: &mut StableHasher,
    ) {
        let Some(peer) = self.nodes.get(third) else { return };
        let age = peer.receiver.generation().0.wrapping_sub(life.0);
        age.hash(hasher);
        if age != 0 {
            // Nothing that we know of another life could be a measure.
            seq.0.hash(hasher);
            return;
        }
        // Lower numbers than those that could still show an echo that counts show none.
        let shown = peer.contact.shown().iter().filter(|(_, sent)| counts(*sent)).map(|(number, _)| *number);
        let lowest = shown.fold(peer.receiver.lowest_open(), Ord::min);
        let newest = peer.receiver.newest().unwrap_or_default();
        (seq >= lowest).then(|| newest.0.wrapping_sub(seq.0)).hash(hasher);
    }

    /// The lives that attempts name, and which of the others has held a group longer.
    fn hash_claims(&self, hasher: &mut StableHasher) {
        let life = |node: NodeId| match self.nodes.get(node) {
            Some(peer) if node != self.config.local() => peer.receiver.generation(),
            _ => self.boot.generation,
        };
        let age = |epoch: &Epoch| life(epoch.node).0.wrapping_sub(epoch.attempt.generation.0);
        for entry in self.ledger.entries() {
            for epoch in entry.memory.consent.iter().chain(&entry.memory.beats) {
                age(epoch).hash(hasher);
            }
            for of in &entry.claims {
                let Some(claim) = &of.value else { continue };
                let attempt = claim.attempt.map(|attempt| Epoch { node: of.node, attempt });
                for epoch in attempt.iter().chain(&claim.consent).chain(&claim.beats) {
                    age(epoch).hash(hasher);
                }
                for other in entry.all_claims() {
                    claim.held.cmp(&other.held).hash(hasher);
                }
            }
        }
    }

    /// Hashes our messages `from..below` as they stand, with the numbers that they name of others: who knows no other way
    /// to tell what an answer to a request would say needs this beside the situation.
    pub fn hash_sent(&self, from: Seq, below: Seq, hasher: &mut impl Hasher) {
        self.sender.history().hash_frames(from, below, hasher);
    }

    /// How far back any rule of this node looks: of older events only that they happened counts.
    pub fn memory(&self) -> Duration {
        let timing = self.config.timing();
        let announced = self.nodes.others().filter_map(|(_, peer)| peer.dead_time).max().unwrap_or_default();
        [announced, timing.deadtime(), timing.initdead(), self.config.max_rexmit_delay(), START_GRACE_LASTS]
            .into_iter()
            .max()
            .unwrap_or_default()
    }

    /// How far `node` was heard; `None` if no such node is configured.
    pub fn heard_of(&self, node: NodeId) -> Option<Heard> {
        let receiver = &self.nodes.get(node)?.receiver;
        Some(Heard {
            generation: receiver.generation(),
            newest: receiver.newest(),
            lowest_open: receiver.lowest_open(),
        })
    }

    /// The number of the last message this node has sent.
    pub fn newest_number(&self) -> Seq {
        self.sender.newest()
    }

    /// The life this node is in.
    pub fn generation(&self) -> Generation {
        self.boot.generation
    }
}

/// A hasher to which marks mean something.
struct Relative<'n> {
    inner: StableHasher,
    node: &'n Node,
    now: Instant,
    memory: Duration,
    last_op: OpId,
    asked_from: Seq,
    /// Whose numbers come, if not the node's own; the innermost last.
    voices: Vec<Option<(u64, Heard)>>,
    /// How many asides are open.
    asides: u32,
    /// Numbers so low that only their order counts, in the order of their coming.
    old: Vec<(Option<u64>, u64)>,
}

/// How a number or an instant enters.
mod class {
    pub(super) const ZERO: u8 = 0;
    pub(super) const OLD: u8 = 1;
    pub(super) const PAST: u8 = 2;
    pub(super) const FUTURE: u8 = 3;
    pub(super) const NEVER: u8 = 4;
}

impl Relative<'_> {
    fn put(&mut self, class: u8, value: u64) {
        self.inner.write_u8(class);
        self.inner.write_u64(value);
    }

    fn instant(&mut self, at: Instant) {
        let past = self.now.since(at);
        if at == Instant::FAR_FUTURE {
            self.put(class::NEVER, 0);
        } else if at > self.now {
            self.put(class::FUTURE, at.as_nanos().wrapping_sub(self.now.as_nanos()));
        } else if past > self.memory {
            self.put(class::OLD, 0);
        } else {
            self.put(class::PAST, self.now.as_nanos().wrapping_sub(at.as_nanos()));
        }
    }

    fn voice(&self) -> Option<(u64, Heard)> {
        self.voices.last().copied().flatten()
    }

    /// The newest number of whose numbers come, and the lowest that can still be named.
    fn scale(&self) -> (u64, u64) {
        match self.voice() {
            None => (self.node.sender.newest().0, self.asked_from.0),
            Some((_, heard)) => (heard.newest.unwrap_or_default().0, heard.lowest_open.0),
        }
    }

    fn number(&mut self, number: u64) {
        let (newest, lowest) = self.scale();
        if number == 0 {
            self.put(class::ZERO, 0);
        } else if number == newest {
            self.put(class::PAST, 0);
        } else if number < lowest {
            self.put(class::OLD, 0);
            self.old.push((self.voice().map(|(whose, _)| whose), number));
        } else {
            self.put(class::PAST, newest.wrapping_sub(number));
        }
    }

    fn marked(&mut self, mark: Mark, value: u64) {
        match mark {
            Mark::Aside => self.asides = self.asides.saturating_add(1),
            Mark::AsideEnd => self.asides = self.asides.saturating_sub(1),
            _ if self.asides > 0 => {}
            Mark::Instant => self.instant(Instant::from_nanos(value)),
            Mark::Number => self.number(value),
            Mark::Residue => {
                let turn = self.scale().0.wrapping_add(ACK_EVERY).wrapping_sub(value);
                self.put(class::PAST, turn.checked_rem(ACK_EVERY).unwrap_or(0));
            }
            Mark::Life => {
                let present = self
                    .voices
                    .last()
                    .map_or(Some(self.node.boot.generation), |voice| voice.map(|(_, heard)| heard.generation));
                let is_present = present == Some(Generation(value));
                self.put(if value == 0 { class::ZERO } else { class::OLD }, u64::from(is_present));
            }
            Mark::Operation => self.put(class::PAST, self.last_op.0.wrapping_sub(value)),
            Mark::Voice => {
                self.put(class::PAST, value);
                let heard = u16::try_from(value).ok().and_then(|node| self.node.heard_of(NodeId(node)));
                self.voices.push(heard.map(|heard| (value, heard)));
            }
            Mark::VoiceEnd => {
                self.voices.pop();
            }
        }
    }
}

macro_rules! unless_aside {
    ($($write:ident: $int:ty),*) => {
        $(fn $write(&mut self, value: $int) {
            if self.asides == 0 {
                self.inner.$write(value);
            }
        })*
    };
}

impl Hasher for Relative<'_> {
    fn finish(&self) -> u64 {
        let mut inner = self.inner.clone();
        for (voice, number) in &self.old {
            // The rank of the number among the old ones of the same sender.
            inner.write_usize(self.old.iter().filter(|(whose, other)| whose == voice && other < number).count());
        }
        inner.finish()
    }

    fn write_i128(&mut self, word: i128) {
        if let Some((mark, value)) = mark::take(word) {
            self.marked(mark, value);
        }
    }

    unless_aside!(
        write: &[u8], write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64, write_u128: u128,
        write_usize: usize, write_i8: i8, write_i16: i16, write_i32: i32, write_i64: i64, write_isize: isize
    );
}

#[cfg(test)]
mod tests;
