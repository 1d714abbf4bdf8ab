//! Serial lines: messages out of a stream of bytes, and which message goes next onto a slow line. Read WIRE 13 first.
//!
//! A line is noise, then `>>>`, then lines of the classic format, then `<<<`. Whatever goes wrong, the next line that
//! begins with `>>>` begins a message:
//!
//! ```text
//!            line begins or ends with >>>            line begins with <<<
//! Searching ------------------------------> Inside ------------------------> a message, Searching
//!     ^                                     |    ^ line begins with >>>: what was read is noise, begin again
//!     +------ longer than a message can be -+    +--------------------------+
//! ```
//!
//! Invariants: the memory of both directions is bounded whatever comes; what noise does not touch is not lost.

use super::PACKET_MAX;
use crate::action::{Frame, Urgency};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Room that is kept from one message to the next; longer ones are rare.
const ROOM: usize = 4096;

/// Finds the messages in what a serial line brings; knows nothing of what they say.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    /// The message so far, with its markers; outside a message what is needed of the present line.
    buffer: Vec<u8>,
    /// Where the present line begins.
    line: usize,
    state: State,
    skipped: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Searching,
    Inside,
    /// A message was handed out and still is in the buffer.
    Whole,
}

impl Framer {
    /// A framer that has read nothing.
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Takes bytes from the front of `input` up to the end of a message, which [`message`](Self::message) gives then;
    /// `false` when all are taken.
    ///
    /// Carriage returns are ignored and the eighth bit of each byte is cleared, as 3.0.6 does (WIRE 13).
    pub fn advance(&mut self, input: &mut &[u8]) -> bool {
        if self.state == State::Whole {
            self.begin(State::Searching);
        }
        while let Some((first, rest)) = input.split_first() {
            *input = rest;
            if self.take(first & 0x7f) {
                self.state = State::Whole;
                return true;
            }
        }
        false
    }

    /// The message that [`advance`](Self::advance) has found; empty if it has not.
    pub fn message(&self) -> &[u8] {
        if self.state == State::Whole { &self.buffer } else { &[] }
    }

    /// Takes bytes from the front of `input` up to the end of a message, and returns that; `None` when all are taken.
    pub fn next<'a>(&'a mut self, input: &mut &[u8]) -> Option<&'a [u8]> {
        self.advance(input).then(|| self.message())
    }

    /// How many bytes belonged to no message.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How much memory is in use.
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Forgets a message begun: the line was interrupted.
    pub fn reset(&mut self) {
        self.skip_all();
        self.begin(State::Searching);
    }

    fn begin(&mut self, state: State) {
        self.buffer.clear();
        self.buffer.shrink_to(ROOM);
        if state == State::Inside {
            self.buffer.extend_from_slice(b">>>\n");
        }
        self.line = self.buffer.len();
        self.state = state;
    }

    /// Takes one byte; whether it ends a message.
    fn take(&mut self, byte: u8) -> bool {
        if byte == b'\r' {
            return false;
        }
        if byte == b'\n' {
            return self.end_line();
        }
        self.buffer.push(byte);
        match self.state {
            State::Inside if self.buffer.len() >= PACKET_MAX => {
                self.skip_all();
                self.begin(State::Searching);
            }
            // The first three bytes of the line and the last three tell all.
            State::Searching if self.buffer.len() > 6 => {
                self.buffer.remove(3);
                self.skip(1);
            }
            _ => {}
        }
        false
    }

    fn end_line(&mut self) -> bool {
        let line = self.buffer.get(self.line..).unwrap_or_default();
        let is_start = line.starts_with(b">>>");
        match self.state {
            // A marker behind noise on its line is one too; if it was none, the real one begins the message again.
            State::Searching if is_start || line.ends_with(b">>>") => self.begin(State::Inside),
            State::Searching | State::Whole => {
                self.skip_all();
                self.begin(State::Searching);
            }
            State::Inside if is_start => {
                self.buffer.truncate(self.line);
                self.skip_all();
                self.begin(State::Inside);
            }
            State::Inside if line.starts_with(b"<<<") => {
                self.buffer.truncate(self.line);
                self.buffer.extend_from_slice(b"<<<\n");
                return true;
            }
            State::Inside => {
                self.buffer.push(b'\n');
                self.line = self.buffer.len();
            }
        }
        false
    }

    fn skip_all(&mut self) {
        self.skip(self.buffer.len());
    }

    fn skip(&mut self, bytes: usize) {
        self.skipped = self.skipped.saturating_add(bytes as u64);
    }
}

