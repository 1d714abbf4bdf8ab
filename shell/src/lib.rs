//! The machine around the core.

pub mod clock;
mod launcher;
pub mod pid_file;
pub mod process;
pub mod script_env;
pub mod store;
mod sys;
pub mod timer;
pub mod transport;
