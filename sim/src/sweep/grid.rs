//! One point of the grid: what is done to which pair, and the scenario text that says so.
//!
//! Every run of a sweep is a scenario that a person can write to a file and run alone (`hbsim run FILE --seed N`): the
//! sweep itself goes through the same text and the same parser.

use hb_core::digest::digest_of;
use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

/// The group that is watched: it lives on `h1`, to which things happen, and `h2` takes it over.
pub(crate) const GROUP: &str = "10.77.0.100/24/eth0";

/// What is done to `h1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// Nothing: every death is a mistake.
    Quiet,
    /// Power fails.
    Crash,
    /// All its cables to the other node are cut.
    Partition,
    /// Its daemon is told to stop.
    Stop,
    /// The machine stands still for a while.
    Pause,
}

impl Act {
    /// All of them.
    pub const ALL: [Act; 5] = [Act::Quiet, Act::Crash, Act::Partition, Act::Stop, Act::Pause];

    /// The word for it in plans and tables.
    pub const fn word(self) -> &'static str {
        match self {
            Act::Quiet => "quiet",
            Act::Crash => "crash",
            Act::Partition => "partition",
            Act::Stop => "stop",
            Act::Pause => "pause",
        }
    }
}

/// One point of the grid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// What is done.
    pub act: Act,
    /// Time between heartbeats.
    pub keepalive: Duration,
    /// Silence after which a node is dead.
    pub deadtime: Duration,
    /// How many networks join the two nodes.
    pub links: u32,
    /// Packets lost on each of them, in a million.
    pub loss: u32,
    /// How long packets are under way, as scenarios write it; empty for the usual.
    pub delay: String,
    /// How long a pause or partition lasts; a partition without it lasts to the end.
    pub lasts: Option<Duration>,
    /// How long the pair is watched, at least from the act on.
    pub watch: Duration,
    /// Whether there is a resource group at all.
    pub has_group: bool,
}

impl Cell {
    /// From when on mistakes count: nothing is left then of the longer dead times that starting nodes announce, and of
    /// the condition that the pair has just settled.
    pub fn warm_up(&self) -> Duration {
        self.deadtime + Duration::from_secs(2)
    }

    /// When the act begins: at a moment between two heartbeats that depends on nothing but the seed.
    pub fn act_at(&self, seed: u64) -> Duration {
        let parts = u128::from(digest_of(&("phase", seed)) % 1_000_000);
        let micros = self.keepalive.as_micros() * parts / 1_000_000;
        self.warm_up() + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The scenario of the run with this seed.
    pub fn scenario(&self, seed: u64) -> String {
        let mut text = format!("title {self}\nha.cf:\n  node h1 h2\n");
        // Clients come by eth0, which no heartbeat uses: a partition of the cluster is none of the clients.
        for link in 1..=self.links {
            let _ = writeln!(text, "  bcast eth{link}");
        }
        // Nodes that start under heavy loss need their time; what is measured begins when the pair has settled.
        let initdead = (self.deadtime * 2).max(Duration::from_secs(10));
        let (keepalive, deadtime) = (self.keepalive.as_millis(), self.deadtime.as_millis());
        let _ =
            writeln!(text, "  keepalive {keepalive}ms\n  deadtime {deadtime}ms\n  initdead {}ms", initdead.as_millis());
        let _ = writeln!(text, "  auto_failback on\n  logfacility none\nharesources:");
        if self.has_group {
            let _ = writeln!(text, "  h1 {GROUP} Tst::A");
        }
        text.push_str("authkeys:\n  auth 1\n  1 sha1 the-key-of-the-laboratory\nboot h1 h2\nsettle\nhazards\n");
        if self.loss > 0 {
            let _ = writeln!(text, "net loss 0.{:06}", self.loss);
        }
        if !self.delay.is_empty() {
            let _ = writeln!(text, "net delay {}", self.delay);
        }
        let micros = self.act_at(seed).as_micros();
        match self.act {
            Act::Quiet => {}
            Act::Crash => {
                let _ = writeln!(text, "at {micros}us crash h1");
            }
            Act::Partition => {
                let _ = writeln!(text, "at {micros}us cut h1");
                if let Some(lasts) = self.lasts {
                    let _ = writeln!(text, "at {}us heal h1", micros + lasts.as_micros());
                }
            }
            Act::Stop => {
                let _ = writeln!(text, "at {micros}us stop h1");
            }
            Act::Pause => {
                let until = micros + self.lasts.unwrap_or_default().as_micros();
                let _ = writeln!(text, "at {micros}us stall h1\nat {until}us resume h1");
            }
        }
        let _ = writeln!(text, "end {}ms", (self.warm_up() + self.keepalive + self.watch).as_millis());
        text
    }

    /// Whether everything but what is done is equal.
    pub fn same_pair(&self, other: &Cell) -> bool {
        let key = |cell: &Cell| (cell.keepalive, cell.deadtime, cell.links, cell.loss, cell.delay.clone());
        key(self) == key(other)
    }

    /// The probability that a heartbeat arrives over none of the links, if packets are lost independently.
    pub fn heartbeat_loss(&self) -> f64 {
        let one = f64::from(self.loss) / 1e6;
        (0..self.links).fold(1.0, |all, _| all * one)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, keepalive {}, deadtime {}, {}",
            self.deed(),
            Short(self.keepalive),
            Short(self.deadtime),
            self.network()
        )
    }
}

