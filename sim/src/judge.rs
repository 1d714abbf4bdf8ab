//! Expectations of a scenario, compared with what a run came to: a simulated one, or one of real daemons.

use crate::ground::{Change, Share};
use crate::plan::time::Span;
use crate::plan::{Expect, Place, Plan, Proof, Scope};
use crate::run::Verdict;
use crate::world::World;
use hb_core::time::Instant;
use std::time::Duration;

/// The tolerance of times that were observed on 3.0.6.
const TOLERANCE: Duration = Duration::from_millis(500);

/// Who saw a run and tells what was true in it.
pub trait Witness {
    /// When the scenario's zero was.
    fn zero(&self) -> Instant;
    /// Who got or lost how much of the group with this key, in order, from the very beginning on.
    fn changes(&self, key: &str) -> Vec<Change>;
    /// The longest time since zero in which no client was served by the group.
    fn longest_gap(&self, key: &str) -> Duration;
    /// The starts and stops on a host since zero.
    fn calls(&self, host: usize) -> u32;
    /// Whether the node of a host ever said this.
    fn has_said(&self, host: usize, phrase: &str) -> bool;
    /// What the node of a host says in the end that it holds, and whether it calls itself stable.
    fn holding(&self, host: usize) -> (String, bool);
    /// How much the times of the scenario may be missed by because of the machine that plays it.
    fn leeway(&self) -> Leeway;
}

/// What real machines need beyond the times of a scenario; a simulated one needs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leeway {
    /// A group is where it must be so much later; what was right already stays right all the time.
    pub placement: Duration,
    /// A client misses an address for so much longer.
    pub gap: Duration,
    /// What becomes so near a time does so this much earlier: an event falls anywhere between two heartbeats, and a silence
    /// counts from the last one before it.
    pub phase: Duration,
}

impl Witness for World {
    fn zero(&self) -> Instant {
        self.at(Duration::ZERO)
    }

    fn changes(&self, key: &str) -> Vec<Change> {
        let group = self.ground.group(key);
        self.ground.history().iter().filter(|change| Some(change.group) == group).copied().collect()
    }

    fn longest_gap(&self, key: &str) -> Duration {
        self.ground.group(key).map_or(Duration::ZERO, |group| self.ground.longest_gap(self.now(), group))
    }

    fn calls(&self, host: usize) -> u32 {
        self.ground.calls(host)
    }

    fn has_said(&self, host: usize, phrase: &str) -> bool {
        self.recording.has_said(host, phrase)
    }

    fn holding(&self, host: usize) -> (String, bool) {
        let (classes, is_stable) = self.holding(host);
        (classes.to_owned(), is_stable)
    }

    fn leeway(&self) -> Leeway {
        Leeway::default()
    }
}

/// A verdict for every expectation that applies, and for every property that was watched.
pub(crate) fn verdicts(plan: &Plan, world: &World) -> Vec<Verdict> {
    let scope = plan.scope();
    let applying = plan.expectations.iter().filter(|expectation| expectation.scope.includes(scope));
    let mut verdicts: Vec<Verdict> = applying.map(|expectation| judge(plan, world, &expectation.what)).collect();
    if let Some(refusal) = &plan.refusal {
        // Reading the plan has seen to it.
        verdicts.push(Verdict { what: format!("the configuration is refused: {}", refusal.code), missed: None });
    }
    if scope != Scope::Model {
        verdicts.push(owners(plan, world));
        let broken = world.violations.iter().filter(|violation| violation.check != "single owner");
        verdicts.extend(broken.map(|violation| Verdict {
            what: violation.check.to_owned(),
            missed: Some(format!(
                "{} at {} s",
                violation.what,
                violation.at.since(world.at(Duration::ZERO)).as_secs_f64()
            )),
        }));
    }
    verdicts
}

