//! What `getparm` tells: the text of ha.cf, or what stands without a line. Read CLIENT 7 first.

use super::signon::VERSION;
use crate::config::{Config, Failback};
use alloc::format;
use alloc::string::{String, ToString as _};
use core::time::Duration;

/// What stands where ha.cf has no line, written as the original writes it.
const DEFAULTS: [(&str, &str); 20] = [
    ("cluster", "linux-ha"),
    ("hopfudge", "1"),
    ("keepalive", "1000ms"),
    ("deadtime", "30000ms"),
    ("baud", "19200"),
    ("hbgenmethod", "file"),
    ("realtime", "true"),
    ("debug", "0"),
    ("msgfmt", "classic"),
    ("conn_logd_time", "60"),
    ("log_badpack", "true"),
    ("syslogmsgfmt", "true"),
    ("coredumps", "true"),
    ("autojoin", "none"),
    ("uuidfrom", "file"),
    ("compression", "zlib"),
    ("compression_threshold", "2"),
    ("traditional_compression", "no"),
    ("max_rexmit_delay", "250"),
    ("memreserve", "6500"),
];

/// The value of a parameter; `None` if it has none, which is no error.
pub(crate) fn parameter(config: &Config, name: &str) -> Option<String> {
    if name == "nice_failback" {
        return None;
    }
    if let Some(value) = config.parameter(name) {
        return Some(value.to_string());
    }
    let millis = |time: Duration| Some(format!("{}ms", time.as_millis()));
    let (timing, log) = (config.timing(), config.log());
    // Lines go to the system log alone.
    let no_files = log.logfile.is_none() && log.debugfile.is_none() && log.logfacility.is_some();
    match name {
        "hbversion" => Some(VERSION.to_string()),
        "pacemaker" | "crm" => Some("false".to_string()),
        // *Ours*: without a line it acts as `on`, where the original acts as `legacy`.
        "auto_failback" => Some(if config.failback() == Failback::On { "on" } else { "off" }.to_string()),
        "warntime" => millis(timing.warntime()),
        "deadping" => millis(timing.deadping()),
        "initdead" => millis(timing.initdead()),
        "udpport" => Some(config.udp_port().to_string()),
        "logfile" | "debugfile" if no_files => Some("/dev/null".to_string()),
        _ => DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string()),
    }
}
