//! The log: every event a node reports, its level, and the line monitoring tools match on (CLUSTER j).
//!
//! Where the original has a phrase, the line begins with it; what we know beyond it follows.

mod fencing;
mod level;

pub use fencing::FenceStep;

use crate::config::Change;
use crate::drop_reason::DropReason;
use crate::ids::{Generation, OpId, Seq};
use crate::input::{Carrier, Failure, ProgramEnd, Which};
use crate::membership::{Liveness, MembershipChange};
use crate::resource::{Transcript, Why};
use crate::time::Millis;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// How much an event matters; the words are those of the original's log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Of interest to developers.
    Debug,
    /// Normal course of things.
    Info,
    /// Somebody should look at it some day.
    Warn,
    /// Something does not work.
    Error,
    /// Service or safety is at risk now.
    Crit,
}

impl Level {
    /// The word in log lines.
    pub const fn word(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Crit => "CRIT",
        }
    }
}

/// One thing worth a log line. Names of nodes, media, groups and resources are those of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant's line in `Display` says what its fields are")]
pub enum Event {
    // --- our own life
    Generation(Generation),
    LocalStatus(&'static str),
    CommunicationUp,
    NodeListDiffers { node: String, ours: String, theirs: String },
    NoNodeList { tries: u32 },
    NoAnswerToStarting { node: String },
    WokeLate { late: Duration, overslept: bool },
    Reloaded { applied: usize, waiting: usize },
    Changed(Change),
    ReloadWithoutKeys,
    ShutdownBegins { manages_resources: bool },
    AllReleased,
    ShutdownComplete { me: String },
    // --- membership
    Link { node: String, medium: String, up: bool },
    Medium { medium: String, carrier: Carrier },
    NodeStatus { node: String, liveness: Liveness },
    NodeDead { node: String, silent: Duration, limit: Duration, never_heard: bool },
    LateHeartbeat { node: String, interval: Duration, deadtime: Option<Duration> },
    DeadTimeCapped { node: String, asked: Duration, granted: Duration },
    DeadTimeLong { node: String, deadtime: Duration, initdead: Duration },
    Dialect { native: Option<u32>, kept_by: Option<String> },
    Restart { node: String, generation: Generation },
    ReturnAfterPartition { node: String },
    NoIpfail { node: String },
    ShutdownNotice { node: String },
    Membership(MembershipChange),
    // --- delivery
    Dropped { medium: String, reason: DropReason, suppressed: u64 },
    Lost { node: String, first: Seq, last: Seq },
    NothingMissing { node: String },
    StartedOver { node: String, first: Seq, last: Seq },
    GivenUp { node: String, first: Seq, last: Seq, reason: String },
    ImpossibleAck { node: String, seq: Seq, newest: Seq },
    ForeignOp(OpId),
    // --- resources
    Decision { what: Decision, groups: String, why: Why },
    NoStonith { node: String },
    Acquiring { group: String },
    Releasing { group: String },
    Acquired { group: String, took: Duration },
    Released { group: String, took: Duration },
    Running { resource: String, verb: &'static str },
    Ran { resource: String, verb: &'static str, outcome: &'static str, took: Duration, said: Transcript },
    OpFailed { resource: String, verb: &'static str, failure: Failure, took: Duration, said: Transcript },
    GivingUpGroup { group: String, resource: String },
    StopRetry { resource: String, attempt: u32 },
    StopFailed { resource: String, reboots: bool },
    FoundRunning { resource: String },
    CutShort { resource: String },
    NetworkBack { resource: String },
    ResourceLost { resource: String, failures: u32, failure: Failure },
    Restarting { group: String, resource: String, restart: usize, of: usize },
    Cleaned { group: String, why: String },
    BothOwn { whose: &'static str, node: String },
    Ownership { group: String, step: Step },
    Fence { node: String, step: FenceStep },
    Stranger { node: String },
    GroupsDiffer { node: String, group: String, difference: Difference },
    // --- standby and takeover
    StandbyAsked { node: String, set: Which },
    StandbyAnswered { node: String, set: Which },
    StandbyIgnored { node: String, what: &'static str, why: &'static str },
    StandbyReleased { set: Which },
    StandbyAcquired { set: Which },
    StandbyTaken { set: Which },
    StandbyCancelled { why: crate::action::Cancellation },
    TakeoverAsked { node: String, set: Which },
    // --- local clients
    ClientJoined { client: String, pid: u32 },
    ClientLeft { client: String, pid: u32, why: String },
    ClientRefused { client: String, pid: u32, uid: u32, why: &'static str },
    ClientSilenced { client: String, kind: String, why: String },
    ClientsHeard(bool),
    Ipfail(Ipfail),
    ProgramBuiltIn { command: String },
    ProgramStarts { command: String, user: String },
    ProgramEnded { command: String, end: ProgramEnd, expected: bool },
    ProgramRespawns { command: String },
    ProgramTooFast { command: String },
    ProgramFatal { command: String },
}

/// How a node's haresources is another than ours, for one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Difference {
    /// It does not list the group.
    NotTheirs,
    /// Only it lists the group.
    NotOurs,
    /// Both list it, with another preferred node or other resources.
    Other,
}

/// What the ipfail of a classic cluster does; the lines are those of the original's program (CLUSTER j).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ipfail {
    /// We reach more.
    Tells,
    /// It says that it reaches more.
    WasTold,
    /// We reach fewer than it says of itself.
    HasFewer,
    /// Both reach as many.
    Balanced,
    /// What is not ours may go home.
    ReturnsForeign,
    /// Nothing is given up after all.
    Aborted,
}

impl fmt::Display for Ipfail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ipfail::Tells => "Telling other node that we have more visible ping nodes.",
            Ipfail::WasTold => "Giving up because we were told that we have less ping nodes.",
            Ipfail::HasFewer => "Giving up because we have less visible ping nodes.",
            Ipfail::Balanced => "Ping node count is balanced.",
            Ipfail::ReturnsForeign => "Giving up foreign resources (auto_failback).",
            Ipfail::Aborted => "Aborted delayed giveup",
        })
    }
}

