//! What the daemon tells its guard: one packet of a socket pair each, so that a word is whole or absent.
//!
//! Numbers are 64 bits, texts and bytes stand behind their length. Both ends are the same program, forked; nobody else
//! has the socket.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hb_core::Frame;
use hb_core::config::{Facility, Resource, ScriptCall, ScriptClass, Span};
use hb_core::ids::{GroupId, MediumId, OpId};
use hb_core::time::Instant;

use crate::log::Targets;

/// A packet that a script's own process sends before it becomes the script begins with this.
pub(crate) const STARTED: u8 = 0xFF;

/// One thing that the daemon tells.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// A heartbeat went out.
    Renewed(Renewal),
    /// A resource may be up from now on.
    Held(Held),
    /// Nothing of this resource is up any more.
    Gone { group: GroupId, word: String },
    /// A script runs, in a group of processes with this number.
    Started { op: OpId, pid: u32 },
    /// A script is over.
    Over { op: OpId },
    /// The time-out of the watchdog is another one, or there is none any more.
    Timeout(Option<Duration>),
    /// The log goes elsewhere.
    Log(Targets),
    /// The daemon ends in order, and holds nothing.
    Farewell,
}

/// What lasts until the next heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    pub(crate) until: Instant,
    pub(crate) reset: Instant,
    pub(crate) farewell: Vec<(MediumId, Frame)>,
}

/// A resource that may be up, and all it takes to bring it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) group: GroupId,
    /// As written in haresources.
    pub(crate) word: String,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// On whichever interface it is by then; the kernel knows which entry is ours.
    Address(IpAddr),
    Script {
        call: ScriptCall,
        limit: Duration,
    },
}

impl Held {
    pub(crate) fn new(group: GroupId, resource: &Resource, limit: Duration) -> Held {
        let what = match resource {
            Resource::Address(address) => What::Address(address.address),
            Resource::Script(call) => What::Script { call: call.clone(), limit },
        };
        Held { group, word: resource.word().to_owned(), what }
    }
}

impl Word {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Packet(Vec::new());
        match self {
            Word::Renewed(Renewal { until, reset, farewell }) => {
                out.tag(0).number(until.as_nanos()).number(reset.as_nanos());
                for (medium, frame) in farewell {
                    out.number(medium.0.into()).bytes(frame);
                }
            }
            Word::Held(Held { group, word, what }) => match what {
                What::Address(address) => {
                    out.tag(1).number(group.0.into()).text(word).text(&address.to_string());
                }
                What::Script { call, limit } => {
                    let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
                    // A script of another kind must be carried with all that is special about it.
                    let ScriptCall { name, args, class, word: _, span: _ } = call;
                    out.tag(2).number(group.0.into()).text(word).number(limit).text(&class_word(class)).text(name);
                    for arg in args {
                        out.text(arg);
                    }
                }
            },
            Word::Gone { group, word } => {
                out.tag(3).number(group.0.into()).text(word);
            }
            Word::Over { op } => {
                out.tag(4).number(op.0);
            }
            Word::Timeout(timeout) => {
                out.tag(5).number(timeout.map_or(0, |timeout| timeout.as_secs()));
            }
            Word::Log(Targets { logfile, debugfile, facility, stderr }) => {
                let path = |path: &Option<PathBuf>| path.as_ref().map_or(String::new(), |at| at.display().to_string());
                out.tag(6).text(&path(logfile)).text(&path(debugfile)).text(facility.map_or("", Facility::name));
                out.number(u64::from(*stderr));
            }
            Word::Farewell => {
                out.tag(7);
            }
            Word::Started { op, pid } => return started(*op, *pid).into(),
        }
        out.0
    }

    /// The word in a packet; `None` where there is none.
    pub(crate) fn decode(packet: &[u8]) -> Option<Word> {
        let (tag, fields) = packet.split_first()?;
        let mut left = Rest(fields);
        let word = match *tag {
            0 => {
                let (until, reset) = (Instant::from_nanos(left.number()?), Instant::from_nanos(left.number()?));
                let mut farewell = Vec::new();
                while !left.0.is_empty() {
                    farewell.push((MediumId(u16::try_from(left.number()?).ok()?), left.bytes()?.into()));
                }
                Word::Renewed(Renewal { until, reset, farewell })
            }
            1 => {
                let (group, word) = (left.group()?, left.text()?);
                Word::Held(Held { group, word, what: What::Address(left.text()?.parse().ok()?) })
            }
            2 => {
                let (group, word, limit) = (left.group()?, left.text()?, Duration::from_nanos(left.number()?));
                let class = class_named(&left.text()?)?;
                let name = left.text()?;
                let mut args = Vec::new();
                while !left.0.is_empty() {
                    args.push(left.text()?);
                }
                let call = ScriptCall { name, args, class, word: word.clone(), span: Span::FILE };
                Word::Held(Held { group, word, what: What::Script { call, limit } })
            }
            3 => Word::Gone { group: left.group()?, word: left.text()? },
            4 => Word::Over { op: OpId(left.number()?) },
            5 => Word::Timeout(Some(left.number()?).filter(|secs| *secs > 0).map(Duration::from_secs)),
            6 => {
                let (logfile, debugfile, facility) = (left.text()?, left.text()?, left.text()?);
                let path = |text: String| (!text.is_empty()).then(|| text.into());
                Word::Log(Targets {
                    logfile: path(logfile),
                    debugfile: path(debugfile),
                    facility: Facility::named(&facility),
                    stderr: left.number()? == 1,
                })
            }
            7 => Word::Farewell,
            STARTED => Word::Started { op: OpId(left.number()?), pid: u32::try_from(left.number()?).ok()? },
            _ => return None,
        };
        left.0.is_empty().then_some(word)
    }
}

