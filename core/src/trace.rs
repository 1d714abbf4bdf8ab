//! Recordings of a node: what happened to it and what came of it, so that it can be lived through again.
//!
//! Feature `trace`; the only file that names the encoding (bincode, pinned), and only for files we wrote ourselves.
//!
//! ```text
//! file    = segment+                         a segment needs nothing outside itself
//! segment = magic version head state step*
//! head, state, step = length crc bytes       u32, u32, then so many bytes
//! ```
//!
//! A *head* names build, node, configuration texts and entries of authkeys, never their secrets. A *state* is the whole
//! [`Node`] but its configuration. A *step* is one call of [`Node::handle`]: when, what, and a digest of what came of it.
//!
//! Invariants:
//! - no secret is in a recording: keys are given again to [`Segment::restore`], and say if they do not fit,
//! - reading never panics and never takes more memory than a small multiple of the bytes it is given,
//! - what cannot be believed ends the reading with the place and the reason; what came before it stands.

mod kind;

use crate::action::Action;
pub use crate::auth::Entries;
use crate::auth::{Keyring, VerifyError};
pub use crate::config::Text;
use crate::config::{Config, Diagnostic, SourceText, Sources};
use crate::digest::{StableHasher, digest_of};
use crate::input::Input;
use crate::node::Node;
use crate::node::snapshot::Parts;
use crate::reload::Reload;
use crate::time::{Instant, UnixTime};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use core::hash::{Hash as _, Hasher as _};
pub use kind::Kind;
use serde::{Deserialize, Serialize};

/// What a segment begins with.
pub const MAGIC: [u8; 8] = *b"hbtrace\n";
/// The version of format and state; a recording of another one is refused. It rises with every change of a field of
/// [`Node`] or [`Input`]: `golden.trace` shows that it has to.
pub const VERSION: u32 = 9;
/// The longest record in bytes: a full history of large messages.
pub const RECORD_MAX: usize = 32 * 1024 * 1024;
/// Length and checksum in front of a record.
const FRAME: usize = 8;

type Encoding = Configuration<LittleEndian, Varint, Limit<RECORD_MAX>>;
const ENCODING: Encoding = bincode::config::standard().with_limit::<RECORD_MAX>();
/// With the large table, since every step of a running node is summed: 0.3 instead of 1.0 µs for that of a heartbeat.
static CRC: crc::Crc<u32, crc::Table<16>> = crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISO_HDLC);

/// Steps that are not in the recording, before the segment they are told in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// How many.
    pub steps: u64,
    /// Why.
    pub why: String,
}

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the program that wrote it.
    pub build: String,
    /// The name of the node.
    pub local_name: String,
    /// ha.cf.
    pub ha_cf: Text,
    /// haresources, if there was one.
    pub haresources: Option<Text>,
    /// What authkeys had, without secrets.
    pub entries: Entries,
    /// The files that the node was last told to reload: their live part counts instead.
    pub reload: Option<Box<Reload>>,
    /// What is missing before this segment.
    pub dropped: Option<Dropped>,
}

/// The state of a node at the beginning of a segment; a copy of a running node's is cheap.
#[derive(Clone, Debug)]
pub struct State(Box<Parts>);

impl State {
    /// The state of `node` between two steps.
    pub fn of(node: &Node) -> State {
        State(Box::new(Parts::of(node)))
    }

    /// A digest of the state without its configuration.
    pub fn digest(&self) -> u64 {
        digest_of(&self.0)
    }

    /// The time of the node's last step.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// Whether a packet that the node signed is in it, by which wrong keys are known at once.
    pub fn is_signed(&self) -> bool {
        self.0.newest_frame().is_some()
    }

    /// What the wall clock last read, and when that was.
    pub fn wall_clock(&self) -> (Instant, UnixTime) {
        self.0.wall_clock()
    }

    /// The state as it would be had the cluster used the secrets of `to` instead of `from`.
    #[must_use]
    pub fn resigned(mut self, from: &Keyring, to: &Keyring) -> State {
        for frame in self.0.frames_mut() {
            *frame = Arc::from(from.resign(frame, to));
        }
        self
    }
}

/// What came of a step, as far as it is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The kinds of the actions, in order.
    pub kinds: Vec<Kind>,
    /// The digest of the actions in order; zero if there are none.
    pub digest: u64,
}

