//! Native ownership carried out: the view gathered, intents done, claims said and heard. Read OWNERSHIP first.
//!
//! ```text
//! heartbeat -> hears, echo (hearing.rs) -+
//! ownership -> claims (ledger) ----------+-> view -> native::decide, group by group -> intents -> executor, memory
//! operation done -> executor ------------+                                              |
//! Timer::Ownership --------------------- +       what is said of a group changed -> ownership <-+
//! ```

use super::lateness::Vigil;
use super::{Node, context};
use crate::action::Cancellation;
use crate::deadlines::Timer;
use crate::event::{Decision, Event, Step};
use crate::ids::{GroupId, NodeId};
use crate::input::Which;
use crate::membership::{Fence, Lifecycle, Liveness, ProvedBy};
use crate::resource::native::{
    self, Because, GroupView, Handover, Intent, Look, Memory, Obstacle, Own, Standing, View, decide,
};
use crate::resource::{Doing, Phase, Why};
use crate::wire::Body;
use crate::wire::message::{Attempt, Holding};
use alloc::string::String;
use alloc::vec::Vec;

impl Node {
    /// Whether the native book rules: everybody who lives speaks it, and there is something to rule.
    pub(super) fn is_native(&self) -> bool {
        self.config.shares_groups() && self.dialect().native.is_some()
    }

    /// Asks the rule for every group until it wants nothing more.
    pub(super) fn decide_ownership(&mut self) {
        if !core::mem::replace(&mut self.ledger.rules, true) {
            self.leave_classes();
        }
        self.note_reach();
        self.tell_whom_we_hear();
        let mut look = Look::default();
        let view = self.ownership_view(&mut look);
        for slot in 0..self.ledger.entries().len() {
            self.note_progress(slot);
            for round in 0.. {
                assert!(round < 100, "each intent ends the condition of its rule, so the rule settles");
                let Some(intent) = self.group_view(slot).and_then(|group| decide(&view, &group, &mut look)) else {
                    break;
                };
                self.do_intent(slot, intent);
            }
        }
        self.deadlines.set_or_clear(Timer::Ownership, look.0);
        self.prove_silence(&view);
        self.expect_words(&view);
        self.map_to_classes();
        self.say_changes(&view);
        self.answer_moves();
        if self.life == Lifecycle::Stopping && self.is_all_down() {
            self.send(Body::Shutdone, None);
            self.linger();
        }
    }

    /// Who keeps us from a group by silence alone is reset (OWNERSHIP 3 (b)).
    fn prove_silence(&mut self, view: &View) {
        if !self.config.demands_proof() {
            return;
        }
        // What kept us from beginning keeps us from going on: another node hears it, or we leave.
        let target =
            self.shot_at().filter(|node| self.life == Lifecycle::Stopping || !native::is_out_to_all(view, *node));
        if let Some(node) = target {
            self.cease_fire(node);
        }
        let slots = 0..self.ledger.entries().len();
        let needed = slots.filter_map(|slot| native::needs_proof(view, &self.group_view(slot)?));
        let needed: Vec<NodeId> = needed.collect();
        self.see_to_fencing(&needed);
    }

    fn is_all_down(&self) -> bool {
        (0..).map(GroupId).zip(self.config.groups()).all(|(group, _)| self.executor.doing(group).is_down())
    }

    /// The last 3.0.6 is gone: what runs here stays, as attempts of our own (OWNERSHIP 6).
    fn leave_classes(&mut self) {
        self.cancel(Cancellation::Native);
        self.cancel_takeover(Cancellation::Native);
        for timer in [Timer::Starting, Timer::Standby, Timer::Takeover, Timer::Doubt, Timer::Contested] {
            self.deadlines.clear(timer);
        }
        if self.vigil == Vigil::Doubting {
            self.vigil = Vigil::Awake;
        }
        self.leave_partner();
    }

