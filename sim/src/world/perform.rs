//! What a node's actions do: frames go out, operations begin and end, addresses are announced.

use super::{Due, Travelling, World};
use crate::check::Fact;
use crate::engine::Effect;
use crate::ground::Share;
use crate::label::Label;
use crate::network::Fate;
use crate::plan::How;
use crate::recording::What;
use hb_core::config::Resource;
use hb_core::ids::{MediumId, OpId};
use hb_core::time::Instant;
use hb_core::{Action, Failure, Frame, Level, Outcome, ResourceRun, Verb};
use std::cmp::Reverse;
use std::hash::Hash as _;
use std::time::Duration;

/// Operations on addresses are system calls; scripts are processes.
const ADDRESS_OP: Duration = Duration::from_micros(300);
const SCRIPT_OP: Duration = Duration::from_millis(20);
const STATUS_OP: Duration = Duration::from_millis(5);

impl World {
    pub(super) fn perform(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Do(action) => self.act(host, action),
            Effect::Say(level, text) => self.said(host, level, text),
            Effect::Generation(generation) => self.hosts[host].write_generation(generation),
        }
    }

    fn act(&mut self, host: usize, action: Action) {
        match action {
            Action::Send { medium, frame } => self.send(host, medium, &frame),
            Action::ArmTimer { deadline } => {
                self.hosts[host].armed = deadline;
                self.rearm(host);
            }
            Action::RunResource { op, run } => self.begin_operation(host, op, run),
            Action::FireArp { address, .. } => {
                self.ground.announce(self.now, host, address.address);
                self.tell(&Fact::Announced(host, address.address));
            }
            Action::Reply { response, .. } => self.note(|| What::Answered(host, response.to_string())),
            Action::Report(event) => {
                self.tell(&Fact::Reported(host, &event));
                self.said(host, event.level(), event.to_string());
            }
            Action::Exit(_)
            // A program of the simulator's machines neither runs nor ends, and nobody connects.
            | Action::Door(_)
            | Action::Tell { .. }
            | Action::Allow { .. }
            | Action::Dismiss { .. }
            | Action::StartProgram { .. }
            | Action::StopProgram { .. } => {}
        }
    }

    fn said(&mut self, host: usize, level: Level, text: String) {
        text.hash(&mut self.hasher);
        self.note(|| What::Said(host, level, text));
    }

    fn send(&mut self, host: usize, medium: MediumId, frame: &Frame) {
        frame.hash(&mut self.hasher);
        let label = Label::of(frame);
        debug_assert!(label.is_some(), "what a node sends is a message, and the simulator can read it");
        self.tell(&Fact::Sent(host, medium, frame));
        let mut passages = std::mem::take(&mut self.passages);
        self.network.send(self.now, host, medium, frame.len(), &mut passages);
        self.transmissions += 1;
        for passage in passages.drain(..) {
            self.note_packet(host, medium, passage, frame);
            let Fate::Arrives { at, wrong } = passage.fate else { continue };
            self.last_frame += 1;
            let number = self.last_frame;
            let frame = wrong.map_or_else(|| frame.clone(), |luck| corrupted(frame, luck));
            let label = label.filter(|_| wrong.is_none());
            let (life, medium) = (self.hosts[host].life, passage.medium);
            let travelling = Travelling { from: host, life, medium, frame, label };
            self.travelling.insert(number, travelling);
            self.queue.push(Reverse((at, Due::Frame { host: passage.to, number })));
        }
        self.passages = passages;
    }

    // --- operations

    fn begin_operation(&mut self, host: usize, op: OpId, run: ResourceRun) {
        let usual = match (&run.resource, run.verb) {
            (Resource::Address(_), _) => ADDRESS_OP,
            (Resource::Script(_), Verb::Status) => STATUS_OP,
            (Resource::Script(_), _) => SCRIPT_OP,
        };
        let takes = match self.quirk(host, &run) {
            // Whoever began it ends it at its limit.
            Some(How::Takes(time)) => time.min(run.limit),
            Some(How::Fails | How::Misreports) | None => usual,
        };
        if run.verb != Verb::Status {
            self.ground.call(host);
        }
        let life = self.hosts[host].life;
        self.queue.push(Reverse((self.now.plus(takes), Due::Done { host, life, op })));
        self.operations.insert((host, life, op), run);
    }

    fn quirk(&self, host: usize, run: &ResourceRun) -> Option<How> {
        let quirks = self.plan.quirks.iter().filter(|_| !self.is_calm);
        let mut fitting = quirks
            .filter(|quirk| quirk.host == host && quirk.verb == run.verb && quirk.resource == run.resource.word());
        fitting.next().map(|quirk| quirk.how)
    }

    /// An operation ends: the truth changes, and the daemon that asked hears of it if it is still the same.
    pub(super) fn finish(&mut self, host: usize, life: u64, op: OpId) {
        let Some(run) = self.operations.remove(&(host, life, op)) else { return };
        if self.hosts[host].schedule == crate::host::Schedule::Still {
            // Its process stands still with the machine, and ends right after that goes on.
            self.operations.insert((host, life, op), run);
            self.hosts[host].standing.push((life, op));
            return;
        }
        let quirk = self.quirk(host, &run);
        let resource = self.ground.resource(run.resource.word()).unwrap_or_default();
        let outcome = match (run.verb, quirk) {
            (_, Some(How::Fails)) => Outcome::Failed(Failure::ExitCode(1)),
            (_, Some(How::Takes(time))) if time > run.limit => {
                Outcome::Failed(Failure::TimedOut(u32::try_from(run.limit.as_secs()).unwrap_or(u32::MAX)))
            }
            (Verb::Status, _) if self.ground.runs(host, resource) => Outcome::Running,
            (Verb::Status, _) => Outcome::NotRunning,
            (verb @ (Verb::Start | Verb::Stop), quirk) => {
                self.set_running(host, resource, (verb == Verb::Start).then_some(life));
                if quirk == Some(How::Misreports) { Outcome::Failed(Failure::ExitCode(1)) } else { Outcome::Done }
            }
        };
        if self.hosts[host].life == life && self.hosts[host].engine.is_some() {
            self.give_result(host, op, outcome);
        }
    }

    /// Changes the truth about a resource, and says so.
    pub(super) fn set_running(&mut self, host: usize, resource: usize, by: Option<u64>) {
        let (before, runs) = (self.ground.history().len(), by.is_some());
        if self.ground.set_running(self.now, host, resource, by) {
            let word = self.ground.word(resource).to_owned();
            self.note(|| What::Runs(host, word, runs));
            self.note_shares(before);
            self.tell(&Fact::Runs(host, resource, runs));
        }
    }

    /// Notes the changes of ownership from number `from` of the history on.
    pub(super) fn note_shares(&mut self, from: usize) {
        let changes: Vec<(Instant, usize, usize, Share)> = self.ground.history()[from..]
            .iter()
            .map(|change| (change.at, change.host, change.group, change.share))
            .collect();
        for (at, host, group, share) in changes {
            self.recording.add(at, What::Share(host, group, share));
        }
    }
}

/// A copy with one wrong byte.
fn corrupted(frame: &Frame, luck: u64) -> Frame {
    let mut bytes = frame.to_vec();
    let length = bytes.len().max(1) as u64;
    let at = usize::try_from(luck % length).unwrap_or(0);
    if let Some(byte) = bytes.get_mut(at) {
        // Never the byte it was.
        *byte ^= u8::try_from(luck / length % 255).unwrap_or(0) + 1;
    }
    bytes.into()
}
