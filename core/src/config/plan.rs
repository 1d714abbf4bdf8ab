//! What a running node does with new files: what it applies at once, and what waits for a restart.
//!
//! | applied at once | waits for a restart |
//! |---|---|
//! | authkeys; times; `auto_failback` | nodes and the name of this one, media, groups |
//! | how messages are written and repaired; `autojoin` | identity, scheduling and memory of the process |
//! | time limits, monitors, failed stops; where log lines go; `apiauth` | programs beside the daemon, what scripts find in their environment |
//!
//! Groups wait: their state is kept by position, and one that is taken away would have to be stopped first on whichever
//! node runs it.
//!
//! Laws (`reload` in the fuzzer): between the old configuration and the [renewed](Config::renewed) one is nothing that
//! waits, and between that and the new one nothing else.

use super::exclusion::Ownership;
use super::fencing::{FenceDevice, Proof};
use super::{Config, LogConfig, Settings, care::Care, clients::Clients};
use crate::config::Span;
use crate::config::{ApiAuth, Facility, Failback, Group, Medium, MediumKind, Program};
use crate::digest::digest_of;
use crate::time::Millis;
use crate::wire::MsgFormat;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// When a change counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Takes {
    /// At once.
    Now,
    /// When the daemon is started again, for this reason.
    Restart(&'static str),
}

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The directive, or the file.
    pub what: String,
    /// What stands; absent if something is new.
    pub old: Option<String>,
    /// What is wanted; absent if something is taken away.
    pub new: Option<String>,
    /// When it counts.
    pub takes: Takes,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { what, old, new, takes } = self;
        match (old, new) {
            (Some(old), Some(new)) => write!(f, "{what}: {old} becomes {new}")?,
            (None, Some(new)) => write!(f, "{what}: {new} is added")?,
            (Some(old), None) => write!(f, "{what}: {old} is taken away")?,
            (None, None) => write!(f, "{what}")?,
        }
        match takes {
            Takes::Now => Ok(()),
            Takes::Restart(why) => write!(f, "; waits for a restart: {why}"),
        }
    }
}

/// Everything that differs between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The differences, in the order of this file.
    pub changes: Vec<Change>,
}

const NODES: &str = "ha.cf names the members at the start; hb_addnode and hb_delnode change them at once";
const MODE: &str = "what the daemon manages is decided at its start";
const MEDIA: &str = "media are opened at the start";
const GROUPS: &str = "a group is added or taken away when nothing runs";
const PROCESS: &str = "the process takes it up at its start";
const IDENTITY: &str = "a node keeps its identity as long as it runs";
const PROGRAMS: &str = "programs are started with the daemon";
const SCRIPTS: &str = "scripts get it from the daemon's start on";
const OWNERS: &str = "who may own a group must not change while somebody does";

/// Single-valued directives that count at once.
const LIVE: [&str; 23] = [
    "autojoin",
    "keepalive",
    "deadtime",
    "warntime",
    "initdead",
    "deadping",
    "auto_failback",
    "nice_failback",
    "msgfmt",
    "compression",
    "compression_threshold",
    "traditional_compression",
    "hopfudge",
    "max_rexmit_delay",
    "max_peer_deadtime",
    "stop_retries",
    "stop_failure",
    "logfile",
    "debugfile",
    "logfacility",
    "use_logd",
    "debug",
    "syslogmsgfmt",
];
/// The last of them, and those that wait and have a field of their own.
const LOG_BADPACK: &str = "log_badpack";
const WAITING: [&str; 18] = [
    "dialect",
    "quorum",
    "takeover",
    "takeover_delay",
    "takeover_alarm",
    "stonith_delay",
    "stonith_limit",
    "udpport",
    "realtime",
    "rtprio",
    "memreserve",
    "uuidfrom",
    "hbgenmethod",
    "cluster",
    "coredumps",
    "coreroot",
    "watchdog",
    "conn_logd_time",
];

fn is_live(directive: &str) -> bool {
    directive == LOG_BADPACK || LIVE.contains(&directive)
}

