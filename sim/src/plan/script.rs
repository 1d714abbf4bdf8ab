//! The scenario language: words on lines.
//!
//! ```text
//! title TEXT                        what it is about
//! base C2|C3|C3s                    the texts of the catalogue's pair and of its two clusters of three, with labels
//! ha.cf [NODE]: | haresources [NODE]: | authkeys [NODE]:   the indented lines that follow are that file, for all nodes or one
//! write NODE FILE:                  its text when `restart` or `reload` looks at it again; once more: the next time
//! set DIRECTIVE VALUE...            a line of ha.cf; replaces the one there is, unless it may stand there several times
//! set-on NODE DIRECTIVE VALUE...    the same for one node
//! group LABEL KEY                   a short name
//! no-script NAME                    no host has that script: whoever configures it is refused
//! refused CODE                      the files must be refused for this problem, and nothing runs
//! running NODE RESOURCE             it runs there before any daemon does
//! ping-target ADDRESS INTERFACE     a machine behind that interface answers a ping (`ping` and `ping_group` of ha.cf)
//! boot NODE...                      started at the very beginning
//! settle                            zero is when everything rests, instead of the start
//! play NODE ours|model              which program is that node: the production core, or the model of 3.0.6
//! slow NODE RESOURCE VERB TIME      start, stop, status or monitor takes that long
//! fail NODE RESOURCE VERB           ... fails
//! misreport NODE RESOURCE VERB      ... succeeds and says that it failed
//! clock NODE drift PPM              its clocks run that much fast (or slow, if negative)
//! clock NODE offset SECONDS         its wall clock is off
//! lag NODE TIME                     every turn of its daemon begins up to that much late
//! guard NODE TIME                   that long after its daemon died, a guard takes away what it ran and says farewell
//! watchdog NODE TIME                resets the machine when the daemon could not run for that long
//! device NODE works|lies|fails|hangs TIME    the fencing device that resets it
//! net [WAY] delay constant T | uniform T T | exponential MEAN | lognormal MEDIAN SIGMA | pareto LEAST EXPONENT | recorded T...
//! net [WAY] loss P | loss bursts BEGIN END GOOD BAD     each packet alone, or Gilbert-Elliott
//! net [WAY] duplicate|reorder|corrupt P
//! net [WAY] noise P                 so many bytes arrive with a wrong bit; a serial line has its own `baud` from ha.cf
//! net [WAY] rate BITS | baud BITS | rate unlimited      a second; baud counts ten bits a byte
//! net [WAY] queue PACKETS                               that wait for the line
//!                                   WAY is [NODE]>[NODE] and an interface, both may be missing
//! fate NAME NODE:INTERFACE ...      interfaces that fail together
//! hazards                           overlaps that a hazard of the rule book explains are allowed
//! overlap TIME                      two owners are allowed for that long in total
//! proof fenced|released             what a takeover from a silent node needs
//! at TIME start|crash|kill|stop NODE
//! at TIME restart|reload NODE                  the daemon reads its files anew; resources stay
//! at TIME lose NODE RESOURCE                   it stops, and nobody ordered it
//! at TIME suspend|stall|freeze|resume NODE     the daemon, the machine, the machine with its clocks
//! at TIME step-clock NODE MILLISECONDS         the wall clock jumps
//! at TIME lose-writes NODE                     what is written from now on is lost when power fails
//! at TIME fence NODE
//! at TIME device NODE works|lies|fails|hangs TIME  the device that resets it becomes another
//! at TIME cut|deafen|mute|heal NODE [INTERFACE]   or the NAME of a fate; only a cut one has no signal
//! at TIME block|open NODE>NODE [INTERFACE]
//! at TIME ping-dies|ping-returns ADDRESS
//! at TIME flap NODE [INTERFACE] TIMES DOWN UP     so many cuts, each DOWN long, UP apart
//! at TIME net ...                                 as above, from then on
//! at TIME standby|takeover NODE [all|local|foreign|failback]
//! at TIME confirm NODE NODE                    an operator of the first says that the second runs nothing
//! calm TIME                         everything is mended then, and each group gets one owner in time
//! by TIME LABEL@NODE ...            there and nowhere else, from then to the next `at` or `by`; A@h1+h2 is both, A@- nowhere,
//!                                   A@h1+~h2 a part of it on h2
//! near TIME LABEL@NODE ...          it becomes so within half a second of that time
//! together TIME LABEL...            all of them on one node, whichever, from then to the next `at` or placement
//! gap LABEL TIME                    no client waits longer for its address
//! calls NODE N                      starts and stops there, since zero
//! log NODE TEXT  /  no-log NODE TEXT
//! holds NODE none|local|foreign|all in the end it says so, and is stable
//!                                   `ours`, `model` or `mixed` before these eight: only for clusters played so
//! end TIME
//! ```
//!
//! Times are seconds, or with `ms`, `us`, `ns`. `#` begins a comment.

