//! Processes: jobs of the queue, those started directly beside it, and what the `ResourceManager` does in them. Read
//! CLUSTER c.2 and d first.
//!
//! A job waits until no resource process runs at all; local acquisition, standby work and giving up wait for nothing. So two
//! processes can work on one group at the same time (CLUSTER k.4).

use super::{Effect, Model, costs};
use hb_core::config::{AddressClass, Resource, VirtualIp};
use hb_core::ids::{GroupId, OpId};
use hb_core::time::Instant;
use hb_core::wire::message::{Holding, StandbyStep};
use hb_core::{Action, ArpKind, Failure, Level, Outcome, ResourceRun, Verb, Which};
use std::collections::VecDeque;
use std::time::Duration;

/// A failed stop is tried again so often.
const STOP_RETRIES: u32 = 10;
/// The pause before each.
const STOP_RETRY: Duration = Duration::from_secs(1);
/// From a failed start to the `hb_standby foreign` that is meant to help.
const START_FAILURE_STANDBY: Duration = Duration::from_secs(30);
/// No script is ever ended by force (CLUSTER d.6).
const NO_LIMIT: Duration = Duration::from_hours(24 * 365);

/// A message in the FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fifo {
    /// `resource rsc_hold=foreign info=mach_down`.
    MachDown,
    /// `ip-request-resp` to ourselves: this group may start.
    MayStart(usize),
    /// `ask_resources`.
    Ask(Holding, StandbyStep),
    /// `hb_takeover`.
    Takeover(Which),
}

impl Fifo {
    /// What `hb_standby` writes.
    pub(super) fn standby(which: Which) -> Fifo {
        let set = match which {
            Which::All => Holding::ALL,
            Which::Local => Holding::LOCAL,
            Which::Foreign | Which::Failback => Holding::FOREIGN,
        };
        Fifo::Ask(set, StandbyStep::Me)
    }
}

/// A script of rc.d that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Job {
    /// `status`; of a dead node: `mach_down`.
    Status(Option<usize>),
    /// `ip-request-resp`.
    TakeGroup(usize),
    /// `hb_takeover`: the set for `hb_standby`, from our view; nothing if we asked ourselves.
    Takeover(Option<Holding>),
}

/// What is done when a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Nothing: its messages have done it.
    Work,
    /// Our own groups have been looked after.
    TakeLocal,
    /// Everything is given up.
    GiveUp,
}

/// One thing that a process does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Shells start.
    Spend(Duration),
    Note(String),
    Write(Fifo),
    /// `req_resource`: asks for a start unless the first resource runs.
    Probe(usize),
    /// `takegroup`, and its parts: group and resource.
    Take(usize),
    Check(usize, usize),
    Start(usize, usize),
    /// `givegroup`, and its parts; the last number counts attempts.
    Give(usize),
    Stop(usize, usize, u32),
    Verify(usize, usize),
}

/// A process.
#[derive(Clone, Debug, Hash)]
pub(super) struct Child {
    purpose: Purpose,
    steps: VecDeque<Step>,
    waits: Waits,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Waits {
    For(Instant),
    /// For the result of this step.
    On(OpId, Step),
    Ended,
}

impl Child {
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        match self.waits {
            Waits::For(at) => Some(at),
            Waits::On(..) | Waits::Ended => None,
        }
    }
}

/// `send_arp` for one address.
#[derive(Clone, Debug, Hash)]
pub(super) struct Announcer {
    address: VirtualIp,
    /// Frames to come.
    left: u32,
    every: Duration,
    pub(super) next: Instant,
}

impl Model {
    // --- beginning

