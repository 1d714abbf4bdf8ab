//! Recordings: any bytes as a file, and a good recording changed in places with its checksums put right again.

use arbitrary::Unstructured;
use core::time::Duration;
use hb_core::config::{Config, SourceText, Sources};
use hb_core::ids::{Generation, MediumId, NodeUuid};
use hb_core::time::{Instant, UnixTime};
use hb_core::trace::{Entries, Entry, Head, Reader, State, Steps, Text, begin};
use hb_core::{Boot, Input, Node, Reload};
use std::sync::OnceLock;

const HA_CF: &[u8] = b"node alpha beta\nbcast eth0 eth1\nkeepalive 250ms\ndeadtime 2\ninitdead 4\nauto_failback on\n\
    logfacility none\n";
const HARESOURCES: &[u8] = b"alpha 10.0.0.1/24/eth0 Web::a\nbeta 10.0.0.2/24/eth0\n";
const AUTHKEYS: SourceText<'_> = SourceText { name: "authkeys", bytes: b"auth 1\n1 sha1 key\n" };
/// Magic and version.
const BEGINNING: usize = 12;
/// Length and checksum.
const FRAME: usize = 8;
/// Records in front of the first step: head and state.
const BEFORE_STEPS: usize = 2;

/// Reads `bytes` as a recording, then a good recording changed as `bytes` say.
///
/// # Panics
/// If reading, restoring or replaying panics, a step follows an error, or a state that was read is another when it
/// is written and read again.
pub fn trace_file(bytes: &[u8]) {
    read(bytes, true);
    let mut changed = good().to_vec();
    let spans = records(&changed);
    let mut choices = Unstructured::new(bytes);
    // A state that no node ever had may break what a node believes of itself; only what was not changed is replayed.
    let steps_only = choices.ratio(1, 2).unwrap_or(true);
    let first = if steps_only { BEFORE_STEPS } else { 0 };
    while !choices.is_empty() {
        let (Ok(record), Ok(value)) = (choices.int_in_range(first..=spans.len() - 1), choices.arbitrary::<u8>()) else {
            break;
        };
        let (from, to) = spans[record];
        let Ok(at) = choices.int_in_range(from..=to - 1) else { break };
        changed[at] = value;
    }
    for (from, to) in spans {
        let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&changed[from..to]);
        changed[from - 4..from].copy_from_slice(&sum.to_le_bytes());
    }
    read(&changed, steps_only);
}

fn read(bytes: &[u8], replays: bool) {
    let mut node: Option<Node> = None;
    let mut failed = false;
    for entry in Reader::new(bytes) {
        assert!(!failed || !matches!(entry, Ok(Entry::Step(_))), "after an error comes a new segment");
        failed = entry.is_err();
        match entry {
            Ok(Entry::Segment(segment)) => {
                let mut again = Vec::new();
                begin(&mut again, &segment.head, &segment.state).expect("what was read is no longer than it may be");
                let Some(Ok(Entry::Segment(read))) = Reader::new(&again).next() else {
                    panic!("what was written is read")
                };
                assert_eq!((read.head, read.state.digest()), (segment.head.clone(), segment.state.digest()));
                node = segment.restore(AUTHKEYS).ok();
            }
            Ok(Entry::Step(step)) => {
                if let Some(node) = node.as_mut().filter(|_| replays) {
                    // Without the keys it had then it changes nothing.
                    let input = step.input.clone().with_keys(AUTHKEYS).unwrap_or(step.input);
                    node.handle(step.now, input).for_each(drop);
                }
            }
            Err(_) => node = None,
        }
    }
}

/// Where the content of each record stands.
fn records(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut at = BEGINNING;
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let from = at + FRAME;
        at = from + usize::try_from(u32::from_le_bytes(*length)).expect("a record of the good recording is short");
        spans.push((from, at));
    }
    spans
}

/// A recording of some seconds in the life of a node whose peer is not there.
fn good() -> &'static [u8] {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let text = |name, bytes| SourceText { name, bytes };
        let reading = Config::read(&Sources {
            local_name: "alpha",
            ha_cf: text("ha.cf", HA_CF),
            haresources: Some(text("haresources", HARESOURCES)),
            authkeys: AUTHKEYS,
        });
        let config = reading.config.expect("the configuration of the target is right");
        let head = Head {
            build: "fuzz".to_owned(),
            local_name: "alpha".to_owned(),
            ha_cf: Text { name: "ha.cf".to_owned(), bytes: HA_CF.to_vec() },
            haresources: Some(Text { name: "haresources".to_owned(), bytes: HARESOURCES.to_vec() }),
            entries: Entries::of(config.keyring()),
            reload: None,
            dropped: None,
        };
        let mut now = Instant::from_nanos(1_000_000_000);
        let (wall_clock, generation, uuid) = (UnixTime(1_700_000_000), Generation(10), NodeUuid([1; 16]));
        let reload = Reload::new(config.clone(), head.ha_cf.clone(), head.haresources.clone());
        let mut node = Node::new(
            config,
            Boot {
                now,
                wall_clock,
                generation,
                uuid,
                seed: [7; 32],
                hostcache: hb_core::config::Hostcache::default(),
                longest_deadtime: Duration::ZERO,
                cut_short: Vec::new(),
            },
        );
        for _ in 0..3 {
            node.handle(now, Input::Wake).for_each(drop);
            now = now.plus(Duration::from_millis(250));
        }
        let state = State::of(&node);
        let mut out = Vec::new();
        begin(&mut out, &head, &state).expect("a small state");
        let mut steps = Steps::after(&state);
        for number in 0..20_u64 {
            let garbage = number.to_le_bytes();
            for input in [
                Input::Frame { medium: MediumId(0), bytes: &garbage },
                Input::WallClock(UnixTime(1_700_000_000 + number)),
                if number == 7 { Input::Reload(Box::new(reload.clone())) } else { Input::Wake },
            ] {
                steps.begin(&mut out, now, &input).expect("a small step");
                for action in node.handle(now, input) {
                    steps.action(&action);
                }
                steps.end(&mut out).expect("a small step");
            }
            now = now.plus(Duration::from_millis(250));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn trace_file_survives_its_corpus() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/trace_file");
        let files: Vec<_> = std::fs::read_dir(dir).unwrap().collect();
        assert!(files.len() >= 2, "a corpus has examples");
        for entry in files {
            trace_file(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn the_good_recording_is_good() {
        let entries: Vec<_> = Reader::new(good()).collect();
        assert_eq!(entries.len(), 61);
        assert!(entries.iter().all(Result::is_ok));
        assert_eq!(records(good()).len(), 62);
    }

    #[test]
    fn trace_file_survives_changes_everywhere() {
        let mut state = 1_u64;
        for _ in 0..500 {
            let script: Vec<u8> = (0..24)
                .map(|_| {
                    // xorshift64 (Marsaglia 2003)
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()[3]
                })
                .collect();
            trace_file(&script);
        }
    }
}
