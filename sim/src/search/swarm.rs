//! Many seeds, in parallel, until a property breaks.
//!
//! The result does not depend on the number of threads: of all seeds that break something the lowest is told, and every
//! lower one has been run.

use super::coverage::{Coverage, Shared};
use super::generate::{self, Promise};
use crate::check::Violation;
use crate::plan::Plan;
use crate::run::play_until_broken;
use crate::world::World;
use hb_core::time::Instant;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One seed of so many is run twice, and must come out the same.
const TWICE_EVERY: u64 = 16;

/// What to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// The least number of nodes; a seed chooses between the two.
    pub least_nodes: usize,
    /// The highest number of nodes.
    pub most_nodes: usize,
    /// What the clusters promise.
    pub promise: Promise,
    /// Threads.
    pub jobs: usize,
}

impl Campaign {
    /// How many nodes the cluster of a seed has: mostly the least, since that is where groups are.
    pub fn nodes(&self, seed: u64) -> usize {
        let spread = self.most_nodes - self.least_nodes + 1;
        match seed % 4 {
            0 => self.least_nodes + usize::try_from(seed / 4).unwrap_or(0) % spread,
            _ => self.least_nodes,
        }
    }

    /// The plan of a seed.
    pub fn plan(&self, seed: u64) -> Plan {
        generate::plan(seed, self.nodes(seed), self.promise)
    }
}

/// What a campaign came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Seeds that were run.
    pub runs: u64,
    /// Time that passed in them.
    pub simulated: Duration,
    /// Which of the states that should occur did, and how often.
    pub coverage: Coverage,
    /// The lowest seed that broke something, and what.
    pub broken: Option<(u64, Violation)>,
}

/// Runs one plan; what broke first, if anything did. A panic is a violation of totality.
pub fn examine(plan: &Plan, seed: u64, coverage: Option<&Shared>) -> (Duration, Option<Violation>) {
    let first = || {
        let prepare = |world: &mut World| {
            if let Some(coverage) = coverage {
                world.watch(Box::new(Shared::clone(coverage)));
            }
        };
        play_until_broken(plan, seed, prepare)
    };
    compare(seed, first, || play_until_broken(plan, seed, |_| {}))
}

/// Judges a run, and for some seeds another that should be the same.
fn compare(seed: u64, first: impl FnOnce() -> World, again: impl FnOnce() -> World) -> (Duration, Option<Violation>) {
    let both = || {
        let world = first();
        let simulated = world.now().since(Instant::ORIGIN);
        if !world.violations.is_empty() || !seed.is_multiple_of(TWICE_EVERY) {
            return (simulated, world.violations.first().cloned());
        }
        let (digest, again) = (world.digest(), again());
        let differs = again.digest() != digest;
        let what = format!("two runs of one seed have digests {digest:016x} and {:016x}", again.digest());
        (simulated, differs.then(|| Violation { check: "determinism", at: again.now(), what }))
    };
    catch_unwind(AssertUnwindSafe(both)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let what = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = what.unwrap_or_else(|| "a panic without words".to_owned());
        (Duration::ZERO, Some(Violation { check: "totality", at: Instant::ORIGIN, what }))
    })
}

/// Runs a campaign; `progress` is told after every run.
pub fn run(campaign: Campaign, progress: impl Fn(u64, &Outcome) + Sync) -> Outcome {
    search(campaign, |seed| campaign.plan(seed), progress)
}

