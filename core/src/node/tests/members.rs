//! Who joins and leaves a running cluster (CLUSTER b.9).

use super::*;
use crate::action::StateFile;
use crate::config::hostcache;
use alloc::collections::BTreeMap;

const BASE: &str = "bcast eth1\nkeepalive 500ms\nwarntime 2\ndeadtime 3\ninitdead 6\nlogfacility none\n";

/// Machines on one wire that loses nothing.
struct Crowd {
    now: Instant,
    nodes: Vec<Option<Node>>,
    files: Vec<BTreeMap<StateFile, String>>,
    generation: u64,
    /// Messages sent so far.
    sent: usize,
    wire: VecDeque<(usize, crate::action::Frame)>,
    log: Vec<(usize, String)>,
}

/// The configuration of a node; without `haresources` it manages no resources.
fn texts(local: &str, ha_cf: &str, haresources: Option<&str>) -> Config {
    let ha_cf = format!("{ha_cf}\n{BASE}");
    let reading = Config::read(&Sources {
        local_name: local,
        ha_cf: SourceText { name: "ha.cf", bytes: ha_cf.as_bytes() },
        haresources: haresources.map(|text| SourceText { name: "haresources", bytes: text.as_bytes() }),
        authkeys: SourceText { name: "authkeys", bytes: b"auth 1\n1 sha1 secret\n" },
    });
    reading.config.unwrap_or_else(|| panic!("{:?}", reading.diagnostics))
}

impl Crowd {
    fn new(size: usize) -> Crowd {
        Crowd {
            now: Instant::from_nanos(1_000_000_000),
            nodes: (0..size).map(|_| None).collect(),
            files: alloc::vec![BTreeMap::new(); size],
            generation: 100,
            sent: 0,
            wire: VecDeque::new(),
            log: Vec::new(),
        }
    }

    /// Starts a node with the files that its earlier life left.
    fn boot(&mut self, which: usize, config: Config) {
        self.generation += 1;
        let file = |file| self.files[which].get(&file).map_or("", String::as_str);
        let boot = Boot {
            now: self.now,
            wall_clock: UnixTime(1_700_000_000),
            generation: Generation(self.generation),
            uuid: NodeUuid([u8::try_from(which).unwrap() + 1; 16]),
            seed: [u8::try_from(which).unwrap(); 32],
            hostcache: Hostcache {
                nodes: hostcache::parse(file(StateFile::Hostcache).as_bytes()).0,
                deleted: hostcache::parse(file(StateFile::Delhostcache).as_bytes()).0,
            },
            longest_deadtime: Duration::from_millis(file(StateFile::Deadtime).trim().parse().unwrap_or_default()),
            cut_short: Vec::new(),
        };
        self.nodes[which] = Some(Node::new(config, boot));
        self.step(which, Input::Wake);
    }

