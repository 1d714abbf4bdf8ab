//! Devices that reset machines: told to by the plan, or by a daemon that waits for what they say.

use super::{Due, World};
use crate::check::Fact;
use crate::ground::Power;
use crate::plan::{DeviceDoes, Event};
use crate::recording::What;
use hb_core::ids::OpId;
use hb_core::{Failure, Outcome};
use std::cmp::Reverse;
use std::time::Duration;

/// A program that ends at once takes this long.
const PROGRAM: Duration = Duration::from_millis(5);

/// Who told a device to reset a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shot {
    /// The plan.
    Plan,
    /// A daemon, in one of its lives; the device's program runs on its machine.
    Daemon { by: usize, life: u64, op: OpId },
}

impl World {
    /// A daemon has a machine reset; without one of that name, or without a device of it, that fails at once.
    pub(super) fn shoot(&mut self, by: usize, op: OpId, target: Option<usize>, limit: Duration) {
        let shot = Shot::Daemon { by, life: self.hosts[by].life, op };
        self.shots.insert((by, op), limit);
        match target.filter(|target| self.hosts[*target].plan.device.is_some()) {
            Some(target) => self.pull(target, shot),
            None => self.end_soon(by, op, Failure::ExitCode(4)),
        }
    }

    /// A daemon asks the device of a machine whether it works: one that lies says so, too.
    pub(super) fn inspect(&mut self, by: usize, op: OpId, target: Option<usize>, limit: Duration) {
        let device = target.and_then(|target| self.hosts[target].plan.device);
        let (after, failure) = match device.map(|device| device.does) {
            Some(DeviceDoes::Works | DeviceDoes::Lies) => (PROGRAM, None),
            Some(DeviceDoes::Fails) => (PROGRAM, Some(Failure::ExitCode(5))),
            Some(DeviceDoes::Hangs) => {
                (limit, Some(Failure::TimedOut(u32::try_from(limit.as_secs()).unwrap_or(u32::MAX))))
            }
            None => (PROGRAM, Some(Failure::ExitCode(4))),
        };
        self.answer_soon(by, op, after, failure.map_or(Outcome::Done, Outcome::Failed));
    }

    /// The program of a device ends after that time, with that answer.
    fn answer_soon(&mut self, by: usize, op: OpId, after: Duration, answer: Outcome) {
        let life = self.hosts[by].life;
        self.answers.insert((by, life, op), answer);
        self.queue.push(Reverse((self.now.plus(after), Due::ShotEnds { by, life, op })));
    }

    /// The device of a machine is told to reset it.
    pub(super) fn pull(&mut self, host: usize, shot: Shot) {
        let Some(device) = self.hosts[host].plan.device else { return };
        let limit = match shot {
            Shot::Plan => None,
            Shot::Daemon { by, op, .. } => self.shots.get(&(by, op)).copied(),
        };
        let takes = if device.does == DeviceDoes::Hangs { None } else { Some(device.takes) };
        if let Some(after) = takes.into_iter().chain(limit).min() {
            self.queue.push(Reverse((self.now.plus(after), Due::Fenced { host, shot })));
        }
    }

    pub(super) fn fenced(&mut self, host: usize, shot: Shot) {
        let Some(device) = self.hosts[host].plan.device else { return };
        if shot == Shot::Plan && self.is_calm {
            // From then on the plan does nothing to anybody.
            return;
        }
        if let Shot::Daemon { by, life, op } = shot {
            let runs = self.hosts[by].life == life && self.ground.power(by) == Power::On;
            let Some(limit) = self.shots.get(&(by, op)).copied().filter(|_| runs) else { return };
            if device.does == DeviceDoes::Hangs || device.takes > limit {
                let seconds = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
                return self.end_shot(shot, &Outcome::Failed(Failure::TimedOut(seconds)));
            }
        }
        let says = device.does != DeviceDoes::Fails;
        let name = &self.hosts[host].name;
        let text = if says { format!("{name} now reset.") } else { format!("{name} not reset!") };
        self.note(|| What::Device(host, text));
        if device.does == DeviceDoes::Works {
            self.crash(host);
            self.tell(&Fact::Happened(&Event::Crash(host)));
        }
        self.tell(&Fact::Fenced(host, says));
        let outcome = if says { Outcome::Done } else { Outcome::Failed(Failure::ExitCode(5)) };
        self.end_shot(shot, &outcome);
    }

    pub(super) fn cease_fire(&mut self, by: usize, op: OpId) {
        let life = self.hosts[by].life;
        if let Some(answer) = self.answers.get_mut(&(by, life, op)) {
            // Nothing is being reset: its program ends.
            *answer = Outcome::Failed(Failure::Signal(15));
            return self.queue.push(Reverse((self.now.plus(PROGRAM), Due::ShotEnds { by, life, op })));
        }
        self.end_soon(by, op, Failure::Signal(15));
    }

    /// The program of a device ends without having done anything.
    fn end_soon(&mut self, by: usize, op: OpId, failure: Failure) {
        if self.shots.remove(&(by, op)).is_some() {
            self.answer_soon(by, op, PROGRAM, Outcome::Failed(failure));
        }
    }

    pub(super) fn shot_ends(&mut self, by: usize, life: u64, op: OpId) {
        let Some(answer) = self.answers.remove(&(by, life, op)) else { return };
        if self.hosts[by].life == life && self.hosts[by].engine.is_some() {
            self.give_result(by, op, answer);
        }
    }

    fn end_shot(&mut self, shot: Shot, outcome: &Outcome) {
        let Shot::Daemon { by, life, op } = shot else { return };
        if self.shots.remove(&(by, op)).is_some() && self.hosts[by].life == life && self.hosts[by].engine.is_some() {
            self.give_result(by, op, outcome.clone());
        }
    }
}