/// A step of native ownership of one group; decisions are [`Event::Decision`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant's line in `Display` says what its fields are")]
pub enum Step {
    Asks,
    Withdraws,
    Consents { node: String },
    Contested { node: String },
    Wins { node: String },
    Alone,
    MayBeTwo { node: String },
}

impl Step {
    fn level(&self) -> Level {
        match self {
            Step::Asks | Step::Consents { .. } => Level::Debug,
            Step::Withdraws | Step::Alone => Level::Info,
            Step::MayBeTwo { .. } => Level::Warn,
            Step::Contested { .. } | Step::Wins { .. } => Level::Error,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Asks => f.write_str("this node wants to start it and asks the others for consent"),
            Step::Withdraws => f.write_str("this node asks for it no more"),
            Step::Consents { node } => write!(f, "consent given to {node}"),
            Step::Contested { node } => write!(f, "both machines own it: this node and {node}"),
            Step::Wins { node } => write!(f, "this node has held it longer: {node} is to release it"),
            Step::Alone => f.write_str("no other node owns it any more"),
            Step::MayBeTwo { node } => {
                write!(f, "two owners are possible: {node} is silent and may still run it (ownership at-least-one)")
            }
        }
    }
}

/// What was decided about a class of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Run them here.
    Acquire,
    /// Do not run them here.
    Release,
    /// Keep them here although another node claimed them, and say so on the wire.
    Keep,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_life(f)
            .or_else(|Other| self.fmt_traffic(f))
            .or_else(|Other| self.fmt_resources(f))
            .or_else(|Other| self.fmt_clients(f))
            .unwrap_or(Ok(()))
    }
}

/// The last lines of a script, if there are any.
fn fmt_output(said: &Transcript, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if said.output.is_empty() { Ok(()) } else { write!(f, ": {}", said.output) }
}

/// The event belongs to another family.
struct Other;

