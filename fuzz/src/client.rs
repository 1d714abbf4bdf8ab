//! Clients of the API and scripts that say anything, to a node whose laws are watched.

use core::time::Duration;
use hb_core::auth::Framing;
use hb_core::config::{Config, SourceText, Sources};
use hb_core::ids::{ClientId, Generation, MediumId, NodeUuid, ProgramId, Seq};
use hb_core::time::{Instant, UnixTime};
use hb_core::trace::State;
use hb_core::wire::message::{Body, Header, Message, Status, StatusWord};
use hb_core::wire::{self, Fields, PACKET_MAX};
use hb_core::{Accounts, Action, Boot, Closed, Credentials, Input, Node, Outcome, ProgramEnd};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Records of one run; more find nothing new and take long.
const RECORDS_MAX: usize = 300;

const HA_CF: &[u8] = b"node alpha beta\nbcast eth0 eth1\nping 10.0.0.254\nkeepalive 500ms\ndeadtime 3\ninitdead 5\n\
    auto_failback off\nlogfacility none\napiauth foo uid=root gid=haclient\nrespawn hacluster /bin/one\n\
    failfast root /bin/two\n";
const HARESOURCES: &[u8] = b"alpha 10.0.0.1/24/eth0\nbeta 10.0.0.2/24/eth0\n";

/// Whoever may connect: root, the cluster's user, a member of the clients' group, nobody.
const PEERS: [Credentials; 4] = [
    Credentials { pid: 100, uid: 0, gid: 0 },
    Credentials { pid: 101, uid: 102, gid: 105 },
    Credentials { pid: 102, uid: 1000, gid: 105 },
    Credentials { pid: 103, uid: 1001, gid: 1001 },
];

/// A node that is driven by records: a byte that says what comes, a length (two bytes, the low one first), so many bytes.
///
/// | first byte | record |
/// |---|---|
/// | 0 to 3 | a client of that kind says it, connecting first if it is not connected |
/// | 4 to 7 | that client is gone |
/// | 8 | a script writes it to the FIFO |
/// | 9 | so many milliseconds pass, and the other node is heard |
/// | 10 | so many milliseconds pass |
/// | 11 | a program ends |
///
/// # Panics
/// If the node panics, or breaks a law: only those are told something who are connected, in messages that they can read;
/// a question of a signed-on client is answered at once, lists to their end; those who may only ask move no group; a clone
/// and a copy made from a recording do the same.
pub fn client_requests(bytes: &[u8]) {
    let mut run = Run::new();
    let mut rest = bytes;
    for _ in 0..RECORDS_MAX {
        let Some(([kind, low, high], after)) = rest.split_first_chunk::<3>() else { return };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let body = after.get(..length).unwrap_or(after);
        run.record(*kind % 12, length as u64, body);
        rest = after.get(length..).unwrap_or_default();
    }
}

struct Run {
    config: Config,
    node: Node,
    twin: Node,
    now: Instant,
    /// The connection of each kind of client.
    connected: [Option<ClientId>; 4],
    last_client: u64,
    peer_seq: u64,
    /// What was told in the last step.
    told: Vec<(ClientId, BTreeMap<String, String>)>,
    ended: bool,
}