impl Plan {
    /// What changes if `new` is wanted where `old` runs.
    pub fn between(old: &Config, new: &Config) -> Plan {
        let mut plan = Plan::default();
        // Without `..`: a new field must be thought of here, and in `renewed`.
        let Config {
            local: _,
            roster: _,
            media,
            timing,
            groups,
            keyring: _,
            ping_names,
            has_groups_file,
            settings,
            environment,
            parameters,
            clients,
            care,
        } = old;
        plan.keys(old, new);
        let times = [
            ("keepalive", timing.keepalive(), new.timing.keepalive()),
            ("warntime", timing.warntime(), new.timing.warntime()),
            ("deadtime", timing.deadtime(), new.timing.deadtime()),
            ("initdead", timing.initdead(), new.timing.initdead()),
            ("deadping", timing.deadping(), new.timing.deadping()),
        ];
        for (what, old, new) in times {
            plan.value(what, Takes::Now, &millis(old), &millis(new));
        }
        plan.settings(settings, &new.settings);
        plan.list("script_limit, monitor", Takes::Now, &care.lines(), &new.care.lines());
        let retries = |care: &Care| care.stop_retries.map_or_else(|| "for ever".into(), |retries| retries.to_string());
        plan.value("stop_retries", Takes::Now, &retries(care), &retries(&new.care));
        plan.value("stop_failure", Takes::Now, care.stop_failure.word(), new.care.stop_failure.word());
        plan.value("the name of this node", Takes::Restart(IDENTITY), old.local_name(), new.local_name());
        plan.list("node", Takes::Restart(NODES), &old.names_of_ha_cf(), &new.names_of_ha_cf());
        plan.list("media", Takes::Restart(MEDIA), &lines(media, medium_line), &lines(&new.media, medium_line));
        // What else is derived from the lines of nodes and ping nodes; their order is that of ha.cf.
        plan.list("ping nodes", Takes::Restart(MEDIA), ping_names, &new.ping_names);
        let managed = |managed: bool| if managed { "by haresources" } else { "by nobody here" };
        plan.value("resources", Takes::Restart(MODE), managed(*has_groups_file), managed(new.has_groups_file));
        let same_names = old.names_of_ha_cf() == new.names_of_ha_cf() && *ping_names == new.ping_names;
        if same_names && old.order_of_ha_cf() != new.order_of_ha_cf() {
            plan.push("the order of nodes and ping nodes", Takes::Restart(NODES), None, None);
        }
        let group_lines = |config: &Config, groups: &[Group]| -> Vec<String> {
            groups.iter().map(|group| group_line(config, group)).collect()
        };
        let (had, has) = (group_lines(old, groups), group_lines(new, &new.groups));
        plan.list("haresources", Takes::Restart(GROUPS), &had, &has);
        plan.clients(clients, &new.clients);
        plan.texts(parameters, &new.parameters);
        let own = |environment: &[(String, String)], parameters: &BTreeMap<String, String>| {
            let is_directive = |name: &str| is_live(name) || parameters.contains_key(name);
            let is_own = |name: &str| !name.strip_prefix("HA_").is_some_and(is_directive);
            let own = environment.iter().filter(|(name, _)| is_own(name));
            own.map(|(name, value)| format!("{}={value}", name.strip_prefix("HA_").unwrap_or(name)))
                .collect::<Vec<String>>()
        };
        let (had, has) = (own(environment, parameters), own(&new.environment, &new.parameters));
        plan.list("env", Takes::Restart(SCRIPTS), &had, &has);
        plan
    }

