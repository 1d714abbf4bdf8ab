//! Conversations about who takes which groups: what the other node says in them, how they end, what operators ask for.
//! Read CLUSTER c.7 and c.8, WIRE 12.3 first.

use super::{Node, context};
use crate::action::{Action, Cancellation, Refusal, Response};
use crate::deadlines::Timer;
use crate::event::Event;
use crate::ids::{ClientId, NodeId, Seq};
use crate::input::{Request, Which};
use crate::mark::{Aside, Of};
use crate::membership::Liveness;
use crate::resource::classic::{self, Cause, Conversation, Heard, Intent, Role, Step, Takeover, is_stable};
use crate::resource::{Claim, Doing, Phase, Why};
use crate::wire::Body;
use crate::wire::message::{AskResources, Holding, StandbyStep};
use core::time::Duration;

/// How long our `hb_takeover` waits for the other node's request.
const TAKEOVER_REPLY_LIMIT: Duration = Duration::from_secs(10);

impl Node {
    /// Begins a conversation, or its next step, with the time limit that belongs to it.
    pub(super) fn converse(&mut self, conversation: Conversation) {
        self.deadlines.set(Timer::Standby, self.now.plus(conversation.limit()));
        self.book.conversation = Some(conversation);
    }

    pub(super) fn say_ask(&mut self, set: Holding, step: StandbyStep) {
        self.send(Body::AskResources(AskResources { holding: set, step }), None);
    }

    // --- hearing

    pub(super) fn on_ask(&mut self, from: NodeId, seq: Seq, ask: AskResources) {
        if ask.step == StandbyStep::Me && self.later_claim(from, seq).is_some_and(|claim| claim.stable) {
            // Whoever is stable has ended every conversation that it began before.
            return;
        }
        match classic::on_ask(&self.view(), &self.book, from, seq, ask) {
            Heard::Answer => {
                if self.book.conversation.is_some() {
                    self.cancel(Cancellation::Yielded);
                }
                self.deadlines.clear(Timer::Takeover);
                self.report(Event::StandbyAsked { node: self.name(from), set: which(ask.holding) });
                let (set, since) = (ask.holding, Of { node: from, value: seq });
                let (role, step) = (Role::Taking, Step::Asked);
                self.converse(Conversation { role, step, set, with: from, since, next: None });
                self.say_ask(set, StandbyStep::Other);
            }
            Heard::Release => {
                let Some(mut conversation) = self.book.conversation.clone() else { return };
                conversation.step = Step::Working;
                // Requests that it made before it answered are void.
                conversation.since = Of { node: from, value: seq };
                let Role::Giving(cause) = conversation.role else { return };
                let (set, to) = (conversation.ours(), self.name(from));
                self.report(Event::StandbyAnswered { node: to.clone(), set: which(set) });
                self.converse(conversation);
                let why = match cause {
                    Cause::Failback => Why::Failback { to },
                    Cause::Operator(_) | Cause::Peer | Cause::Local => Why::Standby { to, set: which(set) },
                };
                // What remains is said before anything is stopped (WIRE 12.3).
                let remains = self.book.hold.minus(set);
                self.say_resource(remains, false, Some("standby"));
                self.release(set, why);
            }
            Heard::Acquire => {
                let known = self.book.conversation.clone();
                let (role, step, set) = (Role::Taking, Step::Working, ask.holding);
                let since = Of { node: from, value: seq };
                let begun = Conversation { role, step, set, with: from, since, next: None };
                let conversation = known.map_or(begun, |known| Conversation { step, ..known });
                let (set, given) = (conversation.ours(), which(conversation.set));
                // It says that nothing of the set runs there any more, whatever became of the message that said so first.
                if let Some(peer) = self.nodes.get_mut(from) {
                    let before = peer.claim.map_or(Holding::NONE, |claim| claim.hold);
                    let hold = before.minus(conversation.set);
                    peer.claim = Some(Claim { hold, stable: false, releasing: false, seq, since: self.now });
                }
                self.converse(conversation);
                self.acquire(set, Why::HandedOver { by: self.name(from), set: given });
            }
            Heard::Taken => {
                // It says that everything of the set runs there now; what it said before may still be under way.
                if let (Some(peer), Some(conversation)) = (self.nodes.get_mut(from), &self.book.conversation) {
                    let before = peer.claim.map_or(Holding::NONE, |claim| claim.hold);
                    let hold = before.union(conversation.set.exchanged());
                    peer.claim = Some(Claim { hold, stable: false, releasing: false, seq, since: self.now });
                }
                self.taken();
            }
            Heard::AnswerThen => {
                if let Some(conversation) = &mut self.book.conversation {
                    conversation.next = Some((Of { node: from, value: seq }, ask.holding));
                }
            }
            Heard::Ignore(why) => {
                let what = ask.step.as_str();
                if ask.step == StandbyStep::Other && self.book.conversation.is_none() {
                    // It answers a request that is over; it must not wait for us.
                    self.book.said = None;
                }
                if ask.step == StandbyStep::Done {
                    self.book.early = Some((Of { node: from, value: seq }, ask.holding));
                }
                self.report(Event::StandbyIgnored { node: self.name(from), what, why });
            }
        }
    }

