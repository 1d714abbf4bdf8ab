//! The model of 3.0.6 against what was observed of 3.0.6: rows of the scenario table, played by models alone.
//!
//! Times are those of the column *outcome*, with its tolerance of half a second. Where it gives a range, the middle stands
//! here. Every row is run with many seeds: other phases of the heartbeats, other delays, the same outcome.

use hb_sim::ground::Share;
use hb_sim::plan::EngineKind;
use hb_sim::run::play;
use hb_sim::world::World;
use hb_sim::{Detail, Plan};
use std::time::Duration;

const SEEDS: std::ops::RangeInclusive<u64> = 1..=20;

fn plan(name: &str, text: &str) -> Plan {
    let text = format!("base C2\n{text}");
    let plan = Plan::parse(name, &text).unwrap_or_else(|problems| panic!("{}", hb_sim::render_all(&problems, &text)));
    plan.played_by(&[EngineKind::Model])
}

/// Runs a row with every seed and expects all of it.
fn row(name: &str, text: &str) {
    let plan = plan(name, text);
    let mut missed = Vec::new();
    let mut last = None;
    for seed in SEEDS {
        let report = hb_sim::run(&plan, seed, Detail::Lines);
        if !report.passed() {
            missed.extend(report.missed().map(|verdict| (seed, verdict.clone())));
            last = Some(report);
        }
    }
    assert!(
        missed.is_empty(),
        "{name}: {missed:#?}\n{}",
        last.map_or_else(String::new, |report| report.recording.timeline().to_string())
    );
}

macro_rules! rows {
    ($($test:ident: $text:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            row(stringify!($test), $text);
        })*
    };
}

const BOTH: &str = "set auto_failback off\nboot h1 h2\nsettle\n";

