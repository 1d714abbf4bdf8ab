//! What we say of each group and what the others say (OWNERSHIP 1): `ownership`, under a version that grows with every
//! change and that heartbeats name, so that nobody goes by an old word.

use super::Node;
use crate::deadlines::Timer;
use crate::event::{Difference, Event};
use crate::ids::{GroupId, NodeId, Seq};
use crate::resource::Doing;
use crate::resource::native::{self, GroupView, Look, Said, View};
use crate::wire::Body;
use crate::wire::message::{Claimed, GroupWords, Ownership, Unable};
use alloc::vec::Vec;
use core::time::Duration;

/// A node whose word does not count is told of after this.
const WORDLESS: Duration = Duration::from_secs(10);
/// What is asked for again is asked for after this, at least.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl Node {
    // --- saying

    /// Says what it does with every group, if that is not what it said last.
    pub(super) fn say_changes(&mut self, view: &View) {
        let mut changed = self.ledger.version == 0;
        for slot in 0..self.ledger.entries().len() {
            let Some(said) = self.group_view(slot).map(|group| said(view, &group)) else { continue };
            let now = *self.now;
            if let Some(entry) = self.ledger.get_mut(slot).filter(|entry| entry.said != Some(said)) {
                let could_not = entry.said.is_some_and(|before| before.unable.is_some());
                if said.unable.is_some() {
                    entry.memory.able_again = None;
                } else if could_not {
                    entry.memory.able_again = Some(now);
                }
                entry.said = Some(said);
                changed = true;
            }
        }
        if changed {
            self.ledger.version = self.ledger.version.saturating_add(1);
            self.say_ownership();
        }
    }

    /// Says it all, under the version that it has.
    pub(super) fn say_ownership(&mut self) {
        let config = self.config.clone();
        let ledger = core::mem::take(&mut self.ledger);
        let name = |node: NodeId| config.node(node).map_or("", |node| node.name.as_str());
        let entries = ledger.entries().iter().enumerate();
        let groups = entries.filter_map(|(slot, entry)| {
            let definition = ledger.group(slot).and_then(|group| config.definition(group));
            Some(native::words(entry, entry.said?, definition, *self.now, name))
        });
        let ownership = Ownership { version: ledger.version, groups: groups.collect() };
        self.send(Body::Ownership(ownership), None);
        self.ledger = ledger;
    }

    // --- hearing

    pub(super) fn on_ownership(&mut self, from: NodeId, seq: Seq, said: &Ownership<'_>) {
        let config = self.config.clone();
        if self.ledger.heard(from).is_none() {
            self.compare_groups(from, said);
        }
        self.ledger.take(from, seq, *self.now, said, |name| config.node_named(name));
    }

    /// At the first word in its life: where its haresources is another than ours (scenario T20).
    fn compare_groups(&mut self, from: NodeId, said: &Ownership<'_>) {
        let config = self.config.clone();
        let listed = |words: &&GroupWords<'_>| words.unable != Some(Unable::Unlisted);
        let theirs = |key: &str| said.groups.iter().filter(listed).find(|words| words.key == *key);
        let mut notes = Vec::new();
        for (id, group) in (0..).map(GroupId).zip(config.groups()) {
            match theirs(&group.key) {
                None => notes.push((group.key.clone(), Difference::NotTheirs)),
                Some(words) if words.definition != config.definition(id) => {
                    notes.push((group.key.clone(), Difference::Other));
                }
                Some(_) => {}
            }
        }
        let ours = |key: &str| config.groups().iter().any(|group| group.key == key);
        let more = said.groups.iter().filter(listed).filter(|words| !ours(&words.key));
        notes.extend(more.map(|words| (super::relay::shown(&words.key), Difference::NotOurs)));
        let node = self.name(from);
        for (group, difference) in notes {
            self.report(Event::GroupsDiffer { node: node.clone(), group, difference });
        }
    }

    /// Asks those whose claims are older than they say in their heartbeats.
    pub(super) fn ask_for_claims(&mut self) {
        let stale = self.stale_peers();
        for node in &stale {
            self.send(Body::ReqOwnership, Some(*node));
        }
        if !stale.is_empty() {
            let again = self.config.timing().keepalive().max(ASK_AGAIN);
            self.deadlines.set(Timer::Claims, self.now.plus(again));
        }
    }

    fn stale_peers(&self) -> Vec<NodeId> {
        let live = self.nodes.others().filter(|(_, peer)| peer.liveness.is_live() && !peer.gone);
        let stale = live.filter(|(node, peer)| {
            let newest = peer.contact.told.as_ref().and_then(|told| told.claims);
            newest.is_some() && self.ledger.heard(*node) < newest
        });
        stale.map(|(node, _)| node).collect()
    }

    /// A heartbeat told of claims that have not come: if they do not come soon they are asked for.
    pub(super) fn expect_claims(&mut self, from: NodeId) {
        let newest = self.nodes.get(from).and_then(|peer| peer.contact.told.as_ref()?.claims);
        if newest.is_some() && self.ledger.heard(from) < newest {
            let again = self.config.timing().keepalive().max(ASK_AGAIN);
            self.deadlines.start(Timer::Claims, self.now.plus(again));
        }
    }

    /// A live node whose word does not count keeps everybody from starting anything: after a while that is told.
    pub(super) fn expect_words(&mut self, view: &View) {
        if view.live().all(native::PeerView::reassures) {
            self.deadlines.clear(Timer::Starting);
        } else {
            self.deadlines.start(Timer::Starting, self.now.plus(WORDLESS));
        }
    }

    /// It has been so for a while.
    pub(super) fn tell_wordless(&mut self) {
        let view = self.ownership_view(&mut Look::default());
        if let Some(peer) = view.live().find(|peer| !peer.reassures()) {
            self.report(Event::NoAnswerToStarting { node: self.name(peer.node) });
        }
    }
}

/// What is published of a group.
fn said(view: &View, group: &GroupView<'_>) -> Said {
    let memory = group.memory;
    let state = match group.doing {
        Doing::Stopped if group.asking().is_some() => Claimed::Asking,
        Doing::Stopped => Claimed::Stopped,
        Doing::Starting => Claimed::Starting,
        Doing::Running => Claimed::Running,
        // Until it is known what an earlier life left here the others wait (OWNERSHIP 1).
        Doing::Stopping | Doing::Stuck | Doing::Probing => Claimed::Stopping,
        Doing::Failed => Claimed::Failed,
    };
    Said {
        state,
        unable: native::unable(view, group),
        attempt: memory.own.map(|own| own.attempt),
        consent: memory.consent,
        successor: memory.handover.map(|handover| handover.to),
        wanted: memory.wanted.is_some(),
        kept: memory.kept || memory.handover.is_some_and(|handover| handover.is_kept()),
        beats: memory.beats.len(),
    }
}
