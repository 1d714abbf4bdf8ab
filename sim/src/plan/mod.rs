//! A scenario as data: who there is, what happens when, what must come of it.

pub mod library;
mod script;

use hb_core::config::{Config, Diagnostic};
use hb_core::{Verb, Which};
use std::time::Duration;

pub(crate) use script::nearest;

/// A scenario.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is about.
    pub title: String,
    /// The nodes' configurations, in the order of the `node` lines.
    pub configs: Vec<Config>,
    /// Short names of groups: label and key.
    pub groups: Vec<(String, String)>,
    /// Who is started at the very beginning.
    pub boot: Vec<usize>,
    /// Whether the scenario's zero is when everything rests, instead of the start.
    pub settle: bool,
    /// What happens, in order of time.
    pub events: Vec<(Duration, Event)>,
    /// Placements that must hold.
    pub placements: Vec<Placement>,
    /// What must be true in the end.
    pub conditions: Vec<Condition>,
    /// How long two owners of one group are allowed, in total.
    pub overlap: Duration,
    /// When it is over.
    pub end: Duration,
    /// How resources behave that do not behave as usual.
    pub quirks: Vec<Quirk>,
    /// Packets in a thousand that are lost.
    pub loss: u64,
    /// Whether packets may overtake each other.
    pub reorders: bool,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The daemon is started (on a machine that is switched on).
    Start(usize),
    /// Power fails: nothing runs there any more.
    Crash(usize),
    /// The daemon is killed; what it started stays.
    Kill(usize),
    /// The daemon is told to stop.
    Stop(usize),
    /// Nothing comes out of or into the interface; of all interfaces if none is named.
    Cut(usize, Option<String>),
    /// Nothing comes in any more.
    Deafen(usize, Option<String>),
    /// Undoes cuts.
    Heal(usize, Option<String>),
    /// A client of the node asks for a standby.
    Standby(usize, Which),
    /// A client of the node asks for a takeover.
    Takeover(usize, Which),
}

/// From `at` to the next event or placement, each group named runs wholly on that host, or nowhere, and on no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// When it must hold.
    pub at: Duration,
    /// Label, and host or nowhere.
    pub groups: Vec<(String, Option<usize>)>,
    /// As written.
    pub text: String,
}

/// Something that must be true in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
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
}

impl Plan {
    /// Reads a scenario; all problems at once.
    pub fn parse(name: &str, text: &str) -> Result<Plan, Vec<Diagnostic>> {
        script::parse(name, text)
    }

    /// The name of a host.
    pub fn name(&self, host: usize) -> &str {
        self.configs[host].local_name()
    }

    /// The key of a labelled group.
    pub fn key(&self, label: &str) -> &str {
        self.groups.iter().find(|(name, _)| name == label).map_or("", |(_, key)| key)
    }
}
