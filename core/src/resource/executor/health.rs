//! Whether what runs still runs: counts answers of monitors. *Ours*: 3.0.6 never asks (CLUSTER k.15).
//!
//! `fall` failures in a row mean that the group has failed. After a restart one failure is enough, until the resource that
//! failed was found running `rise` times in a row. Three restarts in ten minutes are enough: the next failure ends them.

use crate::config::{Config, Monitor};
use crate::ids::GroupId;
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;

/// A group is restarted at most this often ...
pub(crate) const RESTARTS_MAX: usize = 3;
/// ... in this time.
const RESTARTS_WITHIN: Duration = Duration::from_mins(10);

/// What is known of the resources of a group while it runs.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Health {
    /// For each resource, in their order; empty before the group first runs.
    watches: Vec<Watch>,
    /// When the group was restarted, the latest last; at most [`RESTARTS_MAX`].
    restarts: Vec<Instant>,
}

#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Watch {
    /// When it is asked next, if it is monitored.
    due: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    /// Successes in a row that it owes after a restart.
    owed: u32,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// It failed so often in a row that the group is restarted, for the time of that number.
    Restart { failures: u32, restart: usize },
    /// It failed, and the group was restarted too often.
    GiveUp { failures: u32 },
}

impl Health {
    /// The group runs now: each monitored resource is asked when its time is over.
    pub(super) fn begin(&mut self, now: Instant, config: &Config, group: GroupId, resources: usize) {
        self.watches.resize_with(resources, Watch::default);
        for (at, watch) in self.watches.iter_mut().enumerate() {
            watch.due = config.monitor(group, at).map(|monitor| now.plus(monitor.every));
        }
    }

    /// The same after the configuration changed: what is monitored already keeps its time.
    pub(super) fn renew(&mut self, now: Instant, config: &Config, group: GroupId) {
        for (at, watch) in self.watches.iter_mut().enumerate() {
            let due = config.monitor(group, at).map(|monitor| now.plus(monitor.every));
            watch.due = due.map(|due| watch.due.map_or(due, |before| before.min(due)));
        }
    }

    /// When somebody is to be asked next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.watches.iter().filter_map(|watch| watch.due).min()
    }

    /// Who is to be asked now: who has waited longest, of several the leftmost.
    pub(super) fn due(&self, now: Instant) -> Option<usize> {
        let due = self.watches.iter().enumerate().filter_map(|(at, watch)| Some((watch.due?, at)));
        due.filter(|(due, _)| *due <= now).min().map(|(_, at)| at)
    }

    /// Takes the answer of the resource `at`.
    pub(super) fn on_answer(&mut self, now: Instant, at: usize, runs: bool, monitor: Option<Monitor>) -> Verdict {
        let Some(watch) = self.watches.get_mut(at) else { return Verdict::Fine };
        watch.due = monitor.map(|monitor| now.plus(monitor.every));
        let Some(monitor) = monitor else { return Verdict::Fine };
        if runs {
            watch.failures = 0;
            watch.owed = watch.owed.saturating_sub(1);
            return Verdict::Fine;
        }
        watch.failures = watch.failures.saturating_add(1);
        let failures = watch.failures;
        if watch.owed == 0 && failures < monitor.fall {
            return Verdict::Fine;
        }
        watch.owed = monitor.rise;
        watch.failures = 0;
        self.restarts.retain(|restart| now.since(*restart) < RESTARTS_WITHIN);
        if self.restarts.len() >= RESTARTS_MAX {
            return Verdict::GiveUp { failures };
        }
        self.restarts.push(now);
        Verdict::Restart { failures, restart: self.restarts.len() }
    }

    /// An operator or a rule begins anew: nothing is held against it.
    pub(super) fn forget(&mut self) {
        *self = Health::default();
    }
}
