//! What is left with the guard in case the daemon dies. Read OWNERSHIP 5 and WIRE 9.2 first.
//!
//! A daemon that was killed says nothing, and its peers would wait for its dead time. So with every heartbeat the node
//! leaves a `shutdone` with whoever outlives it. It needs a number of our sequence, and none may be spent on a message that
//! is hardly ever sent; so it has one that lies ahead of all that is sent before the next is left:
//!
//! ```text
//! sent: ... 95  96 | 97 ...            left with 96: number 136
//!              left    the receiver sees a gap of at most 40 numbers, takes `shutdone` at once (WIRE 9.2 (5)) and asks in
//!                      vain for what was never sent until we are dead to it; above 250 it would forget everything
//! ```
//!
//! Where a receiver has lost more than that it takes the message all the same.

use super::Node;
use super::traffic::on_media;
use crate::Frame;
use crate::action::Action;
use crate::auth::Framing;
use crate::config::watchdog::reset_after;
use crate::deadlines::Timer;
use crate::ids::{MediumId, Seq};
use crate::time::Instant;
use crate::wire::{Body, Message};
use alloc::sync::Arc;
use core::time::Duration;

/// So far ahead of the newest number lies that of the farewell ...
const AHEAD: u64 = 40;
/// ... and so often, counted in numbers, another is left, whether a heartbeat is due or not.
const ANEW_EVERY: u64 = 16;
/// The guard begins so much before the dead time is over, in parts of it ...
const SLACK_PART: u32 = 8;
/// ... but not more than this: what it does in process takes milliseconds, and scripts take what they take.
const SLACK_MAX: Duration = Duration::from_millis(500);

/// How long peers certainly take this node for alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// When the guard begins to release what the node holds, if it hears nothing.
    pub until: Instant,
    /// When a watchdog must have reset the machine, unless all was released.
    pub reset: Instant,
}

impl Node {
    /// How long the newest heartbeat lasts: the one place where that is computed.
    ///
    /// It is counted from when the heartbeat was sent, so from before any peer heard it. `None` before the first one.
    pub fn guarded_until(&self) -> Option<Guarded> {
        let timing = self.config.timing();
        let next = self.deadlines.at(Timer::Keepalive)?;
        let sent = self.now.min(next.minus(timing.keepalive()));
        let deadtime = timing.deadtime();
        if let Some(lost) = self.majority_lost_at() {
            // Absolute, from the newest heartbeat that a majority has heard (OWNERSHIP 5).
            return Some(Guarded { until: lost, reset: lost.plus(self.config.release_limit()) });
        }
        let slack = deadtime.checked_div(SLACK_PART).unwrap_or_default().min(SLACK_MAX);
        Some(Guarded { until: sent.plus(deadtime.saturating_sub(slack)), reset: sent.plus(reset_after(&timing)) })
    }

    /// After each message with a number: the farewell stays ahead.
    pub(super) fn keep_ahead(&mut self) {
        if self.sender.newest().0.checked_rem(ANEW_EVERY) == Some(0) {
            self.entrust();
        }
    }

    /// Leaves word with the guard. Where nothing is managed there is none.
    pub(super) fn entrust(&mut self) {
        if !self.config.manages_resources() {
            return;
        }
        let Some(Guarded { until, reset }) = self.guarded_until() else { return };
        // Until it is known what an earlier life left here nobody may say that nothing is left.
        let farewell = if self.executor.is_probing() { [].into() } else { self.farewell() };
        self.actions.0.push(Action::Entrust { until, reset, farewell });
    }

    #[expect(clippy::expect_used, reason = "of what a message may hold that cannot be sent, none is in ours")]
    fn farewell(&self) -> Arc<[(MediumId, Frame)]> {
        let seq = Seq(self.sender.newest().0.saturating_add(AHEAD));
        let message = Message { header: self.header((None, None), Some(seq)), body: Body::Shutdone };
        let sealed = self.config.keyring().seal(message.to_fields(), Framing::Datagram, self.config.sealing());
        let packet = sealed.expect("messages of our own are made of what every encoding carries");
        on_media(&self.config, &packet).collect()
    }
}
