//! What operators move by name, where all nodes are ours.

use super::{Pair, secs};
use crate::action::{Cancellation, Refusal, Response};
use crate::ids::{GroupId, NodeId};
use crate::input::{Failure, Outcome, Request};

#[test]
fn one_group_or_one_node_is_moved_and_answered_when_it_is_done() {
    const A: GroupId = GroupId(0);
    const B: GroupId = GroupId(1);
    const H1: NodeId = NodeId(0);
    const H2: NodeId = NodeId(1);
    let give = |group, to| Request::Give { group, to };
    let take = |group, from| Request::Take { group, from };
    let refused = |refusal| Response::Refused(refusal);
    let mut pair = Pair::native("on");
    for (by, request, response, holds) in [
        (0, give(Some(A), None), Response::Done, ["none", "all"]),
        (0, give(Some(A), None), refused(Refusal::NotHere), ["none", "all"]),
        (0, give(None, None), refused(Refusal::NotHere), ["none", "all"]),
        (0, take(Some(A), None), Response::Done, ["local", "local"]),
        (0, take(Some(A), None), Response::Done, ["local", "local"]),
        (0, take(Some(B), Some(H1)), refused(Refusal::NotThere), ["local", "local"]),
        (0, take(None, Some(H2)), Response::Done, ["all", "none"]),
        (1, take(Some(A), Some(H2)), refused(Refusal::NotThere), ["all", "none"]),
        (0, give(Some(B), Some(H1)), refused(Refusal::NoTaker), ["all", "none"]),
        (0, give(Some(B), Some(H2)), Response::Done, ["local", "local"]),
        (1, give(None, Some(H1)), Response::Done, ["all", "none"]),
        (1, take(Some(B), None), Response::Done, ["local", "local"]),
    ] {
        pair.request(by, request);
        pair.run(secs(3));
        assert_eq!(pair.replies.last(), Some(&response), "{request:?}");
        assert_eq!(pair.holds(), holds, "{request:?}");
    }
    let mut classic = Pair::started("on");
    classic.request(0, give(Some(A), None));
    classic.request(0, take(None, Some(H2)));
    assert_eq!(classic.replies, [refused(Refusal::OnlySets), refused(Refusal::OnlySets)]);
}

#[test]
fn who_orders_a_move_hears_at_once_that_a_group_could_not_be_stopped() {
    let mut pair = Pair::native("on");
    pair.stop[0] = Outcome::Failed(Failure::ExitCode(1));
    pair.request(0, Request::Give { group: Some(GroupId(0)), to: None });
    pair.run(secs(9));
    assert_eq!(pair.replies, [], "it is tried again");
    pair.run(secs(2));
    assert_eq!(pair.replies, [Response::Cancelled(Cancellation::StopFailed)]);
    assert_eq!(pair.holds(), ["none", "local"], "nobody else has it");
}
