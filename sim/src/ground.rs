//! The truth: which resource runs on which host, and which host answers a client. It never asks a node.
//!
//! A machine without power has nothing; a killed or stopped daemon leaves everything as it was; a machine that stands
//! still has everything and answers nobody until it goes on.

use hb_core::config::{Config, Resource};
use hb_core::time::Instant;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// The interface of an address that names none: where the laboratory's clients are.
const SERVICE_INTERFACE: &str = "eth0";

/// Whether a machine works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It is switched off.
    Off,
    /// It stands still, with all it has.
    Still,
    /// It works.
    On,
}

/// How much of a group runs on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Share {
    /// Nothing.
    Nothing,
    /// Some of its resources.
    Part,
    /// All of them.
    All,
}

/// What runs where.
#[derive(Clone, Debug)]
pub struct Ground {
    groups: Vec<Group>,
    resources: Vec<Placed>,
    /// On each host, what runs, by resource, and which life of the daemon started it.
    running: Vec<Vec<Option<u64>>>,
    power: Vec<Power>,
    /// How often each host was told to start or stop something.
    calls: Vec<u32>,
    clients: Vec<Client>,
    /// Interfaces through which no client reaches a host.
    cut: BTreeSet<(usize, String)>,
    /// Every change of ownership so far, if somebody wants to know afterwards.
    history: Option<Vec<Change>>,
}

#[derive(Clone, Debug)]
struct Group {
    key: String,
    resources: Vec<usize>,
    /// What each host had of it when it was last looked at.
    shares: Vec<Share>,
    /// Since when several hosts have something of it.
    crowded_since: Option<Instant>,
    /// For how long several had, before that.
    crowded: Duration,
}

#[derive(Clone, Debug)]
struct Placed {
    word: String,
    address: Option<(IpAddr, String)>,
}

/// A client that asks for one address all the time.
#[derive(Clone, Debug)]
struct Client {
    address: IpAddr,
    /// The resources that put it up, one in each group that has it.
    resources: Vec<usize>,
    /// The host that announced it last: where the client's ARP cache points.
    cached: Option<usize>,
    /// Since when it does not answer.
    silent_since: Option<Instant>,
    /// The longest silence that ended.
    longest: Duration,
}

/// A host's share of a group became another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Instant,
    /// The group, by position.
    pub group: usize,
    /// The host.
    pub host: usize,
    /// What it has now; nothing while the machine does not work.
    pub share: Share,
}

