//! Nodes crash, stop, restart and are given orders; the other program does what its own kind would.

use std::time::Instant;

use anyhow::ensure;

use crate::Test;
use crate::scene::{Kind, Ours, Outcome, Plan, Real, Scene, name};

/// The pair in which the node that something happens to, h1, runs this program, and h2 the other one.
fn about(subject: Kind) -> Plan {
    Plan::new(&[subject, if subject == Ours { Real } else { Ours }])
}

/// Everything is at home.
pub(crate) const HOME: (&[&str], &str) = (&["active active local", "active active local"], "A@h1 B@h2");

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![Test::new("changes::our_daemon_is_killed_and_the_real_one_takes_over_at_once", killed)];
    for (word, subject) in [("ours", Ours), ("the_real_one", Real)] {
        let mut test = |name: &str, run: fn(Kind) -> Outcome| {
            tests.push(Test::new(format!("changes::{}", name.replace("IT", word)), move || run(subject)));
        };
        test("IT_crashes_and_gets_its_group_back", |subject| crash(subject, true));
        test("IT_crashes_and_without_failback_the_group_stays", |subject| crash(subject, false));
        test("IT_stops_and_comes_back", stop);
        test("IT_restarts_within_the_dead_time_and_nothing_moves", restart);
        test("IT_stands_by_and_takes_over_again", standby);
    }
    tests
}

fn crash(subject: Kind, failback: bool) -> Outcome {
    let failback = format!("auto_failback {}\n", if failback { "on" } else { "off" });
    let mut scene = Scene::started(about(subject).with("auto_failback on\n", &failback))?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;

    scene.power_off(0)?;
    scene.settles("the survivor has it all", &["-", "dead active all"], "A@h2 B@h2")?;
    scene.logged(1, &["node h1: is dead", "Link h1:eth1 dead.", "Resources being acquired from h1."])?;
    if subject == Real {
        let why = scene.status(1)?["groups"][0]["why"].clone();
        ensure!(why.as_str().is_some_and(|why| why.starts_with("node h1 is dead: silent for")), "{why}");
    }

    scene.power_on(0)?;
    scene.start(0)?;
    if failback.contains("on") {
        scene.settles("the group is home again", HOME.0, HOME.1)?;
    } else {
        scene.settles("the group stays", &["active active none", "active active all"], "A@h2 B@h2")?;
    }
    scene.logged(1, &["Heartbeat restart on node h1"])?;
    scene.without_complaint(&[])
}

fn stop(subject: Kind) -> Outcome {
    let mut scene = Scene::started(about(subject))?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;

    scene.stop(0)?;
    scene.settles("the other knows that it is gone", &["-", "dead active all"], "A@h2 B@h2")?;
    let log = scene.log(1);
    let [notice, acquired, dead] = ["Received shutdown notice from 'h1'.", "Acquiring resource group: ", "h1: is dead"]
        .map(|line| log.rfind(line));
    ensure!(notice.is_some() && notice < acquired && acquired < dead, "handed over, not waited for\n{scene:?}");

    scene.start(0)?;
    scene.settles("the group is home again", HOME.0, HOME.1)?;
    scene.without_complaint(&[])
}

fn restart(subject: Kind) -> Outcome {
    let mut scene = Scene::started(about(subject))?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;

    scene.kill(0)?;
    ensure!(scene.placement() == "A@h1 B@h2", "a killed program leaves its address: {scene:?}");
    scene.start(0)?;
    scene.logged(1, &["Heartbeat restart on node h1"])?;
    scene.settles("everything is as before", HOME.0, HOME.1)?;
    for line in ["h1: is dead", "Resources being acquired"] {
        ensure!(!scene.log(1).contains(line), "{line}: {scene:?}");
    }
    scene.without_complaint(&[])
}

fn standby(subject: Kind) -> Outcome {
    let scene = Scene::started(about(subject).with("auto_failback on\n", "auto_failback off\n"))?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;
    for (order, says, placement) in [
        ("standby local", ["active active none", "active active all"], "A@h2 B@h2"),
        ("takeover local", ["active active local"; 2], "A@h1 B@h2"),
        ("standby all", ["active active none", "active active all"], "A@h2 B@h2"),
        ("takeover all", ["active active all", "active active none"], "A@h1 B@h1"),
        ("standby foreign", ["active active local"; 2], "A@h1 B@h2"),
        ("takeover foreign", ["active active all", "active active none"], "A@h1 B@h1"),
    ] {
        let (verb, set) = order.split_once(' ').unwrap_or_default();
        if verb == "standby" {
            scene.standby(0, set)?;
        } else {
            scene.takeover(0, set)?;
        }
        scene.settles(&format!("{order} of {}", name(0)), &says, placement)?;
    }
    scene.without_complaint(&[])
}

/// Scenario F14: the farewell that our guard says is a `shutdone` to the real program.
fn killed() -> Outcome {
    let plan = Plan::new(&[Ours, Real]).with("deadtime 3\n", "deadtime 60\n").with("initdead 8\n", "initdead 60\n");
    let mut scene = Scene::started(plan)?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;

    let start = Instant::now();
    scene.kill_daemon(0)?;
    scene.wait("the real one has it all", |scene| scene.placement() == "A@h2 B@h2")?;
    println!("kill -9 -> the address is on the real node: {:?}; its dead time is 60 s", start.elapsed());
    scene.logged(1, &["Received shutdown notice from 'h1'."])?;
    ensure!(!scene.log(1).contains("h1: is dead"), "not waited for: {scene:?}");

    scene.start(0)?;
    scene.settles("the group is home again", HOME.0, HOME.1)?;
    scene.without_complaint_of(1, &[])
}
