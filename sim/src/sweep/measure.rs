//! One run of one cell, and what is measured in it.
//!
//! The truth is what the scenario did: from the act on, `h1` is not reachable (until a pause ends), whatever the nodes
//! think. What the nodes think is taken from their own events. A death that is told of a reachable node is a mistake; it
//! lasts until the observer takes the node for living again. The detection time is that of Chen, Toueg and Aguilera:
//! from the act to the beginning of the last suspicion; zero if `h1` was suspected already and stayed so.

use super::grid::{Act, Cell, GROUP};
use crate::plan::Plan;
use crate::run::{SETTLE_LIMIT, SETTLE_REST};
use crate::world::{Fact, World};
use hb_core::Event;
use hb_core::time::Instant;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// What one run gave, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The seed of all luck.
    pub seed: u64,
    /// Whether the pair settled at all; if not, nothing was measured.
    pub settled: bool,
    /// From the act until `h2` took `h1` for dead.
    pub detection: Option<u64>,
    /// From the act until the group was served by `h2`.
    pub takeover: Option<u64>,
    /// The longest time in which nobody answered a client.
    pub outage: u64,
    /// How long two nodes ran the group.
    pub overlap: u64,
    /// How often a reachable node was taken for dead.
    pub mistakes: u64,
    /// How long, in all, that lasted.
    pub mistaken: u64,
    /// How long, in all, reachable nodes were observed.
    pub observed: u64,
    /// Steps that the nodes made.
    pub steps: u64,
    /// The digest of the run.
    pub digest: u64,
}

/// What the two observers think.
#[derive(Debug, Default)]
struct Minds {
    reachable: bool,
    /// Per observer: whether it takes the other for dead.
    suspects: [bool; 2],
    /// Per observer: since when it is wrong.
    wrong: [Option<Instant>; 2],
    /// When `h2` last began to take `h1` for dead.
    last: Option<Instant>,
    mistakes: u64,
    mistaken: Duration,
    /// The beginning of the current stretch of reachability.
    since: Instant,
    observed: Duration,
}

impl Minds {
    fn hear(&mut self, fact: &Fact<'_>) {
        let (Some(suspects), Some(wrong)) = (self.suspects.get_mut(fact.host), self.wrong.get_mut(fact.host)) else {
            return;
        };
        match fact.event {
            Event::NodeDead { .. } => {
                *suspects = true;
                if fact.host == 1 {
                    self.last = Some(fact.at);
                }
                if self.reachable {
                    self.mistakes += 1;
                    *wrong = Some(fact.at);
                }
            }
            Event::NodeStatus { liveness, .. } if liveness.is_live() => {
                *suspects = false;
                self.mistaken += wrong.take().map_or(Duration::ZERO, |since| fact.at.since(since));
            }
            _ => {}
        }
    }

    /// From now on `h1` can be heard, or cannot.
    fn turn(&mut self, now: Instant, reachable: bool) {
        if self.reachable {
            self.observed += now.since(self.since) * 2;
            for wrong in &mut self.wrong {
                self.mistaken += wrong.take().map_or(Duration::ZERO, |since| now.since(since));
            }
        }
        self.reachable = reachable;
        self.since = now;
    }
}

/// Runs one seed of a cell. The cell was read before ([`super::plan`]), so that its scenario is known to be good.
pub(crate) fn run(cell: &Cell, seed: u64) -> Row {
    let text = cell.scenario(seed);
    let plan = Plan::parse("cell", &text).unwrap_or_else(|problems| panic!("{}", crate::render_all(&problems, &text)));
    let mut world = World::new(&plan, seed, false);
    let minds = Rc::new(RefCell::new(Minds::default()));
    let listener = Rc::clone(&minds);
    world.set_watcher(Box::new(move |fact| listener.borrow_mut().hear(fact)));
    for host in &plan.boot {
        world.happen(&crate::plan::Event::Start(*host));
    }
    world.run_until(world.now().plus(SETTLE_LIMIT), World::is_settled);
    let mut row = Row { seed, settled: world.is_settled(), ..Row::default() };
    if row.settled {
        world.run_until(world.now().plus(SETTLE_REST), |_| false);
        world.begin();
        watch(cell, &plan, &mut world, &minds, &mut row);
    }
    row.steps = world.steps();
    row.digest = world.digest();
    row
}

