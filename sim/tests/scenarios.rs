//! Every scenario under its name: its expectations, two equal runs, what came of it as a line a group, and for some the
//! whole timeline as a snapshot.

use hb_core::config::Code;
use hb_sim::{Detail, Plan, Report, library, pending};
use std::fmt::Write as _;

/// Runs a scenario of the library, unless its configuration is refused; anything else wrong with its text is a mistake.
fn run(name: &str) -> Result<Report, Code> {
    let text = library::find(name).expect("a scenario of the library");
    match Plan::parse(name, text) {
        Ok(plan) => Ok(hb_sim::run(&plan, 1, Detail::Lines)),
        Err(problems) => {
            let is_refusal = |code| matches!(code, Code::Refused);
            let all = problems.iter().all(|problem| is_refusal(problem.code));
            assert!(all, "{}", hb_sim::render_all(&problems, text));
            Err(problems[0].code)
        }
    }
}

/// One table of all rows: a change of behaviour is seen in review. What does not pass is on the list of those that wait,
/// and what is on that list does not pass.
#[test]
fn every_scenario_passes_or_is_pending() {
    let (mut table, mut wrong) = (String::new(), String::new());
    for (name, _) in library::ALL {
        let result = run(name);
        let word = match (&result, pending::reason(name)) {
            (Err(code), Some(_)) => &format!("pending, refused: {code}"),
            (Ok(report), Some(_)) if !report.passed() => "pending",
            (Ok(_), Some(_)) => {
                _ = writeln!(wrong, "{name} passes: take it off the pending list");
                "passes"
            }
            (Ok(report), None) if report.passed() => "passes",
            (Ok(report), None) => {
                let missed: Vec<_> = report.missed().collect();
                _ = writeln!(wrong, "{name}: {missed:#?}\n{}", report.recording.timeline());
                "FAILS"
            }
            (Err(code), None) => {
                _ = writeln!(wrong, "{name} is refused: {code}");
                "FAILS"
            }
        };
        _ = writeln!(table, "{name:<19} {word}");
        for served in result.iter().flat_map(|report| &report.served) {
            _ = writeln!(table, "                    {served}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    insta::assert_snapshot!("rows", table);
}

#[test]
fn the_library_has_every_file_and_the_pending_list_names_scenarios() {
    let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut names: Vec<String> = library::ALL.iter().map(|(name, _)| format!("{name}.hbs")).collect();
    files.sort_unstable();
    names.sort_unstable();
    assert_eq!(files, names);
    for (name, _) in pending::PENDING {
        assert!(library::find(name).is_some(), "{name} is pending, but there is no such scenario");
    }
    // The rows of the catalogue, without gaps.
    for (family, rows) in [("S", 14), ("F", 21), ("P", 17), ("T", 21), ("I", 9), ("N", 13)] {
        for row in 1..=rows {
            assert!(library::find(&format!("{family}{row}")).is_some(), "{family}{row} is missing");
        }
    }
}

macro_rules! timelines {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            let report = run($name).expect("a configuration that is not refused");
            insta::assert_snapshot!(concat!("timeline_", $name), report.recording.timeline());
        })*
    };
}

timelines! {
    f1: "F1", f2: "F2", f4: "F4", f6: "F6", f7: "F7", f11: "F11", p1: "P1", p3: "P3", s1: "S1", s3: "S3", t1: "T1",
    t8: "T8", t14: "T14",
}

/// A partition without any means against it: the policy allows two owners, this scenario does not. If it passed, the
/// checker would be blind.
#[test]
fn the_canary_fails_for_two_owners_and_for_nothing_else() {
    let text = "title a partition\nbase C2\nset auto_failback on\nboot h1 h2\nsettle\nat 0 cut h1\nend 6\n";
    let report = hb_sim::run(&Plan::parse("canary", text).unwrap(), 1, Detail::Lines);
    let missed: Vec<String> = report.verdicts.iter().filter_map(|verdict| verdict.missed.clone()).collect();
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert!(missed[0].contains("group 10.77.0.100/24/eth0 had two owners for 3030 ms"), "{missed:?}");
    // With the hazard allowed by its length the same run passes.
    let allowed = text.replace("end 6", "overlap 3.1\nend 6");
    assert!(hb_sim::run(&Plan::parse("allowed", &allowed).unwrap(), 1, Detail::Lines).passed());
}

