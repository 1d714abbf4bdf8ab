//! A scenario in real time: machines, daemons, events at their times, and what was seen meanwhile.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hb_core::Which;
use hb_shell::net::echo::Probe;
use hb_shell::testbed::ask;
use hb_sim::Plan;
use hb_sim::plan::{Event, Expect, Scope};
use serde_json::{Value, json};

use crate::files;
use crate::machines::{Asked, Machines};
use crate::seen::Seen;
use crate::watch::Groups;

/// A pair has settled long before this, or never does.
const SETTLE_LIMIT: Duration = Duration::from_mins(2);
/// How long a settled cluster is left alone before the scenario begins, as in the simulator.
const SETTLE_REST: Duration = Duration::from_secs(6);
/// How often conditions and requests are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// So long after it was said everything is in a log.
const LOG_DELAY: Duration = Duration::from_millis(300);
/// How often a client asks for an address.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// Whose client was answered what.
type Answers = (Sender<(usize, String)>, Receiver<(usize, String)>);

/// One performance.
struct Play<'p> {
    plan: &'p Plan,
    machines: Machines,
    /// How often each node's files were rewritten.
    rewritten: Vec<usize>,
    /// What clients were answered.
    answers: Answers,
    waiting: Vec<JoinHandle<()>>,
    /// Which machine was reset by its device, and when.
    fenced: Vec<(Instant, usize)>,
}

/// Plays a scenario to its end, in real time.
pub(crate) fn play(plan: &Plan) -> Result<Seen> {
    let machines = Machines::new(plan)?;
    let rewritten = vec![0; plan.hosts.len()];
    let mut stage = Play { plan, machines, rewritten, answers: channel(), waiting: Vec::new(), fenced: Vec::new() };
    let mut zero = Instant::now();
    let mut before = vec![(0, 0); plan.hosts.len()];
    for host in &plan.boot {
        stage.machines.start(*host)?;
    }
    if plan.settle {
        stage.settle()?;
        stage.pass(Instant::now() + SETTLE_REST)?;
        before = (0..plan.hosts.len()).map(|host| stage.said_and_called(host)).collect();
        zero = Instant::now();
    }
    let probes = stage.probes()?;
    for (at, event) in &plan.events {
        stage.pass(zero + *at)?;
        stage.happen(event).with_context(|| format!("at {} s: {event:?}", at.as_secs_f64()))?;
    }
    stage.pass(zero + plan.end)?;
    let gaps = probes.into_iter().map(|(key, probe)| {
        let answers = probe.stop();
        (key, answers.longest_gap_between(zero, answers.end))
    });
    let mut longest: BTreeMap<String, Duration> = BTreeMap::new();
    for (key, gap) in gaps {
        let known = longest.entry(key).or_default();
        *known = gap.max(*known);
    }
    stage.end(zero, &before, longest)
}