/// The first promise has a line of its own, met or not.
fn owners(plan: &Plan, world: &World) -> Verdict {
    let allowed = match (plan.policy.hazards, plan.policy.overlap) {
        (true, _) => "one owner, hazards of the rule book aside".to_owned(),
        (false, Duration::ZERO) => "one owner".to_owned(),
        (false, overlap) => format!("two owners for at most {} ms", overlap.as_millis()),
    };
    let proof = match plan.policy.proof {
        Proof::None => "",
        Proof::Fenced => ", and nothing is taken from a silent node that was not fenced",
        Proof::Released => ", and nothing is taken from a silent node that has not released it",
    };
    let is_broken = world.violations.iter().any(|violation| violation.check == "single owner");
    let crowded = (0..world.ground.group_count()).filter_map(|group| {
        let overlap = world.ground.overlap(world.now(), group);
        let key = world.ground.key(group);
        (!overlap.is_zero()).then(|| format!("group {key} had two owners for {} ms", overlap.as_millis()))
    });
    let missed = is_broken.then(|| crowded.collect::<Vec<_>>().join("; "));
    Verdict { what: format!("each group has {allowed}{proof}"), missed }
}

/// Whether one expectation was met.
pub fn judge(plan: &Plan, world: &impl Witness, expect: &Expect) -> Verdict {
    let (what, missed) = match expect {
        Expect::By(at, places) => (format!("by {} s {}", Span(*at), plan.places(places)), by(plan, world, *at, places)),
        Expect::Near(at, places) => {
            (format!("near {} s {}", Span(*at), plan.places(places)), near(plan, world, *at, places))
        }
        Expect::Together(at, labels) => {
            (format!("by {} s {} on one node", Span(*at), labels.join(" and ")), together(plan, world, *at, labels))
        }
        Expect::Gap(label, limit) => {
            let gap = world.longest_gap(plan.key(label));
            let missed = (gap > *limit + world.leeway().gap).then(|| format!("{:.1} ms", gap.as_secs_f64() * 1000.0));
            (format!("a client misses {label} for at most {} ms", limit.as_millis()), missed)
        }
        Expect::Calls(host, expected) => {
            let calls = world.calls(*host);
            let what = format!("{expected} starts and stops on {}", plan.name(*host));
            (what, (calls != *expected).then(|| format!("there were {calls}")))
        }
        Expect::Log(host, phrase) => {
            let said = world.has_said(*host, phrase);
            (format!("{} says: {phrase}", plan.name(*host)), (!said).then(|| "it did not".to_owned()))
        }
        Expect::NoLog(host, phrase) => {
            let said = world.has_said(*host, phrase);
            (format!("{} does not say: {phrase}", plan.name(*host)), said.then(|| "it did".to_owned()))
        }
        Expect::Holds(host, expected) => {
            let found = world.holding(*host);
            let missed = ((found.0.as_str(), found.1) != (expected.as_str(), true))
                .then(|| format!("{}{}", found.0, if found.1 { "" } else { ", not stable" }));
            (format!("{} holds {expected}", plan.name(*host)), missed)
        }
    };
    Verdict { what, missed }
}

/// The placement must hold just before `at`, or become so within the leeway of the machine; and stay until the next
/// event or placement.
fn by(plan: &Plan, world: &impl Witness, at: Duration, places: &[Place]) -> Option<String> {
    let (due, until) = (world.zero().plus(at), until(plan, world, at));
    places.iter().find_map(|place| {
        let changes = changes(plan, world, place);
        let mut state = State::at(plan, &changes, due);
        let mut begin = due;
        if !state.is_right(place) {
            let latest = due.plus(world.leeway().placement);
            let later = changes.iter().filter(|change| change.at >= due && change.at < latest.min(until));
            let mut late = State::at(plan, &changes, due);
            let becomes_right = later.into_iter().find(|change| {
                late.shares[change.host] = change.share;
                late.is_right(place)
            });
            let Some(change) = becomes_right else {
                return Some(format!("{} at that time", state.describe(plan, place)));
            };
            // What changed at that very instant, too, comes after it below.
            begin = change.at.plus(Duration::from_nanos(1));
            state = late;
        }
        changes.iter().filter(|change| change.at >= begin && change.at < until).find_map(|change| {
            state.shares[change.host] = change.share;
            let after = change.at.since(due).as_millis();
            (!state.is_right(place)).then(|| format!("{} {after} ms after that time", state.describe(plan, place)))
        })
    })
}

