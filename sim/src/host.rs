//! A machine: one node, the disk that outlives it, its clocks, and what waits for a daemon that is not scheduled.

use crate::clock::{Clock, first_reading};
use crate::engine::Engine;
use crate::plan::{HostPlan, Rewritten};
use crate::world::{Entrusted, Travelling};
use hb_core::config::Config;
use hb_core::config::hostcache::{self, Hostcache};
use hb_core::ids::{Generation, NodeUuid, OpId};
use hb_core::time::Instant;
use hb_core::{Boot, Outcome, StateFile};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// The generation before the first life: any number will do that is not small.
const FIRST_GENERATION: u64 = 1_700_000_000;
/// Packets that a socket keeps for a daemon that does not read: `rmem_default` of 212992 bytes, at the kernel's price of
/// about 768 bytes for a small packet.
const SOCKET_BUFFER: usize = 277;

/// A machine and what it keeps.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) plan: HostPlan,
    /// The node; away while it makes a step.
    pub(crate) engine: Option<Engine>,
    /// Whether a daemon runs, in the middle of a step or not.
    pub(crate) has_daemon: bool,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    /// Counts lives, so that what was ordered in an earlier one is not answered in a later.
    pub(crate) life: u64,
    pub(crate) schedule: Schedule,
    pub(crate) waiting: Waiting,
    /// The deadline its node armed, on the host's monotonic clock.
    pub(crate) armed: Instant,
    /// The same in the world's time; a wake for any other time is out of date.
    pub(crate) wakes_at: Instant,
    /// Changes whenever the daemon starts, ends or goes on: what was counted down before is void.
    pub(crate) pulse: u64,
    /// Operations that ended while the machine stood still.
    pub(crate) standing: Vec<(u64, OpId)>,
    /// How often a daemon has looked at its files again.
    pub(crate) looks: usize,
    /// What its files say that its daemon has read again since it was started: the next one starts with it.
    pub(crate) reread: Option<Config>,
    /// Turns of the daemon that began late, for their luck.
    pub(crate) late_turns: u64,
    /// Interfaces on which it sees no signal.
    pub(crate) dark: BTreeSet<String>,
    /// What its daemon left with the guard; it outlives the daemon.
    pub(crate) entrusted: Option<Entrusted>,
    /// Resources of which the guard knows that they may be up here.
    pub(crate) held: BTreeSet<usize>,
    /// The guard brings down what the daemon left, and a start waits for it.
    pub(crate) is_releasing: bool,
    pub(crate) start_waits: bool,
    /// Scripts whose start or stop was begun, and that no daemon or guard has seen succeed since: in the run directory.
    pub(crate) unseen: BTreeSet<String>,
    /// Resources whose start or stop was cut short half-way: what is up of them no status tells.
    pub(crate) half: BTreeSet<usize>,
    number: usize,
}

/// Whether the daemon gets to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    Runs,
    /// It is ready, and gets the processor later.
    Late,
    /// It is stopped by a signal; the machine works.
    Suspended,
    /// The machine stands still.
    Still,
}

/// What waits for the daemon, in the order in which it takes it up: frames first, then results.
#[derive(Clone, Default)]
pub(crate) struct Waiting {
    pub(crate) frames: VecDeque<Travelling>,
    pub(crate) results: VecDeque<(OpId, Outcome)>,
    /// Addresses whose network came back.
    pub(crate) networks: VecDeque<IpAddr>,
}

/// What a daemon has written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) generation: Generation,
    /// Files about members.
    pub(crate) files: BTreeMap<StateFile, String>,
}

/// What is on disk, and what is lost when power fails.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) written: Written,
    pub(crate) durable: Written,
    /// Writes are no longer durable.
    pub(crate) lies: bool,
}