    /// What is applied at once.
    pub fn applied(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.takes == Takes::Now)
    }

    /// What waits for a restart.
    pub fn waiting(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.takes != Takes::Now)
    }

    fn push(&mut self, what: &str, takes: Takes, old: Option<String>, new: Option<String>) {
        self.changes.push(Change { what: what.to_string(), old, new, takes });
    }

    fn value(&mut self, what: &str, takes: Takes, old: &str, new: &str) {
        if old != new {
            self.push(what, takes, Some(old.to_string()), Some(new.to_string()));
        }
    }

    /// What is in one list and not in the other; of the same in another order, the whole.
    fn list(&mut self, what: &str, takes: Takes, old: &[String], new: &[String]) {
        let before = self.changes.len();
        let (had, has): (BTreeSet<&String>, BTreeSet<&String>) = (old.iter().collect(), new.iter().collect());
        for gone in old.iter().filter(|item| !has.contains(item)) {
            self.push(what, takes, Some(gone.clone()), None);
        }
        for added in new.iter().filter(|item| !had.contains(item)) {
            self.push(what, takes, None, Some(added.clone()));
        }
        if self.changes.len() == before && old != new {
            self.push(what, takes, Some(old.join(", ")), Some(new.join(", ")));
        }
    }

    /// Of a secret no more than that it is another one.
    fn keys(&mut self, old: &Config, new: &Config) {
        let (old, new) = (&old.keyring, &new.keyring);
        for (index, method) in old.methods() {
            let what = format!("authkeys {index}");
            match new.methods().find(|(other, _)| *other == index) {
                None => self.push(&what, Takes::Now, Some(method.to_string()), None),
                Some((_, other)) if other != method => {
                    self.value(&what, Takes::Now, &method.to_string(), &other.to_string());
                }
                Some(_) if !old.has_same_entry(new, index) => {
                    self.push(
                        &what,
                        Takes::Now,
                        Some(method.to_string()),
                        Some(format!("{method} with another secret")),
                    );
                }
                Some(_) => {}
            }
        }
        for (index, method) in new.methods().filter(|(index, _)| !old.methods().any(|(other, _)| other == *index)) {
            self.push(&format!("authkeys {index}"), Takes::Now, None, Some(method.to_string()));
        }
        self.value("auth", Takes::Now, &old.current().to_string(), &new.current().to_string());
    }

    fn settings(&mut self, old: &Settings, new: &Settings) {
        let Settings {
            failback,
            sealing,
            hopfudge,
            udp_port,
            max_rexmit_delay,
            max_peer_deadtime,
            autojoin,
            native,
            quorum,
            ownership,
            proof,
            realtime,
            rtprio,
            memreserve,
            log,
            uuid_from,
            generation_method,
            cluster,
            coredumps,
            coreroot,
            watchdog,
            conn_logd_time,
        } = old;
        let flag = |on: bool| if on { "on" } else { "off" };
        let compression = sealing.compression;
        let other = new.sealing.compression;
        let live = [
            ("autojoin", autojoin.word().into(), new.autojoin.word().into()),
            ("auto_failback", failback_word(*failback).into(), failback_word(new.failback).into()),
            ("msgfmt", msgfmt_word(sealing.msgfmt).into(), msgfmt_word(new.sealing.msgfmt).into()),
            ("compression", compression.algorithm.name().into(), other.algorithm.name().into()),
            ("compression_threshold", bytes(compression.threshold), bytes(other.threshold)),
            ("traditional_compression", flag(compression.traditional).into(), flag(other.traditional).into()),
            ("hopfudge", hopfudge.to_string(), new.hopfudge.to_string()),
            ("max_rexmit_delay", millis(*max_rexmit_delay), millis(new.max_rexmit_delay)),
            (
                "max_peer_deadtime",
                or_default(max_peer_deadtime.map(millis)),
                or_default(new.max_peer_deadtime.map(millis)),
            ),
        ];
        for (what, old, new) in live {
            self.value(what, Takes::Now, &old, &new);
        }
        self.log(log, &new.log);
        let number = |number: Option<u8>| or_default(number.map(|number| number.to_string()));
        let waiting = [
            ("udpport", MEDIA, udp_port.to_string(), new.udp_port.to_string()),
            ("realtime", PROCESS, flag(*realtime).into(), flag(new.realtime).into()),
            ("rtprio", PROCESS, number(*rtprio), number(new.rtprio)),
            ("memreserve", PROCESS, memreserve.to_string(), new.memreserve.to_string()),
            ("uuidfrom", IDENTITY, format!("{uuid_from:?}"), format!("{:?}", new.uuid_from)),
            ("hbgenmethod", IDENTITY, format!("{generation_method:?}"), format!("{:?}", new.generation_method)),
            ("cluster", IDENTITY, cluster.clone(), new.cluster.clone()),
            ("coredumps", PROCESS, flag(*coredumps).into(), flag(new.coredumps).into()),
            ("coreroot", PROCESS, or_default(coreroot.clone()), or_default(new.coreroot.clone())),
            ("watchdog", PROCESS, or_default(watchdog.clone()), or_default(new.watchdog.clone())),
            ("conn_logd_time", PROCESS, millis(*conn_logd_time), millis(new.conn_logd_time)),
        ];
        for (what, why, old, new) in waiting {
            self.value(what, Takes::Restart(why), &old, &new);
        }
        let dialect = |native: bool| if native { "native" } else { "classic" };
        self.value("dialect", Takes::Restart(OWNERS), dialect(*native), dialect(new.native));
        let votes = |quorum: Option<Span>| if quorum.is_some() { "majority" } else { "none" };
        self.value("quorum", Takes::Restart(OWNERS), votes(*quorum), votes(new.quorum));
        let (had, has) = (lines(ownership, ownership_line), lines(&new.ownership, ownership_line));
        self.list("ownership", Takes::Restart(OWNERS), &had, &has);
        self.proof(proof, &new.proof);
    }

    /// Of devices only their types are told: parameters may be passwords.
    fn proof(&mut self, old: &Proof, new: &Proof) {
        let Proof { devices, manual, takeover_delay, alarm, delay, limit } = old;
        let by_hand = |manual: bool| if manual { "manual" } else { "automatic" };
        let time = |time: Option<Duration>| or_default(time.map(millis));
        let rows = [
            ("takeover", by_hand(*manual).into(), by_hand(new.manual).into()),
            ("takeover_delay", millis(*takeover_delay), millis(new.takeover_delay)),
            ("takeover_alarm", or_default(alarm.clone()), or_default(new.alarm.clone())),
            ("stonith_delay", time(*delay), time(new.delay)),
            ("stonith_limit", time(*limit), time(new.limit)),
        ];
        for (what, old, new) in rows {
            self.value(what, Takes::Restart(OWNERS), &old, &new);
        }
        // The digest tells that parameters changed, and not which.
        let line = |device: &FenceDevice| format!("{} ({:04x})", device.kind, digest_of(&device.parameters) & 0xffff);
        self.list("stonith", Takes::Restart(OWNERS), &lines(devices, line), &lines(&new.devices, line));
    }

    fn log(&mut self, old: &LogConfig, new: &LogConfig) {
        let LogConfig { logfile, debugfile, logfacility, use_logd, debug, syslogmsgfmt, log_badpack } = old;
        let flag = |on: bool| String::from(if on { "on" } else { "off" });
        let or_none = |text: Option<&str>| text.unwrap_or("none").to_string();
        let rows = [
            ("logfile", or_none(logfile.as_deref()), or_none(new.logfile.as_deref())),
            ("debugfile", or_none(debugfile.as_deref()), or_none(new.debugfile.as_deref())),
            ("logfacility", or_none(logfacility.map(Facility::name)), or_none(new.logfacility.map(Facility::name))),
            ("use_logd", flag(*use_logd), flag(new.use_logd)),
            ("debug", debug.to_string(), new.debug.to_string()),
            ("syslogmsgfmt", flag(*syslogmsgfmt), flag(new.syslogmsgfmt)),
            (LOG_BADPACK, flag(*log_badpack), flag(new.log_badpack)),
        ];
        for (what, old, new) in rows {
            self.value(what, Takes::Now, &old, &new);
        }
    }

    fn clients(&mut self, old: &Clients, new: &Clients) {
        let Clients { programs, api_auth } = old;
        self.list("apiauth", Takes::Now, &lines(api_auth, authority_line), &lines(&new.api_auth, authority_line));
        self.list(
            "respawn, failfast",
            Takes::Restart(PROGRAMS),
            &lines(programs, program_line),
            &lines(&new.programs, program_line),
        );
    }

    /// Directives that are known by their text only.
    fn texts(&mut self, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names.into_iter().filter(|name| !is_live(name) && !WAITING.contains(&name.as_str())) {
            if old.get(name) != new.get(name) {
                self.push(name, Takes::Restart(PROCESS), old.get(name).cloned(), new.get(name).cloned());
            }
        }
    }
}

