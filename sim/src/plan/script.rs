//! The scenario language: words on lines.
//!
//! ```text
//! title TEXT                        what it is about
//! base C2                           the texts of the usual pair: ha.cf, haresources, authkeys, groups A and B
//! ha.cf: | haresources: | authkeys: the indented lines that follow are the text for all nodes
//! set DIRECTIVE VALUE...            one more line of ha.cf
//! group LABEL KEY                   a short name
//! boot NODE...                      started at the very beginning
//! settle                            zero is when everything rests, instead of the start
//! slow NODE RESOURCE VERB TIME      start, stop or status takes that long
//! fail NODE RESOURCE VERB           ... fails
//! loss N                            packets lost in a thousand
//! reorder                           packets overtake each other
//! overlap TIME                      allowed in total, since the policy in force cannot avoid it
//! at TIME start|crash|kill|stop NODE
//! at TIME cut|deafen|heal NODE [INTERFACE]
//! at TIME standby|takeover NODE [all|local|foreign|failback]
//! by TIME LABEL@NODE ...            there and nowhere else, from then to the next `at` or `by`; LABEL@- is nowhere
//! gap LABEL TIME                    no client waits longer for its address
//! calls NODE N                      starts and stops there, since zero
//! log NODE TEXT  /  no-log NODE TEXT
//! holds NODE none|local|foreign|all in the end it says so, and is stable
//! end TIME
//! ```
//!
//! Times are those of ha.cf: seconds, or with `ms`.

use super::{Condition, Event, How, Placement, Plan, Quirk, library};
use hb_core::config::timing::parse_time;
use hb_core::config::{Code, Config, Diagnostic, FileName, SourceText, Sources, Span};
use hb_core::{Verb, Which};
use std::time::Duration;

/// The words a line may begin with.
const WORDS: &[&str] = &[
    "title",
    "base",
    "ha.cf:",
    "haresources:",
    "authkeys:",
    "set",
    "group",
    "boot",
    "settle",
    "slow",
    "fail",
    "loss",
    "reorder",
    "overlap",
    "at",
    "by",
    "gap",
    "calls",
    "log",
    "no-log",
    "holds",
    "end",
];

#[derive(Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    span: Span,
}

struct Parser<'t> {
    file: FileName,
    problems: Vec<Diagnostic>,
    texts: [String; 3],
    groups: Vec<(String, String)>,
    lines: Vec<Vec<Word<'t>>>,
    nodes: Vec<String>,
    end: Option<Duration>,
}

pub(super) fn parse(name: &str, text: &str) -> Result<Plan, Vec<Diagnostic>> {
    let mut parser = Parser {
        file: FileName(name.to_owned()),
        problems: Vec::new(),
        texts: [String::new(), String::new(), String::new()],
        groups: Vec::new(),
        lines: Vec::new(),
        nodes: Vec::new(),
        end: None,
    };
    parser.sections(text);
    let configs = parser.configs();
    let plan = parser.body(text, configs);
    if parser.problems.is_empty() { Ok(plan) } else { Err(parser.problems) }
}

impl<'t> Parser<'t> {
    fn problem(&mut self, code: Code, span: Span, message: impl std::fmt::Display, help: impl std::fmt::Display) {
        self.problems.push(Diagnostic::new(code, self.file.clone(), span, message).help(help));
    }

    /// Splits the text into lines of words, and collects what makes the configuration.
    fn sections(&mut self, text: &'t str) {
        let mut section: Option<usize> = None;
        let mut offset = 0;
        for (number, line) in (1..).zip(text.split('\n')) {
            let begin = offset;
            offset += line.len() + 1;
            if let Some(section) = section.filter(|_| line.starts_with([' ', '\t'])) {
                self.texts[section] += line.trim();
                self.texts[section].push('\n');
                continue;
            }
            let words = words(line, number, begin);
            let Some(first) = words.first().copied() else { continue };
            section = match first.text {
                "ha.cf:" => Some(0),
                "haresources:" => Some(1),
                "authkeys:" => Some(2),
                _ => None,
            };
            if let Some(section) = section {
                self.texts[section].clear();
                continue;
            }
            match (first.text, &words[1..]) {
                ("base", [Word { text: "C2", .. }]) => {
                    self.texts = library::C2.map(str::to_owned);
                    self.groups = library::C2_GROUPS.map(|(label, key)| (label.to_owned(), key.to_owned())).into();
                }
                ("base", _) => {
                    self.problem(Code::ScenarioValue, first.span, "there is no such base", "write `base C2`");
                }
                ("set", words) => {
                    let line: Vec<&str> = words.iter().map(|word| word.text).collect();
                    self.texts[0] += &line.join(" ");
                    self.texts[0].push('\n');
                }
                ("group", [label, key]) => self.groups.push((label.text.to_owned(), key.text.to_owned())),
                _ => self.lines.push(words),
            }
        }
    }

