//! `heartbeat demo`: two real daemons on machines made of namespaces, one address, and what a client sees of its moves.
//!
//! Nothing needs to be installed or configured and nobody needs to be root. Each step has an expectation; a step that
//! misses it makes the exit status 1.

use crate::net::echo::Probe;
use crate::net::namespace;
use crate::testbed::{NAMES, Setup, Testbed, VIRTUAL_ADDRESS};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hb_core::config::timing::parse_time;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What `heartbeat demo` can be told.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Print one JSON object a line instead of text.
    #[arg(long)]
    json: bool,
    /// Interval between heartbeats, as in ha.cf.
    #[arg(long, value_name = "T", default_value = "100ms", value_parser = time)]
    keepalive: Duration,
    /// Silence after which a machine is dead, as in ha.cf; at most 5 seconds.
    #[arg(long, value_name = "T", default_value = "1", value_parser = time)]
    deadtime: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    let parsed = parse_time(text).ok().filter(|time| !time.is_zero());
    parsed.ok_or_else(|| "not a time such as 2 (seconds) or 500ms".to_owned())
}

/// A planned move may cost a client this much here, where other programs use the processors too.
const MOVE_LIMIT: Duration = Duration::from_millis(50);
/// What a crash may cost beyond the dead time.
const CRASH_SLACK: Duration = Duration::from_millis(10);
/// The dead time is announced longer for the first seconds of a daemon (WIRE 10.2); the crash comes after them.
const START_GRACE: Duration = Duration::from_millis(5300);
/// How long a step may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The client asks this often.
const PROBE_EVERY: Duration = Duration::from_millis(1);