impl Event {
    fn fmt_life(&self, f: &mut fmt::Formatter<'_>) -> Result<fmt::Result, Other> {
        Ok(match self {
            Event::Generation(generation) => write!(f, "Heartbeat generation: {generation}"),
            Event::LocalStatus(word) => write!(f, "Local status now set to: '{word}'"),
            Event::CommunicationUp => write!(f, "Comm_now_up(): updating status to active"),
            Event::NodeListDiffers { node, ours, theirs } => {
                write!(f, "node list of {node} differs from ours: theirs [{theirs}], ours [{ours}]; ours counts here")
            }
            Event::NoNodeList { tries } => {
                write!(f, "no node answered {tries} requests for the node list; going on with our own")
            }
            Event::NoAnswerToStarting { node } => write!(
                f,
                "node {node} does not say what it holds: nothing is started here until it does (does its configuration know \
                 this node, and is its auto_failback on or off?)"
            ),
            Event::WokeLate { late, overslept: false } => {
                write!(f, "this node did not run in time: it is late by {} ms (overloaded, or stopped?)", Millis(*late))
            }
            Event::WokeLate { late, overslept: true } => write!(
                f,
                "this node did not run for {} ms, longer than its dead time: others may have taken over; nothing is begun until \
                 they have said what they hold",
                Millis(*late)
            ),
            Event::Reloaded { applied: 0, waiting: 0 } => write!(f, "Configuration unchanged."),
            Event::Reloaded { applied, waiting: 0 } => write!(f, "Configuration reread: {applied} changes applied"),
            Event::Reloaded { applied, waiting } => {
                write!(f, "Configuration reread: {applied} changes applied, {waiting} wait for a restart")
            }
            Event::Changed(change) => write!(f, "{change}"),
            Event::ReloadWithoutKeys => write!(f, "a reload whose keys are not known: nothing was changed"),
            Event::ShutdownBegins { manages_resources: true } => {
                write!(f, "Heartbeat shutdown in progress. Giving up all HA resources.")
            }
            Event::ShutdownBegins { manages_resources: false } => write!(f, "Heartbeat shutdown in progress."),
            Event::AllReleased => write!(f, "All HA resources relinquished."),
            Event::ShutdownComplete { me } => write!(f, "{me} Heartbeat shutdown complete."),
            Event::Link { node, medium, up } => write!(f, "Link {node}:{medium} {}.", if *up { "up" } else { "dead" }),
            Event::Medium { medium, carrier: Carrier::Up } => write!(f, "medium {medium} carries again"),
            Event::Medium { medium, carrier: Carrier::Down } => write!(f, "medium {medium} does not carry"),
            Event::NodeStatus { node, liveness } => write!(f, "Status update for node {node}: status {liveness}"),
            Event::NodeDead { node, silent, limit, never_heard: false } => write!(
                f,
                "node {node}: is dead (silent for {} ms, its dead time is {} ms)",
                Millis(*silent),
                Millis(*limit)
            ),
            Event::NodeDead { node, silent, never_heard: true, .. } => {
                write!(f, "node {node}: is dead (never heard in {} ms)", Millis(*silent))
            }
            Event::LateHeartbeat { node, interval, deadtime: None } => {
                write!(f, "Late heartbeat: Node {node}: interval {} ms", Millis(*interval))
            }
            Event::LateHeartbeat { node, interval, deadtime: Some(_) } => {
                write!(f, "Late heartbeat: Node {node}: interval {} ms (> deadtime)", Millis(*interval))
            }
            Event::DeadTimeCapped { node, asked, granted } => write!(
                f,
                "node {node} demands a dead time of {} ms; {} ms count here (max_peer_deadtime)",
                Millis(*asked),
                Millis(*granted)
            ),
            Event::DeadTimeLong { node, deadtime, initdead } => write!(
                f,
                "node {node} announces a dead time of {0} ms, longer than initdead {1} ms here: at its next start this node \
                 waits {0} ms for nodes that it does not hear (write initdead {0}ms)",
                Millis(*deadtime),
                Millis(*initdead)
            ),
            Event::Dialect { native: Some(version), kept_by: None } => {
                write!(f, "the cluster speaks the native dialect, version {version}")
            }
            Event::Dialect { native: Some(version), kept_by: Some(node) } => {
                write!(f, "the cluster speaks the native dialect, version {version}: node {node} knows no later one")
            }
            Event::Dialect { native: None, kept_by } => write!(
                f,
                "the cluster speaks the classic dialect: node {} announces no other",
                kept_by.as_deref().unwrap_or("-")
            ),
            Event::Restart { node, generation } => {
                write!(f, "Heartbeat restart on node {node} (generation {generation})")
            }
            Event::ReturnAfterPartition { node } => write!(f, "Cluster node {node} returning after partition."),
            Event::NoIpfail { node } => write!(
                f,
                "node {node} does not run ipfail, or has no ping nodes: which ones this node reaches decides nothing between them"
            ),
            Event::ShutdownNotice { node } => write!(f, "Received shutdown notice from '{node}'."),
            Event::Membership(change) => write!(f, "{change}"),
            _ => return Err(Other),
        })
    }

