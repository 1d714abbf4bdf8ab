//! A seed becomes a plan: a cluster, a storm of faults, a calm.
//!
//! Swarm testing (Groce et al. 2012): each plan uses only some kinds of faults, so that each combination of them gets
//! its share of runs in which nothing else covers it up.

use crate::check::liveness;
use crate::network::luck::Luck;
use crate::plan::net::{Change, Delay, Loss, NetRule, Ppm, Rate, Way};
use crate::plan::time::Span;
use crate::plan::{Device, DeviceDoes, Event, HostPlan, How, Plan, Policy, Proof, Quirk, Rewritten, configure};
use hb_core::config::watchdog;
use hb_core::{Verb, Which};
use std::fmt::Write as _;
use std::time::Duration;

/// A run is at least that long.
const LEAST: Duration = Duration::from_mins(10);
/// When the first fault may come: the cluster has had its chance to form.
const FIRST: Duration = Duration::from_secs(5);

/// The slowest line that is generated. On a serial line's 19200 baud the requests and answers after a partition leave no
/// room for heartbeats until retransmission knows what a line carries: scenario `slow-line`.
const SLOW: Rate = Rate { bits: 256_000, per_byte: 8 };

/// What a plan with a majority says of time: the release of a group takes at most [`RELEASE_MS`].
const QUORUM: &str = "quorum majority\nscript_limit start 2\nscript_limit stop 1\nscript_limit status 1\n\
                      script_limit monitor 1\n";
const RELEASE_MS: u64 = 9_500;

/// A kind of fault, and what undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Crash,
    Reboot,
    Kill,
    Stop,
    Suspend,
    Stall,
    Freeze,
    StepClock,
    Cut,
    CutService,
    Deafen,
    Mute,
    Block,
    Flap,
    Loss,
    Bursts,
    Delay,
    Duplicate,
    Reorder,
    Corrupt,
    Slow,
    Standby,
    Takeover,
    Duel,
    LeaveWhileMoving,
    Forgotten,
    Reload,
    ReloadWhileMoving,
}

const KINDS: [Kind; 28] = [
    Kind::Crash,
    Kind::Reboot,
    Kind::Kill,
    Kind::Stop,
    Kind::Suspend,
    Kind::Stall,
    Kind::Freeze,
    Kind::StepClock,
    Kind::Cut,
    Kind::CutService,
    Kind::Deafen,
    Kind::Mute,
    Kind::Block,
    Kind::Flap,
    Kind::Loss,
    Kind::Bursts,
    Kind::Delay,
    Kind::Duplicate,
    Kind::Reorder,
    Kind::Corrupt,
    Kind::Slow,
    Kind::Standby,
    Kind::Takeover,
    Kind::Duel,
    Kind::LeaveWhileMoving,
    Kind::Forgotten,
    Kind::Reload,
    Kind::ReloadWhileMoving,
];

/// Which clusters are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Promise {
    /// All kinds; most of them have two owners in a partition.
    #[default]
    Any,
    /// Those that promise at most one owner whatever happens: pairs with fencing devices, larger ones with a majority, and a
    /// guard and a watchdog on every machine.
    OneOwner,
}

/// The plan of a seed, for so many nodes.
///
/// # Panics
/// If it writes a configuration that the daemon would refuse: a fault of this file.
pub fn plan(seed: u64, nodes: usize, promise: Promise) -> Plan {
    let mut maker = Maker { luck: Luck::of(&(seed, "plan")), nodes, promise, quorum: false, fenced: false };
    let always = promise == Promise::OneOwner;
    maker.quorum = nodes > 2 && (always || maker.chance(50));
    maker.fenced = nodes == 2 && (always || maker.chance(25));
    let texts = [maker.ha_cf(), maker.haresources(), maker.authkeys()];
    let hosts = (1..=nodes).map(|number| {
        let config = configure(&format!("h{number}"), &texts)
            .unwrap_or_else(|problems| panic!("seed {seed} makes a bad configuration: {problems:?}"));
        maker.machine(HostPlan::new(texts.clone(), config))
    });
    let hosts: Vec<HostPlan> = hosts.collect();
    let mut plan = Plan {
        title: format!("seed {seed}"),
        hosts,
        boot: (0..nodes).collect(),
        // With a majority, or with devices that do what they say, nothing excuses two owners.
        policy: Policy {
            hazards: !maker.quorum && !maker.fenced,
            proof: if maker.fenced { Proof::Fenced } else { Proof::None },
            ..Policy::default()
        },
        ..Plan::default()
    };
    plan.net = maker.weather();
    plan.quirks = maker.quirks(&plan);
    maker.storm(&mut plan);
    rewrite(&mut plan);
    plan
}

