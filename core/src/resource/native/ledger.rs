//! All groups that any node has named: what we remember of each, and what the others claim.
//!
//! The first entries are the groups of our haresources, in its order; then come those that only others list: we consent
//! to their starts as well.
//!
//! Invariant: keys are unique; every entry has a place for each node.

use super::{Claim, Epoch, Memory};
use crate::ids::{GroupId, NodeId, Seq};
use crate::mark::Of;
use crate::time::Instant;
use crate::wire::message::{Attempt, Claimed, GroupWords, Ownership, Unable};
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

/// Groups of others' haresources that are remembered; further ones have no claims.
const FOREIGN_MAX: usize = 1000;
/// Attempts that one verdict names; a cluster has at most so many nodes.
const BEATS_MAX: usize = 100;

/// One group.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// What the others claim, by place.
    pub(crate) claims: Vec<Of<Option<Claim>>>,
    pub(crate) memory: Memory,
    /// What we said of it last.
    pub(crate) said: Option<Said>,
}

impl Hash for Entry {
    /// Beside what it holds, who has held the group longer than we: a judge looks at that however long ago it began.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Entry { key, claims, memory, said } = self;
        (key, claims, memory, said).hash(state);
        let ours = memory.own.and_then(|own| own.held);
        for claim in self.all_claims() {
            claim.held.cmp(&ours).hash(state);
        }
    }
}

/// What is published of a group, but for durations and definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Said {
    pub(crate) state: Claimed,
    pub(crate) unable: Option<Unable>,
    pub(crate) attempt: Option<Attempt>,
    pub(crate) consent: Option<Epoch>,
    pub(crate) successor: Option<NodeId>,
    pub(crate) wanted: bool,
    pub(crate) kept: bool,
    pub(crate) beats: usize,
}

/// What a node said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Heard {
    version: u64,
    /// The number of the message: an earlier one of the same version tells older durations.
    seq: Seq,
}

/// Every group that is known.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    /// How many of them are of our haresources.
    listed: usize,
    /// The version of what we said last; zero before the first.
    pub(crate) version: u64,
    /// The versions of what the others said last, in their present lives.
    heard: Vec<Of<Heard>>,
    /// This book rules; the classic one does while a 3.0.6 lives.
    pub(crate) rules: bool,
}

