//! An explanation in words: tables of what came of each experiment, and under them a line for each thing that happened,
//! with the reason that the nodes gave.

use super::advice::{Price, Trial};
use super::outcome::{Merged, Outcome};
use super::table::{self, classes, groups, place};
use super::{Brief, Chapter, Explanation};
use hb_core::Decision;
use hb_core::config::Failback;
use std::fmt::Write as _;

/// So many prices of a line are named; the rest is counted.
const PRICES_MAX: usize = 4;

/// The whole explanation, for people.
pub fn text(explanation: &Explanation) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _infallible = tell(explanation, &mut out);
    out
}

fn tell(explanation: &Explanation, out: &mut String) -> std::fmt::Result {
    head(explanation, out)?;
    for (chapter, title) in [
        (Chapter::Start, "Where each group starts"),
        (Chapter::Nodes, "What the loss of a node does"),
        (Chapter::Links, "What the loss of a link does"),
    ] {
        writeln!(out, "\n{title}\n{}", table::outcomes(explanation, chapter))?;
        for (events, sentence) in said(explanation, chapter) {
            paragraph(out, "- ", &format!("{}: {sentence}", events.join(", ")))?;
        }
    }
    writeln!(out, "\nHow long each step takes at most\n{}", table::bounds(&explanation.bounds))?;
    owners(explanation, out)?;
    let violations = explanation.outcomes.iter().flat_map(|outcome| outcome.violations.iter().map(move |it| (outcome, it)));
    for (number, (outcome, violation)) in violations.enumerate() {
        if number == 0 {
            writeln!(out, "\nProperties that did not hold: these are mistakes of Heartbeat, please report them")?;
        }
        paragraph(out, "- ", &format!("{}: {violation}", outcome.what))?;
    }
    Ok(())
}

fn head(explanation: &Explanation, out: &mut String) -> std::fmt::Result {
    let Explanation { nodes, config, interfaces, phases, .. } = explanation;
    let timing = config.timing();
    let failback = match config.failback() {
        Failback::On => "on",
        Failback::Off => "off",
    };
    let text = format!(
        "{} share {}: heartbeats every {} by {}; deadtime {}, initdead {}, auto_failback {failback}, policy {}.",
        nodes.join(", "),
        count(explanation.groups.len(), "group", "groups"),
        Brief(timing.keepalive()),
        interfaces.join(", "),
        Brief(timing.deadtime()),
        Brief(timing.initdead()),
        policy(explanation),
    );
    paragraph(out, "", &text)?;
    let text = format!(
        "Found by running these files on every node in the simulator, each experiment {phases} times, begun at different \
         moments between two heartbeats. Times count from the event and are the longest of all runs; the network is \
         quick, loses nothing, and everything works that is not said to fail."
    );
    paragraph(out, "", &text)?;
    for assumption in &explanation.assumptions {
        paragraph(out, "", &format!("Assumed: {assumption}."))?;
    }
    Ok(())
}

fn policy(explanation: &Explanation) -> &'static str {
    match explanation.lax.iter().filter(|lax| **lax).count() {
        0 => "at-most-one",
        all if all == explanation.lax.len() => "at-least-one",
        _ => "at-least-one for some groups",
    }
}

/// What happened in a chapter, and after which events.
fn said(explanation: &Explanation, chapter: Chapter) -> Vec<(Vec<&str>, String)> {
    let mut said: Vec<(Vec<&str>, String)> = Vec::new();
    for outcome in explanation.outcomes.iter().filter(|outcome| outcome.chapter == chapter) {
        for sentence in sentences(explanation, outcome) {
            let event = outcome.what.as_str();
            match said.iter_mut().find(|(_, known)| *known == sentence) {
                Some((events, _)) if events.contains(&event) => {}
                Some((events, _)) => events.push(event),
                None => said.push((vec![event], sentence)),
            }
        }
    }
    said
}