impl Host {
    pub(crate) fn new(number: usize, plan: HostPlan, now: Instant) -> Host {
        let written = Written { generation: Generation(FIRST_GENERATION), files: BTreeMap::new() };
        Host {
            name: plan.config.local_name().to_owned(),
            clock: Clock::new(now, first_reading(number), plan.drift_ppm, plan.wall_offset),
            plan,
            engine: None,
            has_daemon: false,
            disk: Disk { written: written.clone(), durable: written, lies: false },
            life: 0,
            schedule: Schedule::Runs,
            waiting: Waiting::default(),
            armed: Instant::FAR_FUTURE,
            wakes_at: Instant::FAR_FUTURE,
            pulse: 0,
            standing: Vec::new(),
            looks: 0,
            reread: None,
            late_turns: 0,
            dark: BTreeSet::new(),
            entrusted: None,
            held: BTreeSet::new(),
            is_releasing: false,
            start_waits: false,
            unseen: BTreeSet::new(),
            half: BTreeSet::new(),
            number,
        }
    }

    /// Starts the daemon: a new life with the next generation, on disk before anybody can hear it.
    pub(crate) fn start(&mut self, now: Instant, seed: u64) {
        self.end();
        self.write_generation(Generation(self.disk.written.generation.0 + 1));
        let id = u8::try_from(self.number + 1).unwrap_or(u8::MAX);
        let mut bytes = [id; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.life.to_le_bytes());
        let files = &self.disk.written.files;
        let known = |file| files.get(&file).map_or_else(Vec::new, |text| hostcache::parse(text.as_bytes()).0);
        let boot = Boot {
            now: self.clock.monotonic(now),
            wall_clock: self.clock.wall(now),
            generation: self.disk.written.generation,
            uuid: NodeUuid::from_random([id; 16]),
            seed: bytes,
            hostcache: Hostcache { nodes: known(StateFile::Hostcache), deleted: known(StateFile::Delhostcache) },
            longest_deadtime: Duration::from_millis(
                files.get(&StateFile::Deadtime).and_then(|text| text.trim().parse().ok()).unwrap_or_default(),
            ),
            cut_short: self.unseen.iter().cloned().collect(),
        };
        self.engine = Some(Engine::new(self.plan.kind, self.plan.config.clone(), boot));
        self.has_daemon = true;
        self.held.clear();
        self.schedule = Schedule::Runs;
    }

    /// Its files as they are now, and what they say: somebody looks at them again.
    pub(crate) fn look_at_files(&mut self) -> Rewritten {
        let at = self.looks.min(self.plan.rewritten.len().saturating_sub(1));
        self.looks += 1;
        let first = || Rewritten { texts: self.plan.texts.clone(), config: Some(self.plan.config.clone()) };
        self.plan.rewritten.get(at).cloned().unwrap_or_else(first)
    }

    pub(crate) fn write_generation(&mut self, generation: Generation) {
        self.disk.written.generation = generation;
        if !self.disk.lies {
            self.disk.durable.generation = generation;
        }
    }

    pub(crate) fn write_file(&mut self, file: StateFile, text: String) {
        if !self.disk.lies {
            self.disk.durable.files.insert(file, text.clone());
        }
        self.disk.written.files.insert(file, text);
    }

    /// The daemon is gone, whatever the reason.
    pub(crate) fn end(&mut self) {
        self.engine = None;
        self.has_daemon = false;
        self.life += 1;
        self.pulse += 1;
        self.armed = Instant::FAR_FUTURE;
        self.wakes_at = Instant::FAR_FUTURE;
        self.waiting = Waiting::default();
    }

    /// Power failed: what was not durable is lost, and its monotonic clock begins anew.
    pub(crate) fn lose_power(&mut self, now: Instant) {
        self.end();
        self.entrusted = None;
        (self.is_releasing, self.start_waits) = (false, false);
        self.held.clear();
        self.unseen.clear();
        self.half.clear();
        self.clock.restart(now, first_reading(self.number));
        self.disk.written = self.disk.durable.clone();
        self.disk.lies = false;
        self.schedule = Schedule::Runs;
    }
}

impl Waiting {
    /// Keeps a frame if there is room.
    pub(crate) fn keep(&mut self, packet: Travelling) -> bool {
        let has_room = self.frames.len() < SOCKET_BUFFER;
        if has_room {
            self.frames.push_back(packet);
        }
        has_room
    }
}
