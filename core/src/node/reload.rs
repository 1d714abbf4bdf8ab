//! New files for a running node: what can be applied is, and everything is said.
//!
//! Nothing is decided anew by a reload itself; the rules go on with the new values, in the same step. What can be
//! applied, and why not the rest, is in [`Plan`](crate::config::plan).

use super::{Node, context};
use crate::action::Frame;
use crate::config::Plan;
use crate::digest::Constant;
use crate::event::Event;
use crate::ids::NodeId;
use crate::membership::Lifecycle;
use crate::reload::Reload;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Node {
    pub(super) fn on_reload(&mut self, reload: &Reload) {
        let Some(new) = reload.config() else { return self.report(Event::ReloadWithoutKeys) };
        let plan = Plan::between(&self.config, new);
        let (before, renewed) = (self.config.clone(), self.config.renewed(new));
        self.config = Constant::new(renewed);
        let other_times =
            before.timing() != self.config.timing() && !matches!(self.life, Lifecycle::Booting | Lifecycle::Ended);
        if other_times {
            // The guard knows of a shorter dead time before anybody hears of it, whoever reads the log included.
            self.entrust();
        }
        self.report(Event::Reloaded { applied: plan.applied().count(), waiting: plan.waiting().count() });
        for change in plan.changes {
            self.report(Event::Changed(change));
        }
        if before.keyring() != self.config.keyring() {
            self.sign_anew();
        }
        self.executor.renew(&mut context!(self));
        if other_times {
            self.count_anew();
        }
    }

    /// Whatever may be sent again, or read again, is signed with a key that is still known then.
    fn sign_anew(&mut self) {
        let config = self.config.clone();
        let sign = |frame: &mut Frame| {
            if let Some(signed) = config.keyring().rekey(frame) {
                *frame = Arc::from(signed);
            }
        };
        self.nodes.forget_copies();
        self.sender.history_mut().frames_mut().for_each(sign);
        self.clients.frames_mut().for_each(sign);
    }

    /// Every span that has begun has its new length; the others hear our dead time before they could miss a heartbeat.
    fn count_anew(&mut self) {
        self.on_keepalive();
        let others: Vec<NodeId> = self.nodes.others().map(|(id, _)| id).collect();
        for node in others {
            self.rearm_death(node);
        }
        self.grant_pings_a_dead_time();
    }
}
