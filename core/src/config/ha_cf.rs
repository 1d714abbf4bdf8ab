//! Reading of ha.cf. Read CLUSTER i.1 and i.2 first.
//!
//! Every line is understood by its row in the table of `directives`; single values are kept as read and only made into
//! settings at the end, when the whole file is known. Nothing stops at the first problem.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::clients::Clients;
use super::diagnostic::{Code, Report, Span};
use super::directives::{Acted, Directive, TABLE, Takes, Value, directive};
use super::exclusion;
use super::fencing;
use super::media::{Media, Pings};
use super::roster::is_name;
use super::settings::{Autojoin, Facility, Settings};
use super::text::{Line, Word, is_blank, is_delimiter, lines, nearest};
use super::timing::{Intervals, Timing, TimingError, parse_time};
use super::{Medium, Member, NodeConfig, SourceText, care, watchdog};
use crate::ids::NodeId;

/// Nodes of a cluster, ping nodes included (CLUSTER a.1).
pub(super) const NODES_MAX: usize = 100;
/// Bytes of a node's name (WIRE 14).
pub(super) const NAME_MAX: usize = 99;

/// What 3.0.6's scripts read for `stop_retries`; `env` of ha.cf may set it (CLUSTER d.6).
const RETRIES: &str = "HA_STOPRETRYMAX";

/// What ha.cf gives; `timing` and `local` are absent only if an error says why.
pub(crate) struct HaCf {
    pub(crate) local: Option<NodeId>,
    pub(crate) nodes: Vec<NodeConfig>,
    pub(crate) media: Vec<Medium>,
    pub(crate) timing: Option<Timing>,
    pub(crate) settings: Settings,
    pub(crate) ping_names: Vec<String>,
    pub(crate) members: Vec<Member>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) clients: Clients,
    pub(crate) care: care::Draft,
}

/// Reads ha.cf for the node `local_name`, which manages resources or not; nothing if it is no text.
pub(crate) fn read(source: SourceText<'_>, local_name: &str, managed: bool, report: &mut Report) -> Option<HaCf> {
    let mut draft = Draft::default();
    for line in lines(source, report)? {
        if report.is_full() {
            break;
        }
        draft.line(line.split_comment(report).0, source.name, report);
    }
    Some(draft.finish(local_name, managed, report))
}

/// A value of a single-valued directive, as read.
struct Given {
    value: Value,
    text: String,
    span: Span,
}

#[derive(Default)]
struct Draft {
    nodes: Vec<NodeConfig>,
    members: Vec<Member>,
    clients: Clients,
    ownership: Vec<exclusion::Ownership>,
    devices: Vec<fencing::FenceDevice>,
    media: Media,
    /// A medium could not be read, so that the absence of media needs no words.
    has_broken_medium: bool,
    has_serial: bool,
    given: BTreeMap<&'static str, Given>,
    /// Directives whose value could not be read: what follows from their absence does not follow.
    unreadable: BTreeMap<&'static str, Takes>,
    environment: BTreeMap<String, String>,
    care: care::Draft,
    /// The word of `env` that has [`RETRIES`].
    retries_span: Span,
}

