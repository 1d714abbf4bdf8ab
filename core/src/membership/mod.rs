//! Who is there: nodes, links, and our own way into the cluster. Read WIRE 10 and CLUSTER a, b first.
//!
//! ```text
//! ours:   Booting --init, up, up--> Joining --all heard or dead--> AskingNodes --repnodes--> Active
//!         any --stop--> Stopping --all released, shutdone--> Lingering --exit
//! a peer: Unheard --status--> Up/Active ... --silent for its dead time--> Dead --status--> Up/Active
//! ```
//!
//! Invariants:
//! - the *sender* decides its own dead time (WIRE 10.3); until it was heard ours counts, during our start `initdead`,
//! - only `status` is life; any message refreshes the link it came by.

mod change;
mod echo;
mod join;
mod links;
mod nodes;
pub mod uuid_from_name;

pub use change::{MembershipChange, NotRemoved, Source};
pub(crate) use echo::{Contact, NodeSet, Sent, Told, grain};
pub(crate) use join::{Join, Lifecycle, NODE_LIST_TRIES};
pub(crate) use links::Links;
pub use nodes::Liveness;
pub(crate) use nodes::{Fence, NodeTable, Peer, ProvedBy};

use core::time::Duration;

/// A node list is asked for this often (WIRE 10.2).
pub(crate) const NODE_LIST_REPEAT: Duration = Duration::from_secs(1);
/// The dead time is announced longer by this much after the start ...
pub(crate) const START_GRACE: Duration = Duration::from_secs(2);
/// ... for this long (WIRE 10.2).
pub(crate) const START_GRACE_LASTS: Duration = Duration::from_secs(5);
/// `starting` is said again this often to a node that does not answer. *Ours*: the original says it once and waits.
pub(crate) const STARTING_REPEAT: Duration = Duration::from_secs(1);
/// With more than two nodes whoever comes or asks is greeted after this long, all of them by one message: a hundred that
/// start together would otherwise say a million.
pub(crate) const GREET_TOGETHER: Duration = Duration::from_millis(100);
/// After `shutdone` a node goes on sending heartbeats, so that a peer that missed it sees the gap and can ask (WIRE 1
/// (9): the original does so for two seconds).
pub(crate) const LINGER: Duration = Duration::from_secs(1);
