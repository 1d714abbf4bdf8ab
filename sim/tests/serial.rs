//! Nothing but a serial line: noise and slowness cost neither a life nor a message.

use hb_sim::run::play;
use hb_sim::world::World;
use hb_sim::{Detail, Plan, library};

fn played(name: &str) -> World {
    let text = library::find(name).expect("a scenario of the library");
    let plan = Plan::parse(name, text).expect("a plan");
    let (world, settled) = play(&plan, 1, Detail::Lines);
    let timeline = || world.recording.timeline();
    assert!(settled.is_none_or(|settled| settled.missed.is_none()), "{}", timeline());
    assert_eq!(world.violations, [], "{}", timeline());
    world
}

/// How often both nodes together said something with these words.
fn said(world: &World, words: &str) -> usize {
    world.recording.timeline().lines().filter(|line| line.contains(words)).count()
}

fn nothing_is_missing(world: &World) {
    for host in 0..2 {
        let status = world.node(host).expect("it runs").status();
        let missing: Vec<usize> = status.nodes().map(|node| node.missing).collect();
        assert_eq!(missing, [0, 0], "{}", world.recording.timeline());
    }
}

#[test]
fn two_hours_of_noise_cost_no_life_and_no_message() {
    let world = played("serial-noise");
    let lost = said(&world, "lost packet");
    assert!(lost > 100, "the noise is real: {lost}");
    assert_eq!((said(&world, ": is dead ("), said(&world, "given up")), (0, 0), "{}", world.recording.timeline());
    nothing_is_missing(&world);
}

#[test]
fn a_slow_line_after_a_partition_carries_requests_and_heartbeats() {
    let world = played("slow-line");
    // Each takes the other for dead once, while the line is cut.
    assert_eq!(said(&world, ": is dead ("), 2, "{}", world.recording.timeline());
    nothing_is_missing(&world);
}