impl Ledger {
    /// The ledger of a node that lists these groups.
    pub(crate) fn new<'a>(keys: impl Iterator<Item = &'a str>) -> Ledger {
        let entries: Vec<Entry> = keys.map(|key| Entry { key: key.into(), ..Entry::default() }).collect();
        Ledger { listed: entries.len(), entries, ..Ledger::default() }
    }

    /// Every entry.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Entry> {
        self.entries.get_mut(slot)
    }

    /// What we remember of a group of ours.
    pub(crate) fn memory(&self, group: GroupId) -> Option<&Memory> {
        self.entries.get(group.index()).map(|entry| &entry.memory)
    }

    /// Whether we hold a group of ours: our attempt has acted.
    pub(crate) fn is_held(&self, group: GroupId) -> bool {
        self.memory(group).is_some_and(|memory| memory.own.is_some_and(|own| own.held.is_some()))
    }

    /// What is remembered of a group of ours, to be changed.
    pub(crate) fn memory_mut(&mut self, group: GroupId) -> Option<&mut Memory> {
        self.entries.get_mut(group.index()).map(|entry| &mut entry.memory)
    }

    /// The group of ours that an entry is about.
    pub(crate) fn group(&self, slot: usize) -> Option<GroupId> {
        u16::try_from(slot).ok().filter(|_| slot < self.listed).map(GroupId)
    }

    /// How many groups our haresources lists.
    #[cfg(feature = "trace")]
    pub(crate) fn listed(&self) -> usize {
        self.listed
    }

    /// The version of what a node said last; `None` if it said nothing in its present life.
    pub(crate) fn heard(&self, node: NodeId) -> Option<u64> {
        self.heard.iter().find(|of| of.node == node).map(|of| of.version)
    }

    /// A node is dead, or in another life: what it claimed is void.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.heard.retain(|of| of.node != node);
        for entry in &mut self.entries {
            if let Some(claim) = entry.claims.get_mut(node.index()) {
                claim.value = None;
            }
        }
    }

    /// Takes in what a node says; false if it has said something newer. `name` finds nodes by their names.
    pub(crate) fn take(
        &mut self,
        node: NodeId,
        seq: Seq,
        now: Instant,
        said: &Ownership<'_>,
        name: impl Fn(&str) -> Option<NodeId>,
    ) -> bool {
        match self.heard.iter_mut().find(|of| of.node == node) {
            Some(known) if known.seq > seq => return false,
            Some(known) => known.value = Heard { version: said.version, seq },
            None => self.heard.push(Of { node, value: Heard { version: said.version, seq } }),
        }
        let epoch = |(who, attempt): &(alloc::borrow::Cow<'_, str>, Attempt)| {
            Some(Epoch { node: name(who)?, attempt: *attempt })
        };
        let mut missing: Vec<bool> = alloc::vec![true; self.entries.len()];
        let mut next = 0;
        for words in &said.groups {
            let Some(slot) = self.slot(&words.key, next) else { continue };
            next = slot.saturating_add(1);
            if let Some(missing) = missing.get_mut(slot) {
                *missing = false;
            }
            let Some(entry) = self.entries.get_mut(slot) else { continue };
            let before = entry.claim(node);
            let noticed = before.filter(|claim| claim.owns()).map_or(now, |claim| claim.noticed);
            let changed = before.filter(|claim| claim.state == words.state).map_or(now, |claim| claim.changed);
            let counters = words.attempt.iter().chain(words.consent.iter().map(|(_, attempt)| attempt));
            entry.memory.counter = counters.map(|attempt| attempt.counter).fold(entry.memory.counter, u64::max);
            let claim = Claim {
                state: words.state,
                unable: words.unable,
                attempt: words.attempt,
                held: words.held.map(|held| now.minus(held)),
                changed,
                noticed,
                definition: words.definition,
                consent: words.consent.as_ref().and_then(epoch),
                successor: words.successor.as_ref().and_then(|node| name(node)),
                wanted: words.wanted,
                kept: words.kept,
                beats: words.beats.iter().take(BEATS_MAX).filter_map(epoch).collect(),
            };
            put(&mut entry.claims, node, claim);
        }
        for (entry, missing) in self.entries.iter_mut().zip(missing) {
            if missing {
                let claim = Claim { unable: Some(Unable::Unlisted), noticed: now, ..Claim::default() };
                put(&mut entry.claims, node, claim);
            }
        }
        true
    }

    /// The entry of that key, which is made if it is new. All say their groups in much the same order: `guess` is tried first.
    fn slot(&mut self, key: &str, guess: usize) -> Option<usize> {
        if self.entries.get(guess).is_some_and(|entry| entry.key == key) {
            return Some(guess);
        }
        if let Some(slot) = self.entries.iter().position(|entry| entry.key == key) {
            return Some(slot);
        }
        let foreign = self.entries.len().saturating_sub(self.listed);
        (foreign < FOREIGN_MAX).then(|| {
            // Who has spoken before us did not name it.
            let silent = Claim { unable: Some(Unable::Unlisted), ..Claim::default() };
            let mut claims = Vec::new();
            for known in &self.heard {
                put(&mut claims, known.node, silent.clone());
            }
            self.entries.push(Entry { key: key.into(), claims, ..Entry::default() });
            self.entries.len().saturating_sub(1)
        })
    }
}

fn put(claims: &mut Vec<Of<Option<Claim>>>, node: NodeId, claim: Claim) {
    while claims.len() <= node.index() {
        let next = NodeId(u16::try_from(claims.len()).unwrap_or(u16::MAX));
        claims.push(Of { node: next, value: None });
    }
    if let Some(place) = claims.get_mut(node.index()) {
        place.value = Some(claim);
    }
}

impl Entry {
    /// What a node claims of it.
    pub(crate) fn claim(&self, node: NodeId) -> Option<&Claim> {
        self.claims.get(node.index())?.value.as_ref()
    }

    /// Everything that is claimed of it.
    pub(crate) fn all_claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter().filter_map(|claim| claim.value.as_ref())
    }
}

/// The words for an entry; names of nodes are looked up by `name`.
pub(crate) fn words<'a>(
    entry: &'a Entry,
    said: Said,
    definition: Option<u64>,
    now: Instant,
    name: impl Fn(NodeId) -> &'a str,
) -> GroupWords<'a> {
    let Memory { own, beats, .. } = &entry.memory;
    let whose = |epoch: &Epoch| (name(epoch.node).into(), epoch.attempt);
    GroupWords {
        key: entry.key.as_str().into(),
        state: said.state,
        unable: said.unable,
        attempt: said.attempt,
        held: own.and_then(|own| own.held).map(|held| now.since(held)),
        definition,
        consent: said.consent.as_ref().map(whose),
        successor: said.successor.map(|node| name(node).into()),
        wanted: said.wanted,
        kept: said.kept,
        beats: beats.iter().map(whose).collect(),
    }
}
