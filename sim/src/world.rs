//! The queue of events in virtual time, and the loop.
//!
//! Ties are broken by rule: at one instant frames by (host, arrival), then results, then wakes (STYLE 3). Nothing here
//! sleeps, and nothing depends on the machine that runs it.

use crate::check::{Check, SingleOwner};
use crate::ground::Ground;
use crate::host::Host;
use crate::network::Network;
use crate::plan::{Event, How, Plan, Quirk};
use crate::timeline::Timeline;
use hb_core::config::Resource;
use hb_core::digest::StableHasher;
use hb_core::ids::{ClientId, MediumId, OpId};
use hb_core::time::Instant;
use hb_core::{Action, Command, Failure, Frame, Input, Outcome, Request, ResourceRun, Verb};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

/// Operations on addresses are system calls; scripts are processes.
const ADDRESS_OP: Duration = Duration::from_micros(300);
const SCRIPT_OP: Duration = Duration::from_millis(20);
const STATUS_OP: Duration = Duration::from_millis(5);

/// What is due, in the order in which it happens at one instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Frame { host: usize, number: u64, life: u64, medium: MediumId },
    Done { host: usize, op: OpId, life: u64 },
    Wake { host: usize },
}

/// Something that a node reported.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// When.
    pub at: Instant,
    /// The host of the node.
    pub host: usize,
    /// What.
    pub event: &'a hb_core::Event,
}

