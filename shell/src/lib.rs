//! The machine around the core.

pub mod check;
pub mod clock;
pub mod config;
pub mod daemonize;
pub mod decode;
pub mod demo;
mod launcher;
pub mod log;
pub mod net;
pub mod pid_file;
pub mod process;
pub mod realtime;
pub mod render;
pub mod script_env;
pub mod store;
mod sys;
pub mod testbed;
pub mod timer;
pub mod transport;
