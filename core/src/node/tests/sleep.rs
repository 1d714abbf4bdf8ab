//! A node that did not run for a while.

use super::*;

#[test]
fn what_was_taken_over_while_a_node_slept_stays_where_it_is() {
    let mut pair = Pair::started("off");
    pair.sleep(0, secs(28));
    pair.run(secs(2));
    assert_eq!(pair.holds(), ["none", "all"]);
    assert!(pair.has_logged(0, "this node did not run for 27"));
    assert!(!pair.has_logged(0, "is dead"), "silence that only the sleeper did not hear is nobody's death");
}

#[test]
fn a_short_sleep_moves_nothing() {
    let mut pair = Pair::started("off");
    pair.sleep(1, secs(2));
    pair.run(secs(2));
    assert_eq!(pair.holds(), ["local", "local"]);
    assert!(pair.has_logged(1, "this node did not run in time"));
}

#[test]
fn a_survivor_that_slept_goes_on_serving() {
    let mut pair = Pair::started("off");
    pair.crash(1);
    pair.run(secs(10));
    let starts = pair.starts.len();
    pair.sleep(0, secs(20));
    pair.run(secs(10));
    assert_eq!((pair.holds()[0], pair.starts.len(), pair.stops.len()), ("all", starts, 0));
}

#[test]
fn two_that_slept_together_agree_again() {
    let mut pair = Pair::started("off");
    pair.now = pair.now.plus(secs(30));
    pair.step(0, Input::Wake);
    pair.step(1, Input::Wake);
    pair.run(secs(10));
    assert_eq!(pair.holds(), ["local", "local"]);
    assert!(pair.stops.is_empty(), "{:?}", pair.stops);
}
