//! Who is known to know of whom: echoes. Read OWNERSHIP 2 first.
//!
//! A node that hears another does not know that it is heard. Each heartbeat tells whom its sender hears and up to which
//! heartbeat; so everybody learns how much of its own voice has arrived where, over any link, also by way of a third node.
//!
//! - The *echo* of a peer is the newest heartbeat of ours, by the time we sent it, that the peer is known to know of. It
//!   starts with the contact, so that nobody is called deaf by the first word.
//! - A peer is *deaf* when a heartbeat of its own, received after the gap, shows an old echo. Its silence is not deafness:
//!   a standby that crashes must not take the service down on the owner (`ownership-timelines` 1).

use crate::ids::{Generation, NodeId, Seq};
use crate::mark::Of;
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;

/// Entries kept of what was sent and shown. Of entries that lie too close together the older stays: an echo may be taken
/// for older than it is, never for newer.
const KEPT: usize = 64;

/// A set of nodes; a configuration has at most 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct NodeSet(u128);

impl NodeSet {
    #[must_use]
    pub(crate) fn with(self, node: NodeId) -> NodeSet {
        NodeSet(self.0 | NodeSet::bit(node))
    }

    pub(crate) fn has(self, node: NodeId) -> bool {
        self.0 & NodeSet::bit(node) != 0
    }

    /// What is in this and not in `other`.
    #[must_use]
    pub(crate) fn minus(self, other: NodeSet) -> NodeSet {
        NodeSet(self.0 & !other.0)
    }

    #[must_use]
    pub(crate) fn union(self, other: NodeSet) -> NodeSet {
        NodeSet(self.0 | other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn bit(node: NodeId) -> u128 {
        1_u128.checked_shl(u32::from(node.0)).unwrap_or(0)
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> NodeSet {
        nodes.into_iter().fold(NodeSet::default(), NodeSet::with)
    }
}

/// What a peer's newest heartbeat said of whom it hears, in the places of our configuration.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Told {
    pub(crate) live: NodeSet,
    pub(crate) gone: NodeSet,
    pub(crate) dead: NodeSet,
    /// It hears our present life: only then its reassuring words count (OWNERSHIP 1).
    pub(crate) names_us: bool,
    /// Our newest heartbeat that it has heard.
    pub(crate) heard_of_us: Option<Instant>,
    /// Up to which heartbeat it has heard the others.
    pub(crate) heard_of_others: Vec<Of<(Generation, Seq)>>,
    /// The version of its claims.
    pub(crate) claims: Option<u64>,
    /// How many ping nodes it reaches.
    pub(crate) pings: Option<u32>,
    /// Its node lines are in the same order as ours.
    pub(crate) same_order: bool,
}

/// What passes between us and one peer.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Contact {
    /// Since when it is heard without a death between.
    pub(crate) since: Instant,
    /// What its newest heartbeat told; `None` from who speaks no native dialect.
    pub(crate) told: Option<Told>,
    /// When we sent the newest heartbeat that it is known to know of.
    pub(crate) echo: Option<Instant>,
    /// Its newest heartbeat showed too old an echo.
    pub(crate) is_deaf: bool,
    /// Since when it reaches so many ping nodes as it told last.
    pub(crate) reaches_since: Instant,
    /// For its heartbeats, by number, when we had sent the newest of ours that it had heard by then.
    shown: Vec<(Seq, Instant)>,
}

impl Contact {
    /// A contact that begins now: everything that was known of it before is void.
    pub(crate) fn begun(now: Instant) -> Contact {
        Contact { since: now, reaches_since: now, ..Contact::default() }
    }

    /// How far our voice has reached it, for all that is known; the contact counts, so that nobody is deaf at once.
    pub(crate) fn reach(&self) -> Instant {
        self.echo.unwrap_or(self.since).max(self.since)
    }

    /// Takes in what its heartbeat `seq` told; what it had heard by then is kept where third nodes may hear of it.
    pub(crate) fn take(&mut self, seq: Seq, told: Option<Told>, kept: Option<Duration>) {
        if let Some(sent) = told.as_ref().and_then(|told| told.heard_of_us) {
            self.echo = self.echo.max(Some(sent));
            let is_kept = |grain| self.shown.last().is_none_or(|(_, last)| sent.since(*last) >= grain);
            if kept.is_some_and(is_kept) {
                self.shown.push((seq, sent));
            }
            let surplus = self.shown.len().saturating_sub(KEPT);
            self.shown.drain(..surplus);
        }
        self.told = told;
    }

    /// When we had sent the newest heartbeat of ours that its heartbeat `seq` knew of.
    pub(crate) fn shown_by(&self, seq: Seq) -> Option<Instant> {
        self.shown.iter().rev().find(|(number, _)| *number <= seq).map(|(_, sent)| *sent)
    }

    /// Its heartbeats, with the newest of ours that each knew of.
    pub(crate) fn shown(&self) -> &[(Seq, Instant)] {
        &self.shown
    }

