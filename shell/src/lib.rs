//! The machine around the core.

pub mod clock;
mod launcher;
pub mod process;
pub mod script_env;
mod sys;
pub mod timer;
pub mod transport;
