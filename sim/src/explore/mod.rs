//! Bounded exhaustive exploration of two or three nodes: every interleaving of what may go wrong, within a budget of faults.
//!
//! A state is clones of the production node, the frames between them, the operations under way and the truth about
//! what runs where. From a settled cluster all choices are taken, breadth first; a situation that was met before is not
//! entered again. So the first violation found is one with the shortest path, and none found means that there is none
//! within the bounds.
//!
//! | file | what |
//! |---|---|
//! | `setting.rs` | what never changes: configurations, ways of packets, resources |
//! | `cables.rs` | in which ways cables break |
//! | `flight.rs` | a frame under way, and what it says |
//! | `cluster.rs` | the state, and what one event does to it |
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
//! two dead times, or never. The other faults are a *lost* frame, a *crash* of a machine and, if wanted, a *cut* of
//! cables; a crashed machine may start again after any later event, and cables may heal. Where the files name a fencing
//! device it resets a machine half a second after it was told to, and does what it says; a reset machine is down until it
//! starts.
//!
//! What a medium carries to two others is a frame for each, with a fate of its own. The cables of a pair are all cut at
//! once; those of three nodes in every way in which one node hears nobody, is heard by nobody, or both, or in which one of
//! two does not hear the other, or neither does while the third hears both. They heal at once.
//!
//! Time is dense and events are not, so machines start, cables heal and delayed frames arrive at the instants of events
//! only. One phase of the heartbeats is explored, the one that `setting.rs` starts with.
//!
//! A message that goes out on two media is two frames, each with a fate of its own. Luck is that of the seed: of the delays
//! a node may choose before it asks for a missing message, one is explored.
//!
//! # What is judged
//!
//! Nothing of a group runs on two machines; no operation is begun while another of its group is under way; a wake leaves
//! no deadline behind; no node ends on its own or panics. With a majority that says, too, that who has lost it gives its
//! groups up before another starts them: else there are two owners. Guard and watchdog are left out, and not missed: they
//! are for machines that stand still and daemons that are killed, and here a machine runs or has crashed.

mod cables;
mod choice;
mod cluster;
mod flight;
mod search;
mod setting;
mod situation;
mod story;
#[cfg(test)]
mod tests;

pub use search::{Bounds, Explorer, Findings, Limit, Progress, Violation};
pub use setting::{Setting, Unfit};
