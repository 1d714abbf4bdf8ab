//! `hbsim swarm`: random search, and what it found made small.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use hb_sim::Detail;
use hb_sim::search::generate::{Promise, describe};
use hb_sim::search::shrink::shrink;
use hb_sim::search::swarm::{Campaign, Outcome, run};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Lines of the timeline before and after a violation.
const BEFORE: usize = 40;
const AFTER: usize = 5;
const YEAR: f64 = 365.25 * 86_400.0;

#[derive(Args, Debug)]
pub(crate) struct SwarmArgs {
    /// How many seeds to run; each is one plan of at least ten minutes, with at least five faults.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many nodes the clusters have: one number, or LEAST..MOST, from 2 to 6.
    #[arg(long, default_value = "2..3", value_parser = parse_nodes)]
    nodes: (usize, usize),
    /// Only clusters that promise at most one owner: pairs with fencing devices, larger ones with a majority, and a guard and a
    /// watchdog on every machine.
    #[arg(long)]
    one_owner: bool,
    /// Threads; as many as there are cores unless given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Where the shrunk scenario of a violation is written.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
    /// Fail if a state that should occur sometimes was never reached; rare ones count from 5000 seeds on.
    #[arg(long)]
    require_coverage: bool,
}

fn parse_nodes(text: &str) -> Result<(usize, usize)> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let parse = |text: &str| text.parse::<usize>().with_context(|| format!("`{text}` is no number"));
    let (least, most) = (parse(least)?, parse(most)?);
    if least < 2 || most > 6 || least > most {
        bail!("clusters have 2 to 6 nodes: write 2, or 2..6");
    }
    Ok((least, most))
}

pub(crate) fn main(args: &SwarmArgs) -> Result<ExitCode> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (least_nodes, most_nodes) = args.nodes;
    let promise = if args.one_owner { Promise::OneOwner } else { Promise::Any };
    let campaign = Campaign { from: args.from, seeds: args.seeds, least_nodes, most_nodes, promise, jobs };
    let bar = ProgressBar::new(args.seeds);
    let style = "{bar:30} {pos}/{len} seeds, {per_sec}, {eta} left; {msg}";
    bar.set_style(ProgressStyle::with_template(style).context("the progress bar")?);
    // Violations are told by what was violated; a panic tells itself where it happened.
    let begin = Instant::now();
    let outcome = run(campaign, |_, outcome| {
        bar.inc(1);
        bar.set_message(format!(
            "{} takeovers, {:.3} simulated years",
            outcome.coverage.takeovers,
            outcome.simulated.as_secs_f64() / YEAR
        ));
    });
    bar.finish_and_clear();
    let took = begin.elapsed().as_secs_f64();
    if args.json {
        print_json(&outcome, took);
    } else {
        print_text(&outcome, took);
    }
    if outcome.broken.is_some() {
        return found(args, campaign, &outcome);
    }
    let missing = outcome.coverage.missing(outcome.runs);
    if args.require_coverage && !missing.is_empty() {
        eprintln!("never reached: {}", missing.join("; "));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_text(outcome: &Outcome, took: f64) {
    let years = outcome.simulated.as_secs_f64() / YEAR;
    println!(
        "{} seeds in {took:.1} s: {years:.4} simulated years, {:.0} times real time, {} takeovers",
        outcome.runs,
        outcome.simulated.as_secs_f64() / took,
        outcome.coverage.takeovers
    );
    for (name, count) in outcome.coverage.counts() {
        println!("{count:>8}  {name}");
    }
}

fn print_json(outcome: &Outcome, took: f64) {
    let coverage: serde_json::Map<_, _> =
        outcome.coverage.counts().map(|(name, count)| (name.to_owned(), json!(count))).collect();
    let broken = outcome
        .broken
        .as_ref()
        .map(|(seed, violation)| json!({"seed": seed, "check": violation.check, "what": violation.what}));
    println!(
        "{}",
        json!({
            "seeds": outcome.runs, "seconds": took, "simulated_seconds": outcome.simulated.as_secs_f64(),
            "takeovers": outcome.coverage.takeovers, "sometimes": coverage, "violation": broken,
        })
    );
}

/// Shrinks what was found, writes it down, and says how to see it again.
fn found(args: &SwarmArgs, campaign: Campaign, outcome: &Outcome) -> Result<ExitCode> {
    let Some((seed, violation)) = outcome.broken.clone() else { return Ok(ExitCode::SUCCESS) };
    let plan = campaign.plan(seed);
    eprintln!("seed {seed} ({}) breaks `{}`: {}", describe(&plan), violation.check, violation.what);
    let bar = ProgressBar::new_spinner();
    // Every panic of the search would print itself otherwise.
    std::panic::set_hook(Box::new(|_| {}));
    let shrunk = shrink(&plan, seed, violation, |tries, events| {
        bar.set_message(format!("shrinking: {tries} runs, {events} events left"));
        bar.tick();
    });
    drop(std::panic::take_hook());
    bar.finish_and_clear();
    let file = args.out.join(format!("violation-{seed}.hbs"));
    let text = format!(
        "# found by hbsim swarm, seed {seed}; breaks `{}`: {}\n{}",
        shrunk.violation.check, shrunk.violation.what, shrunk.plan
    );
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("shrunk to {} events in {} runs:\n\n{}", shrunk.plan.events.len(), shrunk.tries, shrunk.plan);
    if shrunk.violation.check == "totality" {
        eprintln!("it panics: {}", shrunk.violation.what);
    } else {
        print_around(&shrunk.plan, seed);
    }
    eprintln!("\nto repeat: hbsim run {} --seed {seed} --timeline", file.display());
    Ok(ExitCode::FAILURE)
}

/// The timeline around the violation.
fn print_around(plan: &hb_sim::Plan, seed: u64) {
    let (world, _) = hb_sim::run::play(plan, seed, Detail::Lines);
    let lines: Vec<_> = world.recording.lines().collect();
    let at = lines.iter().position(|line| line.who == "check").unwrap_or(lines.len().saturating_sub(1));
    for line in &lines[at.saturating_sub(BEFORE)..(at + AFTER + 1).min(lines.len())] {
        eprintln!("{line}");
    }
}
