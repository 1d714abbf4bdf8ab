//! At most one owner (PRODUCT promise 1): nothing of a group runs on two hosts.
//!
//! Without fencing or quorum a rule book cannot keep that in every storm. A plan may allow (`hazards`) what follows from
//! these hazards of the classic book, and nothing else; each is looked for in the truth, not believed:
//!
//! - *silence*: one of the owners did not hear the other for its dead time, or contact has lasted too short a time for
//!   the loser to release,
//! - *orphan*: what runs on one of them was started by a daemon that was killed since (CLUSTER k.6),
//! - *stuck*: one of them could not stop it, and says so.
//!
//! Or (`overlap`) a plan allows a measured length in total, whatever the reason.

use super::{Check, Fact, Moment};
use crate::plan::{Plan, Policy};
use hb_core::Doing;
use std::time::Duration;

/// Looks for groups with several owners, and for what excuses them.
#[derive(Clone, Debug)]
pub struct SingleOwner {
    policy: Policy,
    /// The loser of a healed partition must have released everything by then.
    release: Duration,
    /// Groups whose present overlap was reported.
    reported: Vec<bool>,
}

impl SingleOwner {
    /// The checker of a plan.
    pub fn new(plan: &Plan) -> SingleOwner {
        SingleOwner { policy: plan.policy, release: release_bound(plan), reported: Vec::new() }
    }

    /// Whether one of the hazards explains that these two run something of a group.
    fn is_explained(&self, moment: &Moment<'_>, group: usize, one: usize, other: usize) -> bool {
        if moment.contact.lasts(moment.now, one, other) < self.release {
            return true;
        }
        [one, other].into_iter().any(|host| is_orphan(moment, group, host) || is_stuck(moment, group, host))
    }
}

/// Something of it was started by a daemon that does not run any more.
pub(crate) fn is_orphan(moment: &Moment<'_>, group: usize, host: usize) -> bool {
    moment.ground.is_orphaned(group, host, moment.life(host))
}

/// The group cannot be stopped there, and its node knows.
pub(crate) fn is_stuck(moment: &Moment<'_>, group: usize, host: usize) -> bool {
    let key = moment.ground.key(group);
    let node = moment.node(host);
    // In the middle of its step it cannot be asked; right after it, it is.
    moment.has_daemon(host) && node.is_none_or(|node| node.status().doing(key) == Some(Doing::Stuck))
}

/// How long after first contact the loser may need: three seconds of talk (scenario P16), longer with slow heartbeats,
/// slow scripts, failing scripts, and lost packets.
pub(crate) fn release_bound(plan: &Plan) -> Duration {
    let keepalive = plan.configs().map(|config| config.timing().keepalive()).max().unwrap_or_default();
    Duration::from_secs(3) + keepalive * 4 + super::slowness(plan)
}

impl Check for SingleOwner {
    fn name(&self) -> &'static str {
        "single owner"
    }

    fn see(&mut self, moment: &Moment<'_>, _: &Fact<'_>, found: &mut Vec<String>) {
        if !moment.ground.is_crowded() {
            self.reported.clear();
            return;
        }
        self.reported.resize(moment.ground.group_count(), false);
        for group in 0..moment.ground.group_count() {
            let mut owners = moment.ground.owners(group);
            let Some((one, other)) = owners.next().zip(owners.next()) else {
                self.reported[group] = false;
                continue;
            };
            let length = moment.ground.overlap(moment.now, group);
            if self.reported[group]
                || !self.policy.overlap.is_zero() && length <= self.policy.overlap
                || self.policy.hazards && self.is_explained(moment, group, one, other)
            {
                continue;
            }
            self.reported[group] = true;
            let (key, allowed) = (moment.ground.key(group), self.policy.overlap.as_millis());
            found.push(format!(
                "group {key} has two owners, {} and {}, for {} ms so far; {allowed} ms are allowed",
                moment.name(one),
                moment.name(other),
                length.as_millis()
            ));
        }
    }
}