    fn fmt_traffic(&self, f: &mut fmt::Formatter<'_>) -> Result<fmt::Result, Other> {
        Ok(match self {
            Event::Dropped { medium, reason, suppressed } => {
                write!(f, "{reason} on {medium}").and_then(|()| match suppressed {
                    0 => Ok(()),
                    count => write!(f, " (and {count} more since the last such line)"),
                })
            }
            Event::Lost { node, first, last } => {
                write!(f, "{} lost packet(s) for [{node}] [{first}:{last}]", last.since(*first).saturating_add(1))
            }
            Event::NothingMissing { node } => write!(f, "No pkts missing from {node}!"),
            Event::StartedOver { node, first, last } => {
                let missing = last.since(*first).saturating_add(1);
                write!(
                    f,
                    "{missing} messages of {node} [{first}:{last}] are missing, too many to ask for: they are given up"
                )
            }
            Event::GivenUp { node, first, last, reason } if first == last => {
                write!(f, "message {first} of node {node} will never come: {reason}")
            }
            Event::GivenUp { node, first, last, reason } => {
                write!(f, "messages {first} to {last} of node {node} will never come: {reason}")
            }
            Event::ImpossibleAck { node, seq, newest } => {
                write!(f, "node {node} acknowledges message {seq}, but our newest is {newest}")
            }
            Event::ForeignOp(op) => write!(f, "a result came for operation {} which is not under way", op.0),
            _ => return Err(Other),
        })
    }

    fn fmt_resources(&self, f: &mut fmt::Formatter<'_>) -> Result<fmt::Result, Other> {
        Ok(match self {
            Event::Decision { what: Decision::Acquire, groups, why } => write!(f, "acquire {groups}: {why}"),
            Event::Decision { what: Decision::Release, groups, why } => write!(f, "release {groups}: {why}"),
            Event::Decision { what: Decision::Keep, groups, why } => write!(f, "keep {groups}: {why}"),
            Event::NoStonith { node } => write!(
                f,
                "Resources being acquired from {node}. No STONITH device configured. Shared disks are not protected."
            ),
            Event::Acquiring { group } => write!(f, "Acquiring resource group: {group}"),
            Event::Releasing { group } => write!(f, "Releasing resource group: {group}"),
            Event::Acquired { group, took } => write!(f, "group {group} runs here (took {} ms)", Millis(*took)),
            Event::Released { group, took } => write!(f, "group {group} is released (took {} ms)", Millis(*took)),
            Event::Running { resource, verb } => write!(f, "Running {resource} {verb}"),
            Event::Ran { resource, verb, outcome, took, said } => {
                write!(f, "{resource} {verb}: {outcome} after {} ms", Millis(*took))
                    .and_then(|()| said.code.map_or(Ok(()), |code| write!(f, ", exit code {code}")))
                    .and_then(|()| fmt_output(said, f))
            }
            Event::OpFailed { resource, verb, failure: failure @ Failure::NoScript, .. } => {
                write!(f, "{failure} {resource} ({verb})")
            }
            Event::OpFailed { resource, verb, failure, took, said } => {
                write!(f, "{failure} from {resource} {verb} after {} ms", Millis(*took))
                    .and_then(|()| fmt_output(said, f))
            }
            Event::GivingUpGroup { group, resource } => {
                write!(f, "Giving up resources due to failure of {resource}: group {group} stays stopped here")
            }
            Event::StopRetry { resource, attempt } => {
                write!(f, "Retrying failed stop operation [{resource}] (attempt {attempt})")
            }
            Event::StopFailed { resource, reboots } => {
                let what = if *reboots { "this machine reboots now" } else { "its group is not given to any node" };
                write!(f, "Resource STOP failure. Reboot required! [{resource}] may still run here: {what}")
            }
            Event::FoundRunning { resource } => {
                write!(f, "{resource} runs here already, or may: it is stopped before anything is claimed")
            }
            Event::NetworkBack { resource } => write!(f, "{resource}: its network is back: it is announced again"),
            Event::CutShort { resource } => {
                write!(
                    f,
                    "{resource}: an earlier heartbeat did not see the end of its start or stop: it is stopped, unasked"
                )
            }
            Event::ResourceLost { resource, failures: 1, failure } => {
                write!(f, "{resource} ceased to run here: {failure}")
            }
            Event::ResourceLost { resource, failures, failure } => {
                write!(f, "{resource} ceased to run here: {failure} ({failures} monitors in a row)")
            }
            Event::Restarting { group, resource, restart, of } => {
                write!(f, "group {group} is restarted here for {resource}: restart {restart} of {of} in ten minutes")
            }
            Event::Cleaned { group, why } => write!(f, "cleaning up group {group}, which failed here: {why}"),
            Event::GroupsDiffer { node, group, difference: Difference::NotTheirs } => {
                write!(f, "haresources: node {node} does not list {group}: it will not run it")
            }
            Event::GroupsDiffer { node, group, difference: Difference::NotOurs } => {
                write!(f, "haresources: node {node} lists {group}, which this node does not: it will not run here")
            }
            Event::GroupsDiffer { node, group, difference: Difference::Other } => write!(
                f,
                "haresources: node {node} defines {group} otherwise: only nodes that agree with its owner may run it"
            ),
            Event::Ownership { group, step } => write!(f, "{group}: {step}"),
            Event::Fence { node, step } => step.fmt(node, f),
            Event::Stranger { node } => write!(
                f,
                "what comes from node {node} is not signed with a key of ours: it lives, and nothing that is preferred there is \
                 taken over. Compare the two authkeys"
            ),
            Event::BothOwn { whose, node } => write!(f, "Both machines own {whose} resources! (the other is {node})"),
            Event::StandbyAsked { node, set } => write!(f, "{node} wants to go standby [{}]", set.word()),
            Event::StandbyAnswered { node, set } => {
                write!(f, "standby: {node} can take our {} resources", set.word())
            }
            Event::StandbyIgnored { node, what, why } => {
                write!(f, "standby message [{what}] from {node} ignored.  {why}.")
            }
            Event::StandbyReleased { set } => write!(f, "Local standby process completed [{}].", set.word()),
            Event::StandbyAcquired { set } => write!(f, "Standby resource acquisition done [{}].", set.word()),
            Event::StandbyTaken { set } => {
                write!(f, "Other node completed standby takeover of {} resources.", set.word())
            }
            Event::StandbyCancelled { why: why @ crate::action::Cancellation::NoReply } => {
                write!(f, "{why}.  Standby request cancelled.")
            }
            Event::StandbyCancelled { why } => write!(f, "Cancelling pending standby operation: {why}"),
            Event::TakeoverAsked { node, set } => write!(f, "{node} asks to take over [{}]", set.word()),
            _ => return Err(Other),
        })
    }

