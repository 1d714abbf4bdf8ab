//! What the plan does to machines and network, and what devices do.

use super::fencing::Shot;
use super::{Due, World};
use crate::check::Fact;
use crate::ground::Power;
use crate::host::Schedule;
use crate::plan::{EngineKind, Event, Rewritten, configure};
use crate::recording::What;
use hb_core::config::watchdog::reset_after;
use hb_core::config::{Resource, Text};
use hb_core::ids::ClientId;
use hb_core::{Command, Input, Level, Reload, Request};
use std::cmp::Reverse;

impl World {
    /// Lets something happen now.
    pub fn happen(&mut self, event: &Event) {
        let text = self.plan.event(event);
        self.note(|| What::Happened(text, concerned(event)));
        match event {
            Event::Start(host) => self.start(*host),
            Event::Crash(host) => self.crash(*host),
            Event::Kill(host) => self.kill(*host),
            Event::Stop(host) => self.order(*host, Input::Operator(Command::Stop)),
            Event::Restart(host) => self.restart(*host),
            Event::Reload(host) => self.reload(*host),
            Event::Lose(host, resource) => {
                if let Some(resource) = self.ground.resource(resource) {
                    self.set_running(*host, resource, None);
                }
            }
            Event::Device(host, device) => self.hosts[*host].plan.device = Some(*device),
            Event::Suspend(host) => self.stand(*host, Schedule::Suspended, false),
            Event::Stall(host) => self.stand(*host, Schedule::Still, false),
            Event::Freeze(host) => self.stand(*host, Schedule::Still, true),
            Event::Resume(host) => self.resume(*host),
            Event::StepClock(host, millis) => {
                self.hosts[*host].clock.step(*millis);
                let wall = self.hosts[*host].clock.wall(self.now);
                self.order(*host, Input::WallClock(wall));
            }
            Event::LoseWrites(host) => self.hosts[*host].disk.lies = true,
            Event::Fence(host) => self.pull(*host, Shot::Plan),
            Event::Cut(host, interface) => self.cable(*host, interface.as_deref(), Some((true, true))),
            Event::Deafen(host, interface) => self.cable(*host, interface.as_deref(), Some((true, false))),
            Event::Mute(host, interface) => self.cable(*host, interface.as_deref(), Some((false, true))),
            Event::Heal(host, interface) => self.cable(*host, interface.as_deref(), None),
            Event::Block(from, to, interface) => self.network.block(*from, *to, interface.as_deref(), true),
            Event::Open(from, to, interface) => self.network.block(*from, *to, interface.as_deref(), false),
            Event::Net(rule) => self.network.change(rule),
            Event::PingTarget(address, true) => drop(self.silent.remove(address)),
            Event::PingTarget(address, false) => drop(self.silent.insert(*address)),
            Event::Standby(host, which) => self.request(*host, Request::Standby(*which)),
            Event::Takeover(host, which) => self.request(*host, Request::Takeover(*which)),
            Event::Confirm(host, dead) => {
                let node = self.hosts[*dead].name.clone();
                if let Some(node) = self.hosts[*host].plan.config.node_named(&node) {
                    self.request(*host, Request::Confirm(node));
                }
            }
        }
        self.tell(&Fact::Happened(event));
    }

    /// What runs before anybody manages it.
    pub(crate) fn prepare(&mut self) {
        for (host, resource) in self.plan.running.clone() {
            self.set_power(host, Power::On);
            if let Some(resource) = self.ground.resource(&resource) {
                self.set_running(host, resource, Some(self.hosts[host].life));
            }
        }
    }

    // --- daemons

    pub(super) fn start(&mut self, host: usize) {
        if self.hosts[host].engine.is_some() || self.hosts[host].schedule == Schedule::Still {
            // As the original: somebody asked for a running heartbeat, and there is one. A machine that stands still
            // starts nothing.
            return;
        }
        if self.hosts[host].is_releasing {
            self.hosts[host].start_waits = true;
            return;
        }
        self.set_power(host, Power::On);
        // Before it speaks the daemon takes away the addresses that an earlier life of it left.
        let left: Vec<usize> = self.ground.address_resources().collect();
        for resource in left {
            self.set_running(host, resource, None);
        }
        if self.hosts[host].plan.kind == EngineKind::Ours {
            // And ends the scripts.
            self.cut_short(host);
        }
        if let Some(config) = self.hosts[host].reread.take() {
            self.plan.hosts[host].config = config.clone();
            self.hosts[host].plan.config = config;
        }
        self.hosts[host].start(self.now, self.seed);
        self.step(host, Input::Wake);
    }

