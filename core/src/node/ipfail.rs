//! How many ping nodes we reach, and who tells the same of itself: ipfail built in. Read CLUSTER e.2 first.
//!
//! The usual `respawn hacluster .../ipfail` switches it on. What follows from the counts is decided group by group, see
//! `resource/native/reach.rs`.

use super::Node;
use crate::event::Event;
use crate::ids::NodeId;
use crate::membership::{Liveness, Peer};
use crate::resource::Why;
use crate::resource::native::Reach;
use alloc::vec::Vec;

impl Node {
    /// How many ping nodes and groups answer. Nothing is said where ipfail is not switched on, and until each of them has
    /// answered or is dead: a node that has just started is not worse connected than others.
    pub(super) fn pings_reached(&self) -> Option<u32> {
        let is_on = self.config.runs_ipfail() && self.pings.iter().next().is_some();
        if !is_on || !self.pings.all_known() {
            return None;
        }
        let reached = self.pings.iter().filter(|ping| ping.liveness == Liveness::Ping).count();
        u32::try_from(reached).ok()
    }

    /// Notes when the count changes, and tells of nodes that cannot be compared.
    pub(super) fn note_reach(&mut self) {
        let (now, pings) = (*self.now, self.pings_reached());
        let Reach { pings: before, since, again } = self.reach;
        if pings != before {
            let was_cut_off = before == Some(0);
            self.reach = Reach { pings, since: now, again: if was_cut_off { Some(now) } else { again } };
            // Cable and ping node come back together: who meets another owner now did not serve meanwhile, and a judge must
            // not go by what was said before.
            let was_apart = |peer: &Peer| !peer.liveness.is_live() || peer.contact.since >= since;
            let meets = self.nodes.others().any(|(_, peer)| was_apart(peer));
            if was_cut_off && meets && self.hold_from_now() && self.ledger.version > 0 {
                self.ledger.version = self.ledger.version.saturating_add(1);
                self.say_ownership();
            }
        }
        if pings.is_some() {
            self.tell_uncounted();
        }
    }

    /// Once for each that is up and tells no count: between it and us ping nodes decide nothing (scenario I7).
    fn tell_uncounted(&mut self) {
        let told = |node: &NodeId| self.nodes.get(*node).and_then(|peer| peer.contact.told.as_ref());
        let is_up = |node: &NodeId| self.nodes.get(*node).is_some_and(|peer| peer.liveness == Liveness::Active);
        let known = self.nodes.others().map(|(node, _)| node).filter(|node| is_up(node) && told(node).is_some());
        let (counted, uncounted): (Vec<NodeId>, Vec<NodeId>) =
            known.partition(|node| told(node).is_some_and(|told| told.pings.is_some()));
        *self.uncounted = self.uncounted.minus(counted.into_iter().collect());
        for node in uncounted {
            if !self.uncounted.has(node) {
                *self.uncounted = self.uncounted.with(node);
                self.report(Event::NoIpfail { node: self.name(node) });
            }
        }
    }

    /// The counts, as evidence.
    pub(super) fn why_reach(&self, node: NodeId) -> Why {
        let told = self.nodes.get(node).and_then(|peer| peer.contact.told.as_ref()?.pings);
        Why::Reach {
            node: self.name(node),
            theirs: told.unwrap_or_default(),
            ours: self.reach.pings.unwrap_or_default(),
        }
    }
}
