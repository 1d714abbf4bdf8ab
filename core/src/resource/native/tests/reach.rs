//! Ping nodes compared: who gives a group to whom, and who starts none (CLUSTER e.2).

use super::*;
use crate::resource::native::start::{Obstacle, obstacle};

impl Case {
    /// We, OTHER and THIRD reach so many ping nodes, each since 5 s.
    fn reaching(self, counts: [Option<u32>; 3]) -> Case {
        self.with(|case| {
            let [ours, others @ ..] = counts.map(|pings| Reach { pings, since: at(5_000), again: None });
            case.view.reach = ours;
            for (peer, reach) in case.view.peers.iter_mut().zip(others) {
                peer.reach = reach;
            }
        })
    }

    fn obstacle(&self) -> Option<Obstacle> {
        obstacle(&self.view, &self.group(), &mut Look::default())
    }
}

fn gives_to(case: &Case) -> Option<(NodeId, Because)> {
    match case.intent() {
        Some(Intent::HandOver { to, because }) => Some((to, because)),
        _ => None,
    }
}

#[test]
fn a_group_goes_to_whom_of_several_reaches_most() {
    let given = |counts| gives_to(&case().running().reaching(counts));
    let to = |node| Some((node, Because::Reach(node)));
    assert_eq!(given([Some(1), Some(2), Some(3)]), to(THIRD));
    assert_eq!(given([Some(1), Some(3), Some(3)]), to(OTHER), "the first of equals");
    assert_eq!(given([Some(1), Some(1), Some(1)]), None);
    assert_eq!(given([Some(0), Some(0), Some(0)]), None, "all have lost it");
    assert_eq!(given([Some(2), Some(1), Some(0)]), None);
    assert_eq!(given([Some(0), None, None]), None, "nobody else runs ipfail (scenario I7)");
    assert_eq!(given([Some(0), None, Some(1)]), to(THIRD), "who does not tell is not compared");
    assert_eq!(given([None, Some(5), Some(5)]), None, "we do not run it");
}

#[test]
fn the_preferred_one_of_equals_is_given_it() {
    let home = case().running().reaching([Some(1), Some(2), Some(2)]).with(|case| case.home = THIRD);
    assert_eq!(gives_to(&home), Some((THIRD, Because::Reach(THIRD))));
}

#[test]
fn counts_stand_for_two_keepalives_before_anything_moves() {
    let since = |ours: u64, theirs: u64| {
        case().running().reaching([Some(0), Some(1), Some(0)]).with(|case| {
            case.view.reach.since = at(ours);
            case.view.peers[0].reach.since = at(theirs);
        })
    };
    assert!(gives_to(&since(9_500, 1_000)).is_some());
    let early = since(9_501, 1_000);
    assert_eq!((gives_to(&early), early.looks_at()), (None, Some(at(10_001))));
    let changed = since(1_000, 9_800);
    assert_eq!((gives_to(&changed), changed.looks_at()), (None, Some(at(10_300))), "any change begins it anew");
}

#[test]
fn a_group_goes_home_when_counts_have_been_equal_for_as_long() {
    let back = |theirs: u32, since: u64| {
        case().running().reaching([Some(1), Some(theirs), Some(1)]).with(|case| {
            case.home = OTHER;
            case.view.peers[0].reach.since = at(since);
        })
    };
    assert_eq!(gives_to(&back(1, 9_500)), Some((OTHER, Because::Failback(OTHER))));
    assert_eq!(gives_to(&back(1, 9_600)), None);
    assert_eq!(gives_to(&back(0, 1_000)), None, "it would come back at once");
}

#[test]
fn whoever_cannot_run_the_group_is_not_compared() {
    let unable = case().running().reaching([Some(0), Some(1), Some(0)]).with(|case| {
        case.claim(OTHER).unable = Some(Unable::Failed);
    });
    assert_eq!(gives_to(&unable), None);
    let leaving = case().running().reaching([Some(1), Some(0), None]).with(|case| {
        case.view.phase = Phase::Stopping;
        case.claim(THIRD).unable = Some(Unable::Failed);
    });
    assert_eq!(gives_to(&leaving), Some((OTHER, Because::Stopping)), "we leave: there is nobody better");
}

