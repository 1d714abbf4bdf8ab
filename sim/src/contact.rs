//! Who heard whom: heartbeats that reached a running daemon, seen from outside.
//!
//! Two hosts are in contact while each hears the other's heartbeats without a silence as long as the other's dead time.
//! What a rule book can know of the other side ends with contact, and has to be right some time after it began.

use crate::label::Label;
use hb_core::ids::{Generation, Seq};
use hb_core::time::Instant;
use std::time::Duration;

/// For every ordered pair, when one heard the other.
#[derive(Clone, Debug)]
pub struct Contact {
    hosts: usize,
    ears: Vec<Ear>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ear {
    /// Since when without a silence; nothing was ever heard if none.
    since: Option<Instant>,
    last: Instant,
    newest: (Generation, Seq),
    /// Silences that ended.
    silences: u64,
}

impl Contact {
    pub(crate) fn new(hosts: usize) -> Contact {
        Contact { hosts, ears: vec![Ear::default(); hosts * hosts] }
    }

    /// A frame of `from` reached the daemon of `to`.
    pub(crate) fn hear(&mut self, now: Instant, to: usize, from: usize, label: Label, dead_time: Duration) {
        let ear = &mut self.ears[to * self.hosts + from];
        let number = (label.generation, label.seq.unwrap_or_default());
        // A late copy says nothing about now.
        if !label.is_status || number <= ear.newest {
            return;
        }
        ear.newest = number;
        if ear.since.is_none() || now.since(ear.last) >= dead_time {
            ear.since = Some(now);
            ear.silences += 1;
        }
        ear.last = now;
    }

    /// For how long `to` has not heard `from`; `None` if it never has in this life.
    pub fn silence(&self, now: Instant, to: usize, from: usize) -> Option<Duration> {
        let ear = &self.ears[to * self.hosts + from];
        ear.since.map(|_| now.since(ear.last))
    }

    /// For how long two hosts have been in contact, each with its own dead time.
    pub fn lasts(&self, now: Instant, one: (usize, Duration), other: (usize, Duration)) -> Duration {
        let hears = |to: usize, (from, dead_time): (usize, Duration)| {
            let ear = &self.ears[to * self.hosts + from];
            ear.since.filter(|_| now.since(ear.last) < dead_time)
        };
        match (hears(one.0, other), hears(other.0, one)) {
            (Some(first), Some(second)) => now.since(first.max(second)),
            _ => Duration::ZERO,
        }
    }

    /// How many silences of any pair have ended so far, first contacts included.
    pub fn silences(&self) -> u64 {
        self.ears.iter().map(|ear| ear.silences).sum()
    }
}