    /// The other node wants groups of ours: we go standby with the same set, seen from here (CLUSTER c.8).
    pub(super) fn on_hb_takeover(&mut self, from: NodeId, set: Holding) {
        self.report(Event::TakeoverAsked { node: self.name(from), set: which(set) });
        if let Ok(to) = self.may_move() {
            self.carry_out(Intent::BeginStandby { set: set.exchanged(), to, cause: Cause::Peer });
        } else {
            let (node, why) = (self.name(from), "resources in flux");
            self.report(Event::StandbyIgnored { node, what: "hb_takeover", why });
        }
    }

    // --- the end

    /// Takes the conversation off the book. Whoever we talked to counts us as unstable until we say otherwise, even where
    /// nothing has changed: a 3.0.6 would wait for ever.
    fn end_conversation(&mut self) -> Option<Conversation> {
        let conversation = self.book.conversation.take()?;
        self.deadlines.clear(Timer::Standby);
        self.book.said = None;
        Some(conversation)
    }

    pub(super) fn acquire_done(&mut self) {
        let Some(conversation) = self.end_conversation() else { return };
        self.report(Event::StandbyAcquired { set: which(conversation.ours()) });
        self.say_ask(conversation.set, StandbyStep::Done);
        if let Some(Takeover { then_failback, client, .. }) = self.book.takeover.take() {
            let failed =
                self.groups_in(conversation.ours()).iter().any(|group| self.executor.doing(*group) == Doing::Failed);
            if failed {
                self.reply(client, Response::Cancelled(Cancellation::StartFailed));
            } else if then_failback && self.book.hold.foreign {
                let cause = Cause::Operator(client);
                self.carry_out(Intent::BeginStandby { set: Holding::FOREIGN, to: conversation.with, cause });
            } else {
                self.reply(client, Response::Done);
            }
        }
    }

    pub(super) fn taken(&mut self) {
        let Some(conversation) = self.end_conversation() else { return };
        let now = *self.now;
        if let Some(claim) = self.nodes.get_mut(conversation.with).and_then(|peer| peer.claim.as_mut()) {
            claim.hold = claim.hold.union(conversation.set.exchanged());
            claim.since = Aside(now);
        }
        if conversation.set.foreign {
            self.book.needs_failback = false;
        }
        self.report(Event::StandbyTaken { set: which(conversation.set) });
        if let Role::Giving(Cause::Operator(client)) = conversation.role {
            self.reply(client, Response::Done);
        }
        if let Some((seq, holding)) = conversation.next {
            self.on_ask(conversation.with, *seq, AskResources { holding, step: StandbyStep::Me });
        }
    }

    pub(super) fn cancel(&mut self, why: Cancellation) {
        let Some(conversation) = self.end_conversation() else { return };
        self.report(Event::StandbyCancelled { why: why.clone() });
        if let Role::Giving(Cause::Operator(client)) = conversation.role {
            self.reply(client, Response::Cancelled(why.clone()));
        }
        self.cancel_takeover(why);
    }

