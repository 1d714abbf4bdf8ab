//! What each line of a scenario means, but for what happens `at` a time.

use super::{Parser, Word, nearest};
use crate::plan::net::{Change, Delay, Loss, NetRule, Ppm, Rate, Way, thousandths};
use crate::plan::{Device, DeviceDoes, EngineKind, Expect, Expectation, How, Place, Plan, Proof, Quirk, Scope};
use hb_core::Verb;
use hb_core::config::Code;
use std::time::Duration;

/// The words a line may begin with.
const WORDS: &[&str] = &[
    "title",
    "base",
    "ha.cf:",
    "haresources:",
    "authkeys:",
    "set",
    "set-on",
    "group",
    "running",
    "ping-target",
    "no-script",
    "refused",
    "write",
    "boot",
    "settle",
    "play",
    "slow",
    "fail",
    "misreport",
    "clock",
    "lag",
    "guard",
    "watchdog",
    "device",
    "net",
    "fate",
    "hazards",
    "overlap",
    "proof",
    "at",
    "calm",
    "by",
    "near",
    "together",
    "gap",
    "calls",
    "log",
    "no-log",
    "holds",
    "ours",
    "model",
    "mixed",
    "end",
];
const CHANGES: &[&str] = &["delay", "loss", "duplicate", "reorder", "corrupt", "noise", "rate", "baud", "queue"];

