//! Runs of the correct core that must be reported: each checker can see. Beside each the nearly same run without what is
//! wrong, which passes.
//!
//! What the core cannot be brought to do is told to the checkers as a lie: `src/check/tests.rs`.

use hb_sim::{Detail, Plan, Report};
use std::collections::BTreeSet;

const PAIR: &str = "base C2\nset auto_failback off\nboot h1 h2\n";
const SETTLED: &str = "base C2\nset auto_failback off\nboot h1 h2\nsettle\n";

fn play(text: &str) -> Report {
    let plan = Plan::parse("canary", text).unwrap_or_else(|problems| panic!("{}", hb_sim::render_all(&problems, text)));
    hb_sim::run(&plan, 1, Detail::Lines)
}

/// The properties that were violated, and nothing else is wrong with the run.
fn broken(text: &str) -> Vec<&'static str> {
    let report = play(text);
    let checks: BTreeSet<&'static str> = report.violations.iter().map(|violation| violation.check).collect();
    let others = |what: &str| !checks.iter().any(|check| what == *check) && !what.starts_with("each group has");
    let unexpected: Vec<_> = report.missed().filter(|verdict| others(&verdict.what)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}\n{}", report.recording.timeline());
    assert_eq!(checks.is_empty(), report.passed(), "a violation is a failure:\n{}", report.recording.timeline());
    checks.into_iter().collect()
}

// --- single owner

#[test]
fn a_partition_gives_two_owners() {
    let cut = format!("{SETTLED}at 0 cut h1\nend 8\n");
    assert_eq!(broken(&cut), ["single owner"]);
    assert_eq!(broken(&cut.replace("cut", "crash")), [""; 0]);
    assert_eq!(broken(&format!("{cut}hazards\n")), [""; 0]);
}

/// A length is allowed to the millisecond.
#[test]
fn a_longer_overlap_than_the_allowed_one_is_seen() {
    let cut = format!("{SETTLED}at 0 cut h1\nat 5 heal h1\nend 12\n");
    let plan = Plan::parse("canary", &cut).unwrap();
    let (world, _) = hb_sim::run::play(&plan, 1, Detail::Quiet);
    let lengths = (0..world.ground.group_count()).map(|group| world.ground.overlap(world.now(), group).as_millis());
    let longest = lengths.max().unwrap();
    assert!(longest > 1000, "{longest}");
    assert_eq!(broken(&format!("{cut}overlap {}ms\n", longest + 1)), [""; 0]);
    assert_eq!(broken(&format!("{cut}overlap {}ms\n", longest - 5)), ["single owner"]);
}

#[test]
fn what_a_killed_daemon_left_is_an_owner() {
    let kill = format!("{SETTLED}at 0 kill h1\nend 8\n");
    assert_eq!(broken(&kill), ["single owner"]);
    assert_eq!(broken(&format!("{kill}hazards\n")), [""; 0]);
    assert_eq!(broken(&format!("{kill}guard h1 50ms\n")), [""; 0]);
}

#[test]
fn a_machine_that_comes_back_is_an_owner() {
    let stall = format!("{SETTLED}at 0 stall h1\nat 10 resume h1\nend 20\n");
    assert_eq!(broken(&stall), ["single owner"]);
    assert_eq!(broken(&format!("{stall}hazards\n")), [""; 0]);
    assert_eq!(broken(&stall.replace("at 10", "at 2")), [""; 0]);
}

// --- what is explained is not everything

/// Nodes that cannot read each other are in contact all the same: their frames arrive. So nothing excuses what they do. (Only
/// who was never understood is taken for alive by that: scenario S7.)
#[test]
fn nodes_that_do_not_understand_each_other_break_what_hazards_do_not_excuse() {
    let keys = "write h2 authkeys:\n  auth 1\n  1 sha1 another\n";
    let deaf = format!("{PAIR}{keys}hazards\nat 15 reload h2\ncalm 20\nend 80\n");
    assert_eq!(broken(&deaf), ["no death while heard", "one owner after calm", "single owner"]);
    assert_eq!(broken(&deaf.replace("sha1 another", "sha1 the-key-of-the-laboratory")), [""; 0]);
}

#[test]
fn a_reason_that_only_a_human_can_mend_excuses_a_group_without_an_owner() {
    let fails = format!("{PAIR}fail h1 Tst::A start\nfail h2 Tst::A start\nhazards\ncalm 20\nby 85 A@-\nend 90\n");
    assert_eq!(broken(&fails), [""; 0]);
}

// --- proof

#[test]
fn a_takeover_without_fencing_is_seen() {
    let crash = format!("{SETTLED}proof fenced\nat 0 crash h1\nend 6\n");
    assert_eq!(broken(&crash), ["fence before takeover"]);
    assert_eq!(broken(&crash.replace("proof fenced\n", "")), [""; 0]);
    // An orderly release needs no fence.
    assert_eq!(broken(&crash.replace("crash", "stop")), [""; 0]);
}

#[test]
fn a_device_that_lies_or_fails_or_hangs_proves_nothing() {
    let fenced = format!("{SETTLED}proof fenced\nhazards\ndevice h1 works 1\nat 0 suspend h1\nat 1 fence h1\nend 8\n");
    assert_eq!(broken(&fenced), [""; 0]);
    for bad in ["lies", "fails", "hangs"] {
        assert_eq!(broken(&fenced.replace("works", bad)), ["fence before takeover"], "{bad}");
    }
    // Too late is not before.
    assert_eq!(broken(&fenced.replace("works 1", "works 4")), ["fence before takeover"]);
}

#[test]
fn a_takeover_from_a_node_that_released_nothing_is_seen() {
    let cut = format!("{SETTLED}proof released\nhazards\nat 0 cut h1\nend 8\n");
    assert_eq!(broken(&cut), ["release before takeover"]);
    for released in ["crash", "stop"] {
        assert_eq!(broken(&cut.replace("cut", released)), [""; 0], "{released}");
    }
    let kill = cut.replace("cut", "kill");
    assert_eq!(broken(&kill), ["release before takeover"]);
    assert_eq!(broken(&format!("{kill}guard h1 50ms\n")), [""; 0]);
    // A watchdog in time is a proof, one that comes too late is none.
    assert_eq!(broken(&format!("{kill}watchdog h1 2\n")), [""; 0]);
    assert_eq!(broken(&format!("{kill}watchdog h1 4\n")), ["release before takeover"]);
}

/// What lost its power has released everything, even if the machine works again when somebody takes that over.
#[test]
fn a_machine_that_was_off_for_a_moment_has_released_everything() {
    let reset = format!(
        "{SETTLED}proof fenced\ndevice h1 works 1\nat 0 fence h1\nat 1.5 cut h1\nat 1.5 start h1\nby 4 A@h2 B@h2\nend 8\n"
    );
    assert_eq!(broken(&reset), [""; 0]);
    let crash = reset.replace("proof fenced", "proof released").replace("fence h1", "crash h1");
    assert_eq!(broken(&crash), [""; 0]);
    // What the machine has started since then counts: it comes up alone, and takes everything without proof.
    assert_eq!(
        broken(&reset.replace("B@h2\nend 8", "B@h2\nat 8 open h1>h2 eth9\nhazards\nend 12")),
        ["fence before takeover"]
    );
    assert_eq!(broken(&crash.replace("proof released", "proof fenced")), ["fence before takeover"]);
}