/// How long what waits may occupy the line, for each kind of message: what comes later waits for nothing older.
const WAITING_SECONDS: usize = 4;
/// So much may wait on the slowest line: a retransmission request brings a handful of messages.
const WAITING_MIN: usize = 4096;
/// The number of messages that wait, whatever their size.
const WAITING_MESSAGES: usize = 256;

/// What waits for a serial line: heartbeats pass before messages, and those before repairs.
///
/// A line of 9600 baud carries four messages a second. What cannot wait here is lost, and asked for later if it has a
/// number; a heartbeat is replaced by the next, since only the newest counts.
#[derive(Clone, Debug)]
pub struct Outbox {
    heartbeat: Option<Frame>,
    messages: Waiting,
    repairs: Waiting,
    most: usize,
    dropped: u64,
    replaced: u64,
}

#[derive(Clone, Debug, Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Waiting {
    /// Whether the frame waits now: there was room for it, or it waited already.
    fn push(&mut self, frame: Frame, most: usize) -> bool {
        if self.frames.contains(&frame) {
            return true;
        }
        let bytes = self.bytes.saturating_add(frame.len());
        // One message finds room however long it is.
        if !self.frames.is_empty() && (bytes > most || self.frames.len() >= WAITING_MESSAGES) {
            return false;
        }
        self.bytes = bytes;
        self.frames.push_back(frame);
        true
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(frame.len());
        Some(frame)
    }
}

impl Outbox {
    /// Nothing waits for a line of so many bits a second.
    pub fn new(baud: u32) -> Outbox {
        // Ten bits a byte: with one to start and one to stop.
        let a_second = usize::try_from(baud / 10).unwrap_or(usize::MAX);
        Outbox {
            heartbeat: None,
            messages: Waiting::default(),
            repairs: Waiting::default(),
            most: a_second.saturating_mul(WAITING_SECONDS).max(WAITING_MIN),
            dropped: 0,
            replaced: 0,
        }
    }

