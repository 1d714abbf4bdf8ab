//! The queue of one group: which operation comes next.

use super::health::{Health, RESTARTS_MAX, Verdict};
use super::{Blame, Doing};
use crate::action::Cancellation;
use crate::action::{Action, ResourceRun, Response, Verb};
use crate::config::{Config, Resource, StopFailure, VirtualIp};
use crate::deadlines::Timer;
use crate::event::Event;
use crate::ids::{ClientId, GroupId, OpId};
use crate::input::{Failure, Outcome};
use crate::mark::Aside;
use crate::node::Context;
use crate::resource::Transcript;
use crate::time::Instant;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// A failed stop is tried again this much later (CLUSTER d.6).
const STOP_RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
enum State {
    /// All resources are asked whether they run here.
    Probing,
    Stopped,
    Failed,
    /// Resources before `at` run.
    Starting {
        at: usize,
    },
    Running,
    /// Resources above `at` are stopped.
    Stopping {
        at: usize,
        verb: Verb,
        attempt: u32,
        then: Then,
    },
    Stuck {
        at: usize,
    },
}

/// Where a stop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
enum Then {
    Stopped,
    Failed,
    /// As `Stopped`; only what was found running is stopped.
    Probed,
}

/// What a resource said when it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
enum Answer {
    #[default]
    Unasked,
    Asked,
    Runs,
    /// It does not run, or it cannot be told.
    Not,
}

/// An operation under way.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Op {
    id: OpId,
    at: usize,
    verb: Verb,
    /// It was asked before the start or at the node's, with others.
    asks: bool,
    begun: Aside<Instant>,
}

/// One group's queue.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Queue {
    wanted: bool,
    state: State,
    /// So many resources from the left may run although nothing started them since: one of them could not be stopped.
    suspect: usize,
    /// The operations under way: several questions, at most one of any other kind.
    ops: Vec<Op>,
    /// What each resource said before the start or at the node's; empty if nothing was asked.
    answers: Vec<Answer>,
    /// Waiting for [`Timer::StopRetry`].
    pausing: bool,
    health: Health,
    /// Why the group failed or is stuck.
    blame: Aside<Option<Blame>>,
    /// Who waits for the outcome of a clean-up.
    cleaner: Aside<Option<ClientId>>,
    /// When the state last changed between resting and moving.
    since: Aside<Instant>,
}

/// What a queue needs of its surroundings while it moves.
pub(super) struct Place<'c> {
    pub(super) group: GroupId,
    pub(super) config: &'c Config,
    pub(super) resources: &'c [Resource],
}

impl<'c> Place<'c> {
    pub(super) fn of(config: &'c Config, group: GroupId) -> Place<'c> {
        let resources = config.groups().get(group.index()).map_or(&[][..], |group| group.resources.as_slice());
        Place { group, config, resources }
    }

    fn name(&self) -> String {
        self.config.groups().get(self.group.index()).map_or_else(String::new, |group| group.key.clone())
    }

    fn word(&self, at: usize) -> String {
        self.resources.get(at).map_or_else(String::new, ToString::to_string)
    }
}

impl Queue {
    pub(super) fn new(now: Instant) -> Queue {
        Queue {
            wanted: false,
            state: State::Stopped,
            suspect: 0,
            ops: Vec::new(),
            answers: Vec::new(),
            pausing: false,
            health: Health::default(),
            blame: Aside(None),
            cleaner: Aside(None),
            since: Aside(now),
        }
    }

    pub(super) fn doing(&self) -> Doing {
        match self.state {
            State::Probing | State::Stopping { then: Then::Probed, .. } => Doing::Probing,
            State::Stopped => Doing::Stopped,
            State::Failed => Doing::Failed,
            State::Starting { .. } => Doing::Starting,
            State::Running => Doing::Running,
            State::Stopping { .. } => Doing::Stopping,
            State::Stuck { .. } => Doing::Stuck,
        }
    }

    pub(super) fn since(&self) -> Instant {
        *self.since
    }

    pub(super) fn blame(&self) -> Option<&Blame> {
        self.blame.as_ref()
    }

    pub(super) fn has(&self, op: OpId) -> bool {
        self.ops.iter().any(|under_way| under_way.id == op)
    }

    /// So many of its resources are up.
    pub(super) fn up(&self, resources: usize) -> usize {
        match self.state {
            State::Running => resources,
            State::Starting { at } => at,
            _ => 0,
        }
    }

