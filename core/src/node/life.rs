//! Our own start and end, heartbeats, the life and death of others. Read WIRE 10 and CLUSTER a, b first.

use super::{Node, context, dialect};
use crate::action::{Action, Cancellation, ExitReason, StateFile};
use crate::config::Autojoin;
use crate::deadlines::Timer;
use crate::event::Event;
use crate::ids::{Generation, NodeId, Seq};
use crate::membership::{
    Join, LINGER, Lifecycle, Liveness, NODE_LIST_REPEAT, NODE_LIST_TRIES, Peer, START_GRACE, START_GRACE_LASTS,
    STARTING_REPEAT,
};
use crate::wire::message::{RepNodes, Status, StatusWord};
use crate::wire::{Body, Message};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::time::Duration;

impl Node {
    /// The first step: three heartbeats (WIRE 10.2), then one every keepalive.
    pub(super) fn boot(&mut self) {
        self.report(Event::Generation(self.boot.generation));
        self.deadlines.set(Timer::StartGrace, self.started.plus(START_GRACE_LASTS));
        // Before a first heartbeat leaves word with the guard, which is another one while this is under way.
        self.executor.probe(&mut context!(self), &self.boot.cut_short);
        self.send_status();
        self.enter(Lifecycle::Joining(Join::Listening));
        self.send_status();
        self.on_keepalive();
        let others: Vec<NodeId> = self.nodes.others().map(|(id, _)| id).collect();
        for node in others {
            self.rearm_death(node);
        }
        self.expect_pings();
        if self.config.autojoin() != Autojoin::None {
            self.deadlines.set(Timer::Autojoin, self.started.plus(self.initdead()));
        }
        self.begin_keeping_members();
        self.go_on_joining();
    }

    fn enter(&mut self, life: Lifecycle) {
        let before = core::mem::replace(&mut self.life, life).status_word();
        let word = life.status_word();
        if before != word {
            self.report(Event::LocalStatus(word));
        }
    }

    pub(super) fn on_keepalive(&mut self) {
        self.send_status();
        self.deadlines.set(Timer::Keepalive, self.now.plus(self.config.timing().keepalive()));
        self.entrust();
    }

    pub(super) fn send_status(&mut self) {
        let grace = if self.now.since(self.started) < START_GRACE_LASTS { START_GRACE } else { Duration::ZERO };
        let status = Status {
            word: StatusWord::of(Cow::Borrowed(self.life.status_word())),
            deadtime: Some(self.config.timing().deadtime().saturating_add(grace)),
            protocol: Some(1),
            native: self.config.speaks_native().then_some(dialect::NATIVE),
            hears: self.hears(),
        };
        self.send(Body::Status(status), None);
        self.note_sent();
        self.send_pings();
    }

    // --- the way in

    /// Goes on when every node was heard or is dead: first the node list, then `active` (CLUSTER b.2). With `autojoin` who
    /// is not named has the time of `initdead` to be heard.
    pub(super) fn go_on_joining(&mut self) {
        let initdead = self.started.plus(self.initdead());
        let may_join = self.config.autojoin() == Autojoin::None || *self.now >= initdead;
        let all_known = may_join && self.nodes.all_known(*self.now >= initdead) && self.pings.all_known();
        if self.life == Lifecycle::Joining(Join::Listening) && all_known {
            self.life = Lifecycle::Joining(Join::AskingNodes { tries: 0 });
            self.ask_for_nodes();
        }
    }

    pub(super) fn ask_for_nodes(&mut self) {
        let Lifecycle::Joining(Join::AskingNodes { tries }) = self.life else { return };
        match self.nodes.whom_to_ask(tries) {
            Some(node) if tries < NODE_LIST_TRIES => {
                self.life = Lifecycle::Joining(Join::AskingNodes { tries: tries.saturating_add(1) });
                self.deadlines.set(Timer::NodeList, self.now.plus(NODE_LIST_REPEAT));
                self.send(Body::ReqNodes, Some(node));
            }
            Some(_) => {
                self.report(Event::NoNodeList { tries });
                self.start_complete();
            }
            None => self.start_complete(),
        }
    }

    fn start_complete(&mut self) {
        self.deadlines.clear(Timer::NodeList);
        self.report(Event::CommunicationUp);
        self.enter(Lifecycle::Active);
        self.begin_inspection();
        self.open_door();
        self.start_programs();
        self.send_status();
        let others: Vec<NodeId> = self.nodes.others().map(|(id, _)| id).collect();
        for node in others {
            // Dead times are shorter from here on.
            self.rearm_death(node);
        }
    }

    fn on_node_list(&mut self, from: NodeId, list: &RepNodes<'_>) {
        self.compare_node_list(from, list);
        if matches!(self.life, Lifecycle::Joining(Join::AskingNodes { .. })) {
            self.start_complete();
        }
    }

    // --- messages