impl Draft {
    fn line(&mut self, line: Line<'_>, file: &str, report: &mut Report) {
        let all = line.words(is_delimiter, report);
        let Some((name, words)) = all.split_first() else { return };
        let Some(row) = directive(name.text) else {
            let message = format_args!("Illegal directive [{}] in {file}", name.text);
            match nearest(name.text, TABLE.iter().map(|row| row.name)) {
                Some(near) => {
                    report.advise(Code::IllegalDirective, name.span, message, format_args!("did you mean `{near}`?"));
                }
                None => report.add(Code::IllegalDirective, name.span, message),
            }
            return;
        };
        if let Takes::Illegal(why) = row.takes {
            let message = format_args!("Illegal directive [{}] in {file}", name.text);
            report.advise(Code::IllegalDirective, name.span, message, why);
            return;
        }
        let Some(first) = words.first() else {
            let message = format_args!("{} without an argument is ignored", row.name);
            report.advise(Code::MissingArgument, name.span, message, "give it an argument, or remove the line");
            return;
        };
        if row.takes.is_single() {
            self.single(row, *name, words, &line, report);
            return;
        }
        match row.acted {
            Acted::Refused(why) => refuse(row, name.span, why, report),
            Acted::NotYet => not_acted_on(row, *name, report),
            Acted::Yes => {}
        }
        let media = self.media.total();
        match row.takes {
            Takes::Nodes => self.name_nodes(words, report),
            Takes::Bcast => {
                if row.name == "udp" {
                    report.advise(Code::UdpAlias, name.span, "udp is an old name of bcast", "write `bcast`");
                }
                self.media.bcast(words, self.udp_port(), report);
            }
            Takes::Ucast(version) => self.media.ucast(version, words, line.end(), self.udp_port(), report),
            Takes::Mcast(version) => self.media.mcast(version, words, line.end(), report),
            Takes::Serial => {
                self.has_serial = true;
                self.media.serial(words, self.baud(), report);
            }
            Takes::Pings(pings) => self.name_pings(pings, *first, words, &line, report),
            Takes::Ownership => self.ownership.extend(exclusion::ownership(words, report)),
            Takes::Fence => {
                // Parameters may have commas, so that only blanks separate.
                let words = line.words(is_blank, report);
                self.devices.extend(fencing::device(*name, words.get(1..).unwrap_or_default(), &line, report));
            }
            Takes::Env => self.set_environment(&line, report),
            Takes::Client => self.clients.program(*name, &line, report),
            Takes::Authority => self.clients.authorise(&line, report),
            Takes::ScriptLimit => self.care.script_limit(&line, report),
            Takes::Monitor => self.care.monitor(&line, report),
            _ => {}
        }
        let is_medium = matches!(row.takes, Takes::Bcast | Takes::Ucast(_) | Takes::Mcast(_) | Takes::Serial);
        self.has_broken_medium |= is_medium && media == self.media.total();
    }