    /// A 3.0.6 lives from now on: what runs here is held by the classic book (OWNERSHIP 6). Actions under way go on.
    pub(super) fn leave_ownership(&mut self) {
        self.ledger.rules = false;
        self.deadlines.clear(Timer::Ownership);
        self.cancel_moves(&Cancellation::Classic);
        for slot in 0..self.ledger.entries().len() {
            if let Some(entry) = self.ledger.get_mut(slot) {
                let counter = entry.memory.counter;
                entry.memory = Memory { counter, ..Memory::default() };
                entry.said = None;
            }
        }
        // A class of which anything runs here is held: nobody else may start it.
        let runs = |local: bool| {
            (0..)
                .map(GroupId)
                .zip(self.config.groups())
                .any(|(group, config)| (config.home == self.config.local()) == local && self.executor.is_wanted(group))
        };
        let hold = Holding { local: runs(true), foreign: runs(false) };
        // Only who joins says `starting`. To a 3.0.6 that returns it would void what both just agreed on, and its answer looks
        // like the end of the standby that it begins by itself (CLUSTER b.6).
        let starting_said = self.view().phase != Phase::Joining;
        self.book = crate::resource::classic::Book {
            hold,
            needs_failback: hold.foreign,
            starting_said,
            ..crate::resource::classic::Book::default()
        };
    }

    /// What the classic words for our holdings are, for status and old tools.
    fn map_to_classes(&mut self) {
        // Who has no groups of its own is said to hold them while it holds nothing else (CLUSTER c.2).
        let is_home = self.config.groups().iter().any(|group| group.home == self.config.local());
        let mut hold = Holding { local: true, foreign: false };
        for (group, config) in (0..).map(GroupId).zip(self.config.groups()) {
            let is_ours = self.ledger.is_held(group);
            if config.home == self.config.local() {
                hold.local &= is_ours;
            } else {
                hold.foreign |= is_ours;
            }
        }
        hold.local &= is_home || !hold.foreign;
        self.book.hold = if self.life == Lifecycle::Active { hold } else { Holding::NONE };
    }

    /// Whether nothing is being started, stopped or moved here.
    pub(super) fn is_at_rest(&self) -> bool {
        let entries = self.ledger.entries();
        let pending = |memory: &Memory| memory.handover.is_some() || memory.wanted.is_some() || memory.contested;
        let moving =
            (0..).map(GroupId).zip(self.config.groups()).any(|(group, _)| self.executor.doing(group).is_moving());
        let asks = |memory: &Memory| memory.own.is_some_and(|own| own.held.is_none());
        self.life == Lifecycle::Active
            && !moving
            && !entries.iter().any(|entry| pending(&entry.memory) || asks(&entry.memory))
    }

    /// What others may have had while we did not look is announced again.
    pub(super) fn announce_owned(&mut self) {
        for group in (0..).map(GroupId).take(self.config.groups().len()) {
            if self.ledger.is_held(group) {
                self.executor.announce(&mut context!(self), group);
            }
        }
    }

    /// We did not run for so long: who took a group over meanwhile has held it longer (OWNERSHIP 2).
    pub(super) fn hold_anew(&mut self, silent: core::time::Duration) {
        if silent >= self.times().self_deadline {
            self.hold_from_now();
        }
    }

    /// What we held we held in vain; whether there is any.
    pub(super) fn hold_from_now(&mut self) -> bool {
        let (now, mut any) = (*self.now, false);
        for slot in 0..self.ledger.entries().len() {
            self.remember(slot, |memory| {
                memory.own = memory.own.map(|own| Own { held: own.held.map(|_| now), ..own });
                any |= memory.own.is_some_and(|own| own.held.is_some());
            });
        }
        any
    }

    /// The preferred node is another life now: what an operator put elsewhere may go home when it is back (CLUSTER c.6).
    pub(super) fn forget_placement(&mut self, node: NodeId) {
        for (group, config) in (0..).map(GroupId).zip(self.config.groups()) {
            if config.home == node
                && let Some(memory) = self.ledger.memory_mut(group)
            {
                memory.kept = false;
            }
        }
    }

    pub(super) fn note_evidence(&mut self, group: GroupId, why: Why) {
        let now = *self.now;
        self.evidence.note_group(group, why, now);
    }