fn watch(cell: &Cell, plan: &Plan, world: &mut World, minds: &RefCell<Minds>, row: &mut Row) {
    minds.borrow_mut().turn(world.now(), true);
    let overlap = world.owners.overlap(world.now(), GROUP);
    let mut act: Option<Instant> = None;
    let mut served: Option<Instant> = None;
    for (at, event) in &plan.events {
        let until = world.at(*at);
        go_on(world, until, act, &mut served);
        // The first event is the act, a second one undoes it.
        minds.borrow_mut().turn(world.now(), act.is_some());
        act = act.or(Some(world.now()));
        world.happen(event);
    }
    let end = world.at(plan.end);
    go_on(world, end, act, &mut served);
    let mut minds = minds.borrow_mut();
    minds.turn(world.now(), false);
    if let Some(act) = act.filter(|_| cell.act != Act::Stop) {
        let after = minds.last.filter(|last| *last >= act).map(|last| micros(last.since(act)));
        row.detection = after.or_else(|| minds.suspects[1].then_some(0));
    }
    row.takeover = act.zip(served).map(|(act, served)| micros(served.since(act)));
    row.outage = micros(world.ground.longest_gap(world.now(), GROUP));
    row.overlap = micros(world.owners.overlap(world.now(), GROUP).saturating_sub(overlap));
    row.mistakes = minds.mistakes;
    row.mistaken = micros(minds.mistaken);
    row.observed = micros(minds.observed);
}

/// Runs on, and notes when `h2` serves the group for the first time after the act.
fn go_on(world: &mut World, until: Instant, act: Option<Instant>, served: &mut Option<Instant>) {
    world.run_until(until, |world| {
        if act.is_some() && served.is_none() && world.ground.serves(GROUP, 1) {
            *served = Some(world.now());
        }
        false
    });
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    fn cell(act: Act) -> Cell {
        Cell {
            act,
            keepalive: Duration::from_millis(250),
            deadtime: Duration::from_millis(1125),
            links: 1,
            loss: 0,
            delay: String::new(),
            pause: None,
            watch: Duration::from_secs(20),
        }
    }

    #[test]
    fn a_crash_is_detected_within_a_keepalive_before_the_dead_time() {
        for seed in 1..=10 {
            let row = run(&cell(Act::Crash), seed);
            let detection = row.detection.unwrap();
            assert!((875 * MS..=1126 * MS).contains(&detection), "{row:?}");
            let takeover = row.takeover.unwrap();
            assert!((detection..detection + 100 * MS).contains(&takeover), "{row:?}");
            assert_eq!((row.mistakes, row.overlap, row.settled), (0, 0, true));
            assert!(row.outage.abs_diff(takeover) < 100 * MS, "{row:?}");
        }
    }

    #[test]
    fn a_quiet_pair_without_loss_makes_no_mistake_in_all_the_time_it_is_observed() {
        let row = run(&cell(Act::Quiet), 1);
        assert_eq!((row.detection, row.takeover, row.mistakes, row.outage), (None, None, 0, 0));
        assert_eq!(row.observed, 2 * 20_250 * MS);
    }

    #[test]
    fn a_partition_is_detected_and_has_two_owners_from_then_on() {
        let row = run(&cell(Act::Partition), 3);
        let detection = row.detection.unwrap();
        assert!((875 * MS..=1126 * MS).contains(&detection));
        assert!(row.overlap > 18_000 * MS, "{row:?}");
    }

    #[test]
    fn a_stop_hands_over_without_any_death() {
        let row = run(&cell(Act::Stop), 3);
        assert_eq!((row.detection, row.overlap, row.mistakes), (None, 0, 0));
        assert!(row.takeover.unwrap() < 1000 * MS, "{row:?}");
    }

    #[test]
    fn loss_makes_mistakes_that_end() {
        let row = run(&Cell { loss: 300_000, ..cell(Act::Quiet) }, 3);
        assert!(row.mistakes > 0 && row.mistaken > 0 && row.mistaken < row.observed, "{row:?}");
    }
}