    fn fmt_clients(&self, f: &mut fmt::Formatter<'_>) -> Result<fmt::Result, Other> {
        Ok(match self {
            Event::ClientJoined { client, pid } => write!(f, "client {client} [pid {pid}] signed on"),
            Event::ClientLeft { client, pid, why } => write!(f, "client {client} [pid {pid}] left: {why}"),
            Event::ClientRefused { client, pid, uid, why } => {
                write!(f, "sign-on of client [{}] refused (pid {pid}, uid {uid}): {why}", client.escape_debug())
            }
            Event::ClientSilenced { client, kind, why } => {
                write!(f, "message [{}] of {client} ignored: {why}", kind.escape_debug())
            }
            Event::ClientsHeard(true) => write!(f, "all clients are now resumed"),
            Event::ClientsHeard(false) => {
                write!(f, "all clients are now paused: a node has not acknowledged what they said")
            }
            Event::Ipfail(ipfail) => write!(f, "ipfail: {ipfail}"),
            Event::ProgramBuiltIn { command } => {
                write!(f, "\"{command}\" is not run: ipfail is built in")
            }
            Event::ProgramStarts { command, user } => write!(f, "Starting child client \"{command}\" ({user})"),
            Event::ProgramEnded { command, end: ProgramEnd::Exited { pid, code }, .. } => {
                write!(f, "Managed {command} process {pid} exited with return code {code}.")
            }
            Event::ProgramEnded { command, end: ProgramEnd::Killed { pid, signal }, .. } => {
                write!(f, "Managed {command} process {pid} killed by signal {signal}.")
            }
            Event::ProgramEnded { command, end: ProgramEnd::NotStarted(why), .. } => {
                write!(f, "Cannot start client \"{command}\": {why}")
            }
            Event::ProgramRespawns { command } => write!(f, "Respawning client \"{command}\":"),
            Event::ProgramTooFast { command } => {
                write!(f, "Client {command} \"respawning too fast\": it is not started again")
            }
            Event::ProgramFatal { command } => {
                write!(f, "failfast client \"{command}\" failed: this node gives up everything and ends")
            }
            _ => return Err(Other),
        })
    }
}
