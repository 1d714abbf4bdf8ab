//! What a configuration will do, before anything runs: `hbsim explain`.
//!
//! Nothing here knows a rule of the cluster. A cluster is built from the real files, nodes and links are taken away from
//! it, and what comes of that is measured on the ground and told with the reasons that the nodes themselves report. The
//! advice is found the same way: a line is added, everything is run again, and the difference is the advice and its price.
//!
//! | file | what |
//! |---|---|
//! | `files.rs` | the three files, read for every node |
//! | `cluster.rs` | machines, cables and clients that fit them; what was assumed |
//! | `experiments.rs` | what is tried |
//! | `measure.rs` | one run of one experiment |
//! | `outcome.rs` | all runs of one experiment together: the worst of each |
//! | `bounds.rs` | what each step may take at most, beside what it took |
//! | `advice.rs` | lines that prevent two owners, and what they cost |
//! | `table.rs`, `tell.rs`, `json.rs` | ... as tables, as sentences, as JSON |

mod advice;
mod bounds;
mod cluster;
mod experiments;
mod files;
pub mod json;
mod measure;
mod outcome;
mod table;
mod tell;

pub use advice::{Advice, Trial};
pub use bounds::Bound;
pub use experiments::{Chapter, Kind};
pub use files::Files;
pub use outcome::{Merged, Outcome};
pub use tell::text;

use cluster::Cluster;
use hb_core::config::{Config, Diagnostic, Group, Resource};
use hb_core::ids::GroupId;
use std::fmt;
use std::time::Duration;

/// More heartbeats of one node than in any cluster that somebody runs; simulating them would take minutes.
const HEARTBEATS_MAX: u128 = 20_000;

/// How an explanation is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often each experiment runs, each time a little later between two heartbeats; 0: by the size of the cluster.
    pub phases: u32,
    /// How long each script takes to start or stop.
    pub script_time: Duration,
}

/// What a configuration will do.
#[derive(Debug)]
pub struct Explanation {
    /// The nodes, in the order of the `node` lines.
    pub nodes: Vec<String>,
    /// The groups' names, short ones where they are unique.
    pub groups: Vec<String>,
    /// The preferred node of each group.
    pub homes: Vec<usize>,
    /// Whether silence is enough to start each group: policy `at-least-one`.
    pub lax: Vec<bool>,
    /// What heartbeats travel by.
    pub interfaces: Vec<String>,
    /// The configuration of the first node.
    pub config: Config,
    /// What was assumed about machines, cables and clients.
    pub assumptions: Vec<String>,
    /// How often each experiment ran.
    pub phases: u32,
    /// What came of each stage of each experiment.
    pub outcomes: Vec<Outcome>,
    /// What each step takes at most.
    pub bounds: Vec<Bound>,
    /// What prevents two owners.
    pub advice: Advice,
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum Unexplained {
    /// The files have errors; they are among the diagnostics.
    #[error("the configuration has errors: nothing can be explained")]
    Errors,
    /// There is nobody to take anything over.
    #[error("{0} is the only node: it runs every group while it lives, and there is nothing else to explain")]
    OneNode(String),
    /// Nothing is managed.
    #[error("haresources has no groups: nothing is started anywhere, and there is nothing to explain")]
    NoGroups,
    /// It would take minutes.
    #[error(
        "from loss to rest {0} heartbeats pass in this configuration, too many to simulate: keepalive {1} ms is very \
         short for deadtime {2} ms and initdead {3} ms"
    )]
    TooLong(u128, u128, u128, u128),
    /// Not even without faults every group gets an owner.
    #[error("with all nodes up the cluster does not come to rest: {}", if .0.is_empty() { "it never says so".to_owned() } else { .0.join("; ") })]
    Restless(Vec<String>),
}

