//! Every recorded request of a real client gets the recorded answer from our core, without a socket.
//!
//! What stands in `DIFFERENT` differs on purpose; what differs from run to run (numbers, times, versions, how groups lie)
//! is left out of the comparison, and so are events that nobody asked for.

use hb_core::config::{Config, SourceText, Sources};
use hb_core::ids::{ClientId, Generation, MediumId, NodeUuid};
use hb_core::time::{Instant, UnixTime};
use hb_core::wire::{self, Fields, Value};
use hb_core::{Accounts, Action, Boot, Credentials, Frame, Input, Node, Outcome};
use serde_json::Value as Json;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// As the recordings were made (README.md beside them).
const HA_CF: &str = "ping 10.77.0.254\nnode alpha\nnode beta\nkeepalive 500ms\ndeadtime 3\nwarntime 1\ninitdead 5\n\
    auto_failback off\ndialect classic\nbcast eth1\nbcast eth0\nlogfile /var/log/ha-log\ndebugfile /var/log/ha-debug\ncluster lab\n\
    apiauth dopd uid=hacluster\napiauth ping uid=root gid=haclient\napiauth default uid=root\n";
/// The medium that its first line configures.
const PING: MediumId = MediumId(0);
const HARESOURCES: &str = "alpha 10.77.0.100/24/eth0\nbeta 10.77.0.101/24/eth0\n";

/// Conversations, or parts of them, that we answer otherwise: who, what the original says alone, what we say alone, why.
const DIFFERENT: &[(&str, &[&str], &[&str], &str)] = &[
    (
        "probe: pid nonexistent",
        &["t=hbapi-clstat st=leave from_id= to_id= info=died"],
        &[],
        "it gave no name, so there is nobody to leave",
    ),
    (
        "cl_status clientstatus beta ipfail 1",
        &[],
        &["t=respond-cstatus dest=alpha result=OK cn=ipfail to_id=23182 cs=online"],
        "the original was too slow for a client that waits one millisecond",
    ),
];

/// Fields that differ from run to run.
const PASSING: [&str; 12] =
    ["hbversion", "client_gen", "destuuid", "srcuuid", "src", "seq", "hg", "ts", "ld", "ttl", "auth", "logfacility"];

/// Types of events that nobody asked for; of joins and leaves those of others.
const EVENTS: [&str; 9] = [
    "status",
    "ifstat",
    "resource",
    "ask_resources",
    "starting",
    "shutdone",
    "stonith",
    "ip-request",
    "ip-request-resp",
];

struct Line {
    who: String,
    from_client: bool,
    body: Vec<u8>,
    fields: Vec<(String, String)>,
}

