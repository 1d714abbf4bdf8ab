//! A recorded node lives through everything again; a damaged recording says so.

use super::*;
use crate::action::{Frame, Verb};
use crate::auth::{Framing, Keyring};
use crate::ids::{ClientId, Generation, MediumId, NodeUuid, OpId};
use crate::input::{Carrier, Command, Failure, LoadAverage, Outcome, Request, Which};
use crate::node::Boot;
use crate::resource::Transcript;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec;
use core::time::Duration;
use proptest::prelude::*;

const HA_CF: &[u8] =
    b"node h1 h2\nbcast eth0 eth1\nkeepalive 250ms\ndeadtime 2\ninitdead 4\nauto_failback on\nlogfacility none\n";
const HARESOURCES: &[u8] = b"h1 10.77.0.100/24/eth0 Web::a\nh2 10.77.0.101/24/eth0\n";
const AUTHKEYS: &[u8] = b"auth 2\n1 md5 another-word\n2 sha1 the-secret-of-the-test\n";

/// What a script left, which enters the recording with the result.
fn said(op: OpId) -> Transcript {
    Transcript::new(Some(0), format!("operation {}\nOK\n", op.0).as_bytes(), b"")
}

fn text(name: &'static str, bytes: &'static [u8]) -> SourceText<'static> {
    SourceText { name, bytes }
}

fn config(local_name: &str) -> Config {
    let sources = Sources {
        local_name,
        ha_cf: text("ha.cf", HA_CF),
        haresources: Some(text("haresources", HARESOURCES)),
        authkeys: text("authkeys", AUTHKEYS),
    };
    Config::read(&sources).config.expect("the texts are right")
}

fn head() -> Head {
    Head {
        build: "golden".into(),
        local_name: "h1".into(),
        ha_cf: Text { name: "ha.cf".into(), bytes: HA_CF.into() },
        haresources: Some(Text { name: "haresources".into(), bytes: HARESOURCES.into() }),
        entries: Entries::of(config("h1").keyring()),
        reload: None,
        dropped: None,
    }
}

/// Files that the recorded node is told to reload, one after the other: the cluster changes its key and comes back.
fn reloaded(local_name: &str, number: u8) -> Reload {
    let (authkeys, deadtime): (&[u8], _) = match number % 3 {
        0 => (b"auth 1\n1 md5 another-word\n2 sha1 the-secret-of-the-test\n", b'3'),
        1 => (b"auth 1\n1 md5 another-word\n", b'4'),
        _ => (AUTHKEYS, b'2'),
    };
    let mut ha_cf = HA_CF.to_vec();
    let at = HA_CF.windows(10).position(|window| window == b"deadtime 2").unwrap();
    ha_cf[at + 9] = deadtime;
    let haresources = SourceText { name: "haresources", bytes: HARESOURCES };
    let ha_cf = Text { name: "ha.cf".into(), bytes: ha_cf };
    let sources = Sources {
        local_name,
        ha_cf: ha_cf.source(),
        haresources: Some(haresources),
        authkeys: SourceText { name: "authkeys", bytes: authkeys },
    };
    let config = Config::read(&sources).config.expect("the texts are right");
    Reload::new(config, ha_cf.clone(), Some(Text { name: "haresources".into(), bytes: HARESOURCES.into() }))
}

fn node(name: &str, number: u8, now: Instant) -> Node {
    let boot = Boot {
        now,
        wall_clock: UnixTime(1_700_000_000),
        generation: Generation(u64::from(number)),
        uuid: NodeUuid([number; 16]),
        seed: [number; 32],
        hostcache: crate::config::Hostcache::default(),
        longest_deadtime: Duration::ZERO,
        cut_short: Vec::new(),
    };
    Node::new(config(name), boot)
}