#[test]
fn what_nobody_runs_is_started_where_most_is_reached() {
    assert_eq!(case().reaching([Some(0), Some(1), Some(2)]).obstacle(), Some(Obstacle::LeftTo(THIRD)), "scenario I8");
    let third = case().reaching([Some(2), Some(1), Some(1)]).with(|case| case.home = THIRD);
    assert_eq!(third.intent(), Some(Intent::Ask));
    let because = third.asking().intent();
    assert_eq!(because, Some(Intent::Act { because: Because::Reach(THIRD) }));
    let fewest = case().reaching([Some(0), Some(0), Some(0)]);
    assert_eq!(fewest.intent(), Some(Intent::Ask), "all have lost it: at home, as ever");
}

#[test]
fn who_reaches_nothing_starts_nothing_for_the_silence_of_another() {
    let silent_peer = |pings, exclusion, standing| {
        case().asking().reaching([pings, None, None]).with(|case| {
            case.exclusion = exclusion;
            silent(&mut case.view, OTHER, standing);
        })
    };
    assert!(acts(&silent_peer(Some(1), SILENCE, Standing::Dead)));
    assert!(acts(&silent_peer(None, SILENCE, Standing::Dead)));
    let cut_off = silent_peer(Some(0), SILENCE, Standing::Dead);
    assert!(!acts(&cut_off));
    assert_eq!(cut_off.obstacle(), Some(Obstacle::CutOff(OTHER)));
    assert!(acts(&silent_peer(Some(0), SILENCE, Standing::Gone)), "it said goodbye");
    let fenced = silent_peer(Some(0), SILENCE, Standing::Dead).with(|case| case.view.peers[0].is_fenced = true);
    assert_eq!(fenced.obstacle(), None);
    assert_eq!(silent_peer(Some(0), QUORUM, Standing::Dead).obstacle(), None, "a majority is proof");
}

/// An owner goes by that word: it keeps its groups though such a node does not hear it.
#[test]
fn a_deaf_node_that_reaches_nothing_is_not_given_way_to_and_waits_when_it_reaches_something() {
    let deaf = |theirs| {
        case().running().reaching([Some(1), theirs, Some(1)]).with(|case| {
            case.view.peers[0].echo = Some(at(8_000));
            case.view.peers[0].is_deaf = true;
        })
    };
    assert_eq!(deaf(Some(0)).intent(), None);
    assert_eq!(deaf(Some(1)).intent(), Some(Intent::Release { because: Because::Deaf(OTHER) }));
    let again = |since: u64| {
        case().asking().reaching([Some(1), None, None]).with(|case| {
            silent(&mut case.view, OTHER, Standing::Dead);
            case.view.reach.again = Some(at(since));
        })
    };
    assert_eq!(again(7_001).obstacle(), Some(Obstacle::AbleAgain));
    assert!(acts(&again(7_000)));
}

#[test]
fn of_two_owners_the_one_that_reaches_nothing_gives_way_however_long_it_held_the_group() {
    let both = |ours, theirs, held: u64| {
        case().running().reaching([ours, theirs, None]).with(|case| {
            case.memory.contested = true;
            case.view.peers[0].since = at(9_000);
            let claim = case.claim(OTHER);
            (claim.state, claim.attempt, claim.held) = (Claimed::Running, Some(attempt(6)), Some(at(held)));
            claim.noticed = at(9_000);
        })
    };
    let release = |because| Some(Intent::Release { because });
    let win = Some(Intent::Win { over: alloc::vec![epoch(OTHER, 6)] });
    assert_eq!(both(Some(0), Some(1), 5_000).intent(), release(Because::Reach(OTHER)));
    assert_eq!(both(Some(1), Some(0), 500).intent(), win);
    assert_eq!(both(Some(0), Some(0), 500).intent(), release(Because::Lost(OTHER)), "nobody is better off");
    assert_eq!(both(Some(2), Some(1), 500).intent(), release(Because::Lost(OTHER)), "one that is reached is enough");
    let told = both(Some(0), Some(1), 5_000).with(|case| {
        case.view.rank = 9;
        case.claim(OTHER).beats = alloc::vec![epoch(ME, 5)];
    });
    assert_eq!(told.intent(), release(Because::Reach(OTHER)));
}