mod events;
mod hosts;
mod lines;

use super::time;
use super::{EngineKind, HostPlan, Plan, library};
use hb_core::config::{Code, Config, Diagnostic, FileName, Span};
use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) use hosts::configure;

/// Files of a node, by the words of their sections.
pub(super) const SECTIONS: [&str; 3] = ["ha.cf", "haresources", "authkeys"];
/// Directives of ha.cf that may stand there several times.
const REPEATABLE: &[&str] = &[
    "node",
    "bcast",
    "ucast",
    "mcast",
    "serial",
    "ping",
    "ping_group",
    "respawn",
    "failfast",
    "apiauth",
    "env",
    "stonith_host",
    "script_limit",
    "monitor",
];

#[derive(Clone, Copy)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    pub(super) span: Span,
}

/// The texts of one file: for all nodes, and for those that have their own.
#[derive(Clone, Default)]
struct File {
    all: String,
    own: Vec<(String, String)>,
}

impl File {
    /// The text to write to: that of a node, which begins as a copy of everybody's, or everybody's.
    fn text(&mut self, node: Option<&str>) -> &mut String {
        let Some(node) = node else { return &mut self.all };
        let at = self.own.iter().position(|(name, _)| name == node).unwrap_or_else(|| {
            self.own.push((node.to_owned(), self.all.clone()));
            self.own.len() - 1
        });
        &mut self.own[at].1
    }

    fn of(&self, node: &str) -> &str {
        self.own.iter().find(|(name, _)| name == node).map_or(&self.all, |(_, text)| text)
    }
}

/// A piece of a scenario that is the text of a file.
struct Section {
    file: usize,
    node: Option<String>,
    /// It is the text that a running daemon finds when it looks again.
    is_later: bool,
}

pub(super) struct Parser<'t> {
    file: FileName,
    problems: Vec<Diagnostic>,
    /// Why a daemon does not start with these files.
    refusals: Vec<Diagnostic>,
    files: [File; 3],
    /// Texts that are there later, one after the other, by node.
    later: [Vec<(String, Vec<String>)>; 3],
    no_scripts: Vec<String>,
    /// The problem for which the files must be refused, as written.
    refused: Option<Word<'t>>,
    /// Every resource of the files, usable or not.
    resources: BTreeSet<String>,
    groups: Vec<(String, String)>,
    /// Name, and node and interface of each member.
    fates: Vec<(String, Vec<(usize, String)>)>,
    lines: Vec<Vec<Word<'t>>>,
    nodes: Vec<String>,
    end: Option<Duration>,
}

pub(super) fn parse(name: &str, text: &str) -> Result<Plan, Vec<Diagnostic>> {
    let mut parser = Parser {
        file: FileName(name.to_owned()),
        problems: Vec::new(),
        refusals: Vec::new(),
        files: <[File; 3]>::default(),
        later: <[Vec<(String, Vec<String>)>; 3]>::default(),
        no_scripts: Vec::new(),
        refused: None,
        resources: BTreeSet::new(),
        groups: Vec::new(),
        fates: Vec::new(),
        lines: Vec::new(),
        nodes: Vec::new(),
        end: None,
    };
    parser.sections(text);
    let hosts = parser.hosts();
    let plan = parser.body(text, hosts);
    if parser.problems.is_empty() { Ok(plan) } else { Err(parser.problems) }
}

