//! The model of 3.0.6 against what was observed of 3.0.6: rows of the library, played by models alone.
//!
//! The expectations are the lines of a scenario that are for all clusters and those marked `model`: column *outcome* of the
//! row, with its tolerance of half a second; of a range, half a second beyond either end. Every row is run with many seeds:
//! other phases of the heartbeats, other delays, the same outcome.

use hb_sim::plan::EngineKind;
use hb_sim::{Detail, Plan, Report, library};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=12;

fn plan(name: &str, text: &str) -> Plan {
    let plan = Plan::parse(name, text).unwrap_or_else(|problems| panic!("{}", hb_sim::render_all(&problems, text)));
    plan.played_by(&[EngineKind::Model])
}

fn missed(report: &Report) -> Vec<String> {
    let line = |verdict: &hb_sim::run::Verdict| format!("{}: {:?}", verdict.what, verdict.missed);
    report.missed().map(line).collect()
}

/// Runs a row with every seed and expects all of it.
fn row(name: &str, text: &str) {
    let plan = plan(name, text);
    for seed in SEEDS {
        let report = hb_sim::run(&plan, seed, Detail::Lines);
        let missed = missed(&report);
        assert!(missed.is_empty(), "{name}, seed {seed}: {missed:#?}\n{}", report.recording.timeline());
    }
}

macro_rules! rows {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            row($name, library::find($name).expect("a scenario of the library"));
        })*
    };
}

rows! {
    s1: "S1", s1_off: "S1-off", s3: "S3", s4: "S4", s5: "S5",
    f1: "F1", f2: "F2", f6: "F6", f6_off: "F6-off", f7: "F7", f8: "F8", f9: "F9", f9_on: "F9-on", f10: "F10", f11: "F11",
    f12: "F12",
    p1: "P1", p2: "P2", p3: "P3", p4: "P4", p6: "P6", p7: "P7", p8: "P8", p9: "P9", p16: "P16", p16_off: "P16-off",
    t1: "T1", t2: "T2", t3: "T3", t4: "T4", t5: "T5", t6: "T6", t7_apart: "T7-apart", t8: "T8",
}

/// With a keepalive of a second the phases alone decide over more than the tolerance: here the survivor beats half a second
/// after the other, which dies three tenths after a heartbeat.
#[test]
fn f5_in_the_middle_of_its_phases() {
    let text = library::find("F5").expect("a scenario of the library");
    let setting = text.split("boot h1 h2").next().unwrap_or_default();
    row("F5", &format!("{setting}at 0 start h1\nat 0.5 start h2\nat 50.4 crash h1\nnear 81 A@h2\nend 90\n"));
}

/// The observation says 18.9 s and 19.9 s; the rules and the recordings say that the wait of ten seconds begins when the
/// second node is heard, and so does the model. (In `three-node-startup-and-death` the last of three nodes starts three
/// seconds late, and service begins 11.5 s after *its* start.) Two and a half seconds are missing; a laboratory in which
/// the second daemon came up that much after the command would explain both.
#[test]
fn s6_has_its_placement_but_earlier_than_observed() {
    let text = library::find("S6").expect("a scenario of the library");
    for seed in SEEDS {
        let missed = missed(&hb_sim::run(&plan("S6", text), seed, Detail::Lines));
        assert!(missed.len() == 2 && missed.iter().all(|line| line.starts_with("near ")), "seed {seed}: {missed:#?}");
    }
    let (before, _) = text.split_once("ours by").expect("the expectations");
    let late = before.replace("at 5 start h2", "at 7.5 start h2");
    row("S6, later", &format!("{late}near 18.9 A@h1\nby 20.4 A@h1 B@h2\nholds h1 local\nholds h2 local\nend 30\n"));
}

/// A node that stopped in order is declared dead later, and nothing is taken over then (F6).
#[test]
fn one_that_stopped_has_given_up_its_resources() {
    let text = library::find("F6").expect("a scenario of the library").replace("end 2.9\n", "end 10\n");
    row("F6, later", &format!("{text}log h2 Dead node h1 gave up resources.\n"));
}

/// A lone node holds everything, and says `transition` until its timer has expired (S3).
#[test]
fn a_lone_node_is_in_transition_for_ten_seconds() {
    let text = "base C2\nset auto_failback on\nboot h1\nholds h1 all\n";
    for (end, expected) in [("end 18\n", "transition, not stable"), ("end 19\n", "")] {
        let missed = missed(&hb_sim::run(&plan("S3", &format!("{text}{end}")), 1, Detail::Lines));
        assert_eq!(missed.is_empty(), expected.is_empty(), "{end} {missed:?}");
        assert!(missed.iter().all(|line| line.contains(expected)), "{end} {missed:?}");
    }
}

/// A node of ours beside one of theirs: whoever comes first, a crash, a stop and a standby go as between equals.
#[test]
fn a_mixed_pair_fails_over_stops_and_hands_over() {
    use EngineKind::{Model, Ours};
    let text = "base C2\nset auto_failback off\nboot h1 h2\nsettle\nat 0 crash h1\nby 3.9 A@h2 B@h2\nat 7 start h1\n\
        at 15 standby h2 all\nby 18 A@h1 B@h1\nat 20 stop h1\nby 22 A@h2 B@h2\nend 30\n";
    for kinds in [[Ours, Model], [Model, Ours]] {
        let plan = plan("mixed", text).played_by(&kinds);
        for seed in SEEDS {
            let report = hb_sim::run(&plan, seed, Detail::Lines);
            let missed = missed(&report);
            assert!(missed.is_empty(), "{kinds:?}, seed {seed}: {missed:#?}\n{}", report.recording.timeline());
        }
    }
}
