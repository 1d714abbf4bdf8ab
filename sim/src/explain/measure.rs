//! One experiment run once, and what is measured in it.
//!
//! Owners, overlaps and outages are those of the ground, never a node's word; the reasons are those that the nodes report.

use super::cluster::Cluster;
use super::experiments::Experiment;
use crate::check::{Check, Fact, Moment};
use crate::ground::{Ground, Share};
use crate::plan::{Event as Happening, Plan};
use crate::recording::Detail;
use crate::run::{SETTLE_LIMIT, SETTLE_REST};
use crate::world::World;
use hb_core::time::Instant;
use hb_core::{Decision, Event, Why};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// What one stage of one run gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// From the event until the last verdict that a node is dead.
    pub(super) dead: Option<Duration>,
    /// Each group, by position.
    pub(super) groups: Vec<Fate>,
    /// Properties that did not hold, beside that of one owner.
    pub(super) violations: Vec<String>,
}

/// What became of a group in a stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate {
    /// The hosts that ran all of it before.
    pub(super) had: Vec<usize>,
    /// The hosts that have something of it at the end.
    pub(super) has: Vec<usize>,
    /// From the event until a host ran it that had not.
    pub(super) served: Option<Duration>,
    /// From the event until the last that gave it up had done so, of those that went on living.
    pub(super) released: Option<Duration>,
    /// The longest time in which nobody ran all of it, or clients did not reach its addresses.
    pub(super) outage: Duration,
    /// Whether they still do.
    pub(super) outage_lasts: bool,
    /// For how long several had it.
    pub(super) overlap: Duration,
    /// Whether several still do.
    pub(super) overlap_lasts: bool,
    /// What was decided: host, decision, reason; the first of each host and kind.
    pub(super) reasons: Vec<(usize, Decision, String)>,
    /// Why it is not run by hosts that could, if nobody runs it.
    pub(super) obstacles: Vec<(usize, String)>,
}

/// The part that must be seen as it happens.
#[derive(Debug, Default)]
struct Meter {
    begin: Instant,
    dead: Option<Instant>,
    groups: Vec<Gauge>,
}

#[derive(Debug, Default)]
struct Gauge {
    had: Vec<usize>,
    served: Option<Instant>,
    released: Option<Instant>,
    /// Since when nobody runs all of it.
    silent_since: Option<Instant>,
    longest: Duration,
    reasons: Vec<(usize, Decision, String)>,
}

impl Meter {
    fn begin(&mut self, now: Instant, ground: &Ground) {
        *self = Meter { begin: now, ..Meter::default() };
        self.groups.resize_with(ground.group_count(), Gauge::default);
        for (group, gauge) in self.groups.iter_mut().enumerate() {
            gauge.had = whole(ground, group);
            gauge.silent_since = gauge.had.is_empty().then_some(now);
        }
    }

    fn look(&mut self, now: Instant, ground: &Ground) {
        for (group, gauge) in self.groups.iter_mut().enumerate() {
            let has = whole(ground, group);
            if gauge.served.is_none() && has.iter().any(|host| !gauge.had.contains(host)) {
                gauge.served = Some(now);
            }
            match (has.is_empty(), gauge.silent_since) {
                (true, None) => gauge.silent_since = Some(now),
                (false, Some(since)) => {
                    gauge.longest = gauge.longest.max(now.since(since));
                    gauge.silent_since = None;
                }
                _ => {}
            }
        }
    }

    fn hear(&mut self, now: Instant, host: usize, event: &Event, ground: &Ground) {
        match event {
            Event::NodeDead { .. } => self.dead = Some(now),
            Event::Released { group, .. } => {
                if let Some(gauge) = ground.group(group).and_then(|group| self.groups.get_mut(group)) {
                    gauge.released = Some(now);
                }
            }
            Event::Decision { what, groups, why } => {
                let Some(gauge) = ground.group(groups).and_then(|group| self.groups.get_mut(group)) else { return };
                if !gauge.reasons.iter().any(|(of, known, _)| *of == host && known == what) {
                    gauge.reasons.push((host, *what, why.to_string()));
                }
            }
            _ => {}
        }
    }
}

/// The hosts that run all of a group.
fn whole(ground: &Ground, group: usize) -> Vec<usize> {
    (0..ground.host_count()).filter(|host| ground.share(group, *host) == Share::All).collect()
}

struct Observer(Rc<RefCell<Meter>>);