    /// A directive with one value: several words are as many lines, the last counts; a time may have blanks inside.
    fn single(
        &mut self,
        row: &'static Directive,
        name: Word<'_>,
        words: &[Word<'_>],
        line: &Line<'_>,
        report: &mut Report,
    ) {
        let rest = words.first().and_then(|first| line.rest(first.span));
        let whole = rest.filter(|rest| row.takes == Takes::Time && parse_time(rest.text).is_ok());
        let words = whole.as_ref().map_or(words, core::slice::from_ref);
        if let [_, .., last] = words {
            let message = format_args!("{} has one value; the last one, {}, counts", row.name, last.text);
            report.advise(Code::SeveralValues, last.span, message, "remove the others");
        }
        for word in words {
            match row.takes.value(word.text) {
                Ok(value) => self.give(row, value, *word, report),
                Err(fit) => {
                    self.unreadable.insert(row.name, row.takes);
                    let message = match row.name {
                        "warntime" => alloc::format!("Warn time [{}] is invalid.", word.text),
                        _ => alloc::format!("Illegal value [{}] for {}", word.text, row.name),
                    };
                    report.advise(Code::IllegalValue, word.span, message, fit);
                }
            }
        }
        match row.name {
            "udpport" if self.media.total() > 0 => {
                let message = "udpport setting must precede media statements";
                let help = "move it before the first medium; media above it keep the port that stood before them";
                report.advise(Code::AfterMedia, name.span, message, help);
            }
            "baud" if self.has_serial => {
                let message = "baud setting must precede media statements";
                report.advise(Code::AfterMedia, name.span, message, "move it before the first `serial`");
            }
            _ => {}
        }
    }

    fn give(&mut self, row: &'static Directive, value: Value, word: Word<'_>, report: &mut Report) {
        if !row.is_idle(&value, word.text) {
            match row.acted {
                Acted::Refused(why) => refuse(row, word.span, why, report),
                Acted::NotYet => not_acted_on(row, word, report),
                Acted::Yes => {}
            }
        }
        // `logfacility none` is a value, so the names are checked here and not in the table.
        if row.name == "logfacility" && word.text != "none" && Facility::named(word.text).is_none() {
            let message = format_args!("Illegal value [{}] for logfacility", word.text);
            let help = "write `daemon`, `user`, `local0` to `local7`, another name of syslog(3) or `none`";
            report.advise(Code::IllegalValue, word.span, message, help);
            return;
        }
        let given = Given { value, text: word.text.to_string(), span: word.span };
        let Some(before) = self.given.insert(row.name, given).filter(|before| before.span.line != word.span.line)
        else {
            return;
        };
        if matches!(row.name, "baud" | "watchdog" | "crm" | "pacemaker") {
            let message = format_args!("{} is given already in line {}", row.name, before.span.line);
            report.advise(Code::GivenTwice, word.span, message, "remove one of the lines");
        } else {
            let message = format_args!("{} is given already in line {}; this one counts", row.name, before.span.line);
            report.advise(Code::GivenAgain, word.span, message, "remove one of the lines");
        }
    }

    fn name_nodes(&mut self, words: &[Word<'_>], report: &mut Report) {
        for word in words {
            let name = word.text.to_ascii_lowercase();
            if let Some(first) = self.nodes.iter().find(|node| node.name == name) {
                let line = first.span.map_or(0, |span| span.line);
                let message = format_args!("node {name} is configured already in line {line}");
                let help =
                    "remove one mention; 3.0.6 would keep the second as a node that never comes, here it is dropped";
                report.advise(Code::DuplicateNode, word.span, message, help);
            } else if !is_name(&name) {
                let help = format_args!("names have at most {NAME_MAX} bytes and no control characters");
                report.advise(Code::NodeName, word.span, format_args!("[{name}] cannot be the name of a node"), help);
            } else if self.nodes.len() == NODES_MAX {
                report.add(Code::TooManyNodes, word.span, format_args!("more than {NODES_MAX} nodes"));
                return;
            } else {
                self.members.extend(u16::try_from(self.nodes.len()).map(|at| Member::Node(NodeId(at))));
                self.nodes.push(NodeConfig { name, span: Some(word.span), removed: false });
            }
        }
    }

    fn name_pings(&mut self, pings: Pings, first: Word<'_>, words: &[Word<'_>], line: &Line<'_>, report: &mut Report) {
        let (names, hosts) = match (pings, words) {
            (Pings::Group, [_, hosts @ ..]) => (core::slice::from_ref(&first), hosts),
            _ => (words, &[][..]),
        };
        if pings == Pings::Group && hosts.is_empty() {
            let help = "write `ping_group NAME HOST...`";
            report.advise(Code::ArgumentMissing, line.end(), "ping_group needs at least one host", help);
        }
        for name in names {
            if name.text.len() > NAME_MAX || name.text.chars().any(char::is_control) {
                let help = format_args!("names have at most {NAME_MAX} bytes and no control characters");
                let message = format_args!("[{}] cannot be the name of a ping node", name.text);
                report.advise(Code::NodeName, name.span, message, help);
            } else {
                let position = self.media.pings().count();
                self.media.ping(pings, *name, hosts, report);
                if self.media.pings().count() > position {
                    self.members.extend(u16::try_from(position).map(Member::Ping));
                }
            }
        }
    }

    /// `env NAME=value`: the values may have commas, so that only blanks separate.
    fn set_environment(&mut self, line: &Line<'_>, report: &mut Report) {
        for word in line.words(is_blank, report).into_iter().skip(1) {
            let Some((name, value)) = word.text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                let message = format_args!("Illegal value [{}] for env", word.text);
                report.advise(Code::IllegalValue, word.span, message, "write `env NAME=value`");
                continue;
            };
            let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !letters {
                let message = format_args!("HA_{name} is no name that a shell script can read");
                report.advise(Code::EnvironmentName, word.span, message, "use letters, digits and `_`");
            }
            let name = alloc::format!("HA_{name}");
            if name == RETRIES {
                self.retries_span = word.span;
            }
            self.environment.insert(name, value.to_string());
        }
    }

    fn value(&self, name: &str) -> Option<Value> {
        let given = self.given.get(name).map(|given| given.value.clone());
        given.or_else(|| directive(name)?.default_value())
    }

    fn span(&self, name: &str) -> Span {
        self.given.get(name).map_or(Span::FILE, |given| given.span)
    }

    fn time(&self, name: &str) -> Option<Duration> {
        if let Some(Value::Time(time)) = self.value(name) { Some(time) } else { None }
    }

    /// A number of a directive that has a default.
    fn number<N: TryFrom<u64> + Default>(&self, name: &str) -> N {
        self.optional_number(name).unwrap_or_default()
    }

