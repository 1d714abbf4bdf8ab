//! The queue of events in virtual time, and the loop.
//!
//! Ties are broken by rule: at one instant first what the plan lets happen, then frames by (host, arrival), then
//! results, then devices, then wakes (STYLE 3). Nothing here sleeps, and nothing depends on the machine that runs it.
//!
//! | file | what |
//! |---|---|
//! | `world.rs` | the queue, the loop, steps of nodes |
//! | `world/fencing.rs` | devices that reset machines |
//! | `world/perform.rs` | what a node's actions do |
//! | `world/happen.rs` | what the plan does to machines and network |

mod fencing;
mod guard;
mod happen;
mod perform;

pub(crate) use guard::Entrusted;

use crate::check::{self, Arrival, Check, Fact, Moment, Violation};
use crate::contact::Contact;
use crate::engine::Effect;
use crate::ground::{Ground, Power};
use crate::host::{Host, Schedule};
use crate::label::Label;
use crate::network::luck::Luck;
use crate::network::{Lost, Network, Passage};
use crate::plan::Plan;
use crate::recording::{Detail, Packet, Recording, What};
use hb_core::digest::StableHasher;
use hb_core::ids::{MediumId, OpId};
use hb_core::time::Instant;
use hb_core::wire::serial::{Framer, Outbox};
use hb_core::{Frame, Input, Node, Outcome, ResourceRun, Transcript};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::Duration;

/// What is due, in the order in which it happens at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The event of the plan at this position.
    Plan(usize),
    Calm,
    Frame {
        host: usize,
        number: u64,
    },
    /// A serial line has sent what it had.
    Line {
        host: usize,
        medium: MediumId,
    },
    Done {
        host: usize,
        life: u64,
        op: OpId,
    },
    /// A daemon that was late gets the processor.
    Scheduled {
        host: usize,
        pulse: u64,
    },
    Guard {
        host: usize,
        pulse: u64,
    },
    /// The guard has stopped the scripts.
    Released {
        host: usize,
        pulse: u64,
    },
    /// The guard has told everybody, and ends.
    Freed {
        host: usize,
        pulse: u64,
    },
    /// A daemon that is suspended has not renewed what it left with its guard.
    Stuck {
        host: usize,
        pulse: u64,
    },
    Watchdog {
        host: usize,
        pulse: u64,
    },
    Fenced {
        host: usize,
        shot: fencing::Shot,
    },
    /// The program of a device has ended, and has reset nothing.
    ShotEnds {
        by: usize,
        life: u64,
        op: OpId,
    },
    Wake {
        host: usize,
    },
}

/// A frame under way.
#[derive(Clone)]
pub(crate) struct Travelling {
    pub(crate) from: usize,
    /// Which of the sender's lives sent it.
    pub(crate) life: u64,
    /// The medium by which the receiver takes it in.
    pub(crate) medium: MediumId,
    pub(crate) frame: Frame,
    /// What it is; `None` if it is damaged.
    pub(crate) label: Option<Label>,
}

/// A serial line, seen from one end.
struct Line {
    outbox: Outbox,
    is_busy: bool,
}

/// The state of everything.
pub struct World {
    plan: Plan,
    seed: u64,
    now: Instant,
    zero: Instant,
    hosts: Vec<Host>,
    network: Network,
    /// Machines that would answer pings and are dead.
    silent: BTreeSet<IpAddr>,
    /// What is true.
    pub ground: Ground,
    checks: Vec<Box<dyn Check>>,
    found: Vec<String>,
    /// What the checks found so far.
    pub violations: Vec<Violation>,
    detail: Detail,
    /// What happened so far, if it is kept.
    pub recording: Recording,
    queue: BinaryHeap<Reverse<(Instant, Due)>>,
    travelling: BTreeMap<u64, Travelling>,
    last_frame: u64,
    transmissions: u64,
    passages: Vec<Passage>,
    /// Serial lines by host and medium: what waits for them, and until when they are busy.
    lines: BTreeMap<(usize, MediumId), Line>,
    /// What serial lines bring, by host and medium.
    framers: BTreeMap<(usize, MediumId), Framer>,
    /// Operations under way, by host, life of its daemon, and name.
    operations: BTreeMap<(usize, u64, OpId), ResourceRun>,
    /// Resets that daemons wait for, with their limits ...
    shots: BTreeMap<(usize, OpId), Duration>,
    /// ... and what is said by programs of devices that do nothing: questions, and resets that end before they did anything.
    answers: BTreeMap<(usize, u64, OpId), Outcome>,
    clients: u64,
    /// Each node's last word for itself.
    words: Vec<&'static str>,
    contact: Contact,
    hasher: StableHasher,
    steps: u64,
    is_calm: bool,
}

