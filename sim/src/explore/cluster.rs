//! The state of a cluster, and what one event does to it.
//!
//! Small, because there are many: nodes are shared until they step, frames always.

use super::cables::Broken;
use super::flight::{Flight, Says};
use super::setting::{DELAY, ENDING, PHASE, RESET, Setting};
use hb_core::ids::{Generation, NodeId, NodeUuid, OpId, Seq};
use hb_core::time::{Instant, UnixTime};
use hb_core::{Action, Boot, Event, Failure, Heard, Input, Node, Outcome, Verb};
use std::sync::Arc;
use std::time::Duration;

/// The wall clock at the origin of virtual time.
const EPOCH: u64 = 1_700_000_000;
/// Not the origin, so that nothing works only by being zero.
const START: Duration = Duration::from_secs(100);

/// A machine: its node if that runs, and what outlives the node.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) node: Option<Arc<Node>>,
    /// On disk: the generation of the present or last life.
    pub(super) generation: Generation,
    /// The last number of the last life.
    last_number: Seq,
    pub(super) operations: Vec<Operation>,
    /// What its device was asked last.
    inspected: Option<OpId>,
    /// The resources that run: bits in the order of the setting.
    pub(super) running: u64,
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) due: Instant,
    pub(super) work: Work,
    op: OpId,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Work {
    Resource {
        resource: usize,
        verb: Verb,
    },
    /// The device of that machine takes its power away.
    Reset {
        host: usize,
    },
    /// The same, cancelled: its program ends.
    Ceased,
}

/// The state of everything.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) now: Instant,
    pub(super) machines: Vec<Machine>,
    /// Frames under way, in the order of their arrival.
    pub(super) flying: Vec<Flight>,
    /// Frames that are delayed, in the order in which they were.
    pub(super) held: Vec<Flight>,
    /// Cables that work no more.
    pub(super) broken: Broken,
    /// Faults that may still happen.
    pub(super) faults: u8,
}

/// What is due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The frame at this place among those under way.
    Frame { host: usize, at: usize },
    /// The operation at this place.
    Done { host: usize, at: usize },
    /// The node's deadline.
    Wake { host: usize },
}

impl Machine {
    /// How far its node has heard another one.
    pub(super) fn heard(&self, other: usize) -> Option<Heard> {
        self.node.as_ref()?.heard_of(NodeId(u16::try_from(other).ok()?))
    }
}

impl Due {
    pub(super) fn host(self) -> usize {
        let (Due::Frame { host, .. } | Due::Done { host, .. } | Due::Wake { host }) = self;
        host
    }
}

/// Hears what happens in a step.
pub(super) trait Watch {
    fn said(&mut self, host: usize, event: &Event);
    fn runs(&mut self, host: usize, resource: usize, runs: bool);
    fn reset(&mut self, host: usize);
}

/// Hears nothing.
impl Watch for () {
    fn said(&mut self, _: usize, _: &Event) {}
    fn runs(&mut self, _: usize, _: usize, _: bool) {}
    fn reset(&mut self, _: usize) {}
}

/// What a step did beside changing the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Whether something was sent, arriving or not.
    pub(super) sent: bool,
    /// What should not have happened.
    pub(super) wrong: Option<String>,
}

impl Cluster {
    /// All machines switched on, one after the other, and nothing done yet.
    pub(super) fn new(setting: &Setting, watch: &mut impl Watch) -> (Cluster, Effect) {
        let machine = Machine {
            node: None,
            generation: Generation(EPOCH),
            last_number: Seq(0),
            operations: Vec::new(),
            inspected: None,
            running: 0,
        };
        let mut cluster = Cluster {
            now: Instant::after_origin(START),
            machines: vec![machine; setting.count()],
            flying: Vec::new(),
            held: Vec::new(),
            broken: Broken::default(),
            faults: 0,
        };
        let mut effect = cluster.start(setting, 0, watch);
        for host in 1..setting.count() {
            let start = cluster.now.plus(PHASE);
            while effect.wrong.is_none()
                && let Some((at, due)) = cluster.next().filter(|(at, _)| *at <= start)
            {
                effect = cluster.happen(setting, at, due, watch);
            }
            cluster.now = start;
            if effect.wrong.is_none() {
                effect = cluster.start(setting, host, watch);
            }
        }
        (cluster, effect)
    }

