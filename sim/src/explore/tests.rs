//! Exploration: what it finds, what it does not, and that different ways meet.

use super::choice::Choice;
use super::pair::{Due, Pair};
use super::search::{Bounds, Explorer, Limit};
use super::setting::{Setting, Unfit};
use crate::plan::Plan;
use std::collections::BTreeMap;
use std::time::Duration;

const PAIR: &str = include_str!("../../explore/pair.hbs");
const FENCED: &str = include_str!("../../explore/fenced.hbs");

fn setting(text: &str) -> Result<Setting, Unfit> {
    let plan = Plan::parse("pair.hbs", text).unwrap_or_else(|problems| panic!("{problems:?}"));
    Setting::new(&plan.configs().cloned().collect::<Vec<_>>())
}

fn explorer(text: &str) -> Explorer {
    Explorer::new(setting(text).unwrap()).unwrap()
}

fn bounds(faults: u8, seconds: u64) -> Bounds {
    let time = Some(Duration::from_secs(seconds));
    Bounds { depth: None, time, faults, partitions: false, states: 1_000_000 }
}

/// A pair that is led by hand.
struct Walk<'e> {
    explorer: &'e Explorer,
    pair: Pair,
}

impl<'e> Walk<'e> {
    fn new(explorer: &'e Explorer) -> Walk<'e> {
        let mut pair = explorer.start().clone();
        pair.faults = 9;
        Walk { explorer, pair }
    }

    fn choose(&mut self, choice: Choice) {
        let next = self.pair.next().unwrap();
        let effect = self.pair.choose(self.explorer.setting(), next, choice, &mut ());
        assert_eq!(effect.wrong, None);
    }

    /// Goes on until the next thing that is due is a frame for `host`.
    fn go_to_frame_for(mut self, host: usize) -> Self {
        while !matches!(self.pair.next(), Some((_, Due::Frame { host: to, .. })) if to == host) {
            self.choose(Choice::Go);
        }
        self
    }

    fn then(mut self, choice: Choice) -> Self {
        self.choose(choice);
        self
    }

    /// Goes on to so long after the start.
    fn until(mut self, span: Duration) -> Self {
        let end = self.explorer.start().now.plus(span);
        while self.pair.next().is_some_and(|(at, _)| at <= end) {
            self.choose(Choice::Go);
        }
        self.pair.now = end;
        self
    }

    fn situation(&self) -> u64 {
        self.pair.situation(self.explorer.setting())
    }
}

#[test]
fn a_quiet_pair_has_few_situations() {
    let explorer = explorer(PAIR);
    let (steps, period) = explorer.quiet_cycle();
    // Ten heartbeats of each, which take two steps, and two acknowledgements, which take one.
    assert_eq!((steps, period), (42, Duration::from_secs(10)));
    let forever = explorer.explore(&Bounds { time: None, ..bounds(0, 0) }, 1, |_| {});
    assert_eq!((forever.states, forever.limit), (42, None));
    assert_eq!(forever.violation, None);
}

#[test]
fn two_ways_to_the_same_situation_meet() {
    let explorer = explorer(PAIR);
    // Beyond the next acknowledgement.
    let late = Duration::from_secs(15);
    let straight = Walk::new(&explorer).until(late).situation();
    let lost = Walk::new(&explorer).go_to_frame_for(1).then(Choice::Lose);
    assert_ne!(lost.situation(), Walk::new(&explorer).go_to_frame_for(1).then(Choice::Go).situation());
    assert_eq!(lost.until(late).situation(), straight, "a lost frame was asked for and came");
    let delayed = Walk::new(&explorer).go_to_frame_for(1).then(Choice::Delay).then(Choice::Go);
    assert_eq!(delayed.then(Choice::Arrive(0)).until(late).situation(), straight, "a delayed frame came");
    let much_later = explorer.quiet_cycle().1 * 3 + late;
    assert_eq!(Walk::new(&explorer).until(much_later).situation(), straight, "at another time");
    let late = Duration::from_mins(2);
    let crashed = |first: usize| Walk::new(&explorer).go_to_frame_for(first).then(Choice::Crash);
    assert_ne!(crashed(0).until(late).situation(), crashed(1).until(late).situation());
}

/// What each choice leads to; nothing where luck is involved.
type Future = Vec<Option<(u64, bool)>>;

#[test]
fn the_same_situation_has_the_same_future() {
    let explorer = explorer(PAIR);
    let end = explorer.start().now.plus(explorer.dead_time() * 4);
    let mut start = explorer.start().clone();
    start.faults = 1;
    // Long enough for a crash, the takeover, the return and the failback.
    // Every situation and what follows from it: by each choice another situation.
    let mut futures: BTreeMap<(u64, u8), Future> = BTreeMap::new();
    let mut todo = vec![start];
    let (mut met_again, mut steps) = (0, 0);
    while let Some(pair) = todo.pop() {
        let Some(next) = pair.next().filter(|(at, _)| *at <= end) else { continue };
        let mut future = Vec::new();
        let mut after = Vec::new();
        let mut choices = vec![Choice::Go];
        let mut at = 0;
        while let Some(choice) = choices.get(at).copied() {
            at += 1;
            let mut successor = pair.clone();
            let effect = successor.choose(explorer.setting(), next, choice, &mut ());
            if choice == Choice::Go {
                choices.extend(pair.alternatives(next.1, &effect, true));
            }
            // When a gap is asked about is left to luck, which is no part of a situation.
            let is_lucky = |host: usize| {
                let heard = successor.machines[host].heard(1 - host);
                heard.is_some_and(|heard| heard.newest.is_some_and(|newest| heard.lowest_open < newest))
            };
            let situation = successor.situation(explorer.setting());
            future.push((!is_lucky(0) && !is_lucky(1)).then_some((situation, effect.wrong.is_some())));
            after.push(successor);
            steps += 1;
        }
        let situation = (pair.situation(explorer.setting()), pair.faults);
        if let Some(known) = futures.get(&situation) {
            assert_eq!(*known, future, "at {:?} by {choices:?}", pair.now);
            met_again += 1;
        } else {
            futures.insert(situation, future);
            todo.extend(after);
        }
    }
    assert!(met_again > 500, "{met_again} met again of {steps}");
}

#[test]
fn the_shortest_way_to_two_owners_is_a_partition_that_outlasts_the_dead_time() {
    let explorer = explorer(PAIR);
    let bounds = Bounds { partitions: true, ..bounds(1, 6) };
    let violation = explorer.explore(&bounds, 1, |_| {}).violation.expect("silence proves nothing");
    assert_eq!(violation.what, "group 10.77.0.100/24/eth0 has two owners");
    assert_eq!(violation.faults, ["cut all cables"]);
    let has = |phrase: &str| violation.timeline.iter().any(|line| line.what.contains(phrase));
    assert!(has("node h1: is dead (silent for 3000 ms, its dead time is 3000 ms)"), "{:?}", violation.timeline);
    assert!(has("10.77.0.100/24/eth0 runs on h2"));
    assert!(!has("runs on h1"), "it ran there from the start");
    // No shorter way: everything up to one choice less is fine.
    let shorter = explorer.explore(&Bounds { depth: Some(violation.choices - 1), ..bounds }, 1, |_| {});
    assert_eq!((shorter.violation, shorter.limit), (None, Some(Limit::Depth)));
}

/// The same cut, and everything else that may happen beside a reset: one of them shoots, the other does not.
#[test]
fn devices_leave_no_way_to_two_owners() {
    let explorer = explorer(FENCED);
    let partitions = Bounds { partitions: true, ..bounds(1, 6) };
    let findings = explorer.explore(&partitions, 2, |_| {});
    assert_eq!((&findings.violation, findings.limit), (&None, None));
    assert!(findings.states > 3000, "{}", findings.states);
    // Not because nothing is ever taken: with the owner gone the other has it after the reset.
    let walk = Walk::new(&explorer).go_to_frame_for(0).then(Choice::Crash).until(Duration::from_secs(6));
    assert_eq!(walk.pair.machines.map(|machine| machine.running.count_ones()), [0, 1]);
}

#[test]
fn a_settled_pair_survives_one_fault_and_threads_change_nothing() {
    let explorer = explorer(PAIR);
    let alone = explorer.explore(&bounds(1, 3), 1, |_| {});
    assert_eq!((&alone.violation, alone.limit), (&None, None));
    assert!(alone.states > 500, "{}", alone.states);
    assert_eq!(explorer.explore(&bounds(1, 3), 3, |_| {}), alone);
    let partitions = Bounds { partitions: true, ..bounds(1, 6) };
    assert_eq!(explorer.explore(&partitions, 3, |_| {}), explorer.explore(&partitions, 1, |_| {}));
}

#[test]
fn a_limit_on_states_is_kept_and_told() {
    let mut told = Vec::new();
    let limited = Bounds { states: 100, ..bounds(1, 3) };
    let findings = explorer(PAIR).explore(&limited, 1, |progress| told.push(*progress));
    assert_eq!((findings.states, findings.limit), (100, Some(Limit::States)));
    assert!(told.last().is_some_and(|progress| progress.states <= 100));
}

#[test]
fn what_is_no_pair_is_refused() {
    assert_eq!(setting(&PAIR.replace("node h1 h2", "node h1")).err(), Some(Unfit::NotAPair(1)));
    let three = PAIR.replace("node h1 h2", "node h1 h2 h3").replace("  h1 10.77.0.100/24/eth0\n", "");
    assert_eq!(setting(&three).err(), Some(Unfit::NotAPair(3)));
    let deaf = PAIR.replace("ucast eth1 10.77.1.1\n", "").replace("10.77.1.2", "10.77.1.9");
    assert_eq!(setting(&deaf).err(), Some(Unfit::NoCommonMedium));
}
