//! A path as a timeline: walked once more, this time listening.

use super::choice::Choice;
use super::cluster::{Cluster, Due, Watch};
use super::flight::Flight;
use super::search::Link;
use super::setting::Setting;
use crate::timeline::Line;
use hb_core::Event;
use hb_core::time::Instant;

/// The choices that lead to a state.
pub(super) fn path(links: &[Link], mut state: u32) -> Vec<Choice> {
    let mut path = Vec::new();
    while state != 0 {
        let Some(link) = usize::try_from(state).ok().and_then(|at| links.get(at)) else { break };
        path.push(link.choice);
        state = link.parent;
    }
    path.reverse();
    path
}

/// The faults on a path, and everything that happens on it.
pub(super) fn tell(setting: &Setting, start: &Cluster, path: &[Choice]) -> (Vec<String>, Vec<Line>) {
    let mut cluster = start.clone();
    let mut faults = Vec::new();
    let mut lines = Vec::new();
    for choice in path {
        let Some((at, due)) = cluster.next() else { break };
        let text = words(setting, &cluster, due, *choice);
        let mut scribe = Scribe { setting, lines: Vec::new() };
        let effect = cluster.choose(setting, (at, due), *choice, &mut scribe);
        let since_zero = micros(start.now, cluster.now);
        let mut line = |who: &str, what: String| lines.push(Line { at_us: since_zero, who: who.to_owned(), what });
        if let Some(text) = text {
            if choice.is_fault() {
                faults.push(text.clone());
            }
            line("world", text);
        }
        for (who, what) in scribe.lines {
            line(&who, what);
        }
        if let Some(wrong) = effect.wrong {
            line("check", wrong);
        }
    }
    (faults, lines)
}

fn micros(zero: Instant, at: Instant) -> i64 {
    i64::try_from(at.since(zero).as_micros()).unwrap_or(i64::MAX)
}

/// A choice in words; nothing for what was bound to happen.
fn words(setting: &Setting, cluster: &Cluster, due: Due, choice: Choice) -> Option<String> {
    let frame = |flight: &Flight| {
        let (from, to) = (setting.name(flight.from), setting.name(flight.to));
        match flight.says.seq {
            Some(seq) => format!("{} {seq} from {from} to {to}", flight.says.kind),
            None => format!("{} from {from} to {to}", flight.says.kind),
        }
    };
    let coming = || match due {
        Due::Frame { at, .. } => cluster.flying.get(at).map(frame).unwrap_or_default(),
        Due::Done { .. } | Due::Wake { .. } => String::new(),
    };
    match choice {
        Choice::Go => None,
        Choice::Lose => Some(format!("lost: {}", coming())),
        Choice::Delay => Some(format!("delayed: {}", coming())),
        Choice::Crash => Some(format!("crash {}", setting.name(due.host()))),
        Choice::Cut(at) => setting.cuts().get(usize::from(at)).map(|cut| cut.words.clone()),
        Choice::Heal => Some("heal all cables".to_owned()),
        Choice::Start(host) => Some(format!("start {}", setting.name(usize::from(host)))),
        Choice::Arrive(at) => {
            cluster.held.get(usize::from(at)).map(|flight| format!("arrives late: {}", frame(flight)))
        }
    }
}

/// Writes down what is heard.
struct Scribe<'s> {
    setting: &'s Setting,
    lines: Vec<(String, String)>,
}

impl Watch for Scribe<'_> {
    fn said(&mut self, host: usize, event: &Event) {
        self.lines.push((self.setting.name(host).to_owned(), event.to_string()));
    }

    fn runs(&mut self, host: usize, resource: usize, runs: bool) {
        let (word, name) = (self.setting.word(resource), self.setting.name(host));
        let verb = if runs { "runs on" } else { "has stopped on" };
        self.lines.push(("ground".to_owned(), format!("{word} {verb} {name}")));
    }

    fn reset(&mut self, host: usize) {
        let text = format!("the device resets {}", self.setting.name(host));
        self.lines.push(("world".to_owned(), text));
    }
}
