//! The truth: which resource runs on which host, and which host answers a client. It never asks a node.
//!
//! A crashed machine has nothing; a killed daemon leaves everything as it was.

use hb_core::config::{Config, Resource};
use hb_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// What a client sees of one address.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The host that announced it last: where the client's ARP cache points.
    cached: Option<usize>,
    /// Since when it does not answer.
    silent_since: Option<Instant>,
    /// The longest silence that ended.
    longest: Duration,
}

/// What runs where.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The resources of each group, as haresources writes them, by key.
    groups: BTreeMap<String, Vec<Resource>>,
    /// On each host, what runs.
    running: Vec<BTreeSet<String>>,
    /// Whether each host is switched on.
    powered: Vec<bool>,
    /// How often each host was told to start or stop something.
    calls: Vec<u32>,
    seen: BTreeMap<IpAddr, Seen>,
}

impl Ground {
    pub(crate) fn new(configs: &[Config]) -> Ground {
        let mut groups = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for group in configs.iter().flat_map(Config::groups) {
            for resource in &group.resources {
                if let Resource::Address(address) = resource {
                    seen.insert(address.address, Seen::default());
                }
            }
            groups.insert(group.key.clone(), group.resources.clone());
        }
        let hosts = configs.len();
        Ground {
            groups,
            running: vec![BTreeSet::new(); hosts],
            powered: vec![false; hosts],
            calls: vec![0; hosts],
            seen,
        }
    }

    pub(crate) fn power(&mut self, now: Instant, host: usize, on: bool) {
        self.powered[host] = on;
        if !on {
            self.running[host].clear();
        }
        self.look(now);
    }

    pub(crate) fn call(&mut self, host: usize) {
        self.calls[host] += 1;
    }

    pub(crate) fn set_running(&mut self, now: Instant, host: usize, resource: &str, runs: bool) {
        if runs {
            self.running[host].insert(resource.to_owned());
        } else {
            self.running[host].remove(resource);
        }
        self.look(now);
    }

    pub(crate) fn announce(&mut self, now: Instant, host: usize, address: IpAddr) {
        self.seen.entry(address).or_default().cached = Some(host);
        self.look(now);
    }

    /// Forgets outages and calls so far: the scenario begins here.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.calls.fill(0);
        for seen in self.seen.values_mut() {
            seen.longest = Duration::ZERO;
            seen.silent_since = seen.silent_since.map(|_| now);
        }
    }

    /// Notes for every address whether a client that asks now is answered.
    fn look(&mut self, now: Instant) {
        let word = |address: IpAddr, resource: &Resource| match resource {
            Resource::Address(own) if own.address == address => Some(own.word.clone()),
            _ => None,
        };
        for (address, seen) in &mut self.seen {
            let words: Vec<String> =
                self.groups.values().flatten().filter_map(|resource| word(*address, resource)).collect();
            let answers = seen
                .cached
                .is_some_and(|host| self.powered[host] && words.iter().any(|word| self.running[host].contains(word)));
            match (answers, seen.silent_since) {
                (false, None) => seen.silent_since = Some(now),
                (true, Some(since)) => {
                    seen.longest = seen.longest.max(now.since(since));
                    seen.silent_since = None;
                }
                _ => {}
            }
        }
    }

    /// The keys of all groups.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// The hosts on which anything of a group runs.
    pub fn owners(&self, key: &str) -> Vec<usize> {
        let resources = self.groups.get(key).map_or(&[][..], Vec::as_slice);
        let runs = |host: &usize| resources.iter().any(|resource| self.running[*host].contains(resource.word()));
        (0..self.running.len()).filter(runs).collect()
    }

    /// Whether everything of a group runs on the host.
    pub fn serves(&self, key: &str, host: usize) -> bool {
        let resources = self.groups.get(key).map_or(&[][..], Vec::as_slice);
        resources.iter().all(|resource| self.running[host].contains(resource.word()))
    }

    pub(crate) fn runs(&self, host: usize, resource: &str) -> bool {
        self.running[host].contains(resource)
    }

    /// How often the host was told to start or stop something since the scenario began.
    pub fn calls(&self, host: usize) -> u32 {
        self.calls[host]
    }

    /// The longest time since the scenario began in which no address of the group answered a client.
    pub fn longest_gap(&self, now: Instant, key: &str) -> Duration {
        let resources = self.groups.get(key).map_or(&[][..], Vec::as_slice);
        let addresses = resources.iter().filter_map(|resource| match resource {
            Resource::Address(address) => self.seen.get(&address.address),
            Resource::Script(_) => None,
        });
        let gap = |seen: &Seen| seen.longest.max(seen.silent_since.map_or(Duration::ZERO, |since| now.since(since)));
        addresses.map(gap).max().unwrap_or_default()
    }
}