    /// One configuration a node, through the very parser of the daemon.
    fn configs(&mut self) -> Vec<Config> {
        let mut names = Vec::new();
        for line in self.texts[0].lines() {
            let mut words = line.split([' ', ',', '\t']).filter(|word| !word.is_empty());
            if words.next() == Some("node") {
                names.extend(words.map(str::to_ascii_lowercase));
            }
        }
        if names.is_empty() {
            let (message, help) =
                ("the scenario has no nodes", "write `base C2`, or a section `ha.cf:` with a `node` line");
            self.problem(Code::ScenarioIncomplete, Span::FILE, message, help);
        }
        let mut configs = Vec::new();
        for name in &names {
            let reading = Config::read(&Sources {
                local_name: name,
                ha_cf: SourceText { name: "ha.cf", bytes: self.texts[0].as_bytes() },
                haresources: Some(SourceText { name: "haresources", bytes: self.texts[1].as_bytes() }),
                authkeys: SourceText { name: "authkeys", bytes: self.texts[2].as_bytes() },
            });
            let Some(config) = reading.config else {
                // The same texts have the same problems for every node.
                self.problems.extend(reading.diagnostics.into_iter().filter(Diagnostic::is_error));
                break;
            };
            configs.push(config);
        }
        self.nodes = names;
        configs
    }

    fn body(&mut self, text: &str, configs: Vec<Config>) -> Plan {
        let mut plan = Plan {
            title: String::new(),
            configs,
            groups: self.groups.clone(),
            boot: Vec::new(),
            settle: false,
            events: Vec::new(),
            placements: Vec::new(),
            conditions: Vec::new(),
            overlap: Duration::ZERO,
            end: Duration::ZERO,
            quirks: Vec::new(),
            loss: 0,
            reorders: false,
        };
        for line in std::mem::take(&mut self.lines) {
            self.line(&line, text, &mut plan);
        }
        plan.events.sort_by_key(|(at, _)| *at);
        match self.end {
            Some(end) => plan.end = end,
            None => self.problem(Code::ScenarioIncomplete, Span::FILE, "the scenario has no end", "write `end TIME`"),
        }
        plan
    }

