//! Fuzz target bodies as plain functions: any bytes go in, a broken law panics.
//!
//! Each body has a corpus of the same name; the tests run it on stable.

pub mod client;
pub mod cluster;
pub mod config;
pub mod node;
pub mod reload;
#[cfg(test)]
mod samples;
pub mod scenario;
pub mod serial;
pub mod trace;
pub mod wire;

pub use client::client_requests;
pub use cluster::cluster;
pub use config::{authkeys, ha_cf, haresources, hostcache};
pub use node::node_inputs;
pub use reload::reload;
pub use scenario::scenario_file;
pub use serial::serial_stream;
pub use trace::trace_file;
pub use wire::wire_decode;