impl Play<'_> {
    // ---- time

    /// Until then; what devices and daemons ask for meanwhile is done.
    fn pass(&mut self, until: Instant) -> Result<()> {
        loop {
            for (host, asked) in self.machines.requested() {
                if asked == Asked::Device {
                    self.fenced.push((Instant::now(), host));
                }
                self.machines.reset(host, asked)?;
            }
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY.min(until - now));
        }
    }

    /// Until all nodes that were started are at rest and each group has an owner.
    fn settle(&mut self) -> Result<()> {
        let end = Instant::now() + SETTLE_LIMIT;
        while !self.plan.boot.iter().all(|host| self.is_settled(*host)) {
            ensure!(
                Instant::now() < end,
                "the cluster does not settle in {} s\n{}",
                SETTLE_LIMIT.as_secs(),
                self.logs()
            );
            self.pass(Instant::now() + LOOK_EVERY * 10)?;
        }
        Ok(())
    }

    fn is_settled(&self, host: usize) -> bool {
        let Ok(status) = self.status(host) else { return false };
        let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
        // The dead time is announced longer in a daemon's first seconds.
        let says_its_own = |node: &Value| {
            let host = self.plan.hosts.iter().find(|host| node["name"] == host.config.local_name());
            host.is_none_or(|host| node["deadtime_ms"] == json!(host.config.timing().deadtime().as_millis()))
        };
        let is_owned = |group: &Value| !group["owner"].is_null();
        status["stable"] == true && list("groups").iter().all(is_owned) && list("nodes").iter().all(says_its_own)
    }

    fn status(&self, host: usize) -> Result<Value> {
        ask(&self.machines.home(host).path.join("run"), &json!({"v": 1, "do": "status"}))
    }

    // ---- clients

    /// A client for each address of a group whose gap matters, beside the group's key.
    fn probes(&self) -> Result<Vec<(String, Probe)>> {
        let groups = Groups::of(self.plan);
        let mut probes = Vec::new();
        for expectation in self.plan.expectations.iter().filter(|one| one.scope.includes(Scope::Ours)) {
            let Expect::Gap(label, _) = &expectation.what else { continue };
            let key = self.plan.key(label);
            let resources = groups.groups.iter().filter(|(known, _)| known == key).flat_map(|(_, all)| all);
            for address in resources.filter_map(|resource| groups.resources[*resource].address) {
                probes.push((key.to_owned(), Probe::start(self.machines.outside(), address, PROBE_EVERY)?));
            }
        }
        Ok(probes)
    }

    /// A client of the node asks for something, and its answer is kept.
    fn request(&mut self, host: usize, request: Value) -> Result<()> {
        let (run, answers) = (self.machines.home(host).path.join("run"), self.answers.0.clone());
        let client = std::thread::Builder::new().name("client".to_owned()).spawn(move || {
            if let Ok(answer) = ask(&run, &request) {
                // Whoever plays does not end before its clients.
                let _: Result<(), _> = answers.send((host, answer["text"].as_str().unwrap_or_default().to_owned()));
            }
        })?;
        self.waiting.push(client);
        Ok(())
    }

    // ---- events

    fn happen(&mut self, event: &Event) -> Result<()> {
        let machines = &mut self.machines;
        match event {
            Event::Start(host) => machines.start(*host),
            Event::Crash(host) => machines.power_off(*host),
            Event::Kill(host) => machines.kill(*host),
            Event::Stop(host) => machines.stop(*host),
            Event::Reload(host) => self.reload(*host),
            Event::Lose(host, word) => {
                let groups = Groups::of(self.plan);
                let resource = groups.resources.iter().find(|resource| resource.word == *word);
                machines.lose(*host, word, resource.and_then(|resource| resource.address))
            }
            Event::Suspend(host) => machines.set_suspended(*host, true),
            Event::Resume(host) => machines.set_suspended(*host, false),
            Event::Device(host, device) => files::set_device(&machines.base(), self.plan.name(*host), *device),
            Event::Cut(host, interface) => machines.set_cut(*host, interface.as_deref(), true),
            Event::Heal(host, interface) => {
                machines.faults(interface.as_deref(), |faults| {
                    faults.set_deaf(*host, false);
                    faults.set_mute(*host, false);
                });
                machines.set_cut(*host, interface.as_deref(), false)
            }
            Event::Deafen(host, interface) => {
                machines.faults(interface.as_deref(), |faults| faults.set_deaf(*host, true));
                Ok(())
            }
            Event::Mute(host, interface) => {
                machines.faults(interface.as_deref(), |faults| faults.set_mute(*host, true));
                Ok(())
            }
            Event::Block(from, to, interface) => {
                machines.faults(interface.as_deref(), |faults| faults.set_blocked(*from, *to, true));
                Ok(())
            }
            Event::Open(from, to, interface) => {
                machines.faults(interface.as_deref(), |faults| faults.set_blocked(*from, *to, false));
                Ok(())
            }
            Event::Net(rule) => {
                machines.faults(rule.way.interface.as_deref(), |faults| faults.change(rule));
                Ok(())
            }
            Event::PingTarget(address, is_there) => machines.set_target(*address, *is_there),
            Event::Standby(host, which) => self.request(*host, json!({"v": 1, "do": "standby", "set": word(*which)})),
            Event::Takeover(host, which) => self.request(*host, json!({"v": 1, "do": "takeover", "set": word(*which)})),
            Event::Confirm(host, dead) => {
                self.request(*host, json!({"v": 1, "do": "confirm", "node": self.plan.name(*dead)}))
            }
            Event::Restart(_)
            | Event::Stall(_)
            | Event::Freeze(_)
            | Event::StepClock(..)
            | Event::LoseWrites(_)
            | Event::Fence(_) => anyhow::bail!("no row with this event is played"),
        }
    }

    fn reload(&mut self, host: usize) -> Result<()> {
        let new = &self.plan.hosts[host].rewritten;
        if let Some(files) = new.get(self.rewritten[host]).or(new.last()) {
            self.machines.home(host).write(&files.texts)?;
        }
        self.rewritten[host] += 1;
        self.request(host, json!({"v": 1, "do": "reload"}))
    }

    // ---- what is left

    /// How long a node's log is, and how often its scripts were called.
    fn said_and_called(&self, host: usize) -> (usize, usize) {
        let home = self.machines.home(host);
        (home.log().len(), home.script_calls())
    }

    fn end(self, zero: Instant, before: &[(usize, usize)], gaps: BTreeMap<String, Duration>) -> Result<Seen> {
        let hosts = 0..self.plan.hosts.len();
        let holding = |host: usize| {
            let status = self.status(host).ok()?;
            Some((status["holding"].as_str()?.to_owned(), status["stable"] == true))
        };
        let holdings: Vec<_> =
            hosts.clone().map(|host| holding(host).unwrap_or_else(|| ("nothing".to_owned(), false))).collect();
        let end = Instant::now();
        let [zero, end] = [zero, end].map(|at| self.machines.watch.time(at));
        let fenced = self.fenced.iter().map(|(at, host)| (self.machines.watch.time(*at), *host)).collect();
        let script_calls: Vec<usize> =
            hosts.clone().map(|host| self.said_and_called(host).1 - before[host].1).collect();
        // Logs are written beside the daemons' loops.
        std::thread::sleep(LOG_DELAY);
        let logs: Vec<String> = hosts.clone().map(|host| self.machines.home(host).log()).collect();
        let since_zero = logs.iter().zip(before).map(|(log, (length, _))| log.get(*length..).unwrap_or_default());
        let groups = Groups::of(self.plan);
        let calls = since_zero.zip(script_calls).map(|(log, scripts)| address_calls(&groups, log) + scripts).collect();
        let keepalive = self.plan.configs().map(|config| config.timing().keepalive()).max().unwrap_or_default();
        let Play { machines, answers, waiting, .. } = self;
        let (groups, changes) = machines.end()?;
        for client in waiting {
            client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
        }
        let answers = answers.1.try_iter().collect();
        Ok(Seen { groups, changes, zero, end, gaps, calls, logs, answers, holdings, fenced, keepalive })
    }

    fn logs(&self) -> String {
        let log = |host: usize| format!("--- {}\n{}", self.plan.name(host), self.machines.home(host).log());
        (0..self.plan.hosts.len()).map(log).collect()
    }
}

/// How often a log says that an address is put up or taken down.
fn address_calls(groups: &Groups, log: &str) -> usize {
    let addresses = || groups.resources.iter().filter(|resource| resource.address.is_some());
    let is_call = |line: &&str| {
        addresses().any(|address| {
            ["start", "stop"].iter().any(|verb| line.ends_with(&format!("Running {} {verb}", address.word)))
        })
    };
    log.lines().filter(is_call).count()
}

fn word(which: Which) -> &'static str {
    match which {
        Which::All => "all",
        Which::Local => "local",
        Which::Foreign => "foreign",
        Which::Failback => "failback",
    }
}
