//! A plan as the text that [`Plan::parse`] reads: what a search hands on, and how events are called in a timeline.

use super::net::{Change, Delay, Loss, NetRule, Ppm};
use super::time::Span;
use super::{Device, DeviceDoes, EngineKind, Event, Expect, How, Place, Plan, Proof, Scope};
use std::fmt::{self, Display, Formatter, Write as _};

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.title.is_empty() {
            writeln!(f, "title {}", self.title)?;
        }
        self.print_files(f)?;
        for (label, key) in &self.groups {
            writeln!(f, "group {label} {key}")?;
        }
        self.print_machines(f)?;
        for (address, interface) in &self.ping_targets {
            writeln!(f, "ping-target {address} {interface}")?;
        }
        for (host, resource) in &self.running {
            writeln!(f, "running {} {resource}", self.name(*host))?;
        }
        for rule in &self.net {
            writeln!(f, "{}", self.net_rule(rule))?;
        }
        for quirk in &self.quirks {
            let (host, resource, verb) = (self.name(quirk.host), &quirk.resource, quirk.verb.word());
            match quirk.how {
                How::Takes(time) => writeln!(f, "slow {host} {resource} {verb} {}", Span(time))?,
                How::Fails => writeln!(f, "fail {host} {resource} {verb}")?,
                How::Misreports => writeln!(f, "misreport {host} {resource} {verb}")?,
            }
        }
        if !self.boot.is_empty() {
            let names: Vec<&str> = self.boot.iter().map(|host| self.name(*host)).collect();
            writeln!(f, "boot {}", names.join(" "))?;
        }
        if self.settle {
            writeln!(f, "settle")?;
        }
        if self.policy.hazards {
            writeln!(f, "hazards")?;
        }
        if !self.policy.overlap.is_zero() {
            writeln!(f, "overlap {}", Span(self.policy.overlap))?;
        }
        match self.policy.proof {
            Proof::None => {}
            Proof::Fenced => writeln!(f, "proof fenced")?,
            Proof::Released => writeln!(f, "proof released")?,
        }
        for (at, event) in &self.events {
            writeln!(f, "at {} {}", Span(*at), self.event(event))?;
        }
        if let Some(calm) = self.calm {
            writeln!(f, "calm {}", Span(calm))?;
        }
        for expectation in &self.expectations {
            let scope = match expectation.scope {
                Scope::All => "",
                Scope::Ours => "ours ",
                Scope::Model => "model ",
                Scope::Mixed => "mixed ",
            };
            writeln!(f, "{scope}{}", self.expect(&expectation.what))?;
        }
        writeln!(f, "end {}", Span(self.end))
    }
}

impl Plan {
    /// Each file once for all, and again for the nodes that have their own.
    fn print_files(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of_host = |host: &'_ super::HostPlan| (host.config.local_name().to_owned(), host.texts.clone());
        let mut files: Vec<(String, [String; 3])> = self.hosts.iter().map(of_host).collect();
        if let Some(refusal) = &self.refusal {
            files.clone_from(&refusal.texts);
        }
        let mut print = |heading: &str, text: &str| {
            writeln!(f, "{heading}:")?;
            text.lines().try_for_each(|line| writeln!(f, "  {line}"))
        };
        let Some((_, first)) = files.first() else { return Ok(()) };
        for (at, section) in super::script::SECTIONS.iter().enumerate() {
            print(section, &first[at])?;
            for (name, texts) in files.iter().filter(|(_, texts)| texts[at] != first[at]) {
                print(&format!("{section} {name}"), &texts[at])?;
            }
            for host in &self.hosts {
                let mut later: Vec<&String> = host.rewritten.iter().map(|new| &new.texts[at]).collect();
                while later.last().is_some_and(|last| later.len() > 1 && *last == later[later.len() - 2]) {
                    later.pop();
                }
                if later == [&host.texts[at]] {
                    continue;
                }
                for text in later {
                    print(&format!("write {} {section}", host.config.local_name()), text)?;
                }
            }
        }
        if let Some(refusal) = &self.refusal {
            for script in &refusal.no_scripts {
                writeln!(f, "no-script {script}")?;
            }
            writeln!(f, "refused {}", refusal.code)?;
        }
        Ok(())
    }

    fn print_machines(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for host in &self.hosts {
            let name = host.config.local_name();
            if host.kind == EngineKind::Model {
                writeln!(f, "play {name} model")?;
            }
            if host.drift_ppm != 0 {
                writeln!(f, "clock {name} drift {}", host.drift_ppm)?;
            }
            if host.wall_offset != 0 {
                writeln!(f, "clock {name} offset {}", host.wall_offset)?;
            }
            if !host.lag.is_zero() {
                writeln!(f, "lag {name} {}", Span(host.lag))?;
            }
            if let Some(guard) = host.guard {
                writeln!(f, "guard {name} {}", Span(guard))?;
            }
            if let Some(watchdog) = host.watchdog {
                writeln!(f, "watchdog {name} {}", Span(watchdog))?;
            }
            if let Some(device) = host.device {
                writeln!(f, "{}", device_line(name, device))?;
            }
        }
        Ok(())
    }