impl fmt::Display for Plan {
    /// A line for each change.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

impl Config {
    /// This configuration with all of `new` that counts at once: what a running node has after a reload.
    #[must_use]
    pub fn renewed(&self, new: &Config) -> Config {
        let Config {
            local,
            roster,
            media,
            timing: _,
            groups,
            keyring: _,
            ping_names,
            has_groups_file,
            settings,
            environment,
            parameters,
            clients: Clients { programs, api_auth: _ },
            care: _,
        } = self;
        let Settings {
            failback: _,
            sealing: _,
            hopfudge: _,
            udp_port,
            max_rexmit_delay: _,
            max_peer_deadtime: _,
            autojoin: _,
            native,
            quorum,
            ownership,
            proof,
            realtime,
            rtprio,
            memreserve,
            log: _,
            uuid_from,
            generation_method,
            cluster,
            coredumps,
            coreroot,
            watchdog,
            conn_logd_time,
        } = settings;
        let live = |(name, _): &(&String, &String)| is_live(name);
        let kept = parameters.iter().filter(|pair| !live(pair));
        Config {
            local: *local,
            roster: roster.clone(),
            media: media.clone(),
            timing: new.timing,
            groups: groups.clone(),
            keyring: new.keyring.clone(),
            ping_names: ping_names.clone(),
            has_groups_file: *has_groups_file,
            settings: Settings {
                failback: new.settings.failback,
                sealing: new.settings.sealing,
                hopfudge: new.settings.hopfudge,
                udp_port: *udp_port,
                max_rexmit_delay: new.settings.max_rexmit_delay,
                max_peer_deadtime: new.settings.max_peer_deadtime,
                autojoin: new.settings.autojoin,
                native: *native,
                quorum: *quorum,
                ownership: ownership.clone(),
                proof: proof.clone(),
                realtime: *realtime,
                rtprio: *rtprio,
                memreserve: *memreserve,
                log: new.settings.log.clone(),
                uuid_from: *uuid_from,
                generation_method: *generation_method,
                cluster: cluster.clone(),
                coredumps: *coredumps,
                coreroot: coreroot.clone(),
                watchdog: watchdog.clone(),
                conn_logd_time: *conn_logd_time,
            },
            // What the daemon's scripts really have.
            environment: environment.clone(),
            parameters: kept
                .chain(new.parameters.iter().filter(live))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            clients: Clients { programs: programs.clone(), api_auth: new.clients.api_auth.clone() },
            care: new.care.clone(),
        }
    }