    /// The next job begins if no resource process runs.
    pub(super) fn begin_jobs(&mut self) {
        if !self.children.is_empty() {
            return;
        }
        let Some(job) = self.jobs.pop_front() else { return };
        let mut steps = vec![Step::Spend(costs::JOB)];
        match job {
            Job::Status(None) | Job::Takeover(None) => {}
            Job::Status(Some(dead)) => {
                steps.push(Step::Spend(costs::LIST_KEYS));
                let config = self.config.clone();
                for (at, group) in config.groups().iter().enumerate().filter(|(_, group)| group.home.index() == dead) {
                    steps.push(Step::Note(format!("Taking over resource group {}", group.key)));
                    steps.push(Step::Take(at));
                }
                let name = &config.nodes()[dead].name;
                steps.push(Step::Note(format!("mach_down takeover complete for node {name}.")));
                steps.push(Step::Write(Fifo::MachDown));
            }
            Job::TakeGroup(group) => steps.push(Step::Take(group)),
            Job::Takeover(Some(set)) => steps.push(Step::Write(Fifo::Ask(set, StandbyStep::Me))),
        }
        self.begin_child(Purpose::Work, steps);
    }

    pub(super) fn begin_taking_local(&mut self) {
        let groups = self.groups_of(Holding::LOCAL);
        let probes = groups.into_iter().map(Step::Probe);
        self.begin_child(Purpose::TakeLocal, std::iter::once(Step::Spend(costs::CHILD)).chain(probes));
    }

    pub(super) fn begin_acquiring(&mut self, set: Holding, then: Option<(Holding, StandbyStep)>) {
        let takes = self.groups_of(set).into_iter().map(Step::Take);
        let steps: Vec<Step> = std::iter::once(Step::Spend(costs::CHILD)).chain(takes).chain(written(then)).collect();
        self.begin_child(Purpose::Work, steps);
    }

    pub(super) fn begin_giving(&mut self, groups: &[usize], purpose: Purpose, then: Option<(Holding, StandbyStep)>) {
        let gives = groups.iter().copied().map(Step::Give);
        let steps: Vec<Step> = std::iter::once(Step::Spend(costs::CHILD)).chain(gives).chain(written(then)).collect();
        self.begin_child(purpose, steps);
    }

    fn begin_child(&mut self, purpose: Purpose, steps: impl IntoIterator<Item = Step>) {
        let mut child = Child { purpose, steps: steps.into_iter().collect(), waits: Waits::Ended };
        self.advance(&mut child);
        self.children.push(child);
    }

    // --- running

    /// Lets every process go on whose time has come; whether one has ended.
    pub(super) fn run_children(&mut self) -> bool {
        let mut children = std::mem::take(&mut self.children);
        for child in &mut children {
            if child.wakes_at().is_some_and(|at| at <= self.now) {
                self.advance(child);
            }
        }
        self.children = children;
        self.children.iter().any(|child| child.waits == Waits::Ended)
    }

    /// A script has ended; whether its process has, too.
    pub(super) fn on_result(&mut self, op: OpId, outcome: &Outcome) -> bool {
        let waits = |child: &Child| matches!(child.waits, Waits::On(own, _) if own == op);
        let Some(at) = self.children.iter().position(waits) else { return false };
        let mut child = self.children.remove(at);
        if let Waits::On(_, step) = std::mem::replace(&mut child.waits, Waits::Ended) {
            self.conclude(&mut child, &step, outcome);
            self.advance(&mut child);
        }
        self.children.insert(at, child);
        self.children.iter().any(|child| child.waits == Waits::Ended)
    }

    /// Processes that have ended are taken notice of, in the order in which they were started.
    pub(super) fn reap(&mut self) {
        while let Some(at) = self.children.iter().position(|child| child.waits == Waits::Ended) {
            match self.children.remove(at).purpose {
                Purpose::Work => {}
                Purpose::TakeLocal => self.on_local_taken(),
                Purpose::GiveUp => self.say_goodbye(),
            }
        }
    }

