//! Ping nodes: asked with every heartbeat, members of nothing.

use super::*;

const PINGS: &str = "node h1\nbcast eth1\nping 10.0.0.254\nping_group outside 10.0.0.1 10.0.0.2\nkeepalive 250ms\n\
                     deadtime 3\ndeadping 2\ninitdead 8\nlogfacility none\n";

/// A node with ping nodes as media 1 and 2; those that live send back what they are sent.
struct Pinger {
    node: Node,
    now: Instant,
    alive: [bool; 3],
    log: Vec<String>,
    /// What was sent, by medium.
    sent: Vec<(MediumId, crate::action::Frame)>,
}

impl Pinger {
    fn new(alive: [bool; 3]) -> Pinger {
        let now = Instant::from_nanos(1_000_000_000);
        let boot = Boot {
            now,
            wall_clock: UnixTime(0x6b00_fe45),
            generation: Generation(7),
            uuid: NodeUuid([1; 16]),
            seed: [3; 32],
            hostcache: crate::config::Hostcache::default(),
            longest_deadtime: Duration::ZERO,
            cut_short: Vec::new(),
        };
        let node = Node::new(config("h1", PINGS, ""), boot);
        let mut pinger = Pinger { node, now, alive, log: Vec::new(), sent: Vec::new() };
        pinger.step(Input::Wake);
        pinger
    }

    fn step(&mut self, input: Input<'_>) {
        let mut echoes = Vec::new();
        for action in self.node.handle(self.now, input) {
            match action {
                Action::Send { medium, frame, .. } => {
                    if self.alive[medium.index()] && medium.index() > 0 {
                        echoes.push((medium, frame.clone()));
                    }
                    self.sent.push((medium, frame));
                }
                Action::Report(event) => self.log.push(event.to_string()),
                _ => {}
            }
        }
        for (medium, frame) in echoes {
            self.step(Input::Frame { medium, bytes: &frame });
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.plus(span);
        while let Some(next) = self.node.next_deadline().filter(|next| *next <= end) {
            self.now = next;
            self.step(Input::Wake);
        }
        self.now = end;
    }

    fn words(&self) -> Vec<&'static str> {
        self.node.status().pings().map(|ping| ping.status).collect()
    }

    fn said(&self, line: &str) -> usize {
        self.log.iter().filter(|said| said.starts_with(line)).count()
    }
}

#[test]
fn a_ping_node_is_asked_with_every_heartbeat_and_never_with_anything_else() {
    let mut pinger = Pinger::new([true; 3]);
    pinger.run(Duration::from_secs(1));
    let on = |pinger: &Pinger, medium| pinger.sent.iter().filter(|(on, _)| on.0 == medium).count();
    let text = |frame: &[u8]| String::from_utf8_lossy(frame).into_owned();
    let statuses = pinger.sent.iter().filter(|(on, frame)| on.0 == 0 && text(frame).contains("(0)t=status,"));
    assert_eq!((statuses.count(), on(&pinger, 2)), (on(&pinger, 1), on(&pinger, 1)));
    let asked = pinger.sent.iter().find(|(on, _)| on.0 == 2).map(|(_, frame)| text(frame)).unwrap();
    let fields =
        "###\n10:(0)t=NS_st,10:(0)st=ping,18:(0)info=ping_group,14:(0)src=outside,14:(0)ts=6b00fe45,50:(0)auth=1 ";
    assert!(asked.starts_with(fields), "{asked}");
}

#[test]
fn a_ping_node_dies_after_deadping_and_returns() {
    let mut pinger = Pinger::new([true; 3]);
    assert_eq!(pinger.words(), ["ping", "ping"]);
    assert!(pinger.node.status().is_active(), "everybody is known");
    pinger.run(Duration::from_secs(6));
    pinger.alive[1] = false;
    pinger.run(Duration::from_millis(1900));
    assert_eq!(pinger.words(), ["ping", "ping"]);
    pinger.run(Duration::from_millis(300));
    assert_eq!(pinger.words(), ["dead", "ping"]);
    assert_eq!(pinger.said("node 10.0.0.254: is dead (silent for 2000 ms, its dead time is 2000 ms)"), 1);
    assert_eq!(pinger.said("Link 10.0.0.254:10.0.0.254 dead."), 1);
    pinger.alive[1] = true;
    pinger.run(Duration::from_millis(300));
    assert_eq!(pinger.words(), ["ping", "ping"]);
    assert_eq!(pinger.said("Status update for node 10.0.0.254: status ping"), 2);
    assert_eq!(pinger.said("Link 10.0.0.254:10.0.0.254 up."), 2);
}

#[test]
fn a_ping_node_never_heard_delays_the_start_by_its_dead_time() {
    let mut pinger = Pinger::new([true, true, false]);
    pinger.run(Duration::from_millis(1900));
    assert!(!pinger.node.status().is_active());
    pinger.run(Duration::from_millis(200));
    assert!(pinger.node.status().is_active());
    assert_eq!(pinger.words(), ["ping", "dead"]);
    assert_eq!(pinger.said("node outside: is dead (never heard in 2000 ms)"), 1);
}

#[test]
fn only_its_own_message_makes_a_ping_node_live() {
    let mut pinger = Pinger::new([true, true, false]);
    let frame = |pinger: &Pinger, medium| pinger.sent.iter().find(|(on, _)| on.0 == medium).unwrap().1.clone();
    let (ours, other, own) = (frame(&pinger, 0), frame(&pinger, 1), frame(&pinger, 2));
    let mut forged = own.to_vec();
    let at = forged.windows(4).position(|four| four == b"ts=6").unwrap();
    forged[at + 4] ^= 1;
    for bytes in [&ours[..], &other, &forged] {
        pinger.step(Input::Frame { medium: MediumId(2), bytes });
        assert_eq!(pinger.words(), ["ping", "init"]);
    }
    assert_eq!(pinger.node.status().drops().map(|(_, count)| count).sum::<u64>(), 3);
    // By a medium of members it is a message of nobody.
    pinger.step(Input::Frame { medium: MediumId(0), bytes: &own });
    assert_eq!(pinger.words(), ["ping", "init"]);
    pinger.step(Input::Frame { medium: MediumId(2), bytes: &own });
    assert_eq!(pinger.words(), ["ping", "ping"]);
}

#[test]
fn ping_nodes_have_no_links_to_members() {
    let pinger = Pinger::new([true; 3]);
    let status = pinger.node.status();
    assert_eq!(status.links("h1").map(|link| link.medium.to_string()).collect::<Vec<_>>(), ["eth1"]);
    assert_eq!(status.media().count(), 3);
}
