//! An explanation as JSON, an object a line; docs/hbsim.md says what they mean.

use super::outcome::{Merged, Outcome};
use super::tell::sentences;
use super::{Chapter, Explanation};
use serde_json::{Value, json};
use std::time::Duration;

/// The cluster, every stage of every experiment, the bounds, the advice, a summary.
pub fn lines(explanation: &Explanation) -> Vec<Value> {
    let config = &explanation.config;
    let timing = config.timing();
    let groups = config.groups().iter().enumerate().map(|(at, group)| {
        json!({
            "key": group.key, "home": explanation.nodes[explanation.homes[at]],
            "policy": if explanation.lax[at] { "at-least-one" } else { "at-most-one" },
        })
    });
    let mut lines = vec![json!({
        "kind": "cluster", "nodes": explanation.nodes, "links": explanation.interfaces,
        "groups": groups.collect::<Vec<_>>(), "keepalive_us": micros(timing.keepalive()),
        "deadtime_us": micros(timing.deadtime()), "initdead_us": micros(timing.initdead()),
        "assumptions": explanation.assumptions, "runs": explanation.phases,
    })];
    lines.extend(explanation.outcomes.iter().map(|outcome| stage(explanation, outcome)));
    lines.extend(explanation.bounds.iter().map(|bound| {
        json!({
            "kind": "bound", "step": bound.step, "limit_us": bound.limit.map(micros),
            "measured_us": bound.measured.map(micros), "from": bound.from,
        })
    }));
    lines.extend(explanation.advice.trials.iter().map(|trial| {
        let prices = trial.prices.iter().map(|price| {
            json!({
                "what": price.what, "group": config.groups()[price.group].key, "before_us": micros(price.before),
                "now_us": price.now.map(micros),
            })
        });
        json!({
            "kind": "trial", "line": trial.line, "refused": trial.refused, "prevents": trial.prevents,
            "leaves": trial.leaves, "prices": prices.collect::<Vec<_>>(),
        })
    }));
    let crowded = explanation.outcomes.iter().filter(|outcome| outcome.has_overlap()).count();
    let violations = explanation.outcomes.iter().map(|outcome| outcome.violations.len()).sum::<usize>();
    lines.push(json!({
        "kind": "summary", "stages": explanation.outcomes.len(), "two_owners": crowded, "violations": violations,
    }));
    lines
}

fn stage(explanation: &Explanation, outcome: &Outcome) -> Value {
    let chapter = match outcome.chapter {
        Chapter::Start => "start",
        Chapter::Nodes => "nodes",
        Chapter::Links => "links",
    };
    let groups = outcome.groups.iter().enumerate().map(|(at, merged)| group(explanation, at, merged));
    json!({
        "kind": "stage", "experiment": outcome.experiment, "chapter": chapter, "what": outcome.what,
        "dead_us": outcome.dead.map(micros), "groups": groups.collect::<Vec<_>>(),
        "because": sentences(explanation, outcome), "violations": outcome.violations,
    })
}

fn group(explanation: &Explanation, at: usize, merged: &Merged) -> Value {
    let names = |nodes: &[usize]| nodes.iter().map(|node| explanation.nodes[*node].as_str()).collect::<Vec<_>>();
    json!({
        "key": explanation.config.groups()[at].key, "had": names(&merged.had),
        "has": merged.ends.iter().map(|end| names(end)).collect::<Vec<_>>(), "serves_us": merged.served.map(micros),
        "outage_us": micros(merged.outage), "outage_lasts": merged.outage_lasts,
        "overlap_us": micros(merged.overlap), "overlap_lasts": merged.overlap_lasts,
    })
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
