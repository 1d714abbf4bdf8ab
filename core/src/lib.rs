//! The decisions of Heartbeat as a pure, deterministic state machine.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::arithmetic_side_effects)
)]

extern crate alloc;
#[cfg(any(test, feature = "compression"))]
extern crate std;

pub mod arp;
pub mod auth;
pub mod config;
pub mod digest;
pub mod ids;
pub mod membership;
pub mod resource;
mod rng;
pub mod time;
pub mod wire;