    /// An event as the language writes it behind its time.
    pub fn event(&self, event: &Event) -> String {
        let one = |verb: &str, host: usize| format!("{verb} {}", self.name(host));
        let over = |interface: &Option<String>| {
            interface.as_ref().map_or_else(String::new, |interface| format!(" {interface}"))
        };
        match event {
            Event::Start(host) => one("start", *host),
            Event::Crash(host) => one("crash", *host),
            Event::Kill(host) => one("kill", *host),
            Event::Stop(host) => one("stop", *host),
            Event::Suspend(host) => one("suspend", *host),
            Event::Stall(host) => one("stall", *host),
            Event::Freeze(host) => one("freeze", *host),
            Event::Resume(host) => one("resume", *host),
            Event::Restart(host) => one("restart", *host),
            Event::Reload(host) => one("reload", *host),
            Event::Lose(host, resource) => format!("lose {} {resource}", self.name(*host)),
            Event::Device(host, device) => device_line(self.name(*host), *device),
            Event::LoseWrites(host) => one("lose-writes", *host),
            Event::Fence(host) => one("fence", *host),
            Event::StepClock(host, millis) => format!("step-clock {} {millis}", self.name(*host)),
            Event::Cut(host, interface) => one("cut", *host) + &over(interface),
            Event::Deafen(host, interface) => one("deafen", *host) + &over(interface),
            Event::Mute(host, interface) => one("mute", *host) + &over(interface),
            Event::Heal(host, interface) => one("heal", *host) + &over(interface),
            Event::Block(from, to, interface) => {
                format!("block {}>{}{}", self.name(*from), self.name(*to), over(interface))
            }
            Event::Open(from, to, interface) => {
                format!("open {}>{}{}", self.name(*from), self.name(*to), over(interface))
            }
            Event::Net(rule) => self.net_rule(rule),
            Event::PingTarget(address, false) => format!("ping-dies {address}"),
            Event::PingTarget(address, true) => format!("ping-returns {address}"),
            Event::Standby(host, which) => format!("{} {}", one("standby", *host), which.word()),
            Event::Confirm(host, dead) => format!("{} {}", one("confirm", *host), self.name(*dead)),
            Event::Takeover(host, which) => format!("{} {}", one("takeover", *host), which.word()),
        }
    }

    fn net_rule(&self, rule: &NetRule) -> String {
        let mut text = String::from("net");
        let way = &rule.way;
        if way.from.is_some() || way.to.is_some() {
            let name = |host: Option<usize>| host.map_or("", |host| self.name(host));
            // Writing to a string cannot fail.
            let _ = write!(text, " {}>{}", name(way.from), name(way.to));
        }
        if let Some(interface) = &way.interface {
            text += " ";
            text += interface;
        }
        text + " " + &rule.change.to_string()
    }

    /// Placements as the language writes them.
    pub(crate) fn places(&self, places: &[Place]) -> String {
        let place = |place: &Place| {
            let whole = place.hosts.iter().map(|host| self.name(*host).to_owned());
            let part = place.parts.iter().map(|host| format!("~{}", self.name(*host)));
            let names: Vec<String> = whole.chain(part).collect();
            format!("{}@{}", place.label, if names.is_empty() { "-".to_owned() } else { names.join("+") })
        };
        places.iter().map(place).collect::<Vec<_>>().join(" ")
    }

    fn expect(&self, what: &Expect) -> String {
        match what {
            Expect::By(at, places) => format!("by {} {}", Span(*at), self.places(places)),
            Expect::Near(at, places) => format!("near {} {}", Span(*at), self.places(places)),
            Expect::Together(at, labels) => format!("together {} {}", Span(*at), labels.join(" ")),
            Expect::Gap(label, time) => format!("gap {label} {}", Span(*time)),
            Expect::Calls(host, number) => format!("calls {} {number}", self.name(*host)),
            Expect::Log(host, text) => format!("log {} {text}", self.name(*host)),
            Expect::NoLog(host, text) => format!("no-log {} {text}", self.name(*host)),
            Expect::Holds(host, what) => format!("holds {} {what}", self.name(*host)),
        }
    }
}

fn device_line(name: &str, device: Device) -> String {
    let does = match device.does {
        DeviceDoes::Works => "works",
        DeviceDoes::Lies => "lies",
        DeviceDoes::Fails => "fails",
        DeviceDoes::Hangs => "hangs",
    };
    format!("device {name} {does} {}", Span(device.takes))
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Change::Delay(delay) => write!(f, "delay {delay}"),
            Change::Loss(Loss::Independent(p)) => write!(f, "loss {p}"),
            Change::Loss(Loss::Bursts { begin, end, good, bad }) => write!(f, "loss bursts {begin} {end} {good} {bad}"),
            Change::Duplicate(p) => write!(f, "duplicate {p}"),
            Change::Reorder(p) => write!(f, "reorder {p}"),
            Change::Corrupt(p) => write!(f, "corrupt {p}"),
            Change::Noise(p) => write!(f, "noise {p}"),
            Change::Rate(None) => write!(f, "rate unlimited"),
            Change::Rate(Some(rate)) => {
                write!(f, "{} {}", if rate.per_byte == 10 { "baud" } else { "rate" }, rate.bits)
            }
            Change::Queue(packets) => write!(f, "queue {packets}"),
        }
    }
}

impl Display for Delay {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let decimal = |thousandths: u32| format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
        match self {
            Delay::Constant(time) => write!(f, "constant {}", Span(*time)),
            Delay::Uniform(least, most) => write!(f, "uniform {} {}", Span(*least), Span(*most)),
            Delay::Exponential(mean) => write!(f, "exponential {}", Span(*mean)),
            Delay::LogNormal(median, sigma) => write!(f, "lognormal {} {}", Span(*median), decimal(*sigma)),
            Delay::Pareto(least, exponent) => write!(f, "pareto {} {}", Span(*least), decimal(*exponent)),
            Delay::Recorded(times) => {
                f.write_str("recorded")?;
                times.iter().try_for_each(|time| write!(f, " {}", Span(*time)))
            }
        }
    }
}

impl Display for Ppm {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}
