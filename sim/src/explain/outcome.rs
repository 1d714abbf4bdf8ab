//! All runs of one experiment together: of every time the longest, of every place all that came up.

use super::Unexplained;
use super::cluster::Cluster;
use super::experiments::{Chapter, Experiment, Kind};
use super::measure::{self, Fate, Seen};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What came of a stage of an experiment.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which experiment.
    pub experiment: usize,
    /// Where it is told.
    pub chapter: Chapter,
    /// What it is about.
    pub kind: Kind,
    /// What happened.
    pub what: String,
    /// From the event until the last verdict that a node is dead.
    pub dead: Option<Duration>,
    /// What became of each group, by position.
    pub groups: Vec<Merged>,
    /// Properties that did not hold, beside that of one owner: mistakes of Heartbeat, not of the configuration.
    pub violations: Vec<String>,
}

/// What became of a group in all runs.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The nodes that ran it before; in the first run, if runs differ.
    pub had: Vec<usize>,
    /// The nodes that have it at the end: each way it ended.
    pub ends: Vec<Vec<usize>>,
    /// From the event until a node ran it that had not.
    pub served: Option<Duration>,
    /// From the event until whoever gave it up had done so.
    pub released: Option<Duration>,
    /// How long clients, or anybody, missed it.
    pub outage: Duration,
    /// Whether they still do at the end.
    pub outage_lasts: bool,
    /// How long several nodes had it.
    pub overlap: Duration,
    /// Whether they still do at the end.
    pub overlap_lasts: bool,
    /// The run that is told: the worst.
    pub(super) told: Fate,
}

impl Outcome {
    /// Whether some group had two owners.
    pub fn has_overlap(&self) -> bool {
        self.groups.iter().any(|group| !group.overlap.is_zero())
    }
}

impl Merged {
    fn new(fate: &Fate) -> Merged {
        Merged {
            had: fate.had.clone(),
            ends: vec![fate.has.clone()],
            served: fate.served,
            released: fate.released,
            outage: fate.outage,
            outage_lasts: fate.outage_lasts,
            overlap: fate.overlap,
            overlap_lasts: fate.overlap_lasts,
            told: fate.clone(),
        }
    }

    fn add(&mut self, fate: &Fate) {
        let weight = |fate: &Fate| (fate.overlap, fate.outage_lasts, fate.outage, fate.served);
        if weight(fate) > weight(&self.told) {
            self.told = fate.clone();
        }
        if !self.ends.contains(&fate.has) {
            self.ends.push(fate.has.clone());
        }
        self.served = self.served.max(fate.served);
        self.released = self.released.max(fate.released);
        self.outage = self.outage.max(fate.outage);
        self.outage_lasts |= fate.outage_lasts;
        self.overlap = self.overlap.max(fate.overlap);
        self.overlap_lasts |= fate.overlap_lasts;
    }

    /// Whether nothing became of it: it stays where it was, and nobody misses it.
    pub fn is_untouched(&self) -> bool {
        self.ends == [self.had.clone()] && self.served.is_none() && self.outage.is_zero() && self.overlap.is_zero()
    }

    /// Whether no node has it at the end, in some run.
    pub fn is_down(&self) -> bool {
        self.ends.iter().any(Vec::is_empty)
    }
}

/// Runs those experiments that are `wanted`, each so often; `progress` is told how many runs are done.
pub(super) fn suite(
    cluster: &Cluster,
    experiments: &[Experiment],
    wanted: &BTreeSet<usize>,
    phases: u32,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Outcome>, Unexplained> {
    let done = AtomicU64::new(0);
    let jobs: Vec<(usize, u32)> = wanted.iter().flat_map(|at| (0..phases).map(move |it| (*at, it))).collect();
    // In the order of the jobs, whoever runs them.
    let seen: Vec<Result<Vec<Seen>, Vec<String>>> = jobs
        .par_iter()
        .map(|(at, phase)| {
            let seen = measure::run(cluster, &experiments[*at], *phase, phases);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            seen
        })
        .collect();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for ((at, phase), stages) in jobs.into_iter().zip(seen) {
        let stages = stages.map_err(Unexplained::Restless)?;
        let begin = if phase == 0 { outcomes.len() } else { outcomes.len() - stages.len() };
        for (number, seen) in stages.iter().enumerate() {
            match outcomes.get_mut(begin + number) {
                None => outcomes.push(first(at, &experiments[at], number, seen)),
                Some(outcome) => outcome.add(seen),
            }
        }
    }
    Ok(outcomes)
}

fn first(at: usize, experiment: &Experiment, number: usize, seen: &Seen) -> Outcome {
    let stage = &experiment.stages[number];
    Outcome {
        experiment: at,
        chapter: experiment.chapter,
        kind: stage.kind,
        what: stage.what.clone(),
        dead: seen.dead,
        groups: seen.groups.iter().map(Merged::new).collect(),
        violations: seen.violations.clone(),
    }
}

impl Outcome {
    fn add(&mut self, seen: &Seen) {
        self.dead = self.dead.max(seen.dead);
        for (merged, fate) in self.groups.iter_mut().zip(&seen.groups) {
            merged.add(fate);
        }
        for violation in &seen.violations {
            if !self.violations.contains(violation) {
                self.violations.push(violation.clone());
            }
        }
    }
}
