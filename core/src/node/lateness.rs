//! Our own lateness: a node that did not run for a while distrusts its own view before anybody else's (scenario F18).
//!
//! ```text
//! Awake --late by more than a keepalive--> Reading --Wake, silent for less than our dead time--> Awake
//!                                          Reading --Wake, silent for longer--> Doubting
//! Doubting --everybody has said what they hold; one is heard and does not say; a dead time has passed--> Awake
//! ```
//!
//! *Ours* (the original declares its peers dead on waking up, and takes over what they took from it, CLUSTER b.6):
//! - *Reading*: what waits in the sockets is taken in, and nothing is decided by it: it is a story that goes on.
//! - nobody is dead by a silence that only we did not hear: every verdict gets a full dead time from now on.
//! - *Doubting*: the others had every right to declare us dead. What they hold is asked for anew; what they hold now, and
//!   we held, is given up at once, without a claim of ours that would make them give it up as well. Nothing is begun, said
//!   or announced until then.
//!
//! A pause that our clock does not count (a virtual machine whose guest clock stood still) cannot be noticed here.

use super::Node;
use crate::action::Cancellation;
use crate::deadlines::Timer;
use crate::event::Event;
use crate::ids::{MediumId, NodeId};
use crate::membership::{Lifecycle, Liveness};
use alloc::vec::Vec;
use core::time::Duration;

/// A node that is heard and runs in time says at once what it holds; one that has not after this time slept as well, or
/// its words are lost. Then somebody must speak first.
const DOUBT_ANSWER: Duration = Duration::from_millis(500);

/// How far a node trusts what it knew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Vigil {
    /// It runs in time.
    #[default]
    Awake,
    /// It was late by this much and takes in what came meanwhile.
    Reading(Duration),
    /// Others may have taken over meanwhile.
    Doubting,
}

impl Node {
    /// Looks, before an input is acted upon, whether it comes much later than we wanted to run.
    pub(super) fn notice_lateness(&mut self) {
        let Some(due) = self.deadlines.at(Timer::Keepalive) else { return };
        let (late, keepalive) = (self.now.since(due), self.config.timing().keepalive());
        if late > keepalive && !matches!(self.vigil, Vigil::Reading(_)) {
            let silent = late.saturating_add(keepalive);
            self.report(Event::WokeLate { late, overslept: self.is_too_long(silent) });
            self.vigil = Vigil::Reading(silent);
            self.trusted = *self.now;
        }
    }

    /// Whether others may have declared us dead after such a silence.
    fn is_too_long(&self, silent: Duration) -> bool {
        self.life == Lifecycle::Active && silent >= self.config.timing().deadtime()
    }

    /// What waited is read: time goes on from here.
    pub(super) fn end_reading(&mut self) {
        let Vigil::Reading(silent) = self.vigil else { return };
        let others: Vec<NodeId> = self.nodes.others().map(|(id, _)| id).collect();
        for node in &others {
            self.grant_a_dead_time(*node);
        }
        self.grant_pings_a_dead_time();
        if self.ledger.rules {
            // The native book trusts nobody that was not heard since, and releases before anything else.
            self.vigil = Vigil::Awake;
            return self.hold_anew(silent);
        }
        if !self.is_too_long(silent) {
            self.vigil = Vigil::Awake;
            return;
        }
        self.vigil = Vigil::Doubting;
        self.cancel(Cancellation::Overslept);
        for node in &others {
            self.forget_claim(*node);
        }
        let timing = self.config.timing().deadtime();
        let longest = self.nodes.others().filter_map(|(_, peer)| peer.dead_time).max().unwrap_or_default().max(timing);
        self.deadlines.set(Timer::Doubt, self.now.plus(longest));
        self.deadlines.set(Timer::Starting, *self.now);
    }

    /// The node and its links are not dead before a full dead time from now has passed.
    fn grant_a_dead_time(&mut self, node: NodeId) {
        let Some(peer) = self.nodes.get(node).filter(|peer| peer.liveness != Liveness::Dead) else { return };
        let until = self.now.plus(peer.dead_time.unwrap_or(self.config.timing().deadtime()));
        let links = (0..).map(MediumId).take(self.config.media().len()).map(|medium| Timer::LinkDead(node, medium));
        for timer in links.chain([Timer::NodeDead(node)]) {
            if self.deadlines.at(timer).is_some_and(|at| at < until) {
                self.deadlines.set(timer, until);
            }
        }
    }

    /// Whether everybody who may have taken over has said what it holds. A node that was dead to us before we slept may be
    /// back: it has until the end of [`Timer::Doubt`].
    pub(super) fn knows_all_claims(&self) -> bool {
        self.nodes.others().all(|(_, peer)| match peer.liveness {
            Liveness::Active => peer.gone || peer.claim.is_some(),
            Liveness::Up => true,
            Liveness::Init | Liveness::Dead | Liveness::Ping => peer.gone,
        })
    }

    /// A heartbeat came that was sent after we woke: its sender must tell soon.
    pub(super) fn limit_doubt(&mut self) {
        let soon = self.now.plus(DOUBT_ANSWER);
        if self.vigil == Vigil::Doubting && self.deadlines.at(Timer::Doubt).is_some_and(|at| at > soon) {
            self.deadlines.set(Timer::Doubt, soon);
        }
    }

    pub(super) fn end_doubt(&mut self) {
        if self.vigil == Vigil::Doubting {
            self.vigil = Vigil::Awake;
            self.deadlines.clear(Timer::Doubt);
            self.book.said = None;
            // What is left to us others may have had, and clients with it.
            self.announce_again(self.book.hold);
        }
    }
}
