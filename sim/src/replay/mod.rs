//! A recording lived through again: the same node, the same inputs, and whether the same comes of it.
//!
//! | file | what |
//! |---|---|
//! | `files.rs` | the recordings of a directory, or one |
//! | `calendar.rs` | when something was, on the wall clock |
//! | `why.rs` | what was decided about a group, and on what evidence |
//! | `picture.rs` | what a node knew, as lanes to be drawn |
//! | `redact.rs` | a recording signed anew, to be handed on |
//!
//! What cannot be read or lived through is a note and the rest goes on; a recording of which nothing can be lived
//! through is refused.

pub mod calendar;
mod files;
pub mod picture;
pub mod redact;
pub mod why;

pub use files::Trace;

use anyhow::{Context as _, Result};
use hb_core::config::SourceText;
use hb_core::time::Instant;
use hb_core::trace::{Dropped, Entry, Kind, Made, Reader, RestoreError, Segment, Step};
use hb_core::{Action, Input, Node};
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

/// The text of authkeys, which no recording holds.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The file's name for messages.
    pub name: String,
    /// Its content.
    pub text: Vec<u8>,
}

impl Keys {
    /// Reads authkeys.
    pub fn read(path: &Path) -> Result<Keys> {
        let name = path.display().to_string();
        let what = || format!("cannot read the keys in {name}: name the cluster's authkeys with --authkeys");
        let text = std::fs::read(path).with_context(what)?;
        Ok(Keys { name, text })
    }

    fn source(&self) -> SourceText<'_> {
        SourceText { name: &self.name, bytes: &self.text }
    }
}

/// What is seen while a recording is lived through.
#[derive(Debug)]
pub enum Moment<'a> {
    /// A segment begins with this node.
    Begin {
        /// Its number in the recording, from 1.
        number: usize,
        /// The segment.
        segment: &'a Segment,
        /// The node as it was then.
        node: &'a Node,
        /// It goes on where the last one ended.
        continues: bool,
    },
    /// A step was made again, with the same result.
    Step {
        /// When.
        now: Instant,
        /// What happened.
        input: &'a Input<'a>,
        /// What came of it.
        actions: &'a [Action],
        /// The node after it.
        node: &'a Node,
    },
}

/// The first step of which something else came.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The number of the segment, from 1.
    pub segment: usize,
    /// The number of the step in it, from 1; 0 for the state it begins with.
    pub step: usize,
    /// When.
    pub now: Instant,
    /// What happened.
    pub input: String,
    /// What was recorded.
    pub recorded: Made,
    /// What came now.
    pub came: Made,
    /// The actions that came now.
    pub actions: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { segment, step, input, recorded, came, actions, .. } = self;
        if *step == 0 {
            return write!(f, "segment {segment} begins with another state than the last one ended with");
        }
        writeln!(f, "segment {segment}, step {step}: {input}")?;
        writeln!(f, "  recorded: digest {:016x} of {}", recorded.digest, kinds(&recorded.kinds))?;
        write!(f, "  came now: digest {:016x} of {}", came.digest, kinds(&came.kinds))?;
        actions.iter().try_for_each(|action| write!(f, "\n    {action}"))
    }
}

fn kinds(kinds: &[Kind]) -> String {
    let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
    if words.is_empty() { "no actions".to_owned() } else { words.join(", ") }
}

/// Something about a recording that is worth telling; the same about several files is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The first file it is about.
    pub file: String,
    /// How many files more.
    pub more: usize,
    /// What.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Note { file, more, text } = self;
        match more {
            0 => write!(f, "{file}: {text}"),
            more => write!(f, "{file} (and {more} more): {text}"),
        }
    }
}

fn note(notes: &mut Vec<Note>, file: &str, text: String) {
    match notes.iter_mut().find(|note| note.text == text) {
        Some(note) => note.more += 1,
        None => notes.push(Note { file: file.to_owned(), more: 0, text }),
    }
}

/// How it went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Segments that were lived through.
    pub segments: usize,
    /// Steps of them.
    pub steps: u64,
    /// What could not be read or lived through, and what was not recorded.
    pub notes: Vec<Note>,
    /// The first difference; nothing after it was looked at.
    pub difference: Option<Difference>,
    /// The node after the last step.
    pub node: Option<Node>,
}

/// Nothing of the recording could be lived through, for these reasons.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(Note::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Refused(pub Vec<Note>);

/// Lives through `trace`, or through its segment `only`; `watch` sees everything and may end it.
pub fn replay(
    trace: &Trace,
    keys: &Keys,
    only: Option<usize>,
    watch: &mut dyn FnMut(Moment<'_>) -> ControlFlow<()>,
) -> Result<Outcome, Refused> {
    let mut run =
        Run { keys, only, watch, number: 0, step: 0, has_sent: false, node: None, outcome: Outcome::default() };
    for file in &trace.files {
        for entry in Reader::new(&file.bytes) {
            let flow = match entry {
                Ok(Entry::Segment(segment)) => run.begin(&file.name, &segment),
                Ok(Entry::Step(step)) => run.step(&file.name, step),
                Err(error) => {
                    note(&mut run.outcome.notes, &file.name, error.to_string());
                    ControlFlow::Continue(())
                }
            };
            if flow.is_break() {
                return run.finish();
            }
        }
    }
    run.finish()
}

struct Run<'a> {
    keys: &'a Keys,
    only: Option<usize>,
    watch: &'a mut dyn FnMut(Moment<'_>) -> ControlFlow<()>,
    number: usize,
    step: usize,
    /// A packet of the node itself was seen to be as recorded: the keys are right.
    has_sent: bool,
    /// `None` before the first segment, and while one is passed over.
    node: Option<Node>,
    outcome: Outcome,
}

