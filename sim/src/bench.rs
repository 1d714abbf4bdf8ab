//! How fast the simulator is: a quiet pair, checkers armed.

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
    /// Simulated time, of all runs together.
    pub simulated: Duration,
    /// Real time it took.
    pub took: Duration,
    /// Steps of nodes.
    pub steps: u64,
}

/// Simulates `hours` of a quiet pair, split into as many runs as there are `jobs`, side by side.
///
/// # Panics
/// If a pair does not stay quiet, since nothing would be measured then.
pub fn quiet_pair(hours: u32, jobs: u32) -> Speed {
    let plan = Plan::parse("bench", QUIET).unwrap_or_else(|problems| panic!("{problems:?}"));
    let jobs = jobs.clamp(1, hours.max(1));
    let span = Duration::from_hours(1) * hours / jobs;
    let start = Instant::now();
    let steps = std::thread::scope(|scope| {
        let plan = &plan;
        let runs: Vec<_> = (1..=jobs).map(|seed| scope.spawn(move || run(plan, u64::from(seed), span))).collect();
        runs.into_iter().map(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    Speed { simulated: span * jobs, took: start.elapsed(), steps }
}

fn run(plan: &Plan, seed: u64, span: Duration) -> u64 {
    let mut world = World::new(plan, seed, Detail::Quiet);
    for host in 0..2 {
        world.happen(&Event::Start(host));
    }
    let end = world.now().plus(span);
    world.run_until(end, |_| false);
    assert!(world.is_settled() && world.violations.is_empty(), "the pair is quiet: {:?}", world.violations);
    world.steps()
}