    fn line(&mut self, words: &[Word<'_>], text: &str, plan: &mut Plan) {
        let [first, rest @ ..] = words else { return };
        // What stands in the text from the `n`th word on.
        let tail = |n: usize| match (rest.get(n), rest.last()) {
            (Some(from), Some(to)) => text[from.span.start..to.span.end].to_owned(),
            _ => String::new(),
        };
        // Whatever is missing is reported where it is missing.
        let _: Option<()> = match (first.text, rest) {
            ("title", _) => {
                plan.title = tail(0);
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
            ("reorder", []) => {
                plan.reorders = true;
                Some(())
            }
            ("slow", [node, resource, verb, time]) => {
                let how = self.time(*time).map(How::Takes);
                self.quirk(plan, [node, resource, verb], how)
            }
            ("fail", [node, resource, verb]) => self.quirk(plan, [node, resource, verb], Some(How::Fails)),
            ("loss", [number]) => self.number(*number).map(|number| plan.loss = u64::from(number)),
            ("overlap", [time]) => self.time(*time).map(|time| plan.overlap = time),
            ("end", [time]) => self.time(*time).map(|time| self.end = Some(time)),
            ("at", [time, event @ ..]) => {
                let (at, event) = (self.time(*time), self.event(event, *time));
                at.zip(event).map(|(at, event)| plan.events.push((at, event)))
            }
            ("by", [time, groups @ ..]) if !groups.is_empty() => {
                let groups: Vec<_> = groups.iter().filter_map(|group| self.placement(*group)).collect();
                self.time(*time).map(|at| plan.placements.push(Placement { at, groups, text: tail(1) }))
            }
            ("gap", [label, time]) => {
                let (label, time) = (self.label(*label), self.time(*time));
                label.zip(time).map(|(label, time)| plan.conditions.push(Condition::Gap(label, time)))
            }
            ("calls", [node, number]) => {
                let (node, number) = (self.node(*node), self.number(*number));
                node.zip(number).map(|(node, number)| plan.conditions.push(Condition::Calls(node, number)))
            }
            ("log", [node, _, ..]) => self.node(*node).map(|node| plan.conditions.push(Condition::Log(node, tail(1)))),
            ("no-log", [node, _, ..]) => {
                self.node(*node).map(|node| plan.conditions.push(Condition::NoLog(node, tail(1))))
            }
            ("holds", [node, what]) => {
                let what = self.one_of(*what, &["none", "local", "foreign", "all"]).map(str::to_owned);
                self.node(*node).zip(what).map(|(node, what)| plan.conditions.push(Condition::Holds(node, what)))
            }
            (word, _) if WORDS.contains(&word) => {
                let message = format!("`{word}` does not have this form");
                self.problem(
                    Code::ScenarioIncomplete,
                    first.span,
                    message,
                    "the head of plan/script.rs lists all forms",
                );
                None
            }
            (word, _) => {
                let near = nearest(word, WORDS);
                let help =
                    near.map_or_else(|| format!("one of {}", WORDS.join(", ")), |near| format!("write `{near}`"));
                self.problem(Code::ScenarioWord, first.span, format!("unknown word `{word}`"), help);
                None
            }
        };
    }

    fn event(&mut self, words: &[Word<'_>], after: Word<'_>) -> Option<Event> {
        const VERBS: &[&str] = &["start", "crash", "kill", "stop", "cut", "deafen", "heal", "standby", "takeover"];
        let [verb, node, rest @ ..] = words else {
            let help = format!("write one of {} and a node", VERBS.join(", "));
            self.problem(Code::ScenarioIncomplete, after.span, "nothing happens at this time", help);
            return None;
        };
        let (known, host) = (self.one_of(*verb, VERBS)?, self.node(*node)?);
        let interface = || rest.first().map(|word| word.text.to_owned());
        let which = |parser: &mut Self| match rest.first() {
            None => Some(Which::All),
            Some(word) => {
                let word = parser.one_of(*word, &["all", "local", "foreign", "failback"])?;
                Which::from_word(word)
            }
        };
        Some(match known {
            "start" => Event::Start(host),
            "crash" => Event::Crash(host),
            "kill" => Event::Kill(host),
            "stop" => Event::Stop(host),
            "cut" => Event::Cut(host, interface()),
            "deafen" => Event::Deafen(host, interface()),
            "heal" => Event::Heal(host, interface()),
            "standby" => Event::Standby(host, which(self)?),
            _ => Event::Takeover(host, which(self)?),
        })
    }

    fn quirk(&mut self, plan: &mut Plan, words: [&Word<'_>; 3], how: Option<How>) -> Option<()> {
        let [node, resource, verb] = words;
        let verb = match self.one_of(*verb, &["start", "stop", "status"])? {
            "start" => Verb::Start,
            "stop" => Verb::Stop,
            _ => Verb::Status,
        };
        let resource = resource.text.to_owned();
        plan.quirks.push(Quirk { host: self.node(*node)?, resource, verb, how: how? });
        Some(())
    }

    fn placement(&mut self, word: Word<'_>) -> Option<(String, Option<usize>)> {
        let Some((label, place)) = word.text.split_once('@') else {
            self.problem(Code::ScenarioValue, word.span, "not a placement", "write LABEL@NODE, or LABEL@- for nowhere");
            return None;
        };
        let label = self.label(Word { text: label, ..word })?;
        if place == "-" {
            return Some((label, None));
        }
        self.node(Word { text: place, ..word }).map(|node| (label, Some(node)))
    }

    fn node(&mut self, word: Word<'_>) -> Option<usize> {
        let found = self.nodes.iter().position(|name| name == word.text);
        if found.is_none() {
            let help = format!("the nodes are {}", self.nodes.join(", "));
            self.problem(Code::ScenarioValue, word.span, format!("no node is called `{}`", word.text), help);
        }
        found
    }

    fn label(&mut self, word: Word<'_>) -> Option<String> {
        if self.groups.iter().any(|(label, _)| label == word.text) {
            return Some(word.text.to_owned());
        }
        let known: Vec<&str> = self.groups.iter().map(|(label, _)| label.as_str()).collect();
        let help = format!("the labels are {}; `group LABEL KEY` makes one", known.join(", "));
        self.problem(Code::ScenarioValue, word.span, format!("no group is labelled `{}`", word.text), help);
        None
    }

    fn time(&mut self, word: Word<'_>) -> Option<Duration> {
        let time = parse_time(word.text).ok();
        if time.is_none() {
            let message = format!("`{}` is no time", word.text);
            self.problem(Code::ScenarioValue, word.span, message, "write seconds such as 3.1, or 250ms");
        }
        time
    }

    fn number(&mut self, word: Word<'_>) -> Option<u32> {
        let number = word.text.parse().ok();
        if number.is_none() {
            self.problem(Code::ScenarioValue, word.span, format!("`{}` is no number", word.text), "write digits");
        }
        number
    }

    fn one_of(&mut self, word: Word<'_>, known: &[&'static str]) -> Option<&'static str> {
        let found = known.iter().find(|known| **known == word.text).copied();
        if found.is_none() {
            let help = match nearest(word.text, known) {
                Some(near) => format!("write `{near}`"),
                None => format!("one of {}", known.join(", ")),
            };
            self.problem(Code::ScenarioValue, word.span, format!("`{}` cannot stand here", word.text), help);
        }
        found
    }
}

/// The words of a line up to `#`, with their places.
fn words(line: &str, number: u32, begin: usize) -> Vec<Word<'_>> {
    let line = line.split('#').next().unwrap_or_default();
    let base = line.as_ptr() as usize;
    line.split_ascii_whitespace()
        .map(|text| {
            let at = text.as_ptr() as usize - base;
            let column = u32::try_from(at + 1).unwrap_or(u32::MAX);
            let (start, end) = (begin + at, begin + at + text.len());
            Word { text, span: Span { line: number, column, start, end } }
        })
        .collect()
}

/// The known word that a mistyped one was meant to be.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .copied()
        .map(|known| (strsim::damerau_levenshtein(word, known), known))
        .min()
        .filter(|(far, _)| *far <= 2)
        .map(|(_, known)| known)
}