    /// Lets a message wait; it is lost if there is no room.
    pub fn push(&mut self, frame: Frame, urgency: Urgency) {
        let waits = match urgency {
            Urgency::Heartbeat => {
                if self.heartbeat.replace(frame).is_some() {
                    self.replaced = self.replaced.saturating_add(1);
                }
                return;
            }
            Urgency::Message => self.messages.push(frame, self.most),
            Urgency::Repair => self.repairs.push(frame, self.most),
        };
        if !waits {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The message that goes next.
    pub fn pop(&mut self) -> Option<Frame> {
        self.heartbeat.take().or_else(|| self.messages.pop()).or_else(|| self.repairs.pop())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        let queued = self.messages.frames.len().saturating_add(self.repairs.frames.len());
        queued.saturating_add(usize::from(self.heartbeat.is_some()))
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        let heartbeat = self.heartbeat.as_ref().map_or(0, |frame| frame.len());
        self.messages.bytes.saturating_add(self.repairs.bytes).saturating_add(heartbeat)
    }

    /// How many messages were lost since there was no room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many heartbeats were replaced by newer ones.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Nothing waits any more: the line is gone, and what was to be said on it is old when it comes back.
    pub fn clear(&mut self) {
        self.heartbeat = None;
        self.messages = Waiting::default();
        self.repairs = Waiting::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &[u8] = b">>>\nt=a\nx=1>>>\n<<<\n";
    const B: &[u8] = b">>>\nt=b\n<<<\n";

    fn messages(stream: &[u8]) -> Vec<Vec<u8>> {
        let mut framer = Framer::new();
        let mut rest = stream;
        core::iter::from_fn(|| framer.next(&mut rest).map(<[u8]>::to_vec)).collect()
    }

    fn finds(stream: &[&[u8]], wanted: &[&[u8]]) {
        assert_eq!(messages(&stream.concat()), wanted, "{}", stream.concat().escape_ascii());
    }

    #[test]
    fn messages_follow_each_other_with_or_without_something_between() {
        finds(&[A, B], &[A, B]);
        finds(&[A, b"\r\n\r\n", B], &[A, B]);
        finds(&[A, b"\0", B], &[A, B]);
        finds(&[b"boot messages\n", A, b"t=x\n<<<\n", B], &[A, B]);
    }

    #[test]
    fn carriage_returns_and_the_eighth_bit_are_ignored() {
        finds(&[b">>>\r\nt=a\r\n<<<\r\n"], &[b">>>\nt=a\n<<<\n"]);
        let high: Vec<u8> = B.iter().map(|byte| byte | 0x80).collect();
        finds(&[&high], &[B]);
    }

    #[test]
    fn a_message_that_has_lost_its_end_takes_no_other_with_it() {
        finds(&[b">>>\nt=lost\n", A, B], &[A, B]);
        finds(&[b">>>\nt=lost\n<<", A, B], &[b">>>\nt=lost\n<<>>>\nt=a\nx=1>>>\n<<<\n", B]);
    }

    #[test]
    fn markers_with_noise_behind_them_are_markers() {
        finds(&[b">>>~\nt=a\n<<<~\n", B], &[b">>>\nt=a\n<<<\n", B]);
        finds(&[b"~~~~~~~~>>>\nt=a\n<<<\n"], &[b">>>\nt=a\n<<<\n"]);
    }

    #[test]
    fn a_message_handed_out_is_gone_after_a_reset() {
        let mut framer = Framer::new();
        assert!(framer.next(&mut &b">>>\nt="[..]).is_none());
        framer.reset();
        assert!(framer.next(&mut &b"a\n<<<\n"[..]).is_none());
        assert_eq!(framer.next(&mut &B[..]), Some(B));
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        for pattern in [&b"~"[..], b"\n", b">>>\n", b">>>\nx", b">>>"] {
            let mut framer = Framer::new();
            let start: &[u8] = b">>>\n";
            let _nothing = framer.next(&mut &start[..]);
            for _ in 0..PACKET_MAX {
                let mut bytes = pattern;
                while framer.next(&mut bytes).is_some() {}
            }
            assert!(framer.held() <= 2 * PACKET_MAX, "{}: {}", pattern.escape_ascii(), framer.held());
            let mut next = [b"\n", A].concat();
            next.extend_from_slice(B);
            assert_eq!(messages_of(&mut framer, &next).last().map(Vec::as_slice), Some(B));
        }
    }

    fn messages_of(framer: &mut Framer, stream: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = stream;
        core::iter::from_fn(|| framer.next(&mut rest).map(<[u8]>::to_vec)).collect()
    }

    /// A message of some text lines.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec("[a-z]{1,9}=[ -~]{0,20}", 0..6).prop_map(|lines| {
            let mut message = b">>>\n".to_vec();
            for line in lines {
                message.extend_from_slice(line.as_bytes());
                message.push(b'\n');
            }
            message.extend_from_slice(b"<<<\n");
            message
        })
    }