/// What happened to each group that something happened to, and why.
pub(super) fn sentences(explanation: &Explanation, outcome: &Outcome) -> Vec<String> {
    let mut sentences = Vec::new();
    for class in classes(explanation, outcome) {
        let Some(merged) = class.groups.first().map(|group| &outcome.groups[*group]) else { continue };
        if merged.is_untouched() {
            continue;
        }
        let names = match groups(explanation, &class.groups) {
            all if all == "all" => "every group".to_owned(),
            names => names,
        };
        sentences.extend(sentence(explanation, merged, &names));
    }
    sentences
}

fn sentence(explanation: &Explanation, merged: &Merged, group: &str) -> Vec<String> {
    let told = &merged.told;
    let name = |node: usize| explanation.nodes[node].as_str();
    let reason = |wanted: Decision, is_old: bool| {
        let of = |(node, decision, _): &&(usize, Decision, String)| *decision == wanted && told.had.contains(node) == is_old;
        told.reasons.iter().find(of).map(|(node, _, why)| (*node, why.as_str()))
    };
    let mut all = Vec::new();
    if !told.overlap.is_zero() {
        let ends = if merged.overlap_lasts { "from then on".to_owned() } else { format!("for {}", Brief(merged.overlap)) };
        let begin = match reason(Decision::Acquire, false) {
            Some((node, why)) => format!("{} starts {group} ({why})", name(node)),
            None => format!("{group} runs"),
        };
        let stays = if told.had.len() > 1 {
            format!("{group} has two owners until one has given way")
        } else {
            format!("{begin} while it still runs on {}: two owners", place(explanation, &told.had))
        };
        all.push(format!("{stays}, {ends}"));
    } else if let Some((node, why)) = reason(Decision::Acquire, false) {
        all.push(format!("{} starts {group}: {why}", name(node)));
    }
    if let Some((node, why)) = reason(Decision::Release, true) {
        all.push(format!("{} gives {group} up: {why}", name(node)));
    }
    if told.has.is_empty() {
        all.push(format!("{group} runs nowhere{}", obstacles(explanation, &told.obstacles)));
    } else if merged.outage_lasts {
        let on = place(explanation, &told.has);
        all.push(format!("{group} runs on {on}, where its clients do not reach it"));
    }
    all
}

/// Why each node that lives does not start a group, in brackets.
fn obstacles(explanation: &Explanation, obstacles: &[(usize, String)]) -> String {
    let mut reasons: Vec<(Vec<usize>, &str)> = Vec::new();
    for (node, why) in obstacles {
        match reasons.iter_mut().find(|(_, known)| known == why) {
            Some((nodes, _)) => nodes.push(*node),
            None => reasons.push((vec![*node], why)),
        }
    }
    let reasons: Vec<String> =
        reasons.iter().map(|(nodes, why)| format!("on {}: {why}", place(explanation, nodes))).collect();
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}

/// Where two owners are possible, and what prevents it.
fn owners(explanation: &Explanation, out: &mut String) -> std::fmt::Result {
    let crowded: Vec<&Outcome> = explanation.outcomes.iter().filter(|outcome| outcome.has_overlap()).collect();
    if crowded.is_empty() {
        writeln!(out, "\nTwo owners: in no experiment.")?;
        if explanation.lax.contains(&true) {
            let text = "The policy at-least-one does not promise that: a node that is silent for its dead time is passed over, \
                        whether it runs the group or not.";
            paragraph(out, "", text)?;
        }
        return Ok(());
    }
    writeln!(out, "\nTwo owners are possible")?;
    for (number, outcome) in crowded.iter().enumerate() {
        let (of, longest) = overlap(outcome);
        let names = groups(explanation, &of);
        let before = number.checked_sub(1).map(|before| crowded[before]);
        if before.is_some_and(|before| before.experiment == outcome.experiment) {
            // Told with the first stage.
            continue;
        }
        let lasts = outcome.groups.iter().any(|group| group.overlap_lasts);
        let after = crowded.get(number + 1).filter(|after| after.experiment == outcome.experiment);
        let how = match (lasts, after) {
            (true, Some(after)) => format!("until that is over, and {} longer", Brief(overlap(after).1)),
            (true, None) => "until that is over".to_owned(),
            (false, _) => format!("for {}", Brief(longest)),
        };
        paragraph(out, "- ", &format!("{}: {names}, {how}", outcome.what))?;
    }
    let mut helps: Vec<&Trial> = explanation.advice.trials.iter().filter(|trial| !trial.prevents.is_empty()).collect();
    helps.sort_by_key(|trial| trial.leaves.len());
    if helps.is_empty() {
        writeln!(out, "\nNo single line that was tried prevents any of them.")?;
    } else {
        writeln!(out, "\nA line of ha.cf that prevents it, found by running everything again with it")?;
    }
    for trial in helps {
        advice(explanation, trial, out)?;
    }
    for trial in &explanation.advice.trials {
        if let Some(why) = &trial.refused {
            paragraph(out, "- ", &format!("`{}` was not tried, since these files do not allow it: {why}", trial.line))?;
        } else if trial.prevents.is_empty() {
            paragraph(out, "- ", &format!("`{}` prevents none of them", trial.line))?;
        }
    }
    for line in &explanation.advice.untried {
        paragraph(out, "- ", &format!("a `{line}` line was not tried: the simulator has no device for it"))?;
    }
    Ok(())
}