impl<'t> Parser<'t> {
    pub(super) fn problem(
        &mut self,
        code: Code,
        span: Span,
        message: impl std::fmt::Display,
        help: impl std::fmt::Display,
    ) {
        self.problems.push(Diagnostic::new(code, self.file.clone(), span, message).help(help));
    }

    /// Splits the text into lines of words, and collects what makes the configuration.
    fn sections(&mut self, text: &'t str) {
        let mut section: Option<Section> = None;
        let mut offset = 0;
        for (number, line) in (1..).zip(text.split('\n')) {
            let begin = offset;
            offset += line.len() + 1;
            if let Some(section) = section.as_ref().filter(|_| line.starts_with([' ', '\t'])) {
                let text = self.text(section);
                *text += line.trim();
                text.push('\n');
                continue;
            }
            let words = words(line, number, begin);
            let Some(first) = words.first().copied() else { continue };
            section = heading(&words);
            if let Some(section) = &section {
                self.begin(section);
                if section.is_later {
                    // A node that does not exist is reported with the other lines.
                    self.lines.push(words);
                }
                continue;
            }
            match (first.text, &words[1..]) {
                ("base", rest) => self.base(first, rest),
                ("no-script", [name]) => self.no_scripts.push(name.text.to_owned()),
                ("refused", [code]) => self.refused = Some(*code),
                ("set", [directive, ..]) => {
                    let line = joined(&words[1..]);
                    set(&mut self.files[0].all, directive.text, &line);
                    for (_, text) in &mut self.files[0].own {
                        set(text, directive.text, &line);
                    }
                }
                ("set-on", [node, directive, ..]) => {
                    set(self.files[0].text(Some(node.text)), directive.text, &joined(&words[2..]));
                    // A node that does not exist is reported with the other lines.
                    self.lines.push(words);
                }
                ("group", [label, key]) => {
                    self.groups.retain(|(known, _)| known != label.text);
                    self.groups.push((label.text.to_owned(), key.text.to_owned()));
                }
                _ => self.lines.push(words),
            }
        }
    }

    fn text(&mut self, section: &Section) -> &mut String {
        let Some(node) = section.node.as_deref().filter(|_| section.is_later) else {
            return self.files[section.file].text(section.node.as_deref());
        };
        let texts = self.later(section.file, node);
        if texts.is_empty() {
            texts.push(String::new());
        }
        let last = texts.len() - 1;
        &mut texts[last]
    }

    /// The texts that are there later; each heading begins another.
    fn later(&mut self, file: usize, node: &str) -> &mut Vec<String> {
        let texts = &mut self.later[file];
        let at = texts.iter().position(|(name, _)| name == node).unwrap_or_else(|| {
            texts.push((node.to_owned(), Vec::new()));
            texts.len() - 1
        });
        &mut texts[at].1
    }

    fn begin(&mut self, section: &Section) {
        match section.node.as_deref().filter(|_| section.is_later) {
            Some(node) => self.later(section.file, node).push(String::new()),
            None => self.text(section).clear(),
        }
    }

