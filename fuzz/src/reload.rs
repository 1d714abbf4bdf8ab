//! Two configurations: a node runs with the first and is told to reload the second.

use core::time::Duration;
use hb_core::config::{Config, Plan, SourceText, Sources, Text};
use hb_core::ids::{Generation, NodeUuid};
use hb_core::time::{Instant, UnixTime};
use hb_core::trace::{Entries, Entry, Head, Reader, State, Steps, begin};
use hb_core::{Action, Boot, Input, Node, Reload};

/// Between the texts.
const CUT: &[u8] = b"\n---\n";

/// The texts of a node's files.
#[derive(Clone, Copy)]
struct Files<'a> {
    ha_cf: &'a [u8],
    haresources: &'a [u8],
    authkeys: &'a [u8],
}

/// ha.cf, haresources and authkeys before and after, with a line `---` between them; what is missing is empty.
///
/// # Panics
/// If a law of [`Plan`] is broken, the node is not what the plan says, its deadline lies in the past, or a recording of
/// it does not lead to the same node.
pub fn reload(bytes: &[u8]) {
    let mut texts = parts(bytes).into_iter();
    let mut files = || {
        let mut next = || texts.next().unwrap_or_default();
        Files { ha_cf: next(), haresources: next(), authkeys: next() }
    };
    let (before, after) = (files(), files());
    let (Some(old), Some(new)) = (config(before), config(after)) else { return };
    judge(&old, &new);
    run(before, &old, after, &new);
}

fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(CUT.len()).position(|window| window == CUT) {
        // The line before it keeps its end.
        parts.push(&rest[..=at]);
        rest = &rest[at + CUT.len()..];
    }
    parts.push(rest);
    parts
}

fn config(files: Files<'_>) -> Option<Config> {
    let reading = Config::read(&Sources {
        local_name: "alpha",
        ha_cf: SourceText { name: "ha.cf", bytes: files.ha_cf },
        haresources: Some(SourceText { name: "haresources", bytes: files.haresources }),
        authkeys: SourceText { name: "authkeys", bytes: files.authkeys },
    });
    reading.config
}

fn judge(old: &Config, new: &Config) {
    let renewed = old.renewed(new);
    let plan = Plan::between(old, new);
    assert_eq!(plan.applied().count() + plan.waiting().count(), plan.changes.len());
    assert_eq!(Plan::between(old, &renewed).changes, plan.applied().cloned().collect::<Vec<_>>(), "the plan is done");
    assert_eq!(Plan::between(&renewed, new).changes, plan.waiting().cloned().collect::<Vec<_>>(), "the rest waits");
    assert_eq!(renewed.renewed(new), renewed, "once is enough");
    assert_eq!(Plan::between(new, new), Plan::default());
    assert!(plan.to_string().lines().count() >= plan.changes.len());
}

fn run(before: Files<'_>, old: &Config, after: Files<'_>, new: &Config) {
    let mut now = Instant::from_nanos(1_000_000_000);
    let boot = Boot {
        now,
        wall_clock: UnixTime(1_700_000_000),
        generation: Generation(1),
        uuid: NodeUuid([1; 16]),
        seed: [7; 32],
        hostcache: hb_core::config::Hostcache::default(),
        longest_deadtime: Duration::ZERO,
        cut_short: Vec::new(),
    };
    let mut node = Node::new(old.clone(), boot);
    let text = |name: &str, bytes: &[u8]| Text { name: name.to_owned(), bytes: bytes.to_vec() };
    let reload = Reload::new(new.clone(), text("ha.cf", after.ha_cf), Some(text("haresources", after.haresources)));
    let mut head = Head {
        build: "fuzz".to_owned(),
        local_name: "alpha".to_owned(),
        ha_cf: text("ha.cf", before.ha_cf),
        haresources: Some(text("haresources", before.haresources)),
        entries: Entries::of(old.keyring()),
        reload: None,
        dropped: None,
    };
    now = wake(&mut node, now, 5);
    let state = State::of(&node);
    let mut tape = Vec::new();
    begin(&mut tape, &head, &state).expect("a small state");
    let mut steps = Steps::after(&state);
    let input = Input::Reload(Box::new(reload.clone()));
    steps.begin(&mut tape, now, &input).expect("a small step");
    for action in node.handle(now, input) {
        steps.action(&action);
    }
    steps.end(&mut tape).expect("a small step");
    assert_eq!(*node.config(), old.renewed(new));
    replay(&tape, before, after, &node);
    node.handle(now, Input::Wake).for_each(drop);
    assert!(
        node.next_deadline().is_some_and(|at| at > now || !node.status().is_active()),
        "a living node has a deadline"
    );
    // A segment that begins then leads to the same node too.
    head.reload = Some(Box::new(reload));
    let mut later = Vec::new();
    begin(&mut later, &head, &State::of(&node)).expect("a small state");
    replay(&later, after, after, &node);
    wake(&mut node, now, 20);
}

/// Lets some deadlines fire.
fn wake(node: &mut Node, mut now: Instant, times: usize) -> Instant {
    for _ in 0..times {
        node.handle(now, Input::Wake).for_each(drop);
        match node.next_deadline() {
            Some(next) => now = now.max(next).plus(Duration::from_micros(1)),
            None => break,
        }
    }
    now
}

/// The keys of both files are those of one only if neither takes an entry away or changes it.
fn replay(tape: &[u8], before: Files<'_>, after: Files<'_>, node: &Node) {
    let authkeys = |bytes| SourceText { name: "authkeys", bytes };
    let mut again: Option<Node> = None;
    for entry in Reader::new(tape) {
        match entry.expect("what was written can be read") {
            Entry::Segment(segment) => {
                again = Some(segment.restore(authkeys(before.authkeys)).expect("the keys are those it was made with"));
            }
            Entry::Step(step) => {
                let input = step.input.with_keys(authkeys(after.authkeys)).expect("the keys are those it had");
                let node = again.as_mut().expect("a segment begins a recording");
                let actions: Vec<Action> = node.handle(step.now, input).collect();
                assert_eq!(hb_core::trace::Made::of(&actions), step.made);
            }
        }
    }
    assert_eq!(again.map(|again| again.digest()), Some(node.digest()));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn reload_survives_its_corpus() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/reload");
        let mut files = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            files += 1;
            super::reload(&bytes);
            for at in 0..bytes.len() {
                for byte in [b'\n', b'#', b' ', b'9', b'2'] {
                    let mut changed = bytes.clone();
                    changed[at] = byte;
                    super::reload(&changed);
                }
            }
        }
        assert!(files >= 3, "a corpus has examples");
    }
}
