//! Packets as they must not be, to a node that serves: each is counted, said with sender and rule, and changes nothing.
//!
//! docs/bad-input.md is the table of these; what floods and real sockets do is asked in tests/live/hostile.rs.

use super::*;
use crate::auth::{Framing, Keyring};
use crate::delivery::{ANSWERS_MAX, ANSWERS_PER};
use crate::ids::Seq;
use crate::wire::message::Rexmit;
use crate::wire::{self, Fields};
use alloc::vec;

/// The numbers that a length field can be wrong by, or a number overflow with.
const EXTREMES: [&str; 14] = [
    "0",
    "1",
    "65535",
    "262144",
    "262145",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999",
    "-1",
];

impl Pair {
    fn give(&mut self, bytes: &[u8]) {
        self.step(0, Input::Frame { medium: MediumId(0), bytes });
    }

    /// How many packets the first node has dropped for a reason.
    fn dropped(&self, kind: DropKind) -> u64 {
        let mut drops = self.nodes[0].as_ref().unwrap().status().drops();
        drops.find(|(known, _)| *known == kind).map_or(0, |(_, count)| count)
    }

    /// All that the first node believes of everybody, and does; what it counted is no part of it.
    fn belief(&self) -> String {
        let status = self.nodes[0].as_ref().unwrap().status();
        let nodes: Vec<_> = status.nodes().map(|node| format!("{node:?}")).collect();
        let links: Vec<_> = status.links("h2").map(|link| format!("{} {}", link.medium, link.up)).collect();
        format!("{nodes:?} {links:?} {} {:?} {:?}", status.holding(), status.queues(), (&self.starts, &self.stops))
    }

    /// What the second node says next, before anybody hears it.
    fn said(&mut self, body: Body<'_>) -> crate::action::Frame {
        let node = self.nodes[1].as_mut().unwrap();
        node.send(body, Some(NodeId(0)));
        let said: Vec<Action> = node.actions.0.drain(..).collect();
        let sent = said
            .into_iter()
            .find_map(|action| if let Action::Send { frame, .. } = action { Some(frame) } else { None });
        sent.unwrap()
    }

    /// The fields of a heartbeat of the second node that is still to come.
    fn heartbeat(&mut self) -> Fields<'static> {
        let node = self.nodes[1].as_mut().unwrap();
        node.send_status();
        let said: Vec<Action> = node.actions.0.drain(..).collect();
        let Some(Action::Send { frame, .. }) = said.first() else { panic!("{said:?}") };
        self.configs[1].keyring().verify(frame).unwrap().into_fields().into_owned()
    }

    /// A packet of these fields, signed as by a node of the cluster.
    fn signed(&self, fields: Fields<'_>) -> crate::action::Frame {
        self.configs[1].keyring().seal(fields, Framing::Datagram, self.configs[1].sealing()).unwrap()
    }

    fn complaints(&self, phrase: &str) -> usize {
        self.log.iter().filter(|(node, line)| *node == 0 && line.contains(phrase)).count()
    }
}

/// The fields with one replaced where it stands.
fn with<'a>(fields: &Fields<'a>, name: &str, value: &'a str) -> Fields<'a> {
    let replace = |mut field: wire::Field<'a>| {
        if *field.name == *name.as_bytes() {
            field.value = wire::Value::text(value);
        }
        field
    };
    fields.clone().into_iter().map(replace).collect()
}

#[test]
fn a_packet_cut_anywhere_is_refused() {
    let mut pair = Pair::started("off");
    let (heartbeat, request) = (pair.heartbeat(), pair.said(Body::Rexmit(Rexmit { first: Seq(1), last: Seq(2) })));
    let heartbeat = pair.signed(heartbeat);
    let serial = pair.configs[1].keyring().reseal_for_serial(&heartbeat, pair.configs[1].sealing()).unwrap();
    let before = pair.belief();
    let mut refused = 0;
    for packet in [&heartbeat, &request, &serial] {
        // Of the classic form the last byte, a NUL, says nothing.
        let whole = if packet.ends_with(&[0]) { packet.len() - 1 } else { packet.len() };
        for cut in 0..whole {
            pair.give(&packet[..cut]);
            refused += 1;
            assert_eq!(
                pair.dropped(DropKind::Wire) + pair.dropped(DropKind::Auth),
                refused,
                "{cut} of {}",
                packet.len()
            );
        }
    }
    assert_eq!(pair.belief(), before);
    assert_eq!((pair.complaints("bad packet: "), pair.complaints("failed authentication: ")), (1, 1));
    assert!(pair.has_logged(0, "on eth1"));
    pair.give(&heartbeat);
    assert_ne!(pair.belief(), before, "the whole one counts");
}

