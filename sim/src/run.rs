//! A scenario run twice, and judged.

use crate::check::Check as _;
use crate::plan::{Condition, Placement, Plan};
use crate::timeline::Timeline;
use crate::world::World;
use std::time::Duration;

/// A pair has settled long before this, or never does.
pub(crate) const SETTLE_LIMIT: Duration = Duration::from_mins(1);
/// How much happens before a settled pair is taken for settled: its announcements and acknowledgements are over.
pub(crate) const SETTLE_REST: Duration = Duration::from_secs(6);

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it is about.
    pub title: String,
    /// Every expectation and whether it was met.
    pub verdicts: Vec<Verdict>,
    /// What happened.
    pub timeline: Timeline,
    /// The digest of both runs, if they were equal.
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
        self.verdicts.iter().all(|verdict| verdict.missed.is_none())
    }
}

/// Runs a plan twice with the same seed and judges it.
pub fn run(plan: &Plan, seed: u64) -> Report {
    let (mut report, world) = once(plan, seed);
    let (_, again) = once(plan, seed);
    let equal = world.digest() == again.digest() && world.timeline == again.timeline;
    report.digest = equal.then(|| world.digest());
    let missed = (!equal).then(|| format!("digests {:016x} and {:016x}", world.digest(), again.digest()));
    report.verdicts.push(Verdict { what: "two runs are equal".into(), missed });
    report
}

fn once(plan: &Plan, seed: u64) -> (Report, World) {
    let mut world = World::new(plan, seed, true);
    let mut verdicts = Vec::new();
    for host in &plan.boot {
        world.happen(&crate::plan::Event::Start(*host));
    }
    if plan.settle {
        let limit = world.now().plus(SETTLE_LIMIT);
        world.run_until(limit, World::is_settled);
        let missed = (!world.is_settled()).then(|| format!("not within {} s", SETTLE_LIMIT.as_secs()));
        verdicts.push(Verdict { what: "the cluster settles".into(), missed });
        let rest = world.now().plus(SETTLE_REST);
        world.run_until(rest, |_| false);
    }
    world.begin();
    let mut events = plan.events.iter().peekable();
    let mut placements: Vec<&Placement> = plan.placements.iter().collect();
    placements.sort_by_key(|placement| placement.at);
    let mut placements = placements.into_iter().peekable();
    loop {
        let next_event = events.peek().map_or(plan.end, |(at, _)| *at);
        let next_check = placements.peek().map_or(plan.end, |placement| placement.at);
        // What must hold by a time is looked at before something new happens at that time.
        let next = next_event.min(next_check).min(plan.end);
        let until = world.at(next);
        world.run_until(until, |_| false);
        if let Some(placement) = placements.next_if(|placement| placement.at <= next) {
            let next_event = events.peek().map_or(plan.end, |(at, _)| *at);
            let until = placements.peek().map_or(next_event, |placement| placement.at.min(next_event));
            verdicts.push(judge(plan, &mut world, placement, until));
        } else if let Some((_, event)) = events.next_if(|(at, _)| *at <= next) {
            world.happen(event);
        } else {
            break;
        }
    }
    let until = world.at(plan.end);
    world.run_until(until, |_| false);
    verdicts.extend(plan.conditions.iter().map(|condition| decide(plan, &world, condition)));
    let violations = world.owners.violations(world.now());
    let allowed = if plan.overlap.is_zero() {
        "one owner".to_owned()
    } else {
        format!("two owners for at most {} ms", plan.overlap.as_millis())
    };
    let missed = (!violations.is_empty()).then(|| violations.join("; "));
    verdicts.push(Verdict { what: format!("each group has {allowed}"), missed });
    let report = Report { title: plan.title.clone(), verdicts, timeline: world.timeline.clone(), digest: None };
    (report, world)
}

/// The placement must hold now and stay until the next event or placement.
fn judge(plan: &Plan, world: &mut World, placement: &Placement, until: Duration) -> Verdict {
    let what = format!("by {} s {}", placement.at.as_secs_f64(), placement.text);
    let mut missed = misplaced(plan, world, placement).map(|why| format!("{why} at that time"));
    if missed.is_none() {
        let end = world.at(until.min(plan.end));
        let mut later = None;
        // A copy of the truth as it unfolds: the first thing that is not as it should be.
        world.run_until(end, |world| {
            later = misplaced(plan, world, placement).map(|why| {
                format!("{why} {} ms after that time", world.now().since(world.at(placement.at)).as_millis())
            });
            later.is_some()
        });
        missed = later;
    }
    Verdict { what, missed }
}

fn misplaced(plan: &Plan, world: &World, placement: &Placement) -> Option<String> {
    placement.groups.iter().find_map(|(label, host)| {
        let key = plan.key(label);
        let owners = world.ground.owners(key);
        let right = match host {
            Some(host) => owners == [*host] && world.ground.serves(key, *host),
            None => owners.is_empty(),
        };
        let names: Vec<&str> = owners.iter().map(|owner| plan.name(*owner)).collect();
        (!right).then(|| format!("{label} was on [{}]", names.join(" ")))
    })
}

fn decide(plan: &Plan, world: &World, condition: &Condition) -> Verdict {
    let (what, missed) = match condition {
        Condition::Gap(label, limit) => {
            let gap = world.ground.longest_gap(world.now(), plan.key(label));
            let missed = (gap > *limit).then(|| format!("{:.1} ms", gap.as_secs_f64() * 1000.0));
            (format!("a client misses {label} for at most {} ms", limit.as_millis()), missed)
        }
        Condition::Calls(host, expected) => {
            let calls = world.ground.calls(*host);
            let what = format!("{expected} starts and stops on {}", plan.name(*host));
            (what, (calls != *expected).then(|| format!("there were {calls}")))
        }
        Condition::Log(host, phrase) => {
            let said = world.timeline.has(plan.name(*host), phrase);
            (format!("{} says: {phrase}", plan.name(*host)), (!said).then(|| "it did not".to_owned()))
        }
        Condition::NoLog(host, phrase) => {
            let said = world.timeline.has(plan.name(*host), phrase);
            (format!("{} does not say: {phrase}", plan.name(*host)), said.then(|| "it did".to_owned()))
        }
        Condition::Holds(host, expected) => {
            let found = world
                .node(*host)
                .map_or(("nothing", false), |node| (node.status().holding(), node.status().is_stable()));
            let missed = (found != (expected.as_str(), true))
                .then(|| format!("{}{}", found.0, if found.1 { "" } else { ", not stable" }));
            (format!("{} holds {expected}", plan.name(*host)), missed)
        }
    };
    Verdict { what, missed }
}