    // --- orders

    /// Whether the group is to run here.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn want(&mut self, cx: &mut Context<'_>, place: &Place<'_>, wanted: bool, last_op: &mut OpId) {
        if core::mem::replace(&mut self.wanted, wanted) == wanted {
            return;
        }
        if wanted && self.state == State::Failed {
            // Whoever wants it anew knows that it failed.
            self.forgive();
            self.enter(cx, place, State::Stopped);
        }
        self.drive(cx, place, last_op);
    }

    /// Asks every resource whether it runs here, but for those that could not know.
    pub(super) fn probe(&mut self, cx: &mut Context<'_>, place: &Place<'_>, cut_short: &[String], last_op: &mut OpId) {
        if self.state != State::Stopped || !self.ops.is_empty() {
            return;
        }
        self.enter(cx, place, State::Probing);
        let is_cut_short = |resource: &Resource| cut_short.iter().any(|word| word == resource.word());
        self.ask(cx, place, |resource| !is_cut_short(resource), last_op);
        for (resource, answer) in place.resources.iter().zip(&mut self.answers) {
            if is_cut_short(resource) {
                cx.report(Event::CutShort { resource: resource.to_string() });
                *answer = Answer::Runs;
            }
        }
        self.drive(cx, place, last_op);
    }

    /// Forgets a failed start, or tries once more to stop what could not be stopped; `client` waits for the outcome.
    pub(super) fn clean(&mut self, cx: &mut Context<'_>, place: &Place<'_>, client: ClientId, last_op: &mut OpId) {
        let name = place.name();
        let why = self.blame.as_ref().map_or_else(String::new, ToString::to_string);
        match self.state {
            State::Failed => {
                cx.report(Event::Cleaned { group: name, why });
                self.forgive();
                self.enter(cx, place, State::Stopped);
            }
            State::Stuck { at } => {
                cx.report(Event::Cleaned { group: name, why });
                self.begin_stop(cx, place, at.saturating_add(1), Then::Stopped);
            }
            _ => {
                let text = alloc::format!("nothing to clean up: group {name} is {} here", self.doing().word());
                return cx.act(Action::Reply { client, response: Response::Cleaned(text) });
            }
        }
        *self.cleaner = Some(client);
        self.drive(cx, place, last_op);
        self.answer_cleaner(cx, place);
    }

    /// Whether a clean-up is under way.
    pub(super) fn is_being_cleaned(&self) -> bool {
        self.cleaner.is_some()
    }

    fn forgive(&mut self) {
        *self.blame = None;
        self.health.forget();
    }

    fn answer_cleaner(&mut self, cx: &mut Context<'_>, place: &Place<'_>) {
        let Some(client) = *self.cleaner else { return };
        let name = place.name();
        let response = match self.doing() {
            Doing::Running => Response::Cleaned(alloc::format!("group {name} runs here now")),
            Doing::Stopped if !self.wanted => {
                Response::Cleaned(alloc::format!("group {name} is stopped here and may be started again"))
            }
            Doing::Failed => Response::Cancelled(Cancellation::StartFailed),
            Doing::Stuck => Response::Cancelled(Cancellation::StopFailed),
            Doing::Probing | Doing::Stopped | Doing::Starting | Doing::Stopping => return,
        };
        *self.cleaner = None;
        cx.act(Action::Reply { client, response });
    }

    // --- what is done

