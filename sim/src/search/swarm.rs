//! Many seeds, in parallel, until a property breaks.
//!
//! The result does not depend on the number of threads: of all seeds that break something the lowest is told, and every
//! lower one has been run.

use super::coverage::{Coverage, Shared};
use super::generate;
use crate::check::Violation;
use crate::plan::Plan;
use crate::recording::Detail;
use crate::run::play_watched;
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
        generate::plan(seed, self.nodes(seed))
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
    let run = || {
        let (world, _) = play_watched(plan, seed, Detail::Quiet, |world| {
            if let Some(coverage) = coverage {
                world.watch(Box::new(Shared::clone(coverage)));
            }
        });
        let first = world.violations.first().cloned();
        (world.now().since(Instant::ORIGIN), world.digest(), first)
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok((simulated, digest, None)) if seed.is_multiple_of(TWICE_EVERY) => {
            let (again, _) = play_watched(plan, seed, Detail::Quiet, |_| {});
            let differs = again.digest() != digest;
            let what = format!("two runs of one seed have digests {digest:016x} and {:016x}", again.digest());
            (simulated, differs.then(|| Violation { check: "determinism", at: again.now(), what }))
        }
        Ok((simulated, _, first)) => (simulated, first),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let what = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let what = what.unwrap_or_else(|| "a panic without words".to_owned());
            (Duration::ZERO, Some(Violation { check: "totality", at: Instant::ORIGIN, what }))
        }
    }
}

/// Runs a campaign; `progress` is told after every run.
pub fn run(campaign: Campaign, progress: impl Fn(u64, &Outcome) + Sync) -> Outcome {
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
                    let (simulated, broken) = examine(&campaign.plan(seed), seed, Some(&coverage));
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
