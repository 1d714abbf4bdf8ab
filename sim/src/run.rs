//! A scenario run twice, and judged.

use crate::check::Violation;
use crate::judge;
use crate::plan::{Event, Plan};
use crate::recording::{Detail, Recording};
use crate::summary::{self, Served};
use crate::world::World;
use std::time::Duration;

/// A pair has settled long before this, or never does.
pub(crate) const SETTLE_LIMIT: Duration = Duration::from_mins(2);
/// How much happens before a settled pair is taken for settled: its announcements and acknowledgements are over.
pub(crate) const SETTLE_REST: Duration = Duration::from_secs(6);

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it is about.
    pub title: String,
    /// Every expectation and whether it was met.
    pub verdicts: Vec<Verdict>,
    /// Every property that did not hold.
    pub violations: Vec<Violation>,
    /// How each group was served.
    pub served: Vec<Served>,
    /// What happened.
    pub recording: Recording,
    /// The digest of the run, or of both if they were equal.
    pub digest: Option<u64>,
}

/// One expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The expectation.
    pub what: String,
    /// Why it was missed; `None` if it was met.
    pub missed: Option<String>,
}

impl Report {
    /// Whether everything was met.
    pub fn passed(&self) -> bool {
        self.missed().next().is_none()
    }

    /// What was expected and did not come, violated properties included.
    pub fn missed(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.missed.is_some())
    }
}

/// Runs a plan twice with the same seed and judges it.
pub fn run(plan: &Plan, seed: u64, detail: Detail) -> Report {
    let mut report = run_once(plan, seed, detail);
    let (again, _) = play(plan, seed, detail.max(Detail::Lines));
    let (first, second) = (report.digest.unwrap_or_default(), again.digest());
    let equal = first == second && report.recording == again.recording;
    let missed = (!equal).then(|| format!("digests {first:016x} and {second:016x}"));
    report.verdicts.push(Verdict { what: "two runs are equal".into(), missed });
    report.digest = report.digest.filter(|_| equal);
    report
}

/// Runs a plan once and judges it: half the time, and nothing said about determinism.
pub fn run_once(plan: &Plan, seed: u64, detail: Detail) -> Report {
    let (world, settled) = play(plan, seed, detail.max(Detail::Lines));
    let mut verdicts: Vec<Verdict> = settled.into_iter().collect();
    verdicts.extend(judge::verdicts(plan, &world));
    Report {
        title: plan.title.clone(),
        verdicts,
        digest: Some(world.digest()),
        served: summary::served(&world),
        violations: world.violations,
        recording: world.recording,
    }
}

/// Plays a plan from its beginning to its end; also whether it settled, where it should.
pub fn play(plan: &Plan, seed: u64, detail: Detail) -> (World, Option<Verdict>) {
    play_watched(plan, seed, detail, |_| {})
}

/// The same with a world that `prepare` has seen first: to add what else should watch.
pub fn play_watched(
    plan: &Plan,
    seed: u64,
    detail: Detail,
    prepare: impl FnOnce(&mut World),
) -> (World, Option<Verdict>) {
    play_while(plan, seed, detail, prepare, |_| true)
}

/// The same, only until a property is violated: what comes of a broken cluster may take for ever to simulate.
pub(crate) fn play_until_broken(plan: &Plan, seed: u64, prepare: impl FnOnce(&mut World)) -> World {
    play_while(plan, seed, Detail::Quiet, prepare, |world| world.violations.is_empty()).0
}

fn play_while(
    plan: &Plan,
    seed: u64,
    detail: Detail,
    prepare: impl FnOnce(&mut World),
    goes_on: fn(&World) -> bool,
) -> (World, Option<Verdict>) {
    let mut world = World::new(plan, seed, detail);
    prepare(&mut world);
    world.prepare();
    for host in &plan.boot {
        world.happen(&Event::Start(*host));
    }
    let settled = plan.settle.then(|| {
        let limit = world.now().plus(SETTLE_LIMIT);
        world.run_until(limit, |world| world.is_settled() || !goes_on(world));
        let missed = (!world.is_settled()).then(|| format!("not within {} s", SETTLE_LIMIT.as_secs()));
        let rest = world.now().plus(SETTLE_REST);
        world.run_until(rest, |world| !goes_on(world));
        Verdict { what: "the cluster settles".into(), missed }
    });
    world.begin();
    let end = world.at(plan.end);
    if goes_on(&world) {
        world.run_until(end, |world| !goes_on(world));
    }
    world.finish_checks();
    (world, settled)
}