    fn optional_number<N: TryFrom<u64>>(&self, name: &str) -> Option<N> {
        if let Some(Value::Number(number)) = self.value(name) { N::try_from(number).ok() } else { None }
    }

    fn flag(&self, name: &str) -> bool {
        self.value(name) == Some(Value::Flag(true))
    }

    fn is(&self, name: &str, choice: &'static str) -> bool {
        self.value(name) == Some(Value::Choice(choice))
    }

    fn text(&self, name: &str) -> Option<String> {
        if let Some(Value::Text(text)) = self.value(name) { Some(text) } else { None }
    }

    fn udp_port(&self) -> u16 {
        self.number("udpport")
    }

    fn baud(&self) -> u32 {
        match self.value("baud") {
            Some(Value::Choice(baud)) => baud.parse().unwrap_or_default(),
            _ => 0,
        }
    }

    fn finish(mut self, local_name: &str, managed: bool, report: &mut Report) -> HaCf {
        if managed {
            self.refuse_growth(report);
        } else if self.autojoin() == Autojoin::Any {
            self.name_ourselves(local_name);
        }
        let local = self.find_local(local_name, report);
        let timing = self.timing(report);
        let settings = self.settings(managed, report);
        let care = self.care(report);
        self.check_pings(report);
        let media = core::mem::take(&mut self.media);
        let reaches_nobody = media.reaches_nobody();
        let ping_names: Vec<String> = media.pings().map(|(name, _)| name.to_string()).collect();
        let total = media.total();
        let media = media.into_served();
        if reaches_nobody && !self.has_broken_medium {
            let message = match total {
                0 => "no media are configured",
                _ => "no media are configured that reach other nodes",
            };
            report.advise(
                Code::NoMedium,
                Span::FILE,
                message,
                "add a line such as `bcast eth0`, `ucast eth0 PEER` or `serial /dev/ttyS0`",
            );
        }
        let mut environment = BTreeMap::new();
        let mut parameters = BTreeMap::new();
        for (name, given) in self.given {
            environment.insert(alloc::format!("HA_{name}"), given.text.clone());
            parameters.insert(name.to_string(), given.text);
        }
        environment.extend(self.environment);
        HaCf {
            local,
            nodes: self.nodes,
            media,
            timing,
            settings,
            ping_names,
            members: self.members,
            clients: self.clients,
            care,
            environment: environment.into_iter().collect(),
            parameters,
        }
    }

    fn autojoin(&self) -> Autojoin {
        match self.value("autojoin") {
            Some(Value::Choice("any")) => Autojoin::Any,
            Some(Value::Choice("other")) => Autojoin::Other,
            _ => Autojoin::None,
        }
    }

    /// With haresources the members must be named: who owns a group follows from their order.
    fn refuse_growth(&self, report: &mut Report) {
        if let Some(given) = self.given.get("autojoin").filter(|_| self.autojoin() != Autojoin::None) {
            let message = "autojoin is refused: with haresources the members must be configured";
            let help = "write `autojoin none` and name all members, or start with -M, without resource management";
            report.advise(Code::Refused, given.span, message, help);
        }
    }

    /// `autojoin any`: this node need not be named.
    fn name_ourselves(&mut self, local_name: &str) {
        let name = local_name.to_ascii_lowercase();
        if self.nodes.iter().all(|node| node.name != name) && self.nodes.len() < NODES_MAX {
            self.members.extend(u16::try_from(self.nodes.len()).map(|at| Member::Node(NodeId(at))));
            self.nodes.push(NodeConfig { name, span: None, removed: false });
        }
    }

    fn find_local(&self, local_name: &str, report: &mut Report) -> Option<NodeId> {
        let lower = local_name.to_ascii_lowercase();
        let Some(first) = self.nodes.first() else {
            report.advise(Code::NoNodes, Span::FILE, "no nodes defined", "name the members: `node h1 h2`");
            return None;
        };
        let span = first.span.unwrap_or(Span::FILE);
        let found = self.nodes.iter().position(|node| node.name == lower).and_then(|at| u16::try_from(at).ok());
        if found.is_none() {
            let message = format_args!("Current node [{lower}] not in configuration!");
            let short = lower.split('.').next().unwrap_or_default();
            let near = self
                .nodes
                .iter()
                .map(|node| node.name.as_str())
                .find(|name| *name == short || name.split('.').next().is_some_and(|host| host == lower));
            if let Some(near) = near {
                let help = format_args!("write `node {lower}` instead of {near}, or {near} into the file nodeinfo");
                report.advise(Code::LocalNodeMissing, span, message, help);
            } else {
                let help = format_args!("add `node {lower}`: it must be what `uname -n` or the file nodeinfo says");
                report.advise(Code::LocalNodeMissing, span, message, help);
            }
        }
        found.map(NodeId)
    }

