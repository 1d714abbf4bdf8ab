//! Every row of the catalogue for two nodes, with the model of 3.0.6 as either of them: what comes of it is stated, and every
//! overlap is allowed by the rule of the original that forces it.

use hb_sim::{Detail, Plan, library};
use std::fmt::Write as _;
use std::time::Duration;

/// What forces two owners where one node is a 3.0.6; docs/compatibility.md tells them.
const RULES: [(&str, &str); 7] = [
    ("silence", "who is silent for its dead time is taken for dead (CLUSTER b.5)"),
    ("strange key", "who signs with another key is never heard, and dead at initdead (CLUSTER b.5)"),
    ("left behind", "a 3.0.6 that dies, is killed or gives up a stop leaves what it runs (CLUSTER k)"),
    ("unseen", "a 3.0.6 does not ask what runs before it starts (CLUSTER k)"),
    ("own start", "a 3.0.6 gives a group away while its own start of it still runs (CLUSTER k)"),
    (
        "no device",
        "the model of 3.0.6 has no fencing device, and takes over as without one (the real one waits for its shot)",
    ),
    ("first contact", "a 3.0.6 that meets another owner for the first time keeps everything (scenario P16)"),
];

/// Row, the node that is a 3.0.6, the rule, and for how long at most two nodes had something of one group, in seconds.
const ALLOWED: &[(&str, &str, &str, u64)] = &[
    ("S7", "h1", "strange key", 22),
    ("S7", "h2", "strange key", 22),
    ("S10", "h2", "unseen", 20),
    ("F11", "h2", "own start", 17),
    ("F14", "h1", "left behind", 18),
    ("F15", "h1", "left behind", 28),
    ("F18", "h1", "silence", 26),
    ("F18", "h2", "silence", 25),
    ("F19", "h1", "left behind", 18),
    ("P2", "h1", "silence", 5),
    ("P2", "h2", "silence", 5),
    ("P3", "h1", "silence", 10),
    ("P3", "h2", "silence", 10),
    ("P4", "h1", "silence", 12),
    ("P4", "h2", "silence", 12),
    ("P5", "h1", "silence", 10),
    ("P5", "h2", "silence", 10),
    ("P6", "h1", "silence", 3),
    ("P6", "h2", "silence", 9),
    ("P9", "h1", "silence", 7),
    ("P9", "h2", "silence", 8),
    ("P10", "h1", "no device", 9),
    ("P10", "h2", "no device", 8),
    ("P16", "h1", "silence", 16),
    ("P16", "h2", "silence", 16),
    ("P16-legacy", "h1", "silence", 17),
    ("P16-legacy", "h2", "silence", 17),
    // Three seconds more than the time apart: a dead time, after which ours gives everything up.
    ("P16-off", "h1", "first contact", 19),
    ("P16-off", "h2", "first contact", 19),
    ("P17", "h1", "silence", 7),
    ("P17", "h2", "silence", 7),
    ("T9", "h1", "own start", 14),
    ("T17", "h1", "left behind", 30),
];

/// The rows of two nodes: what begins with these letters, but for what is refused before anything runs.
const FAMILIES: [char; 5] = ['S', 'F', 'P', 'T', 'I'];

#[test]
fn a_model_on_either_side_comes_to_what_is_stated() {
    let (mut table, mut wrong, mut used) = (String::new(), String::new(), Vec::new());
    for (name, text) in library::ALL.iter().filter(|(name, _)| is_row(name)) {
        for model in ["h1", "h2"] {
            let Some(plan) = with_model(name, text, model) else { continue };
            let report = hb_sim::run_once(&plan, 1, Detail::Quiet);
            let overlap = report.served.iter().map(|served| served.overlap).max().unwrap_or_default();
            let allowed = ALLOWED.iter().position(|(row, side, ..)| row == name && *side == model);
            let limit = allowed.map_or(0, |at| ALLOWED[at].3);
            used.extend(allowed.filter(|_| !overlap.is_zero()));
            if overlap > Duration::from_secs(limit) {
                _ = writeln!(wrong, "{name}, 3.0.6 on {model}: two owners for {overlap:?}, {limit} s are allowed");
            }
            let rule = allowed.map_or(String::new(), |at| format!("; allowed by `{}`", ALLOWED[at].2));
            _ = writeln!(table, "{name:<12} 3.0.6 on {model}{rule}");
            for served in &report.served {
                _ = writeln!(table, "             {served}");
            }
            // The rule that there is one owner is judged above.
            for missed in report.missed().filter(|verdict| !verdict.what.starts_with("each group has")) {
                _ = writeln!(table, "             not as wanted: {}", missed.what);
            }
        }
    }
    for (at, (row, side, rule, _)) in ALLOWED.iter().enumerate() {
        assert!(RULES.iter().any(|(known, _)| known == rule), "{rule} is no rule");
        if !used.contains(&at) {
            _ = writeln!(wrong, "{row}, 3.0.6 on {side}: there is no overlap any more");
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n{table}");
    insta::assert_snapshot!("mixed", table);
}

/// What the rules are is written where users look.
#[test]
fn the_rules_are_documented() {
    let text = include_str!("../../docs/compatibility.md");
    for (rule, words) in RULES {
        let (words, _) = words.split_once(" (").expect("each names its source");
        assert!(text.contains(&format!("| {rule} | {words}")), "{rule}: {words}");
    }
}

fn is_row(name: &str) -> bool {
    name.starts_with(FAMILIES) && name[1..].starts_with(|letter: char| letter.is_ascii_digit())
}

/// The row with one node played by the model; none if its files are refused.
fn with_model(name: &str, text: &str, model: &str) -> Option<Plan> {
    let lines: Vec<&str> = text.lines().collect();
    // Before anything happens, after the files.
    let at = lines.iter().position(|line| ["boot ", "settle", "at "].iter().any(|word| line.starts_with(word)))?;
    let (files, rest) = lines.split_at(at);
    let text = format!("{}\nplay {model} model\n{}\n", files.join("\n"), rest.join("\n"));
    Plan::parse(name, &text).ok()
}
