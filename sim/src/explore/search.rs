//! Breadth first, in parallel, with the same result whatever the number of threads.
//!
//! Threads take the states of a block and work out their successors; what is new is then decided by one thread, in the
//! order of states and choices. A successor is dropped if its situation was met before with no fewer faults left and no
//! more time passed, since everything that can follow it then can follow that one. Breadth first, that one's path is no
//! longer either, so the first violation has a shortest path.
//!
//! Situations are told apart by 64 bits: among ten million the chance that two are taken for one is 3 in a million.

use super::choice::Choice;
use super::cluster::Cluster;
use super::setting::{Setting, Unfit};
use super::story;
use crate::timeline::Line;
use hb_core::time::Instant;
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// States whose successors are worked out before it is decided which are new.
const BLOCK: usize = 2048;
/// Steps within which a cluster settles.
const SETTLE_STEPS: usize = 20_000;

/// How far to explore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Choices one after the other: each event that happens, and each fault, is one.
    pub depth: Option<u32>,
    /// Time after the cluster has settled.
    pub time: Option<Duration>,
    /// Faults on one path.
    pub faults: u8,
    /// Whether cables may be cut, which is a fault.
    pub partitions: bool,
    /// States that are kept, at most: each takes 32 bytes, and some kilobytes while its successors are not known.
    pub states: usize,
}

/// Why an exploration ended before every state within its time and faults was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// At this depth.
    Depth,
    /// With this many states.
    States,
}

/// How far an exploration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// States met.
    pub states: usize,
    /// Of these, states whose successors are not known.
    pub open: usize,
    /// Choices one after the other.
    pub depth: u32,
}

/// What an exploration found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Different states: situations with faults left.
    pub states: usize,
    /// Steps that were tried.
    pub steps: u64,
    /// The longest shortest path.
    pub depth: u32,
    /// The most states that waited for their turn at a time.
    pub widest: usize,
    /// What kept it from seeing everything; `None` if nothing did.
    pub limit: Option<Limit>,
    /// The first violation.
    pub violation: Option<Violation>,
}

/// A way to something that should not happen, with no shorter one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What should not have happened.
    pub what: String,
    /// How many choices lead there.
    pub choices: u32,
    /// The faults, in words.
    pub faults: Vec<String>,
    /// What happened on the way.
    pub timeline: Vec<Line>,
}

/// A cluster that has settled, ready to be explored.
pub struct Explorer {
    setting: Setting,
    start: Cluster,
    quiet: (usize, Duration),
    links: Arc<RwLock<Vec<Link>>>,
}

/// How a state was reached: from which, and by what. Together they are the tree of all shortest paths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) parent: u32,
    pub(super) choice: Choice,
}

/// A successor.
struct Candidate {
    choice: Choice,
    cluster: Cluster,
    situation: u64,
    wrong: Option<String>,
}

thread_local! {
    /// The step that this thread works out, for whoever wants to know why it panicked.
    static STEP: Cell<Option<(u32, Choice)>> = const { Cell::new(None) };
}

/// Situations are digests: they need no further hashing.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Situations met, and the least time after which.
#[derive(Default)]
struct Met(HashMap<u64, Instant, BuildHasherDefault<AsItIs>>);

impl Met {
    fn key(situation: u64, faults: u8) -> u64 {
        situation ^ u64::from(faults).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Whether everything that can follow was or will be seen.
    fn covers(&self, situation: u64, cluster: &Cluster, most: u8) -> bool {
        (cluster.faults..=most)
            .any(|faults| self.0.get(&Met::key(situation, faults)).is_some_and(|at| *at <= cluster.now))
    }

    fn add(&mut self, situation: u64, cluster: &Cluster) {
        self.0.insert(Met::key(situation, cluster.faults), cluster.now);
    }
}

impl Explorer {
    /// Lets the cluster settle: until it returns to a situation that it was in before.
    pub fn new(setting: Setting) -> Result<Explorer, Unfit> {
        let (mut cluster, effect) = Cluster::new(&setting, &mut ());
        let mut met: HashMap<u64, (usize, Instant)> = HashMap::new();
        let mut wrong = effect.wrong;
        for step in 0..SETTLE_STEPS {
            let next = cluster.next().filter(|_| wrong.is_none());
            let Some((at, due)) = next else { return Err(Unfit::Restless(wrong.unwrap_or_default())) };
            wrong = cluster.happen(&setting, at, due, &mut ()).wrong;
            if let Some((earlier, since)) = met.insert(cluster.situation(&setting), (step, cluster.now)) {
                let stable = cluster
                    .machines
                    .iter()
                    .flat_map(|machine| &machine.node)
                    .all(|node| node.status().is_stable() && node.status().is_everything_owned());
                let quiet = (step - earlier, cluster.now.since(since));
                return if stable {
                    Ok(Explorer { setting, start: cluster, quiet, links: Arc::default() })
                } else {
                    Err(Unfit::Restless("it repeats itself without being stable".to_owned()))
                };
            }
        }
        Err(Unfit::Restless(format!("no situation came again within {SETTLE_STEPS} steps")))
    }

    /// How many states the settled cluster goes through when nothing goes wrong, and in which time, before they repeat.
    pub fn quiet_cycle(&self) -> (usize, Duration) {
        self.quiet
    }

    /// The longest of the dead times.
    pub fn dead_time(&self) -> Duration {
        self.setting.dead_time()
    }

    /// The settled cluster.
    #[cfg(test)]
    pub(super) fn start(&self) -> &Cluster {
        &self.start
    }

    #[cfg(test)]
    pub(super) fn setting(&self) -> &Setting {
        &self.setting
    }

