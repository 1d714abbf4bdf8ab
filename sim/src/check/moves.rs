//! Groups move only for a reason: no flapping, and stickiness.
//!
//! A *move* is a group that one host ran last and another host now starts. Each reason excuses one move of each group:
//! something that the plan let happen, or a silence that ended. With `auto_failback off` a group whose owner lives, is
//! in contact and was not asked stays where it is; with `on` it may only go home. An owner whose packets come
//! late by an eighth of its dead time may give way (OWNERSHIP 4, *deaf peer*): late there and back and seen once in a
//! heartbeat, its echo is too old. Where ipfail runs on both, an owner to which fewer ping nodes answer may leave its groups to
//! one to which more do (CLUSTER e.2); how many answer is seen in the echoes.

use super::{Check, Fact, Moment, release_bound};
use crate::ground::Power;
use crate::plan::{Event, Plan};
use hb_core::Frame;
use hb_core::config::Failback;
use hb_core::ids::MediumId;
use hb_core::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// A request may wait this long for the other side, and the other side may be slow (CLUSTER c.7).
const REQUEST: Duration = Duration::from_secs(25);

/// At most one move per group and reason.
#[derive(Clone, Debug, Default)]
pub struct Flapping {
    happened: u64,
    silences: u64,
    /// By group: who ran it last, and its moves.
    last: Vec<(Option<usize>, u64)>,
}

