//! `hbsim run`: one scenario, judged and shown.

use super::load;
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use hb_sim::plan::EngineKind;
use hb_sim::swimlane::{self, Heading, View};
use hb_sim::{Detail, Report, json, pcap, pending};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// A scenario that comes with the program (see `hbsim list`), or a file.
    scenario: String,
    /// The seed of all luck.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which programs the nodes are; as the scenario says unless given.
    #[arg(long = "as", value_name = "WHO")]
    played_by: Option<PlayedBy>,
    /// Print everything that happened.
    #[arg(long, conflicts_with = "json")]
    timeline: bool,
    /// Print one JSON object a line: what happened, the verdicts, a summary (docs/hbsim.md).
    #[arg(long)]
    json: bool,
    /// Draw it into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write its packets into this file, as pcapng.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PlayedBy {
    /// All are the production core.
    Ours,
    /// All are the model of Heartbeat 3.0.6.
    Model,
    /// The first is the production core, the others are the model.
    Mixed,
    /// The first is the model, the others are the production core.
    MixedReversed,
}

impl PlayedBy {
    fn kinds(self) -> &'static [EngineKind] {
        match self {
            PlayedBy::Ours => &[EngineKind::Ours],
            PlayedBy::Model => &[EngineKind::Model],
            PlayedBy::Mixed => &[EngineKind::Ours, EngineKind::Model],
            PlayedBy::MixedReversed => &[EngineKind::Model, EngineKind::Ours],
        }
    }
}

/// Runs a scenario and prints what came of it. Exit status 1 if an expectation was missed.
pub(crate) fn main(args: &RunArgs) -> Result<ExitCode> {
    if let Some(reason) = pending::reason(&args.scenario) {
        eprintln!("{} is not met yet: {reason}", args.scenario);
    }
    let (name, mut plan) = load(&args.scenario)?;
    if let Some(played_by) = args.played_by {
        plan = plan.played_by(played_by.kinds());
    }
    let detail = if args.svg.is_some() || args.pcap.is_some() { Detail::Packets } else { Detail::Lines };
    let report = hb_sim::run(&plan, args.seed, detail);
    if let Some(file) = &args.svg {
        let note = format!("{name}, seed {}: {}", args.seed, outcome(&report));
        let heading = Heading { title: report.title.clone(), note, view: View::World };
        write(file, swimlane::draw(&report.recording, &heading).as_bytes())?;
    }
    if let Some(file) = &args.pcap {
        let mut capture = Vec::new();
        let written = pcap::write(&report.recording, plan.configs(), &mut capture)?;
        write(file, &capture)?;
        if written.too_long > 0 {
            eprintln!("hbsim: {} packets fit no UDP datagram and are not in {}", written.too_long, file.display());
        }
    }
    print(args, &name, &report).context("standard output")?;
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

fn print(args: &RunArgs, name: &str, report: &Report) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        for line in json::report(report, name, args.seed) {
            writeln!(out, "{line}")?;
        }
    } else {
        print_text(name, report, args.timeline, &mut out)?;
    }
    out.flush()
}

/// What came of a run, in a few words.
fn outcome(report: &Report) -> String {
    let missed = report.missed().count();
    match (missed, report.verdicts.len()) {
        (0, all) => format!("all {all} expectations met"),
        (missed, all) => format!("{missed} of {all} expectations missed"),
    }
}

fn print_text(name: &str, report: &Report, timeline: bool, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{name}: {}", report.title)?;
    if timeline || !report.passed() {
        writeln!(out, "\n{}", report.recording.timeline())?;
    }
    for verdict in &report.verdicts {
        match &verdict.missed {
            None => writeln!(out, "  ok      {}", verdict.what)?,
            Some(why) => writeln!(out, "  MISSED  {}: {why}", verdict.what)?,
        }
    }
    for served in &report.served {
        writeln!(out, "  {served}")?;
    }
    if let Some(digest) = report.digest {
        writeln!(out, "  digest of both runs {digest:016x}")?;
    }
    Ok(())
}