rows! {
    s1_on: "set auto_failback on\nboot h1 h2\nnear 11.5 A@h1 B@h2\nby 13 A@h1 B@h2\n\
        log h1 Initial resource acquisition complete\nholds h1 local\nholds h2 local\nend 30\n",
    s1_off: "set auto_failback off\nboot h1 h2\nnear 11.5 A@h1 B@h2\nby 13 A@h1 B@h2\nholds h1 local\nholds h2 local\nend 30\n",
    s3: "set auto_failback on\nboot h1\nnear 8.4 A@h1 B@h1\nby 9 A@h1 B@h1\nholds h1 all\nend 25\n",
    s4: "set auto_failback on\nboot h1\nnear 8.4 A@h1 B@h1\nat 12 start h2\nnear 18.9 B@-\nnear 19.1 B@h2\nby 20 A@h1 B@h2\n\
        holds h1 local\nholds h2 local\nend 40\n",
    s5: "set auto_failback off\nboot h1\nnear 8.4 A@h1 B@h1\nby 9.5 A@h1 B@h1\nat 12 start h2\nby 12 A@h1 B@h1\n\
        holds h1 all\nholds h2 none\nend 40\n",
    f1: "set auto_failback on\nboot h1 h2\nsettle\nat 0 crash h1\nnear 3.3 A@h2\nat 7 start h1\nnear 8.1 A@-\nnear 8.6 A@h1\n\
        by 9.5 A@h1 B@h2\nholds h1 local\nholds h2 local\nend 20\n",
    f2: "set auto_failback off\nboot h1 h2\nsettle\nat 0 crash h1\nnear 3.3 A@h2\nat 7 start h1\nby 7 A@h2 B@h2\n\
        holds h1 none\nholds h2 all\nend 20\n",
    f5: "set auto_failback on\nset keepalive 1\nset deadtime 30\nset warntime 15\nset initdead 30\n\
        at 0 start h1\nat 0.5 start h2\nat 40.5 crash h1\nnear 71.1 A@h2\nend 80\n",
    f6: "set auto_failback on\nboot h1 h2\nsettle\nat 0 stop h1\nnear 0.8 A@h2\nby 1.5 A@h2 B@h2\ngap A 0.87\ncalls h1 4\n\
        log h1 h1 Heartbeat shutdown complete.\nlog h2 Received shutdown notice from 'h1'.\n\
        log h2 Dead node h1 gave up resources.\nholds h2 all\nend 10\n",
    f7: "set auto_failback on\nslow h1 Tst::A stop 12\nboot h1 h2\nsettle\nat 0 stop h1\nnear 12.5 A@h2\nby 11.9 B@h2\n\
        no-log h2 node h1: is dead\nend 13.5\n",
    f8: "set auto_failback on\nboot h1 h2\nsettle\nat 0 stop h1\nat 0 stop h2\nby 1 A@- B@-\n\
        log h1 Resource takeover cancelled - shutdown in progress.\n\
        log h2 Resource takeover cancelled - shutdown in progress.\nend 10\n",
    f9_on: "set auto_failback on\nboot h1 h2\nsettle\nat 0 crash h1\nat 1 start h1\nnear 2 A@h1\nby 2.6 A@h1 B@h2\n\
        no-log h2 is dead\nholds h1 local\nholds h2 local\nend 20\n",
    f9_off: "set auto_failback off\nboot h1 h2\nsettle\nat 0 crash h1\nat 1 start h1\nnear 2 A@h1\nby 2.6 A@h1 B@h2\n\
        no-log h2 is dead\nholds h1 local\nholds h2 local\nend 20\n",
    f10: "set auto_failback off\nslow h2 Tst::A start 6\nboot h1 h2\nsettle\nat 0 crash h1\nat 4 crash h2\nat 6 start h1\n\
        at 6.1 start h2\nnear 17 A@h1 B@h2\nby 18 A@h1 B@h2\nend 30\n",
    f12: "set auto_failback on\nslow h2 Tst::A start 10\nboot h1 h2\nsettle\nat 0 crash h1\nat 5 stop h2\nnear 13.3 A@h2\n\
        by 15 A@- B@-\nlog h2 Shutdown delayed until current resource activity finishes.\nend 25\n",
    p1: "set auto_failback on\nset bcast eth1 eth0\nboot h1 h2\nsettle\nat 0 cut h1 eth1\nat 7 heal h1 eth1\nby 0 A@h1 B@h2\n\
        by 7 A@h1 B@h2\ngap A 0\ngap B 0\nlog h1 Link h2:eth1 dead.\nlog h2 Link h1:eth1 dead.\nlog h1 Link h2:eth1 up.\n\
        no-log h1 is dead\nend 20\n",
    p3: "set auto_failback on\nboot h1 h2\nsettle\nat 0 cut h1\nnear 3.3 A@h1+h2 B@h1+h2\nat 12 heal h1\nnear 15 A@- B@-\n\
        near 32 A@h1 B@h2\nby 33 A@h1 B@h2\nlog h1 Cluster node h2 returning after partition.\nholds h1 local\nholds h2 local\n\
        end 60\n",
    p4: "set auto_failback off\nboot h1 h2\nsettle\nat 0 standby h1 all\nby 5 A@h2 B@h2\nat 20 cut h1\n\
        near 23.3 A@h1+h2 B@h1+h2\nat 32 heal h1\nnear 35 A@- B@-\nnear 52 A@h1 B@h2\nby 53 A@h1 B@h2\nend 80\n",
    p6: "set auto_failback off\nboot h1 h2\nsettle\nat 0 deafen h1\nnear 3.5 B@h1+h2\nat 10 heal h1\nnear 12.4 A@- B@h2\n\
        near 12.9 A@h2\nby 14 A@h2 B@h2\nlog h1 Cluster node h2 returning after partition.\n\
        no-log h2 returning after partition\nholds h1 none\nholds h2 all\nend 60\n",
    p7: "set auto_failback off\nboot h1 h2\nsettle\nat 0 flap h1 5 2 1.5\nby 0 A@h1 B@h2\nby 17.5 A@h1 B@h2\ncalls h1 0\n\
        calls h2 0\nno-log h1 is dead\nno-log h2 is dead\nend 40\n",
    p9: "set auto_failback on\nset-on h1 deadtime 8\nboot h1 h2\nsettle\nat 0 cut h1\nnear 3.5 B@h1+h2\nnear 8.2 A@h1+h2\n\
        by 9 A@h1+h2 B@h1+h2\nend 20\n",
    p16_on: "set auto_failback on\nat 0 cut h1\nat 0 start h1\nat 0.5 start h2\nnear 9 A@h1+h2 B@h1+h2\nat 23 heal h1\n\
        by 23 A@h1+h2 B@h1+h2\nholds h1 all\nholds h2 all\nlog h1 Status update for node h2: status active\n\
        no-log h1 Both machines own\nend 120\n",
    p16_off: "set auto_failback off\nat 0 cut h1\nat 0 start h1\nat 0.5 start h2\nnear 9 A@h1+h2 B@h1+h2\nat 23 heal h1\n\
        by 23 A@h1+h2 B@h1+h2\nholds h1 all\nholds h2 all\nend 120\n",
    t1: "set auto_failback off\nboot h1 h2\nsettle\nat 0 standby h1 local\nnear 0.6 A@-\nnear 1.1 A@h2\nby 1.7 A@h2 B@h2\n\
        gap A 0.89\nholds h1 none\nholds h2 all\nend 10\n",
    t2: "set auto_failback off\nboot h1 h2\nsettle\nat 0 standby h1 local\nat 10 takeover h1 local\nby 13 A@h1 B@h2\n\
        holds h1 local\nholds h2 local\nend 20\n",
    t3: "set auto_failback off\nboot h1 h2\nsettle\nat 0 standby h1 all\nby 3 A@h2 B@h2\nat 10 takeover h1 all\nby 13 A@h1 B@h1\n\
        holds h1 all\nholds h2 none\nend 20\n",
    t4: "set auto_failback off\nboot h1 h2\nsettle\nat 0 standby h2 all\nby 3 A@h1 B@h1\nat 10 standby h1 failback\n\
        by 13 A@h1 B@h2\nholds h1 local\nholds h2 local\nend 20\n",
    t5: "set auto_failback off\nboot h1 h2\nsettle\nat 0 standby h1 all\nby 3 A@h2 B@h2\nat 10 takeover h1 foreign\n\
        by 13 A@h2 B@h1\nholds h1 foreign\nholds h2 foreign\nend 20\n",
    t6: "set auto_failback off\nboot h1 h2\nsettle\nat 0 standby h1 all\nat 10 takeover h1 foreign\nby 13 A@h2 B@h1\n\
        at 20 takeover h1 failback\nby 23 A@h1 B@h1\nholds h1 all\nholds h2 none\nend 30\n",
    t8: "set auto_failback off\nslow h1 Tst::A stop 6\nboot h1 h2\nsettle\nat 0 standby h1\nat 2 standby h2\n\
        log h1 Standby in progress- new request from h2 ignored\nlog h2 Standby in progress- new request from h2 ignored\n\
        by 9 A@h2 B@h2\nholds h1 none\nholds h2 all\nend 20\n",
}

