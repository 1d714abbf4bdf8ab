//! Every directive of ha.cf as one table: what it takes, its default, and whether this version acts on it (CLUSTER i.2).

use alloc::string::{String, ToString};
use core::fmt;
use core::time::Duration;

use super::media::{IpVersion, Pings};
use super::timing::parse_time;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Directive {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) acted: Acted,
    /// The value that stands if the directive is absent; written as in ha.cf.
    pub(crate) default: Option<&'static str>,
}

/// What a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// One time over zero.
    Time,
    /// One boolean.
    Flag,
    /// One of some words, in any case.
    Choice(&'static [&'static str]),
    /// One whole number between two bounds.
    Number(u64, u64),
    /// One word.
    Text,
    /// Names of nodes.
    Nodes,
    /// Ping nodes, or a group of them: its own name, then its members.
    Pings(Pings),
    /// Interfaces, each a medium of its own.
    Bcast,
    /// An interface and a peer.
    Ucast(IpVersion),
    /// Interface, group, port, ttl, loop.
    Mcast(IpVersion),
    /// Devices of serial lines, each a medium of its own.
    Serial,
    /// `at-most-one` or `at-least-one`, and the groups it is about.
    Ownership,
    /// NAME=value.
    Env,
    /// A user and a command.
    Client,
    /// A client and who may be it.
    Authority,
    /// A verb, a time, keys of groups.
    ScriptLimit,
    /// A time, two counts, words of haresources.
    Monitor,
    /// A fencing device.
    Fence,
    /// Nothing: known from other programs or versions, and illegal.
    Illegal(&'static str),
}

/// Whether this version acts on a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acted {
    /// It does.
    Yes,
    /// It does not; a value other than the default is worth a warning.
    NotYet,
    /// It does not, and must not start: a value other than the default is an error, for this reason.
    Refused(&'static str),
}

/// A value of a single-valued directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Time(Duration),
    Flag(bool),
    Choice(&'static str),
    Number(u64),
    Text(String),
}

/// Why a word is not a value; printed as what the directive takes.
pub(crate) struct Unfit(String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Takes {
    /// Whether the directive has one value, the last one counting; such values are recorded for scripts and `hbparameter`.
    pub(crate) fn is_single(self) -> bool {
        matches!(self, Takes::Time | Takes::Flag | Takes::Choice(_) | Takes::Number(..) | Takes::Text)
    }

    /// Reads the value of a single-valued directive.
    pub(crate) fn value(self, text: &str) -> Result<Value, Unfit> {
        match self {
            Takes::Time => match parse_time(text) {
                Ok(Duration::ZERO) => Err(Unfit("a time over zero is needed, such as `2`, `1.5` or `250ms`".into())),
                Ok(time) => Ok(Value::Time(time)),
                Err(why) => Err(Unfit(alloc::format!("{why}; write for instance `2`, `1.5` or `250ms`"))),
            },
            Takes::Flag => boolean(text).map(Value::Flag).ok_or_else(|| Unfit("write `on` or `off`".into())),
            Takes::Choice(words) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(text));
                word.map(|word| Value::Choice(word)).ok_or_else(|| {
                    let quoted: alloc::vec::Vec<String> = words.iter().map(|word| alloc::format!("`{word}`")).collect();
                    Unfit(alloc::format!("write one of {}", quoted.join(", ")))
                })
            }
            Takes::Number(low, high) => match text.parse() {
                Ok(number) if (low..=high).contains(&number) => Ok(Value::Number(number)),
                _ => Err(Unfit(alloc::format!("write a whole number from {low} to {high}"))),
            },
            _ => Ok(Value::Text(text.to_string())),
        }
    }
}

impl Directive {
    /// Whether `value`, written as `text`, asks for nothing that the absent directive would not give as well.
    pub(crate) fn is_idle(&self, value: &Value, text: &str) -> bool {
        let off = self.default == Some("off") && boolean(text) == Some(false);
        off || self.default_value().is_some_and(|default| default == *value)
    }

    /// The value that stands if the directive is absent.
    pub(crate) fn default_value(&self) -> Option<Value> {
        self.takes.value(self.default?).ok()
    }
}

/// The row of that name; names are case-sensitive as in 3.0.6.
pub(crate) fn directive(name: &str) -> Option<&'static Directive> {
    TABLE.iter().find(|row| row.name == name)
}

