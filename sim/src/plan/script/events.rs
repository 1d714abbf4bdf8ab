//! What happens `at` a time.

use super::{Parser, Word};
use crate::plan::Event;
use hb_core::Which;
use hb_core::config::Code;
use std::time::Duration;

const VERBS: &[&str] = &[
    "start",
    "crash",
    "kill",
    "stop",
    "restart",
    "reload",
    "lose",
    "suspend",
    "stall",
    "freeze",
    "resume",
    "step-clock",
    "lose-writes",
    "fence",
    "device",
    "cut",
    "deafen",
    "mute",
    "heal",
    "block",
    "open",
    "flap",
    "net",
    "ping-dies",
    "ping-returns",
    "standby",
    "takeover",
    "confirm",
];

impl Parser<'_> {
    /// One line may stand for several events, each so much after its time.
    pub(super) fn events(&mut self, words: &[Word<'_>], after: Word<'_>) -> Option<Vec<(Duration, Event)>> {
        let [verb, rest @ ..] = words else {
            let help = format!("write one of {}", VERBS.join(", "));
            self.problem(Code::ScenarioIncomplete, after.span, "nothing happens at this time", help);
            return None;
        };
        let known = self.one_of(*verb, VERBS)?;
        let now = |event| Some(vec![(Duration::ZERO, event)]);
        match (known, rest) {
            ("ping-dies" | "ping-returns", [address]) => {
                now(Event::PingTarget(self.number(*address)?, known == "ping-returns"))
            }
            ("net", words) => now(Event::Net(self.net_rule(words)?)),
            ("block" | "open", [way, interface @ ..]) if interface.len() <= 1 => {
                let Some((from, to)) = way.text.split_once('>') else {
                    self.problem(Code::ScenarioValue, way.span, "not a way", "write NODE>NODE");
                    return None;
                };
                let (from, to) = (self.node(Word { text: from, ..*way })?, self.node(Word { text: to, ..*way })?);
                let interface = interface.first().map(|word| word.text.to_owned());
                now(if known == "block" { Event::Block(from, to, interface) } else { Event::Open(from, to, interface) })
            }
            ("cut" | "deafen" | "mute" | "heal", [name]) if self.fate(*name).is_some() => {
                let members = self.fate(*name)?;
                let events = members.into_iter().map(|(node, interface)| cable(known, node, Some(interface)));
                Some(events.map(|event| (Duration::ZERO, event)).collect())
            }
            ("cut" | "deafen" | "mute" | "heal", [node, interface @ ..]) if interface.len() <= 1 => {
                now(cable(known, self.node(*node)?, interface.first().map(|word| word.text.to_owned())))
            }
            ("flap", [node, interface @ .., times, down, up]) if interface.len() <= 1 => {
                let (node, interface) = (self.node(*node)?, interface.first().map(|word| word.text.to_owned()));
                let (times, down, up): (u32, _, _) = (self.number(*times)?, self.time(*down)?, self.time(*up)?);
                let flaps = (0..times.min(1000)).flat_map(|flap| {
                    let begin = (down + up) * flap;
                    let cut = (begin, Event::Cut(node, interface.clone()));
                    [cut, (begin + down, Event::Heal(node, interface.clone()))]
                });
                Some(flaps.collect())
            }
            ("standby" | "takeover", [node, set @ ..]) if set.len() <= 1 => {
                let which = match set.first() {
                    None => Which::All,
                    Some(word) => Which::from_word(self.one_of(*word, &["all", "local", "foreign", "failback"])?)?,
                };
                let node = self.node(*node)?;
                now(if known == "standby" { Event::Standby(node, which) } else { Event::Takeover(node, which) })
            }
            ("confirm", [node, dead]) => now(Event::Confirm(self.node(*node)?, self.node(*dead)?)),
            ("lose", [node, resource]) => now(Event::Lose(self.node(*node)?, self.resource(*resource)?)),
            ("device", [node, does, time]) => now(Event::Device(self.node(*node)?, self.device(*does, *time)?)),
            ("step-clock", [node, millis]) => now(Event::StepClock(self.node(*node)?, self.number(*millis)?)),
            (verb, [node]) => now(self.simple(verb, *node)?),
            _ => None,
        }
    }

    /// What needs nothing but a node.
    fn simple(&mut self, verb: &str, node: Word<'_>) -> Option<Event> {
        let event = match verb {
            "start" => Event::Start,
            "crash" => Event::Crash,
            "kill" => Event::Kill,
            "stop" => Event::Stop,
            "restart" => Event::Restart,
            "reload" => Event::Reload,
            "suspend" => Event::Suspend,
            "stall" => Event::Stall,
            "freeze" => Event::Freeze,
            "resume" => Event::Resume,
            "lose-writes" => Event::LoseWrites,
            "fence" => Event::Fence,
            _ => return None,
        };
        self.node(node).map(event)
    }

    fn fate(&self, word: Word<'_>) -> Option<Vec<(usize, String)>> {
        self.fates.iter().find(|(name, _)| name == word.text).map(|(_, members)| members.clone())
    }
}

fn cable(verb: &str, node: usize, interface: Option<String>) -> Event {
    match verb {
        "cut" => Event::Cut(node, interface),
        "deafen" => Event::Deafen(node, interface),
        "mute" => Event::Mute(node, interface),
        _ => Event::Heal(node, interface),
    }
}