    /// A message that is new, in any order, and addressed to us.
    pub(super) fn on_sequenced(&mut self, from: NodeId, seq: Seq, message: &Message<'_>) {
        match &message.body {
            Body::Status(status) => self.on_status(from, seq, status),
            Body::ReqNodes => {
                let list = self.members_told();
                self.send(Body::RepNodes(list), Some(from));
            }
            Body::RepNodes(list) => self.on_node_list(from, list),
            Body::AddNode(names) => self.on_add_nodes(from, names),
            Body::DelNode(names) => self.on_delete_nodes(from, names),
            Body::SetWeight(set) => self.on_set_weight(&set.node, set.weight),
            Body::SetSite(set) => self.on_set_site(&set.node, &set.site),
            Body::Shutdone => self.on_shutdone(from),
            Body::Ownership(said) => self.on_ownership(from, seq, said),
            Body::ReqOwnership => self.greet(),
            Body::Stonith(said) => self.on_stonith(from, said),
            // WIRE 11: before our start is complete nothing else counts.
            _ if !self.life.is_started() => {}
            Body::QueryClient(query) => self.on_client_query(from, &query.client, &query.from_id),
            _ if !self.config.manages_resources() => {}
            _ if self.ledger.rules => {}
            Body::Client { kind, fields } => self.on_client_said(from, kind, fields),
            Body::ClientStatus(status) => self.on_client_status(from, status),
            Body::Starting => self.on_starting(from, seq),
            Body::Resource(resource) => self.on_resource(from, seq, resource),
            Body::AskResources(ask) => self.on_ask(from, seq, *ask),
            Body::Takeover(set) => self.on_hb_takeover(from, *set),
            _ => {}
        }
    }

    /// A `status` of a later life than we know: whatever the node held or said before is void (WIRE 9.2 (2)).
    pub(super) fn on_restart(&mut self, node: NodeId, generation: Generation) {
        let Some(peer) = self.nodes.get_mut(node) else { return };
        let known = peer.heard.is_some();
        let lost = peer.receiver.restart(generation);
        peer.gone = false;
        peer.asked = false;
        if peer.liveness == Liveness::Active {
            // However much of its start we missed: it is a change, after which it must say what it holds.
            peer.liveness = Liveness::Up;
        }
        self.begin_contact(node);
        self.deadlines.clear(Timer::Rexmit(node));
        self.sender.forget(node);
        self.sender.meet(node);
        self.forget_claim(node);
        self.give_up(node, lost, "its sender has restarted");
        if known {
            self.report(Event::Restart { node: self.name(node), generation });
            self.on_peer_restarted(node);
        }
    }

    fn on_status(&mut self, from: NodeId, seq: Seq, status: &Status<'_>) {
        let (now, timing, most) = (*self.now, self.config.timing(), self.config.max_peer_deadtime());
        let Some(peer) = self.nodes.get_mut(from) else { return };
        let newest = peer.receiver.newest_status();
        if seq <= newest {
            // A heartbeat overtaken by a later one says nothing about now (WIRE 9.7).
            return;
        }
        let before = peer.liveness;
        let liveness = if status.word == StatusWord::Active { Liveness::Active } else { Liveness::Up };
        let interval = peer.heard.map(|heard| now.since(heard));
        let returned = before == Liveness::Dead && newest > Seq(0);
        peer.receiver.note_status(seq);
        peer.heard = Some(now);
        // Without a dead time of its own ours counts (WIRE 10.3).
        let asked = status.deadtime.filter(|asked| !asked.is_zero());
        let granted = asked.map(|asked| asked.min(most));
        let capped = asked.filter(|_| granted < asked && peer.dead_time != granted);
        peer.dead_time = granted;
        peer.native = status.native;
        peer.liveness = liveness;
        self.rearm_death(from);
        self.limit_doubt();
        if let Some(asked) = capped {
            self.report(Event::DeadTimeCapped { node: self.name(from), asked, granted: most });
        }
        if returned {
            self.report(Event::ReturnAfterPartition { node: self.name(from) });
        } else if let Some(interval) = interval.filter(|interval| before.is_live() && *interval > timing.warntime()) {
            let deadtime = (interval > timing.deadtime()).then(|| timing.deadtime());
            self.report(Event::LateHeartbeat { node: self.name(from), interval, deadtime });
        }
        if !before.is_live() {
            self.sender.meet(from);
            self.begin_contact(from);
        }
        self.note_dead_times(from);
        self.hear_hearing(from, seq, status);
        if before != liveness {
            self.report(Event::NodeStatus { node: self.name(from), liveness });
            self.on_liveness_changed(from, before, liveness);
            self.go_on_joining();
        }
        self.note_dialect();
    }