/// What a daemon finds when it reads its files again, if it ever does: in turns another key and other ways to write, then
/// what it started with, then nonsense. Every node knows both keys all the time, so that what one of them does is no fault
/// of the cluster.
fn rewrite(plan: &mut Plan) {
    const TURNS: usize = 6;
    for (number, host) in plan.hosts.iter_mut().enumerate() {
        if !plan.events.iter().any(|(_, event)| *event == Event::Reload(number)) {
            continue;
        }
        let [ha_cf, haresources, authkeys] = host.texts.clone();
        let warntime = host.config.timing().deadtime().as_millis() / 3;
        let other = format!("{ha_cf}msgfmt netstring\nmax_rexmit_delay 100\nwarntime {warntime}ms\n");
        let edits = [
            [other, haresources.clone(), authkeys.replacen("auth 1", "auth 2", 1)],
            [ha_cf.clone(), haresources.clone(), authkeys.clone()],
            [format!("{ha_cf}keepalive never\n"), haresources, authkeys],
        ];
        let name = host.config.local_name().to_owned();
        let edits = edits.map(|texts| Rewritten { config: configure(&name, &texts).ok(), texts });
        host.rewritten = edits.into_iter().cycle().take(TURNS).collect();
    }
}

struct Maker {
    luck: Luck,
    nodes: usize,
    promise: Promise,
    /// Groups start with a majority only; the machines are such that this can be promised (OWNERSHIP 5).
    quorum: bool,
    /// Nothing is taken from a silent node before a device has reset it.
    fenced: bool,
}