impl Line {
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> u32 {
        self.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// The conversations of a file, each beginning with a connection.
fn conversations(file: &str) -> Vec<Vec<Line>> {
    let path = format!("{}/vectors/client/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let mut all: Vec<Vec<Line>> = Vec::new();
    let mut before = String::new();
    for line in text.lines() {
        let json: Json = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let (who, hex) = (text("who"), text("hex"));
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
        let body = bytes.get(8..).unwrap_or_default().to_vec();
        let fields = wire::decode(&body).map(|decoded| plain(&decoded.fields)).unwrap_or_default();
        let line = Line { who, from_client: text("dir") == "c->d", body, fields };
        let is_connect = line.from_client && line.body.is_empty() && hex.is_empty();
        // The probe connects twice under one name where it asks for a uuid first.
        let begins = is_connect || (line.who != before && !line.who.starts_with("ipfail: ")) || all.is_empty();
        before.clone_from(&line.who);
        if begins {
            all.push(Vec::new());
        }
        if !is_connect {
            all.last_mut().expect("one has begun").push(line);
        }
    }
    all
}

/// Names and values as text; binary ones in hexadecimal.
fn plain(fields: &Fields<'_>) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = |value: &Value<'_>| match value {
        Value::Text(bytes) => text(bytes),
        Value::Binary(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat(),
        other => format!("{other:?}"),
    };
    fields.iter().map(|field| (text(&field.name), value(&field.value))).collect()
}

/// A reply as it is compared; nothing of an event.
fn essence(fields: &[(String, String)], id: &str, local: &str) -> Option<String> {
    let get = |name: &str| fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
    let kind = get("t");
    let is_own = matches!(get("from_id"), from if from == id || from.is_empty());
    if EVENTS.contains(&kind) || kind.starts_with("NS_") || (kind == "hbapi-clstat" && !(is_own && get("src") == local))
    {
        return None;
    }
    // What other clients of the name say.
    if !kind.starts_with("hbapi") && kind != "respond-cstatus" && get("src") != local {
        return None;
    }
    let words = fields.iter().filter(|(name, _)| !PASSING.contains(&name.as_str())).map(|(name, value)| {
        let passes = name == "rsc_hold" || (name == "st" && kind == "hbapi-resp" && id == "ipfail");
        format!("{name}={}", if passes { "*" } else { value })
    });
    Some(words.collect::<Vec<_>>().join(" "))
}

/// The two nodes, on a perfect cable.
struct Lab {
    now: Instant,
    nodes: [Option<Node>; 2],
    wire: VecDeque<(usize, MediumId, Frame)>,
    told: Vec<(usize, ClientId, Option<Vec<u8>>)>,
}

const NAMES: [&str; 2] = ["alpha", "beta"];
const UUIDS: [&str; 2] = ["6d8c7693a5af4c848db03039b2757e6c", "f84902ff57a649b6b748a3073e41e21e"];

impl Lab {
    fn new(lines: &str) -> Lab {
        let mut lab = Lab { now: Instant::ORIGIN, nodes: [None, None], wire: VecDeque::new(), told: Vec::new() };
        for (which, name) in NAMES.into_iter().enumerate() {
            let ha_cf = format!("{HA_CF}{lines}");
            let text = |name, bytes| SourceText { name, bytes };
            let reading = Config::read(&Sources {
                local_name: name,
                ha_cf: text("ha.cf", ha_cf.as_bytes()),
                haresources: Some(text("haresources", HARESOURCES.as_bytes())),
                authkeys: text("authkeys", b"auth 1\n1 sha1 K\n"),
            });
            let uuid = u128::from_str_radix(UUIDS[which], 16).expect("hex").to_be_bytes();
            let (wall_clock, generation) = (UnixTime(1), Generation(1));
            let boot = Boot {
                now: lab.now,
                wall_clock,
                generation,
                uuid: NodeUuid(uuid),
                seed: [7; 32],
                hostcache: hb_core::config::Hostcache::default(),
                longest_deadtime: Duration::ZERO,
                cut_short: Vec::new(),
            };
            lab.nodes[which] = Some(Node::new(reading.config.expect("a good configuration"), boot));
            let number = |name: &str, number: u32| (name.to_owned(), number);
            let users = BTreeMap::from([number("root", 0), number("hacluster", 102)]);
            let groups = BTreeMap::from([number("haclient", 105)]);
            lab.step(which, Input::Accounts(Accounts { users, groups }));
        }
        lab.run(Duration::from_secs(20));
        // On the other node an ipfail, too.
        for which in 0..2 {
            lab.sign_on(which, 1, 102);
        }
        lab
    }

    /// An ipfail of the cluster's user.
    fn sign_on(&mut self, which: usize, client: u64, uid: u32) {
        let (client, peer) = (ClientId(client), Credentials { pid: 500, uid, gid: 105 });
        self.step(which, Input::ApiOpened { client, peer });
        let body = format!(">>>\nt=hbapi-req\nreqtype=signon\npid=500\nfrom_id=ipfail\nuid={uid}\ngid=105\n<<<\n\0");
        self.step(which, Input::ApiMessage { client, bytes: body.as_bytes() });
        self.settle();
    }

    fn step(&mut self, which: usize, input: Input<'_>) {
        let Some(node) = &mut self.nodes[which] else { return };
        let mut done = Vec::new();
        for action in node.handle(self.now, input) {
            match action {
                Action::Send { medium, frame, .. } => self.wire.push_back((which, medium, frame)),
                Action::RunResource { op, .. } => done.push(op),
                Action::Tell { client, message, .. } => self.told.push((which, client, Some(message.to_vec()))),
                Action::Dismiss { client } => self.told.push((which, client, None)),
                _ => {}
            }
        }
        for op in done {
            self.step(which, Input::OpDone { op, outcome: Outcome::Done, said: hb_core::Transcript::default() });
        }
    }

    fn settle(&mut self) {
        while let Some((from, medium, frame)) = self.wire.pop_front() {
            // Broadcast comes back to its sender, too; an echo comes back to nobody else.
            let hearers = if medium == PING { from..=from } else { 0..=1 };
            for to in hearers {
                self.step(to, Input::Frame { medium, bytes: &frame });
            }
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.plus(span);
        while let Some(next) = self.nodes.iter().flatten().filter_map(Node::next_deadline).min().filter(|at| *at <= end)
        {
            self.now = self.now.max(next);
            for which in 0..2 {
                self.step(which, Input::Wake);
            }
            self.settle();
        }
        self.now = end;
    }
}

/// Has our core answer a conversation; what the original says alone, and what we say alone.
fn compare(lab: &mut Lab, which: usize, client: ClientId, lines: &[Line]) -> (Vec<String>, Vec<String>) {
    let Some(first) = lines.iter().find(|line| line.get("reqtype") == Some("signon")) else {
        return Default::default();
    };
    let id = first.get("from_id").or(first.get("pid")).unwrap_or_default().to_owned();
    // The probe lies about itself; the others do not.
    let peer = if first.who.starts_with("probe") {
        Credentials { pid: 30177, uid: 0, gid: 0 }
    } else {
        Credentials { pid: first.number("pid"), uid: first.number("uid"), gid: first.number("gid") }
    };
    lab.told.clear();
    lab.step(which, Input::ApiOpened { client, peer });
    for line in lines.iter().filter(|line| line.from_client) {
        lab.step(which, Input::ApiMessage { client, bytes: &line.body });
        lab.settle();
    }
    let local = NAMES[which];
    let ours =
        lab.told.iter().filter(|(node, to, _)| (*node, *to) == (which, client)).filter_map(|(.., said)| match said {
            None => Some("end".to_owned()),
            Some(body) => essence(&plain(&wire::decode(body).expect("we write messages").fields), &id, local),
        });
    let theirs = lines.iter().filter(|line| !line.from_client).filter_map(|line| {
        if line.body.is_empty() { Some("end".to_owned()) } else { essence(&line.fields, &id, local) }
    });
    let (mut ours, theirs): (Vec<String>, Vec<String>) = (ours.collect(), theirs.collect());
    // Clients that close their end do not see ours.
    if !theirs.iter().any(|said| said == "end") {
        ours.retain(|said| said != "end" && !said.starts_with("t=hbapi-clstat st=leave"));
    }
    let format = wire::decode(&first.body).map(|decoded| decoded.format);
    assert!(format.is_ok(), "{}", first.who);
    // Replies keep their order; an answer by way of the cluster may come sooner or later than the original's.
    let split = |said: &[String], kind: &str| -> Vec<String> {
        said.iter().filter(|said| said.starts_with("t=hbapi-resp") == (kind == "replies")).cloned().collect()
    };
    let (mut only_theirs, mut only_ours) = (Vec::new(), Vec::new());
    for kind in ["replies", "others"] {
        let (theirs, ours) = (split(&theirs, kind), split(&ours, kind));
        let mut rest = ours.clone();
        for said in &theirs {
            match rest.iter().position(|own| own == said) {
                Some(at) => drop(rest.remove(at)),
                None => only_theirs.push(said.clone()),
            }
        }
        if kind == "replies" && rest.is_empty() && only_theirs.is_empty() {
            assert_eq!(ours, theirs, "{}: the order", first.who);
        }
        only_ours.extend(rest);
    }
    (only_theirs, only_ours)
}

/// How many requests were answered as recorded.
fn check(file: &str, lines: &str, which: usize, prepare: impl Fn(&mut Lab, &str)) -> usize {
    let mut requests = 0;
    let mut failed = Vec::new();
    for conversation in conversations(file) {
        let mut lab = Lab::new(lines);
        let who = conversation.first().map(|line| line.who.clone()).unwrap_or_default();
        prepare(&mut lab, &who);
        requests += conversation.iter().filter(|line| line.from_client).count();
        let (theirs, ours) = compare(&mut lab, which, ClientId(7), &conversation);
        let known = DIFFERENT.iter().find(|(known, ..)| *known == who);
        let (alone, extra) = known.map_or((&[][..], &[][..]), |(_, alone, extra, _)| (*alone, *extra));
        if theirs != alone || ours != extra {
            failed.push(format!("{who}\n  they alone: {theirs:#?}\n  we alone: {ours:#?}"));
        }
    }
    assert!(failed.is_empty(), "{file}: {}", failed.join("\n"));
    requests
}

/// Ends the ipfail that is signed on, since the recorded one has its name.
fn without_ipfail(lab: &mut Lab, which: usize) {
    lab.step(which, Input::ApiClosed { client: ClientId(1), why: hb_core::Closed::Eof });
    lab.settle();
}

#[test]
fn cl_status_is_answered_as_recorded() {
    assert!(check("cl_status.jsonl", "", 0, |_, _| {}) > 100);
}

#[test]
fn cl_status_is_answered_in_netstrings_where_those_are_configured() {
    assert!(check("netstring.jsonl", "msgfmt netstring\nlogfacility local0\n", 0, |_, _| {}) >= 3);
    let mut lab = Lab::new("msgfmt netstring\n");
    let conversation = conversations("netstring.jsonl").remove(0);
    compare(&mut lab, 0, ClientId(7), &conversation);
    let format =
        |(.., said): &(usize, ClientId, Option<Vec<u8>>)| wire::decode(said.as_ref()?).map(|it| it.format).ok();
    assert!(lab.told.iter().filter_map(format).all(|format| format == wire::Format::Netstring));
}

#[test]
fn ipfail_is_answered_as_recorded() {
    assert!(check("ipfail.jsonl", "", 0, |lab, _| without_ipfail(lab, 0)) > 15);
}

#[test]
fn api_test_and_dopd_and_ccm_are_answered_as_recorded() {
    for (file, least) in [("api_test.jsonl", 30), ("dopd.jsonl", 4), ("ccm.jsonl", 10)] {
        assert!(check(file, "", 0, |_, _| {}) > least);
    }
}

#[test]
fn the_refused_are_refused_as_recorded() {
    assert!(check("refused.jsonl", "", 0, |_, _| {}) >= 3);
}

#[test]
fn every_probe_is_answered_as_recorded() {
    // The other node was down for most of them; what of it is in an answer then shows it as dead.
    let prepare = |lab: &mut Lab, who: &str| {
        if ["pipelined", "dribbled"].iter().any(|name| who.contains(name)) {
            lab.nodes[0] = None;
            lab.run(Duration::from_secs(10));
        }
    };
    assert!(check("errors.jsonl", "", 1, prepare) > 70);
}

#[test]
fn the_written_standby_is_a_message() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/client/fifo.jsonl")).expect("there");
    let json: Json = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    let hex = json["hex"].as_str().expect("hex");
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
    let mut lab = Lab::new("");
    lab.step(0, Input::Fifo { bytes: &bytes });
    let kinds = lab.wire.iter().filter_map(|(_, _, frame)| {
        let decoded = wire::decode(frame).ok()?;
        decoded.fields.text("t").map(|kind| String::from_utf8_lossy(kind).into_owned())
    });
    assert!(kinds.into_iter().any(|kind| kind == "ask_resources"));
}