    proptest! {
        /// Noise between messages that leaves the line at its beginning, or that holds no marker, touches none of them.
        #[test]
        fn noise_between_messages_loses_none(
            pieces in proptest::collection::vec((message(), proptest::collection::vec(any::<u8>(), 0..40)), 1..8),
            ends_line in any::<bool>(),
        ) {
            let mut stream = Vec::new();
            let mut wanted = Vec::new();
            for (message, mut noise) in pieces {
                if ends_line {
                    noise.push(b'\n');
                } else {
                    noise.retain(|byte| byte & 0x7f != b'>');
                }
                stream.extend_from_slice(&noise);
                stream.extend_from_slice(&message);
                wanted.push(message);
            }
            let found = messages(&stream);
            let mut rest = found.iter();
            for message in &wanted {
                prop_assert!(rest.any(|found| found == message), "{} is lost", message.escape_ascii());
            }
        }

        /// Any noise that overwrites bytes, or is put between them, loses at most the messages it touches and the one
        /// whose beginning it joins to its own line.
        #[test]
        fn noise_loses_only_what_it_touches(
            count in 1_usize..8,
            at in any::<proptest::sample::Index>(),
            noise in proptest::collection::vec(any::<u8>(), 1..60),
            overwrites in any::<bool>(),
        ) {
            let sent: Vec<Vec<u8>> =
                (0..count).map(|number| alloc::format!(">>>\nt=x\nseq={number}\n<<<\n").into_bytes()).collect();
            let mut stream = sent.concat();
            let (from, length) = (at.index(stream.len() + 1), sent[0].len());
            let to = if overwrites { (from + noise.len()).min(stream.len()) } else { from };
            stream.splice(from..to, noise.iter().copied());
            let found = messages(&stream);
            for (number, message) in sent.iter().enumerate() {
                let (begin, end) = (number * length, (number + 1) * length);
                if end <= from || begin > to {
                    prop_assert!(found.contains(message), "{number} is lost");
                }
            }
        }

        #[test]
        fn how_the_stream_is_cut_does_not_matter(
            stream in proptest::collection::vec(prop_oneof![Just(b'>'), Just(b'<'), Just(b'\n'), any::<u8>()], 0..200),
            cut in any::<proptest::sample::Index>(),
        ) {
            let (front, back) = stream.split_at(cut.index(stream.len() + 1));
            let mut framer = Framer::new();
            let mut found = messages_of(&mut framer, front);
            found.extend(messages_of(&mut framer, back));
            prop_assert_eq!(found, messages(&stream));
        }
    }

    fn frame(text: &str) -> Frame {
        text.as_bytes().into()
    }

    fn next(outbox: &mut Outbox) -> Vec<u8> {
        outbox.pop().map(|frame| frame.to_vec()).unwrap_or_default()
    }

    #[test]
    fn heartbeats_pass_before_messages_and_those_before_repairs() {
        let mut outbox = Outbox::new(9600);
        outbox.push(frame("repair"), Urgency::Repair);
        outbox.push(frame("message"), Urgency::Message);
        outbox.push(frame("heartbeat 1"), Urgency::Heartbeat);
        outbox.push(frame("heartbeat 2"), Urgency::Heartbeat);
        assert_eq!((outbox.waiting(), outbox.replaced()), (3, 1));
        assert_eq!([(); 4].map(|()| next(&mut outbox)), [&b"heartbeat 2"[..], b"message", b"repair", b""]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_waits_already_does_not_wait_twice() {
        let mut outbox = Outbox::new(9600);
        (0..5).for_each(|_| outbox.push(frame("again"), Urgency::Repair));
        assert_eq!((outbox.waiting(), outbox.dropped()), (1, 0));
    }

    #[test]
    fn the_queue_is_bounded_in_bytes_and_messages_and_takes_any_single_message() {
        let mut outbox = Outbox::new(9600);
        let long: Frame = alloc::vec![b'x'; 200_000].into();
        outbox.push(long.clone(), Urgency::Repair);
        assert_eq!((outbox.waiting(), outbox.dropped()), (1, 0));
        outbox.push(frame("no room beside it"), Urgency::Repair);
        assert_eq!((outbox.waiting(), outbox.dropped()), (1, 1));
        assert_eq!(outbox.pop(), Some(long));
        for number in 0..1000 {
            outbox.push(frame(&alloc::format!("{number:0200}")), Urgency::Message);
        }
        assert_eq!(outbox.bytes(), 4000);
        outbox.clear();
        for number in 0..1000 {
            outbox.push(frame(&alloc::format!("{number}")), Urgency::Repair);
        }
        assert_eq!(outbox.waiting(), WAITING_MESSAGES);
    }
}
