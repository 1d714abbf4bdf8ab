//! `hbsim bench`.

use anyhow::Result;
use clap::Args;
use hb_sim::bench;
use serde_json::json;
use std::io::{self, Write as _};
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Hours of virtual time; a year has 8766.
    #[arg(long, default_value_t = 10)]
    hours: u32,
    /// Runs side by side, which share the hours.
    #[arg(long, default_value_t = 1)]
    jobs: u32,
}

/// Measures how fast a quiet pair is simulated, and the memory it took.
pub(crate) fn main(args: &BenchArgs) -> Result<ExitCode> {
    let speed = bench::quiet_pair(args.hours, args.jobs);
    let took = speed.took.as_secs_f64();
    let figures = json!({
            "benchmark": "a quiet pair, keepalive 1 s, sha1, one bcast medium, checkers armed",
            "simulated_hours": args.hours, "jobs": args.jobs, "seconds": took,
            "times_real_time": speed.simulated.as_secs_f64() / took, "steps": speed.steps,
            "peak_memory_kib": peak_memory_kib(),
    });
    writeln!(io::stdout(), "{figures}")?;
    Ok(ExitCode::SUCCESS)
}

/// The most memory this process ever had, where the system tells.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