    /// Goes on as far as possible without waiting, in the direction that is wanted now.
    fn drive(&mut self, cx: &mut Context<'_>, place: &Place<'_>, last_op: &mut OpId) {
        if self.pausing {
            return;
        }
        // What is under way other than a question that nobody waits for comes to its end first.
        while self.ops.is_empty()
            || matches!(self.state, State::Starting { .. }) && self.wanted && self.only_questions()
        {
            match (self.state, self.wanted) {
                (State::Stopped | State::Stuck { .. }, true) => {
                    cx.report(Event::Acquiring { group: place.name() });
                    self.answers.clear();
                    self.enter(cx, place, State::Starting { at: 0 });
                    if let Some(first @ Resource::Address(_)) = place.resources.first() {
                        // The address is not to wait for the processes that are asked.
                        self.run(cx, place, 0, first, Verb::Start, last_op);
                    }
                    // A script is asked first (CLUSTER d.3), all of them at once; starting an address is idempotent.
                    self.ask(cx, place, |resource| matches!(resource, Resource::Script(_)), last_op);
                }
                (State::Starting { at }, true) => {
                    let Some(resource) = place.resources.get(at) else {
                        cx.report(Event::Acquired { group: place.name(), took: cx.now.since(*self.since) });
                        self.answers.clear();
                        self.enter(cx, place, State::Running);
                        continue;
                    };
                    match self.answers.get(at) {
                        Some(Answer::Asked) => return,
                        Some(Answer::Runs) => self.state = State::Starting { at: at.saturating_add(1) },
                        _ => return self.run(cx, place, at, resource, Verb::Start, last_op),
                    }
                }
                (State::Starting { at }, false) => self.begin_stop(cx, place, at, Then::Stopped),
                (State::Running, false) => {
                    self.health.forget();
                    self.begin_stop(cx, place, place.resources.len(), Then::Stopped);
                }
                (State::Probing, _) => self.begin_stop(cx, place, 0, Then::Probed),
                (State::Stopping { at, then: Then::Probed, verb: Verb::Stop, attempt: 0 }, _)
                    if self.answers.get(at) == Some(&Answer::Not) =>
                {
                    self.stopped_one(cx, place, at, Then::Probed);
                }
                (State::Stopping { at, verb, .. }, _) => {
                    let Some(resource) = place.resources.get(at) else { return };
                    return self.run(cx, place, at, resource, verb, last_op);
                }
                (State::Running, true) => {
                    let Some(at) = self.health.due(cx.now) else { return };
                    let Some(resource) = place.resources.get(at) else { return };
                    return self.run(cx, place, at, resource, Verb::Monitor, last_op);
                }
                (State::Stopped | State::Stuck { .. }, false) | (State::Failed, _) => return,
            }
        }
    }

    fn only_questions(&self) -> bool {
        self.ops.iter().all(|op| op.asks)
    }

    fn ask(&mut self, cx: &mut Context<'_>, place: &Place<'_>, whom: impl Fn(&Resource) -> bool, last_op: &mut OpId) {
        self.answers.clear();
        self.answers.resize(place.resources.len(), Answer::Unasked);
        for (at, resource) in place.resources.iter().enumerate().filter(|(_, resource)| whom(resource)) {
            if let Some(answer) = self.answers.get_mut(at) {
                *answer = Answer::Asked;
            }
            self.run(cx, place, at, resource, Verb::Status, last_op);
        }
    }

    fn run(
        &mut self,
        cx: &mut Context<'_>,
        place: &Place<'_>,
        at: usize,
        resource: &Resource,
        verb: Verb,
        last_op: &mut OpId,
    ) {
        let id = OpId(last_op.0.saturating_add(1));
        *last_op = id;
        let asks = verb == Verb::Status && matches!(self.state, State::Probing | State::Starting { .. });
        self.ops.push(Op { id, at, verb, asks, begun: Aside(cx.now) });
        if matches!(verb, Verb::Start | Verb::Stop) {
            cx.report(Event::Running { resource: resource.to_string(), verb: verb.word() });
        }
        let limit = cx.config.limits(place.group).of(verb);
        let run = ResourceRun { group: place.group, resource: resource.clone(), verb, limit };
        cx.act(Action::RunResource { op: id, run });
    }

    // --- what came of it