    /// When the majority counts as lost, if we hold a group that needs one and nothing more is heard.
    pub(super) fn majority_lost_at(&self) -> Option<crate::time::Instant> {
        let needs = |group: GroupId| self.ledger.is_held(group) && self.config.exclusion(Some(group)).quorum;
        let holds = self.ledger.rules && (0..).map(GroupId).take(self.config.groups().len()).any(needs);
        holds.then(|| self.ownership_view(&mut Look::default()).majority_until().unwrap_or(*self.now))
    }

    // --- the view

    /// Everything the rule may see of nodes.
    pub(super) fn ownership_view(&self, look: &mut Look) -> View {
        let phase = match self.life {
            Lifecycle::Active => Phase::Active,
            Lifecycle::Stopping => Phase::Stopping,
            _ => Phase::Joining,
        };
        let by_config = self.agrees_on_order();
        let rank = |node: NodeId| if by_config { node.0 } else { self.rank_by_name(node) };
        let peers = self.nodes.others().map(|(node, peer)| {
            let told = peer.contact.told.as_ref();
            native::PeerView {
                node,
                rank: rank(node),
                standing: self.standing(node, look),
                is_fresh: told
                    .is_some_and(|told| self.ledger.heard(node).is_some() && self.ledger.heard(node) >= told.claims),
                names_us: told.is_some_and(|told| told.names_us),
                hears: told.map(|told| told.live).unwrap_or_default(),
                counts_out: told.map(|told| told.dead.union(told.gone)).unwrap_or_default(),
                echo: peer.contact.echo,
                since: peer.contact.since,
                is_deaf: peer.contact.is_deaf,
                offers_back: false,
                is_fenced: peer.is_fenced(),
                died: peer.died,
                is_strange: peer.is_strange(),
                reach: native::Reach {
                    pings: told.and_then(|told| told.pings),
                    since: peer.contact.reaches_since,
                    again: None,
                },
            }
        });
        let me = self.config.local();
        let handovers = self.ledger.entries().iter().filter_map(|entry| entry.memory.handover.as_ref());
        let offering = handovers
            .filter(|handover| matches!(handover.because, Because::Operator(_)))
            .map(|handover| handover.to)
            .collect();
        let peers: Vec<native::PeerView> = peers.collect();
        let (times, reach) = (self.times(), self.reach);
        let mut view = View { me, rank: rank(me), now: *self.now, phase, times, peers, offering, reach };
        for peer in view.peers.iter_mut().filter(|peer| view.offering.has(peer.node)) {
            let mut claims = self.ledger.entries().iter().filter_map(|entry| entry.claim(peer.node));
            peer.offers_back = claims.any(|claim| claim.kept && claim.owns() && claim.successor == Some(me));
        }
        view
    }

    fn times(&self) -> native::Times {
        let live = self.nodes.others().filter(|(_, peer)| peer.liveness.is_live());
        let oldest = live.map(|(_, peer)| peer.contact.reach()).min().unwrap_or(*self.now);
        let deadtime = self.sent.least_deadtime(oldest, self.config.timing().deadtime());
        native::Times {
            keepalive: self.config.timing().keepalive(),
            deadtime,
            self_deadline: self.config.self_deadline(deadtime),
            takeover_delay: self.config.takeover_delay(),
        }
    }

    /// What the node is to us (OWNERSHIP 2). A missing word is never agreement.
    pub(super) fn standing(&self, node: NodeId, look: &mut Look) -> Standing {
        let Some(peer) = self.nodes.get(node) else { return Standing::Gone };
        let named = peer.contact.told.as_ref().is_some_and(|told| told.names_us);
        if peer.gone && named {
            return Standing::Gone;
        }
        if peer.liveness.is_live() && !peer.gone {
            // After a late wake only who was heard since is alive for certain.
            let renewed = peer.heard.is_some_and(|heard| heard >= self.trusted);
            return if renewed { Standing::Live } else { Standing::Unsure };
        }
        if peer.is_strange() && self.life.is_started() {
            // What it says is nobody's word; that it lives the rule sees beside this.
            return Standing::Dead;
        }
        if peer.liveness != Liveness::Dead {
            return Standing::Unsure;
        }
        let limit = peer.dead_time.unwrap_or(self.initdead().max(self.config.timing().deadtime()));
        let trusted = if self.trusted > self.started { self.trusted.plus(limit) } else { *self.now };
        if *self.now >= trusted {
            return Standing::Dead;
        }
        look.at(trusted);
        Standing::Unsure
    }