    /// The same with other keys.
    #[cfg(feature = "trace")]
    #[must_use]
    pub(crate) fn with_keyring(mut self, keyring: crate::auth::Keyring) -> Config {
        self.keyring = keyring;
        self
    }
}

// --- values as text

fn millis(time: Duration) -> String {
    format!("{} ms", Millis(time))
}

fn bytes(count: usize) -> String {
    format!("{count} bytes")
}

fn or_default(text: Option<String>) -> String {
    text.unwrap_or_else(|| "the default".into())
}

fn failback_word(failback: Failback) -> &'static str {
    match failback {
        Failback::On => "on",
        Failback::Off => "off",
    }
}

fn msgfmt_word(msgfmt: MsgFormat) -> &'static str {
    match msgfmt {
        MsgFormat::Classic => "classic",
        MsgFormat::Netstring => "netstring",
    }
}

fn lines<T>(items: &[T], line: fn(&T) -> String) -> Vec<String> {
    items.iter().map(line).collect()
}

/// All of a medium but its place in ha.cf.
fn medium_line(medium: &Medium) -> String {
    let Medium { name, kind, port, span: _ } = medium;
    let directive = kind.directive();
    let port = if *port == 0 { String::new() } else { format!(", port {port}") };
    match kind {
        MediumKind::Bcast { interface } => format!("{directive} {interface}{port}"),
        MediumKind::Mcast { interface, group, port: _, ttl, loopback } => {
            format!("{directive} {interface} {group} ttl {ttl} loop {}{port}", u8::from(*loopback))
        }
        MediumKind::Mcast6 { interface, group, port: _, ttl, loopback } => {
            format!("{directive} {interface} {group} ttl {ttl} loop {}{port}", u8::from(*loopback))
        }
        MediumKind::Ucast { interface, peer } | MediumKind::Ucast6 { interface, peer } => {
            format!("{directive} {interface} {peer}{port}")
        }
        MediumKind::Serial { device, baud } => format!("{directive} {device} at {baud} baud"),
        MediumKind::Ping { host } | MediumKind::Ping6 { host } => format!("{directive} {host}"),
        MediumKind::PingGroup { hosts } => format!("{directive} {name} {}", hosts.join(" ")),
    }
}

fn group_line(config: &Config, group: &Group) -> String {
    let mut line: String = config.node(group.home).map_or_else(String::new, |home| home.name.clone());
    for resource in &group.resources {
        line.push(' ');
        line.push_str(&resource.to_string());
    }
    line
}

fn ownership_line(line: &Ownership) -> String {
    format!("{} {}", if line.at_most_one { "at-most-one" } else { "at-least-one" }, line.keys.join(" "))
}

fn authority_line(list: &ApiAuth) -> String {
    let ApiAuth { client, users, groups, span: _ } = list;
    format!("{client} uid={} gid={}", users.join(","), groups.join(","))
}

fn program_line(program: &Program) -> String {
    let Program { user, command, failfast, span: _ } = program;
    format!("{} {user} {command}", if *failfast { "failfast" } else { "respawn" })
}

#[cfg(test)]
mod tests;
