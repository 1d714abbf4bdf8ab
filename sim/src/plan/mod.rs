//! A scenario as data: who there is, what happens when, what must come of it.
//!
//! Everything a run depends on is in a [`Plan`] and a seed. A plan is written as text and read from it again without
//! loss, so that a search can shrink what it found and hand it on as a file.

pub mod library;
pub mod net;
pub mod pending;
mod print;
mod script;
pub(crate) mod time;

use hb_core::config::{Code, Config, Diagnostic};
use hb_core::{Verb, Which};
use net::NetRule;
use std::net::IpAddr;
use std::time::Duration;

pub(crate) use script::{configure, nearest};

/// A scenario.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What it is about.
    pub title: String,
    /// The machines, in the order of the `node` lines.
    pub hosts: Vec<HostPlan>,
    /// Short names of groups: label and key.
    pub groups: Vec<(String, String)>,
    /// Hosts that run a resource before any daemon was started.
    pub running: Vec<(usize, String)>,
    /// Machines that answer a ping, and the interface behind which they are.
    pub ping_targets: Vec<(IpAddr, String)>,
    /// What the scenario is about, if it is a configuration that must be refused: then there are no hosts.
    pub refusal: Option<Refusal>,
    /// Who is started at the very beginning.
    pub boot: Vec<usize>,
    /// Whether the scenario's zero is when everything rests, instead of the start.
    pub settle: bool,
    /// How links behave from the beginning.
    pub net: Vec<NetRule>,
    /// How resources behave that do not behave as usual.
    pub quirks: Vec<Quirk>,
    /// What happens, in order of time since zero.
    pub events: Vec<(Duration, Event)>,
    /// From then on everything is mended, and within a computed time every group must have one owner.
    pub calm: Option<Duration>,
    /// What must come of it.
    pub expectations: Vec<Expectation>,
    /// What the checkers hold the cluster to.
    pub policy: Policy,
    /// When it is over.
    pub end: Duration,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Its real files: ha.cf, haresources, authkeys.
    pub texts: [String; 3],
    /// What they say for this node.
    pub config: Config,
    /// Which hosts have the addresses that its `ucast` lines name; a host's number is the last part of any other.
    pub peers: Vec<(String, usize)>,
    /// Who runs there.
    pub kind: EngineKind,
    /// How much its clocks run ahead of the world's, in parts per million.
    pub drift_ppm: i32,
    /// How much its wall clock is off at the beginning, in seconds.
    pub wall_offset: i64,
    /// Every turn of the daemon begins up to that much late.
    pub lag: Duration,
    /// A guard process takes everything away that long after the daemon died.
    pub guard: Option<Duration>,
    /// A watchdog resets the machine when the daemon could not run for that long.
    pub watchdog: Option<Duration>,
    /// The fencing device that resets this machine.
    pub device: Option<Device>,
    /// Its files as they are when the daemon looks at them again, for the first time and so on; the last ones stay.
    pub rewritten: Vec<Rewritten>,
}

/// Files that were edited while the daemon ran.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// ha.cf, haresources, authkeys.
    pub texts: [String; 3],
    /// What they say for this node, if a daemon can start with them.
    pub config: Option<Config>,
}

/// Files that the daemon must not start with.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Each node's name and files.
    pub texts: Vec<(String, [String; 3])>,
    /// Scripts that are on no host.
    pub no_scripts: Vec<String>,
    /// The problem for which they are refused.
    pub code: Code,
}

/// Which program is the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// The production core.
    #[default]
    Ours,
    /// The model of Heartbeat 3.0.6.
    Model,
}

/// A fencing device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// What it does when it is told to reset the machine.
    pub does: DeviceDoes,
    /// How long that takes.
    pub takes: Duration,
}

/// What a fencing device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceDoes {
    /// It resets the machine and confirms.
    Works,
    /// It confirms, and the machine runs on.
    Lies,
    /// It says that it could not.
    Fails,
    /// It never answers.
    Hangs,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The daemon is started, on a machine that is switched on for it.
    Start(usize),
    /// Power fails: nothing runs there any more.
    Crash(usize),
    /// The daemon is killed; what it started stays.
    Kill(usize),
    /// The daemon is told to stop.
    Stop(usize),
    /// The daemon is replaced by a new one that reads its files anew; resources stay.
    Restart(usize),
    /// The daemon is told to read its files anew.
    Reload(usize),
    /// A resource stops, and nobody ordered it.
    Lose(usize, String),
    /// The daemon is not scheduled (SIGSTOP); resources and kernel go on.
    Suspend(usize),
    /// The whole machine stands still; its clocks run on.
    Stall(usize),
    /// The whole machine stands still, its clocks with it (a frozen guest).
    Freeze(usize),
    /// Undoes the three before.
    Resume(usize),
    /// The wall clock jumps by so many milliseconds.
    StepClock(usize, i64),
    /// What is written to disk from now on is lost when power fails.
    LoseWrites(usize),
    /// The host's fencing device is told to reset it.
    Fence(usize),
    /// The host's fencing device becomes another.
    Device(usize, Device),
    /// Nothing comes out of the interface or into it; of all media of the host if none is named.
    Cut(usize, Option<String>),
    /// Nothing comes in any more.
    Deafen(usize, Option<String>),
    /// Nothing goes out any more.
    Mute(usize, Option<String>),
    /// Undoes the three before; without an interface on all, the service network included.
    Heal(usize, Option<String>),
    /// Nothing goes from one host to the other.
    Block(usize, usize, Option<String>),
    /// Undoes that.
    Open(usize, usize, Option<String>),
    /// Links behave differently from now on.
    Net(NetRule),
    /// A machine that answers pings dies, or is back.
    PingTarget(IpAddr, bool),
    /// A client of the node asks for a standby.
    Standby(usize, Which),
    /// A client of the node asks for a takeover.
    Takeover(usize, Which),
    /// The operator of a host says that another one runs nothing.
    Confirm(usize, usize),
}

