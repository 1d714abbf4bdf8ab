//! A silent node is proved to run nothing before anything that it may run is taken: a device resets it, or an operator says
//! so. Read OWNERSHIP 3 (b) and CLUSTER f.2 first.
//!
//! ```text
//!             a rule book needs it         its turn        the device confirms
//! Unneeded -----------------------> Due(at) -------> shot ---------------------> Proved
//!     ^                               ^ |             | |                          |
//!     |                               +-|-- 5 s ------+ | fails                    |
//!     +--- no longer needed ------------+               |                          |
//!     +--- the node is heard again ---------------------+--------------------------+
//! ```
//!
//! - *Order*: decide, shoot, confirmed, start. An orderly stop is never followed by a shot.
//! - *One shot at a time*, and none at a node that a live node hears.
//! - *No duel*: whoever may be alive and owns something has a turn, in the order of the `node` lines, then the others;
//!   each turn is [`Config::fence_delay`](crate::config::Config::fence_delay) after the one before.
//! - A proof is about one life of the node and ends with the first heartbeat of it. It is told to all in `stonith`.

use super::{Node, context};
use crate::action::{Action, Refusal, Response};
use crate::deadlines::Timer;
use crate::event::{Event, FenceStep};
use crate::ids::{ClientId, NodeId, OpId};
use crate::input::{Failure, Outcome};
use crate::membership::{Fence, Liveness, ProvedBy};
use crate::resource::Transcript;
use crate::time::Instant;
use crate::wire::Body;
use crate::wire::message::{Stonith, StonithResult};
use alloc::borrow::Cow;
use alloc::string::String;
use core::time::Duration;

/// So long after a failed shot the next one follows (CLUSTER f.2).
const RETRY: Duration = Duration::from_secs(5);

/// A device at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Shot {
    op: OpId,
    node: NodeId,
    began: Instant,
    /// It is not wanted any more, and its end is waited for.
    ceased: bool,
}

impl Node {
    /// Begins, goes on with, or ends what the rule books need: these nodes must be proved to run nothing.
    pub(super) fn see_to_fencing(&mut self, needed: &[NodeId]) {
        let now = *self.now;
        for node in self.nodes.others().map(|(node, _)| node).collect::<alloc::vec::Vec<_>>() {
            let turn = now.plus(self.config.fence_delay().saturating_mul(self.turn()));
            let Some(peer) = self.nodes.get_mut(node) else { continue };
            match (peer.fence, needed.contains(&node)) {
                (Fence::Due(_), false) => peer.fence = Fence::Unneeded,
                (Fence::Unneeded, true) => {
                    peer.fence = Fence::Due(turn);
                    if !self.may_shoot() {
                        self.report(Event::Fence { node: self.name(node), step: FenceStep::Awaited });
                    }
                }
                _ => {}
            }
        }
        let due = |node: NodeId| match self.nodes.get(node).map(|peer| peer.fence) {
            Some(Fence::Due(at)) => Some((at, node)),
            _ => None,
        };
        let next =
            needed.iter().filter_map(|node| due(*node)).min().filter(|_| self.shot.is_none() && self.may_shoot());
        match next {
            Some((at, node)) if at <= now => self.shoot(node),
            Some((at, _)) => self.deadlines.set(Timer::Fence, at),
            None => self.deadlines.clear(Timer::Fence),
        }
    }

    /// Whom a device resets now, unless that is cancelled already.
    pub(super) fn shot_at(&self) -> Option<NodeId> {
        self.shot.filter(|shot| !shot.ceased).map(|shot| shot.node)
    }

    pub(super) fn may_shoot(&self) -> bool {
        self.config.fence_device().is_some() && !self.config.takes_over_by_hand()
    }