    /// Takes the result of an operation; gives the address that it put up, if the group is still wanted. What follows is
    /// done by [`go_on`](Self::go_on).
    pub(super) fn on_done<'c>(
        &mut self,
        cx: &mut Context<'_>,
        place: &Place<'c>,
        op: OpId,
        outcome: Outcome,
        said: Transcript,
    ) -> Option<&'c VirtualIp> {
        let position = self.ops.iter().position(|under_way| under_way.id == op)?;
        let Op { at, verb, asks, begun, .. } = self.ops.remove(position);
        let took = cx.now.since(*begun);
        let resource = place.resources.get(at);
        tell(cx, resource, verb, &outcome, took, said);
        let mut up = None;
        match verb {
            Verb::Status if asks => self.on_answer(cx, place, at, &outcome),
            Verb::Start => {
                if let (Outcome::Done, Some(Resource::Address(address)), true) = (&outcome, resource, self.wanted) {
                    up = Some(address);
                }
                self.on_started(cx, place, at, outcome);
            }
            Verb::Stop | Verb::Status => self.on_stopped(cx, place, at, outcome),
            Verb::Monitor => self.on_monitored(cx, place, at, outcome),
        }
        up
    }

    /// Does what the result of an operation makes possible.
    pub(super) fn go_on(&mut self, cx: &mut Context<'_>, place: &Place<'_>, last_op: &mut OpId) {
        self.drive(cx, place, last_op);
        self.rearm(cx, place);
        self.answer_cleaner(cx, place);
    }

    /// Whatever a failing `status` means: before a start starting is what is wanted, and at the node's start what may run is
    /// stopped. An address that cannot be looked for has no interface to be on.
    fn on_answer(&mut self, cx: &mut Context<'_>, place: &Place<'_>, at: usize, outcome: &Outcome) {
        let probing = self.state == State::Probing;
        let is_address = matches!(place.resources.get(at), Some(Resource::Address(_)));
        let answer = match outcome {
            Outcome::NotRunning | Outcome::Failed(Failure::NoScript) => Answer::Not,
            Outcome::Done | Outcome::Failed(_) if !probing || is_address => Answer::Not,
            Outcome::Running | Outcome::Done | Outcome::Failed(_) => Answer::Runs,
        };
        if probing && answer == Answer::Runs {
            cx.report(Event::FoundRunning { resource: place.word(at) });
        }
        if let Some(known) = self.answers.get_mut(at) {
            *known = answer;
        }
        if let (Answer::Runs, State::Stopping { at: first, .. }) = (answer, &mut self.state) {
            // A start has failed meanwhile; nothing is stopped yet, since the questions come to their end first.
            *first = at.max(*first);
        }
    }

    fn on_started(&mut self, cx: &mut Context<'_>, place: &Place<'_>, at: usize, outcome: Outcome) {
        let next = at.saturating_add(1);
        if matches!(outcome, Outcome::Done | Outcome::Running) {
            self.state = State::Starting { at: next };
            return;
        }
        *self.blame = Some(Blame { resource: place.word(at), verb: Verb::Start, failure: failure_of(outcome) });
        cx.report(Event::GivingUpGroup { group: place.name(), resource: place.word(at) });
        self.begin_stop(cx, place, next, Then::Failed);
    }

    fn on_stopped(&mut self, cx: &mut Context<'_>, place: &Place<'_>, at: usize, outcome: Outcome) {
        let State::Stopping { verb, attempt, then, .. } = self.state else { return };
        match (verb, outcome) {
            // A script that is not there runs nothing (scenario T18, T19).
            (Verb::Status, Outcome::NotRunning | Outcome::Failed(Failure::NoScript))
            | (Verb::Stop, Outcome::Done | Outcome::NotRunning) => self.stopped_one(cx, place, at, then),
            // What cannot be said to have stopped may run.
            (Verb::Status, _) => self.stick(cx, place, at),
            (_, outcome) => {
                *self.blame = Some(Blame { resource: place.word(at), verb: Verb::Stop, failure: failure_of(outcome) });
                let attempt = attempt.saturating_add(1);
                if cx.config.stop_retries().is_none_or(|retries| attempt <= retries) {
                    cx.report(Event::StopRetry { resource: place.word(at), attempt });
                    self.state = State::Stopping { at, verb, attempt, then };
                    self.pausing = true;
                    cx.deadlines.set(Timer::StopRetry(place.group), cx.now.plus(STOP_RETRY));
                } else {
                    self.state = State::Stopping { at, verb: Verb::Status, attempt, then };
                }
            }
        }
    }

    fn stick(&mut self, cx: &mut Context<'_>, place: &Place<'_>, at: usize) {
        let reboots = cx.config.stop_failure() == StopFailure::Reboot;
        cx.report(Event::StopFailed { resource: place.word(at), reboots });
        self.suspect = self.suspect.max(at.saturating_add(1));
        self.answers.clear();
        self.enter(cx, place, State::Stuck { at });
        if reboots {
            cx.act(Action::Reboot);
        }
    }

    fn on_monitored(&mut self, cx: &mut Context<'_>, place: &Place<'_>, at: usize, outcome: Outcome) {
        if self.state != State::Running || !self.wanted {
            return;
        }
        let (resource, group) = (place.word(at), place.name());
        let verdict =
            self.health.on_answer(cx.now, at, outcome == Outcome::Running, cx.config.monitor(place.group, at));
        let (failures, then) = match verdict {
            Verdict::Fine => return,
            Verdict::Restart { failures, .. } => (failures, Then::Stopped),
            Verdict::GiveUp { failures } => (failures, Then::Failed),
        };
        let failure = failure_of(outcome);
        cx.report(Event::ResourceLost { resource: resource.clone(), failures, failure: failure.clone() });
        if let Verdict::Restart { restart, .. } = verdict {
            cx.report(Event::Restarting { group, resource, restart, of: RESTARTS_MAX });
        } else {
            *self.blame = Some(Blame { resource: resource.clone(), verb: Verb::Monitor, failure });
            cx.report(Event::GivingUpGroup { group, resource });
        }
        self.begin_stop(cx, place, place.resources.len(), then);
    }

    // --- moves

    /// Begins to stop the `count` leftmost resources, and those further right that said that they run.
    fn begin_stop(&mut self, cx: &mut Context<'_>, place: &Place<'_>, count: usize, then: Then) {
        let running =
            self.answers.iter().rposition(|answer| *answer == Answer::Runs).map_or(0, |at| at.saturating_add(1));
        match count.max(self.suspect).max(running).checked_sub(1) {
            Some(at) => {
                cx.report(Event::Releasing { group: place.name() });
                self.enter(cx, place, State::Stopping { at, verb: Verb::Stop, attempt: 0, then });
            }
            None => self.rest(cx, place, then),
        }
    }

    fn stopped_one(&mut self, cx: &mut Context<'_>, place: &Place<'_>, at: usize, then: Then) {
        if let Some(at) = at.checked_sub(1) {
            self.state = State::Stopping { at, verb: Verb::Stop, attempt: 0, then };
            return;
        }
        self.suspect = 0;
        cx.report(Event::Released { group: place.name(), took: cx.now.since(*self.since) });
        self.rest(cx, place, then);
    }

    fn rest(&mut self, cx: &mut Context<'_>, place: &Place<'_>, then: Then) {
        self.answers.clear();
        if then != Then::Failed {
            *self.blame = None;
        }
        self.enter(cx, place, if then == Then::Failed { State::Failed } else { State::Stopped });
    }

    fn enter(&mut self, cx: &mut Context<'_>, place: &Place<'_>, state: State) {
        self.state = state;
        self.since = Aside(cx.now);
        if state == State::Running {
            self.health.begin(cx.now, cx.config, place.group, place.resources.len());
        }
        self.rearm(cx, place);
    }

    // --- time

    /// The pause before another stop is over.
    pub(super) fn on_retry(&mut self, cx: &mut Context<'_>, place: &Place<'_>, last_op: &mut OpId) {
        self.pausing = false;
        self.drive(cx, place, last_op);
    }

    /// Somebody is to be asked whether he still runs.
    pub(super) fn on_monitor(&mut self, cx: &mut Context<'_>, place: &Place<'_>, last_op: &mut OpId) {
        self.drive(cx, place, last_op);
    }

    /// What is monitored may have changed.
    pub(super) fn renew(&mut self, cx: &mut Context<'_>, place: &Place<'_>) {
        self.health.renew(cx.now, cx.config, place.group);
        self.rearm(cx, place);
    }

    fn rearm(&self, cx: &mut Context<'_>, place: &Place<'_>) {
        // While somebody is asked nobody else is.
        let waits = self.state == State::Running && self.ops.is_empty();
        cx.deadlines.set_or_clear(Timer::Monitor(place.group), self.health.next().filter(|_| waits));
    }
}

/// One line for each script that ended, whatever it was for; of addresses only failures.
fn tell(
    cx: &mut Context<'_>,
    resource: Option<&Resource>,
    verb: Verb,
    outcome: &Outcome,
    took: Duration,
    said: Transcript,
) {
    let Some(resource) = resource else { return };
    match outcome {
        Outcome::Failed(failure) => {
            let (resource, verb, failure) = (resource.to_string(), verb.word(), failure.clone());
            cx.report(Event::OpFailed { resource, verb, failure, took, said });
        }
        outcome if matches!(resource, Resource::Script(_)) => {
            let (resource, verb, outcome) = (resource.to_string(), verb.word(), outcome.word());
            cx.report(Event::Ran { resource, verb, outcome, took, said });
        }
        _ => {}
    }
}

fn failure_of(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Running => Failure::Machine("it still runs".into()),
        Outcome::Done | Outcome::NotRunning => Failure::Machine("it does not run".into()),
    }
}