impl Run {
    fn new() -> Run {
        let reading = Config::read(&Sources {
            local_name: "alpha",
            ha_cf: SourceText { name: "ha.cf", bytes: HA_CF },
            haresources: Some(SourceText { name: "haresources", bytes: HARESOURCES }),
            authkeys: SourceText { name: "authkeys", bytes: b"auth 1\n1 sha1 key\n" },
        });
        let config = reading.config.expect("the configuration of the target is right");
        let now = Instant::from_nanos(1_000_000_000);
        let (generation, uuid) = (Generation(10), NodeUuid([1; 16]));
        let boot = Boot {
            now,
            wall_clock: UnixTime(1_700_000_000),
            generation,
            uuid,
            seed: [7; 32],
            hostcache: hb_core::config::Hostcache::default(),
            longest_deadtime: Duration::ZERO,
            cut_short: Vec::new(),
        };
        let node = Node::new(config.clone(), boot);
        let (twin, told) = (node.clone(), Vec::new());
        let (connected, last_client, peer_seq) = ([None; 4], 0, 0);
        let mut run = Run { config, node, twin, now, connected, last_client, peer_seq, told, ended: false };
        let number = |name: &str, number: u32| (name.to_owned(), number);
        run.give(&Input::Accounts(Accounts {
            users: [number("root", 0), number("hacluster", 102)].into(),
            groups: [number("haclient", 105)].into(),
        }));
        run.give(&Input::Wake);
        // Alone it is active, and holds everything, when `initdead` is over.
        run.pass(6000);
        assert!(run.node.status().is_active());
        run
    }

    fn record(&mut self, kind: u8, length: u64, body: &[u8]) {
        if self.ended {
            return;
        }
        match kind {
            0..=3 => self.say(usize::from(kind), body),
            4..=7 => {
                if let Some(client) = self.connected[usize::from(kind - 4)].take() {
                    let why = [Closed::Eof, Closed::Died, Closed::Overflow { waiting: 64 }, Closed::BadFrame];
                    self.give(&Input::ApiClosed { client, why: why[body.len() % 4] });
                }
            }
            8 => self.give(&Input::Fifo { bytes: body }),
            9 => {
                self.hear_beta();
                self.pass(length % 5000);
            }
            10 => self.pass(length),
            _ => {
                let end = match body.len() % 4 {
                    0 => ProgramEnd::Exited { pid: 1, code: 0 },
                    1 => ProgramEnd::Exited { pid: 1, code: 100 },
                    2 => ProgramEnd::Killed { pid: 1, signal: 15 },
                    _ => ProgramEnd::NotStarted("no".into()),
                };
                self.give(&Input::ProgramEnded { program: ProgramId(u16::from(length > 200)), end });
            }
        }
    }

    fn say(&mut self, kind: usize, body: &[u8]) {
        let peer = PEERS[kind];
        let client = self.connected[kind].unwrap_or_else(|| {
            self.last_client += 1;
            let client = ClientId(self.last_client);
            self.connected[kind] = Some(client);
            self.give(&Input::ApiOpened { client, peer });
            client
        });
        let holding = self.node.status().holding();
        self.give(&Input::ApiMessage { client, bytes: body });
        assert!(kind < 2 || self.node.status().holding() == holding, "who may only ask moves no group");
        self.check_answer(client, peer, body);
    }