/// The places of all decimal numbers in front of a colon.
fn lengths(packet: &[u8]) -> Vec<core::ops::Range<usize>> {
    let colons = packet.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at);
    let digits = |colon: usize| packet[..colon].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    colons.map(|colon| colon - digits(colon)..colon).filter(|place| !place.is_empty()).collect()
}

#[test]
fn no_length_is_believed_that_does_not_fit() {
    let mut pair = Pair::started("off");
    // Beside its pairs and the signature it has a message within, and a list.
    let mut fields = pair.heartbeat();
    let mut inner = Fields::new();
    inner.push_text("a", "b");
    fields.push("within", wire::Value::Struct(inner));
    fields.push("list", wire::Value::List(vec![b"one".into(), b"three".into()]));
    let packet = pair.signed(fields);
    let places = lengths(&packet);
    assert!(places.len() > 15, "{}", packet.escape_ascii());
    let before = pair.belief();
    let mut refused = 0;
    for place in places {
        let right = core::str::from_utf8(&packet[place.clone()]).unwrap().to_string();
        let near = right.parse::<u64>().map_or([String::new(), String::new()], |right| {
            [right.saturating_sub(1).to_string(), (right + 1).to_string()]
        });
        for wrong in EXTREMES.iter().map(ToString::to_string).chain(near).filter(|wrong| *wrong != right) {
            let forged = [&packet[..place.start], wrong.as_bytes(), &packet[place.end..]].concat();
            pair.give(&forged);
            refused += 1;
            let counted = pair.dropped(DropKind::Wire) + pair.dropped(DropKind::Auth);
            assert_eq!(counted, refused, "{wrong} for {right} at {place:?}");
        }
    }
    assert_eq!(pair.belief(), before);
    pair.give(&packet);
    assert_ne!(pair.belief(), before, "the right one counts");
}

#[test]
fn seventeen_levels_are_refused_in_both_forms() {
    let mut pair = Pair::started("off");
    let before = pair.belief();
    let mut netstring = b"###\n%%%\n".to_vec();
    let mut fields = Fields::new();
    for _ in 0..17 {
        let body = [&b"(2)s="[..], &netstring].concat();
        netstring = [&b"###\n"[..], body.len().to_string().as_bytes(), b":", &body, b",%%%\n"].concat();
        let mut outer = Fields::new();
        outer.push("s", wire::Value::Struct(fields));
        fields = outer;
    }
    pair.give(&netstring);
    assert!(pair.has_logged(0, "bad packet: nested deeper than 16 levels"), "{:?}", pair.log.last());
    assert!(wire::encode(&fields, wire::Format::Classic).is_err(), "we write none");
    // Classic lines of the same depth, as somebody else would write them; only the first of a kind is said.
    let mut lines = b">>>\n".to_vec();
    lines.extend(b"(2)s=>>>\n".repeat(17));
    pair.give(&lines);
    assert_eq!((pair.dropped(DropKind::Wire), pair.belief()), (2, before));
}

#[test]
fn fields_in_any_order_mean_the_same_and_of_equal_ones_the_first_counts() {
    let mut pair = Pair::started("off");
    let heard = |pair: &Pair| pair.nodes[0].as_ref().unwrap().status().nodes().nth(1).unwrap().newest;
    for turn in 0..12 {
        let fields = pair.heartbeat();
        let count = fields.len();
        let mut order: Vec<_> = fields.into_iter().collect();
        order.rotate_left(turn % count);
        if turn % 2 == 0 {
            order.reverse();
        }
        let before = heard(&pair).unwrap();
        let packet = pair.signed(order.into_iter().collect());
        pair.give(&packet);
        assert_eq!(heard(&pair), Some(before.next()), "turn {turn}");
    }
    let mut fields = pair.heartbeat();
    for (name, value) in
        [("seq", "ffffffff"), ("src", "h1"), ("dt", "1"), ("hg", "1"), ("t", "resource"), ("st", "dead")]
    {
        fields.push_text(name, value);
    }
    let (before, packet) = (heard(&pair).unwrap(), pair.signed(fields));
    pair.give(&packet);
    let h2 = pair.nodes[0].as_ref().unwrap().status().nodes().nth(1).unwrap();
    assert_eq!((h2.newest, h2.status, h2.dead_time), (Some(before.next()), "active", Some(secs(3))));
    assert_eq!(pair.nodes[0].as_ref().unwrap().status().drops().count(), 0);
}