    /// What happens next if nothing goes wrong. At one instant frames come first, by host and arrival, then results,
    /// then wakes (STYLE 3).
    pub(super) fn next(&self) -> Option<(Instant, Due)> {
        let frames =
            self.flying.iter().enumerate().map(|(at, flight)| (flight.due, Due::Frame { host: flight.to, at }));
        let hosts = || self.machines.iter().enumerate();
        let results = hosts().flat_map(|(host, machine)| {
            machine.operations.iter().enumerate().map(move |(at, operation)| (operation.due, Due::Done { host, at }))
        });
        let wakes = hosts().filter_map(|(host, machine)| {
            let deadline = machine.node.as_ref()?.next_deadline()?;
            Some((deadline.max(self.now), Due::Wake { host }))
        });
        frames.chain(results).chain(wakes).min()
    }

    /// Lets happen what is due.
    pub(super) fn happen(&mut self, setting: &Setting, at: Instant, due: Due, watch: &mut impl Watch) -> Effect {
        self.now = at;
        match due {
            Due::Frame { at, .. } => {
                let flight = self.flying.remove(at);
                self.arrive(setting, &flight, watch)
            }
            Due::Done { host, at } => self.finish(setting, host, at, watch),
            Due::Wake { host } => {
                let mut effect = self.step(setting, host, Input::Wake, watch);
                let late = |node: &Arc<Node>| node.next_deadline().is_some_and(|next| next <= self.now);
                if effect.wrong.is_none() && self.machines[host].node.as_ref().is_some_and(late) {
                    effect.wrong = Some(format!("a wake of {} leaves a deadline behind", setting.name(host)));
                }
                effect
            }
        }
    }

    /// A frame arrives now. A machine that is down hears nothing.
    pub(super) fn arrive(&mut self, setting: &Setting, flight: &Flight, watch: &mut impl Watch) -> Effect {
        self.step(setting, flight.to, Input::Frame { medium: flight.medium, bytes: &flight.frame }, watch)
    }

    /// Power fails. What is under way to the machine is for this life and goes down with it.
    pub(super) fn crash(&mut self, host: usize) {
        let last_number = self.newest_number(host);
        self.flying.retain(|flight| flight.to != host);
        self.held.retain(|flight| flight.to != host);
        let machine = &mut self.machines[host];
        *machine = Machine { node: None, last_number, operations: Vec::new(), running: 0, ..machine.clone() };
    }

    /// Power returns: a new life with the next generation.
    ///
    /// Its luck is that of every life, so that lives that differ in nothing else are the same.
    pub(super) fn start(&mut self, setting: &Setting, host: usize, watch: &mut impl Watch) -> Effect {
        let number = u8::try_from(host + 1).expect("there are few machines");
        let machine = &mut self.machines[host];
        machine.generation = Generation(machine.generation.0 + 1);
        let boot = Boot {
            now: self.now,
            wall_clock: UnixTime(EPOCH + self.now.as_nanos() / 1_000_000_000),
            generation: machine.generation,
            uuid: NodeUuid::from_random([number; 16]),
            seed: [number; 32],
            hostcache: hb_core::config::Hostcache::default(),
            longest_deadtime: Duration::ZERO,
            cut_short: Vec::new(),
        };
        machine.node = Some(Arc::new(Node::new(setting.configs[host].clone(), boot)));
        self.step(setting, host, Input::Wake, watch)
    }

    /// Forgets delayed frames that have waited for too long, and those that would change nothing any more: of a life
    /// that is over, or with a number that their receiver has or has given up.
    pub(super) fn forget_late(&mut self, setting: &Setting) {
        let (now, machines) = (self.now, &self.machines);
        self.held.retain(|flight| {
            let heard = machines[flight.to].heard(flight.from);
            let is_void = heard.is_some_and(|heard| {
                flight.says.generation < heard.generation
                    || flight.says.generation == heard.generation
                        && heard.newest != flight.says.seq
                        && flight.says.seq.is_some_and(|seq| seq < heard.lowest_open)
            });
            !is_void && now <= setting.expires(flight)
        });
    }

    /// The number of the last message of the present or last life.
    pub(super) fn newest_number(&self, host: usize) -> Seq {
        let machine = &self.machines[host];
        machine.node.as_ref().map_or(machine.last_number, |node| node.newest_number())
    }

    fn finish(&mut self, setting: &Setting, host: usize, at: usize, watch: &mut impl Watch) -> Effect {
        let Operation { work, op, .. } = self.machines[host].operations.remove(at);
        let outcome = match work {
            Work::Resource { resource, verb } => self.act(host, resource, verb, watch),
            Work::Reset { host } => {
                self.crash(host);
                watch.reset(host);
                Outcome::Done
            }
            Work::Ceased => Outcome::Failed(Failure::Signal(15)),
        };
        let running: Vec<u64> = self.machines.iter().map(|machine| machine.running).collect();
        if let Some(key) = setting.shared(&running) {
            return Effect { sent: false, wrong: Some(format!("group {key} has two owners")) };
        }
        self.step(setting, host, Input::OpDone { op, outcome, said: hb_core::Transcript::default() }, watch)
    }

