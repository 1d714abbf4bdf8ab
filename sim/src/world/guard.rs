//! The guard of a host: what the production shell's does when its daemon is dead or stuck, in virtual time.
//!
//! `guard NODE TIME` gives a host of ours one. TIME after the daemon's death the addresses are gone; then the scripts are
//! stopped, one after another, and when all are down the farewell is sent that the node left. A daemon that is started
//! meanwhile waits. A machine that stands still takes its guard along, and a guard that was late itself leaves the word
//! to the daemon.

use super::perform::SCRIPT_OP;
use super::{Due, World};
use crate::check::Fact;
use crate::ground::Power;
use crate::host::Schedule;
use crate::plan::{EngineKind, Event, How};
use crate::recording::What;
use hb_core::ids::MediumId;
use hb_core::time::Instant;
use hb_core::{Frame, Urgency, Verb};
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

/// So long the farewell is repeated before another daemon may start: it would make a late one void.
const REPEATED: Duration = Duration::from_millis(250);

/// What a node left with its guard last.
#[derive(Clone, Debug)]
pub(crate) struct Entrusted {
    /// On the host's monotonic clock.
    pub(crate) until: Instant,
    /// When its watchdog fires at the latest, on the same clock: it is not fed beyond that (OWNERSHIP 5).
    pub(crate) reset: Instant,
    pub(crate) farewell: Arc<[(MediumId, Frame)]>,
}

impl World {
    /// How long after a daemon's death its guard has removed the addresses, if the host has one.
    fn guard_of(&self, host: usize) -> Option<Duration> {
        let machine = &self.hosts[host];
        machine.plan.guard.filter(|_| machine.plan.kind == EngineKind::Ours && machine.entrusted.is_some())
    }

    /// The daemon is dead.
    pub(super) fn wake_guard(&mut self, host: usize) {
        if let Some(after) = self.guard_of(host) {
            let pulse = self.hosts[host].pulse;
            self.hosts[host].is_releasing = true;
            self.queue.push(Reverse((self.now.plus(after), Due::Guard { host, pulse })));
        }
    }

    /// The daemon is not run from now on, and its guard is.
    pub(super) fn watch_suspended(&mut self, host: usize) {
        let machine = &self.hosts[host];
        if let (Some(_), Some(entrusted)) = (self.guard_of(host), &machine.entrusted) {
            let due = Due::Stuck { host, pulse: machine.pulse };
            self.queue.push(Reverse((machine.clock.when(entrusted.until).max(self.now), due)));
        }
    }

    /// What was left with the guard is over, and the daemon was suspended all the time.
    pub(super) fn stuck(&mut self, host: usize, pulse: u64) {
        if self.hosts[host].pulse == pulse && self.hosts[host].schedule == Schedule::Suspended {
            self.note(|| What::Device(host, "the guard kills the daemon, which is stuck".to_owned()));
            self.kill(host);
            self.tell(&Fact::Happened(&Event::Kill(host)));
        }
    }

    pub(super) fn guard(&mut self, host: usize, pulse: u64) {
        if self.hosts[host].pulse != pulse || self.ground.power(host) != Power::On {
            return;
        }
        let text = format!("the guard of {} takes away what its daemon left", self.hosts[host].name);
        self.note(|| What::Device(host, text));
        self.cut_short(host);
        let addresses: Vec<usize> = self.ground.address_resources().collect();
        let held = |resource: &usize| self.hosts[host].held.contains(resource);
        for resource in addresses.into_iter().filter(held).collect::<Vec<_>>() {
            self.set_running(host, resource, None);
        }
        let takes = self
            .to_stop(host)
            .map(|resource| match self.stop_quirk(host, resource) {
                Some(How::Takes(time)) => time,
                Some(How::Fails | How::Misreports) | None => SCRIPT_OP,
            })
            .sum();
        self.queue.push(Reverse((self.now.plus(takes), Due::Released { host, pulse })));
    }

    /// The scripts are stopped, but for those that cannot be.
    pub(super) fn released(&mut self, host: usize, pulse: u64) {
        if self.hosts[host].pulse != pulse || self.ground.power(host) != Power::On {
            return;
        }
        let mut is_clean = true;
        for resource in self.to_stop(host).collect::<Vec<_>>() {
            self.ground.call(host);
            if self.stop_quirk(host, resource) == Some(How::Fails) {
                is_clean = false;
            } else {
                self.set_running(host, resource, None);
                let word = self.ground.word(resource).to_owned();
                self.hosts[host].unseen.remove(&word);
            }
        }
        let entrusted = self.hosts[host].entrusted.take().filter(|_| is_clean);
        if let Some(Entrusted { farewell, .. }) = entrusted {
            // A watchdog is disarmed: what was counted down is void.
            self.hosts[host].pulse += 1;
            for (medium, frame) in farewell.iter() {
                self.send(host, *medium, frame, Urgency::Message);
            }
            let pulse = self.hosts[host].pulse;
            return self.queue.push(Reverse((self.now.plus(REPEATED), Due::Freed { host, pulse })));
        }
        self.let_start(host);
    }

    /// The farewell was said often enough.
    pub(super) fn freed(&mut self, host: usize, pulse: u64) {
        if self.hosts[host].pulse == pulse && self.ground.power(host) == Power::On {
            self.let_start(host);
        }
    }

    fn let_start(&mut self, host: usize) {
        self.hosts[host].is_releasing = false;
        if std::mem::take(&mut self.hosts[host].start_waits) {
            self.start(host);
        }
    }

    /// The scripts that the guard knows of, as far as they do something; what else runs is not its business.
    fn to_stop(&self, host: usize) -> impl Iterator<Item = usize> {
        self.hosts[host].held.iter().copied().filter(move |resource| self.ground.runs(host, *resource))
    }

    fn stop_quirk(&self, host: usize, resource: usize) -> Option<How> {
        self.quirk_of(host, self.ground.word(resource), Verb::Stop)
    }
}