    /// Goes on until there is something to wait for.
    fn advance(&mut self, child: &mut Child) {
        child.waits = Waits::Ended;
        while let Some(step) = child.steps.pop_front() {
            match step {
                Step::Spend(time) => {
                    child.waits = Waits::For(self.now.plus(time));
                    return;
                }
                Step::Note(text) => self.say(Level::Info, text),
                Step::Write(message) => self.fifo.push_back(message),
                Step::Take(group) => {
                    let parts = (0..self.resources(group).len()).flat_map(|at| self.called(Step::Check(group, at)));
                    let parts: Vec<Step> = std::iter::once(Step::Spend(costs::MANAGER)).chain(parts).collect();
                    prepend(child, parts);
                    self.say_group("Acquiring", group);
                }
                Step::Give(group) => {
                    let mut parts = vec![Step::Spend(costs::MANAGER)];
                    parts.extend(self.stops(group));
                    prepend(child, parts);
                    self.say_group("Releasing", group);
                }
                Step::Probe(group) => return self.call(child, group, 0, Verb::Status, step),
                Step::Check(group, at) | Step::Verify(group, at) => {
                    return self.call(child, group, at, Verb::Status, step);
                }
                Step::Start(group, at) => return self.call(child, group, at, Verb::Start, step),
                Step::Stop(group, at, _) => {
                    if let Resource::Address(address) = &self.resources(group)[at] {
                        let word = address.word.clone();
                        self.announcers.retain(|announcer| announcer.address.word != word);
                    }
                    return self.call(child, group, at, Verb::Stop, step);
                }
            }
        }
    }

    fn call(&mut self, child: &mut Child, group: usize, at: usize, verb: Verb, step: Step) {
        let resource = self.resources(group)[at].clone();
        if verb != Verb::Status {
            self.say(Level::Info, format!("Running {resource} {}", verb.word()));
        }
        self.last_op = OpId(self.last_op.0 + 1);
        child.waits = Waits::On(self.last_op, step);
        let group = GroupId(u16::try_from(group).unwrap_or(u16::MAX));
        let run = ResourceRun { group, resource, verb, limit: NO_LIMIT };
        self.effects.0.push(Effect::Do(Action::RunResource { op: self.last_op, run }));
    }

    /// What follows from the result of a step.
    fn conclude(&mut self, child: &mut Child, step: &Step, outcome: &Outcome) {
        match (step, outcome) {
            // A group that runs needs no start.
            (Step::Probe(_) | Step::Check(..), Outcome::Running) | (Step::Stop(..), Outcome::Done) => {}
            (Step::Probe(group), _) => self.fifo.push_back(Fifo::MayStart(*group)),
            (Step::Check(group, at), _) => prepend(child, self.called(Step::Start(*group, *at))),
            (Step::Start(group, at), Outcome::Done) => {
                if let Resource::Address(address) = &self.resources(*group)[*at] {
                    let address = address.clone();
                    self.begin_announcing(address);
                }
            }
            (Step::Start(group, at), failed) => {
                let resource = self.resources(*group)[*at].to_string();
                self.say_failure(failed, &resource);
                let text = format!("Giving up resources due to failure of {resource}");
                self.say(Level::Crit, text);
                child.steps.retain(|step| !matches!(step, Step::Check(of, _) if of == group));
                prepend(child, self.stops(*group));
                // It means to choose the set, but the comparison never matches: it is always `foreign` (CLUSTER d.6).
                let at = self.now.plus(START_FAILURE_STANDBY);
                self.commands.push((at, Fifo::standby(Which::Foreign)));
            }
            (Step::Stop(group, at, tries), failed) => {
                let resource = self.resources(*group)[*at].to_string();
                self.say_failure(failed, &resource);
                if *tries < STOP_RETRIES {
                    self.say(Level::Info, format!("Retrying failed stop operation [{resource}]"));
                    let mut parts = vec![Step::Spend(STOP_RETRY)];
                    parts.extend(self.called(Step::Stop(*group, *at, tries + 1)));
                    prepend(child, parts);
                } else {
                    prepend(child, self.called(Step::Verify(*group, *at)));
                }
            }
            (Step::Verify(..), Outcome::Running) => {
                self.say(Level::Crit, "Resource STOP failure. Reboot required!");
                self.say(Level::Crit, "Killing heartbeat ungracefully!");
                // Nothing is left of the daemon; what runs runs on until somebody resets the machine.
                child.steps.clear();
                self.leave();
            }
            (Step::Verify(..), _) => self.say(Level::Warn, "Machine reboot narrowly avoided!"),
            _ => {}
        }
    }

