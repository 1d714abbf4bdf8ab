//! An explanation in words: tables of what came of each experiment, and under them a line for each thing that happened,
//! with the reason that the nodes gave.

use super::advice::{Price, Trial};
use super::outcome::{Merged, Outcome};
use super::table::{self, classes, groups, place};
use super::{Brief, Chapter, Explanation};
use hb_core::Decision;
use hb_core::config::Failback;
use std::fmt::Write as _;

/// So many prices of one kind are named; the rest is counted.
const PRICES_MAX: usize = 6;

const COLUMNS: &str = "In the tables: dead, the last verdict that a silent node is dead; serves, a node that did not run the \
                       group has all of it; outage, the longest time without all of the group on some node, or without \
                       an answer from its address.";
const LINKS: &str = "A link that fails and a node that is cut off lose their cables, and with them the clients that come by \
                     these; where heartbeats are not heard or nodes are cut apart, clients still reach everybody.";

/// The whole explanation, for people.
pub fn text(explanation: &Explanation) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _infallible = tell(explanation, &mut out);
    out
}

fn tell(explanation: &Explanation, out: &mut String) -> std::fmt::Result {
    head(explanation, out)?;
    for (chapter, title, legend) in [
        (Chapter::Start, "Where each group starts", ""),
        (Chapter::Nodes, "What the loss of a node does", ""),
        (Chapter::Links, "What the loss of a link does", LINKS),
    ] {
        writeln!(out, "\n{title}")?;
        if !legend.is_empty() {
            paragraph(out, "", legend)?;
        }
        writeln!(out, "{}", table::outcomes(explanation, chapter))?;
        for (events, sentence) in said(explanation, chapter) {
            paragraph(out, "- ", &format!("{}: {sentence}", events.join(", ")))?;
        }
    }
    writeln!(out, "\nHow long each step takes at most\n{}", table::bounds(&explanation.bounds))?;
    owners(explanation, out)?;
    let violations =
        explanation.outcomes.iter().flat_map(|outcome| outcome.violations.iter().map(move |it| (outcome, it)));
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
    let often = match phases {
        1 => "once".to_owned(),
        more => format!("{more} times, begun at different moments between two heartbeats"),
    };
    let text = format!(
        "Found by running these files on every node in the simulator, each experiment {often}. Times count from the event and are the longest of all runs; the network is \
         quick, loses nothing, and everything works that is not said to fail."
    );
    paragraph(out, "", &text)?;
    paragraph(out, "", COLUMNS)?;
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
    let is_crowded = !told.overlap.is_zero();
    let mut all = Vec::new();
    if is_crowded {
        let taken = told.reasons.iter().find(|(node, what, _)| *what == Decision::Acquire && !told.had.contains(node));
        let ends =
            if merged.overlap_lasts { "from then on".to_owned() } else { format!("for {}", Brief(merged.overlap)) };
        let on = place(explanation, &told.had);
        all.push(match taken {
            _ if told.had.len() > 1 => format!("{group} has two owners until one has given way, {ends}"),
            Some((node, _, why)) => {
                format!("{} starts {group} ({why}) while it still runs on {on}: two owners, {ends}", name(*node))
            }
            None => format!("{group} runs on another node, too, while it still runs on {on}, {ends}"),
        });
    }
    for (node, what, why) in &told.reasons {
        match what {
            Decision::Acquire if !is_crowded => all.push(format!("{} starts {group}: {why}", name(*node))),
            Decision::Release => all.push(format!("{} gives {group} up: {why}", name(*node))),
            Decision::Acquire | Decision::Keep => {}
        }
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
        writeln!(out, "\nA line of ha.cf that prevents it, found by running this again with it")?;
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
        experiments
            .iter()
            .filter_map(first)
            .map(|outcome| format!("\"{}\"", outcome.what))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let rest = if trial.leaves.is_empty() {
        "no group had two owners any more".to_owned()
    } else {
        format!("none after {}; still two after {}", what(&trial.prevents), what(&trial.leaves))
    };
    let hint = if trial.line.starts_with("bcast ") { " (or another medium on a network of its own)" } else { "" };
    paragraph(out, "- ", &format!("`{}`{hint}: {rest}.", trial.line))?;
    let Some(prices) = prices(explanation, &trial.prices) else {
        return paragraph(out, "  ", "Price: nothing was missed for longer than without it.");
    };
    paragraph(out, "  ", &format!("Price: {prices}."))
}

/// What is worse with a line: first what stays down, then what is missed for longer.
fn prices(explanation: &Explanation, prices: &[Price]) -> Option<String> {
    let mut down: Vec<(String, Vec<String>)> = Vec::new();
    let mut longer: Vec<String> = Vec::new();
    for price in prices {
        let is_alike = |it: &&Price| (&it.what, it.now, it.before) == (&price.what, price.now, price.before);
        let alike: Vec<usize> = prices.iter().filter(is_alike).map(|price| price.group).collect();
        let names = match groups(explanation, &alike) {
            all if all == "all" => "every group".to_owned(),
            names => names,
        };
        let event = format!("\"{}\"", price.what);
        let Some(now) = price.now else {
            match down.iter_mut().find(|(known, _)| *known == names) {
                Some((_, events)) if events.contains(&event) => {}
                Some((_, events)) => events.push(event),
                None => down.push((names, vec![event])),
            }
            continue;
        };
        let text = format!("{names} is missed for {} instead of {} after {event}", Brief(now), Brief(price.before));
        if !longer.contains(&text) {
            longer.push(text);
        }
    }
    let few = |mut all: Vec<String>| {
        let more = all.len().saturating_sub(PRICES_MAX);
        all.truncate(PRICES_MAX);
        all.extend((more > 0).then(|| format!("{more} more (--json has all)")));
        all.join(", ")
    };
    let down = down.into_iter().map(|(names, events)| format!("{names} stays down after {}", few(events)));
    let mut told: Vec<String> = down.collect();
    told.extend(Some(few(longer)).filter(|text| !text.is_empty()));
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
