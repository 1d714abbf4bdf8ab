//! Media: the ways by which packets reach other nodes.

mod interface;
pub mod serial;
pub mod udp;
