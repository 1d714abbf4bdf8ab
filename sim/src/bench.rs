//! How fast the simulator is: a quiet cluster, checkers armed.

use crate::plan::{Event, Plan};
use crate::recording::Detail;
use crate::world::World;
use std::time::{Duration, Instant};

/// A cluster to which nothing happens but perhaps loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quiet {
    /// How many nodes; only a pair has a group.
    pub nodes: usize,
    /// Between two heartbeats; the dead time is ten of them, and at least a second.
    pub keepalive: Duration,
    /// How many bcast media.
    pub media: usize,
    /// The share of frames that is lost.
    pub loss: f64,
}

impl Default for Quiet {
    /// The pair of the documented figures.
    fn default() -> Quiet {
        Quiet { nodes: 2, keepalive: Duration::from_secs(1), media: 1, loss: 0.0 }
    }
}

impl Quiet {
    fn plan(&self) -> Plan {
        let names = |prefix: &str, count: usize| {
            (1..=count).map(|number| format!("{prefix}{number}")).collect::<Vec<_>>().join(" ")
        };
        let (nodes, media) = (names("h", self.nodes), names("eth", self.media));
        let keepalive = self.keepalive.as_millis();
        let deadtime = (self.keepalive * 10).max(Duration::from_secs(1)).as_millis();
        let groups = if self.nodes == 2 { "  h1 10.77.0.100/24/eth0\n" } else { "" };
        let loss = if self.loss > 0.0 { format!("net loss {}\n", self.loss) } else { String::new() };
        let text = format!(
            "title a quiet cluster\nha.cf:\n  node {nodes}\n  bcast {media}\n  keepalive {keepalive}ms\n  \
             deadtime {deadtime}ms\n  auto_failback on\n  logfacility none\nharesources:\n{groups}\
             authkeys:\n  auth 1\n  1 sha1 the-key-of-the-laboratory\n{loss}end 3600\n"
        );
        Plan::parse("bench", &text).unwrap_or_else(|problems| panic!("{}", crate::render_all(&problems, &text)))
    }
}

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

/// Simulates `hours` of a quiet cluster, split into as many runs as there are `jobs`, side by side.
///
/// # Panics
/// If it does not stay quiet, since nothing would be measured then.
pub fn quiet_cluster(quiet: Quiet, hours: u32, jobs: u32) -> Speed {
    let plan = quiet.plan();
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
    for host in 0..plan.hosts.len() {
        world.happen(&Event::Start(host));
    }
    let end = world.now().plus(span);
    world.run_until(end, |_| false);
    assert!(world.is_settled() && world.violations.is_empty(), "the cluster is quiet: {:?}", world.violations);
    world.steps()
}
