//! The machine around the core.

pub mod clock;
pub mod daemonize;
mod launcher;
pub mod log;
pub mod net;
pub mod pid_file;
pub mod process;
pub mod realtime;
pub mod script_env;
pub mod store;
mod sys;
pub mod timer;
pub mod transport;
