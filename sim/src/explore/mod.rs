//! Bounded exhaustive exploration of a pair: every interleaving of what may go wrong, within a budget of faults.
//!
//! A state is two clones of the production node, the frames between them, the operations under way and the truth about
//! what runs where. From a settled pair all choices are taken, breadth first; a situation that was met before is not
//! entered again. So the first violation found is one with the shortest path, and none found means that there is none
//! within the bounds.
//!
//! | file | what |
//! |---|---|
//! | `setting.rs` | what never changes: configurations, ways of packets, resources |
//! | `flight.rs` | a frame under way, and what it says |
//! | `pair.rs` | the state, and what one event does to it |
//! | `choice.rs` | what can happen next, and which of it need not be tried |
//! | `situation.rs` | the digest of a state relative to now |
//! | `search.rs` | breadth first, in parallel, with the same result whatever the number of threads |
//! | `story.rs` | a path as a timeline |
//!
//! # What is tried
//!
//! Without a fault everything happens in the order of its time: a frame arrives [`setting::DELAY`] after it was sent, an
//! operation takes its usual time, a node wakes at its deadline. Trying other orders of these would need other delays;
//! two events commute unless they are of the same node, and for those the order matters only if a frame is overtaken by a
//! deadline or by another frame. That is the fault *delay*: the frame waits, and may arrive after any later event within
//! two dead times, or never. The other faults are a *lost* frame, a *crash* of a machine and, if wanted, a *cut* of all
//! cables; a crashed machine may start again after any later event, and cables may heal. Where the files name a fencing
//! device it resets a machine half a second after it was told to, and does what it says; a reset machine is down until it
//! starts.
//!
//! Time is dense and events are not, so machines start, cables heal and delayed frames arrive at the instants of events
//! only. One phase of the heartbeats of both is explored, the one that `setting.rs` starts with.
//!
//! A message that goes out on two media is two frames, each with a fate of its own. Luck is that of the seed: of the delays
//! a node may choose before it asks for a missing message, one is explored.
//!
//! # What is judged
//!
//! Nothing of a group runs on two machines; no operation is begun while another of its group is under way; a wake leaves
//! no deadline behind; no node ends on its own or panics.

mod choice;
mod flight;
mod pair;
mod search;
mod setting;
mod situation;
mod story;
#[cfg(test)]
mod tests;

pub use search::{Bounds, Explorer, Findings, Limit, Progress, Violation};
pub use setting::{Setting, Unfit};
