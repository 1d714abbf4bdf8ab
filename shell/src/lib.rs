//! The machine around the core.

pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod daemonize;
pub mod decode;
pub mod demo;
mod launcher;
pub mod log;
mod machine;
pub mod net;
pub mod pid_file;
pub mod process;
pub mod realtime;
pub mod recorder;
pub mod render;
pub mod script_env;
pub mod status;
pub mod store;
mod sys;
pub mod testbed;
pub mod timer;
pub mod transport;
mod why;