impl Check for Observer {
    fn name(&self) -> &'static str {
        "the meter of an explanation"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, _: &mut Vec<String>) {
        let mut meter = self.0.borrow_mut();
        match fact {
            Fact::Runs(..) | Fact::Happened(_) => meter.look(moment.now, moment.ground),
            Fact::Reported(host, event) => meter.hear(moment.now, *host, event, moment.ground),
            _ => {}
        }
    }
}

/// Runs an experiment; `phase` of `phases` says when between two heartbeats it begins. An error if the cluster does not
/// come to rest before.
pub(super) fn run(
    cluster: &Cluster,
    experiment: &Experiment,
    phase: u32,
    phases: u32,
) -> Result<Vec<Seen>, Vec<String>> {
    let plan: &Plan = &cluster.plan;
    let mut world = World::new(plan, u64::from(phase) + 1, Detail::Quiet);
    let meter = Rc::new(RefCell::new(Meter::default()));
    world.watch(Box::new(Observer(Rc::clone(&meter))));
    let timing = cluster.config().timing();
    let offset = timing.keepalive() * phase / phases;
    if experiment.is_settled {
        for host in 0..plan.hosts.len() {
            world.happen(&Happening::Start(host));
        }
        let limit = world.now().plus(SETTLE_LIMIT.max(timing.initdead() * 3));
        world.run_until(limit, World::is_settled);
        if !world.is_settled() {
            return Err(restless(&world));
        }
        let rest = world.now().plus(SETTLE_REST.max(timing.keepalive() * 4)).plus(offset);
        world.run_until(rest, |_| false);
    }
    let mut seen = Vec::new();
    for stage in &experiment.stages {
        let known = world.violations.len();
        world.begin();
        meter.borrow_mut().begin(world.now(), &world.ground);
        for (number, event) in (0..).zip(&stage.events) {
            // Machines are not switched on at one instant.
            if number > 0 && matches!(event, Happening::Start(_)) {
                let next = world.now().plus(offset / (number + 1));
                world.run_until(next, |_| false);
            }
            world.happen(event);
        }
        let end = world.now().plus(stage.wait);
        world.run_until(end, |_| false);
        seen.push(read(&world, &meter.borrow(), known));
    }
    Ok(seen)
}

/// What keeps a cluster from its rest.
fn restless(world: &World) -> Vec<String> {
    let nodes = (0..world.plan().hosts.len()).filter_map(|host| world.node(host));
    let waiting = nodes.flat_map(|node| {
        let status = node.status();
        let name = status.local_name().to_owned();
        let groups = status.groups().filter(|group| group.owner.is_none());
        groups.map(move |group| format!("{} does not run on {name}: {}", group.key, group.why)).collect::<Vec<_>>()
    });
    waiting.collect()
}

fn read(world: &World, meter: &Meter, known: usize) -> Seen {
    let (now, ground) = (world.now(), &world.ground);
    let since = |at: Instant| at.since(meter.begin);
    let groups = meter.groups.iter().enumerate().map(|(group, gauge)| {
        let has: Vec<usize> = ground.owners(group).collect();
        // An address may answer while a script behind it still starts, and one that runs may not be reached.
        let present = gauge.silent_since.map_or(Duration::ZERO, |since| now.since(since));
        let outage = gauge.longest.max(present).max(ground.longest_gap(now, group));
        let outage_lasts = gauge.silent_since.is_some() || ground.is_silent(group);
        Fate {
            had: gauge.had.clone(),
            served: gauge.served.map(since),
            released: gauge.released.map(since),
            outage,
            outage_lasts,
            overlap: ground.overlap(now, group),
            overlap_lasts: has.len() > 1,
            reasons: gauge.reasons.clone(),
            obstacles: if has.is_empty() { obstacles(world, ground.key(group)) } else { Vec::new() },
            has,
        }
    });
    let others = world.violations[known..].iter().filter(|violation| violation.check != "single owner");
    Seen {
        dead: meter.dead.map(since),
        groups: groups.collect(),
        violations: others.map(|violation| format!("{}: {}", violation.check, violation.what)).collect(),
    }
}

fn obstacles(world: &World, key: &str) -> Vec<(usize, String)> {
    let of = |host: usize| {
        let node = world.node(host)?;
        let group = node.status().groups().find(|group| group.key == key)?;
        let why = match group.why {
            // For how long depends on when somebody looks.
            Why::Minority { .. } => "no majority hears this node".to_owned(),
            why => why.to_string(),
        };
        Some((host, why))
    };
    (0..world.plan().hosts.len()).filter_map(of).collect()
}