    /// Whether every live node has the same node lines in the same order.
    fn agrees_on_order(&self) -> bool {
        let live = self.nodes.others().filter(|(_, peer)| peer.liveness.is_live());
        let mut told = live.filter_map(|(_, peer)| peer.contact.told.as_ref());
        told.all(|told| told.same_order)
    }

    fn rank_by_name(&self, node: NodeId) -> u16 {
        let name = self.config.node(node).map(|node| node.name.as_str());
        let before = self.config.present().filter(|(_, other)| Some(other.name.as_str()) < name).count();
        u16::try_from(before).unwrap_or(u16::MAX)
    }

    /// Everything the rule may see of a group.
    pub(super) fn group_view(&self, slot: usize) -> Option<GroupView<'_>> {
        let entry = self.ledger.entries().get(slot)?;
        let listed = self.ledger.group(slot).and_then(|id| Some((id, self.config.groups().get(id.index())?)));
        let doing = listed.map_or(Doing::Stopped, |(id, _)| match self.executor.doing(id) {
            // What is not wanted any more is on its way down, whatever still runs of it.
            Doing::Starting | Doing::Running if !self.executor.is_wanted(id) => Doing::Stopping,
            doing => doing,
        });
        Some(GroupView {
            home: listed.map(|(_, group)| group.home),
            definition: listed.and_then(|(id, _)| self.config.definition(id)),
            doing,
            exclusion: self.config.exclusion(listed.map(|(id, _)| id)),
            failback: self.config.failback(),
            memory: &entry.memory,
            claims: &entry.claims,
        })
    }

    // --- intents

    fn do_intent(&mut self, slot: usize, intent: Intent) {
        let now = *self.now;
        let group = self.ledger.group(slot);
        match intent {
            Intent::Adopt => {
                let since = group.map_or(now, |group| self.executor.since(group));
                self.begin_attempt(slot);
                self.remember(slot, |memory| memory.own = memory.own.map(|own| Own { held: Some(since), ..own }));
            }
            Intent::Drop => {
                self.remember(slot, |memory| memory.own = None);
            }
            Intent::Ask => {
                self.begin_attempt(slot);
                self.tell_step(slot, Step::Asks);
            }
            Intent::Withdraw { yields } => {
                let until = yields.then(|| now.plus(self.times().deadtime.saturating_mul(2)));
                self.remember(slot, |memory| {
                    memory.own = None;
                    memory.yields = until.or(memory.yields);
                });
                self.tell_step(slot, Step::Withdraws);
            }
            Intent::Act { because } => self.act(slot, because),
            Intent::Release { because } => self.let_go(slot, because),
            Intent::HandOver { to, because } => {
                let handover = Handover { to, because, offered: now, released: None };
                self.remember(slot, |memory| memory.handover = Some(handover));
                if because == Because::Stopping {
                    self.let_go(slot, because);
                }
            }
            Intent::EndHandover { .. } => {
                self.remember(slot, |memory| memory.handover = None);
            }
            Intent::Consent(epoch) => {
                self.remember(slot, |memory| memory.consent = Some(epoch));
                let node = self.name(epoch.node);
                self.tell_step(slot, Step::Consents { node });
            }
            Intent::EndConsent => self.remember(slot, |memory| memory.consent = None),
            Intent::Win { over } => {
                let known = self.ledger.entries().get(slot).map(|entry| entry.memory.beats.clone()).unwrap_or_default();
                for loser in over.into_iter().filter(|loser| !known.contains(loser)) {
                    let node = self.name(loser.node);
                    self.tell_step(slot, Step::Wins { node });
                    // A verdict stands: whoever is met later is named beside those that are still releasing.
                    self.remember(slot, |memory| memory.beats.push(loser));
                }
            }
            Intent::Contest { with } => {
                self.remember(slot, |memory| memory.contested = true);
                let node = self.name(with);
                self.tell_step(slot, Step::Contested { node });
            }
            Intent::EndContest => {
                self.remember(slot, |memory| {
                    memory.contested = false;
                    memory.beats.clear();
                });
                if let Some(group) = group {
                    self.executor.announce(&mut context!(self), group);
                }
                self.tell_step(slot, Step::Alone);
            }
            Intent::EndWish { fulfilled } => {
                self.remember(slot, |memory| {
                    memory.wanted = None;
                    memory.kept |= fulfilled;
                });
            }
        }
    }

    fn begin_attempt(&mut self, slot: usize) {
        let (now, generation) = (*self.now, self.boot.generation);
        self.remember(slot, |memory| {
            memory.counter = memory.counter.saturating_add(1);
            memory.own = Some(Own { attempt: Attempt { counter: memory.counter, generation }, asked: now, held: None });
            memory.consent = None;
        });
    }

    fn remember(&mut self, slot: usize, change: impl FnOnce(&mut Memory)) {
        if let Some(entry) = self.ledger.get_mut(slot) {
            change(&mut entry.memory);
        }
    }

    /// All conditions hold and enough consent to this very epoch (O10): the group is started.
    fn act(&mut self, slot: usize, because: Because) {
        let now = *self.now;
        let Some(group) = self.ledger.group(slot) else { return };
        let kept = match because {
            Because::HandedOver(from) => {
                let entry = self.ledger.entries().get(slot);
                entry.and_then(|entry| entry.claim(from)).is_some_and(|claim| claim.kept)
            }
            _ => false,
        };
        self.remember(slot, |memory| {
            memory.own = memory.own.map(|own| Own { held: Some(now), ..own });
            memory.kept = kept;
            memory.given = matches!(because, Because::HandedOver(_));
        });
        if let Because::Dead(node) = because
            && self.config.exclusion(Some(group)).silence
        {
            self.warn_of_two(slot, node);
        }
        let why = self.why_native(because);
        self.note_evidence(group, why.clone());
        self.report(Event::Decision { what: Decision::Acquire, groups: self.key(slot), why });
        self.executor.want(&mut context!(self), group, true);
    }

    /// The group is stopped, whatever of it runs.
    fn let_go(&mut self, slot: usize, because: Because) {
        let Some(group) = self.ledger.group(slot) else { return };
        self.remember(slot, |memory| {
            memory.own = None;
            memory.contested = false;
            memory.beats.clear();
        });
        let why = self.why_native(because);
        self.note_evidence(group, why.clone());
        self.report(Event::Decision { what: Decision::Release, groups: self.key(slot), why });
        self.executor.want(&mut context!(self), group, false);
    }

    /// Keeps memory in step with what runs: when nothing of a group that is handed over runs here any more the name of its
    /// successor begins to age; when a group that was handed to us runs, that is told in the original's words.
    fn note_progress(&mut self, slot: usize) {
        let now = *self.now;
        let Some(group) = self.ledger.group(slot) else { return };
        let (doing, is_wanted) = (self.executor.doing(group), self.executor.is_wanted(group));
        let mut is_done = false;
        self.remember(slot, |memory| {
            if let Some(handover) = &mut memory.handover
                && doing.is_down()
            {
                handover.released.get_or_insert(now);
            }
            is_done = doing == Doing::Running && core::mem::take(&mut memory.given);
        });
        if is_done && is_wanted {
            let home = self.config.groups().get(group.index()).map(|group| group.home);
            let set = if home == Some(self.config.local()) { Which::Local } else { Which::Foreign };
            self.report(Event::StandbyAcquired { set });
        }
    }

    // --- words

    fn key(&self, slot: usize) -> String {
        self.ledger.entries().get(slot).map_or_else(String::new, |entry| entry.key.clone())
    }

    fn tell_step(&mut self, slot: usize, step: Step) {
        let group = self.key(slot);
        self.report(Event::Ownership { group, step });
    }

    /// Policy `at-least-one` starts what a silent node may still run: said by its name, once for each death.
    fn warn_of_two(&mut self, slot: usize, node: NodeId) {
        let (group, node) = (self.key(slot), self.name(node));
        self.report(Event::NoStonith { node: node.clone() });
        self.report(Event::Ownership { group, step: Step::MayBeTwo { node } });
    }

    fn why_native(&self, because: Because) -> Why {
        match because {
            Because::Alone => Why::Alone,
            Because::Preferred => Why::Preferred,
            Because::FirstAble => Why::FirstAble,
            Because::Gone(node) => Why::PeerGone { node: self.name(node) },
            Because::Dead(node) => self.why_dead(node),
            Because::Fenced(node) => {
                let by = match self.nodes.get(node).map(|peer| peer.fence) {
                    Some(Fence::Proved(ProvedBy::Operator)) => Some(self.name(self.config.local())),
                    Some(Fence::Proved(ProvedBy::Peer(by))) => Some(self.name(by)),
                    _ => None,
                };
                Why::Fenced { node: self.name(node), by }
            }
            Because::HandedOver(node) => Why::GivenBy { node: self.name(node) },
            Because::Failback(node) => Why::Failback { to: self.name(node) },
            Because::Operator(node) | Because::Wanted(node) => Why::MovedTo { node: self.name(node) },
            Because::Stopping => Why::Stopping,
            Because::Minority => {
                let echoes = self.nodes.others().filter_map(|(_, peer)| peer.contact.echo);
                Why::Minority {
                    heard: echoes.max().map(|echo| self.now.since(echo)),
                    limit: self.times().self_deadline,
                }
            }
            Because::Deaf(node) => {
                let reach = self.nodes.get(node).map_or(*self.now, |peer| peer.contact.reach());
                Why::Deaf { node: self.name(node), silent: self.now.since(reach) }
            }
            Because::Lost(node) => Why::LostTo { node: self.name(node) },
            Because::Reach(node) => self.why_reach(node),
        }
    }

    /// Why a group does not run here, for status.
    pub(super) fn why_not_owned(&self, slot: usize) -> Why {
        let mut look = Look::default();
        let view = self.ownership_view(&mut look);
        let Some(group) = self.group_view(slot) else { return Why::Joining };
        let node = |node: NodeId| self.name(node);
        match native::waiting_for(&view, &group) {
            _ if !self.life.is_started() => Why::Joining,
            Some(Obstacle::Unable(unable)) => Why::Unable(unable),
            Some(Obstacle::Unsure(at)) => Why::Unheard { node: node(at) },
            Some(Obstacle::Duty(because)) => self.why_native(because),
            Some(Obstacle::AbleAgain) => Why::AbleAgain,
            Some(Obstacle::Strange(at)) => Why::Strange { node: node(at) },
            Some(Obstacle::Delayed(at)) => Why::Delayed { node: node(at), delay: self.config.takeover_delay() },
            Some(Obstacle::CutOff(at)) => Why::CutOff { node: node(at) },
            Some(Obstacle::Unanswered(at)) => Why::Unanswered { node: node(at) },
            Some(Obstacle::Held(at) | Obstacle::Offered(at)) => Why::HeldBy { node: node(at) },
            Some(Obstacle::LeftTo(at) | Obstacle::Consented(at) | Obstacle::HandingOver(at)) => {
                Why::LeftToPreferred { node: node(at) }
            }
            Some(Obstacle::NoConsent(at)) => Why::NoConsent { node: node(at) },
            Some(Obstacle::NoProof(at)) => Why::NoProof { node: node(at) },
            Some(Obstacle::NoMajority) => Why::NoMajority,
            Some(Obstacle::Busy) | None => Why::Moving,
        }
    }
}

impl Node {
    /// Whether the vigil lets anything be decided.
    pub(super) fn may_decide(&self) -> bool {
        matches!(self.life, Lifecycle::Active | Lifecycle::Stopping) && !matches!(self.vigil, Vigil::Reading(_))
    }
}
