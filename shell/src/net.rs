//! The network as the kernel keeps it: addresses, their announcement, and laboratories of namespaces.
//!
//! | module | is |
//! |---|---|
//! | [`netlink`] | questions and orders to the kernel, in place of the `ip` command |
//! | [`vip`] | a virtual IP address: where it belongs, there or not, ours or not (CLUSTER d.7) |
//! | [`announce`] | telling the neighbours where the address lives now |
//! | `cables` | interfaces whose signal comes back |
//! | [`namespace`] | machines and cables for the demonstration, live tests and benchmarks |
//! | [`echo`] | what a client notices of all that: an echo request every millisecond |

pub mod announce;
pub(crate) mod cables;
pub mod echo;
pub mod namespace;
pub mod netlink;
pub mod vip;
