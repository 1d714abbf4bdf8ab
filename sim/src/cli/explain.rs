//! `hbsim explain`: what a configuration will do; `heartbeat explain` calls it.

use anyhow::{Context as _, Result};
use clap::Args;
use hb_sim::explain::{self, Files, Options};
use hb_sim::render::Paint;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// Directory of ha.cf, haresources and authkeys.
    #[arg(short, long, value_name = "DIR", default_value = "/etc/ha.d")]
    config_dir: PathBuf,
    /// Print one JSON object a line (docs/hbsim.md).
    #[arg(long)]
    json: bool,
    /// How long every script takes to start or stop, in seconds; its time limit still counts.
    #[arg(long, value_name = "SECONDS", default_value = "0.02", value_parser = seconds)]
    script_time: Duration,
    /// How often each experiment runs, each time a little later between two heartbeats [default: 8; 4 with more than
    /// three nodes, 1 with more than six].
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u32).range(0..=1000))]
    phases: u32,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| *time <= Duration::from_hours(1)).ok_or_else(|| "write seconds, at most 3600".to_owned())
}

pub(super) fn main(args: &ExplainArgs) -> Result<ExitCode> {
    let files = Files::read(&args.config_dir);
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} runs").context("the progress bar")?);
    let options = Options { phases: args.phases, script_time: args.script_time };
    let mut diagnostics = Vec::new();
    let explanation = explain::explain(&files, options, &mut diagnostics, &|done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let paint = if colour { Paint::Colour } else { Paint::Plain };
    for diagnostic in &diagnostics {
        eprintln!("{}\n", files.render(diagnostic, paint));
    }
    let explanation = explanation?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        for line in explain::json::lines(&explanation) {
            writeln!(out, "{line}")?;
        }
    } else {
        write!(out, "{}", explain::text(&explanation))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
