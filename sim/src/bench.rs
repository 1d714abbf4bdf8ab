//! How fast the simulator is: a quiet pair for an hour of virtual time.

use crate::plan::{Event, Plan};
use crate::recording::Detail;
use crate::world::World;
use std::time::{Duration, Instant};

/// Keepalive 1 s, one bcast medium, sha1.
const QUIET: &str = "title a quiet pair\n\
ha.cf:\n  node h1 h2\n  bcast eth1\n  keepalive 1\n  deadtime 10\n  auto_failback on\n  logfacility none\n\
haresources:\n  h1 10.77.0.100/24/eth0\n\
authkeys:\n  auth 1\n  1 sha1 the-key-of-the-laboratory\n\
end 3600\n";

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Simulated time.
    pub simulated: Duration,
    /// Real time it took.
    pub took: Duration,
    /// Steps of nodes.
    pub steps: u64,
}

/// Simulates `hours` of a quiet pair, checkers armed.
///
/// # Panics
/// If the pair does not stay quiet, since nothing would be measured then.
pub fn quiet_pair(hours: u32) -> Speed {
    let plan = Plan::parse("bench", QUIET).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut world = World::new(&plan, 1, Detail::Quiet);
    for host in 0..2 {
        world.happen(&Event::Start(host));
    }
    let simulated = Duration::from_hours(1) * hours;
    let start = Instant::now();
    let end = world.now().plus(simulated);
    world.run_until(end, |_| false);
    let took = start.elapsed();
    assert!(world.is_settled(), "the pair is quiet");
    Speed { simulated, took, steps: world.steps() }
}