    fn say_failure(&mut self, outcome: &Outcome, resource: &str) {
        let text = match outcome {
            Outcome::Failed(Failure::NoScript) => format!("Cannot locate resource script {resource}"),
            Outcome::Failed(failure) => format!("{failure} from {resource}"),
            _ => format!("no result from {resource}"),
        };
        self.say(Level::Error, text);
    }

    fn say_group(&mut self, what: &str, group: usize) {
        let config = self.config.clone();
        let group = &config.groups()[group];
        let words: Vec<&str> = group.resources.iter().map(Resource::word).collect();
        let home = &config.nodes()[group.home.index()].name;
        self.say(Level::Info, format!("{what} resource group: {home} {}", words.join(" ")));
    }

    fn resources(&self, group: usize) -> &[Resource] {
        &self.config.groups()[group].resources
    }

    /// All stops of a group, from right to left.
    fn stops(&self, group: usize) -> Vec<Step> {
        (0..self.resources(group).len()).rev().flat_map(|at| self.called(Step::Stop(group, at, 0))).collect()
    }

    /// A call, and before it what it costs to start the script that only asks the kernel.
    fn called(&self, step: Step) -> Vec<Step> {
        let (Step::Check(group, at) | Step::Start(group, at) | Step::Stop(group, at, _) | Step::Verify(group, at)) =
            step
        else {
            return vec![step];
        };
        match self.resources(group).get(at) {
            Some(Resource::Address(_)) => vec![Step::Spend(costs::ADDRESS_SCRIPT), step],
            _ => vec![step],
        }
    }

    // --- beside the main loop

    /// Commands whose shells have started write into the FIFO; that wakes nobody.
    pub(super) fn run_commands(&mut self) {
        let now = self.now;
        let (due, rest) = std::mem::take(&mut self.commands).into_iter().partition(|(at, _)| *at <= now);
        self.commands = rest;
        let due: Vec<(Instant, Fifo)> = due;
        self.fifo.extend(due.into_iter().map(|(_, message)| message));
    }

    /// Announces an address at once and for some time after (CLUSTER d.7).
    fn begin_announcing(&mut self, address: VirtualIp) {
        self.announcers.retain(|announcer| announcer.address.word != address.word);
        let (rounds, pause) = match address.class {
            AddressClass::IPaddr => (10, Duration::from_millis(500)),
            AddressClass::IPaddr2 | AddressClass::IPv6addr => (5, Duration::from_millis(200)),
        };
        self.announcers.push(Announcer { address, left: 2 * rounds, every: pause / 2, next: self.now });
        self.announce();
    }

    /// Requests and replies in turn.
    pub(super) fn announce(&mut self) {
        let now = self.now;
        let mut frames = Vec::new();
        for announcer in self.announcers.iter_mut().filter(|announcer| announcer.next <= now) {
            let kind = if announcer.left.is_multiple_of(2) { ArpKind::Request } else { ArpKind::Reply };
            frames.push(Effect::Do(Action::FireArp { address: announcer.address.clone(), kind }));
            announcer.left -= 1;
            announcer.next = now.plus(announcer.every);
        }
        self.announcers.retain(|announcer| announcer.left > 0);
        self.effects.0.extend(frames);
    }
}

fn written(message: Option<(Holding, StandbyStep)>) -> Option<Step> {
    message.map(|(set, step)| Step::Write(Fifo::Ask(set, step)))
}

fn prepend(child: &mut Child, steps: Vec<Step>) {
    for step in steps.into_iter().rev() {
        child.steps.push_front(step);
    }
}
