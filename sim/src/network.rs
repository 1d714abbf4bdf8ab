//! Segments joined by cables: delay, loss, cuts.
//!
//! A segment is all interfaces of one name. Luck is drawn per packet from a number made of the link and the packet's
//! number on it, so that a change elsewhere leaves it alone.

use hb_core::config::{Config, MediumKind};
use hb_core::digest::digest_of;
use hb_core::ids::MediumId;
use hb_core::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The shortest way of a packet.
const DELAY: Duration = Duration::from_micros(150);
/// What luck adds at most.
const JITTER_US: u64 = 100;

/// All segments and the state of the cables.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    seed: u64,
    /// Per host and medium: the interface, and the number of the host addressed by `ucast`.
    media: Vec<Vec<(String, Option<usize>)>>,
    /// Cables that carry nothing out of a host.
    mute: BTreeSet<(usize, String)>,
    /// Cables that carry nothing into a host.
    deaf: BTreeSet<(usize, String)>,
    /// Packets in a thousand that are lost.
    loss: u64,
    sent: BTreeMap<(usize, usize, MediumId), u64>,
    /// Whether packets may overtake each other.
    reorders: bool,
    /// When the last packet of each link arrives.
    last: BTreeMap<(usize, usize, MediumId), Instant>,
}

/// A packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) host: usize,
    pub(crate) medium: MediumId,
    pub(crate) at: Instant,
}

impl Network {
    pub(crate) fn new(seed: u64, loss: u64, reorders: bool, configs: &[Config]) -> Network {
        let media = configs.iter().map(|config| {
            let of = |kind: &MediumKind| match kind {
                MediumKind::Bcast { interface } | MediumKind::Mcast { interface, .. } => (interface.clone(), None),
                // Hosts have the numbers 1, 2, ... as the last part of their addresses.
                MediumKind::Ucast { interface, peer } => {
                    let number = peer.rsplit('.').next().and_then(|part| part.parse::<usize>().ok());
                    (interface.clone(), number.and_then(|number| number.checked_sub(1)))
                }
            };
            config.media().iter().map(|medium| of(&medium.kind)).collect()
        });
        Network {
            seed,
            media: media.collect(),
            mute: BTreeSet::new(),
            deaf: BTreeSet::new(),
            loss,
            sent: BTreeMap::new(),
            reorders,
            last: BTreeMap::new(),
        }
    }

    /// Cuts or heals both directions, or only what comes in.
    pub(crate) fn set_cable(&mut self, host: usize, interface: Option<&str>, joined: bool, only_in: bool) {
        let interfaces: BTreeSet<String> = self.media[host].iter().map(|(name, _)| name.clone()).collect();
        for name in interfaces.into_iter().filter(|name| interface.is_none_or(|one| one == name)) {
            let cable = (host, name);
            if joined {
                self.deaf.remove(&cable);
                self.mute.remove(&cable);
            } else {
                if !only_in {
                    self.mute.insert(cable.clone());
                }
                self.deaf.insert(cable);
            }
        }
    }

    /// Where a packet arrives, and when. A broadcast comes back to its sender, as on a real interface.
    pub(crate) fn send(&mut self, now: Instant, from: usize, medium: MediumId) -> Vec<Arrival> {
        let Some((interface, to)) = self.media[from].get(medium.index()).cloned() else { return Vec::new() };
        let mut arrivals = Vec::new();
        for host in 0..self.media.len() {
            if to.is_some_and(|to| to != host) || (host != from && self.mute.contains(&(from, interface.clone()))) {
                continue;
            }
            if host != from && self.deaf.contains(&(host, interface.clone())) {
                continue;
            }
            // A receiver takes a packet in by its first medium on that interface.
            let Some(position) = self.media[host].iter().position(|(name, _)| *name == interface) else { continue };
            let receiving = MediumId(u16::try_from(position).unwrap_or(u16::MAX));
            let number = self.sent.entry((from, host, medium)).or_default();
            *number += 1;
            let luck = digest_of(&(self.seed, from, host, medium, *number));
            if host != from && luck % 1000 < self.loss {
                continue;
            }
            let after = if host == from {
                Duration::from_micros(10)
            } else {
                DELAY + Duration::from_micros(luck / 1000 % JITTER_US)
            };
            let mut at = now.plus(after);
            let last = self.last.entry((from, host, medium)).or_insert(Instant::ORIGIN);
            if !self.reorders {
                at = at.max(last.plus(Duration::from_nanos(1)));
            }
            *last = at;
            arrivals.push(Arrival { host, medium: receiving, at });
        }
        arrivals
    }
}