impl Made {
    /// What is recorded of these actions.
    pub fn of(actions: &[Action]) -> Made {
        let mut tally = Tally::default();
        for action in actions {
            tally.add(action);
        }
        tally.made()
    }
}

/// Collects [`Made`], action by action.
#[derive(Clone, Debug, Default)]
struct Tally {
    kinds: Vec<Kind>,
    hasher: StableHasher,
}

impl Tally {
    fn add(&mut self, action: &Action) {
        self.kinds.push(Kind::of(action));
        action.hash(&mut self.hasher);
    }

    fn digest(&self) -> u64 {
        if self.kinds.is_empty() { 0 } else { self.hasher.finish() }
    }

    fn made(self) -> Made {
        Made { digest: self.digest(), kinds: self.kinds }
    }
}

/// One call of [`Node::handle`].
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// When.
    pub now: Instant,
    /// What happened.
    pub input: Input<'a>,
    /// What came of it.
    pub made: Made,
}

// --- writing

/// The value cannot be recorded: longer than [`RECORD_MAX`]. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record would have more than {RECORD_MAX} bytes")]
pub struct Unwritable;

/// Writes the beginning of a segment: head and state.
pub fn begin(out: &mut Vec<u8>, head: &Head, state: &State) -> Result<(), Unwritable> {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    let write = |out: &mut Vec<u8>| {
        let at = open(out);
        put(out, head)?;
        close(out, at)?;
        let at = open(out);
        put(out, &(state.digest(), &*state.0))?;
        close(out, at)
    };
    write(out).inspect_err(|Unwritable| out.truncate(start))
}

/// Writes the steps of a segment. The order is [`begin`](Steps::begin), [`action`](Steps::action) for each, then
/// [`end`](Steps::end), so that an input that ends the process is in the buffer already.
#[derive(Clone, Debug)]
pub struct Steps {
    last: Instant,
    at: usize,
    tally: Tally,
}

impl Steps {
    /// For a segment that begins with `state`.
    pub fn after(state: &State) -> Steps {
        Steps { last: state.now(), at: 0, tally: Tally::default() }
    }

    /// A step begins. A time before that of the last step counts as that, as it does for the node.
    pub fn begin(&mut self, out: &mut Vec<u8>, now: Instant, input: &Input<'_>) -> Result<(), Unwritable> {
        let now = now.max(self.last);
        let after = u64::try_from(now.since(self.last).as_nanos()).unwrap_or(u64::MAX);
        self.at = open(out);
        self.last = now;
        self.tally.kinds.clear();
        self.tally.hasher = StableHasher::default();
        put(out, &(after, input)).inspect_err(|Unwritable| out.truncate(self.at))
    }

    /// One action of the step.
    pub fn action(&mut self, action: &Action) {
        self.tally.add(action);
    }

    /// The step is over.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        put(out, &(&self.tally.kinds, self.tally.digest()))
            .and_then(|()| close(out, self.at))
            .inspect_err(|Unwritable| out.truncate(self.at))
    }
}

/// Leaves room for length and checksum.
fn open(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; FRAME]);
    at
}

fn close(out: &mut [u8], at: usize) -> Result<(), Unwritable> {
    let (frame, payload) = out.get_mut(at..).and_then(<[u8]>::split_first_chunk_mut::<FRAME>).ok_or(Unwritable)?;
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= RECORD_MAX).ok_or(Unwritable)?;
    // Little-endian: the length in front, the checksum behind it.
    *frame = (u64::from(CRC.checksum(payload)) << 32 | u64::from(length)).to_le_bytes();
    Ok(())
}

/// Where encoded bytes go.
struct Out<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), Unwritable> {
    bincode::serde::encode_into_writer(value, Out(out), ENCODING).map_err(|_| Unwritable)
}

/// Bytes as one piece; the derived way would take them one by one.
pub(crate) fn serialize_bytes<S: serde::Serializer>(bytes: &impl AsRef<[u8]>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes.as_ref())
}

// --- reading

