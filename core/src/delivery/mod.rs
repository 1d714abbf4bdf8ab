//! Reliable delivery of sequenced messages. Read WIRE 9 first.
//!
//! One sequence per sending node covers all its messages except `NS_` types, whatever their destination.
//! [`Sender`] keeps what we sent; one [`Receiver`] a peer tracks what arrived. Messages are processed in order of
//! arrival: a gap delays nothing, it is asked for.
//!
//! Invariants:
//! - the history ([`history`]) holds at most [`HISTORY_MAX`] messages with consecutive numbers,
//! - a receiver misses at most [`MISSING_MAX`] numbers, all below its newest,
//! - a number is accepted at most once in a generation.

mod history;
mod receive;
mod send;

pub(crate) use receive::{Arrival, Receiver};
pub(crate) use send::{Answer, Sender};

use core::time::Duration;

/// Sent messages kept for retransmission (WIRE 14).
pub(crate) const HISTORY_MAX: usize = 500;
/// Missing numbers remembered per peer (WIRE 14).
pub(crate) const MISSING_MAX: usize = 500;
/// A gap of more than this means: start over, ask for nothing (WIRE 9.2 (5)).
pub(crate) const GAP_MAX: u64 = 250;
/// Retransmissions per request (WIRE 9.1).
pub(crate) const REXMIT_PER_REQUEST: usize = 50;
/// An acknowledgement comes every so many numbers (WIRE 9.4).
pub(crate) const ACK_EVERY: u64 = 10;
/// The request delay's lower bound, unless the upper one is below twice this (WIRE 9.3).
pub(crate) const REQUEST_DELAY_MIN: Duration = Duration::from_millis(50);
