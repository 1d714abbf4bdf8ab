//! Clients of the API on one or both nodes.

use super::*;
use crate::action::{Door, ExitReason};
use crate::ids::ProgramId;
use crate::input::{Accounts, Closed, Credentials, ProgramEnd};

const ROOT: Credentials = Credentials { pid: 100, uid: 0, gid: 0 };
/// A member of haclient.
const GUEST: Credentials = Credentials { pid: 200, uid: 1000, gid: 105 };
const CLUSTER: Credentials = Credentials { pid: 300, uid: 102, gid: 105 };
/// Nobody.
const STRANGER: Credentials = Credentials { pid: 400, uid: 1001, gid: 1001 };

fn message(pairs: &str) -> Vec<u8> {
    let mut text = String::from(">>>\n");
    for pair in pairs.split(' ') {
        text.push_str(pair);
        text.push('\n');
    }
    text.push_str("<<<\n\0");
    text.into_bytes()
}

impl Pair {
    /// Both are active and know the numbers of users and groups.
    fn with_clients(lines: &str) -> Pair {
        let ha_cf = format!("{C2}auto_failback off\napiauth foo uid=root,hacluster\n{lines}");
        let mut pair = Pair::with(&ha_cf, GROUPS);
        for which in 0..2 {
            pair.boot(which);
            let number = |name: &str, number: u32| (name.to_string(), number);
            let accounts = Accounts {
                users: [number("root", 0), number("hacluster", 102)].into(),
                groups: [number("haclient", 105)].into(),
            };
            pair.step(which, Input::Accounts(accounts));
        }
        pair.run(secs(6));
        pair
    }

    fn open(&mut self, which: usize, client: u64, peer: Credentials) {
        self.step(which, Input::ApiOpened { client: ClientId(client), peer });
    }

    fn say(&mut self, which: usize, client: u64, pairs: &str) -> Vec<String> {
        self.clients.clear();
        self.step(which, Input::ApiMessage { client: ClientId(client), bytes: &message(pairs) });
        self.settle();
        self.heard(which, client)
    }

    /// Connects and signs on; what was said then.
    fn sign_on(&mut self, which: usize, client: u64, peer: Credentials, name: &str) -> Vec<String> {
        self.open(which, client, peer);
        let Credentials { pid, uid, gid } = peer;
        self.say(which, client, &format!("t=hbapi-req reqtype=signon pid={pid} from_id={name} uid={uid} gid={gid}"))
    }

    /// What a client was told since `clients` was cleared, without what differs from run to run; `-` is the end.
    fn heard(&self, which: usize, client: u64) -> Vec<String> {
        let mut heard = Vec::new();
        for (node, action) in &self.clients {
            match action {
                Action::Tell { client: to, message, .. } if (*node, to.0) == (which, client) => {
                    let text = String::from_utf8_lossy(message).into_owned();
                    let passing = ["ts=", "ld=", "auth=", "seq=", "hg=", "ttl=", "(1)", "hbversion=", "logfacility="];
                    let lines = text.lines().filter(|line| !passing.iter().any(|name| line.starts_with(name)));
                    let words: Vec<&str> = lines.filter(|line| !matches!(*line, ">>>" | "<<<" | "\0")).collect();
                    heard.push(words.join(" "));
                }
                Action::Dismiss { client: to } if (*node, to.0) == (which, client) => heard.push("-".into()),
                _ => {}
            }
        }
        heard
    }
}

const WELCOME: &str = "t=hbapi-resp reqtype=signon result=OK deadtime=bb8 keepalive=fa node=h1 pacemaker=false";

#[test]
fn the_door_opens_when_communication_is_up_and_programs_start_after_it() {
    let mut pair = Pair::with(&format!("{C2}auto_failback off\nrespawn hacluster /bin/one\n"), GROUPS);
    pair.boot(0);
    pair.run(secs(7));
    assert_eq!(pair.clients, []);
    pair.run(secs(2));
    let start = Action::StartProgram { program: ProgramId(0), user: "hacluster".into(), command: "/bin/one".into() };
    assert_eq!(pair.clients, [(0, Action::Door(Door::Open)), (0, start)]);
}

#[test]
fn a_named_client_hears_its_own_join_before_the_reply() {
    let mut pair = Pair::with_clients("");
    let said = pair.sign_on(0, 1, CLUSTER, "ipfail");
    let join = "t=hbapi-clstat st=join from_id=ipfail to_id=ipfail src=h1 info=signon client_gen=0";
    assert_eq!(said, [join, WELCOME]);
    assert_eq!(pair.sign_on(0, 2, GUEST, "200"), [WELCOME], "a casual one joins nobody");
}