/// Expectations that are wrong are missed: the judge can see, too.
#[test]
fn wrong_expectations_are_missed() {
    let wrong = [
        "by 1 A@h2",
        "by 1 A@h1+~h2",
        "near 2 A@h1",
        "together 1 A B",
        "gap A 0",
        "calls h1 7",
        "log h1 never said",
        "no-log h1 Local status",
        "holds h1 all",
    ];
    for line in wrong {
        let text = format!("base C2\nset auto_failback on\nboot h1 h2\n{line}\nend 3\n");
        let report = hb_sim::run(&Plan::parse("wrong", &text).unwrap(), 1, Detail::Lines);
        assert_eq!(report.verdicts.iter().filter(|verdict| verdict.missed.is_some()).count(), 1, "{line}");
    }
}

#[test]
fn another_seed_is_another_run_with_the_same_outcome() {
    let plan = Plan::parse("F1", library::find("F1").unwrap()).unwrap();
    let reports = [1, 2].map(|seed| hb_sim::run(&plan, seed, Detail::Lines));
    assert!(reports.iter().all(hb_sim::Report::passed));
    assert_ne!(reports[0].digest, reports[1].digest);
}

const MOST_IS_SAID: [&str; 10] = ["F1", "F2", "F4", "F6", "P1", "S1", "S3", "T1", "T6", "lost-release"];

/// Messages that overtake each other delay nothing but what has to be asked for again.
#[test]
fn every_scenario_passes_with_reordering() {
    for (name, text) in library::ALL.iter().filter(|(name, _)| pending::reason(name).is_none()) {
        let text = text.replace("base C2\n", "base C2\nnet reorder 1\n");
        // Those where most is said get the most luck.
        let seeds = if MOST_IS_SAID.contains(name) { 20 } else { 3 };
        for seed in 1..=seeds {
            let report = hb_sim::run_once(&Plan::parse(name, &text).unwrap(), seed, Detail::Lines);
            let missed: Vec<_> = report.verdicts.iter().filter(|verdict| verdict.missed.is_some()).collect();
            assert!(missed.is_empty(), "{name}, seed {seed}: {missed:#?}\n{}", report.recording.timeline());
        }
    }
}

#[test]
fn all_problems_of_a_scenario_are_shown_at_once() {
    let text =
        "bas C2\nbase C2\nset auto_failback on\nboot h1 h9\nat soon crash h1\nat 3 crush h2\nby 4 C@h1 A@h1\ngap A\n";
    let problems = Plan::parse("broken.hbs", text).unwrap_err();
    insta::assert_snapshot!("diagnostics", hb_sim::render_all(&problems, text));
}

/// What the daemon refuses hides nothing else that is wrong, and is itself a scenario if it is what is wanted.
#[test]
fn a_refused_configuration_is_a_problem_unless_it_is_expected() {
    let codes = |text: &str| -> Vec<Code> {
        let problems = Plan::parse("refused.hbs", text).err().unwrap_or_default();
        problems.iter().map(|problem| problem.code).collect()
    };
    let open = "base C2\nset autojoin any\nset auto_failback on\n";
    assert_eq!(codes(&format!("{open}boot h1\nend 1\n")), [Code::Refused]);
    // The label of one line and the node of the other are unknown.
    let wrong = codes(&format!("{open}boot h9\nby 1 C@h1\nend 1\n"));
    assert_eq!(wrong, [Code::Refused, Code::ScenarioValue, Code::ScenarioValue]);
    let names: Vec<String> = (1..=17).map(|number| format!("h{number}")).collect();
    let many = format!("base C2\nset auto_failback on\nset node {}\nslow h1 Tst::X start 1\nend 1\n", names.join(" "));
    assert_eq!(codes(&many), [Code::TooManyOwners, Code::ScenarioValue]);
    let plan = Plan::parse("refused.hbs", &format!("{open}refused E0203\nend 1\n")).unwrap();
    assert!(plan.hosts.is_empty() && hb_sim::run(&plan, 1, Detail::Lines).passed());
    let others = codes(&format!("{open}refused E0304\nend 1\n"));
    assert_eq!(others, [Code::Refused, Code::ScenarioValue]);
    assert_eq!(codes("base C2\nset auto_failback on\nrefused E0304\nend 1\n"), [Code::ScenarioValue]);
    // Cables and ground cannot change in the middle of a run.
    let media = "write h1 ha.cf:\n  node h1 h2\n  bcast eth1 eth2\n  logfacility none\n";
    assert_eq!(codes(&format!("base C2\nset auto_failback on\n{media}end 1\n")), [Code::ScenarioValue]);
}

