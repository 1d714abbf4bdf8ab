//! Carries out what the rule book wants, says and hears who holds what.

use super::lateness::Vigil;
use super::standby::which;
use super::{Node, context};
use crate::action::Cancellation;
use crate::deadlines::Timer;
use crate::event::{Decision, Event};
use crate::ids::{GroupId, NodeId, Seq};
use crate::mark::{Aside, Of};
use crate::membership::{GREET_TOGETHER, Lifecycle, Liveness, Peer, STARTING_REPEAT};
use crate::resource::classic::{self, Because, Conversation, Intent, Role, Step, decide};
use crate::resource::{Claim, GroupView, PeerView, Phase, Proof, View, Why};
use crate::time::Instant;
use crate::wire::Body;
use crate::wire::message::{AskResources, Holding, Resource, StandbyStep, Stonith, StonithResult};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// `starting` was said in vain this often before it is worth a line; then again after as many.
const UNANSWERED_WORTH_A_LINE: u32 = 10;

/// Why the classes are where they are, and since when: for status, decides nothing.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Evidence {
    local: Option<(Why, Instant)>,
    foreign: Option<(Why, Instant)>,
    /// In the native book each group has its own.
    groups: BTreeMap<GroupId, (Why, Instant)>,
    unanswered: u32,
}

impl Evidence {
    fn note(&mut self, set: Holding, why: &Why, now: Instant) {
        if set.local {
            self.local = Some((why.clone(), now));
        }
        if set.foreign {
            self.foreign = Some((why.clone(), now));
        }
    }

    /// The last decision about one group.
    pub(super) fn note_group(&mut self, group: GroupId, why: Why, now: Instant) {
        self.groups.insert(group, (why, now));
    }

    /// The same.
    pub(super) fn of_group(&self, group: GroupId) -> Option<&(Why, Instant)> {
        self.groups.get(&group)
    }

    /// The last decision about a class.
    pub(super) fn of(&self, local: bool) -> Option<&(Why, Instant)> {
        if local { self.local.as_ref() } else { self.foreign.as_ref() }
    }
}

impl Node {
    /// What the rule book may see.
    pub(super) fn view(&self) -> View {
        let phase = match self.life {
            Lifecycle::Active if self.executor.is_probing() => Phase::Joining,
            Lifecycle::Active if self.vigil == Vigil::Doubting => Phase::Doubting,
            Lifecycle::Active => Phase::Active,
            Lifecycle::Stopping => Phase::Stopping,
            Lifecycle::Booting | Lifecycle::Joining(_) | Lifecycle::Lingering | Lifecycle::Ended => Phase::Joining,
        };
        let peers = self.nodes.others().map(|(node, peer)| PeerView {
            node,
            liveness: if peer.is_strange() { Liveness::Dead } else { peer.liveness },
            gone: peer.gone,
            proof: self.proof_of(peer),
            claim: peer.claim,
        });
        let groups = (0..)
            .map(GroupId)
            .zip(self.config.groups())
            .map(|(id, group)| GroupView { home: group.home, doing: self.executor.doing(id) });
        View {
            me: self.config.local(),
            phase,
            failback: self.config.failback(),
            peers: peers.collect(),
            groups: groups.collect(),
        }
    }

    /// Whether what a dead node held may be taken (CLUSTER f.2; `takeover_delay` is *ours*).
    fn proof_of(&self, peer: &Peer) -> Proof {
        if peer.is_strange() {
            return Proof::Strange;
        }
        if self.config.exclusion(None).fencing {
            return if peer.is_fenced() { Proof::Given } else { Proof::Wanted };
        }
        let is_old = peer.died.is_none_or(|died| died.plus(self.config.takeover_delay()) <= *self.now);
        if is_old { Proof::Given } else { Proof::Delayed }
    }

    /// Asks the rule book until it wants nothing more.
    pub(super) fn decide(&mut self) {
        if !self.may_decide() {
            return;
        }
        if !self.config.manages_resources() {
            if self.life == Lifecycle::Stopping {
                self.linger();
            }
            return;
        }
        if self.is_native() {
            return self.decide_ownership();
        }
        if self.ledger.rules {
            self.leave_ownership();
        }
        self.mind_partner();
        self.settle_classes();
        if self.config.demands_proof() {
            let needed = classic::needs_proof(&self.view(), &self.book);
            self.see_to_fencing(&needed);
        }
        // A death may become old enough by time alone.
        let delay = self.config.takeover_delay();
        let deaths = self.nodes.others().filter_map(|(_, peer)| Some(peer.died?.plus(delay)));
        let next = deaths.filter(|at| *at > *self.now).min();
        self.deadlines.set_or_clear(Timer::Ownership, next.filter(|_| !delay.is_zero()));
    }