#[test]
fn who_may_not_sign_on_hears_why_and_leaves_no_trace() {
    let mut pair = Pair::with_clients("");
    pair.sign_on(0, 1, CLUSTER, "ipfail");
    pair.sign_on(1, 1, CLUSTER, "ipfail");
    let mut number = 1;
    for (peer, fields, info) in [
        (ROOT, "from_id=foo uid=0 gid=0", "bad pid"),
        (ROOT, "pid=99999999 from_id=foo uid=0 gid=0", "bad pid"),
        (CLUSTER, "pid=300 from_id=ipfail uid=102 gid=105", "duplicate add request"),
        (ROOT, "pid=100 from_id=foo gid=0", "invalid id info"),
        (ROOT, "pid=100 from_id=foo uid=0 gid=5", "incorrect/false credentials"),
        (ROOT, "pid=100 from_id=dopd uid=0 gid=0", "no default client auth"),
        (ROOT, "pid=100 from_id=anon uid=0 gid=0", "no default client auth"),
        (GUEST, "pid=200 from_id=foo uid=1000 gid=105", "client failed authorization"),
        (STRANGER, "pid=400 uid=1001 gid=1001", "client failed authorization"),
        (ROOT, "pid=1 from_id=foo uid=0 gid=0", "pid mismatch"),
    ] {
        number += 1;
        pair.open(0, number, peer);
        let said = pair.say(0, number, &format!("t=hbapi-req reqtype=signon {fields}"));
        let first = said.first().cloned().unwrap_or_default();
        assert!(
            first.starts_with(&format!("t=hbapi-resp reqtype=signon info={info} result=badreq")),
            "{fields}: {said:?}"
        );
        assert_eq!(said.last().map(String::as_str), Some("-"), "{fields}");
        assert_eq!(said.len(), if fields.contains("from_id") { 3 } else { 2 }, "{fields}: {said:?}");
        assert_eq!(pair.heard(1, 1), [""; 0], "nobody hears of one who never joined");
        assert_eq!(pair.say(0, number, "t=hbapi-req reqtype=numnodes pid=100"), [""; 0]);
    }
}

#[test]
fn before_its_sign_on_a_client_is_not_heard() {
    let mut pair = Pair::with_clients("");
    pair.open(0, 1, ROOT);
    assert_eq!(pair.say(0, 1, "t=hbapi-req reqtype=nodelist pid=100"), [""; 0]);
    assert_eq!(pair.say(0, 1, "t=hello x=y"), [""; 0]);
    assert_eq!(pair.say(0, 1, "t=hbapi-req reqtype=signon pid=100 uid=0 gid=0").len(), 1);
}

#[test]
fn a_message_of_a_client_reaches_its_like_on_all_nodes_and_itself() {
    let mut pair = Pair::with_clients("");
    pair.sign_on(0, 1, CLUSTER, "ipfail");
    pair.sign_on(0, 2, ROOT, "foo");
    pair.sign_on(1, 1, CLUSTER, "ipfail");
    let own = pair.say(0, 1, "t=hello from_id=evil to_id=foo src=zz seq=1 auth=x oseq=a");
    let said = "t=hello from_id=ipfail to_id=ipfail src=h1 oseq=a client_gen=0";
    assert_eq!(own, [said]);
    assert_eq!(pair.heard(1, 1), [said]);
    assert_eq!(pair.heard(0, 2), [""; 0]);
    assert_eq!(pair.say(0, 1, "t=hello dest=H2"), [""; 0], "for the other node alone");
    assert_eq!(pair.heard(1, 1).len(), 1);
    assert_eq!(pair.say(0, 1, "t=hello dest=nosuch"), [""; 0]);
    assert_eq!(pair.heard(1, 1), [""; 0]);
    assert_eq!(pair.say(0, 1, "t=hello dest=h1").len(), 1);
}

#[test]
fn nobody_speaks_in_the_name_of_the_daemon() {
    let mut pair = Pair::with_clients("");
    pair.sign_on(0, 1, ROOT, "foo");
    for kind in
        ["status st=dead", "NS_ackmsg ackseq=1", "shutdone st=dead", "resource rsc_hold=all", "repnodes nodelist=h1"]
    {
        let before = pair.nodes[0].as_ref().unwrap().newest_number();
        pair.say(0, 1, &format!("t={kind}"));
        assert_eq!(pair.nodes[0].as_ref().unwrap().newest_number(), before, "{kind}");
    }
    let line = "message [status] of foo ignored: only a daemon says this";
    assert!(pair.has_logged(0, line));
    assert_eq!(pair.log.iter().filter(|(_, line)| line.contains("of foo ignored")).count(), 1, "one line is enough");
}