    fn timing(&self, report: &mut Report) -> Option<Timing> {
        let given = |name| self.given.get(name).and_then(|_| self.time(name));
        let intervals = Intervals {
            keepalive: self.time("keepalive")?,
            deadtime: self.time("deadtime")?,
            warntime: given("warntime"),
            initdead: given("initdead"),
            deadping: given("deadping"),
        };
        // An interval that could not be read: those it relates to cannot be judged.
        if self.unreadable.values().any(|takes| *takes == Takes::Time) {
            return None;
        }
        let over = |floor: Duration| floor.saturating_mul(2).as_millis().saturating_add(1);
        for problem in intervals.problems() {
            match problem {
                TimingError::DeadtimeTooShort { keepalive, .. } => {
                    let help = format_args!("write `deadtime {}ms` or more, or a shorter keepalive", over(keepalive));
                    report.advise(Code::DeadtimeTooShort, self.span_of(&["deadtime", "keepalive"]), problem, help);
                }
                TimingError::DeadpingTooShort { keepalive, .. } => {
                    let help = format_args!("write `deadping {}ms` or more, or a shorter keepalive", over(keepalive));
                    report.advise(Code::DeadpingTooShort, self.span("deadping"), problem, help);
                }
                TimingError::InitdeadBelowDeadtime { deadtime, .. } => {
                    let help = format_args!("write `initdead {}ms` or more, or leave it out", deadtime.as_millis());
                    report.advise(Code::InitdeadBelowDeadtime, self.span("initdead"), problem, help);
                }
            }
        }
        if let Some(initdead) = intervals.initdead.filter(|initdead| *initdead < Duration::from_secs(10)) {
            let message = format_args!("Initial dead time [{} ms] may be too small!", initdead.as_millis());
            let help = "networks need some seconds after a boot; a peer not heard by then counts as dead";
            report.advise(Code::InitdeadSmall, self.span("initdead"), message, help);
        }
        if intervals.warntime.is_some_and(|warntime| warntime > intervals.deadtime) {
            let message = "warntime is longer than deadtime: a silent node is dead before the warning is due";
            report.advise(Code::WarntimeNeverFires, self.span("warntime"), message, "write about half of deadtime");
        }
        let watchdog = self.given.get("watchdog").map(|given| given.span);
        Timing::new(intervals).ok().inspect(|timing| watchdog::check(timing, watchdog, report))
    }

    /// The place of the first of the directives that is given.
    fn span_of(&self, names: &[&str]) -> Span {
        names.iter().find_map(|name| self.given.get(name)).map_or(Span::FILE, |given| given.span)
    }

    fn check_pings(&self, report: &mut Report) {
        let room = NODES_MAX.saturating_sub(self.nodes.len());
        if let Some((_, span)) = self.media.pings().nth(room) {
            report.add(Code::TooManyNodes, span, format_args!("more than {NODES_MAX} nodes, ping nodes included"));
        }
        for (name, span) in self.media.pings() {
            if self.nodes.iter().any(|node| node.name == name) {
                let help = "ping something that is no member, such as a router";
                report.advise(Code::PingIsNode, span, format_args!("ping node {name} is a cluster node"), help);
            }
        }
    }
}

fn refuse(row: &Directive, span: Span, why: &str, report: &mut Report) {
    let help =
        if row.default.is_some() { "write `off` or remove the line" } else { "remove the line if you accept that" };
    report.advise(Code::Refused, span, format_args!("{} is refused: {why}", row.name), help);
}

fn not_acted_on(row: &Directive, word: Word<'_>, report: &mut Report) {
    let message = format_args!("{} is not acted on in this version", row.name);
    report.advise(Code::NotActedOn, word.span, message, "the line does no harm");
}

mod values;

#[cfg(test)]
mod tests;