    /// Asks the classic book until it wants nothing more.
    fn settle_classes(&mut self) {
        for _ in 0..100 {
            match decide(&self.view(), &self.book) {
                Some(intent) => self.carry_out(intent),
                None if self.vigil == Vigil::Doubting && self.life == Lifecycle::Active && self.knows_all_claims() => {
                    self.end_doubt();
                }
                None => return,
            }
        }
        unreachable!("each intent ends the condition of its rule, so the rule book settles");
    }

    pub(super) fn carry_out(&mut self, intent: Intent) {
        match intent {
            Intent::Acquire { set, because } => {
                let why = self.why(because);
                if let Because::Dead(node) | Because::Gone(node) = because {
                    self.note_takeover(node, set, matches!(because, Because::Dead(_)));
                }
                self.acquire(set, why);
            }
            Intent::Release { set, because } => {
                if let Because::Conflict(with) = because {
                    self.report(Event::BothOwn { whose: "foreign", node: self.name(with) });
                    self.book.needs_failback = false;
                }
                if let Because::Outlasted(with) = because {
                    self.report(Event::BothOwn { whose: "our", node: self.name(with) });
                }
                let why = self.why(because);
                self.release(set, why);
            }
            Intent::Contest { with } => {
                self.book.contested = true;
                self.book.said = None;
                self.deadlines.set(Timer::Contested, self.now.plus(self.config.timing().deadtime()));
                self.report(Event::BothOwn { whose: "our", node: self.name(with) });
                self.report_decision(Decision::Keep, Holding::LOCAL, Why::Conflict { with: self.name(with) });
            }
            Intent::Uncontest => {
                (self.book.contested, self.book.outlasted) = (false, false);
                self.deadlines.clear(Timer::Contested);
                for group in self.groups_in(Holding::LOCAL) {
                    self.executor.announce(&mut context!(self), group);
                }
            }
            Intent::SayStarting => {
                self.book.starting_said = true;
                self.send(Body::Starting, None);
                self.expect_answers();
            }
            Intent::SayResource { hold, stable, info } => self.say_resource(hold, stable, info),
            Intent::SayShutdone => {
                self.book.shutdone_said = true;
                self.send(Body::Shutdone, None);
                self.linger();
            }
            Intent::BeginStandby { set, to, cause } => {
                let newest = self.nodes.get(to).and_then(|peer| peer.receiver.newest()).unwrap_or_default();
                let since = Of { node: to, value: newest };
                self.report(Event::StandbyAsked { node: self.name(self.config.local()), set: which(set) });
                let (role, step) = (Role::Giving(cause), Step::Asked);
                self.converse(Conversation { role, step, set, with: to, since, next: None });
                self.say_ask(set, StandbyStep::Me);
            }
            Intent::ReleaseDone => {
                let Some(conversation) = &mut self.book.conversation else { return };
                conversation.step = Step::Handed;
                let set = conversation.set;
                self.report(Event::StandbyReleased { set: which(set) });
                self.say_ask(set, StandbyStep::Done);
            }
            Intent::AcquireDone => self.acquire_done(),
            Intent::Taken => self.taken(),
            Intent::Cancel(why) => self.cancel(why),
        }
    }

    // --- holding and releasing

    pub(super) fn groups_in(&self, set: Holding) -> Vec<GroupId> {
        let local = self.config.local();
        let groups = (0..).map(GroupId).zip(self.config.groups());
        groups
            .filter(|(_, group)| if group.home == local { set.local } else { set.foreign })
            .map(|(id, _)| id)
            .collect()
    }

    pub(super) fn acquire(&mut self, set: Holding, why: Why) {
        self.book.hold = self.book.hold.union(set);
        self.evidence.note(set, &why, *self.now);
        self.report_decision(Decision::Acquire, set, why);
        for group in self.groups_in(set) {
            self.executor.want(&mut context!(self), group, true);
        }
    }

    pub(super) fn release(&mut self, set: Holding, why: Why) {
        self.book.hold = self.book.hold.minus(set);
        self.evidence.note(set, &why, *self.now);
        self.report_decision(Decision::Release, set, why);
        for group in self.groups_in(set) {
            self.executor.want(&mut context!(self), group, false);
        }
    }