    pub(super) fn crash(&mut self, host: usize) {
        self.hosts[host].lose_power(self.now);
        self.operations.retain(|(of, ..), _| *of != host);
        self.hosts[host].standing.clear();
        self.set_power(host, Power::Off);
        self.note_life(host, "down");
    }

    /// The process of the daemon is gone. Its scripts go on; addresses it changes itself, so what it began there ends with it.
    fn end(&mut self, host: usize) {
        self.hosts[host].end();
        self.operations.retain(|(of, ..), run| *of != host || matches!(run.resource, Resource::Script(_)));
        self.note_life(host, "down");
    }

    pub(super) fn kill(&mut self, host: usize) {
        if self.hosts[host].engine.is_none() {
            return;
        }
        self.end(host);
        let machine = &mut self.hosts[host];
        if machine.schedule != Schedule::Still {
            machine.schedule = Schedule::Runs;
        }
        self.wake_guard(host);
        self.count_down(host);
    }

    /// The daemon's process becomes a new one, which finds the files as they are then.
    fn restart(&mut self, host: usize) {
        if self.hosts[host].engine.is_none() || self.hosts[host].schedule != Schedule::Runs {
            return;
        }
        self.end(host);
        if self.hosts[host].plan.rewritten.is_empty() {
            return self.start(host);
        }
        let Some(config) = self.hosts[host].look_at_files().config else { return };
        self.hosts[host].reread = Some(config);
        self.start(host);
    }

    /// As the shell answers SIGHUP; as 3.0.6 does (CLUSTER b.7).
    fn reload(&mut self, host: usize) {
        if self.hosts[host].engine.is_none() || self.hosts[host].schedule != Schedule::Runs {
            return;
        }
        let before = self.hosts[host].plan.texts.clone();
        let Rewritten { texts, config } = self.hosts[host].look_at_files();
        let is_model = self.hosts[host].plan.kind == EngineKind::Model;
        let Some(config) = config else {
            for problem in configure(&self.hosts[host].name, &texts).err().into_iter().flatten() {
                self.said(host, Level::Error, problem.to_string());
            }
            if is_model && texts[0] == before[0] && texts[2] != before[2] {
                self.said(host, Level::Error, "Authentication reparsing error, exiting.".to_owned());
                return self.end(host);
            }
            let text = "Configuration error: nothing was changed, the old files stay in use.";
            return self.said(host, Level::Error, text.to_owned());
        };
        self.hosts[host].reread = Some(config.clone());
        if is_model && texts[0] != before[0] {
            self.end(host);
            return self.start(host);
        }
        self.hosts[host].plan.texts.clone_from(&texts);
        let [ha_cf, haresources, _] = texts;
        let text = |name: &str, text: String| Text { name: name.to_owned(), bytes: text.into_bytes() };
        let reload = Reload::new(config, text("ha.cf", ha_cf), Some(text("haresources", haresources)));
        self.order(host, Input::Reload(Box::new(reload)));
    }

    /// An order reaches the daemon if it runs; one that is not scheduled never hears of it.
    fn order(&mut self, host: usize, input: Input<'_>) {
        if self.hosts[host].schedule == Schedule::Runs {
            self.step(host, input);
        }
    }

    fn request(&mut self, host: usize, request: Request) {
        self.clients += 1;
        self.order(host, Input::Client { client: ClientId(self.clients), request });
    }

    // --- machines

    pub(super) fn set_power(&mut self, host: usize, power: Power) {
        let before = self.ground.history().len();
        self.ground.set_power(self.now, host, power);
        self.note(|| What::Machine(host, power));
        self.note_shares(before);
    }

    fn stand(&mut self, host: usize, schedule: Schedule, clocks_too: bool) {
        if matches!(self.hosts[host].schedule, Schedule::Suspended | Schedule::Still)
            || self.ground.power(host) == Power::Off
        {
            return;
        }
        self.hosts[host].schedule = schedule;
        self.hosts[host].pulse += 1;
        if clocks_too {
            self.hosts[host].clock.freeze(self.now);
        }
        if schedule == Schedule::Still {
            self.set_power(host, Power::Still);
        }
        self.note(|| What::Scheduled(host, false));
        self.tell(&Fact::Scheduled(host, false));
        if schedule == Schedule::Suspended {
            self.watch_suspended(host);
        }
        // A virtual watchdog stands still with its guest.
        if !clocks_too {
            self.count_down(host);
        }
    }

