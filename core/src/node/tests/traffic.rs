//! Packets that are none, come twice, or come again from an earlier life.

use super::*;

#[test]
fn garbage_is_counted_complained_of_once_and_changes_nothing_else() {
    let mut pair = Pair::started("on");
    let before = pair.holds();
    for _ in 0..5 {
        pair.step(0, Input::Frame { medium: MediumId(0), bytes: b"###\nnonsense" });
        pair.step(0, Input::Frame { medium: MediumId(7), bytes: b"###\n%%%\n" });
    }
    assert_eq!(pair.holds(), before);
    let drops: Vec<_> = pair.nodes[0].as_ref().unwrap().status().drops().collect();
    assert_eq!(drops, [(DropKind::Wire, 5), (DropKind::NoSuchMedium, 5)]);
    assert_eq!(pair.log.iter().filter(|(_, line)| line.contains("bad packet")).count(), 1);
}

/// What was verified once is not read again; it is refused as soon as its key is gone.
#[test]
fn a_copy_by_another_medium_shows_its_link_and_nothing_else() {
    let mut pair = Pair::with(&format!("{C2}bcast eth2\nauto_failback off\n"), GROUPS);
    pair.boot(0);
    pair.boot(1);
    pair.run(secs(6));
    let node = pair.nodes[1].as_mut().unwrap();
    node.send(Body::Shutdone, None);
    let sent = node.actions.0.drain(..).find_map(|action| match action {
        Action::Send { frame, .. } => Some(frame),
        _ => None,
    });
    let frame = sent.unwrap();
    let up = |pair: &Pair, name: &str| {
        let mut links = pair.nodes[0].as_ref().unwrap().status().links("h2");
        links.any(|link| link.medium == name && link.up)
    };
    assert!(!up(&pair, "eth2"), "the cable of this test is the first medium");
    pair.step(0, Input::Frame { medium: MediumId(0), bytes: &frame });
    let told = pair.log.len();
    pair.step(0, Input::Frame { medium: MediumId(1), bytes: &frame });
    assert!(up(&pair, "eth2"));
    assert_eq!(pair.log[told..].iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>(), ["Link h2:eth2 up."]);
    assert_eq!(pair.nodes[0].as_ref().unwrap().nodes.copy_of(&frame), Some(NodeId(1)));
    pair.nodes[0].as_mut().unwrap().nodes.forget_copies();
    pair.step(0, Input::Frame { medium: MediumId(1), bytes: &frame });
    assert_eq!(pair.log.len(), told + 1, "read again it comes to the same");
}

/// What the classic wire cannot tell apart: nothing in a packet says when it was sent that a receiver without memory could
/// check. Named in docs/compatibility.md.
#[test]
fn a_replay_is_told_from_now_by_whoever_has_heard_the_sender_and_not_by_whoever_just_started() {
    // What h2 said in an earlier life, kept by somebody.
    let mut pair = Pair::new("on");
    pair.boot(1);
    let old = pair.wire.iter().find(|(to, _)| *to == 0).map(|(_, frame)| frame.clone()).expect("it said something");
    pair.wire.clear();
    pair.crash(1);

    // h1 just started and never heard h2: the replay is its first heartbeat.
    pair.boot(0);
    pair.step(0, Input::Frame { medium: MediumId(0), bytes: &old });
    assert!(pair.log.iter().any(|(_, line)| line.contains("Status update for node h2: status up")), "{:?}", pair.log);

    // The true h2, in its later life, ends that; from then on the replay is refused.
    pair.boot(1);
    pair.run(Duration::from_secs(6));
    let status = |pair: &Pair| -> Vec<String> {
        pair.nodes[0].as_ref().unwrap().status().nodes().map(|node| node.status.to_string()).collect()
    };
    assert_eq!(status(&pair), ["active", "active"]);
    pair.log.clear();
    pair.step(0, Input::Frame { medium: MediumId(0), bytes: &old });
    assert!(pair.log.iter().any(|(_, line)| line.contains("replay")), "{:?}", pair.log);
    assert_eq!(status(&pair), ["active", "active"]);
}