/// Why a recording cannot be read, or not beyond a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It does not begin as a recording does.
    #[error("byte {at}: this is no recording: it does not begin with the word `hbtrace`")]
    NotATrace {
        /// Where a segment should begin.
        at: usize,
    },
    /// Another build wrote it, whose state is not ours.
    #[error("byte {at}: a recording of format {found}; this build reads format {VERSION}: use the build that wrote it")]
    ForeignVersion {
        /// Where the segment begins.
        at: usize,
        /// Its format.
        found: u32,
    },
    /// The file ends within a record, as that of a daemon that was killed, or that still writes.
    #[error("byte {at}: the recording ends within a record")]
    Truncated {
        /// Where the record begins.
        at: usize,
    },
    /// Bytes were changed.
    #[error("byte {at}: a record is damaged (its checksum is wrong)")]
    Damaged {
        /// Where the record begins.
        at: usize,
    },
    /// The checksum is right and the content impossible: not written by this program.
    #[error("byte {at}: a record holds what this build never writes: {why}")]
    Foreign {
        /// Where the record begins.
        at: usize,
        /// What is wrong.
        why: String,
    },
}

impl ReadError {
    /// Whether nothing is wrong but that the end is missing.
    pub fn is_only_the_end(&self) -> bool {
        matches!(self, ReadError::Truncated { .. })
    }
}

/// The beginning of a segment.
#[derive(Clone, Debug)]
pub struct Segment {
    /// What it says about itself.
    pub head: Head,
    /// The node as it was.
    pub state: State,
}

/// What stands next in a recording.
#[derive(Clone, Debug)]
pub enum Entry<'a> {
    /// A segment begins.
    Segment(Box<Segment>),
    /// A step of the present segment.
    Step(Step<'a>),
}

/// Reads a recording; after an error it goes on with the next segment.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The time of the last step, once a segment has begun.
    last: Option<Instant>,
    ended: bool,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, a whole file or several one after the other.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, last: None, ended: false }
    }

    fn read(&mut self) -> Result<Entry<'a>, ReadError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        // As a length the magic would be far beyond what a record may have.
        match self.last {
            Some(last) if !rest.starts_with(&MAGIC) => self.step(last),
            _ => self.segment(rest),
        }
    }

    fn segment(&mut self, rest: &'a [u8]) -> Result<Entry<'a>, ReadError> {
        let start = self.at;
        let known = rest.len().min(MAGIC.len());
        if rest.get(..known) != MAGIC.get(..known) {
            return Err(ReadError::NotATrace { at: start });
        }
        let version = rest.get(MAGIC.len()..).and_then(|rest| rest.first_chunk::<4>());
        let found = u32::from_le_bytes(*version.ok_or(ReadError::Truncated { at: start })?);
        if found != VERSION {
            return Err(ReadError::ForeignVersion { at: start, found });
        }
        self.at = start.saturating_add(MAGIC.len()).saturating_add(4);
        let (_, payload) = self.record()?;
        let head: Head = decode(start, payload)?;
        let (at, payload) = self.record()?;
        let (digest, parts): (u64, Box<Parts>) = decode(at, payload)?;
        let state = State(parts);
        if state.digest() != digest {
            return Err(ReadError::Foreign { at, why: "the state has another digest than when it was written".into() });
        }
        self.last = Some(state.now());
        Ok(Entry::Segment(Box::new(Segment { head, state })))
    }

    fn step(&mut self, last: Instant) -> Result<Entry<'a>, ReadError> {
        let (at, payload) = self.record()?;
        let (after, input, made): (u64, Input<'a>, Made) = decode(at, payload)?;
        let now = last.plus(core::time::Duration::from_nanos(after));
        self.last = Some(now);
        Ok(Entry::Step(Step { now, input, made }))
    }

    /// Goes on with the next segment: what is damaged hides nothing but the rest of its own.
    fn pass_over(&mut self) {
        self.last = None;
        let from = self.at.saturating_add(1);
        let rest = self.bytes.get(from..).unwrap_or_default();
        match rest.windows(MAGIC.len()).position(|window| window == MAGIC) {
            Some(next) => self.at = from.saturating_add(next),
            None => self.ended = true,
        }
    }

    /// Where the next record begins and what it holds.
    fn record(&mut self) -> Result<(usize, &'a [u8]), ReadError> {
        let at = self.at;
        let rest = self.bytes.get(at..).unwrap_or_default();
        let Some((frame, rest)) = rest.split_first_chunk::<FRAME>() else {
            return Err(ReadError::Truncated { at });
        };
        let frame = u64::from_le_bytes(*frame);
        let length = usize::try_from(frame & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        if length > RECORD_MAX {
            return Err(ReadError::Damaged { at });
        }
        let payload = rest.get(..length).ok_or(ReadError::Truncated { at })?;
        if u64::from(CRC.checksum(payload)) != frame >> 32 {
            return Err(ReadError::Damaged { at });
        }
        self.at = at.saturating_add(FRAME).saturating_add(length);
        Ok((at, payload))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Entry<'a>, ReadError>;

    fn next(&mut self) -> Option<Result<Entry<'a>, ReadError>> {
        // An empty file is what a daemon leaves that was killed before its first record.
        if self.ended || self.at >= self.bytes.len() {
            return None;
        }
        Some(self.read().inspect_err(|_| self.pass_over()))
    }
}

fn decode<'a, T: Deserialize<'a>>(at: usize, payload: &'a [u8]) -> Result<T, ReadError> {
    match bincode::serde::borrow_decode_from_slice::<T, Encoding>(payload, ENCODING) {
        Ok((value, used)) if used == payload.len() => Ok(value),
        Ok(_) => Err(ReadError::Foreign { at, why: "bytes follow its content".into() }),
        Err(error) => Err(ReadError::Foreign { at, why: error.to_string() }),
    }
}

// --- living through it again

/// Why a segment cannot be lived through.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RestoreError {
    /// The configuration texts are refused by this build.
    #[error("the recorded configuration cannot be read by this build: {}", .0.first().map_or(Cow::Borrowed("no reason"), |first| Cow::Owned(first.to_string())))]
    Config(Vec<Diagnostic>),
    /// authkeys has other entries than it had.
    #[error("these are not the keys of the recording: it was made with [{recorded}], given are [{given}]")]
    OtherEntries {
        /// Those of the recording.
        recorded: Entries,
        /// Those given.
        given: Entries,
    },
    /// The entries are the same, a secret is not: what the node itself signed is not ours.
    #[error("these are not the keys of the recording: the secret of key {0} is another")]
    OtherSecret(u8),
    /// The state is not one of a node with this configuration.
    #[error("the recorded state is not one of a node with the recorded configuration")]
    OtherShape,
}

