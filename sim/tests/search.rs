//! Search: plans from seeds, campaigns, and the smallest plan that still breaks the same property.

use hb_sim::Plan;
use hb_sim::check::liveness;
use hb_sim::plan::Event;
use hb_sim::search::coverage::SOMETIMES;
use hb_sim::search::generate::{self, Promise};
use hb_sim::search::shrink::shrink;
use hb_sim::search::swarm::{Campaign, examine, run};
use std::fmt::Write as _;
use std::time::Duration;

const SEEDS: u64 = 300;

fn campaign(from: u64, seeds: u64, jobs: usize) -> Campaign {
    Campaign { from, seeds, least_nodes: 2, most_nodes: 3, promise: Promise::Any, jobs }
}

fn parse(text: &str) -> Plan {
    Plan::parse("search", text).unwrap_or_else(|problems| panic!("{}\n{text}", hb_sim::render_all(&problems, text)))
}

// --- plans from seeds

#[test]
fn every_seed_is_a_storm_and_a_calm_of_ten_minutes() {
    for seed in 1..=SEEDS {
        let plan = campaign(1, SEEDS, 1).plan(seed);
        assert!(plan.events.len() >= 5, "seed {seed} has {} events", plan.events.len());
        assert!(plan.end >= Duration::from_mins(10), "seed {seed} ends after {:?}", plan.end);
        let calm = plan.calm.unwrap_or_else(|| panic!("seed {seed} is never mended"));
        assert!(calm + liveness::bound(&plan) < plan.end, "seed {seed} ends before it can be judged");
        assert!(plan.events.iter().all(|(at, _)| *at <= calm), "seed {seed} breaks something after the calm");
        assert!(plan.events.is_sorted_by_key(|(at, _)| *at), "seed {seed} is out of order");
    }
}

#[test]
fn a_seed_is_one_plan_and_its_text_is_that_plan() {
    let texts: Vec<String> = (1..=SEEDS).map(|seed| campaign(1, SEEDS, 1).plan(seed).to_string()).collect();
    for (seed, text) in (1..=SEEDS).zip(&texts) {
        assert_eq!(&campaign(1, SEEDS, 1).plan(seed).to_string(), text, "seed {seed} is two plans");
        assert_eq!(&parse(text).to_string(), text, "seed {seed} is read as another plan");
    }
    let different: std::collections::BTreeSet<_> = texts.iter().map(|text| text.split_once('\n').unwrap().1).collect();
    assert_eq!(different.len(), texts.len(), "no two seeds are the same plan");
}