/// The groups that had two owners, and for how long at most.
fn overlap(outcome: &Outcome) -> (Vec<usize>, std::time::Duration) {
    let crowded = outcome.groups.iter().enumerate().filter(|(_, group)| !group.overlap.is_zero());
    let longest = outcome.groups.iter().map(|group| group.overlap).max().unwrap_or_default();
    (crowded.map(|(group, _)| group).collect(), longest)
}

fn advice(explanation: &Explanation, trial: &Trial, out: &mut String) -> std::fmt::Result {
    let what = |experiments: &[usize]| {
        let first = |at: &usize| explanation.outcomes.iter().find(|outcome| outcome.experiment == *at);
        experiments.iter().filter_map(first).map(|outcome| format!("\"{}\"", outcome.what)).collect::<Vec<_>>().join(", ")
    };
    let rest = if trial.leaves.is_empty() {
        "no group had two owners any more".to_owned()
    } else {
        format!("none after {}; still two after {}", what(&trial.prevents), what(&trial.leaves))
    };
    paragraph(out, "- ", &format!("`{}`: {rest}.", trial.line))?;
    let Some(prices) = prices(explanation, &trial.prices) else {
        return paragraph(out, "  ", "Price: nothing was missed for longer than without it.");
    };
    paragraph(out, "  ", &format!("Price: {prices}."))
}

fn prices(explanation: &Explanation, prices: &[Price]) -> Option<String> {
    let mut told: Vec<String> = Vec::new();
    for price in prices {
        let before = Brief(price.before);
        let now = match price.now {
            Some(now) => format!("is missed for {} (without the line {before})", Brief(now)),
            None => format!("stays down (without the line it is missed for {before})"),
        };
        let alike = prices.iter().filter(|it| it.what == price.what && it.now == price.now && it.before == price.before);
        let names = groups(explanation, &alike.map(|price| price.group).collect::<Vec<_>>());
        let text = format!("after \"{}\" {} {now}", price.what, if names == "all" { "every group" } else { &names });
        if !told.contains(&text) {
            told.push(text);
        }
    }
    let more = told.len().saturating_sub(PRICES_MAX);
    told.truncate(PRICES_MAX);
    if more > 0 {
        told.push(format!("and {more} more like these (--json has all)"));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

/// A line that is broken after at most a hundred columns; what follows its first line is indented.
fn paragraph(out: &mut String, mark: &str, text: &str) -> std::fmt::Result {
    let mut line = mark.to_owned();
    let indent = " ".repeat(mark.chars().count());
    let mut is_fresh = true;
    for word in text.split(' ') {
        if !is_fresh && line.chars().count() + 1 + word.chars().count() > 100 {
            writeln!(out, "{line}")?;
            line.clone_from(&indent);
            is_fresh = true;
        }
        if !is_fresh {
            line.push(' ');
        }
        line.push_str(word);
        is_fresh = false;
    }
    writeln!(out, "{line}")
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
