//! The book as a table: one situation, one intent.

use super::*;
use crate::ids::Seq;
use crate::mark::{Aside, Of};
use crate::resource::{Doing, GroupView, PeerView};
use crate::time::Instant;
use crate::wire::message::{AskResources, StandbyStep};

const ME: NodeId = NodeId(0);
const PEER: NodeId = NodeId(1);

fn claim(hold: Holding, stable: bool) -> Claim {
    Claim { hold, stable, releasing: false, seq: Seq(10), since: Aside(Instant::ORIGIN) }
}

fn view(liveness: Liveness, claim: Option<Claim>) -> View {
    View {
        me: ME,
        phase: Phase::Active,
        failback: Failback::On,
        peers: alloc::vec![PeerView { node: PEER, liveness, gone: false, proof: Proof::Given, claim }],
        groups: alloc::vec![
            GroupView { home: ME, doing: Doing::Stopped },
            GroupView { home: PEER, doing: Doing::Stopped }
        ],
    }
}

/// A book that has asked, and has said what it holds.
fn book(hold: Holding, stable: bool) -> Book {
    Book { hold, starting_said: true, said: Some((hold, stable)), ..Book::default() }
}

fn acquire(set: Holding, because: Because) -> Intent {
    Intent::Acquire { set, because }
}

#[test]
fn local_groups_are_taken_only_when_every_other_node_is_out_or_has_answered() {
    use Liveness::{Active, Dead, Init, Up};
    let table = [
        (Init, None, None),
        (Up, None, None),
        (Active, None, None),
        (Active, Some(claim(Holding::NONE, false)), Some(acquire(Holding::LOCAL, Because::Preferred))),
        (Active, Some(claim(Holding::LOCAL, true)), Some(acquire(Holding::LOCAL, Because::Preferred))),
        (Active, Some(Claim { releasing: true, ..claim(Holding::NONE, false) }), None),
        (Up, Some(claim(Holding::NONE, true)), None),
        (Dead, None, Some(acquire(Holding::LOCAL, Because::Dead(PEER)))),
    ];
    for (liveness, claim, expected) in table {
        assert_eq!(decide(&view(liveness, claim), &book(Holding::NONE, false)), expected, "{liveness} {claim:?}");
    }
}

#[test]
fn what_the_peer_says_it_holds_is_left_to_it() {
    let held = view(Liveness::Active, Some(claim(Holding::ALL, true)));
    assert_eq!(decide(&held, &book(Holding::NONE, true)), None);
}

#[test]
fn the_groups_of_a_live_node_are_never_taken() {
    for liveness in [Liveness::Init, Liveness::Up, Liveness::Active] {
        for claim in [None, Some(claim(Holding::NONE, true)), Some(claim(Holding::NONE, false))] {
            let intent = decide(&view(liveness, claim), &book(Holding::LOCAL, true));
            assert!(!matches!(intent, Some(Intent::Acquire { .. })), "{liveness} {claim:?}: {intent:?}");
        }
    }
}

#[test]
fn a_node_that_said_goodbye_is_succeeded_before_it_falls_silent() {
    let mut gone = view(Liveness::Active, None);
    gone.peers[0].gone = true;
    assert_eq!(decide(&gone, &book(Holding::LOCAL, true)), Some(acquire(Holding::FOREIGN, Because::Gone(PEER))));
}

#[test]
fn nothing_is_decided_before_communication_is_up() {
    let mut joining = view(Liveness::Dead, None);
    joining.phase = Phase::Joining;
    assert_eq!(decide(&joining, &Book::default()), None);
}

#[test]
fn shutdone_is_said_only_when_every_group_is_down() {
    let mut stopping = view(Liveness::Active, None);
    stopping.phase = Phase::Stopping;
    let book = book(Holding::NONE, false);
    for (doing, says) in
        [(Doing::Stopped, true), (Doing::Failed, true), (Doing::Stopping, false), (Doing::Stuck, false)]
    {
        stopping.groups[0].doing = doing;
        assert_eq!(decide(&stopping, &book), says.then_some(Intent::SayShutdone), "{doing:?}");
    }
}

