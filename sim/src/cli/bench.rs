//! `hbsim bench`.

use anyhow::Result;
use clap::Args;
use hb_sim::bench;
use serde_json::json;
use std::io::{self, Write as _};
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Hours of virtual time.
    #[arg(long, default_value_t = 10)]
    hours: u32,
}

/// Measures, and prints one JSON object.
pub(crate) fn main(args: &BenchArgs) -> Result<ExitCode> {
    let speed = bench::quiet_pair(args.hours);
    let took = speed.took.as_secs_f64();
    let figures = json!({
        "benchmark": "a quiet pair, keepalive 1 s, sha1, one bcast medium",
        "simulated_hours": args.hours, "seconds": took, "seconds_per_hour": took / f64::from(args.hours),
        "times_real_time": speed.simulated.as_secs_f64() / took, "steps": speed.steps,
    });
    writeln!(io::stdout(), "{figures}")?;
    Ok(ExitCode::SUCCESS)
}
