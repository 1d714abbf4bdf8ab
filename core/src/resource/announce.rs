//! When to announce which address (CLUSTER d.7).
//!
//! *Legacy* rhythm: ten rounds 500 ms apart, in each a broadcast request and 250 ms later a broadcast reply. *Ours*: the
//! very first round sends both at once, since the first frame decides how long clients are misled.

use crate::action::{Action, ArpKind};
use crate::config::VirtualIp;
use crate::deadlines::Timer;
use crate::ids::GroupId;
use crate::node::Context;
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;

/// Half rounds: a request or a reply.
const HALF_ROUNDS: u8 = 20;
const HALF_ROUND: Duration = Duration::from_millis(250);

/// One address being announced.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Round {
    group: GroupId,
    address: VirtualIp,
    /// Half rounds that remain.
    left: u8,
    next: Instant,
}

/// All addresses being announced.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Announcements(Vec<Round>);

impl Announcements {
    /// How many addresses are being announced.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The address came up here, or was contested and stays: announces it at once and for some time.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>, group: GroupId, address: &VirtualIp) {
        for kind in [ArpKind::Request, ArpKind::Reply] {
            cx.act(Action::FireArp { address: address.clone(), kind });
        }
        self.0.retain(|round| round.address != *address);
        let next = cx.now.plus(HALF_ROUND);
        self.0.push(Round { group, address: address.clone(), left: HALF_ROUNDS.saturating_sub(2), next });
        self.rearm(cx);
    }

    /// A group is being stopped: its addresses are announced no more.
    pub(crate) fn end(&mut self, cx: &mut Context<'_>, group: GroupId) {
        if !self.0.is_empty() {
            self.0.retain(|round| round.group != group);
            self.rearm(cx);
        }
    }

    /// Sends what is due.
    pub(crate) fn on_due(&mut self, cx: &mut Context<'_>) {
        for round in &mut self.0 {
            if round.next <= cx.now {
                let kind = if round.left.is_multiple_of(2) { ArpKind::Request } else { ArpKind::Reply };
                cx.act(Action::FireArp { address: round.address.clone(), kind });
                round.left = round.left.saturating_sub(1);
                round.next = cx.now.plus(HALF_ROUND);
            }
        }
        self.0.retain(|round| round.left > 0);
        self.rearm(cx);
    }

    fn rearm(&self, cx: &mut Context<'_>) {
        cx.deadlines.set_or_clear(Timer::Announce, self.0.iter().map(|round| round.next).min());
    }
}