#[test]
fn failback_waits_until_everything_is_at_rest() {
    let book = Book { needs_failback: true, ..book(Holding::ALL, true) };
    let begins = |view: &View, book: &Book| matches!(decide(view, book), Some(Intent::BeginStandby { .. }));
    let mut calm = view(Liveness::Active, Some(claim(Holding::NONE, true)));
    calm.groups[1].doing = Doing::Running;
    assert!(begins(&calm, &book));
    let mut starting = calm.clone();
    starting.groups[1].doing = Doing::Starting;
    assert!(!begins(&starting, &book), "scenario F11");
    let unstable = view(Liveness::Active, Some(claim(Holding::NONE, false)));
    assert!(!begins(&unstable, &book));
    let mut sticky = calm.clone();
    sticky.failback = Failback::Off;
    assert!(!begins(&sticky, &book));
    assert!(!begins(&calm, &Book { needs_failback: false, ..book.clone() }), "moved by an operator");
}

#[test]
fn of_two_claimants_the_preferred_node_keeps_and_announces_again() {
    let both = view(Liveness::Active, Some(claim(Holding::ALL, true)));
    let because = Because::Conflict(PEER);
    assert_eq!(decide(&both, &book(Holding::ALL, true)), Some(Intent::Release { set: Holding::FOREIGN, because }));
    assert_eq!(decide(&both, &book(Holding::LOCAL, true)), Some(Intent::Contest { with: PEER }));
    let resolved = view(Liveness::Active, Some(claim(Holding::LOCAL, true)));
    // A 3.0.6 that keeps everything for a dead time keeps it for ever (scenario P16).
    let stays = view(Liveness::Active, Some(claim(Holding::ALL, true)));
    let outlasted = Book { contested: true, outlasted: true, ..book(Holding::LOCAL, true) };
    let release = Intent::Release { set: Holding::LOCAL, because: Because::Outlasted(PEER) };
    assert_eq!(decide(&stays, &outlasted), Some(release));
    let waits = Book { outlasted: false, ..outlasted.clone() };
    assert_ne!(decide(&stays, &waits), decide(&stays, &outlasted));
    let contested = Book { contested: true, ..book(Holding::LOCAL, true) };
    assert_eq!(decide(&resolved, &contested), Some(Intent::Uncontest));
}

fn conversation(role: Role, step: Step, set: Holding) -> Conversation {
    Conversation { role, step, set, with: PEER, since: Of { node: PEER, value: Seq(10) }, next: None }
}

#[test]
fn done_is_said_only_when_all_groups_of_the_set_are_stopped() {
    let giving = conversation(Role::Giving(Cause::Failback), Step::Working, Holding::FOREIGN);
    let book = Book { conversation: Some(giving), ..book(Holding::LOCAL, false) };
    let mut view = view(Liveness::Active, Some(claim(Holding::NONE, true)));
    for (doing, expected) in [
        (Doing::Stopping, None),
        (Doing::Stopped, Some(Intent::ReleaseDone)),
        (Doing::Stuck, Some(Intent::Cancel(Cancellation::StopFailed))),
    ] {
        view.groups[1].doing = doing;
        assert_eq!(decide(&view, &book), expected, "{doing:?}");
    }
}

#[test]
fn a_lost_last_step_is_inferred_from_the_peers_later_word() {
    let handed = conversation(Role::Giving(Cause::Failback), Step::Handed, Holding::FOREIGN);
    let book = Book { conversation: Some(handed), ..book(Holding::LOCAL, false) };
    let before = view(Liveness::Active, Some(claim(Holding::LOCAL, true)));
    assert_eq!(decide(&before, &book), None, "said before the conversation");
    let later = Claim { seq: Seq(11), ..claim(Holding::LOCAL, true) };
    assert_eq!(decide(&view(Liveness::Active, Some(later)), &book), Some(Intent::Taken));
}

