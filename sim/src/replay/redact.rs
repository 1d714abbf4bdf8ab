//! A recording signed anew with secrets made for it, so that it can be handed on.
//!
//! The node is lived through twice: as it was, to see that the recording is right, and with the new secrets, to record
//! what comes then. The texts of the configuration stay as they are, but for authkeys, which is not in a recording.

use super::{Keys, Note, Refused, Trace, note, refused};
use hb_core::auth::{Keyring, Method};
use hb_core::trace::{Entries, Entry, Made, Reader, Segment, State, Step, Steps, begin};
use hb_core::{Action, Input, Node};
use std::fmt::Write as _;

/// What is handed on.
#[derive(Clone, Debug)]
pub struct Redacted {
    /// The recording, one file.
    pub trace: Vec<u8>,
    /// The authkeys to replay it with.
    pub authkeys: String,
    /// How many segments it has.
    pub segments: usize,
    /// What was left out, and why.
    pub notes: Vec<Note>,
}

/// Signs all of `trace` anew. `random` gives the new secrets, 20 bytes each.
pub fn redact(trace: &Trace, keys: &Keys, random: &mut dyn FnMut() -> [u8; 20]) -> Result<Redacted, Refused> {
    let mut work = Redacting { keys, random, out: Redacted::empty(), life: None };
    for file in &trace.files {
        for entry in Reader::new(&file.bytes) {
            match entry {
                Ok(Entry::Segment(segment)) => work.begin(&file.name, &segment),
                Ok(Entry::Step(step)) => work.step(&file.name, step),
                Err(error) => {
                    work.life = None;
                    note(&mut work.out.notes, &file.name, error.to_string());
                }
            }
        }
    }
    if work.out.segments > 0 {
        return Ok(work.out);
    }
    Err(refused(work.out.notes))
}

impl Redacted {
    fn empty() -> Redacted {
        Redacted { trace: Vec::new(), authkeys: String::new(), segments: 0, notes: Vec::new() }
    }
}

struct Redacting<'a> {
    keys: &'a Keys,
    random: &'a mut dyn FnMut() -> [u8; 20],
    out: Redacted,
    /// The node with the old and the new secrets, and what writes its steps.
    life: Option<(Node, Node, Steps)>,
}

impl Redacting<'_> {
    fn begin(&mut self, file: &str, segment: &Segment) {
        let before = self.life.take();
        if let Err(why) = self.try_begin(segment, before) {
            note(&mut self.out.notes, file, format!("left out: {why}"));
        }
    }

    fn try_begin(&mut self, segment: &Segment, before: Option<(Node, Node, Steps)>) -> Result<(), String> {
        let old = segment.restore(self.keys.source()).map_err(|error| error.to_string())?;
        if self.out.authkeys.is_empty() {
            // All that were given: a reload in the recording may have others than its beginning.
            let given = keyring(self.keys).ok_or("the keys cannot be read")?;
            self.out.authkeys = authkeys(&Entries::of(&given), self.random);
        }
        let new_keys = self.new_keys();
        let entries = Entries::of(old.config().keyring());
        let to = keyring(&new_keys).and_then(|to| to.restricted_to(&entries));
        let to = to.ok_or("its authkeys has other entries than those that are given")?;
        // Digests of a state include all packets it ever sent; so what goes on is taken from the node that sent them.
        let state = match before.filter(|(before, ..)| before.digest() == old.digest()) {
            Some((_, new, _)) => State::of(&new),
            None => segment.state.clone().resigned(old.config().keyring(), &to),
        };
        let segment = Segment { head: segment.head.clone(), state };
        let new = segment.restore(new_keys.source()).map_err(|error| error.to_string())?;
        begin(&mut self.out.trace, &segment.head, &segment.state).map_err(|error| error.to_string())?;
        self.out.segments += 1;
        let steps = Steps::after(&State::of(&new));
        self.life = Some((old, new, steps));
        Ok(())
    }

    fn new_keys(&self) -> Keys {
        Keys { name: "the new authkeys".to_owned(), text: self.out.authkeys.clone().into_bytes() }
    }

    fn step(&mut self, file: &str, step: Step<'_>) {
        let new_keys = self.new_keys();
        let Some((old, new, steps)) = &mut self.life else { return };
        let Step { now, input, made } = step;
        let (theirs, ours) = (input.clone().with_keys(self.keys.source()), input.with_keys(new_keys.source()));
        let (input, ours) = match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => (theirs, ours),
            (Err(error), _) | (_, Err(error)) => {
                self.life = None;
                note(&mut self.out.notes, file, format!("left out: what follows a reload: {error}"));
                return;
            }
        };
        let actions: Vec<Action> = old.handle(now, input).collect();
        if Made::of(&actions) != made {
            self.life = None;
            note(
                &mut self.out.notes,
                file,
                "left out: what follows a step of which something else comes now".to_owned(),
            );
            return;
        }
        let resigned;
        let input = match ours {
            Input::Frame { medium, bytes } => {
                resigned = old.config().keyring().resign(bytes, new.config().keyring());
                Input::Frame { medium, bytes: &resigned }
            }
            other => other,
        };
        // A packet becomes longer than a record may be only if it was before.
        if steps.begin(&mut self.out.trace, now, &input).is_ok() {
            for action in new.handle(now, input) {
                steps.action(&action);
            }
            let _written = steps.end(&mut self.out.trace);
        }
    }
}

fn keyring(keys: &Keys) -> Option<Keyring> {
    hb_core::config::authkeys::parse(keys.source()).0
}

/// The same entries with new secrets.
fn authkeys(entries: &Entries, random: &mut dyn FnMut() -> [u8; 20]) -> String {
    let mut text = format!("auth {}\n", entries.current);
    // Writing to a string cannot fail.
    for (index, method) in &entries.methods {
        let _infallible = write!(text, "{index} {method} ");
        if *method != Method::Crc {
            for byte in random() {
                let _infallible = write!(text, "{byte:02x}");
            }
        }
        text.push('\n');
    }
    text
}