/// The next event or placement after one that is expected at `at`.
fn until(plan: &Plan, world: &impl Witness, at: Duration) -> Instant {
    let scope = plan.scope();
    let events = plan.events.iter().map(|(time, _)| *time).filter(|time| *time >= at);
    let others =
        plan.expectations.iter().filter(|other| other.scope.includes(scope)).filter_map(|other| match other.what {
            Expect::By(time, _) | Expect::Together(time, _) => Some(time).filter(|time| *time > at),
            _ => None,
        });
    world.zero().plus(events.chain(others).min().unwrap_or(plan.end))
}

/// The groups must be on one host just before `at`, and stay there.
fn together(plan: &Plan, world: &impl Witness, at: Duration, labels: &[String]) -> Option<String> {
    let nowhere = |label: &String| Place { label: label.clone(), hosts: Vec::new(), parts: Vec::new() };
    let changes = changes(plan, world, &nowhere(labels.first()?));
    let due = world.zero().plus(at.saturating_add(world.leeway().placement)).min(until(plan, world, at));
    let first = State::at(plan, &changes, due);
    let host = first.shares.iter().position(|share| *share == Share::All).unwrap_or_default();
    let places: Vec<Place> = labels.iter().map(|label| Place { hosts: vec![host], ..nowhere(label) }).collect();
    by(plan, world, at, &places)
}

/// The placement must begin to hold at about `at`.
fn near(plan: &Plan, world: &impl Witness, at: Duration, places: &[Place]) -> Option<String> {
    let at = world.zero().plus(at);
    let Leeway { placement, phase, .. } = world.leeway();
    let (from, to) = (at.minus(TOLERANCE + phase), at.plus(TOLERANCE + placement));
    places.iter().find_map(|place| {
        let changes = changes(plan, world, place);
        let mut state = State::at(plan, &changes, from);
        let mut was_right = state.is_right(place);
        let mut began = Vec::new();
        for change in changes.iter().filter(|change| change.at >= from) {
            state.shares[change.host] = change.share;
            let is_right = state.is_right(place);
            if is_right && !was_right {
                began.push(change.at);
            }
            was_right = is_right;
        }
        if began.iter().any(|began| *began <= to) {
            return None;
        }
        Some(match began.first() {
            Some(began) => format!("{} only after {:.2} s", place.label, began.since(world.zero()).as_secs_f64()),
            None => format!("{} did not become so", State::at(plan, &changes, from).describe(plan, place)),
        })
    })
}

fn changes(plan: &Plan, world: &impl Witness, place: &Place) -> Vec<Change> {
    world.changes(plan.key(&place.label))
}

/// Who has how much of a group.
struct State {
    shares: Vec<Share>,
}

impl State {
    /// Just before `at`.
    fn at(plan: &Plan, changes: &[Change], at: Instant) -> State {
        let mut shares = vec![Share::Nothing; plan.hosts.len()];
        for change in changes.iter().filter(|change| change.at < at) {
            shares[change.host] = change.share;
        }
        State { shares }
    }

    fn is_right(&self, place: &Place) -> bool {
        self.shares.iter().enumerate().all(|(host, share)| {
            let expected = match (place.hosts.contains(&host), place.parts.contains(&host)) {
                (true, _) => Share::All,
                (false, true) => Share::Part,
                (false, false) => Share::Nothing,
            };
            *share == expected
        })
    }

    fn describe(&self, plan: &Plan, place: &Place) -> String {
        let owners = self.shares.iter().enumerate().filter(|(_, share)| **share != Share::Nothing);
        let names: Vec<String> = owners
            .map(|(host, share)| format!("{}{}", plan.name(host), if *share == Share::Part { " in part" } else { "" }))
            .collect();
        format!("{} was on [{}]", place.label, names.join(" "))
    }
}