impl Cell {
    /// What is done, in words.
    pub(crate) fn deed(&self) -> String {
        let lasts = self.lasts.map(|lasts| format!(" {}", Short(lasts))).unwrap_or_default();
        format!("{}{lasts}", self.act.word())
    }

    /// The network in words.
    pub(crate) fn network(&self) -> String {
        let links = if self.links == 1 { "1 link".to_owned() } else { format!("{} links", self.links) };
        let delay = if self.delay.is_empty() { String::new() } else { format!(", delay {}", self.delay) };
        format!("{links}, loss {}{delay}", Percent(self.loss))
    }
}

/// A span in the unit that makes it short.
#[derive(Clone, Copy)]
pub(crate) struct Short(pub(crate) Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(1) && !self.0.is_zero() {
            write!(f, "{} ms", Thousandths(self.0.as_micros()))
        } else {
            write!(f, "{} s", Thousandths(self.0.as_millis()))
        }
    }
}

/// A number of thousandths, without idle zeros.
struct Thousandths(u128);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Parts per million as a percentage.
#[derive(Clone, Copy)]
pub(crate) struct Percent(pub(crate) u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 1e4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn cell(act: Act) -> Cell {
        Cell {
            act,
            keepalive: Duration::from_millis(250),
            deadtime: Duration::from_secs(1),
            links: 2,
            loss: 50_000,
            delay: String::new(),
            lasts: None,
            watch: Duration::from_secs(20),
            has_group: true,
        }
    }

    #[test]
    fn every_act_makes_a_scenario_that_can_be_read() {
        for act in Act::ALL {
            let lasts = (act == Act::Pause).then(|| Duration::from_secs(2));
            let text = Cell { lasts, ..cell(act) }.scenario(7);
            let plan =
                Plan::parse("cell", &text).unwrap_or_else(|problems| panic!("{}", crate::render_all(&problems, &text)));
            let events = match act {
                Act::Quiet => 0,
                Act::Pause => 2,
                _ => 1,
            };
            assert_eq!(plan.events.len(), events, "{text}");
        }
    }

    #[test]
    fn acts_fall_anywhere_between_two_heartbeats() {
        let cell = cell(Act::Crash);
        let eighths =
            |seed| cell.act_at(seed).saturating_sub(cell.warm_up()).as_micros() * 8 / cell.keepalive.as_micros();
        let hit: std::collections::BTreeSet<u128> = (0..100).map(eighths).collect();
        assert!(hit.into_iter().eq(0..8));
    }

    #[test]
    fn links_are_lost_together_only_by_chance() {
        assert!((cell(Act::Quiet).heartbeat_loss() - 0.0025).abs() < 1e-12);
    }
}