    fn step(&mut self, which: usize, input: Input<'_>) {
        let size = self.nodes.len();
        let Some(node) = &mut self.nodes[which] else { return };
        let mut ended = false;
        for action in node.handle(self.now, input) {
            match action {
                Action::Send { frame, .. } => {
                    self.sent += 1;
                    self.wire.extend((0..size).filter(|to| *to != which).map(|to| (to, frame.clone())));
                }
                Action::Report(event) => self.log.push((which, event.to_string())),
                Action::Persist { file, text } => {
                    self.files[which].insert(file, text);
                }
                Action::Exit(_) => ended = true,
                _ => {}
            }
        }
        if ended {
            self.nodes[which] = None;
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.plus(span);
        loop {
            while let Some((to, frame)) = self.wire.pop_front() {
                self.step(to, Input::Frame { medium: MediumId(0), bytes: &frame });
            }
            let next = self.nodes.iter().flatten().filter_map(Node::next_deadline).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for which in 0..self.nodes.len() {
                self.step(which, Input::Wake);
            }
        }
        self.now = end;
    }

    /// What `which` says to itself and the others, as its FIFO would.
    fn command(&mut self, which: usize, text: &str) {
        let message = format!(">>>\n{text}<<<\n");
        self.step(which, Input::Fifo { bytes: message.as_bytes() });
        self.run(Duration::ZERO);
    }

    /// The names that a node counts as members, with how it sees them.
    fn members(&self, which: usize) -> String {
        let words = self.nodes[which].as_ref().unwrap().status();
        words.nodes().map(|node| format!("{} {}", node.name, node.status)).collect::<Vec<_>>().join(", ")
    }

    fn has_logged(&self, which: usize, phrase: &str) -> bool {
        self.log.iter().any(|(node, line)| *node == which && line.contains(phrase))
    }

    /// Three that find each other: only the first is named, and only to itself.
    fn strangers() -> Crowd {
        let mut crowd = Crowd::new(3);
        crowd.boot(0, texts("a", "node a\nautojoin any", None));
        crowd.boot(1, texts("b", "autojoin any", None));
        crowd.boot(2, texts("c", "autojoin any", None));
        crowd.run(secs(10));
        crowd
    }
}

#[test]
fn strangers_find_each_other_and_wait_for_initdead() {
    let mut crowd = Crowd::new(3);
    crowd.boot(0, texts("a", "node a\nautojoin any", None));
    crowd.boot(1, texts("b", "autojoin any", None));
    crowd.boot(2, texts("c", "autojoin any", None));
    crowd.run(secs(5));
    assert_eq!(crowd.members(0), "a up, b up, c up", "{:#?}", crowd.log);
    crowd.run(secs(3));
    assert_eq!(crowd.members(0), "a active, b active, c active");
    assert_eq!(crowd.members(2), "c active, a active, b active");
    assert!(crowd.has_logged(0, "Adding new node[b] to configuration. (it was heard: autojoin)"));
    assert!(!crowd.log.iter().any(|(_, line)| line.contains("resource")), "nobody speaks of resources");
    let file = &crowd.files[0][&StateFile::Hostcache];
    assert_eq!(
        file.lines().map(|line| line.split('\t').next().unwrap()).collect::<Vec<_>>(),
        ["a", "b", "c"],
        "{file}"
    );
    assert!(file.contains("02020202-0202-0202-0202-020202020202\t100\t\n"), "{file}");
}

#[test]
fn autojoin_other_wants_this_node_named_and_none_wants_all() {
    let reading = |ha_cf: &str, haresources: Option<&str>| {
        let ha_cf = format!("{ha_cf}\n{BASE}");
        let sources = Sources {
            local_name: "b",
            ha_cf: SourceText { name: "ha.cf", bytes: ha_cf.as_bytes() },
            haresources: haresources.map(|text| SourceText { name: "haresources", bytes: text.as_bytes() }),
            authkeys: SourceText { name: "authkeys", bytes: b"auth 1\n1 sha1 secret\n" },
        };
        Config::read(&sources).config.is_some()
    };
    assert!(reading("autojoin any", None));
    assert!(!reading("autojoin other", None) && !reading("node a\nautojoin other", None));
    assert!(reading("node b\nautojoin other", None));
    assert!(!reading("node b\nautojoin any", Some("")), "refused with haresources");
    let mut crowd = Crowd::new(2);
    crowd.boot(0, texts("a", "node a", None));
    crowd.boot(1, texts("b", "node b\nautojoin other", None));
    // Its five questions for the list get no answer.
    crowd.run(secs(12));
    assert_eq!(crowd.members(0), "a active", "autojoin none");
    assert_eq!(crowd.members(1), "b active, a active");
}

#[test]
fn a_node_is_added_dies_and_is_removed_everywhere_and_stays_away() {
    let mut crowd = Crowd::strangers();
    crowd.command(1, "t=addnode\nnodelist=d e\n");
    assert_eq!(crowd.members(0), "a active, b active, c active, d init, e init");
    assert_eq!(crowd.members(1).matches("init").count(), 2, "who says it acts on it too");
    crowd.run(secs(4));
    assert!(crowd.has_logged(2, "node d: is dead (never heard in 3000 ms)"), "{:#?}", crowd.log);
    crowd.command(0, "t=delnode\nnodelist=d\n");
    assert!(crowd.has_logged(0, "deletion of d failed. We don't have all required nodes alive (e is dead"));
    crowd.command(0, "t=delnode\nnodelist=b\n");
    assert!(crowd.has_logged(2, "deletion failed: node b is not dead"));
    crowd.nodes[2] = None;
    crowd.command(0, "t=delnode\nnodelist=nobody\n");
    assert!(crowd.has_logged(1, "deletion failed: node nobody does not exist"));
    assert_eq!(crowd.members(0).split(", ").count(), 5);

    // One dead node at a time can go: here c and e come, d goes.
    let mut crowd = Crowd::strangers();
    crowd.command(0, "t=addnode\nnodelist=d\n");
    crowd.run(secs(4));
    crowd.command(0, "t=delnode\nnodelist=D\n");
    for which in 0..3 {
        assert!(!crowd.members(which).contains('d'), "{}", crowd.members(which));
        assert!(crowd.files[which][&StateFile::Delhostcache].starts_with("d\t"));
        assert!(!crowd.files[which][&StateFile::Hostcache].contains("d\t"));
    }
    // Heard again it is no member; named by command it is one again, in the place that it left.
    let mut four = Crowd { nodes: crowd.nodes.into_iter().chain([None]).collect(), ..crowd };
    four.files.push(BTreeMap::new());
    four.boot(3, texts("d", "autojoin any", None));
    four.run(secs(1));
    assert!(!four.members(0).contains("d ") && four.has_logged(0, "[d]"), "{:#?}", four.log);
    four.command(0, "t=addnode\nnodelist=d\n");
    four.run(secs(10));
    assert_eq!(four.members(0), "a active, b active, c active, d active", "{:#?}", four.log);
    assert_eq!(four.files[0][&StateFile::Delhostcache], "");
}

#[test]
fn who_was_a_member_is_one_again_after_a_start() {
    let mut crowd = Crowd::strangers();
    crowd.command(0, "t=setweight\nnode=b\nweight=7\n");
    crowd.command(0, "t=setsite\nnode=C\nsite=paris\n");
    crowd.command(0, "t=setsite\nnode=x\nsite=paris\n");
    assert!(crowd.has_logged(1, "site of node x not set"));
    for which in 0..3 {
        let node = crowd.nodes[which].as_ref().unwrap();
        let weight = node.status().nodes().find(|node| node.name == "b").unwrap().weight;
        let site = node.status().nodes().find(|node| node.name == "c").unwrap().site;
        assert_eq!((weight, site), (7, "paris"));
    }
    crowd.nodes[0] = None;
    crowd.boot(0, texts("a", "node a\nautojoin any", None));
    let node = crowd.nodes[0].as_ref().unwrap();
    let known: Vec<_> = node.status().nodes().map(|node| (node.name, node.weight, node.site)).collect();
    assert_eq!(known, [("a", 100, ""), ("b", 7, ""), ("c", 100, "paris")]);
    crowd.run(secs(10));
    assert_eq!(crowd.members(0), "a active, b active, c active");
}

#[test]
fn who_was_removed_while_away_learns_it_on_its_way_in() {
    let mut crowd = Crowd::strangers();
    crowd.nodes[2] = None;
    crowd.run(secs(4));
    crowd.command(0, "t=delnode\nnodelist=c\n");
    assert_eq!(crowd.members(0), "a active, b active");
    crowd.boot(2, texts("c", "node c\nautojoin any", None));
    crowd.run(secs(10));
    // Nobody answers it: for the others it is no member.
    assert_eq!(crowd.members(0), "a active, b active");
    // A node whose files know less is told by the one that knows more.
    crowd.nodes[1] = None;
    crowd.nodes[2] = None;
    crowd.run(secs(4));
    let b = crowd.files[1].remove(&StateFile::Delhostcache);
    assert!(b.is_some_and(|text| text.starts_with("c\t")));
    crowd.boot(1, texts("b", "node a b c\nautojoin any", None));
    crowd.run(secs(10));
    assert!(!crowd.members(1).contains("c "), "the list of a says that c was deleted: {}", crowd.members(1));
}

#[test]
fn a_known_identity_under_another_name_is_the_same_node() {
    let mut crowd = Crowd::strangers();
    crowd.nodes[2] = None;
    crowd.run(secs(1));
    crowd.boot(2, texts("d", "autojoin any", None));
    crowd.run(secs(1));
    assert!(crowd.members(0).contains("c active") && !crowd.members(0).contains('d'), "two with one identity");
    crowd.run(secs(10));
    assert!(crowd.has_logged(0, "node c is called d from now on"), "{:#?}", crowd.log);
    assert_eq!(crowd.members(0), "a active, b active, d active");
    assert!(crowd.files[0][&StateFile::Hostcache].contains("d\t03030303"));
}

#[test]
fn a_cluster_has_at_most_a_hundred_members() {
    let mut crowd = Crowd::strangers();
    let names: Vec<String> = (0..120).map(|number| format!("n{number}")).collect();
    crowd.command(0, &format!("t=addnode\nnodelist={}\n", names.join(" ")));
    assert_eq!(crowd.members(1).split(", ").count(), 100);
    assert!(crowd.has_logged(1, "Add node n97 failed: a cluster has at most 100 nodes"));
}

/// With a message from each to each, and an answer of everybody to all of them, a hundred nodes would say a million.
#[test]
fn many_that_start_together_say_few_messages_each() {
    let names: Vec<String> = (0..16).map(|number| format!("n{number}")).collect();
    let mut crowd = Crowd::new(names.len());
    for (which, name) in names.iter().enumerate() {
        crowd.boot(which, texts(name, &format!("node {}", names.join(" ")), Some("")));
    }
    crowd.run(secs(2));
    assert!((0..16).all(|which| crowd.members(which).matches(" active").count() == 16), "{}", crowd.members(0));
    assert!(crowd.nodes.iter().flatten().all(|node| node.status().is_stable()));
    assert!(crowd.sent < 1000, "{}", crowd.sent);
}

#[test]
fn with_groups_a_node_may_come_and_a_home_cannot_go() {
    let mut crowd = Crowd::new(2);
    let groups = Some("a 10.0.0.1\nb 10.0.0.2\n");
    crowd.boot(0, texts("a", "node a b", groups));
    crowd.boot(1, texts("b", "node a b", groups));
    crowd.run(secs(5));
    crowd.nodes[1] = None;
    crowd.run(secs(5));
    crowd.command(0, "t=delnode\nnodelist=b\n");
    assert!(crowd.has_logged(0, "deletion failed: haresources names b as the home of resource groups"));
    crowd.command(0, "t=addnode\nnodelist=c b a\u{7f}\n");
    assert!(crowd.has_logged(0, "node(b) already exists"));
    assert_eq!(crowd.members(0), "a active, b dead, c init");
    assert!(!crowd.files[0].contains_key(&StateFile::Hostcache), "of no use with haresources");
}

#[test]
fn without_resource_management_a_stop_ends_at_once_and_nothing_can_be_moved() {
    let mut crowd = Crowd::strangers();
    let request = Input::Client { client: ClientId(1), request: Request::Standby(Which::All) };
    let node = crowd.nodes[0].as_mut().unwrap();
    let answers: Vec<Action> = node.handle(crowd.now, request).collect();
    assert!(matches!(answers[0], Action::Reply { response: Response::Refused(Refusal::Unmanaged), .. }));
    crowd.step(0, Input::Operator(Command::Stop));
    crowd.run(secs(2));
    assert!(crowd.nodes[0].is_none() && !crowd.has_logged(1, "shutdown notice"));
}

/// OWNERSHIP 2: who was not heard in this life may have the longest dead time of the cluster.
#[test]
fn a_dead_time_longer_than_initdead_is_remembered() {
    let with = |local, deadtime, initdead| {
        let text = format!(
            "node a b\nbcast eth1\nkeepalive 500ms\ndeadtime {deadtime}\ninitdead {initdead}\nlogfacility none\n"
        );
        config(local, &text, "a 10.77.0.100/24/eth0\n")
    };
    let mut crowd = Crowd::new(2);
    crowd.boot(0, with("a", 20, 20));
    crowd.boot(1, with("b", 3, 6));
    crowd.run(secs(40));
    assert_eq!(crowd.files[1][&StateFile::Deadtime], "20000\n");
    assert!(!crowd.files[0].contains_key(&StateFile::Deadtime));
    assert!(crowd.has_logged(1, "node a announces a dead time of 20000 ms, longer than initdead 6000 ms here"));
    // Both go down, and only one comes back: the other may still hold what it held.
    (crowd.nodes[0], crowd.nodes[1]) = (None, None);
    crowd.boot(1, with("b", 3, 6));
    crowd.run(secs(19));
    assert!(!crowd.has_logged(1, "node a: is dead"), "{:#?}", crowd.log);
    crowd.run(secs(2));
    assert!(crowd.has_logged(1, "node a: is dead (never heard"), "{:#?}", crowd.log);
    // It comes with a shorter one: that is what counts from now on.
    crowd.boot(0, with("a", 4, 6));
    crowd.run(secs(40));
    assert_eq!(crowd.files[1][&StateFile::Deadtime], "0\n");
}