    /// Who has not been heard in this life may have the longest dead time of the cluster (OWNERSHIP 2): what is longer than
    /// `initdead` is remembered for the next life.
    fn note_dead_times(&mut self, from: NodeId) {
        let (now, initdead, before) = (*self.now, self.config.timing().initdead(), self.longest_deadtime);
        // Some seconds after its start a node announces more than it has (WIRE 10.2).
        let plain = |peer: &Peer| peer.dead_time.filter(|_| now.since(peer.contact.since) > START_GRACE_LASTS);
        let said = self.nodes.get(from).and_then(plain);
        if said.is_none_or(|said| said <= initdead && before.is_zero()) {
            return;
        }
        let known = || self.nodes.others().map(|(_, peer)| plain(peer));
        let longest = known().flatten().filter(|dead_time| *dead_time > initdead).max().unwrap_or_default();
        // Until all were heard it may be one of the others that had it.
        let longest = if known().all(|dead_time| dead_time.is_some()) { longest } else { longest.max(before) };
        if longest == before {
            return;
        }
        self.longest_deadtime = longest;
        let text = alloc::format!("{}\n", longest.as_millis());
        self.actions.0.push(Action::Persist { file: StateFile::Deadtime, text });
        if longest > before {
            self.report(Event::DeadTimeLong { node: self.name(from), deadtime: longest, initdead });
        }
    }

    /// So long a node that was not heard in this life may be alive.
    pub(super) fn initdead(&self) -> Duration {
        self.config.timing().initdead().max(self.longest_deadtime)
    }

    fn on_shutdone(&mut self, from: NodeId) {
        self.report(Event::ShutdownNotice { node: self.name(from) });
        if let Some(peer) = self.nodes.get_mut(from) {
            peer.gone = true;
        }
        self.forget_claim(from);
    }

    // --- death

    /// Sets the time at which `node` is dead if it stays silent.
    pub(super) fn rearm_death(&mut self, node: NodeId) {
        let Some(peer) = self.nodes.get(node) else { return };
        if peer.liveness != Liveness::Dead {
            let at = peer.dead_at(&self.config, (!self.life.is_started()).then(|| self.initdead()));
            self.deadlines.set(Timer::NodeDead(node), at);
        }
    }

    pub(super) fn on_node_silent(&mut self, node: NodeId) {
        let now = *self.now;
        let deadtime = self.config.timing().deadtime();
        let Some(peer) = self.nodes.get_mut(node) else { return };
        let before = core::mem::replace(&mut peer.liveness, Liveness::Dead);
        peer.died = Some(now);
        let lost = peer.receiver.forget_missing();
        let silent = now.since(peer.heard.unwrap_or(peer.since));
        let (limit, never_heard) = (peer.dead_time.unwrap_or(deadtime), peer.heard.is_none());
        self.deadlines.clear(Timer::Rexmit(node));
        self.sender.forget(node);
        self.forget_claim(node);
        self.report(Event::NodeDead { node: self.name(node), silent, limit, never_heard });
        self.raise_alarm(node);
        self.offer_death(node);
        self.give_up(node, lost, "its sender is dead");
        self.on_liveness_changed(node, before, Liveness::Dead);
        self.note_dialect();
        self.go_on_joining();
    }

    // --- the way out

    /// Gives up everything, says so, lingers, ends (CLUSTER b.4). Before communication is up there is nothing to give up
    /// (*ours*, scenario S12: the original waits).
    pub(super) fn begin_stop(&mut self) {
        if matches!(self.life, Lifecycle::Stopping | Lifecycle::Lingering | Lifecycle::Ended) {
            return;
        }
        self.report(Event::ShutdownBegins { manages_resources: self.config.manages_resources() });
        for timer in [Timer::NodeList, Timer::Starting, Timer::Greet, Timer::Autojoin] {
            self.deadlines.clear(timer);
        }
        if self.life == Lifecycle::Booting {
            return self.end();
        }
        self.enter(Lifecycle::Stopping);
        self.end_inspection();
        self.send_status();
        self.refuse_clients_for_stop();
        self.cancel_moves(&Cancellation::Stopping);
    }

    /// Everything is released and said.
    pub(super) fn linger(&mut self) {
        if self.config.manages_resources() {
            self.report(Event::AllReleased);
        }
        self.life = Lifecycle::Lingering;
        let linger = if self.is_anybody_there() { LINGER } else { Duration::ZERO };
        // Whoever lost `shutdone` sees the gap at once.
        self.send_status();
        self.deadlines.set(Timer::Linger, self.now.plus(linger));
        self.stop_programs();
    }

    pub(super) fn end(&mut self) {
        self.life = Lifecycle::Ended;
        self.deadlines = crate::deadlines::Deadlines::default();
        self.report(Event::ShutdownComplete { me: self.name(self.config.local()) });
        let reason = if self.programs.has_failed { ExitReason::Failfast } else { ExitReason::Stopped };
        self.actions.0.push(Action::Exit(reason));
    }

    /// Says `starting` again while an active node has not told us what it holds.
    pub(super) fn expect_answers(&mut self) {
        if !self.config.manages_resources() {
            return;
        }
        self.deadlines.start(Timer::Starting, self.now.plus(STARTING_REPEAT));
    }
}