impl Segment {
    /// The node as it was, with the secrets of `authkeys`, which may have more entries than the recording.
    pub fn restore(&self, authkeys: SourceText<'_>) -> Result<Node, RestoreError> {
        let Head { local_name, ha_cf, haresources, entries, reload, build: _, dropped: _ } = &self.head;
        let start = |entries| read_again(local_name, ha_cf, haresources.as_ref(), entries, authkeys);
        let config = match reload {
            None => start(entries)?,
            // Keys that were removed since the start need not be known any more.
            Some(reload) => {
                let reload = restored(reload, authkeys)?;
                let config = start(reload.entries())?;
                reload.config().map(|new| config.renewed(new)).unwrap_or(config)
            }
        };
        if let Some(frame) = self.state.0.newest_frame()
            && let Err(VerifyError::Auth(_)) = config.keyring().verify(frame)
        {
            return Err(RestoreError::OtherSecret(config.keyring().current()));
        }
        self.state.0.clone().with_config(config).ok_or(RestoreError::OtherShape)
    }
}

impl Input<'_> {
    /// The same input with what a recording leaves out, the secrets of `authkeys`.
    pub fn with_keys(self, authkeys: SourceText<'_>) -> Result<Self, RestoreError> {
        match self {
            Input::Reload(reload) => restored(&reload, authkeys).map(Box::new).map(Input::Reload),
            other => Ok(other),
        }
    }
}

fn restored(reload: &Reload, authkeys: SourceText<'_>) -> Result<Reload, RestoreError> {
    let config = read_again(reload.local_name(), reload.ha_cf(), reload.haresources(), reload.entries(), authkeys)?;
    Ok(reload.clone().with_config(config))
}

/// What recorded texts say, with those of the entries of `authkeys` that there were.
fn read_again(
    local_name: &str,
    ha_cf: &Text,
    haresources: Option<&Text>,
    entries: &Entries,
    authkeys: SourceText<'_>,
) -> Result<Config, RestoreError> {
    let haresources = haresources.map(Text::source);
    let reading = Config::read(&Sources { local_name, ha_cf: ha_cf.source(), haresources, authkeys });
    let Some(config) = reading.config else {
        let errors = reading.diagnostics.into_iter().filter(Diagnostic::is_error).collect();
        return Err(RestoreError::Config(errors));
    };
    let Some(keyring) = config.keyring().restricted_to(entries) else {
        return Err(RestoreError::OtherEntries { recorded: entries.clone(), given: Entries::of(config.keyring()) });
    };
    Ok(config.with_keyring(keyring))
}

#[cfg(test)]
mod tests;
