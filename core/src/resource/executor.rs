//! Brings every group to where it is wanted: one operation at a time in a group, groups in parallel. Read CLUSTER d.4
//! to d.6 first.
//!
//! ```text
//! Stopped --wanted--> Starting(0), Starting(1) ... --all started--> Running
//! Starting(i) --start failed--> Stopping(i) ... --all stopped--> Failed --no longer wanted--> Stopped
//! Starting(i), Running --not wanted--> Stopping(last started) ... Stopping(0) --> Stopped
//! Stopping(i) --10 stops failed and still running--> Stuck
//! ```
//!
//! Invariants:
//! - a running operation is never abandoned: what became wrong meanwhile is corrected when it has ended,
//! - `Stopped` and `Failed` mean that every resource that was started was stopped with success.

use super::announce::Announcements;
use crate::action::{Action, ResourceRun, Verb};
use crate::config::care::ADDRESS_LIMIT;
use crate::config::{Config, Resource, VirtualIp};
use crate::deadlines::Timer;
use crate::event::Event;
use crate::ids::{GroupId, OpId};
use crate::input::{Failure, Outcome};
use crate::mark::Aside;
use crate::node::Context;
use crate::time::Instant;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// A failed stop is tried again this much later (CLUSTER d.6).
const STOP_RETRY: Duration = Duration::from_secs(1);

/// What is done with a group here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doing {
    /// Nothing of it runs.
    Stopped,
    /// Its resources are being started, left to right.
    Starting,
    /// All its resources run.
    Running,
    /// Its resources are being stopped, right to left.
    Stopping,
    /// A resource could not be started; nothing of it runs.
    Failed,
    /// A resource could not be stopped: it may still run.
    Stuck,
}

impl Doing {
    /// The word in status output.
    pub const fn word(self) -> &'static str {
        match self {
            Doing::Stopped => "stopped",
            Doing::Starting => "starting",
            Doing::Running => "running",
            Doing::Stopping => "stopping",
            Doing::Failed => "failed",
            Doing::Stuck => "stuck",
        }
    }

    pub(crate) fn is_moving(self) -> bool {
        matches!(self, Doing::Starting | Doing::Stopping)
    }

    /// Nothing of the group runs.
    pub(crate) fn is_down(self) -> bool {
        matches!(self, Doing::Stopped | Doing::Failed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
enum State {
    Stopped,
    Failed,
    /// Resources before `at` run.
    Starting {
        at: usize,
        verb: Verb,
    },
    Running,
    /// Resources above `at` are stopped; `failed` tells where this ends.
    Stopping {
        at: usize,
        verb: Verb,
        attempt: u32,
        failed: bool,
    },
    Stuck {
        at: usize,
    },
}

/// One group's queue.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Queue {
    wanted: bool,
    state: State,
    /// So many resources from the left may run although nothing started them since: one of them could not be stopped.
    suspect: usize,
    /// The operation under way.
    op: Option<OpId>,
    /// Waiting for [`Timer::StopRetry`].
    pausing: bool,
    /// When the state last changed between resting and moving.
    since: Aside<Instant>,
}

/// The queues of all groups, and the announcements of addresses that came up.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Executor {
    queues: Vec<Queue>,
    last_op: OpId,
    announcements: Announcements,
}

impl Executor {
    pub(crate) fn new(now: Instant, config: &Config) -> Executor {
        let queue =
            Queue { wanted: false, state: State::Stopped, suspect: 0, op: None, pausing: false, since: Aside(now) };
        Executor {
            queues: alloc::vec![queue; config.groups().len()],
            last_op: OpId(0),
            announcements: Announcements::default(),
        }
    }

    /// The operation begun last.
    pub(crate) fn last_op(&self) -> OpId {
        self.last_op
    }

    /// How many groups there are.
    #[cfg(feature = "trace")]
    pub(crate) fn queue_count(&self) -> usize {
        self.queues.len()
    }

    pub(crate) fn doing(&self, group: GroupId) -> Doing {
        self.queues.get(group.index()).map_or(Doing::Stopped, |queue| match queue.state {
            State::Stopped => Doing::Stopped,
            State::Failed => Doing::Failed,
            State::Starting { .. } => Doing::Starting,
            State::Running => Doing::Running,
            State::Stopping { .. } => Doing::Stopping,
            State::Stuck { .. } => Doing::Stuck,
        })
    }

    /// Since when the group is in the state that [`doing`](Self::doing) tells.
    pub(crate) fn since(&self, group: GroupId) -> Instant {
        self.queues.get(group.index()).map_or(Instant::ORIGIN, |queue| *queue.since)
    }