fn boolean(text: &str) -> Option<bool> {
    let is = |words: [&str; 5]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(["true", "on", "yes", "y", "1"]) {
        Some(true)
    } else if is(["false", "off", "no", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

const fn row(name: &'static str, takes: Takes, acted: Acted, default: Option<&'static str>) -> Directive {
    Directive { name, takes, acted, default }
}

const NOT_BUILT: &str = "3.0.6 knows this directive only in special builds; remove the line";
const MANAGER: &str = "it hands the resources to another manager, which this version does not start";

/// All directives of 3.0.6, in the order of CLUSTER i.2, and ours, which a 3.0.6 refuses.
pub(crate) static TABLE: &[Directive] = &{
    use Acted::{NotYet, Refused, Yes};
    use IpVersion::{V4, V6};
    use Takes::{
        Authority, Bcast, Choice, Client, Env, Flag, Illegal, Mcast, Nodes, Number, Serial, Text, Time, Ucast,
    };
    const BAUD: Takes = Choice(&["9600", "19200", "38400", "57600", "115200", "230400", "460800"]);
    [
        row("node", Nodes, Yes, None),
        row("keepalive", Time, Yes, Some("1000ms")),
        row("deadtime", Time, Yes, Some("30000ms")),
        // Half of deadtime, what CLUSTER a.4 says, and deadtime: derived in `Timing`.
        row("warntime", Time, Yes, None),
        row("initdead", Time, Yes, None),
        row("deadping", Time, Yes, None),
        row("auto_failback", Choice(&["on", "off", "legacy"]), Yes, Some("on")),
        row("nice_failback", Flag, Yes, None),
        row("udpport", Number(1, 65535), Yes, Some("694")),
        row("baud", BAUD, Yes, Some("19200")),
        row("serial", Serial, Yes, None),
        row("bcast", Bcast, Yes, None),
        row("udp", Bcast, Yes, None),
        row("ucast", Ucast(V4), Yes, None),
        row("mcast", Mcast(V4), Yes, None),
        row("mcast6", Mcast(V6), Yes, None),
        row("ucast6", Ucast(V6), Yes, None),
        row("ping", Takes::Pings(Pings::V4), Yes, None),
        row("ping6", Takes::Pings(Pings::V6), Yes, None),
        row("ping_group", Takes::Pings(Pings::Group), Yes, None),
        row("hbaping", Illegal(NOT_BUILT), NotYet, None),
        row("rds", Illegal(NOT_BUILT), NotYet, None),
        row("tipc", Illegal(NOT_BUILT), NotYet, None),
        row("hopfudge", Number(0, 255), Yes, Some("1")),
        row("stonith", Takes::Fence, Yes, None),
        row("stonith_host", Takes::Fence, Yes, None),
        // Ours (`fencing`).
        row("stonith_delay", Time, Yes, None),
        row("stonith_limit", Time, Yes, None),
        row("takeover", Choice(&["automatic", "manual"]), Yes, Some("automatic")),
        row("takeover_delay", Time, Yes, None),
        row("takeover_alarm", Text, Yes, None),
        row("watchdog", Text, Yes, None),
        row("respawn", Client, Yes, None),
        row("failfast", Client, Yes, None),
        row("apiauth", Authority, Yes, None),
        row("autojoin", Choice(&["none", "other", "any"]), Yes, Some("none")),
        row("uuidfrom", Choice(&["file", "nodename"]), Yes, Some("file")),
        row("hbgenmethod", Choice(&["file", "time"]), Yes, Some("file")),
        row("logfile", Text, Yes, None),
        row("debugfile", Text, Yes, None),
        row("logfacility", Text, Yes, None),
        row("use_logd", Flag, NotYet, Some("off")),
        row("conn_logd_time", Time, NotYet, Some("60")),
        row("debug", Number(0, 255), Yes, Some("0")),
        row("realtime", Flag, Yes, Some("on")),
        row("rtprio", Number(1, 99), Yes, None),
        row("memreserve", Number(1, 4_194_304), NotYet, Some("6500")),
        row("coredumps", Flag, NotYet, Some("on")),
        row("coreroot", Text, NotYet, None),
        row("msgfmt", Choice(&["classic", "netstring"]), Yes, Some("classic")),
        row("compression", Choice(&["zlib", "bz2"]), Yes, Some("zlib")),
        row("compression_threshold", Number(1, 2048), Yes, Some("2")),
        row("traditional_compression", Flag, Yes, Some("off")),
        // Ours; the default is in `Config::max_peer_deadtime`.
        row("max_peer_deadtime", Time, Yes, None),
        // Ours, like the three that follow: docs/resources.md.
        row("script_limit", Takes::ScriptLimit, Yes, None),
        row("monitor", Takes::Monitor, Yes, None),
        row("stop_retries", Number(0, 1_000_000), Yes, Some("10")),
        row("stop_failure", Choice(&["stay", "reboot"]), Yes, Some("stay")),
        row("max_rexmit_delay", Number(1, 3_600_000), Yes, Some("250")),
        // Ours (`exclusion`).
        row("dialect", Choice(&["native", "classic"]), Yes, Some("native")),
        row("quorum", Choice(&["none", "majority"]), Yes, Some("none")),
        row("ownership", Takes::Ownership, Yes, None),
        row("log_badpack", Flag, Yes, Some("on")),
        row("syslogmsgfmt", Flag, Yes, Some("on")),
        row("env", Env, Yes, None),
        row("cluster", Text, NotYet, Some("linux-ha")),
        row("quorum_server", Text, NotYet, None),
        row("use_apphbd", Flag, NotYet, Some("off")),
        row("register_to_apphbd", Illegal("3.0.6 calls it `use_apphbd`"), NotYet, None),
        row("crm", Text, Refused(MANAGER), Some("off")),
        row("pacemaker", Text, Refused(MANAGER), Some("off")),
        row("crm_daemon_dir", Text, NotYet, None),
        row("crmd_spawns_pengine", Flag, NotYet, None),
        row("record_config_changes", Flag, NotYet, None),
        row("record_pengine_inputs", Flag, NotYet, None),
        row("enable_config_writes", Flag, NotYet, None),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_defaults_are_values() {
        let names: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for row in TABLE {
            assert_eq!(row.default.is_some(), row.default_value().is_some(), "{}", row.name);
        }
    }

    #[test]
    fn booleans_read_as_in_the_original() {
        for (text, value) in [
            ("true", Some(true)),
            ("ON", Some(true)),
            ("Yes", Some(true)),
            ("y", Some(true)),
            ("1", Some(true)),
            ("false", Some(false)),
            ("off", Some(false)),
            ("NO", Some(false)),
            ("n", Some(false)),
            ("0", Some(false)),
            ("2", None),
            ("maybe", None),
            ("", None),
        ] {
            assert_eq!(boolean(text), value, "{text}");
        }
    }
}