#[test]
fn a_standby_is_begun_by_who_may_and_by_nobody_else() {
    let mut pair = Pair::with_clients("apiauth ping gid=haclient\n");
    pair.sign_on(0, 1, GUEST, "ping");
    pair.sign_on(0, 2, CLUSTER, "ipfail");
    pair.say(0, 1, "t=ask_resources rsc_hold=all info=me");
    pair.run(secs(2));
    assert_eq!(pair.holds(), ["local", "local"]);
    assert!(pair.has_logged(0, "only root and hacluster may cause this"));
    pair.say(0, 2, "t=ask_resources rsc_hold=all src=h1 info=me");
    pair.run(secs(2));
    assert_eq!(pair.holds(), ["none", "all"]);
    pair.step(0, Input::Fifo { bytes: b">>>\nt=hb_takeover\nrsc_hold=local\n<<<\n" });
    pair.run(secs(2));
    assert_eq!(pair.holds(), ["local", "local"]);
}

#[test]
fn a_casual_client_that_speaks_is_sent_away_without_a_word() {
    let mut pair = Pair::with_clients("");
    pair.sign_on(0, 1, GUEST, "200");
    assert_eq!(pair.say(0, 1, "t=hello x=y"), ["-"]);
}

#[test]
fn leaving_is_told_to_all_nodes() {
    let mut pair = Pair::with_clients("");
    pair.sign_on(0, 1, CLUSTER, "ipfail");
    pair.sign_on(1, 1, CLUSTER, "ipfail");
    let leave = "t=hbapi-clstat st=leave from_id=ipfail to_id=ipfail src=h1 info=signoff client_gen=0";
    assert_eq!(pair.say(0, 1, "t=hbapi-req reqtype=signoff pid=300 from_id=ipfail"), [leave, "-"]);
    assert_eq!(pair.heard(1, 1), [leave]);
    pair.clients.clear();
    pair.step(1, Input::ApiClosed { client: ClientId(1), why: Closed::Died });
    pair.settle();
    assert!(pair.has_logged(1, "client ipfail [pid 300] left: died"));
    assert_eq!(pair.heard(1, 1), [""; 0]);
}

#[test]
fn the_status_of_a_client_is_known_here_and_asked_for_elsewhere() {
    let mut pair = Pair::with_clients("");
    pair.sign_on(0, 1, CLUSTER, "ipfail");
    pair.sign_on(1, 1, CLUSTER, "ipfail");
    let mut ask =
        |what: &str| pair.say(0, 1, &format!("t=hbapi-req reqtype=clientstatus pid=300 from_id=ipfail {what}"));
    let here = |cs: &str| format!("t=hbapi-resp reqtype=clientstatus subt=respond-cstatus cs={cs} result=OK");
    let there = |cn: &str, cs: &str| format!("t=respond-cstatus dest=h1 result=OK cn={cn} to_id=ipfail cs={cs} src=h2");
    assert_eq!(ask("node=h1 cn=ipfail"), [here("online")]);
    assert_eq!(ask("node=h1 cn=dopd"), [here("offline")]);
    assert_eq!(ask("node=h2 cn=ipfail"), [there("ipfail", "online")]);
    assert_eq!(ask("node=h2 cn=dopd"), [there("dopd", "offline")]);
    assert_eq!(ask("node=h3 cn=dopd"), ["t=hbapi-resp reqtype=clientstatus result=badreq info=EINVAL"]);
    let both = pair.say(0, 1, "t=query-cstatus cn=ipfail from_id=ipfail");
    assert_eq!(both, [there("ipfail", "online").replace("src=h2", "src=h1"), there("ipfail", "online")]);
}

#[test]
fn events_say_what_changed_and_nothing_else() {
    let mut pair = Pair::with_clients("");
    pair.sign_on(0, 1, GUEST, "200");
    pair.clients.clear();
    pair.run(secs(10));
    assert_eq!(pair.heard(0, 1), [""; 0], "heartbeats are no news");
    pair.crash(1);
    pair.run(secs(5));
    let heard = pair.heard(0, 1);
    let events =
        ["t=status src=h2 st=dead", "t=ifstat node=h2 ifname=eth1 st=dead", "t=stonith node=h2 result=n_stnth src=h1"];
    for event in events {
        assert_eq!(heard.iter().filter(|line| **line == event).count(), 1, "{event}: {heard:#?}");
    }
    pair.clients.clear();
    pair.boot(1);
    pair.run(secs(2));
    let heard = pair.heard(0, 1).join("\n");
    for event in
        ["t=ifstat node=h2 ifname=eth1 st=up", "st=init dt=", "st=up dt=", "st=active dt=", "t=starting src=h2"]
    {
        assert_eq!(heard.matches(event).count(), 1, "{event}: {heard}");
    }
}

