//! `hbsim sweep`: reads the plan, shows how far it is, prints the table.

use anyhow::{Context as _, Result};
use clap::Args;
use hb_sim::sweep::{Progress, Sweep, run, table};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// What is given on the command line.
#[derive(Args, Debug)]
pub(crate) struct SweepArgs {
    /// The plan of the sweep.
    plan: PathBuf,
    /// Where the results go; the name of the plan without its ending if not given.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Threads; as many as there are processors if not given. The results do not depend on it.
    #[arg(short, long, default_value_t = 0)]
    jobs: usize,
    /// Go on with an interrupted sweep.
    #[arg(long)]
    resume: bool,
}

/// Runs a sweep. Exit status 1 if a check was violated in any run, 2 if the plan cannot be read.
pub(crate) fn main(args: &SweepArgs) -> Result<ExitCode> {
    let name = args.plan.display().to_string();
    let text = std::fs::read_to_string(&args.plan).with_context(|| format!("cannot read {name}"))?;
    let plan = match Sweep::parse(&name, &text) {
        Ok(plan) => plan,
        Err(problems) => {
            eprintln!("{}", hb_sim::render_all(&problems, &text));
            return Ok(ExitCode::from(2));
        }
    };
    let dir = args.output.clone().unwrap_or_else(|| args.plan.with_extension(""));
    let bar = ProgressBar::new(plan.runs());
    let style = "{bar:40} {pos}/{len} runs, {per_sec}, {elapsed} so far, {eta} to go";
    bar.set_style(ProgressStyle::with_template(style).context("the progress bar")?);
    let begin = Instant::now();
    let outcome = run(&plan, &text, &dir, args.resume, args.jobs, &|progress| match progress {
        Progress::Found(runs) => {
            bar.set_position(runs);
            bar.reset_eta();
        }
        Progress::Run => bar.inc(1),
    });
    bar.finish_and_clear();
    let outcome = outcome?;
    let violations: u64 = outcome.summaries.iter().map(|summary| summary.violations).sum();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\n{}", plan.title, table(&outcome.summaries))?;
    writeln!(out, "{} runs in {:.1} s", plan.runs(), begin.elapsed().as_secs_f64())?;
    if plan.skipped > 0 {
        writeln!(out, "{} combinations that no cluster can have were left out", plan.skipped)?;
    }
    writeln!(out, "{}: {}", dir.display(), outcome.files.join(" "))?;
    if violations > 0 {
        writeln!(out, "checks were VIOLATED {violations} times: see the column violations of results.csv")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