impl Parser<'_> {
    pub(super) fn line(&mut self, words: &[Word<'_>], text: &str, plan: &mut Plan) {
        let [first, rest @ ..] = words else { return };
        let before = self.problems.len();
        let scope = match first.text {
            "ours" => Scope::Ours,
            "model" => Scope::Model,
            "mixed" => Scope::Mixed,
            _ => Scope::All,
        };
        let (head, tail) = match (scope, rest) {
            (Scope::All, rest) => (*first, rest),
            (_, [head, tail @ ..]) => (*head, tail),
            (_, []) => (*first, rest),
        };
        let known = match self.expectation(head, tail, text) {
            Some(what) => {
                plan.expectations.push(Expectation { scope, what });
                true
            }
            None if scope == Scope::All => self.setting(*first, rest, text, plan),
            None => false,
        };
        // What has its own problem has been told; everything else has the wrong form, or is no word at all.
        if known || self.problems.len() > before {
            return;
        }
        if WORDS.contains(&head.text) {
            let message = format!("`{}` does not have this form", head.text);
            let help = "the head of plan/script.rs lists all forms";
            self.problem(Code::ScenarioIncomplete, head.span, message, help);
        } else {
            let help = nearest(head.text, WORDS)
                .map_or_else(|| format!("one of {}", WORDS.join(", ")), |near| format!("write `{near}`"));
            self.problem(Code::ScenarioWord, head.span, format!("unknown word `{}`", head.text), help);
        }
    }

    /// What must come of the run.
    fn expectation(&mut self, head: Word<'_>, rest: &[Word<'_>], text: &str) -> Option<Expect> {
        Some(match (head.text, rest) {
            ("by", [time, places @ ..]) if !places.is_empty() => Expect::By(self.time(*time)?, self.places(places)?),
            ("near", [time, places @ ..]) if !places.is_empty() => {
                Expect::Near(self.time(*time)?, self.places(places)?)
            }
            ("together", [time, labels @ ..]) if !labels.is_empty() => {
                let labels: Vec<_> = labels.iter().map(|label| self.label(*label)).collect();
                Expect::Together(self.time(*time)?, labels.into_iter().collect::<Option<_>>()?)
            }
            ("gap", [label, time]) => Expect::Gap(self.label(*label)?, self.time(*time)?),
            ("calls", [node, number]) => Expect::Calls(self.node(*node)?, self.number(*number)?),
            ("log", [node, _, ..]) => Expect::Log(self.node(*node)?, from(rest, 1, text)),
            ("no-log", [node, _, ..]) => Expect::NoLog(self.node(*node)?, from(rest, 1, text)),
            ("holds", [node, what]) => {
                let what = self.one_of(*what, &["none", "local", "foreign", "all"])?;
                Expect::Holds(self.node(*node)?, what.to_owned())
            }
            _ => return None,
        })
    }

    /// Everything else; whether the line was understood.
    fn setting(&mut self, first: Word<'_>, rest: &[Word<'_>], text: &str, plan: &mut Plan) -> bool {
        let done: Option<()> = match (first.text, rest) {
            ("title", _) => {
                plan.title = from(rest, 0, text);
                Some(())
            }
            ("boot", nodes) => {
                plan.boot.extend(nodes.iter().filter_map(|node| self.node(*node)));
                Some(())
            }
            ("settle", []) => {
                plan.settle = true;
                Some(())
            }
            ("hazards", []) => {
                plan.policy.hazards = true;
                Some(())
            }
            ("set-on" | "write", [node, ..]) => self.node(*node).map(|_| ()),
            ("slow", [node, resource, verb, time]) => {
                let how = self.time(*time).map(How::Takes);
                self.quirk(plan, [node, resource, verb], how)
            }
            ("fail", [node, resource, verb]) => self.quirk(plan, [node, resource, verb], Some(How::Fails)),
            ("misreport", [node, resource, verb]) => self.quirk(plan, [node, resource, verb], Some(How::Misreports)),
            ("running", [node, resource]) => {
                let (host, resource) = (self.node(*node), self.resource(*resource));
                host.zip(resource).map(|running| plan.running.push(running))
            }
            ("ping-target", [address, interface]) => {
                self.number(*address).map(|address| plan.ping_targets.push((address, interface.text.to_owned())))
            }
            ("net", words) => self.net_rule(words).map(|rule| plan.net.push(rule)),
            ("fate", [name, members @ ..]) if !members.is_empty() => {
                let members = members.iter().filter_map(|member| self.member(*member)).collect();
                self.fates.push((name.text.to_owned(), members));
                Some(())
            }
            ("overlap", [time]) => self.time(*time).map(|time| plan.policy.overlap = time),
            ("proof", [word]) => self.one_of(*word, &["fenced", "released"]).map(|word| {
                plan.policy.proof = if word == "fenced" { Proof::Fenced } else { Proof::Released };
            }),
            ("calm", [time]) => self.time(*time).map(|time| plan.calm = Some(time)),
            ("end", [time]) => self.time(*time).map(|time| self.end = Some(time)),
            ("at", [time, event @ ..]) => {
                let (at, events) = (self.time(*time), self.events(event, *time));
                at.zip(events).map(|(at, events)| {
                    plan.events.extend(events.into_iter().map(|(after, event)| (at + after, event)));
                })
            }
            ("play" | "clock" | "lag" | "guard" | "watchdog" | "device", [node, rest @ ..]) => {
                self.node(*node).and_then(|node| self.machine(first.text, node, rest, plan))
            }
            _ => None,
        };
        done.is_some()
    }

    /// Lines about one machine.
    fn machine(&mut self, word: &str, node: usize, rest: &[Word<'_>], plan: &mut Plan) -> Option<()> {
        let host = plan.hosts.get_mut(node)?;
        match (word, rest) {
            ("play", [kind]) => {
                host.kind = match self.one_of(*kind, &["ours", "model"])? {
                    "model" => EngineKind::Model,
                    _ => EngineKind::Ours,
                };
            }
            ("clock", [which, number]) => match self.one_of(*which, &["drift", "offset"])? {
                "drift" => {
                    let drift: i32 = self.number(*number)?;
                    if drift.unsigned_abs() > 100_000 {
                        let message = "no clock is wrong by more than a tenth";
                        self.problem(Code::ScenarioValue, number.span, message, "write at most 100000 ppm");
                        return None;
                    }
                    host.drift_ppm = drift;
                }
                _ => host.wall_offset = self.number(*number)?,
            },
            ("lag", [time]) => host.lag = self.time(*time)?,
            ("guard", [time]) => host.guard = Some(self.time(*time)?),
            ("watchdog", [time]) => host.watchdog = Some(self.time(*time)?),
            ("device", [does, time]) => host.device = Some(self.device(*does, *time)?),
            _ => return None,
        }
        Some(())
    }

    pub(super) fn device(&mut self, does: Word<'_>, time: Word<'_>) -> Option<Device> {
        let does = match self.one_of(does, &["works", "lies", "fails", "hangs"])? {
            "works" => DeviceDoes::Works,
            "lies" => DeviceDoes::Lies,
            "fails" => DeviceDoes::Fails,
            _ => DeviceDoes::Hangs,
        };
        Some(Device { does, takes: self.time(time)? })
    }

    fn quirk(&mut self, plan: &mut Plan, words: [&Word<'_>; 3], how: Option<How>) -> Option<()> {
        let [node, resource, verb] = words;
        let verb = match self.one_of(*verb, &["start", "stop", "status", "monitor"])? {
            "start" => Verb::Start,
            "stop" => Verb::Stop,
            "monitor" => Verb::Monitor,
            _ => Verb::Status,
        };
        let host = self.node(*node)?;
        plan.quirks.push(Quirk { host, resource: self.resource(*resource)?, verb, how: how? });
        Some(())
    }

    pub(super) fn resource(&mut self, word: Word<'_>) -> Option<String> {
        if !self.resources.contains(word.text) {
            let (message, help) =
                (format!("no group has the resource `{}`", word.text), "write it as haresources does");
            self.problem(Code::ScenarioValue, word.span, message, help);
            return None;
        }
        Some(word.text.to_owned())
    }

    fn places(&mut self, words: &[Word<'_>]) -> Option<Vec<Place>> {
        let places: Vec<_> = words.iter().map(|word| self.place(*word)).collect();
        places.into_iter().collect()
    }

    fn place(&mut self, word: Word<'_>) -> Option<Place> {
        let Some((label, nodes)) = word.text.split_once('@') else {
            self.problem(Code::ScenarioValue, word.span, "not a placement", "write LABEL@NODE, or LABEL@- for nowhere");
            return None;
        };
        let label = self.label(Word { text: label, ..word })?;
        let (mut hosts, mut parts) = (Vec::new(), Vec::new());
        for node in nodes.split('+').filter(|_| nodes != "-") {
            match node.strip_prefix('~') {
                Some(node) => parts.push(self.node(Word { text: node, ..word })?),
                None => hosts.push(self.node(Word { text: node, ..word })?),
            }
        }
        hosts.sort_unstable();
        parts.sort_unstable();
        Some(Place { label, hosts, parts })
    }

    /// NODE:INTERFACE.
    fn member(&mut self, word: Word<'_>) -> Option<(usize, String)> {
        let Some((node, interface)) = word.text.split_once(':') else {
            self.problem(Code::ScenarioValue, word.span, "not an interface of a node", "write NODE:INTERFACE");
            return None;
        };
        Some((self.node(Word { text: node, ..word })?, interface.to_owned()))
    }

    // --- links

    pub(super) fn net_rule(&mut self, words: &[Word<'_>]) -> Option<NetRule> {
        let mut words = words;
        let mut way = Way::default();
        if let [first, rest @ ..] = words
            && first.text.contains('>')
        {
            (way.from, way.to) = self.ends(*first)?;
            words = rest;
        }
        if let [first, rest @ ..] = words
            && !CHANGES.contains(&first.text)
            && rest.first().is_some_and(|next| CHANGES.contains(&next.text))
        {
            way.interface = Some(first.text.to_owned());
            words = rest;
        }
        let [what, values @ ..] = words else { return None };
        let what = self.one_of(*what, CHANGES)?;
        Some(NetRule { way, change: self.change(what, values)? })
    }

    /// `[NODE]>[NODE]`.
    fn ends(&mut self, word: Word<'_>) -> Option<(Option<usize>, Option<usize>)> {
        let (from, to) = word.text.split_once('>')?;
        let mut end = |text: &str| match text {
            "" => Some(None),
            text => self.node(Word { text, ..word }).map(Some),
        };
        Some((end(from)?, end(to)?))
    }

    fn change(&mut self, what: &str, values: &[Word<'_>]) -> Option<Change> {
        Some(match (what, values) {
            ("delay", [kind, values @ ..]) => Change::Delay(self.delay(*kind, values)?),
            ("loss", [Word { text: "bursts", .. }, begin, end, good, bad]) => Change::Loss(Loss::Bursts {
                begin: self.probability(*begin)?,
                end: self.probability(*end)?,
                good: self.probability(*good)?,
                bad: self.probability(*bad)?,
            }),
            ("loss", [p]) => Change::Loss(Loss::Independent(self.probability(*p)?)),
            ("duplicate", [p]) => Change::Duplicate(self.probability(*p)?),
            ("reorder", [p]) => Change::Reorder(self.probability(*p)?),
            ("corrupt", [p]) => Change::Corrupt(self.probability(*p)?),
            ("noise", [p]) => Change::Noise(self.probability(*p)?),
            ("rate", [Word { text: "unlimited", .. }]) => Change::Rate(None),
            ("rate" | "baud", [bits]) => {
                let bits = self.number(*bits).filter(|bits| *bits > 0)?;
                Change::Rate(Some(Rate { bits, per_byte: if what == "baud" { 10 } else { 8 } }))
            }
            ("queue", [packets]) => Change::Queue(self.number(*packets)?),
            _ => return None,
        })
    }

    fn delay(&mut self, kind: Word<'_>, values: &[Word<'_>]) -> Option<Delay> {
        const KINDS: &[&str] = &["constant", "uniform", "exponential", "lognormal", "pareto", "recorded"];
        Some(match (self.one_of(kind, KINDS)?, values) {
            ("constant", [time]) => Delay::Constant(self.time(*time)?),
            ("uniform", [least, most]) => {
                let (least, most_time) = (self.time(*least)?, self.time(*most)?);
                if most_time < least {
                    let help = "write the shorter time first";
                    self.problem(Code::ScenarioValue, most.span, "this is shorter than the shortest", help);
                    return None;
                }
                Delay::Uniform(least, most_time)
            }
            ("exponential", [mean]) => Delay::Exponential(self.time(*mean)?),
            ("lognormal", [median, sigma]) => Delay::LogNormal(self.time(*median)?, self.decimal(*sigma, 10_000)?),
            ("pareto", [least, exponent]) => Delay::Pareto(self.time(*least)?, self.decimal(*exponent, 100_000)?),
            ("recorded", times) if !times.is_empty() => {
                let times: Vec<Option<Duration>> = times.iter().map(|time| self.time(*time)).collect();
                Delay::Recorded(times.into_iter().collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    /// A positive decimal number in thousandths.
    fn decimal(&mut self, word: Word<'_>, most: u32) -> Option<u32> {
        let number = thousandths(word.text, 3).and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (1..=most).contains(number));
        if number.is_none() {
            let help = format!("write a number up to {} such as 0.5", most / 1000);
            self.problem(Code::ScenarioValue, word.span, format!("`{}` cannot stand here", word.text), help);
        }
        number
    }

    fn probability(&mut self, word: Word<'_>) -> Option<Ppm> {
        let ppm = Ppm::parse(word.text);
        if ppm.is_none() {
            let message = format!("`{}` is no probability", word.text);
            self.problem(Code::ScenarioValue, word.span, message, "write a number from 0 to 1 such as 0.05");
        }
        ppm
    }
}

/// What stands in the text from the `n`th word on.
fn from(words: &[Word<'_>], n: usize, text: &str) -> String {
    match (words.get(n), words.last()) {
        (Some(from), Some(to)) => text[from.span.start..to.span.end].to_owned(),
        _ => String::new(),
    }
}