#[test]
fn filters_beyond_the_first_are_for_root() {
    let mut pair = Pair::with_clients("");
    pair.sign_on(0, 1, GUEST, "200");
    pair.sign_on(0, 2, ROOT, "100");
    let mut set = |client: u64, pid: u32, mask: &str| {
        let said = pair.say(0, client, &format!("t=hbapi-req reqtype=setfilter pid={pid} fmask={mask}"));
        said.concat().rsplit('=').next().map(ToString::to_string).unwrap_or_default()
    };
    assert_eq!(
        [set(1, 200, "1"), set(1, 200, "3f"), set(1, 200, "40"), set(2, 100, "3f")],
        ["OK", "EPERM", "EINVAL", "OK"]
    );
    pair.clients.clear();
    pair.run(secs(1));
    assert!(pair.heard(0, 2).len() > 4, "heartbeats of both");
    assert_eq!(pair.heard(0, 1), [""; 0]);
}

#[test]
fn clients_wait_while_a_node_does_not_acknowledge() {
    let mut pair = Pair::with_clients("");
    pair.sign_on(0, 1, ROOT, "foo");
    pair.clients.clear();
    pair.cut = true;
    for _ in 0..300 {
        pair.step(0, Input::ApiMessage { client: ClientId(1), bytes: &message("t=hello") });
    }
    let doors = |pair: &Pair| -> Vec<Door> {
        let doors = pair
            .clients
            .iter()
            .filter_map(|(_, action)| if let Action::Door(door) = action { Some(*door) } else { None });
        doors.collect()
    };
    assert_eq!(doors(&pair), [Door::Paused]);
    assert!(pair.has_logged(0, "all clients are now paused"));
    pair.cut = false;
    pair.run(secs(4));
    assert_eq!(doors(&pair), [Door::Paused, Door::Open]);
}

#[test]
fn what_no_datagram_carries_is_not_said() {
    let mut pair = Pair::with_clients("");
    pair.sign_on(0, 1, ROOT, "foo");
    let before = pair.nodes[0].as_ref().unwrap().newest_number();
    // Too mixed to be compressed much.
    let noise: Vec<String> = (0_u64..20_000).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let noise = noise.concat();
    pair.say(0, 1, &format!("t=hello x={}", noise.get(..200_000).unwrap_or_default()));
    assert_eq!(pair.nodes[0].as_ref().unwrap().newest_number(), before);
    assert!(pair.has_logged(0, "message [hello] of foo ignored: it is too long"));
}

#[test]
fn a_stop_ends_programs_in_reverse_and_waits_for_them() {
    let mut pair = Pair::with_clients("respawn root /bin/one\nrespawn root /bin/two\n");
    pair.clients.clear();
    pair.step(0, Input::Operator(Command::Stop));
    pair.run(secs(3));
    assert_eq!(pair.clients, [(0, Action::StopProgram { program: ProgramId(1) })]);
    let end = ProgramEnd::Exited { pid: 5, code: 0 };
    pair.step(0, Input::ProgramEnded { program: ProgramId(1), end: end.clone() });
    assert_eq!(pair.clients.len(), 2);
    assert_eq!(pair.exits, 0);
    pair.step(0, Input::ProgramEnded { program: ProgramId(0), end });
    assert_eq!(pair.exits, 1);
}

#[test]
fn a_program_that_does_not_end_keeps_the_node_no_longer_than_allowed() {
    let mut pair = Pair::with_clients("respawn root /bin/one\n");
    pair.step(0, Input::Operator(Command::Stop));
    pair.run(secs(9));
    assert_eq!(pair.exits, 0);
    pair.run(secs(3));
    assert_eq!(pair.exits, 1);
}

#[test]
fn the_end_of_a_failfast_program_ends_the_node() {
    let mut pair = Pair::with_clients("failfast root /bin/one\n");
    pair.clients.clear();
    let end = ProgramEnd::Killed { pid: 5, signal: 11 };
    pair.step(0, Input::ProgramEnded { program: ProgramId(0), end });
    pair.run(secs(4));
    assert_eq!((pair.exits, pair.holds()[1]), (1, "all"));
    assert_eq!(ExitReason::Failfast as u8, 1);
}
