//! Operations on resources and on other machines: begun, and what came of them.

use super::Machine;
use crate::fencing::Wanted;
use crate::guard::Guard;
use crate::process::News;
use crate::{calls, clock, fencing};
use hb_core::config::{FenceDevice, Resource, VirtualIp};
use hb_core::ids::OpId;
use hb_core::{ArpKind, Failure, Input, Level, Outcome, ResourceRun, Transcript, Verb};
use std::time::Duration;

impl Machine {
    pub(super) fn run_resource(&mut self, op: OpId, run: ResourceRun) {
        // Before anything of it is up, so that it can be undone whatever becomes of us. Of what is stopped now something may
        // be up that an earlier life has started.
        let changes = matches!(run.verb, Verb::Start | Verb::Stop);
        let is_held = !changes || self.parts.guard.as_mut().is_none_or(|guard| guard.hold(&run));
        if run.verb == Verb::Start && !is_held {
            self.note_guard();
            let failure = Failure::Machine("the guard, which would undo it, does not answer".into());
            return self.inputs.push_back(Input::OpDone {
                op,
                outcome: Outcome::Failed(failure),
                said: Transcript::default(),
            });
        }
        match &run.resource {
            Resource::Address(address) => {
                let address = address.clone();
                self.parts.addresses.run(clock::now(), op, run, address);
            }
            Resource::Script(script) => {
                let script = calls::script_run(op, script, run.verb, run.limit);
                self.running.insert(op, run);
                self.parts.scripts.run(clock::now(), script);
            }
        }
    }

    /// Resets another machine, or asks whether that could be reset.
    pub(super) fn fence(&mut self, op: OpId, wanted: Wanted, node: &str, device: &FenceDevice, limit: Duration) {
        self.shots.insert(op, limit);
        self.parts.scripts.run(clock::now(), fencing::script_run(op, wanted, node, device, limit));
    }

    /// What is up after an operation, and what is not.
    pub(super) fn tell_guard(&mut self, run: &ResourceRun, outcome: &Outcome) {
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

    pub(super) fn fire_arp(&mut self, address: &VirtualIp, kind: ArpKind) {
        let Some(placed) = self.parts.addresses.placed(address.address) else { return };
        let Some(mac) = placed.mac else { return };
        if let Err(error) = self.parts.announcer.announce(placed, mac, kind) {
            self.line(Level::Warn, format!("{address} could not be announced on {}: {error}", placed.interface));
        }
    }

    pub(super) fn on_news(&mut self, news: News) {
        match news {
            News::Unnoted(why) => {
                let text =
                    "if this daemon and its guard are killed together, the next will not know what was under way";
                self.line(Level::Error, format!("{why}: {text}"));
            }
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
