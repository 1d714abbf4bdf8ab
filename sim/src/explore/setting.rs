//! What never changes during an exploration.

use super::cables::{self, Cut};
use super::flight::Flight;
use hb_core::config::{Config, MediumKind, Resource};
use hb_core::ids::{GroupId, MediumId};
use hb_core::time::Instant;
use hb_core::{ResourceRun, Verb};
use std::time::Duration;

/// How long a frame is under way if nothing happens to it.
pub(super) const DELAY: Duration = Duration::from_micros(200);
/// How much later than the one before each node is started: the phase of their heartbeats.
pub(super) const PHASE: Duration = Duration::from_millis(400);
/// How long a device takes for a reset; the machine then stays down until it is started.
pub(super) const RESET: Duration = Duration::from_millis(500);
/// How long a program takes to end that was told to.
pub(super) const ENDING: Duration = Duration::from_millis(5);
/// States are for so many nodes.
pub(super) const NODES_MAX: usize = 3;
/// Resources are bits of a word.
const RESOURCES_MAX: usize = 64;

/// Why a scenario cannot be explored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There are more nodes than three, or fewer than two.
    Nodes(usize),
    /// There are more than 64 resources.
    TooManyResources(usize),
    /// A node has no medium in common with any other.
    NoCommonMedium(String),
    /// With nothing going wrong the cluster does not settle: this is the last state that was looked at.
    Restless(String),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unfit::Nodes(nodes) => write!(f, "exploration takes two or three nodes, the scenario has {nodes}"),
            Unfit::TooManyResources(count) => {
                write!(f, "exploration takes at most {RESOURCES_MAX} resources, the scenario has {count}")
            }
            Unfit::NoCommonMedium(node) => write!(f, "no medium joins {node} with another node"),
            Unfit::Restless(state) => write!(f, "the cluster does not settle when nothing goes wrong: {state}"),
        }
    }
}

impl std::error::Error for Unfit {}

/// The configurations and what follows from them.
#[derive(Clone, Debug)]
pub struct Setting {
    pub(super) configs: Vec<Config>,
    /// Of each node and medium: who hears it, each by which medium.
    ways: Vec<Vec<Vec<(usize, MediumId)>>>,
    cuts: Vec<Cut>,
    /// All resources with their groups, in the order of haresources.
    resources: Vec<(GroupId, Resource)>,
}

impl Setting {
    /// The setting of two or three nodes.
    pub fn new(configs: &[Config]) -> Result<Setting, Unfit> {
        let [first, _, ..] = configs else { return Err(Unfit::Nodes(configs.len())) };
        if configs.len() > NODES_MAX {
            return Err(Unfit::Nodes(configs.len()));
        }
        let ways: Vec<Vec<_>> = (0..configs.len()).map(|from| ways(configs, from)).collect();
        let sends = |host: usize| ways[host].iter().any(|heard| !heard.is_empty());
        let hears = |host: usize| ways.iter().flatten().flatten().any(|(to, _)| *to == host);
        if let Some(host) = (0..configs.len()).find(|host| !sends(*host) && !hears(*host)) {
            return Err(Unfit::NoCommonMedium(configs[host].local_name().to_owned()));
        }
        let groups = (0..).map(GroupId).zip(first.groups());
        let resources: Vec<_> =
            groups.flat_map(|(id, group)| group.resources.iter().map(move |one| (id, one.clone()))).collect();
        if resources.len() > RESOURCES_MAX {
            return Err(Unfit::TooManyResources(resources.len()));
        }
        let names: Vec<&str> = configs.iter().map(Config::local_name).collect();
        Ok(Setting { cuts: cables::cuts(&names), configs: configs.to_vec(), ways, resources })
    }

    /// How many nodes there are.
    pub(super) fn count(&self) -> usize {
        self.configs.len()
    }

    /// The node of that name.
    pub(super) fn host(&self, name: &str) -> Option<usize> {
        self.configs.iter().position(|config| config.local_name().eq_ignore_ascii_case(name))
    }

    /// Who hears what `from` sends on a medium, each by which medium.
    pub(super) fn ways(&self, from: usize, medium: MediumId) -> impl Iterator<Item = (usize, MediumId)> {
        self.ways[from].get(medium.index()).into_iter().flatten().copied()
    }

    /// The ways in which cables may break.
    pub(super) fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// The longest of the dead times.
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
        found.expect("a node acts on resources of its configuration, which all nodes share")
    }

    pub(super) fn word(&self, resource: usize) -> &str {
        self.resources[resource].1.word()
    }

    pub(super) fn group_of(&self, resource: usize) -> GroupId {
        self.resources[resource].0
    }

    /// The key of a group of which something runs on more than one node.
    pub(super) fn shared(&self, running: &[u64]) -> Option<&str> {
        let of = |group: GroupId| {
            let bits = self.resources.iter().enumerate().filter(|(_, (one, _))| *one == group);
            bits.fold(0_u64, |bits, (bit, _)| bits | 1 << bit)
        };
        let owners = |group: GroupId| running.iter().filter(|running| *running & of(group) != 0).count();
        let group = (0..).map(GroupId).take(self.configs[0].groups().len()).find(|group| owners(*group) > 1)?;
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

/// Who hears each medium of a node, and by which medium. Machines have the numbers from 1 on as the last part of their
/// addresses, as everywhere in the simulator. What a broadcast brings back to its sender only shows that the medium
/// works, so it is left out.
fn ways(configs: &[Config], from: usize) -> Vec<Vec<(usize, MediumId)>> {
    let heard = |kind: &MediumKind, to: usize| {
        let interface = kind.interface()?;
        if let MediumKind::Ucast { peer, .. } | MediumKind::Ucast6 { peer, .. } = kind {
            let addressed = peer.rsplit(['.', ':']).next().and_then(|part| part.parse::<usize>().ok())?;
            if addressed != to + 1 {
                return None;
            }
        }
        let position = configs[to].media().iter().position(|medium| medium.kind.interface() == Some(interface))?;
        Some((to, u16::try_from(position).ok().map(MediumId)?))
    };
    let others = || (0..configs.len()).filter(|to| *to != from);
    let media = configs[from].media().iter();
    media.map(|medium| others().filter_map(|to| heard(&medium.kind, to)).collect()).collect()
}
