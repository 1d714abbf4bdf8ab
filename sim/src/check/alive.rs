//! No death while heard: a node is declared dead only after a silence as long as its dead time.

use super::{Check, Fact, Moment};
use crate::plan::Plan;
use std::time::Duration;

/// Looks at every death that a node reports.
#[derive(Clone, Debug)]
pub struct Alive {
    /// By host: the least silence that its death takes, as the fastest clock counts it.
    limits: Vec<Duration>,
}

impl Alive {
    /// The checker of a plan.
    pub fn new(plan: &Plan) -> Alive {
        let drift = plan.hosts.iter().map(|host| host.drift_ppm.unsigned_abs()).max().unwrap_or(0);
        let slow = |time: Duration| time - time / 1_000_000 * drift.min(1_000_000);
        Alive { limits: plan.configs().map(|config| slow(config.timing().deadtime())).collect() }
    }
}

impl Check for Alive {
    fn name(&self) -> &'static str {
        "no death while heard"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        let Fact::Reported(observer, hb_core::Event::NodeDead { node, .. }) = fact else { return };
        let dead = moment.plan.configs().position(|config| config.local_name() == node);
        let Some((dead, silence)) =
            dead.and_then(|dead| Some((dead, moment.contact.silence(moment.now, *observer, dead)?)))
        else {
            return;
        };
        // A clock that stood still counts less; nothing counts more.
        if silence + Duration::from_millis(1) < self.limits[dead] {
            let (by, silent) = (moment.name(*observer), silence.as_millis());
            found.push(format!(
                "{by} buried {node} after {silent} ms, its dead time is {} ms",
                self.limits[dead].as_millis()
            ));
        }
    }
}
