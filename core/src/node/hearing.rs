//! Whom we hear and who hears us: told in every heartbeat, at once when it changes (OWNERSHIP 1 and 2).

use super::Node;
use crate::deadlines::Timer;
use crate::digest::digest_of;
use crate::ids::{NodeId, Seq};
use crate::mark::Of;
use crate::membership::{Contact, Fence, GREET_TOGETHER, NodeSet, Told, grain};
use crate::resource::native::{Look, Standing};
use crate::time::Instant;
use crate::wire::message::{Hears, Status, Verdict};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// Who is what to us, as we told it last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Verdicts {
    live: NodeSet,
    out: NodeSet,
    /// How many ping nodes we reach.
    pings: Option<u32>,
}

impl Node {
    fn verdicts(&self, look: &mut Look) -> Verdicts {
        let mut verdicts = Verdicts { pings: self.pings_reached(), ..Verdicts::default() };
        for (node, peer) in self.nodes.others() {
            match self.standing(node, look) {
                _ if peer.is_strange() => {}
                Standing::Live => verdicts.live = verdicts.live.with(node),
                Standing::Gone | Standing::Dead => verdicts.out = verdicts.out.with(node),
                Standing::Unsure => {}
            }
        }
        verdicts
    }

    /// A heartbeat goes out when the verdicts are others than in the last one: at once when somebody is lost or we reach
    /// other ping nodes, and when somebody is found together with what else is found.
    pub(super) fn tell_whom_we_hear(&mut self) {
        let now = self.verdicts(&mut Look::default());
        if now == self.told {
            return;
        }
        let is_loss = !self.told.live.minus(now.live).is_empty() || self.told.pings != now.pings;
        if is_loss || self.nodes.others().nth(1).is_none() {
            self.send_status();
        } else {
            self.deadlines.start(Timer::Greet, self.now.plus(GREET_TOGETHER));
        }
    }

    /// What our heartbeat says of the others; nothing while a 3.0.6 keeps all from the native dialect. Of whom we are
    /// unsure nothing is said, unless there is nobody else: a missing word is never agreement.
    pub(super) fn hears(&mut self) -> Option<Hears<'static>> {
        if !self.is_native() {
            return None;
        }
        self.told = self.verdicts(&mut Look::default());
        let nodes = self.nodes.others().filter_map(|(node, peer)| {
            let receiver = &peer.receiver;
            if peer.is_strange() {
                return None;
            }
            let verdict = match self.standing(node, &mut Look::default()) {
                Standing::Live => Verdict::Heard { generation: receiver.generation(), seq: receiver.newest_status() },
                Standing::Gone => Verdict::Gone,
                Standing::Dead => Verdict::Dead,
                Standing::Unsure => return None,
            };
            Some((Cow::Owned(self.name(node)), verdict))
        });
        let mut nodes: Vec<_> = nodes.collect();
        let claims = Some(self.ledger.version).filter(|version| *version > 0);
        if nodes.is_empty() && claims.is_none() {
            // Who hears nobody says so: an owner must know of it before this node comes to start anything.
            let (node, _) = self.nodes.others().next()?;
            nodes.push((Cow::Owned(self.name(node)), Verdict::Unsure));
        }
        Some(Hears { nodes, claims, pings: self.told.pings, order: self.order_digest() })
    }

    /// Notes when a heartbeat left: its echo will tell who has heard it.
    pub(super) fn note_sent(&mut self) {
        let deadtime = self.config.timing().deadtime();
        self.sent.note(self.sender.newest(), *self.now, deadtime, grain(deadtime));
    }

    /// A digest of the nodes in their order.
    pub(super) fn order_digest(&self) -> u64 {
        let names: Vec<&str> = self.config.present().map(|(_, node)| node.name.as_str()).collect();
        digest_of(&names)
    }

    /// A node is met, or met again in another life: nothing that passed between us before counts.
    pub(super) fn begin_contact(&mut self, node: NodeId) {
        let now = *self.now;
        if let Some(peer) = self.nodes.get_mut(node) {
            peer.contact = Contact::begun(now);
            peer.fence = Fence::Unneeded;
        }
        self.cease_fire(node);
    }

    /// Takes in whom a heartbeat's sender hears.
    pub(super) fn hear_hearing(&mut self, from: NodeId, seq: Seq, status: &Status<'_>) {
        let told = status.hears.as_ref().map(|hears| self.understand(from, hears));
        let now = *self.now;
        let times = self.config.timing().deadtime();
        let half = self.config.self_deadline(times).checked_div(2).unwrap_or_default();
        let speaks = told.is_some();
        let kept = self.nodes.others().nth(1).map(|_| grain(times));
        if let Some(peer) = self.nodes.get_mut(from) {
            let pings = |told: Option<&Told>| told.and_then(|told| told.pings);
            if pings(peer.contact.told.as_ref()) != pings(told.as_ref()) {
                peer.contact.reaches_since = now;
            }
            peer.contact.take(seq, told, kept);
        }
        self.carry_echoes(from, now.minus(half));
        if let Some(peer) = self.nodes.get_mut(from) {
            peer.contact.is_deaf = speaks && now.since(peer.contact.reach()) >= half;
        }
        self.expect_claims(from);
    }

    /// What it says in the places of our configuration; names that we do not know count for nothing.
    fn understand(&self, from: NodeId, hears: &Hears<'_>) -> Told {
        let same_order = hears.order == self.order_digest();
        let mut told = Told { claims: hears.claims, pings: hears.pings, same_order, ..Told::default() };
        for (name, verdict) in &hears.nodes {
            let Some(node) = self.config.node_named(name).filter(|node| *node != from) else { continue };
            match *verdict {
                Verdict::Heard { generation, seq } if node == self.config.local() => {
                    told.names_us = generation == self.boot.generation;
                    told.heard_of_us = told.names_us.then(|| self.sent.at(seq)).flatten();
                }
                Verdict::Heard { generation, seq } => {
                    told.live = told.live.with(node);
                    told.heard_of_others.push(Of { node, value: (generation, seq) });
                }
                Verdict::Gone => told.gone = told.gone.with(node),
                Verdict::Dead => told.dead = told.dead.with(node),
                Verdict::Unsure => {}
            }
        }
        told
    }

    /// What a third node has heard of us its hearers know (OWNERSHIP 2): whoever `from` hears, and who hears `from`.
    fn carry_echoes(&mut self, from: NodeId, deaf_before: Instant) {
        let mut known: Vec<(NodeId, Instant)> = Vec::new();
        for (node, peer) in self.nodes.others() {
            let Some(told) = &peer.contact.told else { continue };
            for Of { node: third, value: (generation, seq) } in &told.heard_of_others {
                let Some(carrier) = self.nodes.get(*third).filter(|_| node == from || *third == from) else { continue };
                if carrier.liveness.is_live()
                    && carrier.receiver.generation() == *generation
                    && let Some(sent) = carrier.contact.shown_by(*seq)
                {
                    known.push((node, sent));
                }
            }
        }
        for (node, sent) in known {
            if let Some(peer) = self.nodes.get_mut(node) {
                peer.contact.know_of(sent, deaf_before);
            }
        }
    }
}