/// Runs everything that is tried with the files and says what came of it; `diagnostics` gets what is wrong with them, and
/// `progress` is told how many runs are done, of how many.
pub fn explain(
    files: &Files,
    options: Options,
    diagnostics: &mut Vec<Diagnostic>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Explanation, Unexplained> {
    let understood = files.understand(None);
    diagnostics.extend(understood.diagnostics.iter().cloned());
    let Some(config) = understood.configs.first().cloned() else { return Err(Unexplained::Errors) };
    refuse(&config)?;
    let cluster = Cluster::new(files, understood, options.script_time);
    let timing = config.timing();
    let heartbeats = experiments::longest(&cluster).as_nanos() / timing.keepalive().as_nanos().max(1);
    if heartbeats > HEARTBEATS_MAX {
        let millis = [timing.keepalive(), timing.deadtime(), timing.initdead()].map(|time| time.as_millis());
        return Err(Unexplained::TooLong(heartbeats, millis[0], millis[1], millis[2]));
    }
    let phases = match (options.phases, cluster.names.len()) {
        (0, ..=3) => 8,
        (0, 4..=6) => 4,
        (0, _) => 1,
        (phases, _) => phases,
    };
    let experiments = experiments::all(&cluster);
    let candidates = advice::candidates(files, &cluster, options.script_time);
    let suites = 1 + candidates.iter().filter(|candidate| candidate.cluster.is_some()).count() as u64;
    let every = (0..experiments.len()).collect();
    let runs = experiments.len() as u64 * u64::from(phases);
    let outcomes = outcome::suite(&cluster, &experiments, &every, phases, &|done| progress(done, runs * suites))?;
    let is_overlapping = outcomes.iter().any(Outcome::has_overlap);
    let advice = if is_overlapping {
        advice::advise(candidates, &cluster, &experiments, phases, &outcomes, &|done| progress(done, runs * suites))
    } else {
        Advice::default()
    };
    let groups = short_names(config.groups());
    let ids = (0..).map(GroupId).take(config.groups().len());
    Ok(Explanation {
        bounds: bounds::bounds(&config, &groups, &outcomes),
        nodes: cluster.names,
        homes: config.groups().iter().map(|group| group.home.index()).collect(),
        lax: ids.map(|group| config.exclusion(Some(group)).silence).collect(),
        groups,
        interfaces: cluster.interfaces,
        assumptions: cluster.assumptions,
        phases,
        outcomes,
        advice,
        config,
    })
}

fn refuse(config: &Config) -> Result<(), Unexplained> {
    match (config.nodes().len(), config.groups().len()) {
        (1, _) => Err(Unexplained::OneNode(config.local_name().to_owned())),
        (_, 0) => Err(Unexplained::NoGroups),
        _ => Ok(()),
    }
}

/// A group by its address alone, if no other group begins with it.
fn short_names(groups: &[Group]) -> Vec<String> {
    let short = |group: &Group| match group.resources.first() {
        Some(Resource::Address(address)) => address.address.to_string(),
        _ => group.key.clone(),
    };
    let is_unique = |name: &str| groups.iter().filter(|group| short(group) == name).count() == 1;
    groups.iter().map(|group| Some(short(group)).filter(|name| is_unique(name)).unwrap_or(group.key.clone())).collect()
}

/// A span as people read it: three figures will do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brief(pub(super) Duration);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let seconds = self.0.as_secs_f64();
        let text = match micros {
            0 => "0 s".to_owned(),
            1..10_000 => format!("{:.1} ms", seconds * 1000.0),
            10_000..1_000_000 => format!("{} ms", micros / 1000),
            1_000_000..100_000_000 => {
                let text = format!("{seconds:.2}");
                format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
            }
            _ => format!("{seconds:.0} s"),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_three_figures_or_so() {
        for (micros, text) in [
            (0, "0 s"),
            (300, "0.3 ms"),
            (45_900, "45 ms"),
            (2_990_000, "2.99 s"),
            (20_000_000, "20 s"),
            (10_030_000, "10.03 s"),
            (360_000_000, "360 s"),
        ] {
            assert_eq!(Brief(Duration::from_micros(micros)).to_string(), text);
        }
    }
}
