//! At most one owner (PRODUCT promise 1): nothing of a group runs on two hosts.
//!
//! A hazard of the policy in force is allowed by its measured length in the scenario, never by looking away.

use super::Check;
use crate::ground::Ground;
use hb_core::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// Measures for how long each group had several owners.
#[derive(Clone, Debug)]
pub struct SingleOwner {
    allowed: Duration,
    overlaps: BTreeMap<String, Overlap>,
}

#[derive(Clone, Debug, Default)]
struct Overlap {
    since: Option<Instant>,
    total: Duration,
}

impl SingleOwner {
    /// A checker that allows overlaps of at most `allowed` in total per group.
    pub fn new(allowed: Duration) -> SingleOwner {
        SingleOwner { allowed, overlaps: BTreeMap::new() }
    }

    /// For how long the group had several owners.
    pub fn overlap(&self, now: Instant, key: &str) -> Duration {
        self.overlaps.get(key).map_or(Duration::ZERO, |overlap| overlap.length(now))
    }
}

impl Overlap {
    fn length(&self, now: Instant) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

impl Check for SingleOwner {
    fn look(&mut self, now: Instant, ground: &Ground) {
        for key in ground.keys() {
            let crowded = ground.owners(key).len() > 1;
            let overlap = self.overlaps.entry(key.to_owned()).or_default();
            match (crowded, overlap.since) {
                (true, None) => overlap.since = Some(now),
                (false, Some(since)) => {
                    overlap.total += now.since(since);
                    overlap.since = None;
                }
                _ => {}
            }
        }
    }

    fn violations(&self, now: Instant) -> Vec<String> {
        let over = self.overlaps.iter().filter(|(_, overlap)| {
            // Two owners for no time at all are two owners.
            let length = overlap.length(now);
            length > self.allowed || (overlap.since.is_some() && self.allowed.is_zero())
        });
        over.map(|(key, overlap)| {
            let millis = overlap.length(now).as_millis();
            format!("group {key} had two owners for {millis} ms, {} ms are allowed", self.allowed.as_millis())
        })
        .collect()
    }
}