#[test]
fn a_conversation_is_not_interrupted_by_claims() {
    let calm = view(Liveness::Active, Some(claim(Holding::LOCAL, true)));
    let stable = book(Holding::LOCAL, true);
    for role in [Role::Giving(Cause::Failback), Role::Taking] {
        let talking = Book { conversation: Some(conversation(role, Step::Asked, Holding::LOCAL)), ..stable.clone() };
        assert_eq!(decide(&calm, &talking), None);
        let unsaid = Book { said: None, ..talking };
        assert!(
            matches!(decide(&calm, &unsaid), Some(Intent::SayResource { stable: false, .. })),
            "who asks anew is told"
        );
    }
}

#[test]
fn every_step_of_a_standby_is_heard_only_where_it_belongs() {
    use StandbyStep::{Done, Me, Other};
    let calm = view(Liveness::Active, Some(claim(Holding::LOCAL, true)));
    let giving = |step| Some(conversation(Role::Giving(Cause::Failback), step, Holding::FOREIGN));
    let taking = |step| Some(conversation(Role::Taking, step, Holding::LOCAL));
    let ask = |step| AskResources { holding: Holding::FOREIGN, step };
    let table = [
        (None, Me, Some(Heard::Answer)),
        (None, Other, None),
        (None, Done, None),
        (giving(Step::Asked), Me, None),
        (giving(Step::Asked), Other, Some(Heard::Release)),
        (giving(Step::Asked), Done, None),
        (giving(Step::Working), Other, None),
        (giving(Step::Handed), Done, Some(Heard::Taken)),
        (giving(Step::Handed), Me, Some(Heard::AnswerThen)),
        (taking(Step::Asked), Me, None),
        (taking(Step::Asked), Done, Some(Heard::Acquire)),
        (taking(Step::Working), Done, None),
    ];
    for (conversation, step, expected) in table {
        let book = Book { conversation: conversation.clone(), ..book(Holding::LOCAL, true) };
        let heard = on_ask(&calm, &book, PEER, Seq(11), ask(step));
        let ignored = matches!(heard, Heard::Ignore(_));
        assert_eq!((!ignored).then_some(heard), expected, "{conversation:?} {step:?}");
        if conversation.is_some() {
            assert!(
                matches!(on_ask(&calm, &book, PEER, Seq(10), ask(step)), Heard::Ignore(_)),
                "an earlier conversation's"
            );
        }
    }
    // What is released here does not keep us from taking back what is ours; what is started does, and so does being asked for it.
    let moving = |home, doing| View { groups: alloc::vec![GroupView { home, doing }], ..calm.clone() };
    let book_alone = book(Holding::LOCAL, true);
    let heard = |view: &View, ask| on_ask(view, &book_alone, PEER, Seq(11), ask);
    assert_eq!(heard(&moving(PEER, Doing::Stopping), ask(Me)), Heard::Answer);
    for (view, holding) in [
        (moving(PEER, Doing::Starting), Holding::FOREIGN),
        (moving(ME, Doing::Stopping), Holding::FOREIGN),
        (moving(PEER, Doing::Stopping), Holding::ALL),
    ] {
        assert!(matches!(heard(&view, AskResources { holding, step: Me }), Heard::Ignore(_)), "{view:?}");
    }
    // Both asked at once: the later node in the file yields.
    let mut later = calm.clone();
    (later.me, later.peers[0].node) = (PEER, ME);
    let asked = Conversation { with: ME, ..conversation(Role::Giving(Cause::Failback), Step::Asked, Holding::ALL) };
    let book = Book { conversation: Some(asked), ..book(Holding::LOCAL, true) };
    assert_eq!(on_ask(&later, &book, ME, Seq(11), ask(Me)), Heard::Answer);
}