/// Both ask in the same moment: the first wins, everything is on one node.
#[test]
fn t7() {
    for seed in SEEDS {
        let plan = plan("t7", &format!("{BOTH}at 0 standby h1 all\nat 0 standby h2 all\nend 15\n"));
        let (world, _) = play(&plan, seed, Detail::Lines);
        let owners: Vec<Vec<usize>> = (0..2).map(|group| owners(&world, group)).collect();
        assert!(
            owners == [[0], [0]] || owners == [[1], [1]],
            "seed {seed}: {owners:?}\n{}",
            world.recording.timeline()
        );
    }
}

/// The failback during a running takeover: the script that was under way starts the resource although its group has left.
#[test]
fn f11() {
    let text = "set auto_failback on\nslow h2 Tst::A start 10\nboot h1 h2\nsettle\nat 0 crash h1\nat 5 start h1\nnear 6.6 A@h1\n\
        end 60\n";
    row("f11", text);
    for seed in SEEDS {
        let (world, _) = play(&plan("f11", text), seed, Detail::Lines);
        let part = |at: f64| {
            let until = world.at(Duration::from_secs_f64(at));
            let changes = world.ground.history().iter().filter(|change| change.host == 1 && change.group == 0);
            changes.filter(|change| change.at <= until).last().map(|change| change.share)
        };
        assert_eq!(part(12.9), Some(Share::Nothing), "seed {seed}\n{}", world.recording.timeline());
        assert_eq!(part(13.9), Some(Share::Part), "seed {seed}\n{}", world.recording.timeline());
        assert_eq!(part(60.0), Some(Share::Part), "seed {seed}: for ever");
        assert_eq!(world.ground.share(0, 0), Share::All);
    }
}

fn owners(world: &World, group: usize) -> Vec<usize> {
    (0..2).filter(|host| world.ground.share(group, *host) != Share::Nothing).collect()
}
