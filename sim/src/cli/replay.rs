//! `hbsim replay`: a recording of a daemon lived through again, and shown.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use hb_core::time::Instant;
use hb_core::{Action, Event, Input, Level, Node};
use hb_sim::replay::calendar::Ruler;
use hb_sim::replay::picture::Painter;
use hb_sim::replay::{Keys, Moment, Outcome, Trace, replay};
use hb_sim::swimlane::{self, Heading, View};
use hb_sim::timeline::Line;
use serde_json::json;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Args, Debug)]
pub(super) struct ReplayArgs {
    /// A recording, or the directory of the flight recorder.
    trace: PathBuf,
    /// The keys of the cluster; no recording holds them.
    #[arg(long, value_name = "FILE", default_value = "/etc/ha.d/authkeys")]
    authkeys: PathBuf,
    /// Only this segment, counted from 1.
    #[arg(long, value_name = "N")]
    segment: Option<usize>,
    /// Print everything that happened.
    #[arg(long)]
    timeline: bool,
    /// Stop there, in seconds as the timeline counts them, and print the state of the node.
    #[arg(long, value_name = "T", value_parser = parse_seconds)]
    until: Option<Duration>,
    /// Show, as timeline or picture, only what happened from there on, in seconds as the timeline counts them.
    #[arg(long, value_name = "T", value_parser = parse_seconds)]
    from: Option<Duration>,
    /// Draw what the node knew into this file, as SVG: a lane for itself and for each node it heard of.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// `12.5`, `12.5s`.
fn parse_seconds(text: &str) -> Result<Duration> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > 9 {
        bail!("`{text}` is no time: write seconds, like 12.5");
    }
    let nanos = format!("{part:0<9}").parse()?;
    Ok(Duration::new(whole.parse()?, nanos))
}