/// What may happen in a run.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Pass(u16),
    Cut(bool),
    Garbage(u8),
    Standby,
    Takeover,
    FailNext,
    Clock,
    Segment,
    Reload,
    Stop,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        8 => (1_u16..3000).prop_map(Turn::Pass),
        2 => any::<bool>().prop_map(Turn::Cut),
        1 => any::<u8>().prop_map(Turn::Garbage),
        1 => Just(Turn::Standby),
        1 => Just(Turn::Takeover),
        1 => Just(Turn::FailNext),
        1 => Just(Turn::Clock),
        2 => Just(Turn::Segment),
        2 => Just(Turn::Reload),
        1 => Just(Turn::Stop),
    ]
}

/// h1, which is recorded, and h2 on the other end of a cable.
struct Run {
    now: Instant,
    nodes: [Node; 2],
    wire: VecDeque<(usize, Frame)>,
    cut: bool,
    fail_next: bool,
    out: Vec<u8>,
    steps: Steps,
    recorded: usize,
    reloads: u8,
    head: Head,
}

impl Run {
    fn new() -> Run {
        let now = Instant::from_nanos(5_000_000_000);
        let nodes = [node("h1", 1, now), node("h2", 2, now)];
        let state = State::of(&nodes[0]);
        let mut out = Vec::new();
        begin(&mut out, &head(), &state).unwrap();
        let steps = Steps::after(&state);
        Run {
            now,
            nodes,
            wire: VecDeque::new(),
            cut: false,
            fail_next: false,
            out,
            steps,
            recorded: 0,
            reloads: 0,
            head: head(),
        }
    }

