//! Properties of every run, one a file, judged on the ground truth.
//!
//! A check sees facts, in the order in which they become true. What nodes believe is never asked, except where the
//! property is about a node itself (its queues, the order in which it takes messages in).

mod alive;
mod announced;
mod bounded;
mod delivery;
pub mod liveness;
mod moves;
mod proof;
mod single_owner;
#[cfg(test)]
mod tests;

pub use alive::Alive;
pub use announced::Announced;
pub use bounded::Bounded;
pub use delivery::Delivery;
pub use liveness::Liveness;
pub use moves::{Flapping, Sticky};
pub use proof::BeforeTakeover;
pub use single_owner::SingleOwner;
pub(crate) use single_owner::{is_orphan, is_stuck, release_bound};

use crate::contact::Contact;
use crate::ground::Ground;
use crate::host::Host;
use crate::label::Label;
use crate::plan::{Event, How, Plan, Proof};
use hb_core::ids::MediumId;
use hb_core::time::Instant;
use hb_core::{Frame, Node};
use std::net::IpAddr;
use std::time::Duration;

/// A stop that fails is tried ten times, a second apart (CLUSTER d.6), and looked at once more.
const STOP_RETRIES: Duration = Duration::from_secs(12);

/// Something that just became true.
#[derive(Debug)]
pub enum Fact<'a> {
    /// The plan let this happen.
    Happened(&'a Event),
    /// A daemon is scheduled again from now on, or not any more.
    Scheduled(usize, bool),
    /// The calm began: everything is mended.
    Calmed,
    /// A resource runs on a host, or has stopped there.
    Runs(usize, usize, bool),
    /// A host told the wire that an address is there.
    Announced(usize, IpAddr),
    /// A node reported this. It is in the middle of its step.
    Reported(usize, &'a hb_core::Event),
    /// A node sent this. It is in the middle of its step.
    Sent(usize, MediumId, &'a Frame),
    /// A frame is about to be handed to a node.
    Arrives(&'a Arrival<'a>),
    /// A node has made a step with so many effects.
    Stepped(usize, usize),
    /// A fencing device says that a host is reset, or that it could not.
    Fenced(usize, bool),
    /// The run is over.
    Ended,
}

/// A frame on its last inch.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The receiver.
    pub to: usize,
    /// The sender.
    pub from: usize,
    /// Which of the sender's lives sent it.
    pub life: u64,
    /// The frame.
    pub frame: &'a Frame,
    /// What it is; `None` if it was damaged on its way.
    pub label: Option<Label>,
}

/// What a check may look at.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// The world's time.
    pub now: Instant,
    /// The plan of the run.
    pub plan: &'a Plan,
    /// The truth.
    pub ground: &'a Ground,
    /// Who heard whom.
    pub contact: &'a Contact,
    pub(crate) hosts: &'a [Host],
}

impl<'a> Moment<'a> {
    /// The node of a host, if it runs, is ours, and is not in the middle of a step.
    pub fn node(&self, host: usize) -> Option<&'a Node> {
        self.hosts[host].engine.as_ref().and_then(crate::engine::Engine::node)
    }

    /// Whether a daemon runs on a host, scheduled or not.
    pub fn has_daemon(&self, host: usize) -> bool {
        self.hosts[host].has_daemon
    }

    /// Whether a daemon runs on a host and gets the processor.
    pub fn is_managed(&self, host: usize) -> bool {
        self.has_daemon(host) && self.hosts[host].schedule == crate::host::Schedule::Runs
    }

    /// Which life of its daemon a host is in.
    pub fn life(&self, host: usize) -> u64 {
        self.hosts[host].life
    }

    /// The name of a host.
    pub fn name(&self, host: usize) -> &'a str {
        &self.hosts[host].name
    }
}

/// Watches one property.
pub trait Check {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Takes a fact in; what is wrong goes to `found`, a sentence each.
    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>);
}

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The check.
    pub check: &'static str,
    /// When it noticed.
    pub at: Instant,
    /// What it saw.
    pub what: String,
}

/// Every check that applies to a plan.
pub fn all(plan: &Plan) -> Vec<Box<dyn Check>> {
    let mut checks: Vec<Box<dyn Check>> = vec![
        Box::new(SingleOwner::new(plan)),
        Box::new(Announced::default()),
        Box::new(Alive),
        Box::new(Liveness::new(plan)),
        Box::new(Flapping::default()),
        Box::new(Sticky::new(plan)),
        Box::new(Delivery::new(plan.hosts.len())),
        Box::new(Bounded::new(plan)),
    ];
    if plan.policy.proof != Proof::None {
        checks.push(Box::new(BeforeTakeover::new(plan.policy.proof)));
    }
    checks
}

/// How much longer anything takes in a plan than with quick scripts, a quick network and a quick machine: scripts that
/// take their time or are stopped ten times in vain, one after another; daemons that run late; packets that come late.
pub(crate) fn slowness(plan: &Plan) -> Duration {
    let script = |quirk: &crate::plan::Quirk| match quirk.how {
        How::Takes(time) => time * 2,
        How::Fails | How::Misreports => STOP_RETRIES,
    };
    let scripts: Duration = plan.quirks.iter().map(script).sum();
    let lag = plan.hosts.iter().map(|host| host.lag).max().unwrap_or_default();
    scripts + lag * 20
}
