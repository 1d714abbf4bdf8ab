//! What happened in a run, as data: timeline, pictures and captures are drawn from it.

use crate::ground::{Power, Share};
use crate::network::Lost;
use hb_core::ids::MediumId;
use hb_core::time::Instant;
use hb_core::{Frame, Level};

/// How much of a run is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Nothing: memory stays the same however long a run is.
    Quiet,
    /// Every line of the timeline and every change of ownership.
    Lines,
    /// Every packet as well.
    Packets,
}

/// A run as it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// The hosts' names.
    pub hosts: Vec<String>,
    /// The groups' labels, or keys where they have none.
    pub groups: Vec<String>,
    /// The scenario's zero.
    pub zero: Instant,
    /// The time of the last entry or the end of the run.
    pub end: Instant,
    /// What happened, in order.
    pub entries: Vec<Entry>,
    /// Every packet on every link, in the order of sending; empty unless wanted.
    pub packets: Vec<Packet>,
    /// Where pictures begin, if not at the first entry.
    pub begin: Option<Instant>,
    /// What reached a real node whose recording this is; who sent it, and what did not reach it, nobody knows.
    pub heard: Vec<Heard>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The plan let this happen, in its own words; it concerns these hosts.
    Happened(String, Vec<usize>),
    /// A machine's power became this.
    Machine(usize, Power),
    /// A daemon is scheduled, or not.
    Scheduled(usize, bool),
    /// A node's word for itself became this; `down` if there is no daemon.
    Life(usize, &'static str),
    /// A resource runs on a host, or has stopped there.
    Runs(usize, String, bool),
    /// A host's share of a group.
    Share(usize, usize, Share),
    /// A node's log line.
    Said(usize, Level, String),
    /// A client was answered.
    Answered(usize, String),
    /// A guard, watchdog or fencing device did something on a host.
    Device(usize, String),
    /// A checker was violated.
    Violated(String),
}

/// A packet on one link.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// Which transmission it belongs to: one packet on the wire reaches several hosts, or one twice.
    pub transmission: u64,
    /// When it was sent.
    pub at: Instant,
    /// By which host.
    pub from: usize,
    /// Over which of its media.
    pub medium: MediumId,
    /// To which host.
    pub to: usize,
    /// When it arrived, or why it did not.
    pub fate: Result<Instant, Lost>,
    /// What it carried, as it was sent.
    pub frame: Frame,
}

/// A packet that reached a real node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// The node.
    pub by: usize,
    /// It had no effect: not authentic, garbled, of an earlier life or of nobody known.
    pub is_refused: bool,
}

impl Recording {
    pub(crate) fn begin(&self) -> Instant {
        self.begin.unwrap_or_else(|| self.entries.first().map_or(self.zero, |entry| entry.at.min(self.zero)))
    }

    pub(crate) fn add(&mut self, at: Instant, what: What) {
        self.end = self.end.max(at);
        self.entries.push(Entry { at, what });
    }
}
