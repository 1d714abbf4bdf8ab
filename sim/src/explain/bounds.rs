//! What each step may take at most by the configuration, beside the longest time that it took.

use super::Brief;
use super::experiments::Kind;
use super::outcome::{Merged, Outcome};
use hb_core::config::care::ADDRESS_LIMIT;
use hb_core::config::{Config, Limits, Resource};
use hb_core::ids::GroupId;
use std::time::Duration;

/// A step.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What happens in it.
    pub step: String,
    /// How long it may take; nothing is promised if none.
    pub limit: Option<Duration>,
    /// What that follows from.
    pub from: String,
    /// The longest that it took in any experiment; none had it if none.
    pub measured: Option<Duration>,
}

/// The steps of this configuration.
pub(super) fn bounds(config: &Config, groups: &[String], outcomes: &[Outcome]) -> Vec<Bound> {
    let timing = config.timing();
    let deadtime = timing.deadtime();
    let of = |kinds: &'static [Kind]| outcomes.iter().filter(move |outcome| kinds.contains(&outcome.kind));
    let fates = |kinds| of(kinds).flat_map(|outcome| &outcome.groups);
    let served = |kinds| fates(kinds).filter_map(|group: &Merged| group.served).max();
    let bound = |step: &str, limit, from: String, measured| Bound { step: step.to_owned(), limit, from, measured };
    let released = fates(&[Kind::Cut, Kind::Deaf])
        .filter(|group| group.served.is_none() || group.overlap.is_zero())
        .filter_map(|group| group.released)
        .max();
    let [starts, stops] = [Part::Start, Part::Stop].map(|part| slowest(config, part));
    let mut all = vec![
        bound(
            "a silent node is declared dead",
            Some(deadtime),
            format!("deadtime {}", Brief(deadtime)),
            of(&[Kind::Crash, Kind::CrashOfMost]).filter_map(|outcome| outcome.dead).max(),
        ),
        bound(
            "power loss to another node serving",
            Some(deadtime + starts),
            format!("deadtime, starts {}", Brief(starts)),
            served(&[Kind::Crash]),
        ),
        bound(
            "a start alone",
            Some(timing.initdead() + starts),
            format!("initdead, starts {}", Brief(starts)),
            served(&[Kind::StartAlone]),
        ),
        bound("a start together", None, "some heartbeats, starts".to_owned(), served(&[Kind::StartTogether])),
        bound(
            "stop in order to another node serving",
            Some(stops + starts),
            format!("stops {}, starts {}", Brief(stops), Brief(starts)),
            served(&[Kind::Stop]),
        ),
        bound("daemon killed to another node serving", None, "guard, stops, starts".to_owned(), served(&[Kind::Kill])),
    ];
    let give_up = config.self_deadline(deadtime);
    let groups_of = (0..).map(GroupId).zip(config.groups());
    let release = groups_of.map(|(id, group)| config.limits(id).release(&group.resources)).max().unwrap_or_default();
    all.push(bound(
        "a node that is not heard has given up",
        Some(give_up + release),
        format!("notices in {}, stops {}", Brief(give_up), Brief(release)),
        released,
    ));
    let overlap = fates(&[Kind::Heal, Kind::Return]).map(|group| group.overlap).max().filter(|it| !it.is_zero());
    if overlap.is_some() {
        all.push(bound(
            "link whole until one owner is left",
            None,
            "a heartbeat, a verdict, stops".to_owned(),
            overlap,
        ));
    }
    for (id, group) in (0..).map(GroupId).zip(config.groups()) {
        let limits = config.limits(id);
        if group.resources.iter().any(|resource| matches!(resource, Resource::Script(_))) {
            let from = format!("status {}, start {} (script_limit)", Brief(limits.status), Brief(limits.start));
            let step = format!("start of {}", groups[id.index()]);
            all.push(bound(&step, Some(part(&limits, &group.resources, Part::Start)), from, None));
        }
    }
    all
}

#[derive(Clone, Copy)]
enum Part {
    Start,
    Stop,
}

/// The resources of one group, one after the other; those of the slowest group, since groups start and stop beside each other.
fn slowest(config: &Config, which: Part) -> Duration {
    let groups = (0..).map(GroupId).zip(config.groups());
    groups.map(|(id, group)| part(&config.limits(id), &group.resources, which)).max().unwrap_or_default()
}

fn part(limits: &Limits, resources: &[Resource], which: Part) -> Duration {
    let of = |resource: &Resource| match (resource, which) {
        (Resource::Address(_), _) => ADDRESS_LIMIT,
        (Resource::Script(_), Part::Start) => limits.status + limits.start,
        (Resource::Script(_), Part::Stop) => limits.stop,
    };
    resources.iter().map(of).sum()
}
