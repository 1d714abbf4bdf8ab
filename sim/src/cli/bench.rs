//! `hbsim bench`.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hb_sim::bench::{self, Quiet};
use serde_json::json;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Hours of virtual time; a year has 8766.
    #[arg(long, default_value_t = 10)]
    hours: u32,
    /// Runs side by side, which share the hours.
    #[arg(long, default_value_t = 1)]
    jobs: u32,
    /// Nodes, 2 to 100.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=100))]
    nodes: u16,
    /// Milliseconds between heartbeats.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..))]
    keepalive: u64,
    /// Broadcast media, 1 to 8.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    media: u16,
    /// The share of frames that is lost on each medium, up to 0.2.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    loss: f64,
}

fn share(text: &str) -> Result<f64> {
    let loss: f64 = text.parse().context("write a number, such as 0.05")?;
    ensure!((0.0..=0.2).contains(&loss), "more than 0.2 is not quiet any more");
    Ok(loss)
}

/// Measures how fast a quiet cluster is simulated, and the memory it took.
pub(crate) fn main(args: &BenchArgs) -> Result<ExitCode> {
    let quiet = Quiet {
        nodes: args.nodes.into(),
        keepalive: Duration::from_millis(args.keepalive),
        media: args.media.into(),
        loss: args.loss,
    };
    let speed = bench::quiet_cluster(quiet, args.hours, args.jobs);
    let (took, cpu) = (speed.took.as_secs_f64(), processor_seconds());
    let figures = json!({
            "benchmark": "a quiet cluster, sha1, bcast, checkers armed",
            "nodes": args.nodes, "keepalive_ms": args.keepalive, "media": args.media, "loss": args.loss,
            "simulated_hours": args.hours, "jobs": args.jobs, "seconds": took,
            "times_real_time": speed.simulated.as_secs_f64() / took, "steps": speed.steps,
            "cpu_seconds": cpu,
            "times_real_time_per_cpu": cpu.map(|cpu| speed.simulated.as_secs_f64() / cpu),
            "cpu_seconds_per_node_hour": cpu.map(|cpu| cpu / f64::from(args.hours) / f64::from(args.nodes)),
            "peak_memory_kib": peak_memory_kib(),
    });
    writeln!(io::stdout(), "{figures}")?;
    Ok(ExitCode::SUCCESS)
}

/// What all threads of this process have had of the processors, where the system tells; other load does not count.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let ticks: u32 = fields.next()?.parse::<u32>().ok()?.checked_add(fields.next()?.parse().ok()?)?;
    Some(f64::from(ticks) / 100.0)
}

/// The most memory this process ever had, where the system tells.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