pub(super) fn main(args: &ReplayArgs) -> Result<ExitCode> {
    let (trace, keys) = (Trace::open(&args.trace)?, Keys::read(&args.authkeys)?);
    let mut teller = Teller::new(args);
    let outcome = replay(&trace, &keys, args.segment, &mut |moment| teller.see(&moment))?;
    if let (Some(file), Some(painter)) = (&args.svg, teller.painter.take()) {
        draw(file, painter, &outcome, &teller)?;
    }
    for note in &outcome.notes {
        if args.json {
            teller.out.line(json!({"note": note.to_string()}));
        } else {
            eprintln!("note: {note}");
        }
    }
    let summary = if args.json { summary_json(&outcome, &teller).to_string() } else { summary(&outcome, &teller) };
    teller.out.line(summary);
    if args.until.is_some()
        && let Some(node) = outcome.node.as_ref().filter(|_| outcome.difference.is_none())
    {
        teller.out.line(if args.json { json!({"state": format!("{node:?}")}).to_string() } else { state(node) });
    }
    teller.out.finish()?;
    Ok(if outcome.difference.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn draw(file: &Path, painter: Painter, outcome: &Outcome, teller: &Teller<'_>) -> Result<()> {
    let difference = outcome.difference.as_ref().map(|difference| (teller.ruler.elapsed(difference.now), difference));
    let verdict = if difference.is_none() { "replays equally" } else { "replays differently" };
    let (me, end) = (&teller.me, teller.ruler.date(teller.ruler.last()));
    let heading = Heading {
        title: format!("{me}: what it knew while it was recorded"),
        note: format!("0 is {}, the end {end}; {verdict}", teller.begun),
        view: View::Node,
    };
    let picture = swimlane::draw(&painter.finish(difference), &heading);
    std::fs::write(file, picture).with_context(|| format!("cannot write {}", file.display()))
}

/// Standard output, whose reader may go away.
#[derive(Default)]
struct Out {
    broken: Option<io::Error>,
}

impl Out {
    fn line(&mut self, line: impl Display) {
        if self.broken.is_none() {
            self.broken = writeln!(io::stdout().lock(), "{line}").err();
        }
    }

    fn finish(self) -> io::Result<()> {
        self.broken.map_or(Ok(()), Err)
    }
}

/// Prints what happens, if that is wanted.
struct Teller<'a> {
    args: &'a ReplayArgs,
    out: Out,
    ruler: Ruler,
    /// The date of the first moment.
    begun: String,
    me: String,
    painter: Option<Painter>,
}

impl<'a> Teller<'a> {
    fn new(args: &'a ReplayArgs) -> Teller<'a> {
        Teller {
            args,
            out: Out::default(),
            ruler: Ruler::default(),
            begun: String::new(),
            me: String::new(),
            painter: args.svg.is_some().then(|| Painter::from(args.from.unwrap_or_default())),
        }
    }

    fn see(&mut self, moment: &Moment<'_>) -> ControlFlow<()> {
        let before = self.ruler;
        match moment {
            Moment::Begin { segment, continues, .. } => self.ruler.start(&segment.state, *continues),
            Moment::Step { now, input, .. } => self.ruler.hear(*now, input),
        }
        let now = self.ruler.last();
        let elapsed = self.ruler.elapsed(now);
        if self.args.until.is_some_and(|until| elapsed > until) {
            self.ruler = before;
            return ControlFlow::Break(());
        }
        if let Some(painter) = &mut self.painter {
            painter.see(elapsed, moment);
        }
        match moment {
            Moment::Begin { number, segment, node, continues } => {
                node.status().local_name().clone_into(&mut self.me);
                let (date, build) = (self.ruler.date(now), &segment.head.build);
                if self.begun.is_empty() {
                    self.begun = date.to_string();
                }
                let what = if *continues { "goes on" } else { "begins" };
                let dropped = segment.head.dropped.as_ref().map_or(String::new(), |dropped| {
                    format!("; before it {} steps were not recorded: {}", dropped.steps, dropped.why)
                });
                self.line("trace", format!("segment {number} {what}, {date}, recorded by {build}{dropped}"));
            }
            Moment::Step { input, actions, .. } => {
                if let Some(text) = input_text(input) {
                    self.line("world", text);
                }
                for action in *actions {
                    if let Some(text) = action_text(action) {
                        self.line(&self.me.clone(), text);
                    }
                }
            }
        }
        if self.out.broken.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn line(&mut self, who: &str, what: String) {
        let now = self.ruler.last();
        if !self.args.timeline || self.args.from.is_some_and(|from| self.ruler.elapsed(now) < from) {
            return;
        }
        let at_us = self.micros(now);
        if self.args.json {
            let utc = self.ruler.date(now).to_string();
            self.out.line(json!({"at_us": at_us, "utc": utc, "who": who, "what": what}));
        } else {
            self.out.line(Line { at_us, who: who.to_owned(), what });
        }
    }

    fn micros(&self, at: Instant) -> i64 {
        i64::try_from(self.ruler.elapsed(at).as_micros()).unwrap_or(i64::MAX)
    }
}

fn input_text(input: &Input<'_>) -> Option<String> {
    match input {
        Input::Frame { .. } | Input::Wake | Input::WallClock(_) | Input::Load(_) | Input::Accounts(_) => None,
        Input::Carrier { medium, carrier } => Some(format!("medium {}: carrier {carrier:?}", medium.0)),
        Input::OpDone { op, outcome, .. } => Some(format!("operation {}: {outcome:?}", op.0)),
        Input::Client { client, request } => Some(format!("client {}: {request:?}", client.0)),
        Input::Operator(command) => Some(format!("operator: {command:?}")),
        Input::ApiOpened { client, peer } => Some(format!("API client {} connects: {peer:?}", client.0)),
        Input::ApiMessage { client, bytes } => Some(format!("API client {} says {}", client.0, message_text(bytes))),
        Input::ApiClosed { client, why } => Some(format!("API client {} is gone: {why:?}", client.0)),
        Input::Fifo { bytes } => Some(format!("FIFO: {}", message_text(bytes))),
        Input::Reload(reload) => Some(format!("the files are read again, authkeys has [{}]", reload.entries())),
        Input::NetworkBack { address } => Some(format!("the network of {address} is back")),
        Input::ProgramEnded { program, end } => Some(format!("program {}: {end:?}", program.0)),
    }
}

/// A message on one line, as far as it is text.
fn message_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace('\n', " ");
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}

fn action_text(action: &Action) -> Option<String> {
    match action {
        Action::Report(event @ Event::Running { .. }) => Some(event.to_string()),
        Action::Report(event) => (event.level() > Level::Debug).then(|| event.to_string()),
        Action::Reply { client, response } => Some(format!("answer to client {}: {response}", client.0)),
        Action::Reboot => Some("reboot the machine".to_owned()),
        Action::Inspect { node, device, .. } => Some(format!("could {} reset {node}?", device.kind)),
        Action::Fence { node, device, .. } => Some(format!("reset {node} with {}", device.kind)),
        Action::Alarm { program, node, .. } => Some(format!("tell {program} that {node} is dead")),
        Action::CeaseFire { .. } => Some("cancel the reset".to_owned()),
        Action::Exit(reason) => Some(format!("exit: {reason:?}")),
        Action::Tell { client, message, .. } => Some(format!("to API client {}: {}", client.0, message_text(message))),
        Action::Dismiss { client } => Some(format!("API client {} is dismissed", client.0)),
        Action::Door(door) => Some(format!("door for API clients: {door:?}")),
        Action::StopProgram { program } => Some(format!("stop program {}", program.0)),
        Action::Persist { file, text } => Some(format!("write {}: {} lines", file.name(), text.lines().count())),
        Action::Send { .. }
        | Action::ArmTimer { .. }
        | Action::RunResource { .. }
        | Action::FireArp { .. }
        | Action::Allow { .. }
        | Action::Entrust { .. }
        | Action::StartProgram { .. } => None,
    }
}

fn summary_json(outcome: &Outcome, teller: &Teller<'_>) -> serde_json::Value {
    let difference = outcome.difference.as_ref().map(|difference| {
        json!({
            "segment": difference.segment, "step": difference.step, "at_us": teller.micros(difference.now),
            "input": difference.input, "actions": difference.actions,
            "recorded": format!("{:016x}", difference.recorded.digest), "came": format!("{:016x}", difference.came.digest),
        })
    });
    let digest = outcome.node.as_ref().map(|node| format!("{:016x}", node.digest()));
    json!({
        "segments": outcome.segments, "steps": outcome.steps, "equal": outcome.difference.is_none(),
        "digest": digest, "end_us": teller.micros(teller.ruler.last()), "difference": difference,
    })
}

fn summary(outcome: &Outcome, teller: &Teller<'_>) -> String {
    let time = |at: Instant| {
        let micros = teller.micros(at);
        format!("{}.{:06} s ({})", micros / 1_000_000, micros % 1_000_000, teller.ruler.date(at))
    };
    let (different, verdict) = match &outcome.difference {
        Some(difference) => (format!("DIFFERENT at {}: {difference}\n", time(difference.now)), "equal until then"),
        None => (String::new(), "equal"),
    };
    let Outcome { steps, segments, .. } = outcome;
    let digest = outcome.node.as_ref().map_or(0, Node::digest);
    let end = time(teller.ruler.last());
    format!("{different}{verdict}: {steps} steps in {segments} segments, to {end}, digest of the node {digest:016x}")
}

/// A node as people read it: first what `heartbeat status` tells, then everything.
fn state(node: &Node) -> String {
    let status = node.status();
    let mut lines =
        vec![format!("\n{} holds {}; stable: {}", status.local_name(), status.holding(), status.is_stable())];
    lines.extend(status.nodes().map(|peer| format!("{peer:?}")));
    lines.extend(status.groups().map(|group| format!("{group:?}")));
    lines.push(format!("\n{node:#?}"));
    lines.join("\n")
}