    /// Makes a panic of a node tell the way there before anything else happens. For programs: it sets the panic hook.
    pub fn tell_panics(&self) {
        let (setting, start, links) = (self.setting.clone(), self.start.clone(), Arc::clone(&self.links));
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Some((parent, choice)) = STEP.take() {
                let links = links.read().unwrap_or_else(PoisonError::into_inner);
                let path = story::path(&links, parent);
                let (_, timeline) = story::tell(&setting, &start, &path);
                for line in timeline {
                    eprintln!("{line}");
                }
                eprintln!("then {choice:?}, and a node panicked:");
            }
            before(panic);
        }));
    }

    /// Explores with `jobs` threads. `watch` is told now and then how far it is.
    pub fn explore(&self, bounds: &Bounds, jobs: usize, mut watch: impl FnMut(&Progress)) -> Findings {
        let mut start = self.start.clone();
        start.faults = bounds.faults;
        let end = bounds.time.map_or(Instant::FAR_FUTURE, |time| start.now.plus(time));
        let mut findings = Findings { states: 1, steps: 0, depth: 0, widest: 1, limit: None, violation: None };
        let mut met = Met::default();
        met.add(start.situation(&self.setting), &start);
        *self.links_mut() = vec![Link { parent: 0, choice: Choice::Go }];
        let mut layer = vec![(0_u32, start)];
        while !layer.is_empty() {
            if bounds.depth.is_some_and(|depth| findings.depth >= depth) {
                findings.limit = Some(Limit::Depth);
                return findings;
            }
            let mut next_layer = Vec::new();
            let mut todo = layer;
            while !todo.is_empty() {
                let block: Vec<(u32, Cluster)> = todo.drain(todo.len().saturating_sub(BLOCK)..).rev().collect();
                let successors = self.expand(&block, end, bounds, &met, jobs);
                // The states before are no longer needed, and the memory of their nodes is.
                let parents: Vec<u32> = block.into_iter().map(|(state, _)| state).collect();
                for (parent, (steps, candidates)) in parents.into_iter().zip(successors) {
                    findings.steps += steps;
                    for candidate in candidates {
                        if let Some(what) = candidate.wrong {
                            findings.depth += 1;
                            findings.violation = Some(self.violation(what, parent, candidate.choice, bounds.faults));
                            return findings;
                        }
                        if met.covers(candidate.situation, &candidate.cluster, bounds.faults) {
                            continue;
                        }
                        if findings.states >= bounds.states {
                            findings.limit = Some(Limit::States);
                            return findings;
                        }
                        met.add(candidate.situation, &candidate.cluster);
                        let state = u32::try_from(findings.states).expect("the bound on states is below this");
                        findings.states += 1;
                        self.links_mut().push(Link { parent, choice: candidate.choice });
                        next_layer.push((state, candidate.cluster));
                    }
                }
                let open = todo.len() + next_layer.len();
                findings.widest = findings.widest.max(open);
                watch(&Progress { states: findings.states, open, depth: findings.depth });
            }
            findings.depth += u32::from(!next_layer.is_empty());
            // Blocks are taken from the back.
            next_layer.reverse();
            layer = next_layer;
        }
        findings
    }

    fn links_mut(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Link>> {
        self.links.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The successors of a block of states, in its order, with the number of steps tried.
    fn expand(
        &self,
        block: &[(u32, Cluster)],
        end: Instant,
        bounds: &Bounds,
        met: &Met,
        jobs: usize,
    ) -> Vec<(u64, Vec<Candidate>)> {
        const SHARE: usize = 32;
        let turn = AtomicUsize::new(0);
        let work = || {
            let mut mine = Vec::new();
            loop {
                let from = turn.fetch_add(SHARE, Ordering::Relaxed);
                let Some(states) = block.get(from..block.len().min(from + SHARE)).filter(|states| !states.is_empty())
                else {
                    return mine;
                };
                for (at, (state, cluster)) in (from..).zip(states) {
                    mine.push((at, self.successors(*state, cluster, end, bounds, met)));
                }
            }
        };
        let mut all: Vec<(usize, (u64, Vec<Candidate>))> = if jobs <= 1 || block.len() <= SHARE {
            work()
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
                threads.into_iter().flat_map(|thread| thread.join().expect("a node does not panic")).collect()
            })
        };
        all.sort_unstable_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, successors)| successors).collect()
    }

    fn successors(
        &self,
        state: u32,
        cluster: &Cluster,
        end: Instant,
        bounds: &Bounds,
        met: &Met,
    ) -> (u64, Vec<Candidate>) {
        let Some(next) = cluster.next().filter(|(at, _)| *at <= end) else { return (0, Vec::new()) };
        let mut candidates = Vec::new();
        let mut steps = 0;
        let mut attempt = |choice| {
            STEP.set(Some((state, choice)));
            let mut after = cluster.clone();
            let effect = after.choose(&self.setting, next, choice, &mut ());
            let situation = after.situation(&self.setting);
            STEP.set(None);
            steps += 1;
            // What is met now will be met when it is decided, too; so this saves work and changes nothing.
            if effect.wrong.is_some() || !met.covers(situation, &after, bounds.faults) {
                candidates.push(Candidate { choice, cluster: after, situation, wrong: effect.wrong.clone() });
            }
            effect
        };
        let effect = attempt(Choice::Go);
        for choice in cluster.alternatives(&self.setting, next.1, &effect, bounds.partitions) {
            attempt(choice);
        }
        (steps, candidates)
    }

    fn violation(&self, what: String, parent: u32, last: Choice, faults: u8) -> Violation {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        let mut path = story::path(&links, parent);
        path.push(last);
        let mut start = self.start.clone();
        start.faults = faults;
        let (faults, timeline) = story::tell(&self.setting, &start, &path);
        Violation { what, choices: u32::try_from(path.len()).unwrap_or(u32::MAX), faults, timeline }
    }
}