impl World {
    /// The world of a plan, before anything happened, with every check that applies.
    pub fn new(plan: &Plan, seed: u64, detail: Detail) -> World {
        // Not the origin, so that nothing works only by being zero.
        let now = Instant::after_origin(Duration::from_secs(100));
        let hosts = plan.hosts.iter().enumerate().map(|(at, host)| Host::new(at, host.clone(), now)).collect();
        let ground = Ground::new(plan.configs(), detail > Detail::Quiet);
        let label = |key: &str| {
            let known = plan.groups.iter().find(|(_, known)| known == key);
            known.map_or_else(|| key.to_owned(), |(label, _)| label.clone())
        };
        let recording = Recording {
            hosts: plan.hosts.iter().map(|host| host.config.local_name().to_owned()).collect(),
            groups: ground.keys().map(label).collect(),
            zero: now,
            end: now,
            ..Recording::default()
        };
        World {
            plan: plan.clone(),
            seed,
            now,
            zero: now,
            hosts,
            network: Network::new(seed, &plan.hosts, &plan.net),
            silent: BTreeSet::new(),
            ground,
            checks: check::all(plan),
            found: Vec::new(),
            violations: Vec::new(),
            detail,
            recording,
            queue: BinaryHeap::new(),
            travelling: BTreeMap::new(),
            last_frame: 0,
            transmissions: 0,
            passages: Vec::new(),
            lines: BTreeMap::new(),
            framers: BTreeMap::new(),
            operations: BTreeMap::new(),
            shots: BTreeMap::new(),
            answers: BTreeMap::new(),
            clients: 0,
            words: vec!["down"; plan.hosts.len()],
            contact: Contact::new(plan),
            hasher: StableHasher::default(),
            steps: 0,
            is_calm: false,
        }
    }

    /// One more check, or whoever else wants to see the facts.
    pub fn watch(&mut self, check: Box<dyn Check>) {
        self.checks.push(check);
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The plan of the run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// From here on the scenario counts: its events lie ahead.
    pub(crate) fn begin(&mut self) {
        self.zero = self.now;
        self.recording.zero = self.now;
        self.ground.begin(self.now);
        for (position, (at, _)) in self.plan.events.iter().enumerate() {
            self.queue.push(Reverse((self.zero.plus(*at), Due::Plan(position))));
        }
        if let Some(calm) = self.plan.calm {
            self.queue.push(Reverse((self.zero.plus(calm), Due::Calm)));
        }
    }

    /// So much after the scenario's zero.
    pub fn at(&self, span: Duration) -> Instant {
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
            hasher.write_u64(host.engine.as_ref().map_or(0, crate::engine::Engine::digest));
        }
        hasher.finish()
    }

    /// The node of a host, if it runs and is ours.
    pub fn node(&self, host: usize) -> Option<&Node> {
        self.hosts[host].engine.as_ref().and_then(crate::engine::Engine::node)
    }

    /// What a node says that it holds, and whether it calls itself stable.
    pub(crate) fn holding(&self, host: usize) -> (&'static str, bool) {
        self.hosts[host].engine.as_ref().map_or(("nothing", false), crate::engine::Engine::holding)
    }

    /// Whether all that runs is active, stable and sees the others so.
    pub fn is_settled(&self) -> bool {
        let mut running = self.hosts.iter().filter_map(|host| host.engine.as_ref()).peekable();
        running.peek().is_some() && running.all(crate::engine::Engine::is_settled)
    }

    /// Runs until `end`, or until `enough` says so after something happened.
    pub fn run_until(&mut self, end: Instant, mut enough: impl FnMut(&World) -> bool) {
        while let Some(Reverse((at, _))) = self.queue.peek() {
            if *at > end {
                break;
            }
            let Some(Reverse((at, due))) = self.queue.pop() else { break };
            self.now = at;
            self.run_due(due);
            if enough(self) {
                return;
            }
        }
        self.now = self.now.max(end);
    }

