//! The configuration: three texts in, one consistent value or a list of problems out. Read CLUSTER i first.
//!
//! | file | text of | makes |
//! |---|---|---|
//! | [`timing`] | times, CLUSTER a.3 and a.4 | [`Timing`] |
//! | `ha_cf`, `directives` | ha.cf, CLUSTER i.1 and i.2 | nodes, media, [`Settings`] |
//! | [`exclusion`] | who may start a group, OWNERSHIP 3 and 5 | what the native rule asks for |
//! | [`fencing`] | what proves that a silent node runs nothing, CLUSTER f | devices, `takeover` |
//! | [`haresources`], `scripts` | haresources, CLUSTER d.1 | [`Group`]s |
//! | [`care`] | ha.cf, *ours* | [`Limits`], [`Monitor`]s, what happens when a stop fails |
//! | [`hostcache`] | hostcache, delhostcache, WIRE 8 | who was a member before |
//! | `roster` | | who is a member now |
//! | [`authkeys`] | authkeys, CLUSTER i.3, WIRE 6.1 | [`Keyring`] |
//! | [`plan`] | two configurations | what a running node can apply of the second |
//!
//! Invariants of a [`Config`]:
//! - the local node is one of the nodes; names are lower-cased and unique; there are at most 100,
//! - there is a medium; links, the names of media, need not be unique,
//! - [`Timing`] holds (CLUSTER a.4),
//! - every group has a home among the nodes and at least one resource; keys and addresses are unique,
//! - the number that signs is in the keyring.

mod address;
pub mod authkeys;
pub mod care;
pub mod clients;
pub mod diagnostic;
mod directives;
pub mod exclusion;
pub mod fencing;
mod ha_cf;
pub mod haresources;
pub mod hostcache;
mod media;
pub mod plan;
mod roster;
mod scripts;
pub mod settings;
mod text;
pub mod timing;
pub mod watchdog;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

pub use care::{Limits, Monitor, StopFailure};
pub use clients::{ApiAuth, Program};
pub use diagnostic::{Code, Diagnostic, FileName, Severity, Span};
pub use fencing::{FenceDevice, FenceParameters};
pub use haresources::{AddressClass, Group, Resource, VirtualIp};
pub use hostcache::{Hostcache, KnownNode};
pub use plan::{Change, Plan, Takes};
pub(crate) use roster::Roster;
pub use roster::{Member, NodeConfig, NotANewNode};
pub use scripts::{ScriptCall, ScriptClass};
pub use settings::{Autojoin, Facility, Failback, GenerationMethod, LogConfig, Settings, UuidFrom};
pub use timing::{Intervals, Timing, TimingError};

use self::diagnostic::Report;
use crate::auth::{Keyring, Sealing};
use crate::ids::{GroupId, NodeId};

/// One text and the name by which messages call it.
#[derive(Clone, Copy, Debug)]
pub struct SourceText<'a> {
    /// The file's name for messages.
    pub name: &'a str,
    /// The file's content, whatever it is.
    pub bytes: &'a [u8],
}

/// A text of the configuration, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Text {
    /// The file's name for messages.
    pub name: String,
    /// Its content.
    #[cfg_attr(feature = "trace", serde(serialize_with = "crate::trace::serialize_bytes"))]
    pub bytes: Vec<u8>,
}

impl Text {
    /// To be read.
    pub fn source(&self) -> SourceText<'_> {
        SourceText { name: &self.name, bytes: &self.bytes }
    }
}

/// Everything a configuration is read from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The name of this node: `uname -n`, or what overrides it.
    pub local_name: &'a str,
    /// ha.cf.
    pub ha_cf: SourceText<'a>,
    /// haresources; without it resources are none of the daemon's business (`heartbeat -M`).
    pub haresources: Option<SourceText<'a>>,
    /// authkeys.
    pub authkeys: SourceText<'a>,
}

/// What reading a configuration gave.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The configuration; present exactly if no diagnostic is an error.
    pub config: Option<Config>,
    /// Every problem found, by file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// The nodes that could be read, errors or not: for whoever reads the files of a cluster without being one of its nodes.
    pub nodes: Vec<NodeConfig>,
    /// The media that could be read, errors or not: for checks that only the machine can make.
    pub media: Vec<Medium>,
    /// The groups that could be read, errors or not.
    pub groups: Vec<Group>,
    /// The programs and rights of clients that could be read, errors or not.
    pub clients: clients::Clients,
}

/// One way to reach the peers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Medium {
    /// The name of its links: the interface or device; of a ping node its own (CLUSTER a.2).
    pub name: String,
    /// How packets travel.
    pub kind: MediumKind,
    /// The UDP port; for multicast the one on its own line; 0 for a serial line or a ping node.
    pub port: u16,
    /// Where ha.cf configures it.
    pub span: Span,
}

