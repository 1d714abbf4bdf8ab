//! One run of one cell, and what is measured in it.
//!
//! The truth is what the scenario did: from the act on, `h1` is not reachable (until pause or partition end), whatever
//! the nodes think. What the nodes think is taken from their own events. A death that is told of a reachable node is a mistake; it
//! lasts until the observer takes the node for living again. The detection time is that of Chen, Toueg and Aguilera:
//! from the act to the beginning of the last suspicion; zero if `h1` was suspected already and stayed so.

use super::grid::{Act, Cell, GROUP};
use crate::check::{Check, Fact, Moment};
use crate::ground::{Ground, Share};
use crate::plan::Plan;
use crate::recording::Detail;
use crate::run::{SETTLE_LIMIT, SETTLE_REST};
use crate::world::World;
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
    /// Violated checks: overlaps that no hazard explains, and whatever else must never be.
    pub violations: u64,
}

/// What the two observers think, beside what is true.
#[derive(Debug, Default)]
struct Meter {
    /// When the act began.
    act: Option<Instant>,
    /// Since when both can hear each other, if they can.
    reachable: Option<Instant>,
    /// Per observer: whether it takes the other for dead.
    suspects: [bool; 2],
    /// Per observer: since when it is wrong.
    wrong: [Option<Instant>; 2],
    /// When `h2` last began to take `h1` for dead while it was not reachable.
    last: Option<Instant>,
    /// When it did so for good.
    detected: Option<Instant>,
    /// When `h2` first served the group after the act.
    served: Option<Instant>,
    mistakes: u64,
    mistaken: Duration,
    observed: Duration,
}

impl Meter {
    fn hear(&mut self, now: Instant, host: usize, event: &Event) {
        let (Some(suspects), Some(wrong)) = (self.suspects.get_mut(host), self.wrong.get_mut(host)) else { return };
        match event {
            Event::NodeDead { .. } => {
                *suspects = true;
                if self.reachable.is_some() {
                    self.mistakes += 1;
                    *wrong = Some(now);
                } else if host == 1 {
                    self.last = Some(now);
                }
            }
            Event::NodeStatus { liveness, .. } if liveness.is_live() => {
                *suspects = false;
                self.mistaken += wrong.take().map_or(Duration::ZERO, |since| now.since(since));
            }
            _ => {}
        }
    }

    /// From now on the two can hear each other, or cannot.
    fn turn(&mut self, now: Instant, reachable: bool) {
        if let Some(since) = self.reachable.take() {
            self.observed += now.since(since) * 2;
            for wrong in &mut self.wrong {
                self.mistaken += wrong.take().map_or(Duration::ZERO, |since| now.since(since));
            }
            self.last = None;
        } else if self.suspects[1] {
            self.detected = self.last.or(self.act);
        }
        self.reachable = reachable.then_some(now);
    }

    /// The act begins, or is undone.
    fn happen(&mut self, now: Instant, ground: &Ground) {
        self.turn(now, self.act.is_some());
        self.act = self.act.or(Some(now));
        // A mistake may have made `h2` serve already.
        self.look_at_group(now, ground);
    }

    fn look_at_group(&mut self, now: Instant, ground: &Ground) {
        let serves = |group| ground.share(group, 1) == Share::All;
        if self.act.is_some() && self.served.is_none() && ground.group(GROUP).is_some_and(serves) {
            self.served = Some(now);
        }
    }
}

/// The meter as the world sees it.
struct Observer(Rc<RefCell<Meter>>);

impl Check for Observer {
    fn name(&self) -> &'static str {
        "the meter of a sweep"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, _: &mut Vec<String>) {
        let mut meter = self.0.borrow_mut();
        match fact {
            Fact::Runs(..) => meter.look_at_group(moment.now, moment.ground),
            Fact::Reported(host, event) => meter.hear(moment.now, *host, event),
            _ => {}
        }
    }
}

/// Runs one seed of a cell. The cell was read before ([`super::plan`]), so that its scenario is known to be good.
pub(crate) fn run(cell: &Cell, seed: u64) -> Row {
    let text = cell.scenario(seed);
    let plan = Plan::parse("cell", &text).unwrap_or_else(|problems| panic!("{}", crate::render_all(&problems, &text)));
    let mut world = World::new(&plan, seed, Detail::Quiet);
    let meter = Rc::new(RefCell::new(Meter::default()));
    world.watch(Box::new(Observer(Rc::clone(&meter))));
    for host in &plan.boot {
        world.happen(&crate::plan::Event::Start(*host));
    }
    world.run_until(world.now().plus(SETTLE_LIMIT), World::is_settled);
    let mut row = Row { seed, settled: world.is_settled(), ..Row::default() };
    if row.settled {
        world.run_until(world.now().plus(SETTLE_REST), |_| false);
        world.begin();
        world.run_until(world.at(cell.warm_up()), |_| false);
        meter.borrow_mut().turn(world.now(), true);
        for (at, _) in &plan.events {
            // The truth changes before anybody can notice.
            world.run_until(world.at(*at).minus(Duration::from_nanos(1)), |_| false);
            meter.borrow_mut().happen(world.at(*at), &world.ground);
        }
        world.run_until(world.at(plan.end), |_| false);
        read(cell, &world, &mut meter.borrow_mut(), &mut row);
    }
    row.steps = world.steps();
    row.digest = world.digest();
    row.violations = world.violations.len() as u64;
    row
}

fn read(cell: &Cell, world: &World, meter: &mut Meter, row: &mut Row) {
    meter.turn(world.now(), false);
    // Who says goodbye is not detected: there is nothing to be suspected.
    let detected = meter.detected.filter(|_| cell.act != Act::Stop);
    row.detection = meter.act.zip(detected).map(|(act, detected)| micros(detected.since(act)));
    row.takeover = meter.act.zip(meter.served).map(|(act, served)| micros(served.since(act)));
    let group = world.ground.group(GROUP);
    row.outage = group.map_or(0, |group| micros(world.ground.longest_gap(world.now(), group)));
    row.overlap = group.map_or(0, |group| micros(world.ground.overlap(world.now(), group)));
    row.mistakes = meter.mistakes;
    row.mistaken = micros(meter.mistaken);
    row.observed = micros(meter.observed);
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
            lasts: None,
            watch: Duration::from_secs(20),
            has_group: true,
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
        let row = run(&Cell { loss: 500_000, ..cell(Act::Quiet) }, 3);
        assert!(row.mistakes > 0 && row.mistaken > 0 && row.mistaken < row.observed, "{row:?}");
    }
}
