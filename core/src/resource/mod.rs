//! Resources: who should run which group, and making it so. Read CLUSTER c and d first.
//!
//! *Deciding* is apart from *executing*. A rule book (`classic`) is a pure function from a `View` to an intent;
//! the `executor` brings every group to where it is wanted, one queue a group, groups in parallel. Neither knows the
//! other; `node/resources.rs` carries intents out.
//!
//! Invariants:
//! - a group is started only while its class is held, and a class is held only by a rule with evidence ([`Why`]),
//! - a class is said to be given up for good (`done`, `shutdone`) only after all its groups are stopped.

pub(crate) mod announce;
pub(crate) mod classic;
pub(crate) mod executor;
pub mod native;
pub mod script;
mod transcript;
mod view;
mod why;

pub use executor::{Blame, Doing};
pub use transcript::Transcript;
pub(crate) use view::{Claim, GroupView, PeerView, Phase, Proof, View};
pub use why::Why;