#[test]
fn another_cluster_on_the_port_is_counted_and_named() {
    let mut pair = Pair::started("off");
    let before = pair.belief();
    let heartbeat = pair.heartbeat();
    let other_key =
        Keyring::new(1, [(1, crate::auth::Key { method: crate::auth::Method::Sha1, secret: b"theirs".to_vec() })]);
    let other_key = other_key.unwrap().seal(heartbeat.clone(), Framing::Datagram, pair.configs[1].sealing()).unwrap();
    let other_names = pair.signed(with(&heartbeat, "src", "mars"));
    for _ in 0..100 {
        pair.give(&other_key);
        pair.give(&other_names);
    }
    assert_eq!((pair.dropped(DropKind::Auth), pair.dropped(DropKind::UnknownNode)), (100, 100));
    assert_eq!(pair.belief(), before);
    assert_eq!(pair.complaints("failed authentication: the digest made with key 1 is wrong on eth1"), 1);
    assert_eq!(pair.complaints("process_status_message: bad node [mars] in message on eth1"), 1);
    // Later, how many there were.
    pair.run(secs(11));
    pair.give(&other_names);
    assert_eq!(pair.complaints("bad node [mars] in message on eth1"), 2);
    assert!(pair.has_logged(0, "99"), "{:?}", pair.log.last());
}

#[test]
fn a_whole_earlier_life_sent_again_is_refused_packet_by_packet() {
    let mut pair = Pair::new("off");
    pair.boot(0);
    pair.boot(1);
    let mut life = Vec::new();
    for _ in 0..40 {
        life.extend(pair.wire.iter().filter(|(to, _)| *to == 0).map(|(_, frame)| frame.clone()));
        pair.settle();
        pair.now = pair.nodes[1].as_ref().unwrap().next_deadline().unwrap();
        pair.step(1, Input::Wake);
        pair.step(0, Input::Wake);
    }
    assert!(life.len() > 20);
    pair.crash(1);
    pair.run(secs(1));
    pair.boot(1);
    pair.run(secs(6));
    let before = pair.belief();
    for frame in &life {
        pair.give(frame);
    }
    assert_eq!(pair.dropped(DropKind::Replay), u64::try_from(life.len()).unwrap());
    assert_eq!(pair.belief(), before);
    assert_eq!(pair.complaints("attempted replay attack: message of generation 102 from h2, now in generation 103"), 1);
}

#[test]
fn who_uses_our_name_is_not_us() {
    let mut pair = Pair::started("off");
    let before = pair.belief();
    let heartbeat = with(&pair.heartbeat(), "src", "h1");
    // Of a later life of ours than this one; of this; of an earlier.
    for generation in ["66", "ffffffffffffffff"] {
        let forged = pair.signed(with(&heartbeat, "hg", generation));
        pair.give(&forged);
    }
    assert_eq!((pair.dropped(DropKind::OwnName), pair.belief()), (2, before.clone()));
    assert_eq!(pair.complaints("somebody else uses our node name (generation 102) on eth1"), 1);
    for generation in ["65", "1", "0"] {
        let forged = pair.signed(with(&with(&heartbeat, "hg", generation), "st", "dead"));
        pair.give(&forged);
        assert_eq!(pair.belief(), before, "what we said was acted on when we said it");
    }
}