    /// It knows what a third node knew that it has heard. That is no deafness any more if that is recent.
    pub(crate) fn know_of(&mut self, sent: Instant, deaf_before: Instant) {
        self.echo = self.echo.max(Some(sent));
        if self.reach() > deaf_before {
            self.is_deaf = false;
        }
    }
}

/// When we sent which heartbeat, and which dead time it announced.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Sent(Vec<(Seq, Instant, Duration)>);

impl Sent {
    /// A heartbeat leaves.
    pub(crate) fn note(&mut self, seq: Seq, now: Instant, deadtime: Duration, grain: Duration) {
        let is_new = self.0.last().is_none_or(|(_, at, told)| now.since(*at) >= grain || *told != deadtime);
        if is_new {
            self.0.push((seq, now, deadtime));
            // Of what is older than any rule looks the newest is enough.
            let span = deadtime.saturating_mul(2);
            let old = self.0.iter().filter(|(_, at, _)| now.since(*at) > span).count();
            let surplus = old.saturating_sub(1).max(self.0.len().saturating_sub(KEPT));
            self.0.drain(..surplus);
        }
    }

    /// Which heartbeat was sent when.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Seq, Instant)> {
        self.0.iter().map(|(seq, at, _)| (*seq, *at))
    }

    /// When the newest heartbeat up to `seq` was sent.
    pub(crate) fn at(&self, seq: Seq) -> Option<Instant> {
        self.0.iter().rev().find(|(number, _, _)| *number <= seq).map(|(_, at, _)| *at)
    }

    /// The smallest dead time announced since `since` (OWNERSHIP 5): raising it counts only when it was heard.
    pub(crate) fn least_deadtime(&self, since: Instant, present: Duration) -> Duration {
        let last_before = self.0.iter().rev().find(|(_, at, _)| *at <= since);
        let after = self.0.iter().filter(|(_, at, _)| *at > since);
        after.chain(last_before).map(|(_, _, deadtime)| *deadtime).fold(present, Duration::min)
    }
}

/// Entries of one dead time are told apart down to this.
pub(crate) fn grain(deadtime: Duration) -> Duration {
    deadtime.checked_div(32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Instant {
        Instant::after_origin(Duration::from_millis(ms))
    }

    #[test]
    fn an_echo_is_never_taken_for_newer_than_it_is() {
        let mut sent = Sent::default();
        let grain = Duration::from_millis(100);
        for n in 0..1000_u64 {
            sent.note(Seq(n), ms(n * 10), Duration::from_secs(3), grain);
        }
        for n in 950..1000 {
            let at = sent.at(Seq(n)).unwrap();
            assert!(at <= ms(n * 10) && ms(n * 10).since(at) < grain, "{n}: {at:?}");
        }
        assert_eq!(sent.at(Seq(1)), None, "forgotten");
        assert!(sent.0.len() <= KEPT);
    }

    #[test]
    fn a_raised_dead_time_counts_only_when_it_was_heard() {
        let mut sent = Sent::default();
        let (low, high) = (Duration::from_secs(1), Duration::from_secs(2));
        sent.note(Seq(1), ms(0), low, Duration::ZERO);
        sent.note(Seq(2), ms(100), high, Duration::ZERO);
        assert_eq!(sent.least_deadtime(ms(0), high), low, "the newest echo is of the time before");
        assert_eq!(sent.least_deadtime(ms(99), high), low);
        assert_eq!(sent.least_deadtime(ms(100), high), high);
        sent.note(Seq(3), ms(200), low, Duration::ZERO);
        assert_eq!(sent.least_deadtime(ms(100), low), low, "lowering works at once");
    }

    #[test]
    fn a_third_node_carries_an_echo() {
        let mut third = Contact::begun(ms(0));
        let told = |heard| Some(Told { heard_of_us: Some(heard), ..Told::default() });
        third.take(Seq(10), told(ms(500)), Some(Duration::ZERO));
        third.take(Seq(12), told(ms(700)), Some(Duration::ZERO));
        assert_eq!(third.shown_by(Seq(9)), None);
        assert_eq!(third.shown_by(Seq(11)), Some(ms(500)));
        let mut peer = Contact { is_deaf: true, ..Contact::begun(ms(0)) };
        peer.know_of(ms(500), ms(600));
        assert_eq!((peer.reach(), peer.is_deaf), (ms(500), true));
        peer.know_of(ms(700), ms(600));
        assert_eq!((peer.reach(), peer.is_deaf), (ms(700), false));
    }

    #[test]
    fn sets_of_nodes() {
        let set: NodeSet = [NodeId(0), NodeId(99)].into_iter().collect();
        assert!(set.has(NodeId(99)) && !set.has(NodeId(1)));
        assert_eq!(set.minus(NodeSet::default().with(NodeId(0))), NodeSet::default().with(NodeId(99)));
        assert!(!set.has(NodeId(200)), "beyond any configuration");
    }
}