impl Maker {
    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = usize::try_from(self.luck.below(from.len() as u64)).unwrap_or(0);
        from[at].clone()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.luck.below(100) < percent
    }

    fn host(&mut self) -> usize {
        usize::try_from(self.luck.below(self.nodes as u64)).unwrap_or(0)
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = least + self.luck.up_to(most.saturating_sub(least));
        // Whole milliseconds are easier to read, and fine enough.
        Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    // --- the cluster

    fn ha_cf(&mut self) -> String {
        let names: Vec<String> = (1..=self.nodes).map(|number| format!("h{number}")).collect();
        let keepalive: u64 = self.pick(&[250, 500, 1000, 1000, 2000]);
        let least = if self.quorum { RELEASE_MS / keepalive + 8 } else { 3 };
        let deadtime = keepalive * (least + self.luck.below(8));
        let initdead = deadtime * (1 + self.luck.below(3));
        let failback = self.pick(&["on", "off"]);
        let mut text = format!(
            "node {}\nkeepalive {keepalive}ms\ndeadtime {deadtime}ms\ninitdead {initdead}ms\nauto_failback {failback}\n\
             logfacility none\n",
            names.join(" ")
        );
        if self.quorum {
            text.push_str(QUORUM);
        } else if self.fenced {
            text.push_str("stonith_host * external/lab h1 h2\n");
        } else if self.nodes == 2 && self.chance(60) {
            // The book that a 3.0.6 would force on them.
            text.push_str("dialect classic\n");
        }
        let media = self.pick(&[1, 1, 2, 2, 3]);
        for number in 1..=media {
            match self.luck.below(4) {
                0 => {
                    for host in 1..=self.nodes {
                        // Writing to a string cannot fail.
                        let _ = writeln!(text, "ucast eth{number} 10.0.0.{host}");
                    }
                }
                1 => {
                    let _ = writeln!(text, "mcast eth{number} 225.0.0.{number} 694 1 0");
                }
                _ => {
                    let _ = writeln!(text, "bcast eth{number}");
                }
            }
        }
        text
    }

    fn haresources(&mut self) -> String {
        let mut text = String::new();
        for group in 0..=self.luck.below(3) {
            let home = self.host() + 1;
            let _ = write!(text, "h{home} 10.77.0.{}/24/eth0", 100 + group);
            for script in 0..self.luck.below(3) {
                let _ = write!(text, " S{group}{script}");
            }
            text.push('\n');
        }
        text
    }

    fn authkeys(&mut self) -> String {
        format!("auth 1\n1 {}\n2 md5 another\n", self.pick(&["crc", "crc", "md5 secret", "sha1 secret"]))
    }

    fn machine(&mut self, mut host: HostPlan) -> HostPlan {
        if self.chance(30) {
            host.drift_ppm = i32::try_from(self.luck.below(1001)).unwrap_or(0) - 500;
        }
        if self.chance(30) {
            host.wall_offset = i64::try_from(self.luck.below(200_000)).unwrap_or(0) - 100_000;
        }
        if self.chance(20) {
            host.lag = self.between(Duration::from_millis(1), host.config.timing().keepalive() / 4);
        }
        if self.quorum || self.chance(30) {
            host.guard = Some(Duration::from_millis(50));
        }
        if self.promise == Promise::OneOwner {
            host.watchdog = watchdog::timeout(&host.config.timing());
        } else if self.chance(15) {
            host.watchdog = Some(host.config.timing().deadtime() / 2);
        }
        if self.fenced {
            let takes = self.between(Duration::from_millis(200), Duration::from_secs(4));
            host.device = Some(Device { does: DeviceDoes::Works, takes });
        } else if self.chance(10) {
            let does = self.pick(&[DeviceDoes::Works, DeviceDoes::Lies, DeviceDoes::Fails, DeviceDoes::Hangs]);
            host.device = Some(Device { does, takes: self.between(Duration::from_secs(1), Duration::from_secs(10)) });
        }
        host
    }

    /// How the network is when it is well.
    fn weather(&mut self) -> Vec<NetRule> {
        const MS: Duration = Duration::from_millis(1);
        let delay = match self.luck.below(6) {
            0 => Delay::Constant(MS / 5),
            1 => Delay::Exponential(MS),
            2 => Delay::LogNormal(MS, 800),
            3 => Delay::Pareto(MS / 2, 1500),
            4 => Delay::Recorded(vec![MS / 10, MS / 5, MS / 5, MS, 20 * MS]),
            _ => Delay::USUAL,
        };
        let mut rules = vec![everywhere(Change::Delay(delay))];
        if self.chance(20) {
            rules.push(everywhere(Change::Loss(Loss::Independent(self.ppm(20_000)))));
        }
        if self.chance(10) {
            rules.push(NetRule {
                way: Way { interface: Some("eth1".into()), ..Way::default() },
                change: Change::Rate(Some(SLOW)),
            });
        }
        rules
    }

    fn ppm(&mut self, most: u64) -> Ppm {
        Ppm(u32::try_from(1 + self.luck.below(most)).unwrap_or(0))
    }

    fn quirks(&mut self, plan: &Plan) -> Vec<Quirk> {
        let resources: Vec<String> = plan.hosts[0]
            .config
            .groups()
            .iter()
            .flat_map(|group| group.resources.iter().map(|resource| resource.word().to_owned()))
            .collect();
        let count = if resources.is_empty() { 0 } else { self.pick(&[0, 0, 1, 2]) };
        let quirks = (0..count).map(|_| {
            let verb = self.pick(&[Verb::Start, Verb::Stop, Verb::Status]);
            let how = if self.quorum && verb != Verb::Start {
                // A stop that takes longer than it may is no release.
                How::Takes(self.between(Duration::from_millis(10), Duration::from_millis(900)))
            } else if self.chance(15) {
                How::Fails
            } else {
                How::Takes(self.between(Duration::from_millis(100), Duration::from_secs(12)))
            };
            Quirk { host: self.host(), resource: self.pick(&resources), verb, how }
        });
        quirks.collect()
    }

    // --- the storm

    fn storm(&mut self, plan: &mut Plan) {
        let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| self.chance(40)).collect();
        // A machine that stands still together with its guard is what a watchdog covers, and if that stands still as well
        // only fencing (OWNERSHIP 5).
        let has_watchdog = self.promise == Promise::OneOwner;
        let covered = |kind: &Kind| match kind {
            Kind::Stall => !self.quorum || has_watchdog,
            Kind::Freeze => !self.quorum,
            _ => true,
        };
        let kinds: Vec<Kind> = kinds.into_iter().filter(covered).collect();
        let kinds = if kinds.is_empty() { vec![Kind::Cut, Kind::Crash] } else { kinds };
        let bound = liveness::bound(plan) + Duration::from_secs(30);
        let storm = LEAST.saturating_sub(bound).max(Duration::from_mins(5));
        let faults = 5 + self.luck.below(20);
        for _ in 0..faults {
            let kind = self.pick(&kinds);
            let at = self.between(FIRST, storm);
            self.fault(plan, kind, at);
        }
        let last = plan.events.iter().map(|(at, _)| *at).max().unwrap_or_default();
        plan.events.sort_by_key(|(at, _)| *at);
        let calm = storm.max(last) + Duration::from_secs(1);
        plan.calm = Some(calm);
        plan.end = (calm + bound).max(LEAST);
    }

    /// How long a fault lasts: around the dead time, where it matters.
    fn lasts(&mut self, plan: &Plan) -> Duration {
        let dead_time = plan.hosts[0].config.timing().deadtime();
        match self.luck.below(9) {
            // Long enough for messages to leave the history, and for a gap that is too wide.
            8 => self.between(dead_time * 12, (dead_time * 80).min(Duration::from_mins(4)).max(dead_time * 12)),
            0 | 4 => self.between(Duration::from_millis(10), dead_time / 2),
            1 | 5 => self.between(dead_time * 9 / 10, dead_time * 11 / 10),
            2 | 6 => self.between(dead_time, dead_time * 3),
            _ => self.between(dead_time, dead_time * 12),
        }
    }

    fn fault(&mut self, plan: &mut Plan, kind: Kind, at: Duration) {
        let host = self.host();
        let other = (host + 1 + self.host().min(self.nodes.saturating_sub(2))) % self.nodes;
        let lasts = self.lasts(plan);
        let ends = at + lasts;
        let one = self.interface(plan, host);
        let mut add = |at: Duration, event: Event| plan.events.push((at, event));
        match kind {
            Kind::Crash => {
                add(at, Event::Crash(host));
                add(ends, Event::Start(host));
            }
            Kind::Reboot => self.reboot(plan, host, at, lasts.min(Duration::from_millis(300)) / 3),
            Kind::Kill => {
                add(at, Event::Kill(host));
                add(ends, Event::Start(host));
            }
            Kind::Stop => {
                add(at, Event::Stop(host));
                add(ends + Duration::from_secs(5), Event::Start(host));
            }
            Kind::Suspend => {
                add(at, Event::Suspend(host));
                add(ends, Event::Resume(host));
            }
            Kind::Stall => {
                add(at, Event::Stall(host));
                add(ends, Event::Resume(host));
            }
            Kind::Freeze => {
                add(at, Event::Freeze(host));
                add(ends, Event::Resume(host));
            }
            Kind::StepClock => {
                let millis = i64::try_from(self.luck.below(200_000)).unwrap_or(0) - 100_000;
                add(at, Event::StepClock(host, millis));
            }
            Kind::Cut | Kind::Deafen | Kind::Mute => {
                let event = match kind {
                    Kind::Cut => Event::Cut,
                    Kind::Deafen => Event::Deafen,
                    _ => Event::Mute,
                };
                add(at, event(host, one.clone()));
                add(ends, Event::Heal(host, one));
            }
            Kind::CutService => {
                add(at, Event::Cut(host, Some("eth0".into())));
                add(ends, Event::Heal(host, Some("eth0".into())));
            }
            Kind::Block => {
                add(at, Event::Block(host, other, one.clone()));
                add(ends, Event::Open(host, other, one));
            }
            Kind::Flap => {
                let (down, up) = (lasts / 4, lasts / 8);
                for flap in 0..4_u32 {
                    add(at + (down + up) * flap, Event::Cut(host, one.clone()));
                    add(at + (down + up) * flap + down, Event::Heal(host, one.clone()));
                }
            }
            Kind::Standby
            | Kind::Takeover
            | Kind::Duel
            | Kind::LeaveWhileMoving
            | Kind::Reload
            | Kind::ReloadWhileMoving => self.order(plan, kind, [host, other], at, ends),
            Kind::Forgotten => {
                // A gap that is asked for so long in vain that it leaves the history of 500 messages.
                let keepalive = plan.hosts[host].config.timing().keepalive();
                add(at, Event::Mute(other, None));
                add(at + keepalive * 5, Event::Heal(other, None));
                add(at + keepalive * 5, Event::Mute(host, None));
                add(at + (keepalive * 520).min(Duration::from_mins(5)), Event::Heal(host, None));
            }
            _ => {
                let (change, undo) = self.bad_weather(kind);
                let way = self.pick(&[
                    Way::default(),
                    Way { from: Some(host), to: Some(other), interface: None },
                    Way { interface: Some("eth1".into()), ..Way::default() },
                ]);
                if kind == Kind::Delay && self.chance(50) {
                    // Without reordering a late packet holds up all behind it.
                    let reorder = |ppm| Event::Net(NetRule { way: way.clone(), change: Change::Reorder(Ppm(ppm)) });
                    plan.events.push((at, reorder(500_000)));
                    plan.events.push((ends, reorder(0)));
                }
                plan.events.push((at, Event::Net(NetRule { way: way.clone(), change })));
                plan.events.push((ends, Event::Net(NetRule { way, change: undo })));
            }
        }
    }

    /// What an operator may order, at bad times too.
    fn order(&mut self, plan: &mut Plan, kind: Kind, [host, other]: [usize; 2], at: Duration, ends: Duration) {
        let mut add = |at: Duration, event: Event| plan.events.push((at, event));
        match kind {
            Kind::Standby | Kind::Takeover => {
                let which = self.pick(&[Which::All, Which::Local, Which::Foreign, Which::Failback]);
                add(at, if kind == Kind::Standby { Event::Standby(host, which) } else { Event::Takeover(host, which) });
            }
            Kind::Duel => {
                add(at, Event::Standby(host, Which::All));
                add(at + Duration::from_micros(100), Event::Standby(other, Which::All));
            }
            Kind::LeaveWhileMoving => {
                add(at, Event::Standby(host, Which::All));
                add(at + Duration::from_micros(400), Event::Stop(host));
                add(ends + Duration::from_secs(5), Event::Start(host));
            }
            Kind::Reload => add(at, Event::Reload(host)),
            Kind::ReloadWhileMoving => {
                add(at, Event::Standby(host, Which::All));
                for (after, who) in [(400, host), (1_000, other), (15_000, other), (30_000, host)] {
                    add(at + Duration::from_micros(after), Event::Reload(who));
                }
            }
            _ => {}
        }
    }

    /// A machine returns before anybody has missed it.
    fn reboot(&mut self, plan: &mut Plan, host: usize, at: Duration, lasts: Duration) {
        plan.events.extend([(at, Event::Crash(host)), (at + lasts, Event::Start(host))]);
        if self.chance(50) {
            // Packets of its former life are still under way, and what its new life says overtakes them.
            let late = self.between(Duration::from_millis(200), Duration::from_secs(2));
            let way = Way { from: Some(host), ..Way::default() };
            let net = |change| Event::Net(NetRule { way: way.clone(), change });
            let (begin, end) = (at.saturating_sub(late), at + lasts + late);
            plan.events.extend([
                (begin, net(Change::Reorder(Ppm(500_000)))),
                (begin, net(Change::Delay(Delay::Uniform(Duration::ZERO, late)))),
                (end, net(Change::Delay(Delay::USUAL))),
                (end, net(Change::Reorder(Ppm(0)))),
            ]);
        }
    }

    fn bad_weather(&mut self, kind: Kind) -> (Change, Change) {
        match kind {
            Kind::Loss => (Change::Loss(Loss::Independent(self.ppm(900_000))), Change::Loss(Loss::Independent(Ppm(0)))),
            Kind::Bursts => {
                let (begin, end) = (self.ppm(200_000), self.ppm(400_000));
                let loss = Loss::Bursts { begin, end, good: Ppm(0), bad: Ppm(950_000) };
                (Change::Loss(loss), Change::Loss(Loss::Independent(Ppm(0))))
            }
            Kind::Delay => {
                let most = self.between(Duration::from_millis(5), Duration::from_secs(3));
                (Change::Delay(Delay::Uniform(Duration::ZERO, most)), Change::Delay(Delay::USUAL))
            }
            Kind::Duplicate => (Change::Duplicate(self.ppm(1_000_000)), Change::Duplicate(Ppm(0))),
            Kind::Reorder => (Change::Reorder(self.ppm(1_000_000)), Change::Reorder(Ppm(0))),
            Kind::Corrupt => (Change::Corrupt(self.ppm(500_000)), Change::Corrupt(Ppm(0))),
            _ => (Change::Rate(Some(SLOW)), Change::Rate(None)),
        }
    }

    /// One of the host's interfaces, or all.
    fn interface(&mut self, plan: &Plan, host: usize) -> Option<String> {
        let media = plan.hosts[host].config.media();
        let at = usize::try_from(self.luck.below(media.len() as u64 + 1)).unwrap_or(0);
        media.get(at).map(|medium| medium.name.clone())
    }
}

fn everywhere(change: Change) -> NetRule {
    NetRule { way: Way::default(), change }
}

/// The name of a plan of this file, for people.
pub fn describe(plan: &Plan) -> String {
    let timing = plan.hosts[0].config.timing();
    format!(
        "{} nodes, keepalive {}, deadtime {}, {} events",
        plan.hosts.len(),
        Span(timing.keepalive()),
        Span(timing.deadtime()),
        plan.events.len()
    )
}
