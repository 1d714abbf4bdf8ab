//! Exploration: what it finds, what it does not, and that different ways meet.

use super::choice::Choice;
use super::cluster::{Cluster, Due};
use super::search::{Bounds, Explorer, Limit};
use super::setting::{Setting, Unfit};
use crate::plan::Plan;
use hb_core::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

const PAIR: &str = include_str!("../../explore/pair.hbs");
const FENCED: &str = include_str!("../../explore/fenced.hbs");
const QUORUM: &str = include_str!("../../explore/quorum.hbs");

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
    cluster: Cluster,
}

impl<'e> Walk<'e> {
    fn new(explorer: &'e Explorer) -> Walk<'e> {
        let mut cluster = explorer.start().clone();
        cluster.faults = 9;
        Walk { explorer, cluster }
    }

    fn choose(&mut self, choice: Choice) {
        let next = self.cluster.next().unwrap();
        let effect = self.cluster.choose(self.explorer.setting(), next, choice, &mut ());
        assert_eq!(effect.wrong, None);
    }

    /// Goes on until the next thing that is due is a frame for `host`.
    fn go_to_frame_for(mut self, host: usize) -> Self {
        while !matches!(self.cluster.next(), Some((_, Due::Frame { host: to, .. })) if to == host) {
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
        while self.cluster.next().is_some_and(|(at, _)| at <= end) {
            self.choose(Choice::Go);
        }
        self.cluster.now = end;
        self
    }

    /// How many resources run on each machine.
    fn running(&self) -> Vec<u32> {
        self.cluster.machines.iter().map(|machine| machine.running.count_ones()).collect()
    }

    fn situation(&self) -> u64 {
        self.cluster.situation(self.explorer.setting())
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

/// With a third node messages tell of others, and that counts in a situation for as long as it may decide something.
#[test]
fn of_three_two_ways_to_the_same_situation_meet() {
    let explorer = explorer(QUORUM);
    // As long as any rule looks back, and beyond the next acknowledgement.
    let late = Duration::from_secs(25);
    let straight = Walk::new(&explorer).until(late).situation();
    for host in 0..3 {
        let lost = Walk::new(&explorer).go_to_frame_for(host).then(Choice::Lose);
        let came = Walk::new(&explorer).go_to_frame_for(host).then(Choice::Go);
        assert_ne!(lost.situation(), came.situation());
        assert_eq!(lost.until(late).situation(), straight, "a frame for {host} was lost, asked for and came");
        let delayed = Walk::new(&explorer).go_to_frame_for(host).then(Choice::Delay).then(Choice::Go);
        assert_eq!(delayed.then(Choice::Arrive(0)).until(late).situation(), straight, "a frame for {host} came late");
    }
    let much_later = explorer.quiet_cycle().1 * 3 + late;
    assert_eq!(Walk::new(&explorer).until(much_later).situation(), straight, "at another time");
    // Each cut is a situation of its own, from the first frame that it keeps back on and when it has healed.
    let cuts = 0..u8::try_from(explorer.setting().cuts().len()).unwrap();
    let cut = |at| Walk::new(&explorer).then(Choice::Cut(at)).until(Duration::from_millis(1500));
    let mut met: Vec<u64> = cuts.clone().map(|at| cut(at).situation()).collect();
    met.extend(cuts.map(|at| cut(at).then(Choice::Heal).situation()));
    met.sort_unstable();
    met.dedup();
    assert_eq!(met.len(), 2 * explorer.setting().cuts().len());
}

/// What each choice leads to; nothing where luck is involved.
type Future = Vec<Option<(u64, bool)>>;

/// By each choice another situation, and the states of these.
fn future(explorer: &Explorer, cluster: &Cluster, next: (Instant, Due)) -> (Future, Vec<Cluster>) {
    let mut future = Vec::new();
    let mut after = Vec::new();
    let mut choices = vec![Choice::Go];
    let mut at = 0;
    while let Some(choice) = choices.get(at).copied() {
        at += 1;
        let mut successor = cluster.clone();
        let effect = successor.choose(explorer.setting(), next, choice, &mut ());
        if choice == Choice::Go {
            choices.extend(cluster.alternatives(explorer.setting(), next.1, &effect, true));
        }
        // When a gap is asked about is left to luck, which is no part of a situation. Of three nodes a lost message counts as
        // it stands, with the time at which it was sent.
        let machines = &successor.machines;
        let is_as_it_stands = machines.len() > 2 && choice == Choice::Lose;
        let is_lucky = (0..machines.len()).any(|other| {
            let mut heard = machines.iter().filter_map(|machine| machine.heard(other));
            heard.any(|heard| heard.newest.is_some_and(|newest| heard.lowest_open < newest))
        });
        let situation = successor.situation(explorer.setting());
        future.push((!is_lucky && !is_as_it_stands).then_some((situation, effect.wrong.is_some())));
        after.push(successor);
    }
    (future, after)
}

#[test]
fn the_same_situation_has_the_same_future() {
    let explorer = explorer(PAIR);
    // Long enough for a crash, the takeover, the return and the failback.
    let end = explorer.start().now.plus(explorer.dead_time() * 4);
    let mut start = explorer.start().clone();
    start.faults = 1;
    // Every situation and what follows from it.
    let mut futures: BTreeMap<(u64, u8), Future> = BTreeMap::new();
    let mut todo = vec![start];
    let mut met_again = 0;
    while let Some(cluster) = todo.pop() {
        let Some(next) = cluster.next().filter(|(at, _)| *at <= end) else { continue };
        let (future, after) = future(&explorer, &cluster, next);
        let situation = (cluster.situation(explorer.setting()), cluster.faults);
        if let Some(known) = futures.get(&situation) {
            assert_eq!(*known, future, "at {:?}", cluster.now);
            met_again += 1;
        } else {
            futures.insert(situation, future);
            todo.extend(after);
        }
    }
    assert!(met_again > 500, "{met_again} met again");
}

/// Detours of a message that was late or lost and of cables that were cut for a moment, until the quiet way is met again.
#[test]
fn of_three_the_same_situation_has_the_same_future() {
    let explorer = explorer(QUORUM);
    let (steps, _) = explorer.quiet_cycle();
    let mut quiet: BTreeMap<u64, Cluster> = BTreeMap::new();
    let mut walk = Walk::new(&explorer);
    for _ in 0..2 * steps {
        walk.choose(Choice::Go);
        quiet.insert(walk.situation(), walk.cluster.clone());
    }
    let cuts = u8::try_from(explorer.setting().cuts().len()).unwrap();
    let mut detours = vec![vec![Choice::Lose], vec![Choice::Delay, Choice::Go, Choice::Arrive(0)]];
    let healed = |at| [vec![Choice::Cut(at)], vec![Choice::Go; 7], vec![Choice::Heal]].concat();
    detours.extend((0..cuts).map(healed));
    let mut met_again = 0;
    for (nth, detour) in detours.iter().cycle().take(detours.len() * 2).enumerate() {
        let mut walk = Walk::new(&explorer);
        (0..nth * 3 % steps).for_each(|_| walk.choose(Choice::Go));
        walk = walk.go_to_frame_for(nth % 3);
        for choice in detour {
            walk.choose(*choice);
        }
        // Long enough for everything to be forgotten.
        for _ in 0..3 * steps {
            walk.choose(Choice::Go);
            if let Some(known) = quiet.get(&walk.situation()) {
                let what_follows = |cluster: &Cluster| future(&explorer, cluster, cluster.next().unwrap()).0;
                assert_eq!(what_follows(&walk.cluster), what_follows(known), "after {detour:?}");
                met_again += 1;
                break;
            }
        }
    }
    assert!(met_again > detours.len(), "{met_again} met again");
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
    assert_eq!(walk.running(), [0, 1]);
}

#[test]
fn three_quiet_nodes_have_few_situations() {
    let explorer = explorer(QUORUM);
    let (steps, period) = explorer.quiet_cycle();
    // Ten heartbeats of each, which take three steps, and the acknowledgements of each tenth by two, which take two.
    assert_eq!((steps, period), (102, Duration::from_secs(10)));
    let forever = explorer.explore(&Bounds { time: None, partitions: true, ..bounds(0, 0) }, 1, |_| {});
    assert_eq!((forever.states, forever.limit, forever.violation), (102, None, None));
}

/// How many choices lead three nodes to two owners where silence is the proof.
const TWO_BY_SILENCE: u32 = 31;

#[test]
fn of_three_the_shortest_way_to_two_owners_by_silence_is_a_node_cut_off() {
    let explorer = explorer(&QUORUM.replace("  quorum majority\n", ""));
    let violation = explorer.explore(&Bounds { partitions: true, ..bounds(1, 10) }, 2, |_| {}).violation;
    let violation = violation.expect("silence proves nothing");
    assert_eq!(violation.what, "group 10.77.0.100/24/eth0 has two owners");
    assert_eq!((violation.choices, &*violation.faults), (TWO_BY_SILENCE, &["cut h2 off".to_owned()][..]));
    let has = |phrase: &str| violation.timeline.iter().any(|line| line.what.contains(phrase));
    assert!(has("two owners are possible: h1 is silent and may still run it"), "{:?}", violation.timeline);
}

/// The same three with one line more, a little deeper; two whole dead times are for a release build (`.ci/run`).
#[test]
fn a_majority_leaves_no_short_way_to_two_owners() {
    let explorer = explorer(QUORUM);
    let bounds = Bounds { partitions: true, depth: Some(TWO_BY_SILENCE + 2), ..bounds(1, 10) };
    let findings = explorer.explore(&bounds, 2, |_| {});
    assert_eq!((&findings.violation, findings.limit), (&None, Some(Limit::Depth)));
    // Not because nothing is ever taken: whoever has lost the majority gives up what another then has.
    for choice in [Choice::Crash, Choice::Cut(0)] {
        let walk = Walk::new(&explorer).go_to_frame_for(0).then(choice).until(Duration::from_secs(6));
        assert_eq!(walk.running(), [0, 1, 0]);
    }
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
fn what_is_neither_two_nor_three_nodes_is_refused() {
    let nodes = |line: &str| PAIR.replace("node h1 h2", line).replace("  h1 10.77.0.100/24/eth0\n", "");
    assert_eq!(setting(&nodes("node h1")).err(), Some(Unfit::Nodes(1)));
    assert_eq!(setting(&nodes("node h1 h2 h3 h4")).err(), Some(Unfit::Nodes(4)));
    assert!(Unfit::Nodes(4).to_string().ends_with("takes two or three nodes, the scenario has 4"));
    // No line with an address of the third one.
    assert_eq!(setting(&nodes("node h1 h2 h3")).err(), None, "it is heard, and hears nobody");
    let deaf = PAIR.replace("ucast eth1 10.77.1.1\n", "").replace("10.77.1.2", "10.77.1.9");
    assert_eq!(setting(&deaf).err(), Some(Unfit::NoCommonMedium("h1".to_owned())));
}
