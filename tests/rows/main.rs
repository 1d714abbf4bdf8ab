//! The rows of the scenario catalogue with real daemons, in real time.
//!
//! Each test reads `sim/scenarios/ROW.hbs`, the very file that the simulator runs, makes the machines that it names out of
//! namespaces, starts our daemons in them, lets happen what happens, and holds what the kernel shows to the same expectations,
//! with the simulator's judge. docs/hbsim.md ("In real time") says what is not looked at, and how much later things may be.
//!
//! ```text
//! cargo test -p hb-tests --test rows                           a dozen
//! cargo test -p hb-tests --test rows -- --include-ignored      all
//! cargo test -p hb-tests --test rows -- F1 P3                  these
//! ```

mod blunders;
mod faults;
mod files;
mod machines;
mod play;
mod refusal;
mod seen;
mod skip;
mod watch;

use std::fmt::Write as _;

use anyhow::{Result, bail};
use hb_shell::net::namespace;
use hb_sim::run::Verdict;
use hb_sim::{Plan, library};
use libtest_mimic::{Arguments, Completion, Trial};

use seen::Seen;

/// What runs when nobody says what: each kind of event, two and three nodes, nothing longer than half a minute; and the row that
/// only real daemons failed: one that was stopped spoke before it had read what waited.
const DOZEN: [&str; 13] =
    ["S1", "S12", "F1", "F4", "F6", "F14", "P3", "P6", "P11", "T1", "I1", "N11", "timeline-03-woken"];
/// So many at once: they mostly wait.
const AT_ONCE: usize = 8;

fn main() {
    // Before anything starts a thread.
    let entered = namespace::enter();
    let is_row = |word: &String| library::find(word).is_some();
    let (named, rest): (Vec<String>, Vec<String>) = std::env::args().partition(is_row);
    let mut arguments = Arguments::from_iter(rest);
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let hindrance = entered.err().map(|error| error.to_string());
    let trial = |name: &str, test: Box<dyn FnOnce() -> Result<Completion> + Send>| {
        let hindrance = hindrance.clone();
        Trial::ignorable_test(name, move || match hindrance {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => test().map_err(|error| format!("{error:#}").into()),
        })
    };
    let rows = library::ALL.iter().filter(|(name, _)| named.is_empty() || named.iter().any(|one| one == name));
    let mut trials: Vec<Trial> = rows
        .map(|(name, text)| {
            let is_left_out = named.is_empty() && !DOZEN.contains(name);
            trial(name, Box::new(|| row(name, text))).with_ignored_flag(is_left_out)
        })
        .collect();
    if named.is_empty() {
        trials.push(trial("blunders_are_seen", Box::new(blunders::are_seen)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Plays one row; a failure shows what went where and all logs.
fn row(name: &str, text: &str) -> Result<Completion> {
    let plan = match Plan::parse(name, text) {
        Ok(plan) => plan,
        Err(problems) => bail!("{}", hb_sim::render_all(&problems, text)),
    };
    if let Some(refusal) = &plan.refusal {
        return judged(name, &plan, &refusal::play(refusal)?, String::new);
    }
    if let Some(reason) = skip::reason(&plan) {
        return Ok(Completion::ignored_with(reason));
    }
    let seen = play::play(&plan)?;
    judged(name, &plan, &seen.verdicts(&plan), || seen.tell(&plan))
}

fn judged(name: &str, plan: &Plan, verdicts: &[Verdict], tell: impl Fn() -> String) -> Result<Completion> {
    let mut text = format!("{name}: {}\n", plan.title);
    for verdict in verdicts {
        let _infallible = match &verdict.missed {
            None => writeln!(text, "  ok      {}", verdict.what),
            Some(why) => writeln!(text, "  missed  {}: {why}", verdict.what),
        };
    }
    for what in Seen::unchecked(plan) {
        let _infallible = writeln!(text, "  not checked  {what}");
    }
    // At once, whatever came of it: the end is minutes away.
    print!("{text}");
    if verdicts.iter().any(|verdict| verdict.missed.is_some()) {
        bail!("{text}{}", tell());
    }
    Ok(Completion::Completed)
}