/// What the checkers hold a run to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Overlaps that a hazard of the rule book explains are allowed.
    pub hazards: bool,
    /// How long two owners of one group are allowed in total, whatever the reason.
    pub overlap: Duration,
    /// What a takeover from a node that did not say goodbye needs.
    pub proof: Proof,
}

/// What must have happened before another host starts what a silent one ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Nothing but its silence.
    #[default]
    None,
    /// It was fenced.
    Fenced,
    /// It was fenced, or released everything itself, or lost power.
    Released,
}

/// To which clusters an expectation applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// To every one.
    #[default]
    All,
    /// Where all nodes are ours.
    Ours,
    /// Where all nodes are models of 3.0.6.
    Model,
    /// Where there are both.
    Mixed,
}

/// Something that must come of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// For which clusters.
    pub scope: Scope,
    /// What.
    pub what: Expect,
}

/// What must come of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// From then to the next event or placement, each group runs wholly on those hosts and nowhere else.
    By(Duration, Vec<Place>),
    /// It becomes so within half a second of that time (the tolerance of the observations).
    Near(Duration, Vec<Place>),
    /// From then to the next event or placement, these groups run wholly on one host, whichever, and nowhere else.
    Together(Duration, Vec<String>),
    /// No client waited longer for an address of the group.
    Gap(String, Duration),
    /// The host was told this often to start or stop something, since zero.
    Calls(usize, u32),
    /// The node said this.
    Log(usize, String),
    /// The node did not say this.
    NoLog(usize, String),
    /// The node says of itself that it holds this and is stable.
    Holds(usize, String),
}

/// Where a group is: its label, the hosts that run all of it, and those that run part of it; nobody if there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The group's label.
    pub label: String,
    /// The hosts that run all of it, ascending.
    pub hosts: Vec<usize>,
    /// The hosts that run something of it, but not all, ascending.
    pub parts: Vec<usize>,
}

/// A resource that takes its time, or fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quirk {
    /// The host.
    pub host: usize,
    /// The resource as haresources writes it.
    pub resource: String,
    /// What is done with it.
    pub verb: Verb,
    /// How long that takes, or that it fails.
    pub how: How,
}

/// What a [`Quirk`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It succeeds after this time.
    Takes(Duration),
    /// It fails.
    Fails,
    /// It succeeds and says that it failed.
    Misreports,
}

impl Plan {
    /// Reads a scenario; all problems at once.
    pub fn parse(name: &str, text: &str) -> Result<Plan, Vec<Diagnostic>> {
        script::parse(name, text)
    }

    /// The name of a host.
    pub fn name(&self, host: usize) -> &str {
        self.hosts[host].config.local_name()
    }

    /// The key of a labelled group.
    pub fn key(&self, label: &str) -> &str {
        self.groups.iter().find(|(name, _)| name == label).map_or("", |(_, key)| key)
    }

    /// The configurations, in the order of the hosts.
    pub fn configs(&self) -> impl Iterator<Item = &Config> {
        self.hosts.iter().map(|host| &host.config)
    }

    /// Which of the scopes these hosts make.
    pub fn scope(&self) -> Scope {
        let models = self.hosts.iter().filter(|host| host.kind == EngineKind::Model).count();
        match models {
            0 => Scope::Ours,
            n if n == self.hosts.len() => Scope::Model,
            _ => Scope::Mixed,
        }
    }

    /// The same plan played by other programs; the last of `kinds` counts for all further hosts.
    #[must_use]
    pub fn played_by(mut self, kinds: &[EngineKind]) -> Plan {
        for (at, host) in self.hosts.iter_mut().enumerate() {
            if let Some(kind) = kinds.get(at).or(kinds.last()) {
                host.kind = *kind;
            }
        }
        self
    }
}

impl Scope {
    /// Whether an expectation of this scope applies to a cluster of that one.
    pub fn includes(self, cluster: Scope) -> bool {
        self == Scope::All || self == cluster
    }
}