/// Runs the plans that a campaign's seeds become.
fn search(campaign: Campaign, plan: impl Fn(u64) -> Plan + Sync, progress: impl Fn(u64, &Outcome) + Sync) -> Outcome {
    let next = AtomicU64::new(campaign.from);
    let end = campaign.from + campaign.seeds;
    // Seeds from here on need not be run: a lower one broke something.
    let stop = AtomicU64::new(end);
    let total = Mutex::new(Outcome::default());
    let lock = |total: &Mutex<Outcome>, act: &mut dyn FnMut(&mut Outcome)| {
        act(&mut total.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    };
    std::thread::scope(|scope| {
        for _ in 0..campaign.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let coverage = Shared::default();
                    let (simulated, broken) = examine(&plan(seed), seed, Some(&coverage));
                    lock(&total, &mut |total| {
                        total.runs += 1;
                        total.simulated += simulated;
                        total.coverage.add(&coverage.borrow());
                        if let Some(violation) = &broken
                            && total.broken.as_ref().is_none_or(|(known, _)| seed < *known)
                        {
                            stop.fetch_min(seed, Ordering::Relaxed);
                            total.broken = Some((seed, violation.clone()));
                        }
                        progress(seed, total);
                    });
                }
            });
        }
    });
    total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, Fact, Moment};
    use crate::plan::Event;
    use crate::recording::Detail;
    use crate::run::{play, play_watched};

    const PAIR: &str = "base C2\nset auto_failback off\nboot h1 h2\n";

    fn pair(rest: &str) -> Plan {
        Plan::parse("canary", &format!("{PAIR}{rest}")).unwrap()
    }

    /// Every seventh plan breaks its policy.
    fn sevenths(seed: u64) -> Plan {
        let proof = if seed.is_multiple_of(7) { "proof fenced\n" } else { "" };
        pair(&format!("{proof}at {}ms crash h1\nend 8\n", 1000 + seed % 5 * 100))
    }

    fn campaign(from: u64, seeds: u64, jobs: usize) -> Campaign {
        Campaign { from, seeds, least_nodes: 2, most_nodes: 2, promise: Promise::Any, jobs }
    }

    #[test]
    fn two_runs_that_differ_are_seen() {
        let plan = pair("end 3\n");
        let usual = || play(&plan, 16, Detail::Quiet).0;
        let other = || play_watched(&plan, 16, Detail::Quiet, |world| world.happen(&Event::Start(1))).0;
        let (_, found) = compare(16, usual, other);
        assert_eq!(found.map(|violation| violation.check), Some("determinism"));
        assert_eq!(compare(16, usual, usual).1, None);
        assert_eq!(examine(&plan, 16, None).1, None);
    }

    /// Breaks down at the first frame.
    struct Breaks;

    impl Check for Breaks {
        fn name(&self) -> &'static str {
            "breaks"
        }

        fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>, _: &mut Vec<String>) {
            assert!(!matches!(fact, Fact::Arrives(_)), "a frame broke it");
        }
    }

    #[test]
    fn a_panic_is_seen_in_either_run() {
        let plan = pair("end 3\n");
        let usual = || play(&plan, 16, Detail::Quiet).0;
        let breaks = || play_watched(&plan, 16, Detail::Quiet, |world| world.watch(Box::new(Breaks))).0;
        for (_, found) in [compare(16, breaks, usual), compare(16, usual, breaks)] {
            assert_eq!(found.map(|found| (found.check, found.what)), Some(("totality", "a frame broke it".to_owned())));
        }
    }

    /// The same seeds, whoever runs them; and of those that break something the lowest.
    #[test]
    fn the_number_of_threads_changes_nothing() {
        let quiet = [1, 3].map(|jobs| search(campaign(1, 6, jobs), sevenths, |_, _| {}));
        let [one, three] = quiet.map(|outcome| {
            let counts: Vec<_> = outcome.coverage.counts().collect();
            (outcome.runs, outcome.simulated, counts, outcome.coverage.takeovers, outcome.broken)
        });
        assert_eq!(one, three);
        assert_eq!((one.0, one.3, &one.4), (6, 6, &None));
        let broken = [1, 3].map(|jobs| search(campaign(3, 40, jobs), sevenths, |_, _| {}).broken);
        assert_eq!(broken[0], broken[1]);
        assert_eq!(broken[0].as_ref().map(|(seed, found)| (*seed, found.check)), Some((7, "fence before takeover")));
    }
}
