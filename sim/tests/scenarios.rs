//! Every scenario under its name: its expectations, two equal runs, and its timeline as a snapshot.

use hb_sim::{Plan, library};

fn check(name: &str) {
    let text = library::find(name).expect("a scenario of the library");
    let plan = Plan::parse(name, text).unwrap_or_else(|problems| panic!("{}", hb_sim::render_all(&problems, text)));
    let report = hb_sim::run(&plan, 1);
    let missed: Vec<_> = report.verdicts.iter().filter(|verdict| verdict.missed.is_some()).collect();
    assert!(missed.is_empty(), "{name}: {missed:#?}\n{}", report.timeline);
    insta::assert_snapshot!(format!("timeline_{name}"), report.timeline);
}

macro_rules! scenarios {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            check($name);
        })*

        #[test]
        fn every_scenario_of_the_library_has_its_test() {
            let tested = [$($name),*];
            assert!(library::ALL.iter().map(|(name, _)| *name).eq(tested));
            let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
            assert_eq!(files.count(), tested.len(), "every file is in the library");
        }
    };
}

scenarios! {
    f1: "F1", f2: "F2", f4: "F4", f6: "F6", p1: "P1", s1: "S1", s3: "S3", t1: "T1",
}

/// A partition without any means against it: the policy allows two owners, this scenario does not. If it passed, the
/// checker would be blind.
#[test]
fn the_canary_fails_for_two_owners_and_for_nothing_else() {
    let text = "title a partition\nbase C2\nset auto_failback on\nboot h1 h2\nsettle\nat 0 cut h1\nend 6\n";
    let report = hb_sim::run(&Plan::parse("canary", text).unwrap(), 1);
    let missed: Vec<String> = report.verdicts.iter().filter_map(|verdict| verdict.missed.clone()).collect();
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert!(missed[0].starts_with("group 10.77.0.100/24/eth0 had two owners for 3025 ms"), "{missed:?}");
    // With the hazard allowed by its length the same run passes.
    let allowed = text.replace("end 6", "overlap 3.1\nend 6");
    assert!(hb_sim::run(&Plan::parse("allowed", &allowed).unwrap(), 1).passed());
}

/// Expectations that are wrong are missed: the judge can see, too.
#[test]
fn wrong_expectations_are_missed() {
    let wrong = ["by 1 A@h2", "gap A 0", "calls h1 7", "log h1 never said", "no-log h1 Local status", "holds h1 all"];
    for line in wrong {
        let text = format!("base C2\nset auto_failback on\nboot h1 h2\n{line}\nend 3\n");
        let report = hb_sim::run(&Plan::parse("wrong", &text).unwrap(), 1);
        assert_eq!(report.verdicts.iter().filter(|verdict| verdict.missed.is_some()).count(), 1, "{line}");
    }
}

#[test]
fn another_seed_is_another_run_with_the_same_outcome() {
    let plan = Plan::parse("F1", library::find("F1").unwrap()).unwrap();
    let reports = [1, 2].map(|seed| hb_sim::run(&plan, seed));
    assert!(reports.iter().all(hb_sim::Report::passed));
    assert_ne!(reports[0].digest, reports[1].digest);
}

/// Messages that overtake each other delay nothing but what has to be asked for again.
#[test]
fn every_scenario_passes_with_reordering() {
    for (name, text) in library::ALL {
        let text = text.replace("base C2\n", "base C2\nreorder\n");
        for seed in 1..=20 {
            let report = hb_sim::run(&Plan::parse(name, &text).unwrap(), seed);
            let missed: Vec<_> = report.verdicts.iter().filter(|verdict| verdict.missed.is_some()).collect();
            assert!(missed.is_empty(), "{name}, seed {seed}: {missed:#?}\n{}", report.timeline);
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
