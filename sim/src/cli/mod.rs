//! The command line of `hbsim`: a file for each subcommand.
//!
//! A subcommand is a `FooArgs` that clap reads, and a `main(&FooArgs) -> Result<ExitCode>`; here it needs two lines.
//! Exit status 0: all is well; 1: something that should hold does not; 2: what was asked for could not be done.

mod bench;
mod digests;
mod explain;
mod explore;
mod list;
mod redact;
mod replay;
mod run;
mod swarm;
mod sweep;
mod why;

use anyhow::{Context as _, Result, anyhow};
use clap::{Parser, Subcommand};
use hb_sim::{Plan, library};
use std::fs;
use std::io;
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
    Run(run::RunArgs),
    /// Search random storms for one that breaks a property; shrink it. Exit status 1 if one was found.
    Swarm(swarm::SwarmArgs),
    Explore(explore::ExploreArgs),
    /// Run a grid of parameters with many seeds, and draw what came of it.
    Sweep(sweep::SweepArgs),
    /// Live through a recording of a daemon again. Exit status 1 at the first difference, 2 if it is refused.
    Replay(replay::ReplayArgs),
    /// Sign a recording anew with keys made for it, to hand it on.
    Redact(redact::RedactArgs),
    /// Say what was decided about a group while a recording was made, and on what evidence.
    Why(why::WhyArgs),
    /// Say what a configuration will do, before anything runs. Exit status 2 if its files have errors.
    Explain(explain::ExplainArgs),
    /// List the scenarios that come with the program.
    List,
    /// Print what every scenario comes to as one number, the same on every machine and build.
    Digests,
    /// measure how fast a quiet cluster is simulated.
    Bench(bench::BenchArgs),
}

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Swarm(args) => swarm::main(&args),
        Command::Explore(args) => args.run(),
        Command::Sweep(args) => sweep::main(&args),
        Command::Replay(args) => replay::main(&args),
        Command::Redact(args) => redact::main(&args),
        Command::Why(args) => why::main(&args),
        Command::Explain(args) => explain::main(&args),
        Command::List => list::main(),
        Command::Digests => digests::main(),
        Command::Bench(args) => bench::main(&args),
    };
    match done {
        Ok(code) => code,
        // Whoever read the output has seen enough of it.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hbsim: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The scenario of that name that comes with the program, else the one in that file; and what to call it.
fn load(scenario: &str) -> Result<(String, Plan)> {
    let (name, text) = if let Some(text) = library::find(scenario) {
        (format!("{scenario}.hbs"), text.to_owned())
    } else {
        let what = || format!("no scenario is called {scenario} (see `hbsim list`), and no such file can be read");
        (scenario.to_owned(), fs::read_to_string(scenario).with_context(what)?)
    };
    let plan = Plan::parse(&name, &text)
        .map_err(|problems| anyhow!("{name} is no scenario\n\n{}", hb_sim::render_all(&problems, &text)))?;
    Ok((name, plan))
}