/// The packet of [`Word::Started`]; made without allocating, for a process that may not.
pub(crate) fn started(op: OpId, pid: u32) -> [u8; 17] {
    let mut packet = [STARTED; 17];
    packet[1..9].copy_from_slice(&op.0.to_le_bytes());
    packet[9..].copy_from_slice(&u64::from(pid).to_le_bytes());
    packet
}

struct Packet(Vec<u8>);

impl Packet {
    fn tag(&mut self, tag: u8) -> &mut Packet {
        self.0.push(tag);
        self
    }

    fn number(&mut self, number: u64) -> &mut Packet {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Packet {
        self.number(bytes.len() as u64).0.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Packet {
        self.bytes(text.as_bytes())
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn group(&mut self) -> Option<GroupId> {
        self.number()?.try_into().ok().map(GroupId)
    }
}

/// A class in one word.
fn class_word(class: &ScriptClass) -> String {
    match class {
        ScriptClass::Heartbeat => "heartbeat".to_owned(),
        ScriptClass::Lsb => "lsb".to_owned(),
        ScriptClass::Ocf { provider } => format!("ocf:{provider}"),
    }
}

fn class_named(word: &str) -> Option<ScriptClass> {
    match word {
        "heartbeat" => Some(ScriptClass::Heartbeat),
        "lsb" => Some(ScriptClass::Lsb),
        other => Some(ScriptClass::Ocf { provider: other.strip_prefix("ocf:")?.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<Word> {
        let call = ScriptCall {
            name: "Web".into(),
            args: vec!["a b".into(), String::new(), "\u{e4}".into()],
            class: ScriptClass::Ocf { provider: "lab".into() },
            word: "Web::a b::".into(),
            span: Span::FILE,
        };
        let what = What::Script { call, limit: Duration::from_millis(300_001) };
        let farewell = vec![(MediumId(0), Frame::from(*b"\0frame")), (MediumId(7), Frame::from(*b""))];
        vec![
            Word::Renewed(Renewal { until: Instant::from_nanos(7), reset: Instant::FAR_FUTURE, farewell }),
            Word::Held(Held { group: GroupId(3), word: "Web::a b::".into(), what }),
            Word::Held(Held { group: GroupId(0), word: "::1".into(), what: What::Address("::1".parse().unwrap()) }),
            Word::Gone { group: GroupId(9), word: "10.0.0.1/24".into() },
            Word::Started { op: OpId(u64::MAX), pid: 4_194_303 },
            Word::Over { op: OpId(12) },
            Word::Timeout(Some(Duration::from_secs(26))),
            Word::Timeout(None),
            Word::Log(Targets {
                logfile: Some("/var/log/ha-log".into()),
                debugfile: None,
                facility: Facility::named("local3"),
                stderr: true,
            }),
            Word::Farewell,
        ]
    }

    #[test]
    fn every_word_arrives_as_it_was_said() {
        for word in words() {
            let heard = Word::decode(&word.encode()).unwrap_or_else(|| panic!("{word:?}"));
            assert_eq!(format!("{heard:?}"), format!("{word:?}"));
        }
    }

    #[test]
    fn half_a_word_is_none() {
        for word in words() {
            let whole = word.encode();
            let shorter = (0..whole.len()).filter_map(|length| Word::decode(&whole[..length]));
            // Of lists a shorter one is a word too, but never the same.
            assert!(shorter.into_iter().all(|heard| format!("{heard:?}") != format!("{word:?}")), "{word:?}");
            assert!(Word::decode(&[whole.as_slice(), b"x"].concat()).is_none(), "{word:?}");
        }
    }
}
