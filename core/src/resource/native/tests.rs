//! The rule as a table: one situation, one intent.

use super::*;
use crate::config::Failback;
use crate::ids::Generation;
use crate::mark::Of;
use crate::membership::NodeSet;
use crate::resource::Phase;
use crate::wire::message::{Attempt, Claimed, Unable};
use core::time::Duration;

mod reach;

const ME: NodeId = NodeId(0);
const OTHER: NodeId = NodeId(1);
const THIRD: NodeId = NodeId(2);
const SILENCE: Exclusion = Exclusion { quorum: false, fencing: false, silence: true };
const QUORUM: Exclusion = Exclusion { quorum: true, fencing: false, silence: false };
const FENCING: Exclusion = Exclusion { quorum: false, fencing: true, silence: false };

fn at(ms: u64) -> Instant {
    Instant::after_origin(Duration::from_millis(ms))
}

fn attempt(counter: u64) -> Attempt {
    Attempt { counter, generation: Generation(7) }
}

fn epoch(node: NodeId, counter: u64) -> Epoch {
    Epoch { node, attempt: attempt(counter) }
}

fn peer(node: NodeId) -> PeerView {
    let all: NodeSet = [ME, OTHER, THIRD].into_iter().filter(|other| *other != node).collect();
    PeerView {
        node,
        rank: node.0,
        standing: Standing::Live,
        is_fresh: true,
        names_us: true,
        hears: all,
        counts_out: NodeSet::default(),
        echo: Some(at(9_900)),
        since: at(0),
        is_deaf: false,
        offers_back: false,
        is_fenced: false,
        died: None,
        is_strange: false,
        reach: Reach::default(),
    }
}

/// Three nodes that hear each other, at 10 s; D is 3 s.
fn view() -> View {
    let times = Times {
        keepalive: Duration::from_millis(250),
        deadtime: Duration::from_secs(3),
        self_deadline: Duration::from_secs(2),
        takeover_delay: Duration::ZERO,
    };
    View {
        me: ME,
        rank: 0,
        now: at(10_000),
        phase: Phase::Active,
        peers: alloc::vec![peer(OTHER), peer(THIRD)],
        times,
        offering: NodeSet::default(),
        reach: Reach::default(),
    }
}

fn silent(view: &mut View, node: NodeId, standing: Standing) {
    for peer in &mut view.peers {
        if peer.node == node {
            peer.standing = standing;
        } else {
            peer.hears = peer.hears.minus(NodeSet::default().with(node));
            peer.counts_out = peer.counts_out.with(node);
        }
    }
}

/// A group whose home we are, what we remember of it, and what the others claim.
struct Case {
    view: View,
    memory: Memory,
    claims: Vec<Of<Option<Claim>>>,
    doing: Doing,
    exclusion: Exclusion,
    home: NodeId,
    failback: Failback,
}

fn case() -> Case {
    let stopped = || Some(Claim { definition: Some(1), ..Claim::default() });
    let of = |node, value| Of { node, value };
    Case {
        view: view(),
        memory: Memory::default(),
        claims: alloc::vec![of(ME, None), of(OTHER, stopped()), of(THIRD, stopped())],
        doing: Doing::Stopped,
        exclusion: SILENCE,
        home: ME,
        failback: Failback::On,
    }
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Case)) -> Case {
        change(&mut self);
        self
    }

    fn claim(&mut self, node: NodeId) -> &mut Claim {
        self.claims[node.index()].value.as_mut().unwrap()
    }

    fn group(&self) -> GroupView<'_> {
        GroupView {
            home: Some(self.home),
            definition: Some(1),
            doing: self.doing,
            exclusion: self.exclusion,
            failback: self.failback,
            memory: &self.memory,
            claims: &self.claims,
        }
    }

    fn intent(&self) -> Option<Intent> {
        decide(&self.view, &self.group(), &mut Look::default())
    }

    fn looks_at(&self) -> Option<Instant> {
        let mut look = Look::default();
        decide(&self.view, &self.group(), &mut look);
        look.0
    }

    /// We ask, and all consent.
    fn asking(self) -> Case {
        self.with(|case| {
            case.memory.own = Some(Own { attempt: attempt(5), asked: at(9_999), held: None });
            for node in [OTHER, THIRD] {
                case.claim(node).consent = Some(epoch(ME, 5));
            }
        })
    }

    /// It runs here since 1 s.
    fn running(self) -> Case {
        self.with(|case| {
            case.memory.own = Some(Own { attempt: attempt(5), asked: at(999), held: Some(at(1_000)) });
            case.doing = Doing::Running;
        })
    }
}