impl Check for Flapping {
    fn name(&self) -> &'static str {
        "no flapping"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        match fact {
            Fact::Happened(_) | Fact::Calmed => self.happened += 1,
            Fact::Runs(host, resource, true) => {
                self.silences = moment.contact.silences();
                self.last.resize(moment.ground.group_count(), (None, 0));
                for group in of_resource(moment, *resource) {
                    let (last, moves) = &mut self.last[group];
                    if last.replace(*host).is_some_and(|last| last != *host) {
                        *moves += 1;
                        // A reason may move a group away and let it return: the crash of its home, say.
                        let reasons = (self.happened + self.silences) * 2;
                        if *moves > reasons {
                            let key = moment.ground.key(group);
                            found.push(format!("group {key} moved {moves} times for {reasons} reasons at most"));
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// Nothing moves from a node that lives and was not asked, but home.
#[derive(Clone, Debug)]
pub struct Sticky {
    failback: Failback,
    settled: Duration,
    join: Duration,
    /// By receiver and sender: when the last packet came.
    heard: BTreeMap<(usize, usize), Instant>,
    /// By sender: when a packet of it last came late.
    strained: BTreeMap<usize, Instant>,
    /// Whether the rule that makes an owner give way is in force: native, and without a majority.
    gives_way: bool,
    last: Vec<Option<usize>>,
    asked: Option<Instant>,
    /// By host: when its daemon was last told to stop, or something was done to it.
    disturbed: Vec<Option<Instant>>,
    /// By host and ping node: what it was asked with last, and when it last answered.
    pings: BTreeMap<(usize, MediumId), (Frame, Option<Instant>)>,
}

impl Sticky {
    /// The checker of a plan.
    pub fn new(plan: &Plan) -> Sticky {
        let failback = plan.configs().next().map_or(Failback::Off, hb_core::config::Config::failback);
        let hosts = plan.hosts.len();
        let settled = release_bound(plan);
        let join = plan.configs().map(|config| config.timing().initdead()).max().unwrap_or_default();
        let gives_way = plan.configs().all(|config| config.speaks_native() && config.exclusion(None).silence);
        let (heard, strained) = (BTreeMap::new(), BTreeMap::new());
        let (last, asked, disturbed, pings) = (Vec::new(), None, vec![None; hosts], BTreeMap::new());
        Sticky { failback, settled, join, heard, strained, gives_way, last, asked, disturbed, pings }
    }

    fn was_asked(&self, moment: &Moment<'_>) -> bool {
        self.asked.is_some_and(|asked| moment.now.since(asked) < REQUEST + self.settled * 2)
    }

    /// How many ping nodes and groups have answered a host within their dead time; `None` where ipfail does not run.
    fn reach(&self, moment: &Moment<'_>, host: usize) -> Option<usize> {
        let config = &moment.plan.hosts[host].config;
        let deadping = config.timing().deadping();
        let answers = |at: &Option<Instant>| at.is_some_and(|at| moment.now.since(at) <= deadping);
        let all = self.pings.iter().filter(|((of, _), _)| *of == host);
        config.runs_ipfail().then(|| all.filter(|(_, (_, at))| answers(at)).count())
    }

    fn is_connected_worse(&self, moment: &Moment<'_>, last: usize, host: usize) -> bool {
        self.reach(moment, last).zip(self.reach(moment, host)).is_some_and(|(last, host)| last < host)
    }

    /// Whether something that happened lately explains that a group leaves `last`, for `host` if it is another.
    fn excuses(&self, moment: &Moment<'_>, last: usize, host: usize) -> bool {
        let dead_time = |host: usize| moment.plan.hosts[host].config.timing().deadtime();
        let contact = moment.contact.lasts(moment.now, host, last);
        // A node that was started consents to nothing before it has heard or buried everybody.
        let quiet = |host: usize| {
            let long = self.settled * 2 + dead_time(host) * 2 + self.join;
            self.disturbed[host].is_none_or(|at| moment.now.since(at) > long)
        };
        let gave_way =
            self.strained.get(&last).is_some_and(|at| moment.now.since(*at) < self.settled * 2 + dead_time(last) * 2);
        self.gives_way && gave_way
            || contact < self.settled * 2
            || self.was_asked(moment)
            || self.is_connected_worse(moment, last, host)
            || !quiet(last)
            || !quiet(host)
            || moment.ground.power(last) != Power::On
    }
}

impl Check for Sticky {
    fn name(&self) -> &'static str {
        "groups stay"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        match fact {
            Fact::Happened(Event::Standby(..) | Event::Takeover(..)) => self.asked = Some(moment.now),
            Fact::Happened(
                Event::Stop(host) | Event::Kill(host) | Event::Crash(host) | Event::Start(host) | Event::Resume(host),
            ) => self.disturbed[*host] = Some(moment.now),
            Fact::Calmed => self.disturbed.fill(Some(moment.now)),
            Fact::Sent(host, medium, frame) => {
                let is_ping = |medium: &hb_core::config::Medium| medium.kind.is_ping();
                if moment.plan.hosts[*host].config.media().get(medium.index()).is_some_and(is_ping) {
                    let answered = self.pings.get(&(*host, *medium)).and_then(|(_, at)| *at);
                    self.pings.insert((*host, *medium), ((*frame).clone(), answered));
                }
            }
            Fact::Arrives(arrival) if arrival.from == arrival.to => {
                let asked = self.pings.iter_mut().filter(|((of, _), _)| *of == arrival.to);
                for (_, (_, answered)) in asked.filter(|(_, (frame, _))| frame == arrival.frame) {
                    *answered = Some(moment.now);
                }
            }
            Fact::Arrives(arrival) => {
                let before = self.heard.insert((arrival.to, arrival.from), moment.now);
                let timing = moment.plan.hosts[arrival.from].config.timing();
                let late = timing.keepalive() + timing.deadtime() / 8;
                if before.is_some_and(|before| moment.now.since(before) > late) {
                    self.strained.insert(arrival.from, moment.now);
                }
            }
            Fact::Runs(host, resource, true) => {
                self.last.resize(moment.ground.group_count(), None);
                for group in of_resource(moment, *resource) {
                    let Some(last) = self.last[group].replace(*host).filter(|last| last != host) else { continue };
                    let excused = self.excuses(moment, last, *host)
                        || self.failback == Failback::On && is_home(moment, group, *host);
                    if !excused {
                        let (key, from, to) = (moment.ground.key(group), moment.name(last), moment.name(*host));
                        found.push(format!("group {key} went from {from} to {to}, and nobody had asked for it"));
                    }
                }
            }
            Fact::Runs(host, resource, false) => {
                // Of two owners the one that stays is the last.
                for group in of_resource(moment, *resource) {
                    let stays = moment.ground.owners(group).find(|owner| owner != host);
                    // Whom it left for a good reason it may return from at any time later.
                    let others = (0..moment.ground.host_count()).filter(|other| other != host);
                    let left = others.into_iter().any(|other| self.excuses(moment, *host, other));
                    if let Some(last) = self.last.get_mut(group).filter(|last| **last == Some(*host)) {
                        *last = if left { stays } else { stays.or(*last) };
                    }
                }
            }
            _ => {}
        }
    }
}

fn of_resource(moment: &Moment<'_>, resource: usize) -> Vec<usize> {
    let groups = 0..moment.ground.group_count();
    // Only its first resource counts: one move, not one for every resource.
    groups.filter(|group| moment.ground.resources(*group).first() == Some(&resource)).collect()
}

fn is_home(moment: &Moment<'_>, group: usize, host: usize) -> bool {
    let config = &moment.plan.hosts[host].config;
    let key = moment.ground.key(group);
    config.groups().iter().any(|group| group.key == key && group.home == config.local())
}