    fn base(&mut self, first: Word<'_>, rest: &[Word<'_>]) {
        let named = rest.first().filter(|_| rest.len() == 1);
        let Some(base) = named.and_then(|name| library::BASES.iter().find(|base| base.name == name.text)) else {
            return self.problem(Code::ScenarioValue, first.span, "there is no such base", "write `base C2`");
        };
        for (file, text) in self.files.iter_mut().zip(base.files) {
            *file = File { all: text.to_owned(), own: Vec::new() };
        }
        self.files[1].own = base.own.iter().map(|(node, text)| ((*node).to_owned(), (*text).to_owned())).collect();
        self.groups = base.groups.iter().map(|(label, key)| ((*label).to_owned(), (*key).to_owned())).collect();
    }

    fn body(&mut self, text: &str, hosts: Vec<HostPlan>) -> Plan {
        let is_configured = hosts.len() == self.nodes.len();
        let mut plan = Plan { hosts, groups: self.groups.clone(), ..Plan::default() };
        if is_configured {
            for line in std::mem::take(&mut self.lines) {
                self.line(&line, text, &mut plan);
            }
        }
        plan.events.sort_by_key(|(at, _)| *at);
        match self.end {
            Some(end) => plan.end = end,
            None if is_configured => {
                self.problem(Code::ScenarioIncomplete, Span::FILE, "the scenario has no end", "write `end TIME`");
            }
            None => {}
        }
        self.refusal(&mut plan);
        plan
    }

    // --- words that mean something

    pub(super) fn node(&mut self, word: Word<'_>) -> Option<usize> {
        let found = self.nodes.iter().position(|name| name == word.text);
        if found.is_none() {
            let help = format!("the nodes are {}", self.nodes.join(", "));
            self.problem(Code::ScenarioValue, word.span, format!("no node is called `{}`", word.text), help);
        }
        found
    }

    pub(super) fn label(&mut self, word: Word<'_>) -> Option<String> {
        if self.groups.iter().any(|(label, _)| label == word.text) {
            return Some(word.text.to_owned());
        }
        let known: Vec<&str> = self.groups.iter().map(|(label, _)| label.as_str()).collect();
        let help = format!("the labels are {}; `group LABEL KEY` makes one", known.join(", "));
        self.problem(Code::ScenarioValue, word.span, format!("no group is labelled `{}`", word.text), help);
        None
    }

    pub(super) fn time(&mut self, word: Word<'_>) -> Option<Duration> {
        let time = time::parse(word.text);
        if time.is_none() {
            let message = format!("`{}` is no time", word.text);
            self.problem(Code::ScenarioValue, word.span, message, "write seconds such as 3.1, or 250ms, or 150us");
        }
        time
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self, word: Word<'_>) -> Option<T> {
        let number = word.text.parse().ok();
        if number.is_none() {
            let message = format!("`{}` is no number that can stand here", word.text);
            self.problem(Code::ScenarioValue, word.span, message, "write digits");
        }
        number
    }

    pub(super) fn one_of(&mut self, word: Word<'_>, known: &[&'static str]) -> Option<&'static str> {
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

impl HostPlan {
    /// A machine that does nothing unusual.
    pub fn new(texts: [String; 3], config: Config) -> HostPlan {
        HostPlan {
            texts,
            config,
            peers: Vec::new(),
            kind: EngineKind::Ours,
            drift_ppm: 0,
            wall_offset: 0,
            lag: Duration::ZERO,
            guard: None,
            watchdog: None,
            device: None,
            rewritten: Vec::new(),
        }
    }
}

/// Whether a line begins a section.
fn heading(words: &[Word<'_>]) -> Option<Section> {
    let (file, node, is_later) = match words {
        [file] => (file.text.strip_suffix(':')?, None, false),
        [Word { text: "write", .. }, node, file] => (file.text.strip_suffix(':')?, Some(node.text.to_owned()), true),
        [file, node] => (file.text, Some(node.text.strip_suffix(':')?.to_owned()), false),
        _ => return None,
    };
    let file = SECTIONS.iter().position(|section| *section == file)?;
    Some(Section { file, node, is_later })
}

/// Puts a line into ha.cf, in place of the one that it contradicts.
fn set(text: &mut String, directive: &str, line: &str) {
    if !REPEATABLE.contains(&directive) {
        let others: Vec<&str> =
            text.lines().filter(|line| line.split_ascii_whitespace().next() != Some(directive)).collect();
        *text = others.into_iter().flat_map(|line| [line, "\n"]).collect();
    }
    text.push_str(line);
    text.push('\n');
}

fn joined(words: &[Word<'_>]) -> String {
    words.iter().map(|word| word.text).collect::<Vec<_>>().join(" ")
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