    /// What a resource answers, and does.
    fn act(&mut self, host: usize, resource: usize, verb: Verb, watch: &mut impl Watch) -> Outcome {
        let machine = &mut self.machines[host];
        let (bit, before) = (1_u64 << resource, machine.running);
        let outcome = match verb {
            Verb::Status | Verb::Monitor if before & bit != 0 => Outcome::Running,
            Verb::Status | Verb::Monitor => Outcome::NotRunning,
            Verb::Start => {
                machine.running |= bit;
                Outcome::Done
            }
            Verb::Stop => {
                machine.running &= !bit;
                Outcome::Done
            }
        };
        if machine.running != before {
            watch.runs(host, resource, verb == Verb::Start);
        }
        outcome
    }

    fn step(&mut self, setting: &Setting, host: usize, input: Input<'_>, watch: &mut impl Watch) -> Effect {
        let mut effect = Effect::default();
        let Machine { node: Some(node), operations, inspected, .. } = &mut self.machines[host] else { return effect };
        // The node of the state before is shared with it; this clones it if that still lives.
        let node = Arc::make_mut(node);
        let mut last: Option<(hb_core::Frame, Says)> = None;
        let mut wrong = |what: &str| {
            effect.wrong.get_or_insert_with(|| format!("{}: {what}", setting.name(host)));
        };
        for action in node.handle(self.now, input) {
            match action {
                Action::Send { medium, frame, .. } => {
                    effect.sent = true;
                    // The same frame goes out on every medium.
                    let says = match &last {
                        Some((same, says)) if Arc::ptr_eq(same, &frame) => *says,
                        _ => Says::read(setting, host, &frame),
                    };
                    last = Some((frame.clone(), says));
                    let due = self.now.plus(DELAY);
                    // Each copy has a fate of its own.
                    for (to, medium) in setting.ways(host, medium).filter(|(to, _)| !self.broken.has(host, *to)) {
                        self.flying.push(Flight { from: host, to, medium, due, says, frame: frame.clone() });
                    }
                }
                Action::RunResource { op, run } => {
                    let resource = setting.resource(&run);
                    let moves = |verb| matches!(verb, Verb::Start | Verb::Stop);
                    let others = |other: &Operation| match other.work {
                        Work::Resource { resource, verb } => setting.group_of(resource) == run.group && moves(verb),
                        Work::Reset { .. } | Work::Ceased => false,
                    };
                    if moves(run.verb) && operations.iter().any(others) {
                        wrong("two things of one group move at a time");
                    }
                    let due = self.now.plus(setting.takes(resource, run.verb));
                    operations.push(Operation { due, work: Work::Resource { resource, verb: run.verb }, op });
                }
                Action::Report(event) => watch.said(host, &event),
                Action::Exit(_) => wrong("ends on its own"),
                Action::Reboot => wrong("reboots although everything stops"),
                Action::Fence { op, node, .. } => {
                    let Some(target) = setting.host(&node) else {
                        wrong("resets a machine that is none of these");
                        continue;
                    };
                    if operations.iter().any(|other| matches!(other.work, Work::Reset { .. })) {
                        wrong("two resets at a time");
                    }
                    operations.push(Operation { due: self.now.plus(RESET), work: Work::Reset { host: target }, op });
                }
                // Nobody answers, and nothing depends on it.
                Action::Inspect { op, .. } => *inspected = Some(op),
                Action::CeaseFire { op } => {
                    let shot = operations.iter_mut().find(|operation| operation.op == op);
                    match shot {
                        Some(shot) => *shot = Operation { due: self.now.plus(ENDING), work: Work::Ceased, op },
                        None if *inspected == Some(op) => {}
                        None => wrong("cancels a reset that is not under way"),
                    }
                }
                Action::Alarm { .. } => wrong("raises an alarm that nobody asked for"),
                Action::Reply { .. } => wrong("answers a client that asked nothing"),
                Action::ArmTimer { .. } | Action::FireArp { .. } | Action::Door(_) | Action::Entrust { .. } => {}
                Action::Tell { .. } | Action::Allow { .. } | Action::Dismiss { .. } => wrong("talks to nobody"),
                Action::StartProgram { .. } | Action::StopProgram { .. } => wrong("runs a program of nobody"),
                Action::Persist { .. } => wrong("writes about members, of whom nobody came or left"),
            }
        }
        effect
    }
}