#[test]
fn no_dead_time_is_too_long_to_be_bounded_nor_too_odd_to_be_refused() {
    for (dt, refused) in [
        ("ffffffffffffffff", false),
        ("7fffffffffffffff", false),
        ("0", false),
        ("1", false),
        ("10000000000000000", true),
        ("-1", true),
        ("", true),
        ("1e9x", true),
    ] {
        let mut pair = Pair::started("off");
        pair.run(secs(10));
        let heartbeat = pair.heartbeat();
        let forged = pair.signed(with(&heartbeat, "dt", dt));
        pair.crash(1);
        pair.give(&forged);
        assert_eq!(pair.dropped(DropKind::Wire) == 1, refused, "{dt}");
        // As long as any peer may demand (max_peer_deadtime), and not longer.
        pair.run(secs(43));
        assert_eq!(pair.holds()[0], "all", "{dt} {:#?}", pair.log);
    }
}

#[test]
fn who_asks_for_everything_for_ever_gets_a_bounded_answer() {
    let mut pair = Pair::started("off");
    let request = pair.said(Body::Rexmit(Rexmit { first: Seq(0), last: Seq(u64::MAX) }));
    // There is something to ask for: a history that nobody has acknowledged.
    pair.cut = true;
    for _ in 0..400 {
        pair.nodes[0].as_mut().unwrap().send_status();
        pair.step(0, Input::Wake);
    }
    pair.cut = false;
    let (start, mut answered, mut asked) = (pair.now, 0_u64, 0_u64);
    while pair.now.since(start) < secs(20) {
        for _ in 0..20 {
            pair.give(&request);
            asked += 1;
        }
        // What it sends again is what it sends beyond its heartbeats: four a second.
        answered += u64::try_from(pair.wire.iter().filter(|(to, _)| *to == 1).count()).unwrap();
        pair.settle();
        pair.run(millis(10));
    }
    let most = u64::from(ANSWERS_MAX) + 50;
    let spans = u64::try_from(secs(20).as_millis() / ANSWERS_PER.as_millis()).unwrap() + 1;
    assert!(answered > 0 && answered <= most * spans, "{answered} answers to {asked} requests");
    assert!(pair.dropped(DropKind::TooManyRequests) > 0, "{answered} answers to {asked} requests");
    assert!((1..=3).contains(&pair.complaints("h2 asks for too many messages again on eth1")), "{:#?}", pair.log);
    let queues = pair.nodes[0].as_ref().unwrap().status().queues();
    assert!(queues.history <= 500, "{queues:?}");
    assert_eq!(pair.holds(), ["local", "local"]);
    assert!(!pair.log.iter().any(|(_, line)| line.contains("is dead (")), "{:#?}", pair.log);
}

/// Scenario S7, and what makes it harmless: a node that was heard properly cannot be made strange by anybody.
#[test]
fn who_signs_with_another_key_lives_and_keeps_what_is_preferred_there() {
    for dialect in ["", "dialect classic\n"] {
        let text = alloc::format!("{}auto_failback on\n", C2.replace("dialect classic\n", dialect));
        let mut pair = Pair::with(&text, GROUPS);
        pair.configs[1] = config_signed("h2", &text, GROUPS, b"auth 1\n1 sha1 other\n");
        pair.boot(0);
        pair.boot(1);
        pair.run(secs(7));
        assert_eq!(pair.holds(), ["none", "none"], "initdead is not over");
        pair.run(secs(20));
        assert_eq!(pair.holds(), ["local", "local"], "{dialect}");
        assert!(pair.has_logged(0, "what comes from node h2 is not signed with a key of ours"));
        // Silence is silence.
        pair.crash(1);
        pair.run(secs(4));
        assert_eq!(pair.holds()[0], "all", "{dialect}");
        // It comes back with the right keys, and is heard; then somebody forges its name, and it dies in earnest.
        pair.configs[1] = config("h2", &text, GROUPS);
        pair.boot(1);
        pair.run(secs(10));
        assert_eq!(pair.holds(), ["local", "local"], "{dialect}");
        let mut forged = pair.sent.iter().rfind(|(by, _)| *by == 1).map(|(_, frame)| frame.to_vec()).unwrap();
        let at = forged.windows(9).position(|text| text == b"t=status,").map_or(forged.len() / 2, |at| at + 2);
        forged[at] ^= 1;
        pair.crash(1);
        for _ in 0..8 {
            pair.step(0, Input::Frame { medium: MediumId(0), bytes: &forged });
            pair.run(secs(1) / 2);
        }
        assert_eq!(pair.holds()[0], "all", "{dialect}");
    }
}
