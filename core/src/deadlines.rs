//! Every timer of a node: one enum, one table, one slot at the boundary.
//!
//! Invariants:
//! - a timer that fires has left the table; who wants it again sets it again,
//! - timers due together fire in the order of this enum, then of their ids (STYLE 3).

use crate::ids::{GroupId, MediumId, NodeId, ProgramId};
use crate::time::Instant;
use alloc::collections::BTreeMap;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Timer {
    /// The node's first step.
    Boot,
    /// Our next heartbeat.
    Keepalive,
    /// The end of the enlarged dead time after the start (WIRE 10.2).
    StartGrace,
    /// A node has been silent for its dead time.
    NodeDead(NodeId),
    /// A link has been silent for the dead time of its node.
    LinkDead(NodeId, MediumId),
    /// A ping node has not answered for its dead time.
    PingDead(MediumId),
    /// Whoever may join without being named had its time to be heard.
    Autojoin,
    /// Ask for the node list again.
    NodeList,
    /// Tell several nodes at once that we are here and what we hold.
    Greet,
    /// Say `starting` again to who has not answered.
    Starting,
    /// Ask a node for what is missing.
    Rexmit(NodeId),
    /// A phase of the standby conversation took too long.
    Standby,
    /// Our own `hb_takeover` was not answered.
    Takeover,
    /// Ping nodes demand it, and have for a while: give groups up.
    GiveUp,
    /// A rule of ownership may want something by time alone.
    Ownership,
    /// Claims that did not come are asked for.
    Claims,
    /// It is our turn to reset a node, or a death is old enough.
    Fence,
    /// Ask the fencing device whether it works.
    Inspection,
    /// Try a failed stop again.
    StopRetry(GroupId),
    /// Ask a resource of a running group whether it still runs.
    Monitor(GroupId),
    /// The next round of announcements of addresses.
    Announce,
    /// Start a program again, or wait no longer for its end.
    Program(ProgramId),
    /// The end of the time in which others may tell a node that overslept what they hold.
    Doubt,
    /// The other node was to give up what both hold.
    Contested,
    /// All is released and said: end.
    Linger,
}

/// The table of deadlines.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Deadlines {
    at: BTreeMap<Timer, Instant>,
}

impl Deadlines {
    /// Sets a timer, replacing its former deadline.
    pub(crate) fn set(&mut self, timer: Timer, deadline: Instant) {
        self.at.insert(timer, deadline);
    }

    /// Sets a timer unless it is running.
    pub(crate) fn start(&mut self, timer: Timer, deadline: Instant) {
        self.at.entry(timer).or_insert(deadline);
    }

    /// When a timer fires, if it runs.
    pub(crate) fn at(&self, timer: Timer) -> Option<Instant> {
        self.at.get(&timer).copied()
    }

    /// Stops a timer; nothing if it does not run.
    pub(crate) fn clear(&mut self, timer: Timer) {
        self.at.remove(&timer);
    }

    /// Sets the timer to `deadline`, or stops it.
    pub(crate) fn set_or_clear(&mut self, timer: Timer, deadline: Option<Instant>) {
        match deadline {
            Some(deadline) => self.set(timer, deadline),
            None => self.clear(timer),
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.at.values().min().copied()
    }

    /// Takes one timer that is due at `now`: the earliest, ties by the order of [`Timer`].
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (timer, _) = self
            .at
            .iter()
            .filter(|(_, at)| **at <= now)
            .min_by_key(|(timer, at)| (**at, **timer))
            .map(|(t, a)| (*t, *a))?;
        self.at.remove(&timer);
        Some(timer)
    }

    /// How many timers run.
    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_timers_fire_by_time_then_by_order_and_only_once() {
        let at = Instant::from_nanos;
        let mut deadlines = Deadlines::default();
        deadlines.set(Timer::Linger, at(1));
        deadlines.set(Timer::NodeDead(NodeId(1)), at(2));
        deadlines.set(Timer::Keepalive, at(2));
        deadlines.set(Timer::Announce, at(9));
        deadlines.start(Timer::Announce, at(3));
        let fired: alloc::vec::Vec<_> = core::iter::from_fn(|| deadlines.take_due(at(5))).collect();
        assert_eq!(fired, [Timer::Linger, Timer::Keepalive, Timer::NodeDead(NodeId(1))]);
        assert_eq!((deadlines.next(), deadlines.len()), (Some(at(9)), 1));
    }
}