    fn step(&mut self, which: usize, input: Input<'_>) {
        if which == 0 {
            self.steps.begin(&mut self.out, self.now, &input).unwrap();
        }
        let actions: Vec<Action> = self.nodes[which].handle(self.now, input).collect();
        if which == 0 {
            for action in &actions {
                self.steps.action(action);
            }
            self.steps.end(&mut self.out).unwrap();
            self.recorded += 1;
        }
        for action in actions {
            match action {
                Action::Send { frame, .. } if !self.cut => self.wire.push_back((1 - which, frame)),
                Action::RunResource { op, run } => {
                    let outcome = match run.verb {
                        Verb::Status | Verb::Monitor => Outcome::NotRunning,
                        _ if core::mem::take(&mut self.fail_next) => Outcome::Failed(Failure::ExitCode(1)),
                        Verb::Start | Verb::Stop => Outcome::Done,
                    };
                    self.step(which, Input::OpDone { op, outcome, said: said(op) });
                }
                _ => {}
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now.plus(span);
        loop {
            while let Some((to, frame)) = self.wire.pop_front() {
                self.step(to, Input::Frame { medium: MediumId(1), bytes: &frame });
            }
            let Some(next) = self.nodes.iter().filter_map(Node::next_deadline).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            (0..2).for_each(|which| self.step(which, Input::Wake));
            if self.nodes.iter().all(|node| node.next_deadline().is_none()) {
                break;
            }
        }
        self.now = end;
    }

    fn turns(&mut self, turns: &[Turn]) {
        for turn in turns {
            self.turn(*turn);
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Pass(millis) => self.pass(Duration::from_millis(u64::from(millis))),
            Turn::Cut(cut) => self.cut = cut,
            Turn::Garbage(byte) => self.step(0, Input::Frame { medium: MediumId(0), bytes: &[byte; 40] }),
            Turn::Standby => self.step(0, Input::Client { client: ClientId(1), request: Request::Standby(Which::All) }),
            Turn::Takeover => {
                self.step(0, Input::Client { client: ClientId(2), request: Request::Takeover(Which::Foreign) });
            }
            Turn::FailNext => self.fail_next = true,
            Turn::Clock => {
                self.step(0, Input::WallClock(UnixTime(1_800_000_000)));
                self.step(0, Input::Load(LoadAverage::new("0.1 0.2 0.3 1/2 3").unwrap()));
                self.step(0, Input::Carrier { medium: MediumId(1), carrier: Carrier::Down });
                self.step(0, Input::OpDone { op: OpId(1000), outcome: Outcome::NotRunning, said: said(OpId(3)) });
            }
            Turn::Segment => {
                let state = State::of(&self.nodes[0]);
                begin(&mut self.out, &self.head, &state).unwrap();
                self.steps = Steps::after(&state);
            }
            Turn::Reload => {
                for (which, name) in [(0, "h1"), (1, "h2")] {
                    let reload = Box::new(reloaded(name, self.reloads));
                    if which == 0 {
                        self.head.reload = Some(reload.clone());
                    }
                    self.step(which, Input::Reload(reload));
                }
                self.reloads += 1;
            }
            Turn::Stop => self.step(0, Input::Operator(Command::Stop)),
        }
    }
}

/// A start, a death, a return, a planned move: what the golden recording holds.
fn golden() -> Run {
    let mut run = Run::new();
    run.turns(&[
        Turn::Pass(3000),
        Turn::Clock,
        Turn::Cut(true),
        Turn::Segment,
        Turn::Pass(3000),
        Turn::Garbage(7),
        Turn::Cut(false),
        Turn::Pass(2500),
        Turn::Standby,
        Turn::Pass(500),
        Turn::Reload,
        Turn::Pass(1000),
        Turn::Stop,
        Turn::Pass(1500),
    ]);
    run
}

/// Lives through a recording; how many steps it had, and the state at its end.
fn replay(bytes: &[u8]) -> Result<(usize, u64), String> {
    let mut node: Option<Node> = None;
    let mut steps = 0;
    for entry in Reader::new(bytes) {
        match entry.map_err(|error| error.to_string())? {
            Entry::Segment(segment) => {
                let restored = segment.restore(text("authkeys", AUTHKEYS)).map_err(|error| error.to_string())?;
                if let Some(node) = &node {
                    assert_eq!(restored.digest(), node.digest(), "a segment begins where the last one ended");
                }
                node = Some(restored);
            }
            Entry::Step(step) => {
                let input = step.input.with_keys(text("authkeys", AUTHKEYS)).map_err(|error| error.to_string())?;
                let actions: Vec<Action> = node.as_mut().expect("a segment").handle(step.now, input).collect();
                if Made::of(&actions) != step.made {
                    return Err(format!("step {steps}: {:?} is not {actions:?}", step.made));
                }
                steps += 1;
            }
        }
    }
    Ok((steps, node.map_or(0, |node| node.digest())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_recorded_life_is_lived_through_again(turns in prop::collection::vec(turn(), 0..25)) {
        let mut run = Run::new();
        run.turns(&turns);
        prop_assert_eq!(replay(&run.out), Ok((run.recorded, run.nodes[0].digest())));
    }

    #[test]
    fn a_restored_node_is_the_node(turns in prop::collection::vec(turn(), 0..15), later in prop::collection::vec(turn(), 1..8)) {
        let mut run = Run::new();
        run.turns(&turns);
        run.turn(Turn::Segment);
        let at = run.out.len();
        let mut bytes = Vec::new();
        begin(&mut bytes, &run.head, &State::of(&run.nodes[0])).unwrap();
        run.turns(&later);
        bytes.extend_from_slice(&run.out[at..]);
        prop_assert_eq!(replay(&bytes).map(|(_, digest)| digest), Ok(run.nodes[0].digest()));
    }

    #[test]
    fn signing_anew_is_what_the_other_key_would_have_signed(
        fields in crate::wire::tests::fields(true),
        framing in prop::sample::select(&[Framing::Datagram, Framing::Echo, Framing::Serial]),
        netstring in any::<bool>(),
        traditional in any::<bool>(),
    ) {
        let (old, new) = (config("h1").keyring().clone(), other_keys());
        let how = crate::auth::Sealing {
            msgfmt: if netstring { crate::wire::MsgFormat::Netstring } else { crate::wire::MsgFormat::Classic },
            compression: crate::wire::Compression { traditional, threshold: 64, ..Default::default() },
        };
        let mut fields = fields;
        fields.push_text("t", "status");
        if let Ok(sealed) = old.seal(fields.clone(), framing, &how) {
            let again = new.seal(fields, framing, &how).unwrap();
            prop_assert_eq!(old.resign(&sealed, &new), again.to_vec());
        }
    }
}

/// The same entries with other secrets.
fn other_keys() -> Keyring {
    let text = text("authkeys", b"auth 2\n1 md5 throw\n2 sha1 away\n");
    crate::config::authkeys::parse(text).0.expect("the keys are right")
}

#[test]
fn a_refused_packet_loses_its_signatures_and_stays_refused() {
    let (old, new) = (config("h1").keyring().clone(), other_keys());
    let mut fields = crate::wire::Fields::new();
    fields.push_text("t", "status");
    let sealed = old.seal(fields, Framing::Datagram, &crate::auth::Sealing::default()).unwrap();
    let mut damaged = sealed.to_vec();
    damaged[9] ^= 1;
    let blank = old.resign(&damaged, &new);
    assert_eq!(blank.len(), damaged.len());
    assert_eq!(new.verify(&blank), old.verify(&damaged));
    let longest = blank.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.iter().any(|digit| *digit != b'0'));
    assert!(longest.map(<[u8]>::len).max().unwrap() < 12, "{}", String::from_utf8_lossy(&blank));
}

#[test]
fn a_state_signed_anew_restores_with_the_new_keys_only() {
    let run = golden();
    let (old, new) = (config("h1").keyring().clone(), other_keys());
    let state = State::of(&run.nodes[0]).resigned(&old, &new);
    let segment = Segment { head: head(), state };
    assert_eq!(segment.restore(text("authkeys", AUTHKEYS)).err(), Some(RestoreError::OtherSecret(2)));
    assert!(segment.restore(text("authkeys", b"auth 2\n1 md5 throw\n2 sha1 away\n")).is_ok());
    let error = segment.restore(text("authkeys", b"auth 1\n1 crc\n")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "these are not the keys of the recording: it was made with [auth 2, 1 md5, 2 sha1], given are [auth 1, 1 crc]"
    );
}

#[test]
fn a_recording_goes_on_across_reloads_with_the_keys_of_all_of_them() {
    let mut run = Run::new();
    for _ in 0..3 {
        run.turns(&[Turn::Pass(1000), Turn::Reload, Turn::Pass(1000), Turn::Segment]);
    }
    assert_eq!(replay(&run.out), Ok((run.recorded, run.nodes[0].digest())));
    // While only key 1 was known, a segment needs no other; what its keys do not fit is said.
    let (mut run, keys) = (Run::new(), text("authkeys", b"auth 1\n1 md5 another-word\n"));
    run.turns(&[Turn::Pass(1000), Turn::Reload, Turn::Reload, Turn::Segment]);
    let entries: Vec<_> = Reader::new(&run.out).map(Result::unwrap).collect();
    let [Entry::Segment(first), .., Entry::Segment(last)] = &entries[..] else { panic!() };
    assert!(matches!(first.restore(keys), Err(RestoreError::OtherEntries { .. })));
    assert_eq!(last.restore(keys).unwrap().digest(), run.nodes[0].digest());
}

#[test]
fn a_reload_without_its_keys_changes_nothing() {
    let mut run = Run::new();
    run.turns(&[Turn::Pass(1000), Turn::Reload]);
    let before = run.nodes[0].config().clone();
    let recorded = Reader::new(&run.out).find_map(|entry| match entry.unwrap() {
        Entry::Step(Step { input: Input::Reload(reload), .. }) => Some(reload),
        _ => None,
    });
    run.step(0, Input::Reload(recorded.unwrap()));
    assert_eq!(*run.nodes[0].config(), before);
}

#[test]
fn no_secret_is_in_a_recording() {
    let mut run = golden();
    run.turns(&[Turn::Reload, Turn::Segment]);
    let bytes = run.out;
    for secret in ["another-word", "the-secret-of-the-test"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

/// Reads a recording and writes what was read.
fn rewritten(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut last) = (Vec::new(), Instant::ORIGIN);
    for entry in Reader::new(bytes) {
        match entry.expect("every record can be read") {
            Entry::Segment(segment) => {
                begin(&mut out, &segment.head, &segment.state).unwrap();
                last = segment.state.now();
            }
            Entry::Step(Step { now, input, made }) => {
                let at = open(&mut out);
                let after = u64::try_from(now.since(last).as_nanos()).unwrap();
                put(&mut out, &(after, input, made)).unwrap();
                close(&mut out, at).unwrap();
                last = now;
            }
        }
    }
    out
}

/// If this fails, [`VERSION`] must rise, since recordings in the field would be read wrongly. It holds whatever nodes
/// decide. Then the file is made anew, see the next test.
#[test]
fn the_golden_recording_is_read_and_written_as_ever() {
    let golden: &[u8] = include_bytes!("golden.trace");
    assert!(golden == rewritten(golden), "the encoding of a recording has changed");
    assert_eq!(Reader::new(golden).count(), 154);
}

/// If this alone fails, nodes decide otherwise than before. Where that is wanted, its message is the new file:
///
/// ```text
/// cargo test -p hb-core --features trace golden |
///     perl -ne 'print pack "H*", $1 if /^golden: (\w+)$/' > golden.trace && mv golden.trace core/src/trace/
/// ```
#[test]
fn the_golden_recording_is_what_the_same_run_makes_today() {
    let today = golden().out;
    let hex = || today.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert!(today == include_bytes!("golden.trace"), "\ngolden: {}\n", hex());
}

/// A short recording with two segments.
fn short() -> Vec<u8> {
    let mut run = Run::new();
    run.turn(Turn::Pass(300));
    run.turn(Turn::Segment);
    run.turn(Turn::Garbage(1));
    run.out
}

#[test]
fn a_recording_cut_anywhere_is_read_up_to_the_cut() {
    let bytes = short();
    let whole = Reader::new(&bytes).count();
    let mut most = 0;
    for end in 1..bytes.len() {
        let entries: Vec<_> = Reader::new(&bytes[..end]).collect();
        let good = entries.iter().filter(|entry| entry.is_ok()).count();
        assert!(good >= most, "more bytes, no less read");
        most = good;
        if let Some(Err(error)) = entries.last() {
            assert!(error.is_only_the_end(), "{end}: {error}");
        }
    }
    assert_eq!(most, whole - 1);
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let bytes = short();
    let whole = Reader::new(&bytes).count();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let entries: Vec<_> = Reader::new(&damaged).collect();
        assert!(entries.iter().any(Result::is_err), "byte {at}");
        assert!(entries.len() <= whole, "byte {at}");
    }
}

#[test]
fn damage_hides_nothing_but_the_rest_of_its_segment() {
    let mut bytes = short();
    let first = bytes.len();
    bytes.extend(short());
    let all = Reader::new(&bytes).count();
    let second = all - Reader::new(&bytes[..first]).count();
    for at in [0, 8, 20, first / 3] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let entries: Vec<_> = Reader::new(&damaged).collect();
        assert!(entries.len() > second && entries.iter().any(Result::is_err), "byte {at}");
        let rest = &entries[entries.len() - second..];
        assert!(matches!(rest[0], Ok(Entry::Segment(_))) && rest.iter().all(Result::is_ok), "byte {at}");
    }
}

#[test]
fn what_is_no_recording_or_a_foreign_one_is_refused() {
    let error = |bytes: &[u8]| Reader::new(bytes).next().unwrap().unwrap_err().to_string();
    assert_eq!(error(b"#!/bin/sh"), "byte 0: this is no recording: it does not begin with the word `hbtrace`");
    let mut foreign = short();
    foreign[8] = 77;
    assert!(error(&foreign).starts_with("byte 0: a recording of format 77; this build reads format"));
    assert!(Reader::new(b"").next().is_none());
}

#[test]
fn a_length_that_lies_takes_no_memory() {
    let mut bytes = short();
    // The first record claims to be as long as a record may be.
    bytes[12..16].copy_from_slice(&u32::try_from(RECORD_MAX).unwrap().to_le_bytes());
    assert_eq!(Reader::new(&bytes).next().unwrap().unwrap_err(), ReadError::Truncated { at: 12 });
    // A list inside a record claims to have more elements than there are bytes.
    let payload = vec![0xfd; 64];
    let found = decode::<Head>(0, &payload);
    assert!(matches!(found, Err(ReadError::Foreign { .. })), "{found:?}");
}