    fn run_due(&mut self, due: Due) {
        match due {
            Due::Plan(position) => {
                let event = self.plan.events[position].1.clone();
                self.happen(&event);
            }
            Due::Calm => self.calm(),
            Due::Frame { host, number } => self.arrive(host, number),
            Due::Line { host, medium } => self.go_on_sending(host, medium),
            Due::Done { host, life, op } => self.finish(host, life, op),
            Due::Scheduled { host, pulse } => {
                if self.hosts[host].pulse == pulse && self.hosts[host].schedule == Schedule::Late {
                    self.catch_up(host);
                }
            }
            Due::Guard { host, pulse } => self.guard(host, pulse),
            Due::Released { host, pulse } => self.released(host, pulse),
            Due::Freed { host, pulse } => self.freed(host, pulse),
            Due::Stuck { host, pulse } => self.stuck(host, pulse),
            Due::Watchdog { host, pulse } => self.watchdog(host, pulse),
            Due::Fenced { host, shot } => self.fenced(host, shot),
            Due::ShotEnds { by, life, op } => self.shot_ends(by, life, op),
            // Only the deadline that was armed last is true.
            Due::Wake { host } if self.hosts[host].wakes_at == self.now => {
                if self.gets_processor(host) {
                    self.step(host, Input::Wake);
                }
            }
            Due::Wake { .. } => {}
        }
    }

    // --- frames on their way in

    fn arrive(&mut self, host: usize, number: u64) {
        let Some(packet) = self.travelling.remove(&number) else { return };
        if self.hosts[host].engine.is_none() {
            return;
        }
        if self.gets_processor(host) {
            self.hand_over(host, &packet);
        } else if self.hosts[host].schedule == Schedule::Still {
            // Nobody takes it from the wire.
        } else if !self.hosts[host].waiting.keep(packet) {
            self.note(|| What::Device(host, "a packet was lost: the socket's buffer is full".to_owned()));
        }
    }

    fn hand_over(&mut self, host: usize, packet: &Travelling) {
        let Travelling { from, life, medium, frame, label } = packet;
        if self.plan.hosts[host].config.media().get(medium.index()).is_some_and(|medium| medium.kind.is_serial()) {
            return self.read_line(host, packet);
        }
        if let Some(label) = label {
            self.contact.hear(self.now, host, *from, *label);
        }
        self.tell(&Fact::Arrives(&Arrival { to: host, from: *from, life: *life, frame, label: *label }));
        self.step(host, Input::Frame { medium: *medium, bytes: frame });
    }

    /// Bytes of a serial line come in: the messages in them are what arrives, whatever was sent.
    fn read_line(&mut self, host: usize, packet: &Travelling) {
        let mut framer = self.framers.remove(&(host, packet.medium)).unwrap_or_default();
        let mut bytes = &*packet.frame;
        while let Some(message) = framer.next(&mut bytes) {
            let label = packet.label.filter(|_| *message == *packet.frame);
            if let Some(label) = label {
                self.contact.hear(self.now, host, packet.from, label);
            }
            let frame = Frame::from(message);
            self.tell(&Fact::Arrives(&Arrival {
                to: host,
                from: packet.from,
                life: packet.life,
                frame: &frame,
                label,
            }));
            self.step(host, Input::Frame { medium: packet.medium, bytes: &frame });
        }
        self.framers.insert((host, packet.medium), framer);
    }

    // --- the processor

    /// Whether the daemon of a host runs now; one that is ready may be made to wait.
    fn gets_processor(&mut self, host: usize) -> bool {
        let (now, seed) = (self.now, self.seed);
        let machine = &mut self.hosts[host];
        if machine.schedule != Schedule::Runs {
            return false;
        }
        if machine.plan.lag.is_zero() || machine.engine.is_none() || self.is_calm {
            return true;
        }
        machine.late_turns += 1;
        let late = Luck::of(&(seed, "lag", host, machine.late_turns)).up_to(machine.plan.lag);
        if late.is_zero() {
            return true;
        }
        machine.schedule = Schedule::Late;
        let due = Due::Scheduled { host, pulse: machine.pulse };
        self.queue.push(Reverse((now.plus(late), due)));
        false
    }

