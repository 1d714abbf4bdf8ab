//! Machines, cables and clients that fit a configuration, and what had to be assumed about them.

use super::files::{Files, Understood};
use crate::plan::{Device, DeviceDoes, HostPlan, How, Plan, Policy, Quirk};
use hb_core::Verb;
use hb_core::config::{Config, MediumKind, Resource};
use std::collections::BTreeSet;
use std::time::Duration;

/// So long after its death a daemon's guard has taken the addresses away.
const GUARD: Duration = Duration::from_millis(10);

/// So long a fencing device takes.
const RESET: Duration = Duration::from_secs(1);

/// A cluster to make experiments with.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    /// The machines, without anything that happens to them.
    pub(super) plan: Plan,
    /// The nodes' names.
    pub(super) names: Vec<String>,
    /// What heartbeats travel by: interfaces and devices, each once.
    pub(super) interfaces: Vec<String>,
    /// What was assumed, a sentence each.
    pub(super) assumptions: Vec<String>,
}

impl Cluster {
    /// The cluster of all nodes, each with these files, where every script takes `script_time`.
    pub(super) fn new(files: &Files, understood: Understood, script_time: Duration) -> Cluster {
        let configs = understood.configs;
        let names: Vec<String> = configs.iter().map(|config| config.local_name().to_owned()).collect();
        let mut cluster = Cluster {
            plan: Plan { policy: Policy { hazards: true, ..Policy::default() }, ..Plan::default() },
            interfaces: Vec::new(),
            assumptions: Vec::new(),
            names,
        };
        let peers = cluster.peers(&configs[0]);
        cluster.look_at_media(&configs[0]);
        cluster.look_at_resources(&configs[0], script_time);
        if configs.iter().any(|config| config.fence_device().is_some()) {
            let takes = super::Brief(RESET);
            let device =
                format!("a fencing device resets its machine within {takes} and confirms; the machine stays off");
            cluster.assumptions.push(device);
        }
        for (at, (config, peers)) in configs.into_iter().zip(peers).enumerate() {
            let mut host = HostPlan::new(files.texts(), config);
            (host.guard, host.peers) = (Some(GUARD), peers);
            host.device = Some(Device { does: DeviceDoes::Works, takes: RESET });
            for word in scripts(&host.config) {
                for verb in [Verb::Start, Verb::Stop] {
                    let how = How::Takes(script_time);
                    cluster.plan.quirks.push(Quirk { host: at, resource: word.clone(), verb, how });
                }
            }
            cluster.plan.hosts.push(host);
        }
        cluster
    }

    /// The configuration of the first node; but for the name, that of all.
    pub(super) fn config(&self) -> &Config {
        &self.plan.hosts[0].config
    }

    /// For each node, who has which address of the `ucast` lines.
    ///
    /// Either the lines name all nodes, so that one ha.cf serves everywhere, or all but one, the node whose file it is.
    fn peers(&mut self, config: &Config) -> Vec<Vec<(String, usize)>> {
        let nodes = self.names.len();
        let mut all = vec![Vec::new(); nodes];
        let mut lines: Vec<(&str, Vec<&str>)> = Vec::new();
        for medium in config.media() {
            let (MediumKind::Ucast { interface, peer } | MediumKind::Ucast6 { interface, peer }) = &medium.kind else {
                continue;
            };
            match lines.iter_mut().find(|(known, _)| known == interface) {
                Some((_, peers)) if peers.contains(&peer.as_str()) => {}
                Some((_, peers)) => peers.push(peer),
                None => lines.push((interface, vec![peer])),
            }
        }
        for (interface, peers) in lines {
            let named = |peer: &str| self.names.iter().position(|name| name.eq_ignore_ascii_case(peer));
            if peers.iter().all(|peer| named(peer).is_some()) {
                let hosts: Vec<(String, usize)> =
                    peers.iter().filter_map(|peer| Some(((*peer).to_owned(), named(peer)?))).collect();
                for of in &mut all {
                    of.extend(hosts.iter().cloned());
                }
                continue;
            }
            let is_of_one_node = peers.len() + 1 == nodes;
            for (host, of) in all.iter_mut().enumerate() {
                let others: Vec<usize> = (0..nodes).filter(|other| !is_of_one_node || *other != host).collect();
                of.extend(peers.iter().zip(others.iter().cycle()).map(|(peer, other)| ((*peer).to_owned(), *other)));
            }
            self.assumptions.push(if is_of_one_node {
                format!("the ucast lines of {interface} lead from each node to all others")
            } else {
                let pairs: Vec<String> = peers
                    .iter()
                    .zip(self.names.iter().cycle())
                    .map(|(peer, name)| format!("{peer} is {name}"))
                    .collect();
                format!("of the ucast lines of {interface}, {}", pairs.join(", "))
            });
        }
        all
    }

    fn look_at_media(&mut self, config: &Config) {
        for medium in config.media() {
            if medium.kind.is_ping() {
                for host in medium.kind.hosts() {
                    match host.parse() {
                        // Behind no interface that fails here.
                        Ok(address) => self.plan.ping_targets.push((address, String::new())),
                        Err(_) => self.assumptions.push(format!("the ping node {host}, a name, does not answer")),
                    }
                }
                continue;
            }
            let interface = medium.kind.interface().unwrap_or_default();
            if !self.interfaces.iter().any(|known| known == interface) {
                self.interfaces.push(interface.to_owned());
            }
        }
        if config.programs().iter().any(|program| !program.is_ipfail()) {
            self.assumptions.push("the programs of respawn and failfast lines do nothing".to_owned());
        }
    }

    fn look_at_resources(&mut self, config: &Config, script_time: Duration) {
        if !scripts(config).is_empty() {
            let takes = super::Brief(script_time);
            self.assumptions.push(format!("every script starts and stops within {takes} (--script-time)"));
        }
        let lacks_interface =
            config.groups().iter().flat_map(|group| &group.resources).any(|resource| match resource {
                Resource::Address(address) => address.interface.is_none(),
                Resource::Script(_) => false,
            });
        if lacks_interface {
            self.assumptions.push("clients of an address without an interface come over eth0".to_owned());
        }
    }

    /// The interfaces by which clients come.
    pub(super) fn service_interfaces(&self) -> BTreeSet<String> {
        let resources = self.config().groups().iter().flat_map(|group| &group.resources);
        let of = |resource: &Resource| match resource {
            Resource::Address(address) => Some(address.interface.clone().unwrap_or_else(|| "eth0".to_owned())),
            Resource::Script(_) => None,
        };
        resources.filter_map(of).collect()
    }
}

/// The words of all scripts.
fn scripts(config: &Config) -> BTreeSet<String> {
    let resources = config.groups().iter().flat_map(|group| &group.resources);
    let scripts = resources.filter(|resource| matches!(resource, Resource::Script(_)));
    scripts.map(|resource| resource.word().to_owned()).collect()
}