impl Ground {
    pub(crate) fn new<'a>(configs: impl Iterator<Item = &'a Config>, keeps_history: bool) -> Ground {
        let (mut groups, mut resources): (Vec<Group>, Vec<Placed>) = (Vec::new(), Vec::new());
        let mut hosts = 0;
        for config in configs {
            hosts += 1;
            for group in config.groups() {
                if groups.iter().any(|known| known.key == group.key) {
                    continue;
                }
                let of_group = group.resources.iter().map(|resource| {
                    let word = resource.word();
                    resources.iter().position(|known| known.word == word).unwrap_or_else(|| {
                        resources.push(place(resource));
                        resources.len() - 1
                    })
                });
                let of_group = of_group.collect();
                groups.push(Group {
                    key: group.key.clone(),
                    resources: of_group,
                    shares: Vec::new(),
                    crowded_since: None,
                    crowded: Duration::ZERO,
                });
            }
        }
        for group in &mut groups {
            group.shares = vec![Share::Nothing; hosts];
        }
        let mut clients: Vec<Client> = Vec::new();
        for (at, resource) in resources.iter().enumerate() {
            let Some((address, _)) = &resource.address else { continue };
            match clients.iter_mut().find(|client| client.address == *address) {
                Some(client) => client.resources.push(at),
                None => clients.push(Client {
                    address: *address,
                    resources: vec![at],
                    cached: None,
                    silent_since: None,
                    longest: Duration::ZERO,
                }),
            }
        }
        Ground {
            running: vec![vec![None; resources.len()]; hosts],
            groups,
            resources,
            power: vec![Power::Off; hosts],
            calls: vec![0; hosts],
            clients,
            cut: BTreeSet::new(),
            history: keeps_history.then(Vec::new),
        }
    }

    // --- what changes it

    pub(crate) fn set_power(&mut self, now: Instant, host: usize, power: Power) {
        self.power[host] = power;
        if power == Power::Off {
            self.running[host].fill(None);
        }
        self.look(now);
    }

    pub(crate) fn call(&mut self, host: usize) {
        self.calls[host] += 1;
    }

    /// A resource runs on a host from now on, started by that life of its daemon, or does not; whether that is a change.
    pub(crate) fn set_running(&mut self, now: Instant, host: usize, resource: usize, by: Option<u64>) -> bool {
        let changes = self.running[host][resource].is_some() != by.is_some();
        self.running[host][resource] = by;
        if changes {
            self.look(now);
        }
        changes
    }

    /// A host says that an address is there; clients hear it if they can be reached.
    pub(crate) fn announce(&mut self, now: Instant, host: usize, address: IpAddr) {
        let Some(at) = self.clients.iter().position(|client| client.address == address) else { return };
        let reaches = self.clients[at].resources.iter().any(|resource| self.is_reachable(host, *resource));
        if reaches {
            self.clients[at].cached = Some(host);
            self.look(now);
        }
    }

    /// Clients do not reach a host through an interface, or do again.
    pub(crate) fn set_cut(&mut self, now: Instant, host: usize, interface: &str, is_cut: bool) {
        let cable = (host, interface.to_owned());
        let changes = if is_cut { self.cut.insert(cable) } else { self.cut.remove(&cable) };
        if changes {
            self.look(now);
        }
    }

    /// Forgets outages and calls so far: the scenario begins here.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.calls.fill(0);
        for group in &mut self.groups {
            group.crowded = Duration::ZERO;
            group.crowded_since = group.crowded_since.map(|_| now);
        }
        for client in &mut self.clients {
            client.longest = Duration::ZERO;
            client.silent_since = client.silent_since.map(|_| now);
        }
    }

    fn is_reachable(&self, host: usize, resource: usize) -> bool {
        let interface = self.resources[resource].address.as_ref().map(|(_, interface)| interface.clone());
        self.power[host] == Power::On && interface.is_some_and(|interface| !self.cut.contains(&(host, interface)))
    }

    /// Notes what changed: each host's share of each group, and whether a client that asks now is answered.
    fn look(&mut self, now: Instant) {
        for at in 0..self.groups.len() {
            for host in 0..self.power.len() {
                let share = self.share(at, host);
                if std::mem::replace(&mut self.groups[at].shares[host], share) != share
                    && let Some(history) = &mut self.history
                {
                    history.push(Change { at: now, group: at, host, share });
                }
            }
            let group = &mut self.groups[at];
            let is_crowded = group.shares.iter().filter(|share| **share != Share::Nothing).count() > 1;
            match (is_crowded, group.crowded_since) {
                (true, None) => group.crowded_since = Some(now),
                (false, Some(since)) => {
                    group.crowded += now.since(since);
                    group.crowded_since = None;
                }
                _ => {}
            }
        }
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let answers = client.cached.is_some_and(|host| {
                let here = |resource: &usize| self.runs(host, *resource) && self.is_reachable(host, *resource);
                client.resources.iter().any(here)
            });
            let client = &mut self.clients[at];
            match (answers, client.silent_since) {
                (false, None) => client.silent_since = Some(now),
                (true, Some(since)) => {
                    client.longest = client.longest.max(now.since(since));
                    client.silent_since = None;
                }
                _ => {}
            }
        }
    }

    // --- what is true

    /// The keys of all groups; their positions name the groups elsewhere.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| group.key.as_str())
    }

    /// The number of groups.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The position of the group with that key.
    pub fn group(&self, key: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.key == key)
    }

    /// The key of a group.
    pub fn key(&self, group: usize) -> &str {
        &self.groups[group].key
    }

    /// The resources of a group, by position.
    pub fn resources(&self, group: usize) -> &[usize] {
        &self.groups[group].resources
    }

    /// The number of hosts.
    pub fn host_count(&self) -> usize {
        self.power.len()
    }

    /// Whether a host works.
    pub fn power(&self, host: usize) -> Power {
        self.power[host]
    }

    /// How much of a group runs on a host that works.
    pub fn share(&self, group: usize, host: usize) -> Share {
        if self.power[host] != Power::On {
            return Share::Nothing;
        }
        self.share_even_if_still(group, host)
    }

    /// The same, of a machine that stands still, too: what it will have when it goes on.
    pub fn share_even_if_still(&self, group: usize, host: usize) -> Share {
        let resources = &self.groups[group].resources;
        let runs = resources.iter().filter(|resource| self.runs(host, **resource)).count();
        match runs {
            0 => Share::Nothing,
            all if all == resources.len() => Share::All,
            _ => Share::Part,
        }
    }

    /// The hosts on which anything of a group runs.
    pub fn owners(&self, group: usize) -> impl Iterator<Item = usize> {
        (0..self.power.len()).filter(move |host| self.share(group, *host) != Share::Nothing)
    }

    /// The resource of that word.
    pub(crate) fn resource(&self, word: &str) -> Option<usize> {
        self.resources.iter().position(|resource| resource.word == word)
    }

    /// How haresources writes a resource.
    pub fn word(&self, resource: usize) -> &str {
        &self.resources[resource].word
    }

    /// The number of resources.
    pub fn resource_count(&self) -> usize {
        self.resources.len()
    }

    /// Whether a resource runs on a host.
    pub fn runs(&self, host: usize, resource: usize) -> bool {
        self.running[host][resource].is_some()
    }

    /// Whether something of a group runs on a host that an earlier life of its daemon started.
    pub fn is_orphaned(&self, group: usize, host: usize, life: u64) -> bool {
        let mut resources = self.groups[group].resources.iter();
        resources.any(|resource| self.running[host][*resource].is_some_and(|starter| starter != life))
    }

    /// The addresses among the resources.
    pub(crate) fn address_resources(&self) -> impl Iterator<Item = usize> {
        let is_address = |(_, resource): &(usize, &Placed)| resource.address.is_some();
        self.resources.iter().enumerate().filter(is_address).map(|(at, _)| at)
    }

    /// Whether a host has an address up.
    pub fn has_address(&self, host: usize, address: IpAddr) -> bool {
        let has = |client: &Client| client.resources.iter().any(|resource| self.runs(host, *resource));
        self.clients.iter().any(|client| client.address == address && has(client))
    }

    /// All addresses, and the host where the client's ARP cache points.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, Option<usize>)> {
        self.clients.iter().map(|client| (client.address, client.cached))
    }

    /// Whether clients reach a host for an address.
    pub fn is_address_reachable(&self, host: usize, address: IpAddr) -> bool {
        let client = self.clients.iter().find(|client| client.address == address);
        client.is_some_and(|client| client.resources.iter().any(|resource| self.is_reachable(host, *resource)))
    }

    /// The interfaces through which clients come.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &str> {
        let interfaces: BTreeSet<&str> =
            self.resources.iter().filter_map(|resource| Some(resource.address.as_ref()?.1.as_str())).collect();
        interfaces.into_iter()
    }

    /// The addresses that a host has behind an interface.
    pub(crate) fn addresses_on(&self, host: usize, interface: &str) -> impl Iterator<Item = IpAddr> {
        let up = self.resources.iter().enumerate().filter(move |(at, _)| self.runs(host, *at));
        let placed = up.filter_map(|(_, resource)| resource.address.as_ref());
        placed.filter(move |(_, behind)| behind == interface).map(|(address, _)| *address)
    }

    /// The groups that have an address.
    pub fn groups_of(&self, address: IpAddr) -> impl Iterator<Item = usize> {
        let client = self.clients.iter().find(|client| client.address == address);
        let resources = client.map_or(&[][..], |client| client.resources.as_slice());
        let has = |group: &usize| resources.iter().any(|resource| self.groups[*group].resources.contains(resource));
        (0..self.groups.len()).filter(has)
    }

    /// How often the host was told to start or stop something since the scenario began.
    pub fn calls(&self, host: usize) -> u32 {
        self.calls[host]
    }

    /// The longest time since the scenario began in which no address of the group answered a client.
    pub fn longest_gap(&self, now: Instant, group: usize) -> Duration {
        let of_group =
            |client: &&Client| client.resources.iter().any(|resource| self.groups[group].resources.contains(resource));
        let gap =
            |client: &Client| client.longest.max(client.silent_since.map_or(Duration::ZERO, |since| now.since(since)));
        self.clients.iter().filter(of_group).map(gap).max().unwrap_or_default()
    }

    /// Whether some address of the group answers no client now.
    pub fn is_silent(&self, group: usize) -> bool {
        let has = |client: &&Client| client.resources.iter().any(|it| self.groups[group].resources.contains(it));
        self.clients.iter().filter(has).any(|client| client.silent_since.is_some())
    }

    /// Whether several hosts have something of some group.
    pub fn is_crowded(&self) -> bool {
        self.groups.iter().any(|group| group.crowded_since.is_some())
    }

    /// For how long in total several hosts had something of a group.
    pub fn overlap(&self, now: Instant, group: usize) -> Duration {
        let group = &self.groups[group];
        group.crowded + group.crowded_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Every change of ownership, if it was kept.
    pub fn history(&self) -> &[Change] {
        self.history.as_deref().unwrap_or_default()
    }
}

fn place(resource: &Resource) -> Placed {
    let address = match resource {
        Resource::Address(address) => {
            let interface = address.interface.clone().unwrap_or_else(|| SERVICE_INTERFACE.to_owned());
            Some((address.address, interface))
        }
        Resource::Script(_) => None,
    };
    Placed { word: resource.word().to_owned(), address }
}