    /// Says where a group is wanted and does what can be done at once.
    pub(crate) fn want(&mut self, cx: &mut Context<'_>, group: GroupId, wanted: bool) {
        if let Some(queue) = self.queues.get_mut(group.index()) {
            if queue.wanted != wanted {
                queue.wanted = wanted;
                queue.drive(cx, group, &mut self.last_op);
            }
            if !wanted {
                self.announcements.end(cx, group);
            }
        }
    }

    /// Takes the result of an operation.
    pub(crate) fn on_done(&mut self, cx: &mut Context<'_>, op: OpId, outcome: Outcome) {
        let Some((index, queue)) = (0..).zip(&mut self.queues).find(|(_, queue)| queue.op == Some(op)) else {
            cx.report(Event::ForeignOp(op));
            return;
        };
        queue.op = None;
        let group = GroupId(index);
        if let Some(address) = queue.address_up(cx.config, group, &outcome) {
            self.announcements.begin(cx, group, address);
        }
        queue.on_done(cx, group, outcome);
        queue.drive(cx, group, &mut self.last_op);
        if self.doing(group) != Doing::Starting && self.doing(group) != Doing::Running {
            // A start that failed takes back the addresses that it had put up, and what it told about them.
            self.announcements.end(cx, group);
        }
    }

    /// Announces the addresses of a group that are up once more: another node may have had them.
    pub(crate) fn announce(&mut self, cx: &mut Context<'_>, group: GroupId) {
        let config = cx.config;
        let Some(resources) = config.groups().get(group.index()).map(|group| group.resources.as_slice()) else {
            return;
        };
        let up = match self.queues.get(group.index()).map(|queue| queue.state) {
            Some(State::Running) => resources.len(),
            Some(State::Starting { at, .. }) => at,
            _ => 0,
        };
        for resource in resources.iter().take(up) {
            if let Resource::Address(address) = resource {
                self.announcements.begin(cx, group, address);
            }
        }
    }

    /// How many addresses are being announced.
    pub(crate) fn announcing(&self) -> usize {
        self.announcements.len()
    }

    /// The next round of announcements is due.
    pub(crate) fn on_announce(&mut self, cx: &mut Context<'_>) {
        self.announcements.on_due(cx);
    }

    /// The pause before another stop is over.
    pub(crate) fn on_retry(&mut self, cx: &mut Context<'_>, group: GroupId) {
        if let Some(queue) = self.queues.get_mut(group.index()) {
            queue.pausing = false;
            queue.drive(cx, group, &mut self.last_op);
        }
    }
}