    /// How many come before us.
    fn turn(&self) -> u32 {
        let owns = |owns: bool| !owns;
        let ours = self.ledger.entries().iter().any(|entry| entry.memory.own.is_some_and(|own| own.held.is_some()));
        let me = (owns(ours || !self.book.hold.is_none()), self.config.local());
        let key = |(node, peer): (NodeId, &crate::membership::Peer)| {
            let claims = |entry: &crate::resource::native::Entry| {
                entry.claim(node).is_some_and(crate::resource::native::Claim::owns)
            };
            let holds = match peer.liveness {
                // Whatever it held when it was last heard.
                Liveness::Dead => peer.heard.is_some(),
                _ => peer.claim.is_some_and(|claim| !claim.hold.is_none()) || self.ledger.entries().iter().any(claims),
            };
            (owns(holds), node)
        };
        let before = self.nodes.others().filter(|(_, peer)| !peer.gone).filter(|other| key(*other) < me).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    fn shoot(&mut self, node: NodeId) {
        let Some(device) = self.config.fence_device().cloned() else { return };
        let (kind, limit) = (device.kind.clone(), self.config.fence_limit());
        self.end_inspection();
        let (op, name) = (self.executor.next_op(), self.name(node));
        self.shot = Some(Shot { op, node, began: *self.now, ceased: false });
        self.deadlines.clear(Timer::Fence);
        self.report(Event::Fence { node: name.clone(), step: FenceStep::Shooting { device: kind } });
        self.actions.0.push(Action::Fence { op, node: name, device, limit });
    }

    /// The node is not to be reset any more: it was heard, or is proved to run nothing by something else.
    pub(super) fn cease_fire(&mut self, node: NodeId) {
        let Some(shot) = self.shot.as_mut().filter(|shot| shot.node == node && !shot.ceased) else { return };
        shot.ceased = true;
        let op = shot.op;
        self.report(Event::Fence { node: self.name(node), step: FenceStep::Ceased });
        self.actions.0.push(Action::CeaseFire { op });
    }

    /// A node is dead: whoever wants to know is told before anything is taken.
    pub(super) fn raise_alarm(&mut self, node: NodeId) {
        let Some(program) = self.config.takeover_alarm().map(String::from) else { return };
        let (op, node) = (self.executor.next_op(), self.name(node));
        self.alarms.push(op);
        self.report(Event::Fence { node: node.clone(), step: FenceStep::Alarm { program: program.clone() } });
        self.actions.0.push(Action::Alarm { op, program, node });
    }

    /// An operation ended: a shot's, an alarm's, or one of the executor's.
    pub(super) fn on_op_done(&mut self, op: OpId, outcome: Outcome, said: Transcript) {
        if self.on_inspected(op, &outcome, &said) {
            return;
        }
        if let Some(at) = self.alarms.iter().position(|alarm| *alarm == op) {
            self.alarms.swap_remove(at);
            if let Outcome::Failed(failure) = outcome {
                let node = self.name(self.config.local());
                self.report(Event::Fence { node, step: FenceStep::AlarmFailed { failure, said } });
            }
            return;
        }
        let Some(shot) = self.shot.take_if(|shot| shot.op == op) else {
            let was_probing = self.executor.is_probing();
            self.executor.on_done(&mut context!(self), op, outcome, said);
            if was_probing && !self.executor.is_probing() {
                // From here on there is a farewell.
                self.entrust();
            }
            return;
        };
        let (node, took) = (self.name(shot.node), self.now.since(shot.began));
        if shot.ceased {
            return;
        }
        let failure = match outcome {
            Outcome::Done => {
                self.report(Event::Fence { node, step: FenceStep::Done { took } });
                return self.prove(shot.node, ProvedBy::Device);
            }
            Outcome::Failed(failure) => failure,
            Outcome::Running | Outcome::NotRunning => Failure::Machine("it gave no answer".into()),
        };
        if let Some(peer) = self.nodes.get_mut(shot.node) {
            peer.fence = Fence::Due(self.now.plus(RETRY));
        }
        self.report(Event::Fence { node, step: FenceStep::Failed { failure, took, said } });
    }

    /// The node runs nothing in the life in which it fell silent: everybody is to know.
    fn prove(&mut self, node: NodeId, by: ProvedBy) {
        let Some(peer) = self.nodes.get_mut(node) else { return };
        peer.fence = Fence::Proved(by);
        let life = peer.heard.map(|_| peer.receiver.generation());
        let node = Cow::Owned(self.name(node));
        self.send(Body::Stonith(Stonith { node, result: StonithResult::Ok, life }), None);
    }

    /// Another node has reset one, or heard from its operator that it runs nothing.
    pub(super) fn on_stonith(&mut self, from: NodeId, said: &Stonith<'_>) {
        let Some(node) = self.config.node_named(&said.node).filter(|node| *node != self.config.local()) else { return };
        if said.result != StonithResult::Ok || !self.config.demands_proof() {
            return;
        }
        let Some(peer) = self.nodes.get_mut(node) else { return };
        // A late copy is about an earlier life (OWNERSHIP 3 (b)).
        let known = peer.heard.map(|_| peer.receiver.generation());
        if peer.liveness == Liveness::Dead && !peer.is_fenced() && said.life == known {
            peer.fence = Fence::Proved(ProvedBy::Peer(from));
            self.cease_fire(node);
            self.report(Event::Fence { node: self.name(node), step: FenceStep::Told { by: Some(self.name(from)) } });
        }
    }

    /// The operator says that a silent node runs nothing (`heartbeat confirm`).
    pub(super) fn on_confirm(&mut self, client: ClientId, node: NodeId) {
        let refusal = match self.nodes.get(node) {
            _ if node == self.config.local() => Some(Refusal::Alive),
            None => Some(Refusal::NoSuchNode),
            Some(_) if !self.config.demands_proof() => Some(Refusal::NoProofWanted),
            Some(peer) if peer.liveness != Liveness::Dead => Some(Refusal::Alive),
            Some(_) => None,
        };
        let response = if let Some(refusal) = refusal {
            Response::Refused(refusal)
        } else {
            self.cease_fire(node);
            self.report(Event::Fence { node: self.name(node), step: FenceStep::Told { by: None } });
            self.prove(node, ProvedBy::Operator);
            Response::Done
        };
        self.actions.0.push(Action::Reply { client, response });
    }
}
