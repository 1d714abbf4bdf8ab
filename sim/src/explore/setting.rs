//! What never changes during an exploration.

use super::flight::Flight;
use hb_core::config::{Config, MediumKind, Resource};
use hb_core::ids::{GroupId, MediumId};
use hb_core::time::Instant;
use hb_core::{ResourceRun, Verb};
use std::time::Duration;

/// How long a frame is under way if nothing happens to it.
pub(super) const DELAY: Duration = Duration::from_micros(200);
/// How much later than the first the second node is started: the phase of their heartbeats.
pub(super) const PHASE: Duration = Duration::from_millis(400);
/// How long a device takes for a reset; the machine then stays down until it is started.
pub(super) const RESET: Duration = Duration::from_millis(500);
/// How long a program takes to end that was told to.
pub(super) const ENDING: Duration = Duration::from_millis(5);
/// Resources are bits of a word.
const RESOURCES_MAX: usize = 64;

/// Why a scenario cannot be explored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There are more or fewer than two nodes.
    NotAPair(usize),
    /// There are more than 64 resources.
    TooManyResources(usize),
    /// The nodes have no medium in common.
    NoCommonMedium,
    /// With nothing going wrong the pair does not settle: this is the last state that was looked at.
    Restless(String),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unfit::NotAPair(nodes) => write!(f, "exploration needs two nodes, the scenario has {nodes}"),
            Unfit::TooManyResources(count) => {
                write!(f, "exploration takes at most {RESOURCES_MAX} resources, the scenario has {count}")
            }
            Unfit::NoCommonMedium => f.write_str("no medium joins the two nodes"),
            Unfit::Restless(state) => write!(f, "the pair does not settle when nothing goes wrong: {state}"),
        }
    }
}

impl std::error::Error for Unfit {}

/// Two configurations and what follows from them.
#[derive(Clone, Debug)]
pub struct Setting {
    pub(super) configs: [Config; 2],
    /// Of each node and medium: the medium by which the other node hears it.
    routes: [Vec<Option<MediumId>>; 2],
    /// All resources with their groups, in the order of haresources.
    resources: Vec<(GroupId, Resource)>,
}

impl Setting {
    /// The setting of a pair.
    pub fn new(configs: &[Config]) -> Result<Setting, Unfit> {
        let [first, second] = configs else { return Err(Unfit::NotAPair(configs.len())) };
        let routes = [routes(first, second, 1), routes(second, first, 0)];
        if routes.iter().flatten().all(Option::is_none) {
            return Err(Unfit::NoCommonMedium);
        }
        let groups = (0..).map(GroupId).zip(first.groups());
        let resources: Vec<_> =
            groups.flat_map(|(id, group)| group.resources.iter().map(move |one| (id, one.clone()))).collect();
        if resources.len() > RESOURCES_MAX {
            return Err(Unfit::TooManyResources(resources.len()));
        }
        Ok(Setting { configs: [first.clone(), second.clone()], routes, resources })
    }

    pub(super) fn route(&self, from: usize, medium: MediumId) -> Option<MediumId> {
        self.routes[from].get(medium.index()).copied().flatten()
    }

    /// The longer of both dead times.
    pub(super) fn dead_time(&self) -> Duration {
        self.configs.iter().map(|config| config.timing().deadtime()).max().unwrap_or_default()
    }

    /// Until when a delayed frame may still arrive: for so long after it should have that its sender is dead meanwhile.
    pub(super) fn expires(&self, flight: &Flight) -> Instant {
        flight.due.plus(self.dead_time() * 2)
    }

    pub(super) fn name(&self, host: usize) -> &str {
        self.configs[host].local_name()
    }

    /// The bit of the resource that an operation is about.
    pub(super) fn resource(&self, run: &ResourceRun) -> usize {
        let found = self.resources.iter().position(|(group, one)| *group == run.group && *one == run.resource);
        found.expect("a node acts on resources of its configuration, which both nodes share")
    }

    pub(super) fn word(&self, resource: usize) -> &str {
        self.resources[resource].1.word()
    }

    pub(super) fn group_of(&self, resource: usize) -> GroupId {
        self.resources[resource].0
    }

    /// The keys of groups of which something runs on both.
    pub(super) fn shared(&self, running: [u64; 2]) -> Option<&str> {
        let of = |group: GroupId| {
            let bits = self.resources.iter().enumerate().filter(|(_, (one, _))| *one == group);
            bits.fold(0_u64, |bits, (bit, _)| bits | 1 << bit)
        };
        let both = |group: &GroupId| running.iter().all(|running| running & of(*group) != 0);
        let group = (0..).map(GroupId).take(self.configs[0].groups().len()).find(both)?;
        Some(&self.configs[0].groups()[group.index()].key)
    }

    /// Operations on addresses are system calls; scripts are processes.
    pub(super) fn takes(&self, resource: usize, verb: Verb) -> Duration {
        match (&self.resources[resource].1, verb) {
            (Resource::Address(_), _) => Duration::from_micros(300),
            (Resource::Script(_), Verb::Status | Verb::Monitor) => Duration::from_millis(5),
            (Resource::Script(_), Verb::Start | Verb::Stop) => Duration::from_millis(20),
        }
    }
}

/// By which medium of `to` each medium of `from` is heard. Machines have the numbers 1 and 2 as the last part of their
/// addresses, as everywhere in the simulator. What a broadcast brings back to its sender only shows that the medium
/// works, so it is left out.
fn routes(from: &Config, to: &Config, number: usize) -> Vec<Option<MediumId>> {
    let heard = |kind: &MediumKind| {
        let interface = kind.interface()?;
        if let MediumKind::Ucast { peer, .. } | MediumKind::Ucast6 { peer, .. } = kind {
            let addressed = peer.rsplit(['.', ':']).next().and_then(|part| part.parse::<usize>().ok())?;
            if addressed != number + 1 {
                return None;
            }
        }
        let position = to.media().iter().position(|medium| medium.kind.interface() == Some(interface))?;
        u16::try_from(position).ok().map(MediumId)
    };
    from.media().iter().map(|medium| heard(&medium.kind)).collect()
}