    /// The other node is dead, or gone: what follows from that beside holding its groups (CLUSTER c.5).
    fn note_takeover(&mut self, node: NodeId, set: Holding, dead: bool) {
        if !set.foreign {
            return;
        }
        self.book.needs_failback = true;
        if self.nodes.get(node).is_some_and(Peer::is_fenced) {
            // That was told when it was proved.
            return;
        }
        if dead {
            self.report(Event::NoStonith { node: self.name(node) });
        }
        let (node, result) = (self.name(node), if dead { StonithResult::NoDevice } else { StonithResult::Unneeded });
        self.send(Body::Stonith(Stonith { node: Cow::Owned(node), result, life: None }), None);
    }

    fn why(&self, because: Because) -> Why {
        match because {
            Because::Alone => Why::Alone,
            Because::Preferred => Why::Preferred,
            Because::Gone(node) => Why::PeerGone { node: self.name(node) },
            Because::Overslept(node) => Why::Overslept { node: self.name(node) },
            Because::Conflict(node) => Why::Conflict { with: self.name(node) },
            Because::Outlasted(node) => Why::Outlasted { with: self.name(node) },
            Because::Stopping => Why::Stopping,
            Because::Dead(node) => self.why_dead(node),
        }
    }

    pub(super) fn why_dead(&self, node: NodeId) -> Why {
        match self.nodes.get(node).and_then(|peer| peer.heard.zip(peer.dead_time)) {
            Some((heard, limit)) => Why::PeerDead { node: self.name(node), silent: self.now.since(heard), limit },
            None => Why::PeerNeverHeard { node: self.name(node) },
        }
    }

    fn report_decision(&mut self, what: Decision, set: Holding, why: Why) {
        let mut groups = String::new();
        for group in self.groups_in(set) {
            if let Some(group) = self.config.groups().get(group.index()) {
                if !groups.is_empty() {
                    groups.push_str(", ");
                }
                groups.push_str(&group.key);
            }
        }
        if !groups.is_empty() {
            self.report(Event::Decision { what, groups, why });
        }
    }

    // --- saying

    pub(super) fn say_resource(&mut self, hold: Holding, stable: bool, info: Option<&'static str>) {
        self.book.said = Some((hold, stable));
        let resource = Resource { holding: hold, full: true, stable: Some(stable), info: info.map(Cow::Borrowed) };
        self.send(Body::Resource(resource), None);
    }

    // --- hearing

    /// What the node last said that it holds, if that is newer than its message `seq`. Messages overtake each other on
    /// their way (WIRE 1 (3)), and retransmitted ones come very late.
    pub(super) fn later_claim(&self, from: NodeId, seq: Seq) -> Option<Claim> {
        self.nodes.get(from)?.claim.filter(|claim| claim.seq > seq)
    }

    pub(super) fn on_starting(&mut self, from: NodeId, seq: Seq) {
        if self.later_claim(from, seq).is_some_and(|claim| claim.stable) {
            // It has started long since.
            return;
        }
        // It wants to know what we hold, changed or not.
        let is_pair = self.is_pair();
        if is_pair {
            self.book.said = None;
        } else {
            self.greet();
        }
        let Some(peer) = self.nodes.get_mut(from) else { return };
        let first = !core::mem::replace(&mut peer.asked, true);
        if first && peer.claim.is_none() {
            // Now it is ready; our own question may have come too early for it. The answer goes out first. Once in its life:
            // two nodes that do so whenever they are asked would never end.
            if is_pair {
                self.deadlines.set(Timer::Starting, *self.now);
            } else {
                self.expect_answers();
            }
        }
    }

    pub(super) fn on_resource(&mut self, from: NodeId, seq: Seq, resource: &Resource<'_>) {
        // It has, or had when it said so, what we hold; what came of that it may have said before.
        let both = resource.holding.exchanged().common(self.book.hold);
        if self.later_claim(from, seq).is_some() {
            return self.announce_again(both);
        }
        if !self.book.starting_said {
            return;
        }
        // Of what both hold now only our own groups stay (the conflict rule).
        self.announce_again(both.common(Holding::LOCAL));
        let now = *self.now;
        let Some(peer) = self.nodes.get_mut(from) else { return };
        let before = peer.claim;
        let held = before.map_or(Holding::NONE, |claim| claim.hold);
        // Without `rtype=full` it adds to what is known, but `none` always clears (WIRE 12).
        let adds = !resource.full && !resource.holding.is_none();
        let holding = if adds { held.union(resource.holding) } else { resource.holding };
        peer.claim = Some(Claim {
            hold: holding,
            stable: resource.stable.unwrap_or_else(|| before.is_some_and(|claim| claim.stable)),
            releasing: matches!(resource.info.as_deref(), Some("standby" | "shutdown")),
            seq,
            since: before.filter(|_| held == holding).map_or(Aside(now), |claim| claim.since),
        });
        self.evidence.unanswered = 0;
        if before.is_none() {
            // What it held before it spoke to us nobody knows.
            self.announce_again(self.book.hold);
        }
        if self.nodes.get(from).is_some_and(|peer| peer.claim.is_some_and(|claim| claim.releasing))
            && let Some(conversation) = &self.book.conversation
            && (conversation.role, conversation.step, conversation.with) == (Role::Taking, Step::Asked, from)
        {
            // It takes its time, as long as scripts may take.
            self.deadlines.set(Timer::Standby, now.plus(classic::WORK_LIMIT));
        }
        if let Some((done, holding)) = self.book.early.take().filter(|(done, _)| done.node == from && done.value > seq)
        {
            // What it has released came after the word that it had; now that word may be understood.
            self.on_ask(from, done.value, AskResources { holding, step: StandbyStep::Done });
        }
    }