/// Runs the demonstration. Called before the process has started any thread.
pub fn run(args: &DemoArgs, out: &mut impl Write) -> Result<ExitCode> {
    ensure!(args.deadtime <= Duration::from_secs(5), "the demonstration takes a dead time of at most 5 s");
    ensure!(
        args.deadtime > args.keepalive * 2,
        "Dead time [{}] is too small compared to keeplive [{}]: more than two heartbeats must be lost before a death",
        args.deadtime.as_millis(),
        args.keepalive.as_millis()
    );
    namespace::enter().context("the demonstration needs namespaces")?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let testbed = Testbed::new(Setup::new(program, args.keepalive, args.deadtime, true))?;
    let mut demo = Demo { testbed, begun: Instant::now(), json: args.json, out, missed: 0 };
    demo.play(args)?;
    Ok(if demo.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Demo<'w, W: Write> {
    testbed: Testbed,
    begun: Instant,
    json: bool,
    out: &'w mut W,
    missed: u32,
}

/// What a step must end with.
#[derive(Clone, Copy)]
struct Expectation {
    owner: usize,
    outage: Duration,
}

impl<W: Write> Demo<'_, W> {
    fn play(&mut self, args: &DemoArgs) -> Result<()> {
        let (keepalive, deadtime) = (args.keepalive, args.deadtime);
        self.say(
            "scene",
            &format!(
                "h1, h2 and a client; {VIRTUAL_ADDRESS} belongs to h1, or to h2 when h1 is dead; a heartbeat every {} ms, \
                 dead after {} ms; the client asks every millisecond",
                keepalive.as_millis(),
                deadtime.as_millis()
            ),
            &json!({"keepalive_ms": millis(keepalive), "deadtime_ms": millis(deadtime), "address": VIRTUAL_ADDRESS}),
        )?;
        self.join(keepalive)?;
        let up = Instant::now();

        let move_limit = |owner| Expectation { owner, outage: MOVE_LIMIT };
        self.step("move", "h1 is told: standby", move_limit(1), |testbed| order(testbed, 0, "standby"))?;
        self.step("move back", "h1 is told: takeover", move_limit(0), |testbed| order(testbed, 0, "takeover"))?;

        std::thread::sleep(START_GRACE.saturating_sub(up.elapsed()));
        let crash = Expectation { owner: 1, outage: deadtime + CRASH_SLACK };
        self.step("crash", "h1 is cut off and killed", crash, |testbed| testbed.power_off(0))?;

        self.step("return", "h1 is switched on again; auto_failback is on", move_limit(0), |testbed| {
            testbed.power_on(0, &[])?;
            testbed.start(0)
        })?;
        self.finish()
    }

    fn join(&mut self, keepalive: Duration) -> Result<()> {
        let probe = Probe::start(self.testbed.client(), VIRTUAL_ADDRESS, PROBE_EVERY)?;
        let started = Instant::now();
        self.testbed.start(0)?;
        self.testbed.start(1)?;
        self.testbed.wait_until("both nodes are active and h1 serves", PATIENCE, |testbed| testbed.rests(0))?;
        let served = probe.wait_for_answer(PATIENCE);
        let answers = probe.stop();
        let first = answers.echoes.iter().find_map(|echo| echo.answered).map(|at| at - started);
        let limit = keepalive * 3 + Duration::from_millis(200);
        let met = served && self.testbed.is_owned_by(&[0]) && first.is_some_and(|first| first <= limit);
        self.report("join", "both daemons start", first, ("served after", limit), 0, met)
    }

    /// Does something, waits until the address is where it belongs and answers, and tells what the client saw.
    fn step(
        &mut self,
        name: &str,
        what: &str,
        expect: Expectation,
        act: impl FnOnce(&mut Testbed) -> Result<()>,
    ) -> Result<()> {
        let probe = Probe::start(self.testbed.client(), VIRTUAL_ADDRESS, PROBE_EVERY)?;
        ensure!(probe.wait_for_answer(PATIENCE), "{VIRTUAL_ADDRESS} does not answer before step `{name}`");
        let from = Instant::now();
        act(&mut self.testbed)?;
        let owner = expect.owner;
        let arrived = |testbed: &Testbed| testbed.is_owned_by(&[owner]) && testbed.is_stable(owner);
        self.testbed.wait_until(&format!("{} serves ({name})", NAMES[owner]), PATIENCE, arrived)?;
        let answers_again = probe.wait_for_answer(PATIENCE);
        let until = Instant::now();
        let outage = probe.stop().longest_gap_between(from, until);
        let met = answers_again && outage <= expect.outage && self.testbed.is_owned_by(&[owner]);
        self.report(name, what, Some(outage), ("outage", expect.outage), owner, met)
    }

    fn report(
        &mut self,
        name: &str,
        what: &str,
        measured: Option<Duration>,
        (word, limit): (&str, Duration),
        owner: usize,
        met: bool,
    ) -> Result<()> {
        self.missed += u32::from(!met);
        let status = self.testbed.status(owner).unwrap_or_default();
        let why = status["groups"][0]["why"].as_str().unwrap_or("?").to_owned();
        let shown = measured.map_or_else(|| "never".to_owned(), |span| format!("{:.1} ms", millis(span)));
        let verdict = if met { "" } else { "   MISSED" };
        let text = format!(
            "{what}\n{:12}-> {} serves; {word} {shown} (limit {:.0} ms){verdict}\n{:12}   why: {why}",
            "",
            NAMES[owner],
            millis(limit),
            ""
        );
        let facts = json!({
            "what": what, "owner": NAMES[owner], "measured": word, "ms": measured.map(millis),
            "limit_ms": millis(limit), "met": met, "why": why,
        });
        self.say(name, &text, &facts)
    }

    fn finish(&mut self) -> Result<()> {
        for (which, name) in NAMES.into_iter().enumerate() {
            let code = self.testbed.stop(which)?;
            ensure!(code == Some(0), "{name} ended with {code:?} after being told to stop");
        }
        let clean = self.testbed.is_owned_by(&[]);
        self.missed += u32::from(!clean);
        let text = match (clean, self.missed) {
            (true, 0) => "both stopped, no address left behind; every expectation was met".to_owned(),
            (true, missed) => format!("both stopped, no address left behind; {missed} of 5 expectations were missed"),
            (false, _) => "both stopped, but an address was left behind".to_owned(),
        };
        self.say("end", &text, &json!({"clean": clean, "missed": self.missed}))
    }

    fn say(&mut self, step: &str, text: &str, facts: &Value) -> Result<()> {
        let at = self.begun.elapsed();
        if self.json {
            let mut line = json!({"at_s": at.as_secs_f64(), "step": step});
            if let (Some(line), Some(facts)) = (line.as_object_mut(), facts.as_object()) {
                line.extend(facts.clone());
            }
            writeln!(self.out, "{line}")?;
        } else {
            writeln!(self.out, "{:8.3} s  {text}", at.as_secs_f64())?;
        }
        Ok(self.out.flush()?)
    }
}

fn order(testbed: &mut Testbed, which: usize, verb: &str) -> Result<()> {
    let answer = testbed.ask(which, &json!({"v": 1, "do": verb, "set": "all"}))?;
    ensure!(answer["ok"] == true, "{verb} was not carried out: {answer}");
    Ok(())
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
