//! The single-valued settings of ha.cf in typed form (CLUSTER i.2).

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::Span;
use super::exclusion::Ownership;
use super::fencing::Proof;
use crate::auth::Sealing;

/// Whether groups return to their home when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failback {
    /// They return.
    On,
    /// They stay.
    Off,
}

/// Who may join without being named in ha.cf (CLUSTER b.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Autojoin {
    /// Nobody.
    None,
    /// Every other node that has the keys.
    Other,
    /// This one as well.
    Any,
}

impl Autojoin {
    /// The word in ha.cf.
    pub const fn word(self) -> &'static str {
        match self {
            Autojoin::None => "none",
            Autojoin::Other => "other",
            Autojoin::Any => "any",
        }
    }
}

/// Where the node's uuid comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UuidFrom {
    /// A file, made at the first start.
    File,
    /// The node's name.
    NodeName,
}

/// Where the generation of a start comes from (WIRE 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GenerationMethod {
    /// A counter in a file.
    File,
    /// The time of day.
    Time,
}

/// A syslog facility.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facility {
    name: &'static str,
    number: u8,
}

impl Facility {
    /// What is used if nothing else is said.
    pub const DAEMON: Facility = Facility { name: "daemon", number: 3 };

    const ALL: [Facility; 20] = {
        const fn facility(name: &'static str, number: u8) -> Facility {
            Facility { name, number }
        }
        [
            facility("kern", 0),
            facility("user", 1),
            facility("mail", 2),
            Facility::DAEMON,
            facility("auth", 4),
            facility("syslog", 5),
            facility("lpr", 6),
            facility("news", 7),
            facility("uucp", 8),
            facility("cron", 9),
            facility("authpriv", 10),
            facility("ftp", 11),
            facility("local0", 16),
            facility("local1", 17),
            facility("local2", 18),
            facility("local3", 19),
            facility("local4", 20),
            facility("local5", 21),
            facility("local6", 22),
            facility("local7", 23),
        ]
    };

    /// The facility of that name.
    pub fn named(name: &str) -> Option<Facility> {
        Facility::ALL.into_iter().find(|facility| facility.name == name)
    }

    /// The name as in ha.cf.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The number of RFC 5424, not shifted.
    pub fn number(self) -> u8 {
        self.number
    }
}

/// Where log lines go and how they look.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogConfig {
    /// The file for all messages but debugging ones.
    pub logfile: Option<String>,
    /// The file for all messages.
    pub debugfile: Option<String>,
    /// The facility of the system log; absent for `logfacility none` or when only files are configured.
    pub logfacility: Option<Facility>,
    /// Whether the logging daemon is asked for.
    pub use_logd: bool,
    /// The level of debugging, 0 for none.
    pub debug: u8,
    /// Whether lines of the system log carry the original's form.
    pub syslogmsgfmt: bool,
    /// Whether refused packets are logged.
    pub log_badpack: bool,
}

/// The single-valued settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Whether groups return home.
    pub failback: Failback,
    /// Who may join without being named.
    pub autojoin: Autojoin,
    /// Whether the native dialect is announced and spoken.
    pub native: bool,
    /// Whether groups start only with the consent of a majority: where ha.cf says so.
    pub quorum: Option<Span>,
    /// What is demanded for all groups or some.
    pub ownership: Vec<Ownership>,
    /// What proves that a silent node runs nothing.
    pub proof: Proof,
    /// How messages are written: format and compression.
    pub sealing: Sealing,
    /// Added to the number of nodes for `ttl`.
    pub hopfudge: u8,
    /// The port of media without their own.
    pub udp_port: u16,
    /// The upper bound of the random delay before a retransmission is asked for.
    pub max_rexmit_delay: Duration,
    /// The longest dead time that a peer may demand; by default it follows from ours.
    pub max_peer_deadtime: Option<Duration>,
    /// Whether the daemon asks for real-time scheduling and locked memory.
    pub realtime: bool,
    /// The real-time priority, if one is named.
    pub rtprio: Option<u8>,
    /// Memory to reserve, in KiB.
    pub memreserve: u32,
    /// Logging.
    pub log: LogConfig,
    /// The origin of the node's uuid.
    pub uuid_from: UuidFrom,
    /// The origin of the generation.
    pub generation_method: GenerationMethod,
    /// The name of the cluster.
    pub cluster: String,
    /// Whether a crash may leave a core file.
    pub coredumps: bool,
    /// The directory of core files.
    pub coreroot: Option<String>,
    /// The device that resets the machine unless it is fed.
    pub watchdog: Option<String>,
    /// The pause between attempts to reach the logging daemon.
    pub conn_logd_time: Duration,
}
