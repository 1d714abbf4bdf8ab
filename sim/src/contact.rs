//! Who heard whom: heartbeats that reached a running daemon, seen from outside.
//!
//! Two hosts are in contact while each hears the other's heartbeats and misses at most two in a row. What a rule book can
//! know of the other side ends with contact, and has to be right some time after it began. (A host may be buried only after
//! its dead time; a network that loses most of what is said is no contact, though, on which anything can be agreed.)

use crate::label::Label;
use crate::plan::Plan;
use hb_core::config::Config;
use hb_core::ids::{Generation, Seq};
use hb_core::time::Instant;
use std::time::Duration;

/// For every ordered pair, when one heard the other.
#[derive(Clone, Debug)]
pub struct Contact {
    /// By host: the least silence after which another may bury it, as the fastest of all clocks counts it.
    limits: Vec<Duration>,
    /// By host: the silence that ends contact.
    gaps: Vec<Duration>,
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
    pub(crate) fn new(plan: &Plan) -> Contact {
        let drift = plan.hosts.iter().map(|host| host.drift_ppm.unsigned_abs()).max().unwrap_or(0);
        let limit = |config: &Config| {
            let time = config.timing().deadtime();
            // A clock that is fast, and what rounding adds.
            time.saturating_sub(time / 1_000_000 * drift).saturating_sub(Duration::from_millis(1))
        };
        let gap = |config: &Config| (config.timing().keepalive() * 7 / 2).min(limit(config));
        let hosts = plan.hosts.len();
        Contact {
            limits: plan.configs().map(limit).collect(),
            gaps: plan.configs().map(gap).collect(),
            ears: vec![Ear::default(); hosts * hosts],
        }
    }

    /// The least silence after which others may bury a host.
    pub fn limit(&self, host: usize) -> Duration {
        self.limits[host]
    }

    fn ear(&self, to: usize, from: usize) -> &Ear {
        &self.ears[to * self.limits.len() + from]
    }

    /// A frame of `from` reached the daemon of `to`.
    pub(crate) fn hear(&mut self, now: Instant, to: usize, from: usize, label: Label) {
        let gap = self.gaps[from];
        let ear = &mut self.ears[to * self.limits.len() + from];
        let number = (label.generation, label.seq.unwrap_or_default());
        // A late copy says nothing about now.
        if !label.is_status || number <= ear.newest {
            return;
        }
        ear.newest = number;
        if ear.since.is_none() || now.since(ear.last) >= gap {
            ear.since = Some(now);
            ear.silences += 1;
        }
        ear.last = now;
    }

    /// For how long `to` has not heard `from`; `None` if it never has in this life.
    pub fn silence(&self, now: Instant, to: usize, from: usize) -> Option<Duration> {
        let ear = self.ear(to, from);
        ear.since.map(|_| now.since(ear.last))
    }

    /// For how long two hosts have been in contact: from when both heard each other to the last time that both did.
    pub fn lasts(&self, now: Instant, one: usize, other: usize) -> Duration {
        let hears = |to: usize, from: usize| {
            let ear = self.ear(to, from);
            ear.since.filter(|_| now.since(ear.last) < self.gaps[from])
        };
        // What came after the last heartbeat that both heard may be on its way for ever.
        let end = self.ear(one, other).last.min(self.ear(other, one).last);
        match (hears(one, other), hears(other, one)) {
            (Some(first), Some(second)) => end.since(first.max(second)),
            _ => Duration::ZERO,
        }
    }

    /// How many silences of any pair have ended so far, first contacts included.
    pub fn silences(&self) -> u64 {
        self.ears.iter().map(|ear| ear.silences).sum()
    }
}
