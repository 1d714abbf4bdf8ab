//! What proves that a silent node runs nothing: a device that resets it, or an operator's word. Read CLUSTER f.1 to f.4 and
//! OWNERSHIP 3 (b) first.
//!
//! | directive | meaning |
//! |---|---|
//! | `stonith TYPE FILE` | this node resets others with a device whose parameters stand in a file |
//! | `stonith_host FROM\|* TYPE PARAMETER...` | node FROM, or every node, resets others with this device |
//! | `stonith_delay TIME` | *ours*: how much longer than the first each further node waits before it shoots |
//! | `stonith_limit TIME` | *ours*: after this long a shot has failed |
//! | `takeover manual` | *ours*: nothing is taken from a silent node before `heartbeat confirm NODE` |
//! | `takeover_delay TIME` | *ours*: what a dead node may still run is taken this much later |
//! | `takeover_alarm PROGRAM` | *ours*: this program is told of every death before anything is taken |
//!
//! Of several devices the last valid one counts (CLUSTER f.1).

use super::Config;
use super::diagnostic::{Code, Report, Span};
use super::text::{Line, Word};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

/// Devices answer in seconds; who does not in a minute has failed.
const LIMIT: Duration = Duration::from_mins(1);
/// An operator may take an hour.
const MANUAL_LIMIT: Duration = Duration::from_hours(1);
/// Types that wait for a person.
const MEATWARE: &str = "meatware";
/// What the names of fence agents begin with.
const AGENT: &str = "fence_";

/// How many heartbeats the second node waits for the first unless `stonith_delay` says more.
const DELAY_HEARTBEATS: u32 = 2;

/// A device that resets machines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FenceDevice {
    /// Its type: of a plugin that `stonith -L` lists, or a fence agent, by name or path.
    pub kind: String,
    /// What the type must know.
    pub parameters: FenceParameters,
    /// The node whose device it is; every node's if none is named.
    pub from: Option<String>,
    /// The word of its type.
    pub span: Span,
}

/// Where the parameters of a device stand. They may hold passwords, and never stand on a command line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FenceParameters {
    /// In this file.
    File(String),
    /// In ha.cf.
    Words(Vec<String>),
}

impl FenceDevice {
    /// Whether a program of its own name is called, as fence agents are, and not the plugin's host program `stonith`.
    pub fn is_agent(&self) -> bool {
        is_agent(&self.kind)
    }
}

/// By its name, wherever it lies.
fn is_agent(kind: &str) -> bool {
    kind.rsplit('/').next().is_some_and(|name| name.starts_with(AGENT))
}

/// What ha.cf says about proof.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Proof {
    /// All devices, in the order of the file.
    pub devices: Vec<FenceDevice>,
    /// `takeover manual`.
    pub manual: bool,
    /// `takeover_delay`.
    pub takeover_delay: Duration,
    /// `takeover_alarm`.
    pub alarm: Option<String>,
    /// `stonith_delay`.
    pub delay: Option<Duration>,
    /// `stonith_limit`.
    pub limit: Option<Duration>,
}

/// Reads a `stonith` or `stonith_host` line.
pub(super) fn device(name: Word<'_>, words: &[Word<'_>], line: &Line<'_>, report: &mut Report) -> Option<FenceDevice> {
    let text = |word: &Word<'_>| word.text.to_string();
    let missing = |help: &str, report: &mut Report| {
        let message = format_args!("{} needs more than {} word(s)", name.text, words.len());
        report.advise(Code::ArgumentMissing, line.end(), message, help);
    };
    if name.text == "stonith" {
        let [kind, file] = words else {
            missing("write `stonith TYPE FILE`; the parameters stand in the file", report);
            return None;
        };
        let parameters = FenceParameters::File(text(file));
        return Some(FenceDevice { kind: text(kind), parameters, from: None, span: kind.span });
    }
    let [from, kind, parameters @ ..] = words else {
        missing("write `stonith_host FROM|* TYPE PARAMETER...`", report);
        return None;
    };
    let from = Some(from.text.to_ascii_lowercase()).filter(|from| from != "*");
    if is_agent(kind.text) {
        for word in parameters.iter().filter(|word| !word.text.contains('=')) {
            let message = format_args!("[{}] is no parameter of a fence agent", word.text);
            report.advise(
                Code::IllegalValue,
                word.span,
                message,
                "write `NAME=value`, or `NODE:NAME=value` for one node",
            );
        }
    }
    let parameters = FenceParameters::Words(parameters.iter().map(text).collect());
    Some(FenceDevice { kind: text(kind), parameters, from, span: kind.span })
}

impl Config {
    /// Whether who is silent must be proved to run nothing before its groups are taken, where `ownership` says no more.
    pub fn demands_proof(&self) -> bool {
        self.settings.proof.manual || !self.settings.proof.devices.is_empty()
    }

    /// The device with which this node resets others.
    pub fn fence_device(&self) -> Option<&FenceDevice> {
        let me = self.node(self.local()).map(|node| node.name.as_str());
        let is_ours = |device: &&FenceDevice| device.from.is_none() || device.from.as_deref() == me;
        self.settings.proof.devices.iter().rev().find(is_ours)
    }

    /// After this long a shot of [`fence_device`](Self::fence_device) has failed.
    pub fn fence_limit(&self) -> Duration {
        let is_manual = self.fence_device().is_some_and(|device| device.kind == MEATWARE);
        self.settings.proof.limit.unwrap_or(if is_manual { MANUAL_LIMIT } else { LIMIT })
    }

    /// How much later than the first each further node shoots, so that two that do not hear each other do not both.
    pub fn fence_delay(&self) -> Duration {
        let usual = self.timing().keepalive().saturating_mul(DELAY_HEARTBEATS);
        self.settings.proof.delay.unwrap_or(usual)
    }

    /// Whether an operator's word is waited for.
    pub fn takes_over_by_hand(&self) -> bool {
        self.settings.proof.manual
    }

    /// The program that is told of every death.
    pub fn takeover_alarm(&self) -> Option<&str> {
        self.settings.proof.alarm.as_deref()
    }

    /// How much later than its death that is taken which a node may still run.
    pub fn takeover_delay(&self) -> Duration {
        self.settings.proof.takeover_delay
    }
}

/// Says what a configuration of devices cannot keep.
pub(super) fn check(config: &Config, report: &mut Report) {
    let proof = &config.settings.proof;
    for device in &proof.devices {
        let known = |name: &String| config.present().any(|(_, node)| node.name == *name);
        if let Some(from) = device.from.as_ref().filter(|from| !known(from)) {
            let message = format_args!("stonith_host names [{from}], which is not in the `node` lines");
            report.advise(Code::NoSuchNode, device.span, message, "write the name of a node, or `*` for all");
        }
    }
    if let Some(device) = proof.devices.first()
        && config.fence_device().is_none()
        && !proof.manual
    {
        let message = "this node has no device: it takes nothing from a silent node until another one has reset that";
        let help = "write a `stonith_host` line for this node; `heartbeat confirm NODE` confirms by hand";
        report.advise(Code::NoDeviceHere, device.span, message, help);
    }
}
