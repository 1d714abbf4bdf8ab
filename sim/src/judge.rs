//! Expectations of a scenario, compared with what a run came to.

use crate::ground::{Change, Share};
use crate::plan::time::Span;
use crate::plan::{Expect, Place, Plan, Proof, Scope};
use crate::run::Verdict;
use crate::world::World;
use hb_core::time::Instant;
use std::time::Duration;

/// The tolerance of times that were observed on 3.0.6.
const TOLERANCE: Duration = Duration::from_millis(500);

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

fn judge(plan: &Plan, world: &World, expect: &Expect) -> Verdict {
    let (what, missed) = match expect {
        Expect::By(at, places) => (format!("by {} s {}", Span(*at), plan.places(places)), by(plan, world, *at, places)),
        Expect::Near(at, places) => {
            (format!("near {} s {}", Span(*at), plan.places(places)), near(plan, world, *at, places))
        }
        Expect::Together(at, labels) => {
            (format!("by {} s {} on one node", Span(*at), labels.join(" and ")), together(plan, world, *at, labels))
        }
        Expect::Gap(label, limit) => {
            let group = world.ground.group(plan.key(label));
            let gap = group.map_or(Duration::ZERO, |group| world.ground.longest_gap(world.now(), group));
            let missed = (gap > *limit).then(|| format!("{:.1} ms", gap.as_secs_f64() * 1000.0));
            (format!("a client misses {label} for at most {} ms", limit.as_millis()), missed)
        }
        Expect::Calls(host, expected) => {
            let calls = world.ground.calls(*host);
            let what = format!("{expected} starts and stops on {}", plan.name(*host));
            (what, (calls != *expected).then(|| format!("there were {calls}")))
        }
        Expect::Log(host, phrase) => {
            let said = world.recording.has_said(*host, phrase);
            (format!("{} says: {phrase}", plan.name(*host)), (!said).then(|| "it did not".to_owned()))
        }
        Expect::NoLog(host, phrase) => {
            let said = world.recording.has_said(*host, phrase);
            (format!("{} does not say: {phrase}", plan.name(*host)), said.then(|| "it did".to_owned()))
        }
        Expect::Holds(host, expected) => {
            let found = world.holding(*host);
            let missed = (found != (expected.as_str(), true))
                .then(|| format!("{}{}", found.0, if found.1 { "" } else { ", not stable" }));
            (format!("{} holds {expected}", plan.name(*host)), missed)
        }
    };
    Verdict { what, missed }
}

/// The placement must hold just before `at`, and stay until the next event or placement.
fn by(plan: &Plan, world: &World, at: Duration, places: &[Place]) -> Option<String> {
    let (begin, until) = (world.at(at), until(plan, world, at));
    places.iter().find_map(|place| {
        let mut state = State::at(plan, world, place, begin);
        if !state.is_right(place) {
            return Some(format!("{} at that time", state.describe(plan, place)));
        }
        changes(plan, world, place).filter(|change| change.at >= begin && change.at < until).find_map(|change| {
            state.shares[change.host] = change.share;
            let after = change.at.since(begin).as_millis();
            (!state.is_right(place)).then(|| format!("{} {after} ms after that time", state.describe(plan, place)))
        })
    })
}

/// The next event or placement after one that is expected at `at`.
fn until(plan: &Plan, world: &World, at: Duration) -> Instant {
    let scope = plan.scope();
    let events = plan.events.iter().map(|(time, _)| *time).filter(|time| *time >= at);
    let others =
        plan.expectations.iter().filter(|other| other.scope.includes(scope)).filter_map(|other| match other.what {
            Expect::By(time, _) | Expect::Together(time, _) => Some(time).filter(|time| *time > at),
            _ => None,
        });
    world.at(events.chain(others).min().unwrap_or(plan.end))
}

/// The groups must be on one host just before `at`, and stay there.
fn together(plan: &Plan, world: &World, at: Duration, labels: &[String]) -> Option<String> {
    let nowhere = |label: &String| Place { label: label.clone(), hosts: Vec::new(), parts: Vec::new() };
    let first = State::at(plan, world, &nowhere(labels.first()?), world.at(at));
    let host = first.shares.iter().position(|share| *share == Share::All).unwrap_or_default();
    let places: Vec<Place> = labels.iter().map(|label| Place { hosts: vec![host], ..nowhere(label) }).collect();
    by(plan, world, at, &places)
}

/// The placement must begin to hold at about `at`.
fn near(plan: &Plan, world: &World, at: Duration, places: &[Place]) -> Option<String> {
    let (from, to) = (world.at(at).minus(TOLERANCE), world.at(at).plus(TOLERANCE));
    places.iter().find_map(|place| {
        let mut state = State::at(plan, world, place, from);
        let mut was_right = state.is_right(place);
        let mut began = Vec::new();
        for change in changes(plan, world, place).filter(|change| change.at >= from) {
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
            Some(began) => format!("{} only after {:.2} s", place.label, seconds(world, *began)),
            None => format!("{} did not become so", State::at(plan, world, place, from).describe(plan, place)),
        })
    })
}

fn seconds(world: &World, at: Instant) -> f64 {
    at.since(world.at(Duration::ZERO)).as_secs_f64()
}

fn changes<'w>(plan: &Plan, world: &'w World, place: &Place) -> impl Iterator<Item = &'w Change> {
    let group = world.ground.group(plan.key(&place.label));
    world.ground.history().iter().filter(move |change| Some(change.group) == group)
}

/// Who has how much of a group.
struct State {
    shares: Vec<Share>,
}

impl State {
    /// Just before `at`.
    fn at(plan: &Plan, world: &World, place: &Place, at: Instant) -> State {
        let mut shares = vec![Share::Nothing; plan.hosts.len()];
        for change in changes(plan, world, place).filter(|change| change.at < at) {
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
