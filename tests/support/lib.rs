//! Helpers shared by the live tests, the tests beside a real Heartbeat and the benchmarks.

pub mod observe;
pub mod real;