    /// A question gets its answer in the same step.
    fn check_answer(&mut self, client: ClientId, peer: Credentials, body: &[u8]) {
        let Ok(decoded) = wire::decode(body) else { return };
        let text = |fields: &Fields<'_>, name: &str| {
            fields.text(name).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
        };
        let (kind, request) = (text(&decoded.fields, "t"), text(&decoded.fields, "reqtype"));
        let pid = peer.pid.to_string();
        let results: Vec<&str> = self
            .told
            .iter()
            .filter(|(to, said)| *to == client && said.get("t").is_some_and(|kind| kind == "hbapi-resp"))
            .map(|(_, said)| said.get("result").map_or("", String::as_str))
            .collect();
        if let Some((last, before)) = results.split_last() {
            assert_eq!(kind, "hbapi-req", "only questions are answered");
            assert!(before.iter().all(|result| *result == "ok/more") && *last != "ok/more", "{results:?}");
        }
        let is_silent = matches!(&*request, "signon" | "signoff" | "set_sendqlen" | "clientstatus" | "");
        let is_own = text(&decoded.fields, "from_id") == pid;
        if kind == "hbapi-req" && is_own && !is_silent && results.is_empty() {
            assert!(!self.is_signed_on(client, &pid), "{request} has no answer");
        }
    }

    /// Whether it is signed on without a name; a copy of the node is asked.
    fn is_signed_on(&self, client: ClientId, pid: &str) -> bool {
        let mut copy = self.node.clone();
        let question = format!(">>>\nt=hbapi-req\nreqtype=numnodes\npid={pid}\nfrom_id={pid}\n<<<\n");
        copy.handle(self.now, Input::ApiMessage { client, bytes: question.as_bytes() })
            .any(|action| matches!(action, Action::Tell { .. }))
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now.plus(Duration::from_millis(millis));
        while let Some(next) = self.node.next_deadline().filter(|next| *next <= end && !self.ended) {
            self.now = self.now.max(next);
            self.give(&Input::Wake);
        }
        self.now = end;
    }

    fn hear_beta(&mut self) {
        self.peer_seq += 1;
        let mut header = Header::new("beta", UnixTime(1));
        header.src_uuid = Some(NodeUuid([2; 16]));
        header.seq = Some(Seq(self.peer_seq));
        header.generation = Some(Generation(20));
        let (word, deadtime) = (StatusWord::of(Cow::Borrowed("active")), Some(Duration::from_secs(3)));
        let message = Message {
            header,
            body: Body::Status(Status { word, deadtime, protocol: Some(1), native: None, hears: None }),
        };
        let sealed = self.config.keyring().seal(message.to_fields(), Framing::Datagram, self.config.sealing());
        let frame = sealed.expect("all words here may be sent");
        self.give(&Input::Frame { medium: MediumId(0), bytes: &frame });
    }

    fn give(&mut self, input: &Input<'_>) {
        let actions: Vec<Action> = self.node.handle(self.now, input.clone()).collect();
        let twins: Vec<Action> = self.twin.handle(self.now, input.clone()).collect();
        assert_eq!(actions, twins, "a clone does the same");
        assert_eq!(State::of(&self.node).digest(), State::of(&self.twin).digest(), "and is the same");
        let mut done = Vec::new();
        self.told.clear();
        for action in actions {
            match action {
                Action::Tell { client, message, signal } => {
                    assert!(self.connected.contains(&Some(client)), "only who is connected is told something");
                    assert!(message.len() <= PACKET_MAX && signal.is_none_or(|signal| signal < 32 && signal != 9));
                    let decoded = wire::decode(&message).expect("a client can read what it is told");
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let pairs = decoded.fields.iter().filter_map(|field| match &field.value {
                        wire::Value::Text(value) => Some((text(&field.name), text(value))),
                        _ => None,
                    });
                    self.told.push((client, pairs.collect()));
                }
                Action::Dismiss { client } => {
                    let slot = self.connected.iter_mut().find(|slot| **slot == Some(client));
                    *slot.expect("only who is connected is dismissed") = None;
                }
                Action::Send { frame, .. } => assert!(frame.len() <= 65_507, "a datagram carries it"),
                Action::RunResource { op, .. } => done.push(op),
                Action::Exit(_) => self.ended = true,
                _ => {}
            }
        }
        let told = std::mem::take(&mut self.told);
        for op in done {
            self.give(&Input::OpDone { op, outcome: Outcome::Done, said: hb_core::Transcript::default() });
        }
        self.told = told;
    }
}

#[cfg(test)]
mod tests {
    use crate::samples::{corpus, random};

    #[test]
    fn client_requests_survives_its_corpus() {
        for (_, bytes) in corpus("client_requests") {
            super::client_requests(&bytes);
        }
    }

    #[test]
    fn client_requests_survives_random_bytes() {
        for seed in 0..200 {
            super::client_requests(&random(seed, 4000));
        }
    }

    /// Each example with one byte changed at a time, at forty places: what a careless client would say.
    #[test]
    fn client_requests_survives_a_wrong_byte_anywhere() {
        for (_, bytes) in corpus("client_requests") {
            for at in (0..bytes.len()).step_by((bytes.len() / 40).max(1)) {
                let mut wrong = bytes.clone();
                wrong[at] ^= 0x15;
                super::client_requests(&wrong);
            }
        }
    }
}