    pub(super) fn cancel_takeover(&mut self, why: Cancellation) {
        if let Some(takeover) = self.book.takeover.take() {
            self.deadlines.clear(Timer::Takeover);
            self.reply(takeover.client, Response::Cancelled(why));
        }
    }

    pub(super) fn on_standby_timeout(&mut self) {
        let step = self.book.conversation.as_ref().map(|conversation| conversation.step);
        let why = if step == Some(Step::Asked) { Cancellation::NoReply } else { Cancellation::TookTooLong };
        self.cancel(why);
    }

    pub(super) fn on_takeover_timeout(&mut self) {
        self.cancel_takeover(Cancellation::NoReply);
    }

    // --- operators

    pub(super) fn on_request(&mut self, client: ClientId, request: Request) {
        match request {
            Request::Cleanup(group) => return self.executor.clean(&mut context!(self), group, client),
            Request::Confirm(node) => return self.on_confirm(client, node),
            Request::Standby(_) | Request::Takeover(_) | Request::Give { .. } | Request::Take { .. } => {}
        }
        if self.ledger.rules {
            return self.on_move(client, request);
        }
        let to = match self.may_move() {
            Ok(to) => to,
            Err(refusal) => return self.reply(client, Response::Refused(refusal)),
        };
        let standby = |set| Intent::BeginStandby { set, to, cause: Cause::Operator(client) };
        match request {
            Request::Give { .. } | Request::Take { .. } => self.reply(client, Response::Refused(Refusal::OnlySets)),
            Request::Cleanup(_) | Request::Confirm(_) => {}
            Request::Standby(set) => self.carry_out(standby(holding(set))),
            // Our own groups are here already: only the others' are missing where they belong.
            Request::Takeover(Which::Failback) if self.book.hold.local => self.carry_out(standby(Holding::FOREIGN)),
            Request::Takeover(asked) => {
                // *Ours*: the original's `hb_takeover failback` takes everything (scenario T6).
                let then_failback = asked == Which::Failback;
                let set = if then_failback { Holding::LOCAL } else { holding(asked) };
                self.book.takeover = Some(Takeover { set, then_failback, client });
                self.deadlines.set(Timer::Takeover, self.now.plus(TAKEOVER_REPLY_LIMIT));
                self.send(Body::Takeover(set), None);
            }
        }
    }

    /// With whom groups may be exchanged now (CLUSTER c.7: accepted only if all is at rest).
    pub(super) fn may_move(&self) -> Result<NodeId, Refusal> {
        if !self.config.manages_resources() {
            return Err(Refusal::Unmanaged);
        }
        let view = self.view();
        match view.phase {
            Phase::Stopping => return Err(Refusal::Stopping),
            Phase::Joining | Phase::Doubting => return Err(Refusal::LocalFlux),
            Phase::Active => {}
        }
        let peer = match view.peers.as_slice() {
            [] => return Err(Refusal::NoPeer),
            [peer] => peer,
            _ => return Err(Refusal::ManyPeers),
        };
        if peer.is_out() || peer.liveness != Liveness::Active {
            return Err(Refusal::NoPeer);
        }
        if self.book.takeover.is_some() || !is_stable(&view, &self.book) {
            return Err(Refusal::LocalFlux);
        }
        match peer.claim {
            Some(claim) if claim.stable && !claim.releasing => Ok(peer.node),
            _ => Err(Refusal::PeerFlux),
        }
    }

    pub(super) fn refuse_clients_for_stop(&mut self) {
        self.cancel_takeover(Cancellation::Stopping);
    }

    fn reply(&mut self, client: ClientId, response: Response) {
        self.actions.0.push(Action::Reply { client, response });
    }
}

/// The classes a word of the command line names; `failback` of a standby gives the foreign ones back (CLUSTER c.7).
fn holding(which: Which) -> Holding {
    match which {
        Which::All => Holding::ALL,
        Which::Local => Holding::LOCAL,
        Which::Foreign | Which::Failback => Holding::FOREIGN,
    }
}

/// The word for a set in log lines.
pub(super) fn which(set: Holding) -> Which {
    match (set.local, set.foreign) {
        (true, false) => Which::Local,
        (false, true) => Which::Foreign,
        _ => Which::All,
    }
}