/// How packets travel on a medium (WIRE 13).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MediumKind {
    /// To the broadcast address of an interface.
    Bcast {
        /// The interface.
        interface: String,
    },
    /// To a multicast group.
    Mcast {
        /// The interface.
        interface: String,
        /// The group.
        group: Ipv4Addr,
        /// The UDP port.
        port: u16,
        /// Routers a packet may pass.
        ttl: u8,
        /// Whether packets come back to their sender.
        loopback: bool,
    },
    /// To an IPv6 multicast group.
    Mcast6 {
        /// The interface.
        interface: String,
        /// The group.
        group: Ipv6Addr,
        /// The UDP port.
        port: u16,
        /// Routers a packet may pass.
        ttl: u8,
        /// Whether packets come back to their sender.
        loopback: bool,
    },
    /// To one address.
    Ucast {
        /// The interface.
        interface: String,
        /// Name or address of the peer, as written.
        peer: String,
    },
    /// Along a serial line, to whoever is at its other end.
    Serial {
        /// The path of the device.
        device: String,
        /// Bits a second.
        baud: u32,
    },
    /// To one IPv6 address.
    Ucast6 {
        /// The interface; the scope of a link-local peer.
        interface: String,
        /// Name or address of the peer, as written but without a scope.
        peer: String,
    },
    /// To a host that answers an ICMP echo: a ping node (CLUSTER e.1).
    Ping {
        /// Name or address, as written.
        host: String,
    },
    /// The same with ICMPv6.
    Ping6 {
        /// Name or address, as written.
        host: String,
    },
    /// To several hosts, of which one that answers is enough.
    PingGroup {
        /// Names or addresses, as written.
        hosts: Vec<String>,
    },
}

impl MediumKind {
    /// The directive that configures it.
    pub const fn directive(&self) -> &'static str {
        match self {
            MediumKind::Bcast { .. } => "bcast",
            MediumKind::Mcast { .. } => "mcast",
            MediumKind::Mcast6 { .. } => "mcast6",
            MediumKind::Ucast { .. } => "ucast",
            MediumKind::Ucast6 { .. } => "ucast6",
            MediumKind::Serial { .. } => "serial",
            MediumKind::Ping { .. } => "ping",
            MediumKind::Ping6 { .. } => "ping6",
            MediumKind::PingGroup { .. } => "ping_group",
        }
    }

    /// What packets leave by, as ha.cf names it: an interface, possibly as an address label such as `eth0:0`, or the device
    /// of a serial line.
    pub fn interface(&self) -> Option<&str> {
        match self {
            MediumKind::Bcast { interface }
            | MediumKind::Mcast { interface, .. }
            | MediumKind::Mcast6 { interface, .. }
            | MediumKind::Ucast { interface, .. }
            | MediumKind::Ucast6 { interface, .. } => Some(interface),
            MediumKind::Serial { device, .. } => Some(device),
            MediumKind::Ping { .. } | MediumKind::Ping6 { .. } | MediumKind::PingGroup { .. } => None,
        }
    }

    /// Whether it is a serial line, which carries the classic format and is slow.
    pub fn is_serial(&self) -> bool {
        matches!(self, MediumKind::Serial { .. })
    }

    /// Whether it leads to a ping node, and so never carries messages to members.
    pub fn is_ping(&self) -> bool {
        !self.hosts().is_empty()
    }

    /// The hosts of a ping node, in the order of ha.cf; empty for what reaches members.
    pub fn hosts(&self) -> &[String] {
        match self {
            MediumKind::Ping { host } | MediumKind::Ping6 { host } => core::slice::from_ref(host),
            MediumKind::PingGroup { hosts } => hosts,
            _ => &[],
        }
    }

    /// The field `info` of the messages to a ping node (WIRE 11).
    pub(crate) const fn ping_info(&self) -> &'static str {
        match self {
            MediumKind::PingGroup { .. } => "ping_group",
            _ => "ping",
        }
    }
}

/// How retransmissions are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RepairPace {
    /// A number is asked for again after this.
    pub(crate) repeat: Duration,
    /// On slow lines so many numbers are asked for in that time, neighbours in one request; elsewhere each by itself.
    pub(crate) slow: Option<usize>,
}

/// A usual message on a serial line: 256 bytes of ten bits.
const SERIAL_MESSAGE_BITS: u64 = 2560;
/// So many messages of time between two requests for a number ...
const SLOW_REPEAT: u32 = 8;
/// ... and so many numbers in that time: half of the line.
const SLOW_AT_ONCE: usize = 4;