impl Queue {
    /// The address that the operation just ended put up, if the group is still wanted.
    fn address_up<'c>(&self, config: &'c Config, group: GroupId, outcome: &Outcome) -> Option<&'c VirtualIp> {
        match (self.state, outcome) {
            (State::Starting { at, verb: Verb::Start }, Outcome::Done) if self.wanted => {
                match config.groups().get(group.index())?.resources.get(at)? {
                    Resource::Address(address) => Some(address),
                    Resource::Script(_) => None,
                }
            }
            _ => None,
        }
    }

    /// Goes on as far as possible without waiting, in the direction that is wanted now.
    fn drive(&mut self, cx: &mut Context<'_>, group: GroupId, last_op: &mut OpId) {
        if self.op.is_some() || self.pausing {
            return;
        }
        let config = cx.config;
        let Some(resources) = config.groups().get(group.index()).map(|group| group.resources.as_slice()) else {
            return;
        };
        loop {
            match (self.state, self.wanted) {
                (State::Stopped | State::Stuck { .. }, true) => {
                    cx.report(Event::Acquiring { group: name(config, group) });
                    self.enter(cx.now, State::Starting { at: 0, verb: first_verb(resources.first()) });
                }
                (State::Failed, false) => self.enter(cx.now, State::Stopped),
                (State::Starting { at, verb }, true) => {
                    if let Some(resource) = resources.get(at) {
                        return self.run(cx, group, resource, verb, last_op);
                    }
                    cx.report(Event::Acquired { group: name(config, group), took: cx.now.since(*self.since) });
                    self.enter(cx.now, State::Running);
                }
                (State::Starting { at, .. }, false) => self.begin_stop(cx, group, at, false),
                (State::Running, false) => self.begin_stop(cx, group, resources.len(), false),
                (State::Stopping { at, verb, .. }, _) => {
                    if let Some(resource) = resources.get(at) {
                        return self.run(cx, group, resource, verb, last_op);
                    }
                    return;
                }
                (State::Stopped | State::Stuck { .. }, false) | (State::Failed | State::Running, true) => return,
            }
        }
    }

    fn run(&mut self, cx: &mut Context<'_>, group: GroupId, resource: &Resource, verb: Verb, last_op: &mut OpId) {
        let op = OpId(last_op.0.saturating_add(1));
        *last_op = op;
        self.op = Some(op);
        if verb != Verb::Status {
            cx.report(Event::Running { resource: resource.to_string(), verb: verb.word() });
        }
        let limit = match resource {
            Resource::Address(_) => ADDRESS_LIMIT,
            Resource::Script(_) => cx.config.limits(group).of(verb),
        };
        cx.act(Action::RunResource { op, run: ResourceRun { group, resource: resource.clone(), verb, limit } });
    }

    fn on_done(&mut self, cx: &mut Context<'_>, group: GroupId, outcome: Outcome) {
        let config = cx.config;
        let resources = config.groups().get(group.index()).map_or(&[][..], |group| group.resources.as_slice());
        match self.state {
            State::Starting { at, verb } => {
                let next = at.saturating_add(1);
                match (verb, outcome) {
                    (Verb::Status, Outcome::Running) | (Verb::Start, Outcome::Done | Outcome::Running) => {
                        self.state = State::Starting { at: next, verb: first_verb(resources.get(next)) };
                    }
                    // Whatever a failing `status` means, starting is what is wanted (CLUSTER d.3: the exit code is
                    // ignored).
                    (Verb::Status, _) => self.state = State::Starting { at, verb: Verb::Start },
                    (_, outcome) => {
                        let resource = resources.get(at).map_or_else(String::new, ToString::to_string);
                        cx.report(Event::OpFailed {
                            resource: resource.clone(),
                            verb: verb.word(),
                            failure: failure_of(outcome),
                        });
                        cx.report(Event::GivingUpGroup { group: name(config, group), resource });
                        self.begin_stop(cx, group, next, true);
                    }
                }
            }
            State::Stopping { at, verb, attempt, failed } => {
                let resource = || resources.get(at).map_or_else(String::new, ToString::to_string);
                match (verb, outcome) {
                    // A script that is not there runs nothing (scenario T18, T19).
                    (Verb::Status, Outcome::NotRunning | Outcome::Failed(Failure::NoScript))
                    | (Verb::Start | Verb::Stop, Outcome::Done | Outcome::NotRunning) => {
                        self.stopped_one(cx, group, at, failed);
                    }
                    // What cannot be said to have stopped may run.
                    (Verb::Status, _) => {
                        cx.report(Event::StopFailed { resource: resource() });
                        self.suspect = self.suspect.max(at.saturating_add(1));
                        self.enter(cx.now, State::Stuck { at });
                    }
                    (_, outcome) => {
                        let failure = failure_of(outcome);
                        cx.report(Event::OpFailed { resource: resource(), verb: verb.word(), failure });
                        let attempt = attempt.saturating_add(1);
                        if config.stop_retries().is_none_or(|retries| attempt <= retries) {
                            cx.report(Event::StopRetry { resource: resource(), attempt });
                            self.state = State::Stopping { at, verb, attempt, failed };
                            self.pausing = true;
                            cx.deadlines.set(Timer::StopRetry(group), cx.now.plus(STOP_RETRY));
                        } else {
                            self.state = State::Stopping { at, verb: Verb::Status, attempt, failed };
                        }
                    }
                }
            }
            // No operation is under way in the resting states.
            State::Stopped | State::Failed | State::Running | State::Stuck { .. } => {}
        }
    }

    /// Begins to stop the `count` leftmost resources.
    fn begin_stop(&mut self, cx: &mut Context<'_>, group: GroupId, count: usize, failed: bool) {
        match count.max(self.suspect).checked_sub(1) {
            Some(at) => {
                cx.report(Event::Releasing { group: name(cx.config, group) });
                self.enter(cx.now, State::Stopping { at, verb: Verb::Stop, attempt: 0, failed });
            }
            None => self.enter(cx.now, if failed { State::Failed } else { State::Stopped }),
        }
    }

    fn stopped_one(&mut self, cx: &mut Context<'_>, group: GroupId, at: usize, failed: bool) {
        if let Some(at) = at.checked_sub(1) {
            self.state = State::Stopping { at, verb: Verb::Stop, attempt: 0, failed };
            return;
        }
        self.suspect = 0;
        cx.report(Event::Released { group: name(cx.config, group), took: cx.now.since(*self.since) });
        self.enter(cx.now, if failed { State::Failed } else { State::Stopped });
    }

    fn enter(&mut self, now: Instant, state: State) {
        self.state = state;
        self.since = Aside(now);
    }
}

/// Starting an address is idempotent; a script is asked first (CLUSTER d.3).
fn first_verb(resource: Option<&Resource>) -> Verb {
    match resource {
        Some(Resource::Script(_)) => Verb::Status,
        Some(Resource::Address(_)) | None => Verb::Start,
    }
}

fn failure_of(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Running => Failure::Machine("it still runs".into()),
        Outcome::Done | Outcome::NotRunning => Failure::Machine("it does not run".into()),
    }
}

fn name(config: &Config, group: GroupId) -> String {
    config.groups().get(group.index()).map_or_else(String::new, |group| group.key.clone())
}
