//! Brings every group to where it is wanted: one operation at a time in a group, groups in parallel. Read CLUSTER d.4
//! to d.6 first.
//!
//! ```text
//! node's start: Probing --what was found is stopped--> Stopped
//! Stopped --wanted--> Starting(0), Starting(1) ... --all started--> Running
//! Starting(i) --start failed--> Stopping(i) ... --all stopped--> Failed --cleaned, or wanted anew--> Stopped
//! Starting(i), Running --not wanted--> Stopping(last started) ... Stopping(0) --> Stopped
//! Running --monitor failed--> Stopping(last) ... --> Stopped --still wanted--> Starting(0), or Failed after 3 of these
//! Stopping(i) --11 stops failed and still running--> Stuck --cleaned--> Stopping(i)
//! ```
//!
//! Questions are the exception to one at a time: before a start all scripts are asked at once whether they run, while the
//! resources before the first script are already being started, and at the node's start all resources are.
//!
//! Invariants:
//! - a running operation is never abandoned: what became wrong meanwhile is corrected when it has ended,
//! - `Stopped` and `Failed` mean that every resource that was started was stopped with success.

mod health;
mod queue;

use self::queue::{Place, Queue};
use super::announce::Announcements;
use crate::action::Action;
use crate::action::{Refusal, Response, Verb};
use crate::config::{Config, Resource};
use crate::event::Event;
use crate::ids::{ClientId, GroupId, OpId};
use crate::input::{Failure, Outcome};
use crate::node::Context;
use crate::resource::Transcript;
use crate::time::Instant;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

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
    /// A resource could not be started, or died again and again; nothing of it runs. It stays so until an operator has
    /// cleaned it up, or it is wanted anew.
    Failed,
    /// A resource could not be stopped: it may still run.
    Stuck,
    /// The node has just started and finds out what of it runs here; what does is stopped. Until then nobody knows.
    Probing,
}