/// A consistent configuration; a value of this type is usable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    local: NodeId,
    roster: Roster,
    media: Vec<Medium>,
    timing: Timing,
    groups: Vec<Group>,
    keyring: Keyring,
    ping_names: Vec<String>,
    /// Whether there is a haresources.
    has_groups_file: bool,
    settings: Settings,
    environment: Vec<(String, String)>,
    parameters: BTreeMap<String, String>,
    clients: clients::Clients,
    care: care::Care,
}

impl Config {
    /// Reads the three texts; finds every problem that can be found without asking the machine.
    pub fn read(sources: &Sources<'_>) -> Reading {
        let mut report = Report::new(sources.ha_cf.name);
        let ha_cf = ha_cf::read(sources.ha_cf, sources.local_name, sources.haresources.is_some(), &mut report);
        let mut diagnostics = report.finish();
        let mut later = Report::new(sources.ha_cf.name);

        let nodes = ha_cf.as_ref().map_or(&[][..], |ha_cf| &ha_cf.nodes);
        let mut groups = Vec::new();
        if let Some(source) = sources.haresources {
            let mut report = Report::new(source.name);
            groups = haresources::read(source, nodes, &mut report);
            if let Some(ha_cf) = &ha_cf {
                ha_cf.care.check(&groups, &mut later);
            }
            diagnostics.extend(later.finish());
            diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
            diagnostics.extend(report.finish());
        }
        let media = ha_cf.as_ref().map(|ha_cf| ha_cf.media.clone()).unwrap_or_default();
        let clients = ha_cf.as_ref().map(|ha_cf| ha_cf.clients.clone()).unwrap_or_default();
        let nodes = nodes.to_vec();
        let (keyring, problems) = authkeys::parse(sources.authkeys);
        diagnostics.extend(problems);

        let is_good = |diagnostics: &[Diagnostic]| !diagnostics.iter().any(Diagnostic::is_error);
        let mut config = None;
        if is_good(&diagnostics) {
            config = Config::assemble(ha_cf, groups.clone(), sources.haresources.is_some(), keyring);
            let mut report = Report::new(sources.ha_cf.name);
            if let Some(config) = &config {
                exclusion::check(config, &mut report);
                fencing::check(config, &mut report);
                clients::check_ipfail(config, &mut report);
            }
            diagnostics.extend(report.finish());
            config = config.filter(|_| is_good(&diagnostics));
        }
        Reading { config, diagnostics, nodes, media, groups, clients }
    }

    /// Puts the parts together; every part that is missing has left an error.
    fn assemble(
        ha_cf: Option<ha_cf::HaCf>,
        groups: Vec<Group>,
        has_groups_file: bool,
        keyring: Option<Keyring>,
    ) -> Option<Config> {
        let ha_cf::HaCf {
            local,
            nodes,
            media,
            timing,
            settings,
            ping_names,
            members,
            environment,
            parameters,
            clients,
            care,
        } = ha_cf?;
        Some(Config {
            local: local?,
            roster: Roster { nodes, members },
            media,
            timing: timing?,
            groups,
            keyring: keyring?,
            ping_names,
            has_groups_file,
            settings,
            environment,
            parameters,
            clients,
            care: care.care,
        })
    }

    /// This node.
    pub fn local(&self) -> NodeId {
        self.local
    }

    /// The name of this node.
    pub fn local_name(&self) -> &str {
        self.node(self.local).map_or("", |node| &node.name)
    }

    /// The media, in the order of ha.cf; [`MediumId`](crate::ids::MediumId) is the position; never empty.
    pub fn media(&self) -> &[Medium] {
        &self.media
    }

    /// The intervals.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Whether groups return home.
    pub fn failback(&self) -> Failback {
        self.settings.failback
    }

    /// The resource groups, in the order of haresources; [`GroupId`] is the position.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The keys that sign and verify.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// How messages are written: format and compression.
    pub fn sealing(&self) -> &Sealing {
        &self.settings.sealing
    }

    /// What is added to the number of nodes for `ttl`.
    pub fn hopfudge(&self) -> u8 {
        self.settings.hopfudge
    }

    /// The field `ttl` of every message: nodes, ping nodes included, plus hopfudge (WIRE 7).
    pub fn ttl(&self) -> u32 {
        let nodes = self.present().count().saturating_add(self.ping_names.len());
        u32::try_from(nodes).unwrap_or(u32::MAX).saturating_add(u32::from(self.settings.hopfudge))
    }

    /// The last `udpport`; a medium knows its own.
    pub fn udp_port(&self) -> u16 {
        self.settings.udp_port
    }

    /// The upper bound of the random delay before a retransmission is asked for.
    pub fn max_rexmit_delay(&self) -> Duration {
        self.settings.max_rexmit_delay
    }