fn acts(case: &Case) -> bool {
    matches!(case.intent(), Some(Intent::Act { .. }))
}

/// What is wrong, in words and in deed.
type Missing = (&'static str, fn(&mut Case));

#[test]
fn nothing_is_started_while_a_word_is_missing() {
    assert_eq!(case().intent(), Some(Intent::Ask));
    assert!(acts(&case().asking()));
    let missing: [Missing; 9] = [
        ("unsure of a node", |case| case.view.peers[0].standing = Standing::Unsure),
        ("no claim", |case| case.claims[1].value = None),
        ("a claim older than the heartbeat", |case| case.view.peers[0].is_fresh = false),
        ("it does not hear our present life", |case| case.view.peers[0].names_us = false),
        ("it runs it", |case| case.claim(OTHER).state = Claimed::Running),
        ("it stops it", |case| case.claim(OTHER).state = Claimed::Stopping),
        ("our start is not complete", |case| case.view.phase = Phase::Joining),
        ("we hand it over", |case| {
            let because = Because::Operator(OTHER);
            case.memory.handover = Some(Handover { to: OTHER, because, offered: at(9_000), released: Some(at(9_500)) });
        }),
        ("a start failed here", |case| case.doing = Doing::Failed),
    ];
    for (what, change) in missing {
        let asks = case().with(change);
        assert!(!matches!(asks.intent(), Some(Intent::Ask | Intent::Act { .. })), "{what}: {:?}", asks.intent());
        let acting = case().asking().with(change);
        assert!(!acts(&acting), "{what}: {:?}", acting.intent());
    }
}

#[test]
fn every_live_node_consents_to_the_very_epoch() {
    for wrong in [None, Some(epoch(ME, 4)), Some(epoch(OTHER, 5))] {
        let lacking = case().asking().with(|case| case.claim(THIRD).consent = wrong);
        assert_eq!(lacking.intent(), None, "{wrong:?}");
    }
}

#[test]
fn the_silent_need_a_proof() {
    let dead = |exclusion, standing| {
        case().asking().with(|case| {
            case.exclusion = exclusion;
            silent(&mut case.view, OTHER, standing);
        })
    };
    assert!(acts(&dead(SILENCE, Standing::Dead)), "(f)");
    assert!(acts(&dead(FENCING, Standing::Gone)), "(a)");
    assert!(!acts(&dead(FENCING, Standing::Dead)));
    assert!(acts(&dead(FENCING, Standing::Dead).with(|case| case.view.peers[0].is_fenced = true)), "(b)");
    // (f) asks whether all that consent hold it for dead, too (row 4 of the timelines, in this mode).
    let heard = dead(SILENCE, Standing::Dead).with(|case| case.view.peers[1].counts_out = NodeSet::default());
    assert!(!acts(&heard));
}

#[test]
fn a_majority_is_counted_by_those_who_heard_us_lately() {
    let quorum = || case().asking().with(|case| case.exclusion = QUORUM);
    let one_dead = || quorum().with(|case| silent(&mut case.view, OTHER, Standing::Dead));
    assert!(acts(&one_dead()));
    assert!(!acts(&one_dead().with(|case| case.claim(THIRD).consent = None)));
    let late = one_dead().with(|case| {
        case.view.peers[0].echo = Some(at(6_000));
        case.view.peers[1].echo = Some(at(7_900));
    });
    assert_eq!(late.intent(), Some(Intent::Withdraw { yields: false }), "we would have to release it at once");
    // A goodbye saves nothing: who said it may have come back on the other side (row 7).
    let both_gone = quorum().with(|case| {
        silent(&mut case.view, OTHER, Standing::Gone);
        silent(&mut case.view, THIRD, Standing::Gone);
        for peer in &mut case.view.peers {
            peer.echo = Some(at(5_000));
        }
    });
    assert!(!acts(&both_gone));
}

#[test]
fn who_lost_the_majority_releases_by_the_self_deadline() {
    let minority = |echo| {
        case().running().with(|case| {
            case.exclusion = QUORUM;
            case.view.peers[0].echo = Some(echo);
            case.view.peers[1].echo = None;
        })
    };
    assert_eq!(minority(at(8_500)).intent(), None);
    assert_eq!(minority(at(8_500)).looks_at(), Some(at(10_500)));
    assert_eq!(minority(at(8_000)).intent(), Some(Intent::Release { because: Because::Minority }));
}

#[test]
fn a_deaf_peer_is_given_way_to_and_a_silent_one_is_not() {
    let deaf = |is_deaf| {
        case().running().with(|case| {
            case.view.peers[0].echo = Some(at(8_000));
            case.view.peers[0].is_deaf = is_deaf;
        })
    };
    assert_eq!(deaf(true).intent(), Some(Intent::Release { because: Because::Deaf(OTHER) }));
    assert_eq!(deaf(false).intent(), None, "row 1: silence is not deafness");
    let unable = deaf(true).with(|case| case.claim(OTHER).unable = Some(Unable::Failed));
    assert_eq!(unable.intent(), None, "it cannot take it");
    let fenced = deaf(true).with(|case| case.exclusion = FENCING);
    assert_eq!(fenced.intent(), None, "elsewhere a deaf node cannot start anything");
}

#[test]
fn the_chosen_one_is_the_preferred_then_the_first_that_is_able() {
    assert_eq!(case().with(|case| case.home = THIRD).intent(), None);
    let unable = |case: &mut Case| {
        case.home = THIRD;
        case.claim(THIRD).unable = Some(Unable::Failed);
    };
    assert_eq!(case().with(unable).intent(), Some(Intent::Ask), "we come first");
    let later = case().with(unable).with(|case| {
        case.view.rank = 9;
    });
    assert_eq!(later.intent(), None);
    let named = case().with(|case| {
        case.claim(OTHER).successor = Some(THIRD);
    });
    assert_eq!(named.intent(), None, "its last owner named another one");
}

#[test]
fn consent_is_given_to_the_highest_epoch_and_to_one_at_a_time() {
    let asks = |case: &mut Case, node: NodeId, counter| {
        let claim = case.claim(node);
        (claim.state, claim.attempt) = (Claimed::Asking, Some(attempt(counter)));
    };
    let both = case().with(|case| {
        asks(case, OTHER, 5);
        asks(case, THIRD, 6);
    });
    assert_eq!(both.intent(), Some(Intent::Consent(epoch(THIRD, 6))));
    let given = case().with(|case| {
        asks(case, OTHER, 5);
        asks(case, THIRD, 6);
        case.memory.consent = Some(epoch(OTHER, 5));
    });
    assert_eq!(given.intent(), None, "until that claim changes");
    let changed = case().with(|case| {
        asks(case, OTHER, 7);
        case.memory.consent = Some(epoch(OTHER, 5));
    });
    assert_eq!(changed.intent(), Some(Intent::EndConsent));
    let unsure = case().with(|case| {
        asks(case, THIRD, 6);
        case.view.peers[0].standing = Standing::Unsure;
    });
    assert_eq!(unsure.intent(), None, "we vouch for everybody else");
    let outbid = case().asking().with(|case| asks(case, OTHER, 6));
    assert_eq!(outbid.intent(), Some(Intent::Withdraw { yields: false }));
    let tie = case().asking().with(|case| asks(case, OTHER, 5));
    assert_eq!(tie.intent(), Some(Intent::Withdraw { yields: false }), "the later in order has the higher epoch");
}

#[test]
fn an_attempt_that_nobody_answers_yields() {
    let stale = case().asking().with(|case| {
        case.memory.own = Some(Own { attempt: attempt(5), asked: at(7_000), held: None });
        case.claim(THIRD).consent = None;
    });
    assert_eq!(stale.intent(), Some(Intent::Withdraw { yields: true }));
    let yields = case().with(|case| case.memory.yields = Some(at(11_000)));
    assert_eq!((yields.intent(), yields.looks_at()), (None, Some(at(11_000))));
}

#[test]
fn of_two_owners_the_first_judges_and_the_other_waits_for_its_verdict() {
    let rival = |held: u64| {
        move |case: &mut Case| {
            let claim = case.claim(OTHER);
            (claim.state, claim.attempt, claim.held) = (Claimed::Running, Some(attempt(9)), Some(at(held)));
            claim.noticed = at(9_000);
            case.memory.contested = true;
        }
    };
    let judge = |held| case().running().with(rival(held));
    assert_eq!(judge(2_000).intent(), Some(Intent::Win { over: alloc::vec![epoch(OTHER, 9)] }));
    assert_eq!(judge(500).intent(), Some(Intent::Release { because: Because::Lost(OTHER) }));
    let settling = judge(2_000).with(|case| case.claim(OTHER).noticed = at(9_900));
    assert_eq!((settling.intent(), settling.looks_at()), (None, Some(at(10_200))));
    let second = judge(2_000).with(|case| case.view.rank = 5);
    assert_eq!(second.intent(), None);
    let named = second.with(|case| case.claim(OTHER).beats.push(epoch(ME, 5)));
    assert_eq!(named.intent(), Some(Intent::Release { because: Because::Lost(OTHER) }));
    let stands = judge(500).with(|case| case.memory.beats.push(epoch(THIRD, 3)));
    assert_eq!(stands.intent(), Some(Intent::Win { over: alloc::vec![epoch(OTHER, 9)] }), "row 19: a verdict stands");
}

#[test]
fn nothing_is_stopped_before_the_successor_asks() {
    let offered = |change: fn(&mut Case)| {
        case().running().with(|case| {
            case.home = OTHER;
            let because = Because::Failback(OTHER);
            case.memory.handover = Some(Handover { to: OTHER, because, offered: at(9_000), released: None });
            change(case);
        })
    };
    assert_eq!(offered(|_| {}).intent(), None);
    let asked = offered(|case| case.claim(OTHER).state = Claimed::Asking);
    assert_eq!(asked.intent(), Some(Intent::Release { because: Because::Failback(OTHER) }));
    let dead = offered(|case| silent(&mut case.view, OTHER, Standing::Dead));
    assert_eq!(dead.intent(), Some(Intent::EndHandover { taken: false }));
    // And the successor asks as soon as it is offered, and acts when the owner says stopped.
    let heir = |state| {
        case().with(move |case| {
            let claim = case.claim(OTHER);
            (claim.state, claim.successor) = (state, Some(ME));
            case.claim(THIRD).consent = Some(epoch(ME, 5));
        })
    };
    assert_eq!(heir(Claimed::Running).intent(), Some(Intent::Ask));
    let own = Some(Own { attempt: attempt(5), asked: at(1_000), held: None });
    let waits = heir(Claimed::Stopping).with(|case| case.memory.own = own);
    assert_eq!(waits.intent(), None, "as long as its scripts take");
    let free = heir(Claimed::Stopped).with(|case| {
        case.memory.own = own;
        case.claim(OTHER).changed = at(9_999);
    });
    assert_eq!(free.intent(), Some(Intent::Act { because: Because::HandedOver(OTHER) }));
}

#[test]
fn a_group_goes_home_when_its_home_can_take_it_and_nothing_keeps_it() {
    let away = |change: fn(&mut Case)| {
        case().running().with(|case| {
            case.home = OTHER;
            change(case);
        })
    };
    let home = Some(Intent::HandOver { to: OTHER, because: Because::Failback(OTHER) });
    assert_eq!(away(|_| {}).intent(), home);
    let stays: [fn(&mut Case); 6] = [
        |case| case.failback = Failback::Off,
        |case| case.memory.kept = true,
        |case| case.doing = Doing::Starting,
        |case| case.claim(OTHER).unable = Some(Unable::Failed),
        |case| case.view.peers[0].names_us = false,
        |case| case.view.peers[0].hears = NodeSet::default().with(ME),
    ];
    for stays in stays {
        assert_eq!(away(stays).intent(), None);
    }
}

/// Whatever others say, the rule comes to rest: each intent ends the condition of its rule.
#[test]
fn the_rule_rests_whatever_is_claimed() {
    use proptest::prelude::*;
    let states =
        [Claimed::Stopped, Claimed::Asking, Claimed::Starting, Claimed::Running, Claimed::Stopping, Claimed::Failed];
    let standings = [Standing::Live, Standing::Gone, Standing::Dead, Standing::Unsure];
    let claim = (0..6_usize, 0..3_u64, any::<[bool; 4]>(), 0..4_u16);
    let peer = (claim, 0..4_usize, any::<[bool; 4]>());
    let ours = (0..6_usize, any::<[bool; 6]>(), 0..3_u16);
    proptest!(|(one in peer.clone(), two in peer, (doing, flags, to) in ours)| {
        let mut case = case();
        for (at, ((state, counter, said, named), standing, known)) in [(1, one), (2, two)] {
            let peer = &mut case.view.peers[at - 1];
            peer.standing = standings[standing];
            (peer.is_fresh, peer.names_us, peer.is_deaf, peer.offers_back) = (known[0], known[1], known[2], known[3]);
            let claim = case.claims[at].value.as_mut().unwrap();
            claim.state = states[state];
            claim.attempt = (counter > 0).then(|| attempt(counter));
            claim.unable = said[0].then_some(Unable::Failed);
            (claim.wanted, claim.kept) = (said[1], said[2]);
            claim.held = said[3].then(|| at_ms(counter));
            claim.successor = (named < 3).then_some(NodeId(named));
        }
        let doings = [Doing::Stopped, Doing::Starting, Doing::Running, Doing::Stopping, Doing::Failed, Doing::Stuck];
        case.doing = doings[doing];
        case.home = NodeId(to);
        case.view.rank = if flags[0] { 0 } else { 9 };
        case.view.offering = NodeSet::default().with(NodeId(to.max(1)));
        let because = if flags[1] { Because::Operator(NodeId(to.max(1))) } else { Because::Failback(NodeId(to.max(1))) };
        if flags[2] {
            case.memory.handover = Some(Handover { to: NodeId(to.max(1)), because, offered: at(9_000), released: None });
        }
        if flags[3] {
            let held = flags[4].then(|| at(5_000));
            case.memory.own = Some(Own { attempt: attempt(1), asked: at(5_000), held });
        }
        case.memory.wanted = flags[5].then(|| at(9_000));
        let mut steps = 0;
        while let Some(intent) = case.intent() {
            steps += 1;
            prop_assert!(steps < 20, "{intent:?}");
            obey(&mut case, intent);
        }
    });
}

fn at_ms(counter: u64) -> Instant {
    at(counter * 100)
}

/// What a node does with an intent, as far as the rule looks at it.
fn obey(case: &mut Case, intent: Intent) {
    let now = case.view.now;
    let memory = &mut case.memory;
    let own = |held| Some(Own { attempt: attempt(9), asked: now, held });
    match intent {
        Intent::Adopt => memory.own = own(Some(now)),
        Intent::Drop => memory.own = None,
        Intent::Ask => (memory.own, memory.consent) = (own(None), None),
        Intent::Withdraw { yields } => {
            memory.own = None;
            memory.yields = yields.then(|| now.plus(Duration::from_secs(6))).or(memory.yields);
        }
        Intent::Act { .. } => {
            memory.own = memory.own.map(|own| Own { held: Some(now), ..own });
            case.doing = Doing::Starting;
        }
        Intent::Release { .. } => {
            memory.own = None;
            case.doing = Doing::Stopping;
        }
        Intent::HandOver { to, because } => {
            memory.handover = Some(Handover { to, because, offered: now, released: None });
            if because == Because::Stopping {
                memory.own = None;
                case.doing = Doing::Stopping;
            }
        }
        Intent::EndHandover { .. } => memory.handover = None,
        Intent::Consent(epoch) => memory.consent = Some(epoch),
        Intent::EndConsent => memory.consent = None,
        Intent::Win { over } => memory.beats = over,
        Intent::Contest { .. } => memory.contested = true,
        Intent::EndContest => (memory.contested, memory.beats) = (false, Vec::new()),
        Intent::EndWish { .. } => memory.wanted = None,
    }
}