    // --- what happens to others

    pub(super) fn forget_claim(&mut self, node: NodeId) {
        self.ledger.forget(node);
        self.forget_placement(node);
        if let Some(peer) = self.nodes.get_mut(node) {
            peer.claim = None;
        }
        self.book.early = self.book.early.take().filter(|(done, _)| done.node != node);
    }

    pub(super) fn on_peer_restarted(&mut self, node: NodeId) {
        if self.book.conversation.as_ref().is_some_and(|conversation| conversation.with == node) {
            self.cancel(Cancellation::PeerRestarted);
        }
        self.cancel_takeover(Cancellation::PeerRestarted);
        self.announce_again(self.book.hold);
    }

    /// A node came, went, or changed its status word.
    pub(super) fn on_liveness_changed(&mut self, node: NodeId, before: Liveness, after: Liveness) {
        if after == Liveness::Dead {
            self.cancel_takeover(Cancellation::PeerDied);
            self.announce_again(self.book.hold);
        } else if !before.is_live() {
            // First contact, or contact again: it must hear at once that we are here, and what we hold (CLUSTER k.1b).
            // *Ours*: the original says so at a healed partition only (WIRE 10.5), else at its next heartbeat.
            self.greet();
            self.announce_again(self.book.hold);
        }
        if after == Liveness::Active && !self.ledger.rules {
            self.say_count();
        }
        if after == Liveness::Active && self.nodes.get(node).is_some_and(|peer| peer.claim.is_none()) {
            self.expect_answers();
        }
    }

    /// Says that we are here and what we hold, to one other node at once and to several together.
    pub(super) fn greet(&mut self) {
        if self.is_pair() {
            self.greet_now();
        } else {
            self.deadlines.start(Timer::Greet, self.now.plus(GREET_TOGETHER));
        }
    }

    pub(super) fn greet_now(&mut self) {
        self.send_status();
        self.book.said = None;
        if self.ledger.rules && self.ledger.version > 0 {
            self.say_ownership();
        }
    }

    /// Whether there is at most one other member.
    fn is_pair(&self) -> bool {
        self.nodes.others().nth(1).is_none()
    }

    /// *Ours*: whenever the other node may have had our addresses, clients are told again where they are. It may have had
    /// them without our hearing of it: while this machine was frozen, or in messages that are lost or overtaken.
    pub(super) fn announce_again(&mut self, set: Holding) {
        if self.vigil != Vigil::Awake {
            return;
        }
        if self.ledger.rules {
            return self.announce_owned();
        }
        for group in self.groups_in(set) {
            self.executor.announce(&mut context!(self), group);
        }
    }

    /// Says `starting` once more if an active node has not answered it: it may not have been ready, or we were not.
    pub(super) fn on_starting_unanswered(&mut self) {
        if self.ledger.rules {
            return self.tell_wordless();
        }
        if self.life != Lifecycle::Active {
            return;
        }
        let silent =
            |peer: &crate::membership::Peer| peer.liveness == Liveness::Active && !peer.gone && peer.claim.is_none();
        let Some(node) = self.nodes.others().find(|(_, peer)| silent(peer)).map(|(node, _)| node) else { return };
        self.evidence.unanswered = self.evidence.unanswered.saturating_add(1);
        if self.evidence.unanswered.is_multiple_of(UNANSWERED_WORTH_A_LINE) {
            self.report(Event::NoAnswerToStarting { node: self.name(node) });
        }
        self.send(Body::Starting, None);
        // To a 3.0.6 that voids what we said before: it counts us as unstable until we say so again (CLUSTER c.2).
        self.book.said = None;
        self.deadlines.set(Timer::Starting, self.now.plus(STARTING_REPEAT));
    }
}
