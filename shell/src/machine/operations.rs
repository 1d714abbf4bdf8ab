//! Operations on resources and on other machines: begun, and what came of them.

use super::Machine;
use crate::guard::Guard;
use crate::net::vip::{self, VipError};
use crate::process::News;
use crate::{calls, clock, fencing};
use hb_core::config::{FenceDevice, Resource, VirtualIp};
use hb_core::ids::OpId;
use hb_core::{ArpKind, Failure, Input, Level, Outcome, ResourceRun, Transcript, Verb};
use std::time::Duration;

impl Machine {
    pub(super) fn run_resource(&mut self, op: OpId, run: ResourceRun) {
        // Before anything of it is up, so that it can be undone whatever becomes of us.
        if run.verb == Verb::Start && self.parts.guard.as_mut().is_some_and(|guard| !guard.hold(&run)) {
            self.note_guard();
            let failure = Failure::Machine("the guard, which would undo it, does not answer".into());
            return self.inputs.push_back(Input::OpDone {
                op,
                outcome: Outcome::Failed(failure),
                said: Transcript::default(),
            });
        }
        match &run.resource {
            // The node hears of each before the next is removed: of many groups that move each is missed for a moment only.
            Resource::Address(_) if run.verb == Verb::Stop => self.removals.push_back((op, run)),
            Resource::Address(address) => {
                let outcome = self.run_address(address, run.verb);
                self.end_address(op, &run, outcome);
            }
            Resource::Script(script) => {
                let script = calls::script_run(op, script, run.verb, run.limit);
                self.running.insert(op, run);
                self.parts.scripts.run(clock::now(), script);
            }
        }
    }

    /// Removes the next of the addresses that are to be removed; what came of it is an input.
    pub(super) fn remove_next_address(&mut self) {
        let Some((op, run)) = self.removals.pop_front() else { return };
        if let Resource::Address(address) = &run.resource {
            let outcome = self.run_address(address, run.verb);
            self.end_address(op, &run, outcome);
        }
    }

    fn end_address(&mut self, op: OpId, run: &ResourceRun, outcome: Result<Outcome, VipError>) {
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(Failure::Machine(error.to_string())));
        self.tell_guard(run, &outcome);
        self.inputs.push_back(Input::OpDone { op, outcome, said: Transcript::default() });
    }

    /// Resets another machine.
    pub(super) fn fence(&mut self, op: OpId, node: &str, device: &FenceDevice, limit: Duration) {
        self.shots.insert(op, limit);
        self.parts.scripts.run(clock::now(), fencing::script_run(op, node, device, limit));
    }

    /// What is up after an operation, and what is not.
    fn tell_guard(&mut self, run: &ResourceRun, outcome: &Outcome) {
        let Some(guard) = &mut self.parts.guard else { return };
        match (run.verb, outcome) {
            (Verb::Stop, Outcome::Done) => guard.gone(run.group, run.resource.word()),
            // Whoever started it: from here on it is ours.
            (Verb::Status, Outcome::Running) => {
                guard.hold(run);
            }
            _ => {}
        }
        self.note_guard();
    }

    pub(super) fn note_guard(&mut self) {
        if let Some((level, text)) = self.parts.guard.as_mut().and_then(Guard::news) {
            self.log.line(level, text);
        }
    }

    fn run_address(&mut self, address: &VirtualIp, verb: Verb) -> Result<Outcome, VipError> {
        let placed = match self.placed.get(&address.address) {
            // Where it was put it is taken away again, whatever the routes say meanwhile.
            Some(placed) if matches!(verb, Verb::Stop | Verb::Monitor) => placed.clone(),
            _ => vip::resolve(&mut self.parts.netlink, address)?,
        };
        match verb {
            Verb::Status | Verb::Monitor => {
                let running = vip::present(&mut self.parts.netlink, &placed)? != vip::Presence::Absent;
                return Ok(if running { Outcome::Running } else { Outcome::NotRunning });
            }
            Verb::Start => {
                vip::add(&mut self.parts.netlink, &placed)?;
                self.placed.insert(address.address, placed);
            }
            Verb::Stop => {
                vip::remove(&mut self.parts.netlink, &placed)?;
                self.placed.remove(&address.address);
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) fn fire_arp(&mut self, address: &VirtualIp, kind: ArpKind) {
        let Some(placed) = self.placed.get(&address.address) else { return };
        let Some(mac) = placed.mac else { return };
        if let Err(error) = self.parts.announcer.announce(placed, mac, kind) {
            self.line(Level::Warn, format!("{address} could not be announced on {}: {error}", placed.interface));
        }
    }

    pub(super) fn on_news(&mut self, news: News) {
        match news {
            News::Started(op, line) => {
                // Monitors run all the time; what matters of them is what they find.
                let is_monitor = self.running.get(&op).is_some_and(|run| run.verb == Verb::Monitor);
                let level = if is_monitor || self.shots.contains_key(&op) { Level::Debug } else { Level::Info };
                self.line(level, format!("Running {line}"));
            }
            News::Finished(finished) => {
                let (op, said) = (finished.op, calls::transcript_of(&finished));
                if let Some(limit) = self.shots.remove(&op) {
                    return self.inputs.push_back(Input::OpDone {
                        op,
                        outcome: fencing::outcome(&finished, limit),
                        said,
                    });
                }
                let Some(run) = self.running.remove(&op) else { return };
                let outcome = calls::outcome_of(&run, &finished);
                if let Some(guard) = &mut self.parts.guard {
                    guard.over(op);
                }
                self.tell_guard(&run, &outcome);
                self.inputs.push_back(Input::OpDone { op, outcome, said });
            }
        }
    }
}
