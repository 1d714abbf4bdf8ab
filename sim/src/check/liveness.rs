//! After the storm: within a computed time each group has exactly one owner that runs all of it, or a named reason.
//!
//! Named reasons are what a node says of itself and only a human can mend: a group that failed to start or could not be
//! stopped there (`failed`, `stuck`; the classic book has no retry elsewhere), or one that a killed daemon left behind.

use super::{Check, Fact, Moment, is_orphan, release_bound, slowness};
use crate::ground::Share;
use crate::plan::{Plan, Scope};
use hb_core::Doing;
use hb_core::time::Instant;
use std::time::Duration;

/// Waits for the calm, and then looks.
#[derive(Clone, Debug)]
pub struct Liveness {
    bound: Duration,
    applies: bool,
    due: Option<Instant>,
    is_judged: bool,
}

/// How long a cluster needs after everything is mended: every node starts, hears or buries the others, joins, asks for
/// the node list in vain; conflicts are resolved, conversations run out, groups move and move home.
pub fn bound(plan: &Plan) -> Duration {
    let join = plan.configs().map(|config| config.timing().initdead() + config.timing().deadtime() * 2);
    let join = join.max().unwrap_or_default();
    // A standby request waits 10 s for its answer and blocks others meanwhile (CLUSTER c.7); so does a takeover.
    // An attempt that nobody answers for the dead time yields for two more (OWNERSHIP 3).
    let dead_time = plan.configs().map(|config| config.timing().deadtime()).max().unwrap_or_default();
    join + dead_time * 3 + Duration::from_secs(10 + 10 + 5) + release_bound(plan) * 3 + slowness(plan) * 2
}

impl Liveness {
    /// The checker of a plan.
    pub fn new(plan: &Plan) -> Liveness {
        Liveness { bound: bound(plan), applies: plan.scope() == Scope::Ours, due: None, is_judged: false }
    }
}

/// Why a group has no owner, or not all of one, or two.
fn reason(moment: &Moment<'_>, group: usize) -> bool {
    let key = moment.ground.key(group);
    (0..moment.ground.host_count()).any(|host| {
        is_orphan(moment, group, host)
            || moment.node(host).is_some_and(|node| {
                let mut groups = node.status().groups();
                // The classic book hands over whole classes: a group that is stuck holds up those beside it.
                groups.any(|group| group.doing == Doing::Stuck || group.key == key && group.doing == Doing::Failed)
            })
    })
}

impl Check for Liveness {
    fn name(&self) -> &'static str {
        "one owner after calm"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        if matches!(fact, Fact::Calmed) && self.applies {
            self.due = Some(moment.now.plus(self.bound));
        }
        let Some(due) = self.due.filter(|_| !self.is_judged) else { return };
        // In the middle of a step a node cannot say why.
        if moment.now < due || !matches!(fact, Fact::Arrives(_) | Fact::Ended) {
            return;
        }
        self.is_judged = true;
        for group in 0..moment.ground.group_count() {
            let shares: Vec<(usize, Share)> =
                (0..moment.ground.host_count()).map(|host| (host, moment.ground.share(group, host))).collect();
            let all = shares.iter().filter(|(_, share)| *share == Share::All).count();
            let part = shares.iter().filter(|(_, share)| *share == Share::Part).count();
            if (all, part) != (1, 0) && !reason(moment, group) {
                let owners: Vec<&str> = moment.ground.owners(group).map(|host| moment.name(host)).collect();
                let (key, after) = (moment.ground.key(group), self.bound.as_secs_f64());
                found
                    .push(format!("{after:.1} s after everything was mended group {key} is on [{}]", owners.join(" ")));
            }
        }
    }
}
