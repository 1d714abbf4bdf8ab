//! What the core costs on one processor: packets decoded, verified and processed; messages encoded and signed; packets of
//! strangers refused. One JSON line a figure:
//!
//! ```text
//! cargo bench -p hb-tests --bench core
//! ```

use anyhow::{Context as _, Result, ensure};
use hb_core::auth::Framing;
use hb_core::config::{Config, SourceText, Sources};
use hb_core::ids::{Generation, MediumId, NodeUuid};
use hb_core::time::{Instant, UnixTime};
use hb_core::wire::Message;
use hb_core::{Action, Boot, DropKind, Frame, Input, LoadAverage, Node};
use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::hint::black_box;
use std::time::Duration;

/// Each figure is the best of so many rounds, in time on the processor: whatever else runs on the machine only makes a round
/// slower.
const ROUNDS: usize = 7;
const PACKETS: u32 = 100_000;
const MEDIUM: MediumId = MediumId(0);

fn main() -> Result<()> {
    let steady = steady()?;
    let frames = &steady.frames;
    let size = frames.iter().map(|frame| frame.len()).sum::<usize>() / frames.len();

    let mut missed = 0;
    let processed = best(|| {
        // A fresh receiver in the same state each time: to a used one all packets are old.
        let mut node = steady.receiver.clone();
        let begin = Processor::now();
        for (at, frame) in steady.times.iter().zip(frames) {
            for action in node.handle(*at, Input::Frame { medium: MEDIUM, bytes: frame }) {
                black_box(action);
            }
        }
        let took = begin.elapsed();
        missed += node.status().drops().map(|(_, count)| count).sum::<u64>();
        took
    });
    ensure!(missed == 0, "{missed} of our own packets were refused");
    print("status packets decoded, verified and processed (sha1, steady state)", processed, size);

    let keyring = steady.config.keyring();
    let authentic = keyring.verify(&frames[0]).context("our own packet")?;
    let message = Message::parse(authentic).context("our own message")?;
    let sealed = best(|| {
        let begin = Processor::now();
        for _ in 0..PACKETS {
            let frame = keyring.seal(black_box(&message).to_fields(), Framing::Datagram, steady.config.sealing());
            black_box(frame.expect("it was sealed before"));
        }
        begin.elapsed()
    });
    print("messages encoded and signed, inner and outer", sealed, size);

    // Well-formed, and signed with another key: the costliest kind.
    let mut stranger = frames[0].to_vec();
    let digit = stranger.len() - 2;
    stranger[digit] = if stranger[digit] == b'0' { b'1' } else { b'0' };
    let mut refused = 0;
    let strangers = best(|| {
        let mut node = steady.receiver.clone();
        let begin = Processor::now();
        for _ in 0..PACKETS {
            for action in node.handle(steady.times[0], Input::Frame { medium: MEDIUM, bytes: &stranger }) {
                black_box(action);
            }
        }
        let took = begin.elapsed();
        refused += node.status().drops().filter(|(kind, _)| matches!(kind, DropKind::Auth | DropKind::Wire)).count();
        took
    });
    ensure!(refused == ROUNDS, "strangers are refused");
    print("packets of strangers refused", strangers, size);
    Ok(())
}

/// What this thread has had of the processor, to measure from.
struct Processor(Duration);

impl Processor {
    fn now() -> Self {
        Self(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default())
    }

    fn elapsed(&self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

fn best(mut round: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

fn print(what: &str, took: Duration, bytes: usize) {
    let each = took.as_secs_f64() / f64::from(PACKETS);
    println!(
        "{}",
        json!({"benchmark": what, "per_second": (1.0 / each).round(), "nanoseconds": (each * 1e9).round(), "bytes": bytes,
               "rounds": ROUNDS, "best": true})
    );
}

/// A receiver in a settled cluster, and what it is going to hear.
struct Steady {
    config: Config,
    receiver: Node,
    frames: Vec<Frame>,
    times: Vec<Instant>,
}

fn config(local: &str) -> Result<Config> {
    let sources = Sources {
        local_name: local,
        ha_cf: SourceText {
            name: "ha.cf",
            bytes: b"node h1 h2\nbcast eth1\nkeepalive 1\ndeadtime 10\nlogfacility none\n",
        },
        haresources: Some(SourceText { name: "haresources", bytes: b"" }),
        authkeys: SourceText { name: "authkeys", bytes: b"auth 1\n1 sha1 the-key-of-the-laboratory\n" },
    };
    Config::read(&sources).config.context("the configuration is right")
}

fn steady() -> Result<Steady> {
    let mut now = Instant::after_origin(Duration::from_secs(1));
    let boot = |number: u8| Boot {
        now,
        wall_clock: UnixTime(1_700_000_000),
        generation: Generation(u64::from(number)),
        uuid: NodeUuid([number; 16]),
        seed: [number; 32],
        hostcache: hb_core::config::Hostcache::default(),
        longest_deadtime: Duration::ZERO,
        cut_short: Vec::new(),
    };
    let mut nodes = [Node::new(config("h1")?, boot(1)), Node::new(config("h2")?, boot(2))];
    // Each hears the other at once, until both have settled.
    for _ in 0..200 {
        let mut wire = Vec::new();
        for (at, node) in nodes.iter_mut().enumerate() {
            let load = LoadAverage::new("0.57 0.20 0.12 4/114 11721").context("a load")?;
            let actions = node.handle(now, Input::Load(load));
            drop(actions);
            wire.extend(sent(node, now).map(|frame| (1 - at, frame)));
        }
        while let Some((to, frame)) = wire.pop() {
            let answers: Vec<Frame> =
                nodes[to].handle(now, Input::Frame { medium: MEDIUM, bytes: &frame }).filter_map(frame_of).collect();
            wire.extend(answers.into_iter().map(|frame| (1 - to, frame)));
        }
        now = now.plus(Duration::from_millis(100));
    }
    ensure!(nodes.iter().all(|node| node.status().is_active()), "the pair has settled");
    let [mut sender, receiver] = nodes;
    let (mut frames, mut times) = (Vec::new(), Vec::new());
    let packets = usize::try_from(PACKETS)?;
    while frames.len() < packets {
        now = sender.next_deadline().context("a heartbeat is always due")?.max(now);
        for frame in sent(&mut sender, now) {
            frames.push(frame);
            times.push(now);
        }
    }
    frames.truncate(packets);
    Ok(Steady { config: config("h1")?, receiver, frames, times })
}

fn sent(node: &mut Node, now: Instant) -> impl Iterator<Item = Frame> + use<> {
    node.handle(now, Input::Wake).filter_map(frame_of).collect::<Vec<_>>().into_iter()
}

fn frame_of(action: Action) -> Option<Frame> {
    match action {
        Action::Send { frame, .. } => Some(frame),
        _ => None,
    }
}