impl Doing {
    /// The word in status output.
    pub const fn word(self) -> &'static str {
        match self {
            Doing::Probing => "probing",
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

/// Why a group failed or is stuck.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Blame {
    /// The resource, as haresources writes it.
    pub resource: String,
    /// What it did not do.
    pub verb: Verb,
    /// Why not.
    pub failure: Failure,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.resource, self.verb.word(), self.failure)
    }
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
        Executor {
            queues: alloc::vec![Queue::new(now); config.groups().len()],
            last_op: OpId(0),
            announcements: Announcements::default(),
        }
    }

    /// A name for an operation that is nobody's here.
    pub(crate) fn next_op(&mut self) -> OpId {
        self.last_op = OpId(self.last_op.0.saturating_add(1));
        self.last_op
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
        self.queues.get(group.index()).map_or(Doing::Stopped, Queue::doing)
    }

    /// Whether it is not known yet of every group whether it runs here: nothing may be claimed.
    pub(crate) fn is_probing(&self) -> bool {
        self.queues.iter().any(|queue| queue.doing() == Doing::Probing)
    }

    /// Why the group failed or is stuck here.
    pub(crate) fn blame(&self, group: GroupId) -> Option<&Blame> {
        self.queues.get(group.index())?.blame()
    }

    /// Whether the group is to run here.
    pub(crate) fn is_wanted(&self, group: GroupId) -> bool {
        self.queues.get(group.index()).is_some_and(Queue::is_wanted)
    }

    /// Since when the group is in the state that [`doing`](Self::doing) tells.
    pub(crate) fn since(&self, group: GroupId) -> Instant {
        self.queues.get(group.index()).map_or(Instant::ORIGIN, Queue::since)
    }

    /// Says where a group is wanted and does what can be done at once.
    pub(crate) fn want(&mut self, cx: &mut Context<'_>, group: GroupId, wanted: bool) {
        let place = Place::of(cx.config, group);
        if let Some(queue) = self.queues.get_mut(group.index()) {
            queue.want(cx, &place, wanted, &mut self.last_op);
            if !wanted {
                self.announcements.end(cx, group);
            }
        }
    }

    /// Finds out what of each group runs here and stops it; to be called once, when the node starts (CLUSTER k.6,
    /// scenarios S10 and F15). What was `cut_short` is stopped whatever it would say.
    pub(crate) fn probe(&mut self, cx: &mut Context<'_>, cut_short: &[String]) {
        for (group, queue) in (0..).map(GroupId).zip(&mut self.queues) {
            queue.probe(cx, &Place::of(cx.config, group), cut_short, &mut self.last_op);
        }
    }

    /// Forgets that a group failed, or tries once more to stop it; `client` is answered when something has come of it.
    pub(crate) fn clean(&mut self, cx: &mut Context<'_>, group: GroupId, client: ClientId) {
        let place = Place::of(cx.config, group);
        match self.queues.get_mut(group.index()) {
            Some(queue) if queue.is_being_cleaned() => {
                cx.act(Action::Reply { client, response: Response::Refused(Refusal::LocalFlux) });
            }
            Some(queue) => queue.clean(cx, &place, client, &mut self.last_op),
            None => cx.act(Action::Reply { client, response: Response::Refused(Refusal::NoSuchGroup) }),
        }
    }

    /// Takes the result of an operation.
    pub(crate) fn on_done(&mut self, cx: &mut Context<'_>, op: OpId, outcome: Outcome, said: Transcript) {
        let Some((index, queue)) = (0..).zip(&mut self.queues).find(|(_, queue)| queue.has(op)) else {
            cx.report(Event::ForeignOp(op));
            return;
        };
        let group = GroupId(index);
        let place = Place::of(cx.config, group);
        if let Some(address) = queue.on_done(cx, &place, op, outcome, said) {
            // Before anything else is begun: clients wait for the first frame.
            self.announcements.begin(cx, group, address);
        }
        queue.go_on(cx, &place, &mut self.last_op);
        let doing = queue.doing();
        if doing != Doing::Starting && doing != Doing::Running {
            // A start that failed takes back the addresses that it had put up, and what it told about them.
            self.announcements.end(cx, group);
        }
    }

    /// Announces the addresses of a group that are up once more: another node may have had them.
    pub(crate) fn announce(&mut self, cx: &mut Context<'_>, group: GroupId) {
        let place = Place::of(cx.config, group);
        let up = self.queues.get(group.index()).map_or(0, |queue| queue.up(place.resources.len()));
        for resource in place.resources.iter().take(up) {
            if let Resource::Address(address) = resource {
                self.announcements.begin(cx, group, address);
            }
        }
    }

    /// Announces an address that is up here once more: nobody heard it before.
    pub(crate) fn announce_address(&mut self, cx: &mut Context<'_>, address: IpAddr) {
        for (group, queue) in (0..).map(GroupId).zip(&self.queues) {
            let place = Place::of(cx.config, group);
            let mut up = place.resources.iter().take(queue.up(place.resources.len()));
            let found = up.find_map(|resource| match resource {
                Resource::Address(one) if one.address == address => Some(one),
                _ => None,
            });
            if let Some(found) = found {
                cx.report(Event::NetworkBack { resource: found.word.clone() });
                return self.announcements.begin(cx, group, found);
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
            queue.on_retry(cx, &Place::of(cx.config, group), &mut self.last_op);
        }
    }

    /// A resource of the group is to be asked whether it still runs.
    pub(crate) fn on_monitor(&mut self, cx: &mut Context<'_>, group: GroupId) {
        if let Some(queue) = self.queues.get_mut(group.index()) {
            queue.on_monitor(cx, &Place::of(cx.config, group), &mut self.last_op);
        }
    }

    /// The configuration changed: other resources may be monitored now.
    pub(crate) fn renew(&mut self, cx: &mut Context<'_>) {
        for (group, queue) in (0..).map(GroupId).zip(&mut self.queues) {
            queue.renew(cx, &Place::of(cx.config, group));
        }
    }
}

#[cfg(test)]
mod tests;
