//! What a node's actions do: frames go out, operations begin and end, addresses are announced.

use super::guard::Entrusted;
use super::{Due, Line, Travelling, World};
use crate::check::Fact;
use crate::engine::Effect;
use crate::ground::Share;
use crate::label::Label;
use crate::network::luck::Luck;
use crate::network::{Fate, Wrong};
use crate::plan::How;
use crate::recording::What;
use hb_core::config::{MediumKind, Resource};
use hb_core::ids::{MediumId, OpId};
use hb_core::time::Instant;
use hb_core::wire::serial::Outbox;
use hb_core::{Action, Event, Failure, Frame, Level, Outcome, ResourceRun, Urgency, Verb};
use std::cmp::Reverse;
use std::hash::Hash as _;
use std::time::Duration;

/// Operations on addresses are system calls; scripts are processes.
const ADDRESS_OP: Duration = Duration::from_micros(300);
pub(super) const SCRIPT_OP: Duration = Duration::from_millis(20);
const STATUS_OP: Duration = Duration::from_millis(5);
/// To a ping node and back.
const ECHO: Duration = Duration::from_micros(400);

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
            Action::Send { medium, frame, urgency } => self.send(host, medium, &frame, urgency),
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
                if matches!(event, Event::Ran { .. }) {
                    // What came of it is in the ground.
                    event.to_string().hash(&mut self.hasher);
                } else {
                    self.said(host, event.level(), event.to_string());
                }
            }
            Action::Persist { file, text } => self.hosts[host].write_file(file, text),
            Action::Entrust { until, reset, farewell } => {
                self.hosts[host].entrusted = Some(Entrusted { until, reset, farewell });
            }
            Action::Fence { op, node, limit, .. } => {
                let target = self.hosts.iter().position(|other| other.name == node);
                self.shoot(host, op, target, limit);
            }
            Action::Inspect { op, node, limit, .. } => {
                let target = self.hosts.iter().position(|other| other.name == node);
                self.inspect(host, op, target, limit);
            }
            Action::CeaseFire { op } => self.cease_fire(host, op),
            // In order: there is nothing to guard any more.
            // After a reboot its machine goes down when the step is over.
            Action::Exit(_) | Action::Reboot => self.hosts[host].entrusted = None,
            // A program of the simulator's machines neither runs nor ends, and nobody connects.
            Action::Door(_)
            | Action::Tell { .. }
            | Action::Allow { .. }
            | Action::Dismiss { .. }
            | Action::StartProgram { .. }
            | Action::StopProgram { .. }
            | Action::Alarm { .. } => {}
        }
    }

    pub(super) fn said(&mut self, host: usize, level: Level, text: String) {
        text.hash(&mut self.hasher);
        self.note(|| What::Said(host, level, text));
    }

    pub(super) fn send(&mut self, host: usize, medium: MediumId, frame: &Frame, urgency: Urgency) {
        frame.hash(&mut self.hasher);
        if self.plan.hosts[host].config.media().get(medium.index()).is_some_and(|medium| medium.kind.is_ping()) {
            return self.ping(host, medium, frame);
        }
        let label = Label::of(frame);
        debug_assert!(label.is_some(), "what a node sends is a message, and the simulator can read it");
        self.tell(&Fact::Sent(host, medium, frame));
        let kind = self.plan.hosts[host].config.media().get(medium.index()).map(|medium| &medium.kind);
        if let Some(MediumKind::Serial { baud, .. }) = kind {
            let fresh = || Line { outbox: Outbox::new(*baud), is_busy: false };
            let line = self.lines.entry((host, medium)).or_insert_with(fresh);
            line.outbox.push(frame.clone(), urgency);
            if !line.is_busy {
                self.send_next(host, medium);
            }
            return;
        }
        self.transmit(host, medium, frame, label);
    }

    /// A serial line has sent what it had: the next message, unless the daemon is gone and with it what waited.
    pub(super) fn go_on_sending(&mut self, host: usize, medium: MediumId) {
        let is_running = self.hosts[host].engine.is_some();
        let Some(line) = self.lines.get_mut(&(host, medium)) else { return };
        line.is_busy = false;
        if !is_running {
            line.outbox.clear();
        }
        self.send_next(host, medium);
    }

    fn send_next(&mut self, host: usize, medium: MediumId) {
        let Some(line) = self.lines.get_mut(&(host, medium)) else { return };
        let Some(frame) = line.outbox.pop() else { return };
        line.is_busy = true;
        let takes = self.network.line_time(host, medium, frame.len()).unwrap_or_default();
        self.queue.push(Reverse((self.now.plus(takes), Due::Line { host, medium })));
        self.transmit(host, medium, &frame, Label::of(&frame));
    }

    fn transmit(&mut self, host: usize, medium: MediumId, frame: &Frame, label: Option<Label>) {
        let mut passages = std::mem::take(&mut self.passages);
        self.network.send(self.now, host, medium, frame.len(), &mut passages);
        self.transmissions += 1;
        for passage in passages.drain(..) {
            self.note_packet(host, medium, passage, frame);
            let Fate::Arrives { at, wrong } = passage.fate else { continue };
            self.last_frame += 1;
            let number = self.last_frame;
            let sent = frame;
            let frame = wrong.map_or_else(|| frame.clone(), |wrong| corrupted(frame, wrong));
            let label = label.filter(|_| *frame == **sent);
            let (life, medium) = (self.hosts[host].life, passage.medium);
            let travelling = Travelling { from: host, life, medium, frame, label };
            self.travelling.insert(number, travelling);
            self.queue.push(Reverse((at, Due::Frame { host: passage.to, number })));
        }
        self.passages = passages;
    }

    /// A ping node sends back what it was sent, if it lives and the cable to it is whole.
    fn ping(&mut self, host: usize, medium: MediumId, frame: &Frame) {
        self.tell(&Fact::Sent(host, medium, frame));
        let asked = self.plan.hosts[host].config.media()[medium.index()].kind.hosts();
        let answers = self.plan.ping_targets.iter().any(|(address, interface)| {
            let is_asked = asked.iter().any(|host| host.parse() == Ok(*address));
            is_asked && !self.silent.contains(address) && !self.network.is_cut(host, interface)
        });
        if answers {
            self.last_frame += 1;
            let (number, life) = (self.last_frame, self.hosts[host].life);
            // To anybody but its sender it is no message of a node.
            let travelling = Travelling { from: host, life, medium, frame: frame.clone(), label: None };
            self.travelling.insert(number, travelling);
            self.queue.push(Reverse((self.now.plus(ECHO), Due::Frame { host, number })));
        }
    }

    // --- operations

    fn begin_operation(&mut self, host: usize, op: OpId, run: ResourceRun) {
        let usual = match (&run.resource, run.verb) {
            (Resource::Address(_), _) => ADDRESS_OP,
            (Resource::Script(_), Verb::Status | Verb::Monitor) => STATUS_OP,
            (Resource::Script(_), _) => SCRIPT_OP,
        };
        let takes = match self.quirk(host, &run) {
            // Whoever began it ends it at its limit.
            Some(How::Takes(time)) => time.min(run.limit),
            Some(How::Fails | How::Misreports) | None => usual,
        };
        if !matches!(run.verb, Verb::Status | Verb::Monitor) {
            self.ground.call(host);
        }
        if let (Verb::Start | Verb::Stop, Some(resource)) = (run.verb, self.ground.resource(run.resource.word())) {
            self.hosts[host].held.insert(resource);
        }
        if is_noted(&run) {
            self.hosts[host].unseen.insert(run.resource.word().to_owned());
        }
        let life = self.hosts[host].life;
        self.queue.push(Reverse((self.now.plus(takes), Due::Done { host, life, op })));
        self.operations.insert((host, life, op), run);
    }

    fn quirk(&self, host: usize, run: &ResourceRun) -> Option<How> {
        self.quirk_of(host, run.resource.word(), run.verb)
    }

    pub(super) fn quirk_of(&self, host: usize, word: &str, verb: Verb) -> Option<How> {
        let quirks = self.plan.quirks.iter().filter(|_| !self.is_calm);
        let mut fitting = quirks.filter(|quirk| quirk.host == host && quirk.verb == verb && quirk.resource == word);
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
            (Verb::Status | Verb::Monitor, _) if self.confesses(host, resource) => Outcome::Running,
            (Verb::Status | Verb::Monitor, _) => Outcome::NotRunning,
            (verb @ (Verb::Start | Verb::Stop), quirk) => {
                self.set_running(host, resource, (verb == Verb::Start).then_some(life));
                if quirk == Some(How::Misreports) { Outcome::Failed(Failure::ExitCode(1)) } else { Outcome::Done }
            }
        };
        if self.hosts[host].life == life && self.hosts[host].engine.is_some() {
            match (run.verb, &outcome) {
                (Verb::Stop, Outcome::Done) => drop(self.hosts[host].held.remove(&resource)),
                (Verb::Status, Outcome::Running) => drop(self.hosts[host].held.insert(resource)),
                _ => {}
            }
            if is_noted(&run) && outcome == Outcome::Done {
                self.hosts[host].unseen.remove(run.resource.word());
            }
            self.give_result(host, op, outcome);
        }
    }

    /// Whether a resource runs and its status says so.
    fn confesses(&self, host: usize, resource: usize) -> bool {
        self.ground.runs(host, resource) && !self.hosts[host].half.contains(&resource)
    }

    /// All scripts of a host are killed. A start or stop that was under way has done its harm, and its status will deny that.
    pub(super) fn cut_short(&mut self, host: usize) {
        let ended = self.operations.extract_if(.., |(of, ..), _| *of == host);
        let ended: Vec<(u64, ResourceRun)> = ended.map(|((_, life, _), run)| (life, run)).collect();
        for (life, run) in ended.into_iter().filter(|(_, run)| is_noted(run)) {
            let resource = self.ground.resource(run.resource.word()).unwrap_or_default();
            self.set_running(host, resource, Some(life));
            self.hosts[host].half.insert(resource);
        }
    }

    /// Changes the truth about a resource, and says so.
    pub(super) fn set_running(&mut self, host: usize, resource: usize, by: Option<u64>) {
        self.hosts[host].half.remove(&resource);
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

/// Whether the run directory has a note of it until it was seen to succeed.
fn is_noted(run: &ResourceRun) -> bool {
    matches!((&run.resource, run.verb), (Resource::Script(_), Verb::Start | Verb::Stop))
}

/// A copy with something wrong.
fn corrupted(frame: &Frame, wrong: Wrong) -> Frame {
    let mut bytes = frame.to_vec();
    let luck = match wrong {
        Wrong::Byte(luck) => luck,
        Wrong::Bits(noise, luck) => {
            let mut luck = Luck::of(&luck);
            for byte in &mut bytes {
                if noise.hits(luck.next()) {
                    *byte ^= 1 << luck.below(8);
                }
            }
            return bytes.into();
        }
    };
    let length = bytes.len().max(1) as u64;
    let at = usize::try_from(luck % length).unwrap_or(0);
    if let Some(byte) = bytes.get_mut(at) {
        // Never the byte it was.
        *byte ^= u8::try_from(luck / length % 255).unwrap_or(0) + 1;
    }
    bytes.into()
}