/// What is read from the text is not only printed alike, it happens alike.
#[test]
fn the_text_of_a_seed_is_the_same_run() {
    let mut plan = campaign(1, SEEDS, 1).plan(5);
    // A minute says it.
    plan.calm = None;
    plan.end = Duration::from_mins(1);
    let digests =
        [plan.clone(), parse(&plan.to_string())].map(|plan| hb_sim::run(&plan, 5, hb_sim::Detail::Lines).digest);
    assert!(digests[0].is_some());
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn seeds_choose_clusters_and_faults_of_every_kind() {
    let plans: Vec<Plan> = (1..=SEEDS).map(|seed| campaign(1, SEEDS, 1).plan(seed)).collect();
    let some = |what: &str, test: &dyn Fn(&Plan) -> bool| {
        let count = plans.iter().filter(|plan| test(plan)).count();
        assert!(count > 0 && count < plans.len(), "{what}: {count} of {}", plans.len());
    };
    let has = |test: fn(&Event) -> bool| move |plan: &Plan| plan.events.iter().any(|(_, event)| test(event));
    some("three nodes", &|plan| plan.hosts.len() == 3);
    some("drift", &|plan| plan.hosts.iter().any(|host| host.drift_ppm != 0));
    some("lag", &|plan| plan.hosts.iter().any(|host| !host.lag.is_zero()));
    some("guards", &|plan| plan.hosts.iter().any(|host| host.guard.is_some()));
    some("watchdogs", &|plan| plan.hosts.iter().any(|host| host.watchdog.is_some()));
    some("quirks", &|plan| !plan.quirks.is_empty());
    some("crashes", &has(|event| matches!(event, Event::Crash(_))));
    some("kills", &has(|event| matches!(event, Event::Kill(_))));
    some("stops", &has(|event| matches!(event, Event::Stop(_))));
    some("suspended daemons", &has(|event| matches!(event, Event::Suspend(_))));
    some("stalled machines", &has(|event| matches!(event, Event::Stall(_))));
    some("frozen machines", &has(|event| matches!(event, Event::Freeze(_))));
    some("wall clocks", &has(|event| matches!(event, Event::StepClock(..))));
    some("cuts", &has(|event| matches!(event, Event::Cut(..))));
    some("half cuts", &has(|event| matches!(event, Event::Deafen(..) | Event::Mute(..))));
    some("blocked ways", &has(|event| matches!(event, Event::Block(..))));
    some("weather", &has(|event| matches!(event, Event::Net(_))));
    some("requests", &has(|event| matches!(event, Event::Standby(..) | Event::Takeover(..))));
    // People read it at the top of a report.
    assert!(generate::describe(&plans[0]).starts_with("2 nodes, keepalive "));
}

// --- campaigns; with something broken: `src/search/swarm.rs`

#[test]
fn a_campaign_comes_to_the_same_with_more_threads() {
    let outcomes = [1, 3].map(|jobs| run(campaign(1, 3, jobs), |_, _| {}));
    let [one, three] = outcomes.map(|outcome| {
        assert_eq!(outcome.broken, None);
        let counts: Vec<_> = outcome.coverage.counts().collect();
        (outcome.runs, outcome.simulated, counts, outcome.coverage.takeovers)
    });
    assert_eq!(one, three);
    assert_eq!(one.0, 3);
    assert!(one.1 > Duration::from_mins(30));
    assert_eq!(one.2.len(), SOMETIMES.len());
}

// --- shrinking

/// Thirty things happen, and one of them matters.
fn busy(fault: &str) -> Plan {
    let mut text = "title busy\nbase C2\nset keepalive 1\nset deadtime 4\nset initdead 4\nset auto_failback off\n\
        set bcast eth2\nboot h1 h2\nproof fenced\nclock h1 drift 50\nlag h2 3ms\nguard h1 50ms\nnet delay exponential 1ms\n\
        slow h2 Tst::B start 1\n"
        .to_owned();
    for event in 0..29 {
        let (second, host) = (10 + event, event % 2 + 1);
        let what = match event % 4 {
            0 => format!("step-clock h{host} {}", event * 1000),
            1 => format!("net h1>h2 eth1 loss 0.0{host}"),
            2 => format!("mute h{host} eth9"),
            _ => format!("net eth2 delay uniform 1ms {}ms", 2 + event),
        };
        writeln!(text, "at {second}.{event:03} {what}").unwrap();
    }
    writeln!(text, "at 25.717 {fault}\nby 40 A@h2 B@h2\ncalm 60\nend 130").unwrap();
    parse(&text)
}

#[test]
fn thirty_events_shrink_to_the_one_that_matters() {
    let plan = busy("crash h1");
    assert_eq!(plan.events.len(), 30);
    let (_, violation) = examine(&plan, 3, None);
    let violation = violation.expect("nobody was fenced");
    assert_eq!(violation.check, "fence before takeover");
    let mut heard = 0;
    let shrunk = shrink(&plan, 3, violation, |_, _| heard += 1);
    assert_eq!(shrunk.violation.check, "fence before takeover");
    assert!(heard > 0 && shrunk.tries < 200, "{} tries", shrunk.tries);
    let events: Vec<&Event> = shrunk.plan.events.iter().map(|(_, event)| event).collect();
    assert_eq!(events, [&Event::Crash(0)], "{}", shrunk.plan);
    // All else is usual, and nothing is left that does not matter.
    assert!(shrunk.plan.net.is_empty() && shrunk.plan.quirks.is_empty() && shrunk.plan.calm.is_none());
    assert!(shrunk.plan.hosts.iter().all(|host| host.drift_ppm == 0 && host.lag.is_zero() && host.guard.is_none()));
    assert!(shrunk.plan.expectations.is_empty(), "{}", shrunk.plan);
    assert_eq!(shrunk.plan.configs().next().unwrap().media().len(), 1, "{}", shrunk.plan);
    assert_eq!(shrunk.plan.groups.len(), 1, "{}", shrunk.plan);
    assert!(shrunk.plan.end < Duration::from_secs(30), "{}", shrunk.plan);
    assert!(shrunk.plan.events[0].0.subsec_millis().is_multiple_of(100), "{}", shrunk.plan);
    // What is told to people breaks the same, read from its text.
    let again = examine(&parse(&shrunk.plan.to_string()), 3, None).1;
    assert_eq!(again, Some(shrunk.violation));
}

#[test]
fn without_its_fault_the_plan_breaks_nothing() {
    assert_eq!(examine(&busy("step-clock h1 1"), 3, None).1, None);
}
