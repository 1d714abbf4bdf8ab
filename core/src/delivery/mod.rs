//! Reliable delivery of sequenced messages. Read WIRE 9 first.
//!
//! One sequence per sending node covers all its messages except `NS_` types, whatever their destination.
//! [`Sender`] keeps what we sent; one [`Receiver`] a peer tracks what arrived. Messages are processed in order of
//! arrival: a gap delays nothing, it is asked for.
//!
//! Invariants:
//! - the history ([`history`]) holds at most [`HISTORY_MAX`] messages with consecutive numbers,
//! - a receiver misses fewer than [`HISTORY_MAX`] numbers, all among the last so many below its newest: older ones have left
//!   the history of their sender,
//! - a number is accepted at most once in a generation.

mod copy;
mod history;
#[cfg(test)]
mod laws;
mod receive;
mod send;

pub(crate) use copy::LastHeard;
pub(crate) use receive::{Arrival, Receiver, Run, runs};
pub(crate) use send::{Answer, Sender};

use core::time::Duration;

/// Sent messages kept for retransmission (WIRE 14).
pub(crate) const HISTORY_MAX: usize = 500;
/// A gap of more than this means: start over, ask for nothing (WIRE 9.2 (5)).
pub(crate) const GAP_MAX: u64 = 250;
/// Answers per request (WIRE 9.1), and numbers that we ask for at once, so that none of our requests goes unanswered.
pub(crate) const REXMIT_PER_REQUEST: usize = 50;
/// One peer gets at most so many answers ...
pub(crate) const ANSWERS_MAX: u32 = 250;
/// ... in this time, whatever it asks for. *Ours*: the original answers every request.
pub(crate) const ANSWERS_PER: Duration = Duration::from_millis(250);
/// More than this unacknowledged, and clients have to wait (WIRE 9.5).
pub(crate) const UNACKNOWLEDGED_MAX: u64 = 250;
/// A number that was asked for so often in vain is asked for less and less often, at last every 16 times the delay.
/// *Ours*: the original asks every 250 ms without end (WIRE 1 (5)).
pub(crate) const PATIENCE: u32 = 8;
/// An acknowledgement comes every so many numbers (WIRE 9.4).
pub(crate) const ACK_EVERY: u64 = 10;
/// The request delay's lower bound, unless the upper one is below twice this (WIRE 9.3).
pub(crate) const REQUEST_DELAY_MIN: Duration = Duration::from_millis(50);