/// Told of every fact as it happens.
pub type Watcher = Box<dyn FnMut(&Fact<'_>)>;

/// The state of everything.
pub struct World {
    now: Instant,
    zero: Instant,
    hosts: Vec<Host>,
    network: Network,
    pub(crate) ground: Ground,
    pub(crate) owners: SingleOwner,
    /// What happened so far; empty if it is not wanted.
    pub timeline: Timeline,
    is_recording: bool,
    queue: BinaryHeap<Reverse<(Instant, Due)>>,
    /// Frames under way by number.
    frames: BTreeMap<u64, Frame>,
    last_frame: u64,
    /// Operations under way.
    operations: BTreeMap<(usize, OpId), ResourceRun>,
    /// Each host's armed deadline.
    armed: Vec<Instant>,
    quirks: Vec<Quirk>,
    clients: u64,
    replies: VecDeque<String>,
    hasher: StableHasher,
    seed: u64,
    steps: u64,
    watcher: Option<Watcher>,
}

impl World {
    /// The world of a plan, before anything happened.
    pub fn new(plan: &Plan, seed: u64, is_recording: bool) -> World {
        let hosts: Vec<Host> =
            plan.configs.iter().enumerate().map(|(at, config)| Host::new(at, config.clone())).collect();
        // Not the origin, so that nothing works only by being zero.
        let now = Instant::after_origin(Duration::from_secs(100));
        World {
            now,
            zero: now,
            network: Network::new(seed, plan.loss, plan.reorders, &plan.configs),
            ground: Ground::new(&plan.configs),
            owners: SingleOwner::new(plan.overlap),
            timeline: Timeline::default(),
            is_recording,
            queue: BinaryHeap::new(),
            frames: BTreeMap::new(),
            last_frame: 0,
            operations: BTreeMap::new(),
            armed: vec![Instant::FAR_FUTURE; hosts.len()],
            quirks: plan.quirks.clone(),
            clients: 0,
            replies: VecDeque::new(),
            hasher: StableHasher::default(),
            seed,
            steps: 0,
            watcher: None,
            hosts,
        }
    }

    /// From now on `watcher` is told of everything that nodes report.
    pub fn set_watcher(&mut self, watcher: Watcher) {
        self.watcher = Some(watcher);
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// From here on the scenario counts.
    pub(crate) fn begin(&mut self) {
        self.zero = self.now;
        self.timeline.set_zero(self.now);
        self.ground.begin(self.now);
    }

    /// Since the scenario's zero.
    pub(crate) fn at(&self, span: Duration) -> Instant {
        self.zero.plus(span)
    }

    /// The number of steps that nodes have made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A digest over every input and action so far and the state of all nodes.
    pub fn digest(&self) -> u64 {
        let mut hasher = self.hasher.clone();
        for host in &self.hosts {
            hasher.write_u64(host.node.as_ref().map_or(0, hb_core::Node::digest));
        }
        hasher.finish()
    }

    pub(crate) fn node(&self, host: usize) -> Option<&hb_core::Node> {
        self.hosts[host].node.as_ref()
    }

    /// Whether all that runs is active, stable and sees the others so.
    pub(crate) fn is_settled(&self) -> bool {
        let running: Vec<_> = self.hosts.iter().filter_map(|host| host.node.as_ref()).collect();
        !running.is_empty()
            && running.iter().all(|node| {
                let status = node.status();
                status.is_stable() && status.groups().all(|group| group.owner.is_some())
            })
    }

    fn note(&mut self, who: &str, what: impl std::fmt::Display) {
        if self.is_recording {
            self.timeline.add(self.now, who, what);
        }
    }

    /// Lets something happen now.
    pub fn happen(&mut self, event: &Event) {
        let (Event::Start(host)
        | Event::Crash(host)
        | Event::Kill(host)
        | Event::Stop(host)
        | Event::Cut(host, _)
        | Event::Deafen(host, _)
        | Event::Heal(host, _)
        | Event::Standby(host, _)
        | Event::Takeover(host, _)) = *event;
        let name = self.hosts[host].name.clone();
        let text = format!("{event:?}").to_lowercase();
        let verb = text.split('(').next().unwrap_or_default().to_owned();
        let more = match event {
            Event::Cut(_, Some(interface)) | Event::Deafen(_, Some(interface)) | Event::Heal(_, Some(interface)) => {
                format!(" {interface}")
            }
            Event::Standby(_, which) | Event::Takeover(_, which) => format!(" {}", which.word()),
            _ => String::new(),
        };
        self.note("world", format!("{verb} {name}{more}"));
        match event {
            Event::Start(host) => {
                self.ground.power(self.now, *host, true);
                self.hosts[*host].start(self.now, self.seed);
                self.step(*host, Input::Wake);
            }
            Event::Crash(host) => {
                self.hosts[*host].end();
                self.ground.power(self.now, *host, false);
            }
            Event::Kill(host) => self.hosts[*host].end(),
            Event::Stop(host) => self.step(*host, Input::Operator(Command::Stop)),
            Event::Cut(host, interface) => self.network.set_cable(*host, interface.as_deref(), false, false),
            Event::Deafen(host, interface) => self.network.set_cable(*host, interface.as_deref(), false, true),
            Event::Heal(host, interface) => self.network.set_cable(*host, interface.as_deref(), true, false),
            Event::Standby(host, which) => self.request(*host, Request::Standby(*which)),
            Event::Takeover(host, which) => self.request(*host, Request::Takeover(*which)),
        }
        self.look();
    }

    fn request(&mut self, host: usize, request: Request) {
        self.clients += 1;
        self.step(host, Input::Client { client: ClientId(self.clients), request });
    }

    fn look(&mut self) {
        self.owners.look(self.now, &self.ground);
    }

    /// Runs until `end`, or until `enough` says so after an event.
    pub fn run_until(&mut self, end: Instant, mut enough: impl FnMut(&World) -> bool) {
        while let Some(Reverse((at, _))) = self.queue.peek() {
            if *at > end {
                break;
            }
            let Some(Reverse((at, due))) = self.queue.pop() else { break };
            self.now = at;
            match due {
                Due::Frame { host, number, life, medium } => {
                    let Some(frame) = self.frames.remove(&number) else { continue };
                    if self.hosts[host].life == life {
                        self.step(host, Input::Frame { medium, bytes: &frame });
                    }
                }
                Due::Done { host, op, life } => self.finish(host, op, life),
                // Only the deadline that was armed last is true.
                Due::Wake { host } if self.armed[host] == at => self.step(host, Input::Wake),
                Due::Wake { .. } => continue,
            }
            if enough(self) {
                return;
            }
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self, host: usize, input: Input<'_>) {
        let now = self.now;
        self.steps += 1;
        (host, now).hash(&mut self.hasher);
        if let Input::Frame { bytes, .. } = &input {
            bytes.hash(&mut self.hasher);
        }
        // The node leaves its host for the step, so that the host's surroundings can be used meanwhile.
        let Some(mut node) = self.hosts[host].node.take() else { return };
        let mut ended = false;
        for action in node.handle(now, input) {
            ended |= matches!(action, Action::Exit(_));
            self.perform(host, action);
        }
        if ended {
            self.hosts[host].end();
        } else {
            self.hosts[host].node = Some(node);
        }
    }

    fn perform(&mut self, host: usize, action: Action) {
        match action {
            Action::Send { medium, frame } => {
                frame.hash(&mut self.hasher);
                for arrival in self.network.send(self.now, host, medium) {
                    self.last_frame += 1;
                    let number = self.last_frame;
                    self.frames.insert(number, frame.clone());
                    let (to, medium) = (arrival.host, arrival.medium);
                    let due = Due::Frame { host: to, number, life: self.hosts[to].life, medium };
                    self.queue.push(Reverse((arrival.at, due)));
                }
            }
            Action::ArmTimer { deadline } => {
                self.armed[host] = deadline;
                if deadline != Instant::FAR_FUTURE {
                    self.queue.push(Reverse((deadline.max(self.now), Due::Wake { host })));
                    self.armed[host] = deadline.max(self.now);
                }
            }
            Action::RunResource { op, run } => {
                let usual = match (&run.resource, run.verb) {
                    (Resource::Address(_), _) => ADDRESS_OP,
                    (Resource::Script(_), Verb::Status) => STATUS_OP,
                    (Resource::Script(_), _) => SCRIPT_OP,
                };
                let takes = match self.quirk(host, &run) {
                    Some(How::Takes(time)) => time,
                    Some(How::Fails) | None => usual,
                };
                if run.verb != Verb::Status {
                    self.ground.call(host);
                }
                let due = Due::Done { host, op, life: self.hosts[host].life };
                self.queue.push(Reverse((self.now.plus(takes), due)));
                self.operations.insert((host, op), run);
            }
            Action::FireArp { address, .. } => self.ground.announce(self.now, host, address.address),
            Action::Reply { response, .. } => {
                let name = self.hosts[host].name.clone();
                self.note(&name, format!("answer: {response}"));
                self.replies.push_back(response.to_string());
            }
            Action::Report(event) => {
                if let Some(watcher) = &mut self.watcher {
                    watcher(&Fact { at: self.now, host, event: &event });
                }
                let name = self.hosts[host].name.clone();
                event.to_string().hash(&mut self.hasher);
                self.note(&name, event);
            }
            Action::Exit(_) => {}
        }
    }

    fn quirk(&self, host: usize, run: &ResourceRun) -> Option<How> {
        let fits =
            |quirk: &&Quirk| quirk.host == host && quirk.verb == run.verb && quirk.resource == run.resource.word();
        self.quirks.iter().find(fits).map(|quirk| quirk.how)
    }

    /// An operation ends: the truth changes, and the node hears of it if it is the one that asked.
    fn finish(&mut self, host: usize, op: OpId, life: u64) {
        let Some(run) = self.operations.remove(&(host, op)) else { return };
        if self.hosts[host].life != life && self.hosts[host].node.is_some() {
            // The daemon was started again; the operation of its former life went down with that.
            return;
        }
        let word = run.resource.word();
        let outcome = match (run.verb, self.quirk(host, &run)) {
            (_, Some(How::Fails)) => Outcome::Failed(Failure::ExitCode(1)),
            (Verb::Status, _) if self.ground.runs(host, word) => Outcome::Running,
            (Verb::Status, _) => Outcome::NotRunning,
            (Verb::Start | Verb::Stop, _) => {
                let runs = run.verb == Verb::Start;
                if self.ground.runs(host, word) != runs {
                    let name = self.hosts[host].name.clone();
                    self.note("ground", format!("{word} {} {name}", if runs { "runs on" } else { "has stopped on" }));
                }
                self.ground.set_running(self.now, host, word, runs);
                Outcome::Done
            }
        };
        self.look();
        self.step(host, Input::OpDone { op, outcome });
    }
}
