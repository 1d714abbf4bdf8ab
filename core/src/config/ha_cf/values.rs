//! The single values of ha.cf as settings, once the whole file is known.

use core::time::Duration;

use super::{Draft, RETRIES};
use crate::auth::Sealing;
use crate::config::care::{self, StopFailure};
use crate::config::diagnostic::{Code, Report, Span};
use crate::config::fencing::Proof;
use crate::config::settings::{Facility, Failback, GenerationMethod, LogConfig, Settings, UuidFrom};
use crate::membership::START_GRACE;
use crate::wire::{Algorithm, Compression, MsgFormat};

impl Draft {
    fn alarm(&self, report: &mut Report) -> Option<alloc::string::String> {
        let program = self.text("takeover_alarm")?;
        if !program.starts_with('/') {
            let message = format_args!("the program of takeover_alarm, [{program}], is no absolute path");
            report.advise(Code::ProgramPath, self.span("takeover_alarm"), message, "write its path from the root");
        }
        Some(program)
    }

    fn failback(&self, managed: bool, report: &mut Report) -> Failback {
        let on = Failback::On;
        if let Some(nice) = self.given.get("nice_failback") {
            let to = if self.flag("nice_failback") { "off" } else { "on" };
            let message = format_args!("nice_failback is obsolete; it acts as `auto_failback {to}`");
            report.advise(Code::NiceFailback, nice.span, message, format_args!("write `auto_failback {to}`"));
            if !self.given.contains_key("auto_failback") {
                return if to == "off" { Failback::Off } else { on };
            }
        }
        match self.given.get("auto_failback") {
            None if !managed || self.unreadable.contains_key("auto_failback") => on,
            None => {
                let message = "auto_failback is not given; it acts as `on`: groups return when their home does";
                report.advise(Code::AutoFailbackMissing, Span::FILE, message, "write `auto_failback on` or `off`");
                on
            }
            Some(given) if self.is("auto_failback", "legacy") => {
                let message = "auto_failback legacy is not supported; it acts as `on`";
                report.advise(Code::AutoFailbackLegacy, given.span, message, "write `auto_failback on` or `off`");
                on
            }
            Some(_) => {
                if self.is("auto_failback", "off") {
                    Failback::Off
                } else {
                    on
                }
            }
        }
    }

    pub(super) fn settings(&self, managed: bool, report: &mut Report) -> Settings {
        Settings {
            failback: self.failback(managed, report),
            sealing: Sealing {
                msgfmt: if self.is("msgfmt", "netstring") { MsgFormat::Netstring } else { MsgFormat::Classic },
                compression: Compression {
                    algorithm: if self.is("compression", "bz2") { Algorithm::Bz2 } else { Algorithm::Zlib },
                    threshold: self.number::<usize>("compression_threshold").saturating_mul(1024),
                    traditional: self.flag("traditional_compression"),
                },
            },
            hopfudge: self.number("hopfudge"),
            udp_port: self.udp_port(),
            max_rexmit_delay: Duration::from_millis(self.number("max_rexmit_delay")),
            max_peer_deadtime: self.max_peer_deadtime(report),
            realtime: self.flag("realtime"),
            rtprio: self.optional_number("rtprio"),
            memreserve: self.number("memreserve"),
            log: self.log(report),
            watchdog: self.text("watchdog"),
            autojoin: self.autojoin(),
            native: self.is("dialect", "native"),
            quorum: self.is("quorum", "majority").then(|| self.span("quorum")),
            ownership: self.ownership.clone(),
            proof: Proof {
                devices: self.devices.clone(),
                manual: self.is("takeover", "manual"),
                takeover_delay: self.time("takeover_delay").unwrap_or_default(),
                alarm: self.alarm(report),
                delay: self.time("stonith_delay"),
                limit: self.time("stonith_limit"),
            },
            uuid_from: if self.is("uuidfrom", "nodename") { UuidFrom::NodeName } else { UuidFrom::File },
            generation_method: if self.is("hbgenmethod", "time") {
                GenerationMethod::Time
            } else {
                GenerationMethod::File
            },
            cluster: self.text("cluster").unwrap_or_default(),
            coredumps: self.flag("coredumps"),
            coreroot: self.text("coreroot"),
            conn_logd_time: self.time("conn_logd_time").unwrap_or_default(),
        }
    }

    /// What single values and the environment say about resources; with the lines about some of them the whole.
    pub(super) fn care(&mut self, report: &mut Report) -> care::Draft {
        let mut draft = core::mem::take(&mut self.care);
        // Of `env` the original counts numbers up to zero as for ever.
        let forever = |retries: i64| u32::try_from(retries).ok().filter(|retries| *retries > 0);
        let of_env = self.environment.get(RETRIES).map(|text| text.parse::<i64>());
        let given = self.given.contains_key("stop_retries");
        draft.care.stop_retries = match of_env {
            Some(Ok(retries)) if !given => forever(retries),
            Some(Err(_)) => {
                let help = "write a whole number; 0 and less mean for ever";
                report.advise(Code::IllegalValue, self.retries_span, "Illegal value for STOPRETRYMAX of env", help);
                None
            }
            _ => forever(self.number("stop_retries")),
        };
        draft.care.stop_failure =
            if self.is("stop_failure", "reboot") { StopFailure::Reboot } else { StopFailure::Stay };
        draft
    }

    /// Peers have our configuration as a rule, so the limit must leave them what we announce ourselves.
    fn max_peer_deadtime(&self, report: &mut Report) -> Option<Duration> {
        let limit = self.time("max_peer_deadtime")?;
        let least = self.time("deadtime").unwrap_or_default().saturating_add(START_GRACE);
        if limit < least {
            let message =
                format_args!("max_peer_deadtime is less than deadtime and the {} s of a start", START_GRACE.as_secs());
            let span = self.span_of(&["max_peer_deadtime"]);
            report.advise(Code::IllegalValue, span, message, format_args!("write at least {}ms", least.as_millis()));
        }
        Some(limit)
    }

    fn log(&self, report: &mut Report) -> LogConfig {
        let facility = self.text("logfacility");
        let silent = !["logfile", "debugfile", "logfacility"].iter().any(|name| self.given.contains_key(name));
        let logd = self.given.get("use_logd");
        match logd {
            Some(given) if silent && !self.flag("use_logd") => {
                let message = "use_logd is off and no other log target is configured";
                report.advise(Code::LogsNowhere, given.span, message, "add `logfacility daemon`");
            }
            None if silent => {
                let message = "No log entry found in ha.cf -- use logd";
                let help = "messages go to the system log, facility daemon; say so with `logfacility daemon`";
                report.advise(Code::NoLogTarget, Span::FILE, message, help);
            }
            _ => {}
        }
        LogConfig {
            logfile: self.text("logfile"),
            debugfile: self.text("debugfile"),
            logfacility: match facility {
                Some(name) => Facility::named(&name),
                None => silent.then_some(Facility::DAEMON),
            },
            use_logd: self.flag("use_logd"),
            debug: self.number("debug"),
            syslogmsgfmt: self.flag("syslogmsgfmt"),
            log_badpack: self.flag("log_badpack"),
        }
    }
}