    fn resume(&mut self, host: usize) {
        if !matches!(self.hosts[host].schedule, Schedule::Suspended | Schedule::Still) {
            return;
        }
        self.hosts[host].clock.thaw(self.now);
        self.hosts[host].pulse += 1;
        if self.ground.power(host) == Power::Still {
            self.set_power(host, Power::On);
        }
        self.note(|| What::Scheduled(host, true));
        self.hosts[host].schedule = Schedule::Runs;
        self.tell(&Fact::Scheduled(host, true));
        for (life, op) in std::mem::take(&mut self.hosts[host].standing) {
            self.finish(host, life, op);
        }
        if self.hosts[host].is_releasing {
            // Its guard stood still as well, and goes on.
            self.wake_guard(host);
        }
        self.catch_up(host);
    }

    // --- devices

    /// A watchdog that nobody feeds from now on.
    fn count_down(&mut self, host: usize) {
        let machine = &self.hosts[host];
        if let Some(after) = machine.plan.watchdog {
            let (fed, pulse) = (self.now.plus(after), machine.pulse);
            // One that is slower than the files allow is not fed by that rule: the scenario wants it so.
            let bounded = machine.entrusted.as_ref().filter(|_| after <= reset_after(&machine.plan.config.timing()));
            let at = bounded.map_or(fed, |entrusted| fed.min(machine.clock.when(entrusted.reset)));
            self.queue.push(Reverse((at.max(self.now), Due::Watchdog { host, pulse })));
        }
    }

    pub(super) fn watchdog(&mut self, host: usize, pulse: u64) {
        if self.hosts[host].pulse == pulse && self.ground.power(host) != Power::Off {
            self.reset(host, "is reset by its watchdog");
        }
    }

    /// A machine goes down by its own doing, and stays so until somebody starts it.
    pub(super) fn reset(&mut self, host: usize, how: &str) {
        let text = format!("{} {how}", self.hosts[host].name);
        self.note(|| What::Device(host, text));
        self.crash(host);
        self.tell(&Fact::Happened(&Event::Crash(host)));
    }

    // --- the network

    /// Cuts (incoming, outgoing), or heals.
    fn cable(&mut self, host: usize, interface: Option<&str>, cut: Option<(bool, bool)>) {
        match cut {
            Some((incoming, outgoing)) => self.network.cut(host, interface, incoming, outgoing),
            None => self.network.heal(host, interface),
        }
        self.look_at_cables(host);
    }

    /// Clients reach a host through the cables that are whole; of one whose signal comes back its daemon is told.
    fn look_at_cables(&mut self, host: usize) {
        let before = self.ground.history().len();
        let interfaces: Vec<String> = self.ground.interfaces().map(str::to_owned).collect();
        let mut back = Vec::new();
        for interface in interfaces {
            let is_cut = self.network.is_cut(host, &interface);
            self.ground.set_cut(self.now, host, &interface, is_cut);
            if !self.network.has_signal(host, &interface) {
                self.hosts[host].dark.insert(interface);
            } else if self.hosts[host].dark.remove(&interface) {
                back.extend(self.ground.addresses_on(host, &interface));
            }
        }
        self.note_shares(before);
        for address in back {
            if self.gets_processor(host) {
                self.step(host, Input::NetworkBack { address });
            } else {
                self.hosts[host].waiting.networks.push_back(address);
            }
        }
    }

    /// Everything is mended: what is broken from here on is broken by the cluster itself.
    pub(super) fn calm(&mut self) {
        self.note(|| What::Happened("everything is mended".to_owned(), Vec::new()));
        self.is_calm = true;
        self.network.mend();
        self.silent.clear();
        for host in 0..self.hosts.len() {
            self.look_at_cables(host);
            self.hosts[host].disk.lies = false;
            self.resume(host);
            if self.hosts[host].schedule == Schedule::Late {
                self.catch_up(host);
            }
            self.start(host);
        }
        self.tell(&Fact::Calmed);
    }
}

/// The hosts that an event is about.
fn concerned(event: &Event) -> Vec<usize> {
    match event {
        Event::Start(host)
        | Event::Crash(host)
        | Event::Kill(host)
        | Event::Stop(host)
        | Event::Restart(host)
        | Event::Reload(host)
        | Event::Lose(host, _)
        | Event::Suspend(host)
        | Event::Stall(host)
        | Event::Freeze(host)
        | Event::Resume(host)
        | Event::StepClock(host, _)
        | Event::LoseWrites(host)
        | Event::Fence(host)
        | Event::Device(host, _)
        | Event::Cut(host, _)
        | Event::Deafen(host, _)
        | Event::Mute(host, _)
        | Event::Heal(host, _)
        | Event::Standby(host, _)
        | Event::Takeover(host, _) => vec![*host],
        Event::Confirm(host, dead) => vec![*host, *dead],
        Event::Block(from, to, _) | Event::Open(from, to, _) => vec![*from, *to],
        Event::PingTarget(..) => Vec::new(),
        Event::Net(rule) => rule.way.from.iter().chain(&rule.way.to).copied().collect(),
    }
}