impl Run<'_> {
    fn begin(&mut self, file: &str, segment: &Segment) -> ControlFlow<()> {
        self.number += 1;
        self.step = 0;
        if self.only.is_some_and(|only| only != self.number) {
            self.node = None;
            return ControlFlow::Continue(());
        }
        if let Some(Dropped { steps, why }) = &segment.head.dropped {
            note(&mut self.outcome.notes, file, format!("{steps} steps before it were not recorded: {why}"));
        }
        let node = match segment.restore(self.keys.source()) {
            Ok(node) => node,
            Err(error) => {
                let text = self.refusal(&error);
                note(&mut self.outcome.notes, file, text);
                self.node = None;
                return ControlFlow::Continue(());
            }
        };
        let before = self.node.as_ref().filter(|before| {
            let (then, now) = (before.status(), node.status());
            (then.now(), then.started()) == (now.now(), now.started())
        });
        let continues = before.is_some();
        if before.is_some_and(|before| before.digest() != node.digest()) {
            self.differ(segment.state.now(), String::new(), Made::default(), &[]);
            return ControlFlow::Break(());
        }
        (self.watch)(Moment::Begin { number: self.number, segment, node: &node, continues })?;
        self.outcome.segments += 1;
        self.has_sent = segment.state.is_signed();
        self.node = Some(node);
        ControlFlow::Continue(())
    }

    fn refusal(&self, error: &RestoreError) -> String {
        let place = &self.keys.name;
        match error {
            RestoreError::OtherEntries { .. } | RestoreError::OtherSecret(_) => format!("{error} ({place})"),
            RestoreError::Config(problems) => match problems.first().map(ToString::to_string) {
                // The other files are as they were, and were read then.
                Some(problem) if problem.starts_with(place) => format!("the keys cannot be read: {problem}"),
                _ => error.to_string(),
            },
            RestoreError::OtherShape => error.to_string(),
        }
    }

    fn step(&mut self, file: &str, step: Step<'_>) -> ControlFlow<()> {
        self.step += 1;
        let Step { now, input, made } = step;
        if self.node.is_none() {
            return ControlFlow::Continue(());
        }
        let input = match input.with_keys(self.keys.source()) {
            Ok(input) => input,
            Err(error) => {
                let text = format!("what follows a reload is passed over: {}", self.refusal(&error));
                note(&mut self.outcome.notes, file, text);
                self.node = None;
                return ControlFlow::Continue(());
            }
        };
        let Some(node) = &mut self.node else { return ControlFlow::Continue(()) };
        let actions: Vec<Action> = node.handle(now, input.clone()).collect();
        if Made::of(&actions) != made {
            if !self.has_sent && made.kinds.contains(&Kind::Send) {
                let why = "the first packet that the node sends is not the recorded one, so the secret of the key it signs \
                           with is another (or the build: compare the versions)";
                let text = format!("the keys in {} do not fit: {why}", self.keys.name);
                note(&mut self.outcome.notes, file, text);
                self.outcome.segments -= 1;
                self.node = None;
                return ControlFlow::Continue(());
            }
            self.differ(now, format!("{input:?}"), made, &actions);
            return ControlFlow::Break(());
        }
        self.has_sent |= made.kinds.contains(&Kind::Send);
        self.outcome.steps += 1;
        (self.watch)(Moment::Step { now, input: &input, actions: &actions, node })
    }

    fn differ(&mut self, now: Instant, input: String, recorded: Made, actions: &[Action]) {
        self.outcome.difference = Some(Difference {
            segment: self.number,
            step: self.step,
            now,
            input,
            recorded,
            came: Made::of(actions),
            actions: actions.iter().map(|action| format!("{action:?}")).collect(),
        });
    }

    fn finish(mut self) -> Result<Outcome, Refused> {
        self.outcome.node = self.node;
        if self.outcome.segments > 0 || self.outcome.difference.is_some() {
            return Ok(self.outcome);
        }
        let notes = &mut self.outcome.notes;
        if let Some(only) = self.only.filter(|only| *only > self.number || *only == 0) {
            note(notes, "the recording", format!("there is no segment {only}, there are {}", self.number));
        }
        Err(refused(self.outcome.notes))
    }
}

fn refused(mut notes: Vec<Note>) -> Refused {
    if notes.is_empty() {
        note(&mut notes, "the recording", "it is empty".to_owned());
    }
    Refused(notes)
}

#[cfg(test)]
mod tests;
