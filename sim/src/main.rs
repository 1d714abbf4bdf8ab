//! The program `hbsim`.

#[path = "cli/explore.rs"]
mod explore;
#[path = "cli/swarm.rs"]
mod swarm;
#[path = "cli/sweep.rs"]
mod sweep;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use hb_sim::{Plan, Report, bench, library};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Simulates clusters of Heartbeat nodes: the very code of the daemon, in virtual time.
#[derive(Parser, Debug)]
#[command(name = "hbsim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a scenario twice and judge it. Exit status 1 if an expectation was missed, 2 if it cannot be read.
    Run {
        /// A scenario that comes with the program (see `hbsim list`), or a file.
        scenario: String,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
        /// Print everything that happened.
        #[arg(long)]
        timeline: bool,
        /// The seed of all luck.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Search random storms for one that breaks a property; shrink it. Exit status 1 if one was found.
    Swarm(swarm::SwarmArgs),
    Explore(explore::ExploreArgs),
    /// Run a grid of parameters with many seeds, and draw what came of it.
    Sweep(sweep::SweepArgs),
    /// List the scenarios that come with the program.
    List,
    /// Measure how fast a quiet pair is simulated.
    Bench {
        /// Hours of virtual time.
        #[arg(long, default_value_t = 10)]
        hours: u32,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hbsim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Run { scenario, json, timeline, seed } => {
            let (name, text) = if let Some(text) = library::find(scenario) {
                (format!("{scenario}.hbs"), text.to_owned())
            } else {
                let what = || format!("no scenario is called {scenario}, and no such file can be read");
                (scenario.clone(), std::fs::read_to_string(Path::new(scenario)).with_context(what)?)
            };
            let plan = match Plan::parse(&name, &text) {
                Ok(plan) => plan,
                Err(problems) => {
                    eprintln!("{}", hb_sim::render_all(&problems, &text));
                    return Ok(ExitCode::from(2));
                }
            };
            let report = hb_sim::run(&plan, *seed, hb_sim::Detail::Lines);
            if *json {
                print_json(&report);
            } else {
                print_text(&name, &report, *timeline);
            }
            return Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Swarm(args) => return swarm::main(args),
        Command::Sweep(args) => return sweep::main(args),
        Command::List => {
            for (name, text) in library::ALL {
                let title = Plan::parse(name, text).map_or_else(|_| "cannot be read".to_owned(), |plan| plan.title);
                println!("{name:<5} {title}");
            }
        }
        Command::Explore(explore) => return explore.run(),
        Command::Bench { hours } => {
            let speed = bench::quiet_pair(*hours);
            let took = speed.took.as_secs_f64();
            println!(
                "{}",
                json!({
                    "benchmark": "a quiet pair, keepalive 1 s, sha1, one bcast medium",
                    "simulated_hours": hours, "seconds": took, "seconds_per_hour": took / f64::from(*hours),
                    "times_real_time": speed.simulated.as_secs_f64() / took, "steps": speed.steps,
                })
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_text(name: &str, report: &Report, timeline: bool) {
    println!("{name}: {}", report.title);
    if timeline || !report.passed() {
        println!("\n{}", report.recording.timeline());
    }
    for verdict in &report.verdicts {
        match &verdict.missed {
            None => println!("  ok      {}", verdict.what),
            Some(why) => println!("  MISSED  {}: {why}", verdict.what),
        }
    }
    if let Some(digest) = report.digest {
        println!("  digest of both runs {digest:016x}");
    }
}

fn print_json(report: &Report) {
    for line in report.recording.lines() {
        println!("{}", json!({"at_us": line.at_us, "who": line.who, "what": line.what}));
    }
    for verdict in &report.verdicts {
        println!("{}", json!({"expectation": verdict.what, "met": verdict.missed.is_none(), "missed": verdict.missed}));
    }
    let digest = report.digest.map(|digest| format!("{digest:016x}"));
    println!("{}", json!({"title": report.title, "passed": report.passed(), "digest": digest}));
}
