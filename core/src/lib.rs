//! The decisions of Heartbeat as a pure, deterministic state machine.
//!
//! A [`Node`] is a function from (state, time, one [`Input`]) to (state, [`Action`]s), and everything else calls it: the
//! daemon with real packets, the simulator with virtual ones, the fuzzer with absurd ones. It knows no clock, socket,
//! file, thread or log; those who call it do. The same inputs give the same actions on every machine and build.
//!
//! The way of a packet: [`auth`] turns bytes into authentic fields, [`wire`] fields into a typed message, the delivery
//! rules find its place in the sequence of its sender, the node table learns from it who lives, the rule book for
//! resources looks at the whole and names what should be done, an executor a group does it. Time comes in by the same
//! door: all timers are one table with one slot at the boundary.
//!
//! The loop of a caller, complete; a real one performs the actions on sockets and processes:
//!
//! ```
//! use core::time::Duration;
//! use hb_core::config::{Hostcache, Config, SourceText, Sources};
//! use hb_core::ids::{Generation, NodeUuid};
//! use hb_core::time::{Instant, UnixTime};
//! use hb_core::{Action, Boot, Input, Node, Outcome, Transcript, Verb};
//!
//! let text = |name, bytes| SourceText { name, bytes };
//! let reading = Config::read(&Sources {
//!     local_name: "alone",
//!     ha_cf: text("ha.cf", b"node alone\nbcast eth0\nauto_failback off\nlogfacility none\n"),
//!     haresources: Some(text("haresources", b"alone 192.0.2.7/24/eth0\n")),
//!     authkeys: text("authkeys", b"auth 1\n1 sha1 secret\n"),
//! });
//! let mut node = Node::new(
//!     reading.config.expect("the texts above are right"),
//!     Boot {
//!         now: Instant::ORIGIN,
//!         wall_clock: UnixTime(1_700_000_000),
//!         generation: Generation(1),
//!         uuid: NodeUuid::from_random([7; 16]),
//!         seed: [1; 32],
//!         hostcache: Hostcache::default(),
//!         longest_deadtime: Duration::ZERO,
//!         cut_short: Vec::new(),
//!     },
//! );
//!
//! let mut now = Instant::ORIGIN;
//! let mut inputs = vec![Input::Wake];
//! let mut started = Vec::new();
//! while now < Instant::after_origin(Duration::from_secs(3)) {
//!     let mut wake_at = node.next_deadline();
//!     for input in std::mem::take(&mut inputs) {
//!         for action in node.handle(now, input) {
//!             match action {
//!                 Action::RunResource { op, run } => {
//!                     let outcome = match run.verb {
//!                         Verb::Status | Verb::Monitor => Outcome::NotRunning,
//!                         Verb::Start | Verb::Stop => Outcome::Done,
//!                     };
//!                     if run.verb == Verb::Start {
//!                         started.push(run.resource.to_string());
//!                     }
//!                     inputs.push(Input::OpDone { op, outcome, said: Transcript::default() });
//!                 }
//!                 Action::ArmTimer { deadline } => wake_at = Some(deadline),
//!                 _ => {} // send frames, announce addresses, write log lines ...
//!             }
//!         }
//!     }
//!     if inputs.is_empty() {
//!         now = wake_at.expect("a living node always has a heartbeat to send");
//!         inputs.push(Input::Wake);
//!     }
//! }
//! assert_eq!(started, ["192.0.2.7/24/eth0"]);
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::arithmetic_side_effects)
)]

extern crate alloc;
#[cfg(any(test, feature = "compression"))]
extern crate std;

mod action;
pub mod arp;
pub mod auth;
mod client;
pub mod config;
mod deadlines;
mod delivery;
pub mod digest;
mod drop_reason;
mod event;
pub mod ids;
mod input;
mod mark;
pub mod membership;
mod node;
mod ping;
mod reload;
pub mod resource;
mod rng;
pub mod time;
#[cfg(feature = "trace")]
pub mod trace;
pub mod wire;

pub use action::{
    Action, Actions, ArpKind, Cancellation, Door, ExitReason, Frame, Refusal, ResourceRun, Response, StateFile,
    Urgency, Verb,
};
pub use drop_reason::{DropKind, DropReason};
pub use event::{Decision, Difference, Event, FenceStep, Level, Step};
pub use input::{
    Accounts, Carrier, Closed, Command, Credentials, Failure, Input, LoadAverage, Outcome, ProgramEnd, Request, Which,
};
pub use membership::{Liveness, MembershipChange, NotRemoved, Source};
pub use node::{
    Boot, GroupStatus, Guarded, Heard, LinkStatus, MediumStatus, Node, NodeStatus, PingNodeStatus, Queues, Status,
};
pub use reload::Reload;
pub use resource::{Blame, Doing, Transcript, Why};
