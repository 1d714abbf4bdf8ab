//! Lines of ha.cf that prevent two owners: each is added, everything is run again, and what has changed is told.

use super::cluster::Cluster;
use super::experiments::{Experiment, Kind};
use super::files::Files;
use super::outcome::{self, Merged, Outcome};
use std::collections::BTreeSet;
use std::time::Duration;

/// Outages that are longer by less than this are as long as before.
const AS_LONG: Duration = Duration::from_millis(250);
/// In clusters of more nodes only the experiments that had two owners are made again, and power failures for the price.
const ALL_AGAIN_MAX: usize = 6;

/// What prevents two owners.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    /// Every line that was tried.
    pub trials: Vec<Trial>,
}

/// A line that was tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The line.
    pub line: String,
    /// Why the files are refused with it: nothing was run.
    pub refused: Option<String>,
    /// Experiments that had two owners and have not with it.
    pub prevents: Vec<usize>,
    /// Experiments that have two owners with it, too.
    pub leaves: Vec<usize>,
    /// What is worse with it: the event, the group's position, and how.
    pub prices: Vec<Price>,
}

/// Something that is worse with a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price {
    /// What happened.
    pub what: String,
    /// The group.
    pub group: usize,
    /// What was missed before.
    pub before: Duration,
    /// What is missed now; for good if none.
    pub now: Option<Duration>,
}

/// A line to be tried.
pub(super) struct Candidate {
    line: String,
    pub(super) cluster: Option<Cluster>,
    refused: Option<String>,
}

/// The lines that may help; those that stand there already, in effect, change nothing and are no candidates.
pub(super) fn candidates(files: &Files, cluster: &Cluster, script_time: Duration) -> Vec<Candidate> {
    let config = cluster.config();
    let mut lines = Vec::new();
    if config.nodes().len() > 2 && config.settings().quorum.is_none() {
        lines.push("quorum majority".to_owned());
    }
    lines.push("ownership at-most-one".to_owned());
    if let [only] = cluster.interfaces.as_slice() {
        let service = cluster.service_interfaces();
        let usual = (0..3).map(|number| format!("eth{number}"));
        let other = service.iter().cloned().chain(usual).find(|interface| interface != only);
        lines.extend(other.map(|interface| format!("bcast {interface}")));
    }
    if config.nodes().len() > 1 && !config.demands_proof() {
        lines.push(format!("stonith_host * external/ssh {}", cluster.names.join(" ")));
    }
    let candidate = |line: String| {
        let understood = files.understand(Some(&line));
        let error = understood.diagnostics.iter().find(|problem| problem.is_error());
        let refused = error.map(|problem| match &problem.help {
            Some(help) => format!("{}; {help}", problem.message),
            None => problem.message.clone(),
        });
        let cluster = refused.is_none().then(|| Cluster::new(files, understood, script_time));
        Candidate { line, cluster, refused }
    };
    lines.into_iter().map(candidate).collect()
}

/// Tries the lines.
pub(super) fn advise(
    candidates: Vec<Candidate>,
    cluster: &Cluster,
    experiments: &[Experiment],
    phases: u32,
    before: &[Outcome],
    progress: &(dyn Fn(u64) + Sync),
) -> Advice {
    let crowded = overlapping(before);
    let is_asked = |at: &usize| {
        let price = experiments[*at].stages.first().is_some_and(|stage| stage.kind == Kind::Crash);
        cluster.names.len() <= ALL_AGAIN_MAX || crowded.contains(at) || price
    };
    let wanted: BTreeSet<usize> = (0..experiments.len()).filter(is_asked).collect();
    let runs = experiments.len() as u64 * u64::from(phases);
    let (mut advice, mut begun) = (Advice::default(), runs);
    for Candidate { line, cluster: with_line, refused } in candidates {
        let none = || Trial { line: line.clone(), refused: None, prevents: vec![], leaves: vec![], prices: vec![] };
        let Some(with_line) = with_line else {
            advice.trials.push(Trial { refused, ..none() });
            continue;
        };
        debug_assert_eq!(with_line.names, cluster.names);
        let suite = outcome::suite(&with_line, experiments, &wanted, phases, &|done| progress(begun + done));
        begun += runs;
        match suite {
            Ok(after) => {
                let still = overlapping(&after);
                // Where there are two owners all the same, nothing was bought.
                let bought = |outcome: &&Outcome| !still.contains(&outcome.experiment);
                let prices = prices(before, after.iter().filter(bought));
                advice.trials.push(Trial {
                    prevents: crowded.difference(&still).copied().collect(),
                    leaves: still.into_iter().collect(),
                    prices,
                    ..none()
                });
            }
            Err(why) => advice.trials.push(Trial { refused: Some(why.to_string()), ..none() }),
        }
    }
    advice
}

fn overlapping(outcomes: &[Outcome]) -> BTreeSet<usize> {
    outcomes.iter().filter(|outcome| outcome.has_overlap()).map(|outcome| outcome.experiment).collect()
}

/// What is missed longer than before, the worst of each event first.
fn prices<'a>(before: &[Outcome], after: impl Iterator<Item = &'a Outcome>) -> Vec<Price> {
    let mut prices = Vec::new();
    for new in after {
        let is_same = |old: &&Outcome| (old.experiment, &old.what) == (new.experiment, &new.what);
        let Some(old) = before.iter().find(is_same) else { continue };
        for (group, (old, fate)) in old.groups.iter().zip(&new.groups).enumerate() {
            let is_gone = |fate: &Merged| fate.outage_lasts || fate.is_down();
            let what = new.what.clone();
            if is_gone(fate) && !is_gone(old) {
                prices.push(Price { what, group, before: old.outage, now: None });
            } else if !is_gone(old) && fate.outage > old.outage + AS_LONG {
                prices.push(Price { what, group, before: old.outage, now: Some(fate.outage) });
            }
        }
    }
    prices
}
