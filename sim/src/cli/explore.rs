//! `hbsim explore`: every interleaving of two or three nodes within bounds.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use hb_sim::Plan;
use hb_sim::explore::{Bounds, Explorer, Findings, Limit, Setting};
use hb_sim::plan::Scope;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Explore two or three nodes: all interleavings of delivery, loss, delay, crash, start and wake within a budget of faults.
///
/// The exploration begins when the cluster of FILE has settled, and lasts for `--dead-times`, else until the scenario's
/// `end`. Exit status 0 if everything within the bounds was seen and nothing is wrong, 1 if something is, 2 if the
/// scenario cannot be read or explored, 3 if `--states` ended it early.
#[derive(Args, Debug)]
pub(crate) struct ExploreArgs {
    /// A scenario of two or three nodes; only its configurations and its `end` count.
    file: PathBuf,
    /// End after so many choices; each event that happens and each fault is one.
    #[arg(long)]
    depth: Option<u32>,
    /// The most faults on one path: a frame lost or delayed, a machine crashed, with `--partition` cables cut.
    #[arg(long, default_value_t = 1)]
    faults: u8,
    /// End after this many times the dead time, instead of at the scenario's `end`.
    #[arg(long)]
    dead_times: Option<u32>,
    /// Do not end: explore until every situation was seen.
    #[arg(long, conflicts_with = "dead_times")]
    forever: bool,
    /// Let cables be cut and heal: of a pair all of them; of three nodes those to or from a node, or both, or between two
    /// nodes in one direction or in both.
    #[arg(long)]
    partition: bool,
    /// Threads; the result does not depend on them. As many as the machine has processors unless given.
    #[arg(long)]
    jobs: Option<usize>,
    /// End with so many states, which bounds the memory.
    #[arg(long, default_value_t = 10_000_000)]
    states: u32,
}

impl ExploreArgs {
    /// Explores and prints what was found.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let name = self.file.display().to_string();
        let text = std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {name}"))?;
        let plan = match Plan::parse(&name, &text) {
            Ok(plan) => plan,
            Err(problems) => {
                eprintln!("{}", hb_sim::render_all(&problems, &text));
                return Ok(ExitCode::from(2));
            }
        };
        if !plan.events.is_empty() {
            bail!("{name} says what happens (`at`); an exploration tries everything, so leave that out");
        }
        if plan.scope() != Scope::Ours {
            bail!("{name} has nodes of another program (`model`); exploration clones nodes of ours");
        }
        let explorer = Explorer::new(Setting::new(&plan.configs().cloned().collect::<Vec<_>>())?)?;
        explorer.tell_panics();
        let time = match self.dead_times {
            _ if self.forever => None,
            Some(times) => Some(explorer.dead_time() * times),
            None => Some(plan.end),
        };
        let bounds = Bounds {
            depth: self.depth,
            time,
            faults: self.faults,
            partitions: self.partition,
            states: usize::try_from(self.states)?,
        };
        let jobs = self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        println!("{name}: {}", plan.title);
        let (states, period) = explorer.quiet_cycle();
        println!("  settled; when nothing goes wrong it repeats itself after {states} steps and {period:?}");
        let time = time.map_or_else(|| "without end".to_owned(), |time| format!("{time:?}"));
        println!("  exploring {time} with at most {}{}", faults(self.faults), self.among());
        let begin = Instant::now();
        let findings = explore(&explorer, &bounds, jobs, begin);
        self.print(&findings, begin.elapsed(), jobs);
        Ok(match (&findings.violation, findings.limit) {
            (Some(_), _) => ExitCode::FAILURE,
            (None, Some(Limit::States)) => ExitCode::from(3),
            (None, Some(Limit::Depth) | None) => ExitCode::SUCCESS,
        })
    }

    fn among(&self) -> &'static str {
        if self.partition { ", cables among them" } else { "" }
    }

    fn print(&self, findings: &Findings, took: Duration, jobs: usize) {
        if let Some(violation) = &findings.violation {
            println!("\nVIOLATED: {}, by {} and no shorter way:\n", violation.what, violation.faults.join("; "));
            for line in &violation.timeline {
                println!("{line}");
            }
            println!();
        }
        let seconds = took.as_secs_f64().max(f64::EPSILON);
        let rate = |count: f64| count / seconds;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let (states, steps) = (rate(findings.states as f64), rate(findings.steps as f64));
        println!(
            "  {} states by {} steps in {seconds:.1} s with {jobs} threads: {states:.0} states/s, {steps:.0} steps/s",
            findings.states, findings.steps
        );
        println!("  depth {}, at most {} states open{}", findings.depth, findings.widest, peak_memory());
        match (&findings.violation, findings.limit) {
            (Some(violation), _) => println!("  the shortest way to a violation has {} choices", violation.choices),
            (None, None) => println!("  exhausted: nothing within these bounds violates anything"),
            (None, Some(Limit::Depth)) => {
                println!("  nothing up to this depth violates anything; deeper was not looked");
            }
            (None, Some(Limit::States)) => {
                println!("  NOT exhausted: {} states are the limit, see --states", self.states);
            }
        }
    }
}

fn faults(count: u8) -> String {
    if count == 1 { "1 fault".to_owned() } else { format!("{count} faults") }
}

/// Explores behind a progress bar, which only a terminal shows.
fn explore(explorer: &Explorer, bounds: &Bounds, jobs: usize, begin: Instant) -> Findings {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{elapsed} {spinner} {msg}");
    bar.set_style(style.expect("the template is a constant"));
    let findings = explorer.explore(bounds, jobs, |progress| {
        let states = u64::try_from(progress.states).unwrap_or(u64::MAX);
        let millis = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = states.saturating_mul(1000) / millis;
        bar.set_message(format!("{states} states, {} open, depth {}, {rate}/s", progress.open, progress.depth));
        bar.tick();
    });
    bar.finish_and_clear();
    findings
}

/// The most memory this process has had, where the system tells.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    peak.map_or_else(String::new, |kilobytes| format!(", at most {} MB of memory", kilobytes / 1024))
}