    /// The longest dead time that a peer may demand (*ours*: the original lets one faulty node demand 24 days, in which
    /// its death goes unnoticed). Unless it is configured there is room for four times our own and the 30 s that a 3.0.6
    /// adds while it restarts itself (CLUSTER a.4).
    pub fn max_peer_deadtime(&self) -> Duration {
        let usual = || self.timing.deadtime().saturating_mul(4).saturating_add(Duration::from_secs(30));
        self.settings.max_peer_deadtime.unwrap_or_else(usual)
    }

    /// How retransmissions are asked for.
    ///
    /// *Ours*, where all media are serial lines: the original asks for every missing number four times a second, which a
    /// line of 9600 baud cannot even carry for two of them. There requests and what they bring take at most half of the
    /// fastest line.
    pub(crate) fn repair_pace(&self) -> RepairPace {
        let usual = RepairPace { repeat: self.max_rexmit_delay(), slow: None };
        let mut fastest = 0;
        for medium in &self.media {
            let MediumKind::Serial { baud, .. } = medium.kind else { return usual };
            fastest = fastest.max(baud);
        }
        let message = Duration::from_secs(SERIAL_MESSAGE_BITS).checked_div(fastest).unwrap_or_default();
        RepairPace { repeat: usual.repeat.max(message.saturating_mul(SLOW_REPEAT)), slow: Some(SLOW_AT_ONCE) }
    }

    /// Whether this daemon has to do with resources at all: there is a haresources, be it empty.
    pub fn manages_resources(&self) -> bool {
        self.has_groups_file
    }

    /// Who may join the cluster without being named in ha.cf (CLUSTER b.9).
    pub fn autojoin(&self) -> Autojoin {
        self.settings.autojoin
    }

    /// The names of ping nodes and ping groups, which are part of `ttl`.
    pub fn ping_names(&self) -> &[String] {
        &self.ping_names
    }

    /// Whether the daemon asks for real-time scheduling and locked memory.
    pub fn realtime(&self) -> bool {
        self.settings.realtime
    }

    /// The real-time priority, 1 to 99, if one is named.
    pub fn rtprio(&self) -> Option<u8> {
        self.settings.rtprio
    }

    /// Where log lines go.
    pub fn log(&self) -> &LogConfig {
        &self.settings.log
    }

    /// Where the node's uuid comes from.
    pub fn uuid_from(&self) -> UuidFrom {
        self.settings.uuid_from
    }

    /// Where the generation comes from.
    pub fn generation_method(&self) -> GenerationMethod {
        self.settings.generation_method
    }

    /// How long the operations of the group's scripts may take; of an unknown group the usual ones.
    pub fn limits(&self, group: GroupId) -> Limits {
        self.groups.get(group.index()).map_or_else(Limits::default, |group| self.care.limits(&group.key))
    }

    /// Whether and how the resource at that place of the group is monitored.
    pub fn monitor(&self, group: GroupId, at: usize) -> Option<Monitor> {
        self.care.monitor(self.groups.get(group.index())?.resources.get(at)?.word())
    }

    /// How often a failed stop is tried again; `None` is for ever.
    pub fn stop_retries(&self) -> Option<u32> {
        self.care.stop_retries
    }

    /// What happens when a resource cannot be stopped.
    pub fn stop_failure(&self) -> StopFailure {
        self.care.stop_failure
    }

    /// The rarely asked settings together.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The variables a resource script gets from ha.cf, sorted by name: one `HA_name` for every single-valued directive and
    /// for every `env` (CLUSTER d.8).
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The programs that run beside the daemon, in the order of ha.cf;
    /// [`ProgramId`](crate::ids::ProgramId) is the position.
    pub fn programs(&self) -> &[Program] {
        &self.clients.programs
    }

    /// Whether ipfail is switched on: a line starts it, and groups are ours to move. With `auto_failback legacy` the original
    /// ends at once (CLUSTER e.2, scenario I9).
    pub fn runs_ipfail(&self) -> bool {
        let is_legacy = self.parameter("auto_failback").is_some_and(|word| word.eq_ignore_ascii_case("legacy"));
        self.manages_resources() && !is_legacy && self.programs().iter().any(Program::is_ipfail)
    }

    /// Who may sign on as `client`: its own `apiauth` line, what is built in, or `apiauth default`.
    pub fn api_auth(&self, client: &str) -> Option<ApiAuth> {
        self.clients.list_for(client)
    }

    /// The users and the groups whose numbers decide about clients.
    pub fn accounts(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        self.clients.accounts()
    }

    /// The value of a single-valued directive as written, for `hbparameter`; absent if ha.cf does not give it.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