/// A daemon that finds unusable files when it is restarted does not come back; what it ran stays.
#[test]
fn a_restart_reads_the_files_as_they_are_then() {
    let text = |authkeys: &str| {
        format!(
            "base C2\nset auto_failback on\nwrite h1 authkeys:\n  {authkeys}\n  1 sha1 the-key-of-the-laboratory\n\
             boot h1 h2\nsettle\nat 0 restart h1\nend 2\n"
        )
    };
    let said = |text: &str, phrase: &str| {
        let report = hb_sim::run_once(&Plan::parse("restart", text).unwrap(), 1, Detail::Lines);
        report.recording.timeline().contains(phrase)
    };
    let back = "Heartbeat restart on node h1";
    assert!(said(&text("auth 1"), back));
    assert!(!said(&text("auth 2"), back));
}

/// A plan's text says everything: read again it is the same text, and the same run.
#[test]
fn what_a_plan_prints_is_the_same_plan() {
    let rich = "title all of the language\nbase C2\nha.cf h2:\n  node h1 h2\n  bcast eth1\n  deadtime 5\n  logfacility none\n\
        set auto_failback on\nset-on h1 warntime 1\nboot h1 h2\nsettle\nclock h1 drift -200\nclock h2 offset 3600\nlag h1 5ms\n\
        guard h1 50ms\nwatchdog h2 4.5\ndevice h1 lies 8\nslow h1 Tst::A stop 12\nmisreport h1 Tst::B stop\nrunning h2 Tst::A\nping-target 10.77.0.254 eth0\n\
        write h1 authkeys:\n  auth 2\nwrite h2 ha.cf:\n  node h1 h2\n  bcast eth1\n  deadtime 6\n  logfacility none\nfail h2 Tst::B start\nhazards\noverlap 2.5\n\
        proof released\nnet delay lognormal 2ms 0.5\nnet h1>h2 eth1 loss bursts 0.01 0.2 0 0.9\nnet h1> duplicate 0.000001\n\
        net >h2 baud 19200\nnet eth1 queue 7\nnet delay recorded 1ms 150us 3\nfate switch h1:eth1 h2:eth1\n\
        at 1 cut switch\nat 2 heal switch\nat 3 flap h1 eth1 3 2.0 1.5\nat 4 block h1>h2\nat 4.5 open h1>h2 eth1\n\
        at 5 suspend h1\nat 6 resume h1\nat 6 step-clock h2 -90000\nat 7 lose-writes h1\nat 7 fence h1\n\
        at 8 net rate unlimited\nat 8 deafen h1\nat 8 mute h2 eth1\nat 9 takeover h2 foreign\nat 9 freeze h2\nat 9 restart h1\nat 9 reload h2\nat 9 lose h1 Tst::A\nat 9 device h2 hangs 1\nat 9 stall h1\n\
        at 10 net corrupt 0.25\nat 10 net reorder 1\ncalm 20\nours by 30 A@h1 B@-\nmodel near 31 A@h1+h2\nby 32 B@h1+~h2\ntogether 33 A B\nmixed gap A 3\n\
        calls h1 4\nlog h1 is dead: (yes)\nno-log h2 nothing\nholds h1 all\nend 60\n";
    let print = |text: &str| match Plan::parse("rich", text) {
        Ok(plan) => plan.to_string(),
        Err(problems) => panic!("{}\n{text}", hb_sim::render_all(&problems, text)),
    };
    let printed = print(rich);
    assert_eq!(print(&printed), printed);
    for (name, text) in library::ALL {
        if Plan::parse(name, text).is_err() {
            continue;
        }
        let plans = [(*text).to_owned(), print(text)].map(|text| Plan::parse(name, &text).unwrap());
        let digests = plans.map(|plan| hb_sim::run::play(&plan, 3, Detail::Quiet).0.digest());
        assert_eq!(digests[0], digests[1], "{name}");
    }
}

/// The same runs in every build: the release program prints this list, too, and it is compared (`.ci/run`).
#[test]
fn every_scenario_has_its_known_digest() {
    let digest = |(name, text): &(&str, &str)| {
        let plan = Plan::parse(name, text).ok()?;
        let (world, _) = hb_sim::run::play(&plan, 1, Detail::Quiet);
        Some(format!("{name} {:016x}\n", world.digest()))
    };
    let met = library::ALL.iter().filter(|(name, _)| hb_sim::pending::reason(name).is_none());
    let digests: String = met.filter_map(digest).collect();
    let known = include_str!("digests.txt");
    assert!(digests == known, "`hbsim digests > sim/tests/digests.txt` if behaviour was meant to change:\n{digests}");
}