    /// The daemon runs again: it reads what waits, then looks at the time (STYLE 2).
    fn catch_up(&mut self, host: usize) {
        self.hosts[host].schedule = Schedule::Runs;
        while let Some(packet) = self.hosts[host].waiting.frames.pop_front() {
            self.hand_over(host, &packet);
        }
        while let Some((op, outcome)) = self.hosts[host].waiting.results.pop_front() {
            self.step(host, Input::OpDone { op, outcome, said: Transcript::default() });
        }
        while let Some(address) = self.hosts[host].waiting.networks.pop_front() {
            self.step(host, Input::NetworkBack { address });
        }
        self.rearm(host);
        if self.hosts[host].wakes_at <= self.now {
            self.step(host, Input::Wake);
        }
    }

    /// Works out anew when the armed deadline comes.
    fn rearm(&mut self, host: usize) {
        let machine = &mut self.hosts[host];
        if machine.armed == Instant::FAR_FUTURE {
            machine.wakes_at = Instant::FAR_FUTURE;
            return;
        }
        machine.wakes_at = machine.clock.when(machine.armed).max(self.now);
        self.queue.push(Reverse((machine.wakes_at, Due::Wake { host })));
    }

    // --- steps

    fn step(&mut self, host: usize, input: Input<'_>) {
        // The node leaves its host for the step, so that the host's surroundings can be used meanwhile.
        let Some(mut engine) = self.hosts[host].engine.take() else { return };
        self.steps += 1;
        (host, self.now).hash(&mut self.hasher);
        if let Input::Frame { bytes, .. } = &input {
            bytes.hash(&mut self.hasher);
        }
        let now = self.hosts[host].clock.monotonic(self.now);
        let (mut effects, mut ended, mut reboots) = (0, false, false);
        engine.handle(now, input, |effect| {
            effects += 1;
            ended |= matches!(effect, Effect::Do(hb_core::Action::Exit(_)));
            reboots |= matches!(effect, Effect::Do(hb_core::Action::Reboot));
            self.perform(host, effect);
        });
        let word = if ended { "down" } else { engine.status_word() };
        if ended {
            self.hosts[host].end();
        } else {
            self.hosts[host].engine = Some(engine);
        }
        self.note_life(host, word);
        self.tell(&Fact::Stepped(host, effects));
        if reboots {
            self.reset(host, "reboots itself");
        }
    }

    /// An operation's result is there; a daemon that is not scheduled takes it up later.
    fn give_result(&mut self, host: usize, op: OpId, outcome: Outcome) {
        if self.gets_processor(host) {
            self.step(host, Input::OpDone { op, outcome, said: Transcript::default() });
        } else {
            self.hosts[host].waiting.results.push_back((op, outcome));
        }
    }

    // --- telling

    /// Every check looks at a fact.
    fn tell(&mut self, fact: &Fact<'_>) {
        let moment = Moment {
            now: self.now,
            plan: &self.plan,
            ground: &self.ground,
            contact: &self.contact,
            hosts: &self.hosts,
        };
        for check in &mut self.checks {
            check.see(&moment, fact, &mut self.found);
            for what in self.found.drain(..) {
                self.recording.add(self.now, What::Violated(format!("{}: {what}", check.name())));
                self.violations.push(Violation { check: check.name(), at: self.now, what });
            }
        }
    }

    /// The run is over: what was to come must have come.
    pub(crate) fn finish_checks(&mut self) {
        self.tell(&Fact::Ended);
        self.recording.end = self.now;
    }

    fn note(&mut self, what: impl FnOnce() -> What) {
        if self.detail > Detail::Quiet {
            self.recording.add(self.now, what());
        }
    }

    fn note_life(&mut self, host: usize, word: &'static str) {
        if self.detail == Detail::Quiet {
            return;
        }
        if std::mem::replace(&mut self.words[host], word) != word {
            self.recording.add(self.now, What::Life(host, word));
        }
    }

    fn note_packet(&mut self, from: usize, medium: MediumId, passage: Passage, frame: &Frame) {
        if self.detail == Detail::Packets {
            let fate = match passage.fate {
                crate::network::Fate::Arrives { at, .. } => match self.ground.power(passage.to) {
                    Power::On => Ok(at),
                    Power::Off | Power::Still => Err(Lost::NoReceiver),
                },
                crate::network::Fate::Lost(why) => Err(why),
            };
            let (at, to, frame, transmission) = (self.now, passage.to, frame.clone(), self.transmissions);
            self.recording.packets.push(Packet { transmission, at, from, medium, to, fate, frame });
        }
    }
}
